"""paws, the SDK for R, as bytes: it signs even what asks for no signature, and sorts its keys."""

from __future__ import annotations

import json
import socket

import pytest

from lido import Lido, Pool

SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIDNOBODY/20200102/us-east-1/cognito-idp/aws4_request, "
    "SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-target, Signature=" + "5e" * 32
)


def request(lido: Lido, body: dict, authorization: str | None) -> bytes:
    """GetUserAttributeVerificationCode in the form and order of paws.common 0.7."""
    text = json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    lines = [
        "POST / HTTP/1.1",
        f"Host: 127.0.0.1:{lido.port}",
        "Accept-Encoding: deflate, gzip, br, zstd",
        "Accept: application/json, text/xml, application/xml, */*",
        "User-Agent: paws/0.7.7 (R4.2.2; linux-gnu; x86_64)",
        "X-Amz-Target: AWSCognitoIdentityProviderService.GetUserAttributeVerificationCode",
        "Content-Type: application/x-amz-json-1.1",
        f"Content-Length: {len(text)}",
    ]
    if authorization is not None:
        # Years away from the server's clock.
        lines += ["X-Amz-Date: 20200102T030405Z", f"Authorization: {authorization}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


def send(lido: Lido, content: bytes) -> tuple[int, dict[str, str], dict]:
    """Status, headers and body of the answer, read by what the socket says and nothing else."""
    with socket.create_connection(("127.0.0.1", lido.port), timeout=20) as connection:
        connection.sendall(content)
        stream = connection.makefile("rb")
        status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().strip()) != b"":
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        body = stream.read(int(headers["content-length"]))
    return status, headers, json.loads(body)


@pytest.mark.parametrize("authorization", [SIGNATURE, None, "AWS4-HMAC-SHA256 nonsense", "Bearer x", ""])
def test_a_code_is_sent_whatever_the_signature(lido: Lido, pool: Pool, authorization: str | None) -> None:
    pool.user("ana", email="ana@paws.example")
    body = {
        "AccessToken": pool.sign_in("ana")["AccessToken"],
        "AttributeName": "email",
        "ClientMetadata": {"k": "Größe"},
    }
    status, headers, answer = send(lido, request(lido, body, authorization))
    assert status == 200
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert headers["x-amzn-requestid"]
    assert "content-encoding" not in headers
    assert answer == {
        "CodeDeliveryDetails": {
            "AttributeName": "email",
            "DeliveryMedium": "EMAIL",
            "Destination": "a***@p***",
        }
    }


def test_an_error_has_a_bare_name(lido: Lido) -> None:
    body = {"AccessToken": "eyJhbGciOi.test.token", "AttributeName": "email"}
    status, headers, answer = send(lido, request(lido, body, SIGNATURE))
    assert status == 400
    assert answer == {"__type": "NotAuthorizedException", "message": "Invalid Access Token"}
    assert headers["x-amzn-errortype"] == "NotAuthorizedException:"
