"""Refresh token rotation and two client secrets through boto3."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from lido import PASSWORD, Lido, Pool


def test_each_refresh_token_is_exchanged_once(lido: Lido) -> None:
    pool = Pool(
        lido,
        client={
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"],
            "RefreshTokenRotation": {"Feature": "ENABLED", "RetryGracePeriodSeconds": 0},
        },
    )
    pool.user("ana")
    app = lido.unsigned_client()
    first = pool.sign_in("ana")["RefreshToken"]
    shared = {"ClientId": pool.client_id}
    second = app.get_tokens_from_refresh_token(RefreshToken=first, **shared)["AuthenticationResult"]
    assert app.get_user(AccessToken=second["AccessToken"])["Username"] == "ana"
    with pytest.raises(app.exceptions.RefreshTokenReuseException):
        app.get_tokens_from_refresh_token(RefreshToken=first, **shared)
    third = app.get_tokens_from_refresh_token(RefreshToken=second["RefreshToken"], **shared)
    assert third["AuthenticationResult"]["RefreshToken"] not in (first, second["RefreshToken"])


def sign_in(pool: Pool, secret: str) -> None:
    message = ("ana" + pool.client_id).encode()
    hashed = base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()
    pool.cognito.initiate_auth(
        ClientId=pool.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "ana", "PASSWORD": PASSWORD, "SECRET_HASH": hashed},
    )


def test_a_secret_takes_the_place_of_another(lido: Lido) -> None:
    pool = Pool(lido, client={"GenerateSecret": True})
    pool.user("ana")
    admin = lido.client()
    names = {"UserPoolId": pool.id, "ClientId": pool.client_id}
    old = admin.list_user_pool_client_secrets(**names)["ClientSecrets"][0]["ClientSecretId"]
    added = admin.add_user_pool_client_secret(**names)["ClientSecretDescriptor"]
    for secret in (pool.client_secret, added["ClientSecretValue"]):
        sign_in(pool, secret)
    with pytest.raises(admin.exceptions.LimitExceededException):
        admin.add_user_pool_client_secret(**names)
    admin.delete_user_pool_client_secret(ClientSecretId=old, **names)
    with pytest.raises(admin.exceptions.NotAuthorizedException):
        sign_in(pool, pool.client_secret)
    sign_in(pool, added["ClientSecretValue"])
    with pytest.raises(admin.exceptions.InvalidParameterException):
        admin.delete_user_pool_client_secret(ClientSecretId=added["ClientSecretId"], **names)
