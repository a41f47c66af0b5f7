"""Tokens as PyJWT sees them, with the keys that it fetches itself."""

from __future__ import annotations

import time

import jwt
import pytest

from lido import Lido, Pool


def test_tokens_are_verified_with_the_published_keys(lido: Lido, pool: Pool) -> None:
    pool.user("ana")
    tokens = pool.sign_in("ana")
    issuer = f"{lido.public_url}/{pool.id}"
    keys = jwt.PyJWKClient(f"{lido.url}/{pool.id}/.well-known/jwks.json")

    def verify(token: str, **options: object) -> dict:
        return jwt.decode(
            token, keys.get_signing_key_from_jwt(token), algorithms=["RS256"], issuer=issuer, **options
        )

    identity = verify(tokens["IdToken"], audience=pool.client_id)
    access = verify(tokens["AccessToken"])
    assert (identity["token_use"], access["token_use"]) == ("id", "access")
    assert identity["sub"] == access["sub"] == pool.attributes("ana")["sub"]
    assert identity["email"] == "ana@example.com" and identity["email_verified"] is True
    assert access["client_id"] == pool.client_id and access["username"] == "ana" and "aud" not in access
    assert access["scope"] == "aws.cognito.signin.user.admin"
    assert identity["origin_jti"] == access["origin_jti"] and identity["jti"] != access["jti"]
    assert abs(access["iat"] - time.time()) < 60 and access["exp"] - access["iat"] == 3600

    for token in (tokens["IdToken"], tokens["AccessToken"]):
        header = jwt.get_unverified_header(token)
        assert header.keys() == {"kid", "alg"} and header["alg"] == "RS256"
    published = {key["kid"] for key in keys.fetch_data()["keys"]}
    used = {jwt.get_unverified_header(tokens[name])["kid"] for name in ("IdToken", "AccessToken")}
    assert len(used) == 2 and used <= published


def test_a_token_of_another_pool_finds_no_key(lido: Lido, pool: Pool) -> None:
    pool.user("ana")
    token = pool.sign_in("ana")["IdToken"]
    keys = jwt.PyJWKClient(f"{lido.url}/{Pool(lido).id}/.well-known/jwks.json")
    with pytest.raises(jwt.PyJWKClientError):
        keys.get_signing_key_from_jwt(token)
