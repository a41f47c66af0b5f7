"""Triggers in Python functions, run by Amazon's own runtime client."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class InvokeApi(ThreadingHTTPServer):
    """A Lambda service with one function, `answer`: the event in, status, headers and JSON out."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), InvokeRequest)
        self.answer: Callable[[dict], tuple[int, dict[str, str], dict]] = lambda event: (200, {}, event)
        self.requests: list[tuple[str, dict[str, str]]] = []


class InvokeRequest(BaseHTTPRequestHandler):
    server: InvokeApi

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers)))
        status, headers, body = self.server.answer(event)
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def invoke_api() -> Iterator[InvokeApi]:
    server = InvokeApi()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_the_invoke_api_runs_a_function_that_calls_back(start, invoke_api: InvokeApi) -> None:
    lido = start(
        "--config",
        "lido.toml",
        config=f"""
[functions.default]
invoke_endpoint = "http://127.0.0.1:{invoke_api.server_port}"
region = "us-east-1"
access_key_id = "AKIDEXAMPLE"
secret_access_key = "secret"
""",
    )
    pool = Pool(lido, LambdaConfig={"CustomMessage": ARN})
    pool.user("ana")
    access_token = pool.sign_in("ana")["AccessToken"]

    def answer(event: dict) -> tuple[int, dict[str, str], dict]:
        # The operation that waits for this answer must not be in the way of another one.
        status = lido.client().admin_get_user(UserPoolId=event["userPoolId"], Username=event["userName"])["UserStatus"]
        event["response"]["emailMessage"] = f"{status}: {event['request']['codeParameter']}"
        return 200, {"X-Amz-Executed-Version": "$LATEST"}, event

    invoke_api.answer = answer
    ask(pool, access_token)
    message = lido.message("ana@example.com")
    assert message["body"] == f"CONFIRMED: {message['code']}"
    path, headers = invoke_api.requests[0]
    assert urllib.parse.unquote(path) == f"/2015-03-31/functions/{ARN}/invocations"
    headers = {name.lower(): value for name, value in headers.items()}
    assert headers["x-amz-invocation-type"] == "RequestResponse"
    signed = headers["authorization"]
    assert signed.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") and "/us-east-1/lambda/aws4_request" in signed

    # A function's own error has status 200 and a header.
    invoke_api.answer = lambda _: (200, {"X-Amz-Function-Error": "Unhandled"}, {"errorMessage": "no", "errorType": "Error"})
    with pytest.raises(pool.cognito.exceptions.UserLambdaValidationException) as refused:
        ask(pool, access_token)
    assert refused.value.response["Error"]["Message"] == "CustomMessage failed with error no."
    invoke_api.answer = lambda _: (403, {"x-amzn-ErrorType": "AccessDeniedException"}, {"Message": "no"})
    with pytest.raises(pool.cognito.exceptions.UnexpectedLambdaException) as refused:
        ask(pool, access_token)
    assert refused.value.response["Error"]["Message"] == "CustomMessage invocation failed due to error AccessDeniedException."
