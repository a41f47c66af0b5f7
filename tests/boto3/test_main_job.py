"""The whole way of a user through boto3: sign up, confirm, sign in, verify an address."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import threading
import time

import pytest

from lido import PASSWORD, Lido, Pool


def secret_hash(pool: Pool, username: str) -> str:
    digest = hmac.new(
        pool.client_secret.encode(), (username + pool.client_id).encode(), hashlib.sha256
    ).digest()
    return base64.b64encode(digest).decode()


def test_a_user_signs_up_and_verifies_a_changed_address(lido: Lido, pool: Pool) -> None:
    # Nothing of this is signed: an application on a phone has no credentials.
    app = lido.unsigned_client()
    email = "ana@signup.example"
    signed_up = app.sign_up(
        ClientId=pool.client_id,
        Username="ana",
        Password=PASSWORD,
        UserAttributes=[{"Name": "email", "Value": email}],
    )
    assert signed_up["UserConfirmed"] is False
    assert signed_up["CodeDeliveryDetails"] == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "a***@s***",
    }
    with pytest.raises(app.exceptions.UserNotConfirmedException) as refused:
        app.initiate_auth(
            ClientId=pool.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "ana", "PASSWORD": PASSWORD},
        )
    assert refused.value.response["Error"]["Message"] == "User is not confirmed."

    code = lido.code(email, "CustomMessage_SignUp")
    app.confirm_sign_up(ClientId=pool.client_id, Username="ana", ConfirmationCode=code)
    tokens = app.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ana", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    assert (tokens["TokenType"], tokens["ExpiresIn"]) == ("Bearer", 3600)
    access_token = tokens["AccessToken"]
    user = app.get_user(AccessToken=access_token)
    attributes = {attribute["Name"]: attribute["Value"] for attribute in user["UserAttributes"]}
    assert user["Username"] == "ana"
    assert attributes == {"sub": signed_up["UserSub"], "email": email, "email_verified": "true"}

    # A new address is unverified until its own code comes back.
    new_email = "ana@changed.example"
    updated = app.update_user_attributes(
        AccessToken=access_token, UserAttributes=[{"Name": "email", "Value": new_email}]
    )
    assert [details["Destination"] for details in updated["CodeDeliveryDetailsList"]] == ["a***@c***"]
    assert pool.attributes("ana")["email_verified"] == "false"

    asked = app.get_user_attribute_verification_code(AccessToken=access_token, AttributeName="email")
    assert asked["CodeDeliveryDetails"] == {
        "AttributeName": "email",
        "DeliveryMedium": "EMAIL",
        "Destination": "a***@c***",
    }
    code = lido.code(new_email, "CustomMessage_VerifyUserAttribute")
    wrong = "000000" if code != "000000" else "000001"
    with pytest.raises(app.exceptions.CodeMismatchException) as refused:
        app.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=wrong)
    assert refused.value.response["Error"] == {
        "Code": "CodeMismatchException",
        "Message": "Invalid verification code provided, please try again.",
    }
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    app.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=code)
    assert pool.attributes("ana")["email_verified"] == "true"
    with pytest.raises(app.exceptions.ExpiredCodeException):
        app.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=code)

    app.global_sign_out(AccessToken=access_token)
    with pytest.raises(app.exceptions.NotAuthorizedException, match="Access Token has been revoked"):
        app.get_user(AccessToken=access_token)


def test_the_inbox_can_be_waited_for(lido: Lido, pool: Pool) -> None:
    pool.user("eva", email="eva@wait.example")
    access_token = pool.sign_in("eva")["AccessToken"]
    ask = {"AccessToken": access_token, "AttributeName": "email"}
    pool.cognito.get_user_attribute_verification_code(**ask)
    first = lido.messages(userPoolId=pool.id)[0]

    found: list[list[dict]] = []
    waiting = threading.Thread(
        target=lambda: found.append(lido.messages(userPoolId=pool.id, wait=20, after=first["id"]))
    )
    waiting.start()
    pool.cognito.get_user_attribute_verification_code(**ask)
    waiting.join(25)
    assert [message["id"] != first["id"] for message in found[0]] == [True]
    message = found[0][0]
    assert message["destination"] == "eva@wait.example"
    assert message["source"] == "CustomMessage_VerifyUserAttribute"
    assert (message["medium"], message["username"], message["clientId"]) == ("EMAIL", "eva", pool.client_id)
    assert message["code"] in message["body"]

    start = time.monotonic()
    assert lido.messages(userPoolId=pool.id, wait=0.3) == []
    assert time.monotonic() - start >= 0.3


def test_a_code_ends_with_its_time(start) -> None:
    lido = start()
    pool = Pool(lido)
    pool.user("mia", email="mia@late.example")
    access_token = pool.sign_in("mia")["AccessToken"]
    pool.cognito.get_user_attribute_verification_code(AccessToken=access_token, AttributeName="email")
    code = lido.code("mia@late.example")
    lido.advance_clock(24 * 3600 + 1)
    with pytest.raises(pool.cognito.exceptions.NotAuthorizedException, match="Access Token has expired"):
        pool.cognito.verify_user_attribute(AccessToken=access_token, AttributeName="email", Code=code)
    fresh = pool.sign_in("mia")["AccessToken"]
    with pytest.raises(pool.cognito.exceptions.ExpiredCodeException) as refused:
        pool.cognito.verify_user_attribute(AccessToken=fresh, AttributeName="email", Code=code)
    assert refused.value.response["Error"]["Message"] == "Invalid code provided, please request a code again."


def test_times_are_times(pool: Pool) -> None:
    pool.user("tom")
    user = pool.cognito.admin_get_user(UserPoolId=pool.id, Username="tom")
    now = datetime.datetime.now(datetime.UTC)
    for moment in (pool.description["CreationDate"], user["UserCreateDate"], user["UserLastModifiedDate"]):
        assert isinstance(moment, datetime.datetime)
        assert abs(now - moment) < datetime.timedelta(minutes=2)
    assert user["UserStatus"] == "CONFIRMED" and user["Enabled"] is True


def test_an_invited_user_chooses_a_password(lido: Lido, pool: Pool) -> None:
    invited = pool.cognito.admin_create_user(
        UserPoolId=pool.id,
        Username="kim",
        DesiredDeliveryMediums=["EMAIL"],
        UserAttributes=[
            {"Name": "email", "Value": "kim@invited.example"},
            {"Name": "email_verified", "Value": "true"},
        ],
    )["User"]
    assert invited["UserStatus"] == "FORCE_CHANGE_PASSWORD"
    temporary = lido.code("kim@invited.example", "CustomMessage_AdminCreateUser")

    app = lido.unsigned_client()
    challenge = app.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "kim", "PASSWORD": temporary},
    )
    assert challenge["ChallengeName"] == "NEW_PASSWORD_REQUIRED"
    assert challenge["ChallengeParameters"]["USER_ID_FOR_SRP"] == "kim"
    assert challenge["ChallengeParameters"]["requiredAttributes"] == "[]"
    answer = {
        "ClientId": pool.client_id,
        "ChallengeName": "NEW_PASSWORD_REQUIRED",
        "Session": challenge["Session"],
    }
    with pytest.raises(app.exceptions.InvalidPasswordException, match="Password not long enough"):
        app.respond_to_auth_challenge(
            **answer, ChallengeResponses={"USERNAME": "kim", "NEW_PASSWORD": "Short-1"}
        )
    finished = app.respond_to_auth_challenge(
        **answer, ChallengeResponses={"USERNAME": "kim", "NEW_PASSWORD": PASSWORD}
    )
    assert finished["AuthenticationResult"]["RefreshToken"]
    assert pool.cognito.admin_get_user(UserPoolId=pool.id, Username="kim")["UserStatus"] == "CONFIRMED"


def test_an_administrator_signs_a_user_in(pool: Pool) -> None:
    pool.user("ida")
    tokens = pool.cognito.admin_initiate_auth(
        UserPoolId=pool.id,
        ClientId=pool.client_id,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ida", "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    refreshed = pool.cognito.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="REFRESH_TOKEN_AUTH",
        AuthParameters={"REFRESH_TOKEN": tokens["RefreshToken"]},
    )["AuthenticationResult"]
    assert refreshed["AccessToken"] != tokens["AccessToken"]
    assert "RefreshToken" not in refreshed
    pool.cognito.revoke_token(ClientId=pool.client_id, Token=tokens["RefreshToken"])
    with pytest.raises(
        pool.cognito.exceptions.NotAuthorizedException, match="Refresh Token has been revoked"
    ):
        pool.cognito.initiate_auth(
            ClientId=pool.client_id,
            AuthFlow="REFRESH_TOKEN_AUTH",
            AuthParameters={"REFRESH_TOKEN": tokens["RefreshToken"]},
        )


def test_a_client_with_a_secret_asks_for_its_hash(lido: Lido) -> None:
    pool = Pool(lido, client={"GenerateSecret": True})
    app = lido.unsigned_client()
    request = {
        "ClientId": pool.client_id,
        "Username": "lou",
        "Password": PASSWORD,
        "UserAttributes": [{"Name": "email", "Value": "lou@secret.example"}],
    }
    with pytest.raises(app.exceptions.NotAuthorizedException) as refused:
        app.sign_up(**request)
    assert refused.value.response["Error"]["Message"] == (
        f"Client {pool.client_id} is configured with secret but SECRET_HASH was not received"
    )
    with pytest.raises(app.exceptions.NotAuthorizedException) as refused:
        app.sign_up(**request, SecretHash=secret_hash(pool, "somebody else"))
    assert (
        refused.value.response["Error"]["Message"]
        == f"Unable to verify secret hash for client {pool.client_id}"
    )

    proof = secret_hash(pool, "lou")
    app.sign_up(**request, SecretHash=proof)
    code = lido.code("lou@secret.example")
    app.confirm_sign_up(ClientId=pool.client_id, Username="lou", ConfirmationCode=code, SecretHash=proof)
    answer = app.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "lou", "PASSWORD": PASSWORD, "SECRET_HASH": proof},
    )
    assert answer["AuthenticationResult"]["IdToken"]


def test_a_forgotten_password_is_replaced(lido: Lido, pool: Pool) -> None:
    pool.user("rex", email="rex@forgot.example")
    app = lido.unsigned_client()
    details = app.forgot_password(ClientId=pool.client_id, Username="rex")["CodeDeliveryDetails"]
    assert details == {"AttributeName": "email", "DeliveryMedium": "EMAIL", "Destination": "r***@f***"}
    code = lido.code("rex@forgot.example", "CustomMessage_ForgotPassword")
    new = "Another-horse-2"
    app.confirm_forgot_password(ClientId=pool.client_id, Username="rex", ConfirmationCode=code, Password=new)
    with pytest.raises(app.exceptions.NotAuthorizedException, match="Incorrect username or password."):
        pool.sign_in("rex")
    assert pool.sign_in("rex", new)["AccessToken"]


def test_errors_are_the_types_of_the_sdk(lido: Lido, pool: Pool) -> None:
    cognito = pool.cognito
    cases = [
        (
            cognito.exceptions.UserNotFoundException,
            "User does not exist.",
            lambda: cognito.admin_get_user(UserPoolId=pool.id, Username="nobody"),
        ),
        (
            cognito.exceptions.ResourceNotFoundException,
            "User pool us-east-1_AbsentAbs does not exist.",
            lambda: cognito.describe_user_pool(UserPoolId="us-east-1_AbsentAbs"),
        ),
        (
            cognito.exceptions.InvalidParameterException,
            "Invalid email address format.",
            lambda: cognito.sign_up(
                ClientId=pool.client_id,
                Username="x",
                Password=PASSWORD,
                UserAttributes=[{"Name": "email", "Value": "no address"}],
            ),
        ),
        (
            cognito.exceptions.NotAuthorizedException,
            "Invalid Access Token",
            lambda: cognito.get_user(AccessToken="aaaa.bbbb.cccc"),
        ),
        (
            cognito.exceptions.InvalidPasswordException,
            "Password did not conform with policy: Password not long enough",
            lambda: cognito.sign_up(ClientId=pool.client_id, Username="x", Password="Ab-1"),
        ),
    ]
    for kind, text, call in cases:
        with pytest.raises(kind) as refused:
            call()
        assert refused.value.response["Error"]["Message"] == text
        assert refused.value.response["ResponseMetadata"]["RequestId"]

    pool.user("max")
    with pytest.raises(cognito.exceptions.UsernameExistsException, match="User account already exists"):
        cognito.admin_create_user(UserPoolId=pool.id, Username="max")


def test_paginators_walk_through_everything(start) -> None:
    lido = start()
    pools = [Pool(lido, PoolName=f"pool-{number}") for number in range(3)]
    cognito, first = pools[0].cognito, pools[0]
    names = {f"user-{number:02}" for number in range(13)}
    for name in names:
        cognito.admin_create_user(UserPoolId=first.id, Username=name, MessageAction="SUPPRESS")
    for number in range(4):
        cognito.create_user_pool_client(UserPoolId=first.id, ClientName=f"client-{number}")

    def walk(operation: str, items: str, size: int, **request: str) -> tuple[list[dict], int]:
        pages = list(
            cognito.get_paginator(operation).paginate(**request, PaginationConfig={"PageSize": size})
        )
        return [item for page in pages for item in page[items]], len(pages)

    users, pages = walk("list_users", "Users", 5, UserPoolId=first.id)
    assert sorted(user["Username"] for user in users) == sorted(names)
    assert pages == 3
    found, _ = walk("list_users", "Users", 5, UserPoolId=first.id, Filter='username ^= "user-1"')
    assert sorted(user["Username"] for user in found) == ["user-10", "user-11", "user-12"]
    listed, pages = walk("list_user_pools", "UserPools", 2)
    assert sorted(one["Id"] for one in listed) == sorted(one.id for one in pools)
    assert pages == 2
    clients, _ = walk("list_user_pool_clients", "UserPoolClients", 2, UserPoolId=first.id)
    assert sorted(client["ClientName"] for client in clients) == [*(f"client-{n}" for n in range(4)), "web"]
