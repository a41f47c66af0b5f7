"""Writes the data of this release's schema, once, before the release: later ones are tested with it.

    python3 tests/postgres.py .cache/venv/bin/python tests/boto3/schemas/make.py

Makes `NNNN.sqlite.sql`, `NNNN.postgres.sql`, `NNNN.key` and `NNNN.json`, where NNNN is the newest migration: the
same installation on both engines, its master key, and what a client knows of it.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import lido as harness  # noqa: E402

# Ten years: what is made today must be good as long as the file is.
LONG = {"RefreshTokenValidity": 3650, "TokenValidityUnits": {"RefreshToken": "days"}}


def fill(server: harness.Lido) -> dict:
    """A pool with users of several kinds, and what their clients hold."""
    pool = harness.Pool(
        server,
        client={"GenerateSecret": True} | LONG,
        PoolName="released",
        AliasAttributes=["email", "preferred_username"],
        Schema=[{"Name": "tenant", "AttributeDataType": "String", "Mutable": True}],
    )
    cognito = pool.cognito
    public = cognito.create_user_pool_client(
        UserPoolId=pool.id, ClientName="public", ExplicitAuthFlows=harness.Pool.FLOWS, **LONG
    )["UserPoolClient"]["ClientId"]
    pool.user("ana", given_name="Ana €", **{"custom:tenant": "t-1"})
    pool.user("bo")
    cognito.admin_disable_user(UserPoolId=pool.id, Username="bo")
    cognito.admin_create_user(UserPoolId=pool.id, Username="cy", TemporaryPassword="Temporary-1", MessageAction="SUPPRESS")
    cognito.create_group(UserPoolId=pool.id, GroupName="admins", Precedence=1)
    cognito.admin_add_user_to_group(UserPoolId=pool.id, GroupName="admins", Username="ana")
    tokens = cognito.initiate_auth(
        ClientId=public,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ana@example.com", "PASSWORD": harness.PASSWORD},
    )["AuthenticationResult"]
    user = cognito.admin_get_user(UserPoolId=pool.id, Username="ana")
    attributes = {attribute["Name"]: attribute["Value"] for attribute in user["UserAttributes"]}
    return {
        "pool": pool.id,
        "client": public,
        "secret_client": pool.client_id,
        "secret": pool.client_secret,
        "password": harness.PASSWORD,
        "refresh_token": tokens["RefreshToken"],
        "attributes": attributes,
        "kids": server.kids(pool.id),
    }


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    data = folder / "data"
    administrator, harness.ADMINISTRATOR = harness.ADMINISTRATOR, None
    server = harness.Lido(folder, data=str(data))
    known = fill(server)
    server.stop()
    database = sqlite3.connect(data / "lido.db")
    (version,) = database.execute("SELECT max(version) FROM schema_migrations").fetchone()
    target = HERE / f"{version:04}"
    target.with_suffix(".sqlite.sql").write_text("\n".join(database.iterdump()) + "\n")
    target.with_suffix(".json").write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    shutil.copyfile(data / "master.key", target.with_suffix(".key"))

    # The same installation on PostgreSQL, by the way that operators go.
    harness.ADMINISTRATOR = administrator
    other = folder / "other"
    url = harness.database_of(other)
    shutil.copyfile(data / "master.key", other / "master.key")
    (other / "master.key").chmod(0o600)
    export, key = folder / "export", folder / "key"
    for command in (
        [harness.binary(), "export", str(export), "--key-file", str(key), "--data", str(data)],
        [harness.binary(), "import", str(export), "--key-file", str(key), "--data", str(other), "--database", url],
    ):
        subprocess.run(command, check=True, env=harness.ENVIRONMENT)
    dump = ["pg_dump", "--inserts", "--no-owner", "--no-privileges", url]
    text = subprocess.run(dump, check=True, capture_output=True, text=True).stdout
    # What only the newest psql understands.
    lines = [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict", "--"))]
    target.with_suffix(".postgres.sql").write_text("\n".join(line for line in lines if line) + "\n")


if __name__ == "__main__":
    main()
