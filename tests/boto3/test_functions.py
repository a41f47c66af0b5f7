"""Triggers in Python functions, run by Amazon's own runtime client."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from lido import Lido, Pool

ARN = "arn:aws:lambda:us-east-1:000000000000:function:custom-message"

HANDLER = """
import time


def handler(event, context):
    do = event["request"].get("clientMetadata", {}).get("do")
    if do == "raise":
        raise ValueError("No mail for " + event["userName"])
    if do == "sleep":
        time.sleep(6)
    if do == "forget":
        event["response"]["emailMessage"] = "a text without its place"
    else:
        language = event["request"].get("clientMetadata", {}).get("language", "en")
        greeting = {"en": "Hello", "fr": "Bonjour"}[language]
        name = event["request"]["userAttributes"]["email"]
        event["response"]["emailSubject"] = f"{greeting} ({event['triggerSource']})"
        event["response"]["emailMessage"] = f"{greeting} {name}: {event['request']['codeParameter']}"
    return event
"""


@pytest.fixture
def server(start, tmp_path: Path) -> Lido:
    (tmp_path / "handler.py").write_text(HANDLER)
    command = json.dumps([sys.executable, "-m", "awslambdaric", "handler.handler"])
    return start("--config", "lido.toml", config=f'[functions."{ARN}"]\ncommand = {command}\n')


@pytest.fixture
def signed_in(server: Lido) -> tuple[Pool, str]:
    pool = Pool(server, LambdaConfig={"CustomMessage": ARN})
    pool.user("ana")
    return pool, pool.sign_in("ana")["AccessToken"]


def ask(pool: Pool, access_token: str, **metadata: str) -> dict:
    return pool.cognito.get_user_attribute_verification_code(
        AccessToken=access_token, AttributeName="email", ClientMetadata=metadata
    )


def test_a_message_is_rewritten_by_what_the_client_said(server: Lido, signed_in: tuple[Pool, str]) -> None:
    pool, access_token = signed_in
    ask(pool, access_token, language="fr")
    message = server.message("ana@example.com")
    assert message["subject"] == "Bonjour (CustomMessage_VerifyUserAttribute)"
    assert message["body"] == f"Bonjour ana@example.com: {message['code']}"
    pool.cognito.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=message["code"])

    # The process is warm now: what it is told changes with every call.
    ask(pool, access_token, language="en")
    assert server.message("ana@example.com")["subject"].startswith("Hello ")


def test_what_a_function_raises_reaches_the_client(server: Lido, signed_in: tuple[Pool, str]) -> None:
    pool, access_token = signed_in
    with pytest.raises(pool.cognito.exceptions.UserLambdaValidationException) as refused:
        ask(pool, access_token, do="raise")
    assert refused.value.response["Error"]["Message"] == "CustomMessage failed with error No mail for ana."
    assert server.messages(userPoolId=pool.id) == []
    ask(pool, access_token)
    assert len(server.messages(userPoolId=pool.id)) == 1


def test_a_text_without_its_code_is_no_message(server: Lido, signed_in: tuple[Pool, str]) -> None:
    pool, access_token = signed_in
    with pytest.raises(
        pool.cognito.exceptions.InvalidLambdaResponseException, match="Unrecognizable lambda output"
    ):
        ask(pool, access_token, do="forget")
    assert server.messages(userPoolId=pool.id) == []


def test_a_function_has_five_seconds(server: Lido, signed_in: tuple[Pool, str]) -> None:
    pool, access_token = signed_in
    start = time.monotonic()
    with pytest.raises(pool.cognito.exceptions.UnexpectedLambdaException) as refused:
        ask(pool, access_token, do="sleep")
    # It is tried three times in all.
    assert 14 < time.monotonic() - start < 25
    assert refused.value.response["Error"]["Message"] == (
        "CustomMessage invocation failed due to error Socket timeout while invoking Lambda function."
    )
    ask(pool, access_token)
    assert len(server.messages(userPoolId=pool.id)) == 1


def test_a_function_that_nobody_configured_is_unreachable(lido: Lido) -> None:
    pool = Pool(lido, LambdaConfig={"CustomMessage": ARN})
    pool.user("ana")
    with pytest.raises(
        pool.cognito.exceptions.UnexpectedLambdaException, match="CustomMessage invocation failed"
    ):
        ask(pool, pool.sign_in("ana")["AccessToken"])
