"""The AWS CLI, as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from lido import PASSWORD, REGION, Lido

AWS = Path(sys.executable).with_name("aws")


def aws(lido: Lido, *words: str, code: int = 0) -> tuple[dict, str]:
    """Runs `aws cognito-idp …`; its answer and what it says of an error."""
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_PAGER": "",
    }
    command = [
        sys.executable,
        str(AWS),
        "cognito-idp",
        *words,
        "--endpoint-url",
        lido.url,
        "--output",
        "json",
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.returncode == 0) == (code == 0), result.stderr
    return json.loads(result.stdout or "{}"), result.stderr


def test_the_quick_start_works_from_the_command_line(lido: Lido) -> None:
    pool = aws(lido, "create-user-pool", "--pool-name", "cli", "--auto-verified-attributes", "email")[0][
        "UserPool"
    ]["Id"]
    created, _ = aws(
        lido,
        *("create-user-pool-client", "--user-pool-id", pool, "--client-name", "cli", "--explicit-auth-flows"),
        *("ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"),
    )
    client = created["UserPoolClient"]["ClientId"]

    email = "ana@cli.example"
    sign_up = ("sign-up", "--client-id", client, "--username", "ana", "--password", PASSWORD)
    aws(lido, *sign_up, "--user-attributes", f"Name=email,Value={email}", "--no-sign-request")
    code = lido.code(email)
    confirm = ("confirm-sign-up", "--client-id", client, "--username", "ana", "--confirmation-code", code)
    assert aws(lido, *confirm)[0] == {}
    _, refused = aws(lido, *confirm, code=1)
    assert (
        "NotAuthorizedException" in refused
        and "User cannot be confirmed. Current status is CONFIRMED" in refused
    )

    parameters = f"USERNAME=ana,PASSWORD={PASSWORD}"
    sign_in = ("initiate-auth", "--client-id", client, "--auth-flow", "USER_PASSWORD_AUTH")
    token = aws(lido, *sign_in, "--auth-parameters", parameters)[0]["AuthenticationResult"]["AccessToken"]
    ask = ("get-user-attribute-verification-code", "--access-token", token, "--attribute-name", "email")
    assert aws(lido, *ask)[0]["CodeDeliveryDetails"]["Destination"] == "a***@c***"
    code = lido.code(email, "CustomMessage_VerifyUserAttribute")
    verify = ("verify-user-attribute", "--access-token", token, "--attribute-name", "email", "--code", code)
    assert aws(lido, *verify)[0] == {}

    users, _ = aws(lido, "list-users", "--user-pool-id", pool, "--filter", f'email = "{email}"')
    assert [user["Username"] for user in users["Users"]] == ["ana"]
    assert aws(lido, "delete-user-pool", "--user-pool-id", pool)[0] == {}
