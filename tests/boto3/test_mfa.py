"""Multi-factor authentication by SMS, as pycognito and boto3 speak it."""

from __future__ import annotations

import pytest
from pycognito import Cognito
from pycognito.exceptions import SMSMFAChallengeException

from lido import PASSWORD, Lido, Pool

NUMBER = "+15550001234"
SENDER = {"SnsCallerArn": "arn:aws:iam::000000000000:role/sms"}


@pytest.fixture
def pool(lido: Lido) -> Pool:
    pool = Pool(lido, MfaConfiguration="ON", SmsConfiguration=SENDER)
    pool.user("ana", phone_number=NUMBER)
    return pool


def test_a_code_by_sms_completes_srp(lido: Lido, pool: Pool) -> None:
    user = Cognito(
        pool.id,
        pool.client_id,
        username="ana",
        access_key="AKIDEXAMPLE",
        secret_key="secret",
        boto3_client_kwargs={"endpoint_url": lido.public_url},
    )
    with pytest.raises(SMSMFAChallengeException) as asked:
        user.authenticate(PASSWORD)
    tokens = asked.value.get_tokens()
    assert tokens["ChallengeParameters"]["CODE_DELIVERY_DESTINATION"] == "+*******1234"
    user.respond_to_sms_mfa_challenge(lido.code(NUMBER, "CustomMessage_Authentication"), tokens)
    user.verify_tokens()
    assert user.id_claims["phone_number_verified"] is True


def test_a_wrong_code_leaves_the_session(lido: Lido, pool: Pool) -> None:
    client = lido.unsigned_client()
    begun = client.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ana", "PASSWORD": PASSWORD},
    )
    assert begun["ChallengeName"] == "SMS_MFA"
    code = lido.code(NUMBER, "CustomMessage_Authentication")

    def respond(code: str) -> dict:
        return client.respond_to_auth_challenge(
            ClientId=pool.client_id,
            ChallengeName="SMS_MFA",
            Session=begun["Session"],
            ChallengeResponses={"USERNAME": "ana", "SMS_MFA_CODE": code},
        )

    with pytest.raises(client.exceptions.CodeMismatchException):
        respond("000000" if code != "000000" else "111111")
    assert respond(code)["AuthenticationResult"]["AccessToken"]
    with pytest.raises(client.exceptions.NotAuthorizedException):
        respond(code)
