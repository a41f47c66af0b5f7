"""pycognito: SRP in an implementation that is not Amazon's."""

from __future__ import annotations

import pytest
from pycognito import Cognito
from pycognito.exceptions import ForceChangePasswordException, TokenVerificationException

from lido import PASSWORD, Lido, Pool


def session(lido: Lido, pool: Pool, username: str) -> Cognito:
    # pycognito takes the address as the issuer's base.
    return Cognito(
        pool.id,
        pool.client_id,
        username=username,
        client_secret=pool.client_secret,
        access_key="AKIDEXAMPLE",
        secret_key="secret",
        boto3_client_kwargs={"endpoint_url": lido.public_url},
    )


@pytest.mark.parametrize("with_secret", [False, True])
def test_a_user_signs_in_by_srp(lido: Lido, with_secret: bool) -> None:
    pool = Pool(lido, client={"GenerateSecret": with_secret})
    pool.user("ana")
    user = session(lido, pool, "ana")
    user.authenticate(PASSWORD)
    user.verify_tokens()
    assert user.id_claims["cognito:username"] == "ana"
    assert user.access_claims["client_id"] == pool.client_id
    assert user.get_user().email == "ana@example.com"

    before = user.access_token
    user.renew_access_token()
    user.verify_tokens()
    assert user.access_token != before


def test_srp_holds_for_many_salts_and_keys(lido: Lido, pool: Pool) -> None:
    # Half of the values have their top bit set, one in 256 a leading zero: few users would miss it.
    for number in range(25):
        name = pool.user(f"user-{number}", f"Größe-{number}-horse")
        user = session(lido, pool, name)
        user.authenticate(f"Größe-{number}-horse")
        assert user.access_token


def test_a_wrong_password_is_refused(lido: Lido, pool: Pool) -> None:
    pool.user("ana")
    user = session(lido, pool, "ana")
    with pytest.raises(user.client.exceptions.NotAuthorizedException) as refused:
        user.authenticate("Wrong-horse-1")
    assert refused.value.response["Error"]["Message"] == "Incorrect username or password."


def test_a_password_is_changed(lido: Lido, pool: Pool) -> None:
    pool.user("ana")
    user = session(lido, pool, "ana")
    user.authenticate(PASSWORD)
    user.change_password(PASSWORD, "Another-horse-2")
    with pytest.raises(user.client.exceptions.NotAuthorizedException):
        session(lido, pool, "ana").authenticate(PASSWORD)
    session(lido, pool, "ana").authenticate("Another-horse-2")


def test_a_temporary_password_is_replaced(lido: Lido, pool: Pool) -> None:
    administrator = session(lido, pool, "kim")
    administrator.admin_create_user(
        "kim", "Temporary-1", {"MessageAction": "SUPPRESS"}, email="kim@example.com"
    )
    user = session(lido, pool, "kim")
    with pytest.raises(ForceChangePasswordException):
        user.authenticate("Temporary-1")
    user.new_password_challenge("Temporary-1", PASSWORD)
    user.verify_tokens()
    session(lido, pool, "kim").authenticate(PASSWORD)


def test_a_user_registers_and_verifies_an_address(lido: Lido, pool: Pool) -> None:
    user = session(lido, pool, "eva")
    user.set_base_attributes(email="eva@pycognito.example")
    user.register("eva", PASSWORD)
    user.confirm_sign_up(lido.code("eva@pycognito.example"))
    user.authenticate(PASSWORD)
    user.send_verification("email")
    user.validate_verification(
        lido.code("eva@pycognito.example", "CustomMessage_VerifyUserAttribute"), "email"
    )
    user.initiate_forgot_password()
    code = lido.code("eva@pycognito.example", "CustomMessage_ForgotPassword")
    user.confirm_forgot_password(code, "Another-horse-2")
    user.authenticate("Another-horse-2")
    user.logout()


def test_tokens_of_another_issuer_are_refused(lido: Lido, pool: Pool) -> None:
    pool.user("ana")
    user = session(lido, pool, "ana")
    user.authenticate(PASSWORD)
    other = session(lido, Pool(lido), "ana")
    other.pool_jwk = user.get_keys()
    with pytest.raises(TokenVerificationException, match="issuer"):
        other.verify_token(user.id_token, "id_token", "id")
