"""Data of every schema that was released works with this release."""

from __future__ import annotations

import base64
import hmac
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

import lido as harness
from lido import Lido

SCHEMAS = Path(__file__).parent / "schemas"
VERSIONS = sorted(file.stem for file in SCHEMAS.glob("*.json"))
# The migrations that the first release has. A later one is tested from here on.
FIRST = 5


def secret_hash(known: dict) -> str:
    text = "ana@example.com" + known["secret_client"]
    return base64.b64encode(hmac.digest(known["secret"].encode(), text.encode(), "sha256")).decode()


def restore(version: str, data: Path) -> None:
    """Puts the data of a schema where a server of this engine finds it."""
    data.mkdir(mode=0o700)
    shutil.copyfile(SCHEMAS / f"{version}.key", data / "master.key")
    (data / "master.key").chmod(0o600)
    if harness.ADMINISTRATOR:
        file = SCHEMAS / f"{version}.postgres.sql"
        command = ["psql", harness.database_of(data), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file", file]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        database = sqlite3.connect(data / "lido.db")
        database.executescript((SCHEMAS / f"{version}.sqlite.sql").read_text())
        database.close()


def test_every_released_schema_has_its_data() -> None:
    migrations = harness.ROOT / "crates" / "store" / "migrations"
    numbers = {re.match(r"\d+", file.name)[0] for file in migrations.glob("*.sql")}
    released = {number for number in numbers if int(number) == FIRST}
    assert released <= set(VERSIONS)
    assert set(VERSIONS) <= numbers


@pytest.mark.parametrize("version", VERSIONS)
def test_users_do_not_notice_that_the_schema_is_new(version: str, tmp_path: Path) -> None:
    known = json.loads((SCHEMAS / f"{version}.json").read_text())
    data = tmp_path / "data"
    restore(version, data)
    server = Lido(tmp_path, data=str(data))
    cognito = server.client()

    def sign_in(client: str, **more: str) -> dict:
        parameters = {"USERNAME": "ana@example.com", "PASSWORD": known["password"]} | more
        flow = "USER_PASSWORD_AUTH"
        return cognito.initiate_auth(ClientId=client, AuthFlow=flow, AuthParameters=parameters)["AuthenticationResult"]

    assert cognito.get_user(AccessToken=sign_in(known["client"])["AccessToken"])["Username"] == "ana"
    user = cognito.admin_get_user(UserPoolId=known["pool"], Username="ana")
    attributes = {attribute["Name"]: attribute["Value"] for attribute in user["UserAttributes"]}
    assert attributes == known["attributes"]
    sign_in(known["secret_client"], SECRET_HASH=secret_hash(known))
    refreshed = cognito.initiate_auth(
        ClientId=known["client"],
        AuthFlow="REFRESH_TOKEN_AUTH",
        AuthParameters={"REFRESH_TOKEN": known["refresh_token"]},
    )
    assert refreshed["AuthenticationResult"]["IdToken"]
    with pytest.raises(cognito.exceptions.NotAuthorizedException):
        cognito.initiate_auth(
            ClientId=known["client"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "bo", "PASSWORD": known["password"]},
        )
    groups = cognito.admin_list_groups_for_user(UserPoolId=known["pool"], Username="ana")["Groups"]
    assert [group["GroupName"] for group in groups] == ["admins"]
    found = cognito.list_users(UserPoolId=known["pool"], Filter='given_name ^= "ana"')["Users"]
    assert [user["Username"] for user in found] == ["ana"]
    assert cognito.describe_user_pool(UserPoolId=known["pool"])["UserPool"]["Name"] == "released"
    assert server.kids(known["pool"]) == known["kids"]
    server.stop()
