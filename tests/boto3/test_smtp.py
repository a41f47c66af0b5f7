"""Delivery by SMTP to a server that insists on STARTTLS, with a certificate of an authority of its own."""

from __future__ import annotations

import datetime
import email
import email.policy
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lido import Pool


def certificate(name: str, issuer: tuple | None) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """An authority, or with `issuer` the certificate of a server on this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


class Sink:
    """Keeps what it is given, and refuses addresses that begin with `no`."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], email.message.EmailMessage]] = []
        self.encrypted: list[bool] = []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("no"):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.encrypted.append(session.ssl is not None)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.messages.append((envelope.rcpt_tos, message))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"lido", b"p@ss")
    return AuthResult(success=right, handled=right)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[Sink, str]]:
    """The sink and its address, with user and password."""
    authority = certificate("Test authority", None)
    server = certificate("localhost", authority)
    pem = serialization.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(authority[0].public_bytes(pem))
    (tmp_path / "server.pem").write_bytes(
        server[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + server[0].public_bytes(pem)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    handler = Sink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=port,
        tls_context=tls,
        require_starttls=True,
        auth_required=True,
        authenticator=authenticate,
    )
    controller.start()
    yield handler, f"smtp://lido:p%40ss@localhost:{port}?tls=required"
    controller.stop()


def settings(url: str, authority: bool = True) -> str:
    text = f'[delivery.email]\ntransport = "smtp"\nfrom = "Lido <no-reply@lido.example>"\nurl = "{url}"\n'
    return text + ('ca_file = "ca.pem"\n' if authority else "")


def test_a_code_arrives_by_mail(start, sink) -> None:
    handler, url = sink
    lido = start(config=settings(url))
    pool = Pool(lido)
    pool.user("ana", email="ana@mail.example")
    access_token = pool.sign_in("ana")["AccessToken"]
    pool.cognito.get_user_attribute_verification_code(AccessToken=access_token, AttributeName="email")

    # The answer came after the first attempt, so the message has been taken.
    assert handler.encrypted == [True]
    recipients, message = handler.messages[0]
    assert recipients == ["ana@mail.example"]
    assert message["To"] == "ana@mail.example"
    assert message["From"] == "Lido <no-reply@lido.example>"
    assert message["Date"] and message["Message-ID"] and message["Subject"]
    copy = lido.message("ana@mail.example")
    text = message.get_body(("html", "plain")).get_content()
    assert copy["code"] in text
    pool.cognito.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=copy["code"])


def test_a_refused_address_is_told_and_its_code_is_void(start, sink) -> None:
    handler, url = sink
    lido = start(config=settings(url))
    pool = Pool(lido)
    pool.user("noa", email="noa@mail.example")
    access_token = pool.sign_in("noa")["AccessToken"]
    with pytest.raises(pool.cognito.exceptions.CodeDeliveryFailureException):
        pool.cognito.get_user_attribute_verification_code(AccessToken=access_token, AttributeName="email")
    assert handler.messages == []
    code = lido.code("noa@mail.example")
    with pytest.raises(pool.cognito.exceptions.ExpiredCodeException):
        pool.cognito.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=code)


def test_an_unknown_authority_is_not_trusted(start, sink) -> None:
    handler, url = sink
    lido = start(config='[delivery]\nanswer_within = "300ms"\n' + settings(url, authority=False))
    pool = Pool(lido)
    pool.user("ana", email="ana@mail.example")
    access_token = pool.sign_in("ana")["AccessToken"]
    # A provider that cannot be reached is no answer yet: the outbox goes on by itself.
    pool.cognito.get_user_attribute_verification_code(AccessToken=access_token, AttributeName="email")
    assert handler.messages == []
