//! ID and access tokens: claims, keys, and what passes for an access token.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use lido_crypto::jws::SigningKey;
use lido_tests::{App, Lido, PASSWORD, Tokens, claims, header};
use serde_json::{Map, Value, json};

use super::*;

async fn keys(app: &App) -> Value {
    app.lido.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await
}

/// The issuer of a pool's tokens: it names the host, not the address.
fn issuer(app: &App) -> String {
    let port = app.lido.base().rsplit_once(':').unwrap().1;
    format!("http://localhost:{port}/{}", app.pool.id)
}

/// The claims, verified by another implementation with the keys that are served.
fn verified(keys: &Value, token: &str, audience: Option<&str>) -> Value {
    let keys: JwkSet = serde_json::from_value(keys.clone()).unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&kid).expect("the key is served")).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    match audience {
        Some(audience) => validation.set_audience(&[audience]),
        None => validation.validate_aud = false,
    }
    jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap().claims
}

fn names(claims: &Value) -> BTreeSet<&str> {
    claims.as_object().unwrap().keys().map(String::as_str).collect()
}

fn is_uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.split('-').map(str::len).eq([8, 4, 4, 4, 12]))
}

#[tokio::test]
async fn tokens_say_who_signed_in_where() {
    let app = Lido::shared().await.pool().app_client().await;
    let (user, tokens) = app.user("ana").verified_email("ana@example.com").signed_in().await;
    let (sub, keys) = (user.sub().await, keys(&app).await);
    let access = verified(&keys, &tokens.access, None);
    let id = verified(&keys, &tokens.id, Some(&app.id));
    assert_eq!(
        names(&access),
        BTreeSet::from([
            "auth_time",
            "client_id",
            "event_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "origin_jti",
            "scope",
            "sub",
            "token_use",
            "username",
        ])
    );
    assert_eq!(
        names(&id),
        BTreeSet::from([
            "aud",
            "auth_time",
            "cognito:username",
            "email",
            "email_verified",
            "event_id",
            "exp",
            "iat",
            "iss",
            "jti",
            "origin_jti",
            "sub",
            "token_use",
        ])
    );
    for (name, value) in [
        ("sub", json!(sub)),
        ("iss", json!(issuer(&app))),
        ("client_id", json!(app.id)),
        ("token_use", json!("access")),
        ("scope", json!("aws.cognito.signin.user.admin")),
        ("username", json!("ana")),
    ] {
        assert_eq!(access[name], value, "{name}");
    }
    for (name, value) in [
        ("sub", json!(sub)),
        ("iss", json!(issuer(&app))),
        ("aud", json!(app.id)),
        ("token_use", json!("id")),
        ("cognito:username", json!("ana")),
        ("email", json!("ana@example.com")),
        ("email_verified", json!(true)),
    ] {
        assert_eq!(id[name], value, "{name}");
    }
    for same in ["auth_time", "iat", "event_id", "origin_jti"] {
        assert_eq!(access[same], id[same], "{same}");
    }
    assert_ne!(access["jti"], id["jti"]);
    for uuid in ["jti", "origin_jti", "event_id"] {
        assert!(is_uuid(&access[uuid]), "{uuid}");
    }
    let number = |name: &str| access[name].as_i64().expect("whole seconds");
    assert_eq!((number("auth_time"), number("exp")), (number("iat"), number("iat") + 3600));
    let other = app.tokens("ana", PASSWORD).await;
    assert_ne!(claims(&other.access)["origin_jti"], access["origin_jti"]);
    assert!(tokens.refresh.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte)));
}

#[tokio::test]
async fn a_pool_has_a_key_for_either_token() {
    let lido = Lido::shared().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let keys = keys(&app).await;
    let list = keys["keys"].as_array().unwrap();
    assert_eq!(list.len(), 2);
    for key in list {
        assert_eq!(names(key), BTreeSet::from(["alg", "e", "kid", "kty", "n", "use"]));
        assert_eq!(
            (&key["alg"], &key["e"], &key["kty"], &key["use"]),
            (&json!("RS256"), &json!("AQAB"), &json!("RSA"), &json!("sig"))
        );
        assert_eq!(STANDARD.decode(key["kid"].as_str().unwrap()).unwrap().len(), 32);
        assert_eq!(URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap().len(), 256);
    }
    let (id, access) = (header(&tokens.id), header(&tokens.access));
    for header in [&id, &access] {
        assert_eq!(names(header), BTreeSet::from(["alg", "kid"]));
        assert_eq!(header["alg"], "RS256");
        assert!(list.iter().any(|key| key["kid"] == header["kid"]));
    }
    assert_ne!(id["kid"], access["kid"]);
    let other = lido.pool().app_client().await;
    assert!(self::keys(&other).await["keys"].as_array().unwrap().iter().all(|key| !list.contains(key)));
}

#[tokio::test]
async fn the_issuer_s_documents_are_public() {
    let lido = Lido::shared().await;
    let app = lido.pool().app_client().await;
    let path = format!("/{}/.well-known/openid-configuration", app.pool.id);
    let response = lido.request(http::Method::GET, &path).send().await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.headers()["content-type"], "application/json");
    let document: Value = response.json().await.unwrap();
    assert_eq!(document["issuer"], issuer(&app));
    assert_eq!(document["jwks_uri"], format!("{}/.well-known/jwks.json", issuer(&app)));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert_eq!(document["subject_types_supported"], json!(["public"]));
    for path in ["/us-east-1_unknown/.well-known/jwks.json", "/x/.well-known/openid-configuration"] {
        assert_eq!(lido.request(http::Method::GET, path).send().await.unwrap().status(), 404, "{path}");
    }
}

#[tokio::test]
async fn the_issuer_can_be_told() {
    let lido = Lido::setup().flag("--public-url", "https://id.example.com").start().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    assert_eq!(claims(&tokens.access)["iss"], format!("https://id.example.com/{}", app.pool.id));
    tokens.get_user().await.ok();
    let lido = Lido::setup().config("issuer = \"aws\"\n").start().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    assert_eq!(
        claims(&tokens.id)["iss"],
        format!("https://cognito-idp.us-east-1.amazonaws.com/{}", app.pool.id)
    );
    tokens.get_user().await.ok();
}

#[tokio::test]
async fn readable_attributes_are_claims() {
    let lido = Lido::shared().await;
    let schema = json!([
        { "Name": "age", "AttributeDataType": "Number", "Mutable": true },
        { "Name": "note", "AttributeDataType": "String", "Mutable": true, "DeveloperOnlyAttribute": true },
    ]);
    let pool = lido.pool().with(json!({ "Schema": schema })).create().await;
    let plain = pool.app_client().await;
    plain
        .user("ana")
        .email("ana@example.com")
        .verified_phone_number("+15550001234")
        .attribute("address", "Street 1")
        .attribute("updated_at", "1700000000")
        .attribute("custom:age", "42")
        .attribute("dev:custom:note", "n")
        .attribute("nickname", "A")
        .create()
        .await;
    let id = claims(&plain.tokens("ana", PASSWORD).await.id);
    for (name, value) in [
        ("email", json!("ana@example.com")),
        ("phone_number_verified", json!(true)),
        ("address", json!({ "formatted": "Street 1" })),
        ("updated_at", json!(1_700_000_000)),
        ("nickname", json!("A")),
        ("custom:age", Value::Null),
        ("dev:custom:note", Value::Null),
    ] {
        assert_eq!(id[name], value, "{name}");
    }
    let reading = json!({ "ReadAttributes": ["email", "email_verified", "custom:age"] });
    let reading = pool.client().with(reading).create().await;
    let id = claims(&reading.tokens("ana", PASSWORD).await.id);
    assert_eq!(
        (&id["custom:age"], &id["nickname"], &id["address"]),
        (&json!("42"), &Value::Null, &Value::Null)
    );
    let access = claims(&reading.tokens("ana", PASSWORD).await.access);
    assert_eq!(access["email"], Value::Null);
}

#[tokio::test]
async fn without_revocation_tokens_do_not_name_their_sign_in() {
    let pool = Lido::shared().await.pool().create().await;
    let app = pool.client().with(json!({ "EnableTokenRevocation": false })).create().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let (access, id) = (claims(&tokens.access), claims(&tokens.id));
    assert_eq!(
        (&access["origin_jti"], &id["origin_jti"], &id["jti"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(is_uuid(&access["jti"]));
    tokens.get_user().await.ok();
}

#[tokio::test]
async fn an_access_token_expires_with_its_validity() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let validity = json!({ "AccessTokenValidity": 5, "TokenValidityUnits": { "AccessToken": "minutes" } });
    let app = pool.client().with(validity).create().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    lido.clock().advance(4 * 60).await;
    tokens.get_user().await.ok();
    lido.clock().advance(60).await;
    refused(&tokens.get_user().await, ACCESS_TOKEN_EXPIRED);
}

// ---- Forgeries -------------------------------------------------------------------------------

/// A pool whose private keys the test knows.
struct Forge {
    app: App,
    /// A real sign-in.
    tokens: Tokens,
    access: EncodingKey,
    id: EncodingKey,
    /// A key of nobody.
    foreign: EncodingKey,
}

fn new_key() -> (String, EncodingKey) {
    let key = SigningKey::generate().unwrap();
    let lines: Vec<String> = STANDARD
        .encode(key.pkcs8.expose())
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    (pem, encoding)
}

impl Forge {
    async fn new() -> Self {
        let ((access_pem, access), (id_pem, id), (_, foreign)) = (new_key(), new_key(), new_key());
        let seed = json!({ "UserPools": [{
            "Id": "us-east-1_Forge0001", "PoolName": "forge", "SigningKeys": { "access": access_pem, "id": id_pem },
        }] });
        let lido =
            Lido::setup().file("seed.json", seed.to_string()).flag("--seed", "seed.json").start().await;
        let pool = lido_tests::Pool {
            lido: lido.clone(),
            id: "us-east-1_Forge0001".to_owned(),
            arn: "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_Forge0001".to_owned(),
        };
        let app = pool.app_client().await;
        let (_, tokens) = app.user("ana").signed_in().await;
        Self { app, tokens, access, id, foreign }
    }

    fn claims(&self, changes: Value) -> Value {
        let mut claims = claims(&self.tokens.access);
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn kid(&self, token: &str) -> String {
        header(token)["kid"].as_str().unwrap().to_owned()
    }

    /// A token with the access key's id and these claims.
    fn sign(&self, key: &EncodingKey, claims: &Value) -> String {
        self.sign_as(key, Algorithm::RS256, Some(self.kid(&self.tokens.access)), claims)
    }

    fn sign_as(
        &self,
        key: &EncodingKey,
        algorithm: Algorithm,
        kid: Option<String>,
        claims: &Value,
    ) -> String {
        let header = jsonwebtoken::Header { typ: None, kid, ..jsonwebtoken::Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }

    async fn refuses(&self, what: &str, token: &str, expected: &[Refusal]) {
        for (operation, more) in [
            ("GetUser", json!({})),
            ("GetUserAttributeVerificationCode", json!({ "AttributeName": "email" })),
        ] {
            let body = lido_tests::merged(json!({ "AccessToken": token }), more);
            let answer = self.app.lido.call(operation, body).await;
            let message = answer.body["message"].as_str().unwrap_or_default();
            let code = answer.code().unwrap_or_default();
            assert!(expected.contains(&(leak(code), leak(message))), "{what}: {}", answer.text);
        }
    }
}

/// For comparisons with constants; a test does not live long.
fn leak(text: &str) -> &'static str {
    text.to_owned().leak()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn what_is_signed_with_the_right_key_is_still_checked() {
    let forge = Forge::new().await;
    // That forging works at all.
    let copy = forge.sign(&forge.access, &forge.claims(json!({})));
    forge.app.lido.call("GetUser", json!({ "AccessToken": copy })).await.ok();
    let elsewhere = forge.app.lido.pool().app_client().await;
    let now = forge.app.lido.clock().now().await;
    for (what, changes, expected) in [
        ("expired", json!({ "exp": now }), ACCESS_TOKEN_EXPIRED),
        ("long expired", json!({ "exp": 1 }), ACCESS_TOKEN_EXPIRED),
        ("no expiry", json!({ "exp": null }), INVALID_ACCESS_TOKEN),
        ("an expiry in words", json!({ "exp": "tomorrow" }), INVALID_ACCESS_TOKEN),
        ("no time of issue", json!({ "iat": null }), INVALID_ACCESS_TOKEN),
        ("no scope", json!({ "scope": null }), ACCESS_TOKEN_SCOPES),
        ("another scope", json!({ "scope": "openid email" }), ACCESS_TOKEN_SCOPES),
        ("a longer scope", json!({ "scope": "aws.cognito.signin.user.administrator" }), ACCESS_TOKEN_SCOPES),
        ("another issuer", json!({ "iss": issuer(&elsewhere) }), INVALID_ACCESS_TOKEN),
        (
            "an issuer that ends alike",
            json!({ "iss": "https://evil.example/us-east-1_Forge0001" }),
            INVALID_ACCESS_TOKEN,
        ),
        ("no issuer", json!({ "iss": null }), INVALID_ACCESS_TOKEN),
        ("an unknown client", json!({ "client_id": "unknown" }), INVALID_ACCESS_TOKEN),
        ("a client of another pool", json!({ "client_id": elsewhere.id }), INVALID_ACCESS_TOKEN),
        ("no client", json!({ "client_id": null }), INVALID_ACCESS_TOKEN),
        ("an ID token", json!({ "token_use": "id" }), INVALID_ACCESS_TOKEN),
        ("no use", json!({ "token_use": null }), INVALID_ACCESS_TOKEN),
        ("nobody", json!({ "sub": "00000000-0000-4000-8000-000000000000" }), USER_NOT_FOUND),
        ("no subject", json!({ "sub": null }), INVALID_ACCESS_TOKEN),
        ("a number as subject", json!({ "sub": 1 }), INVALID_ACCESS_TOKEN),
        (
            "a sign-in that is not known",
            json!({ "origin_jti": "00000000-0000-4000-8000-000000000000" }),
            ACCESS_TOKEN_REVOKED,
        ),
    ] {
        let token = forge.sign(&forge.access, &forge.claims(changes));
        forge.refuses(what, &token, &[expected]).await;
    }
}

#[tokio::test]
async fn forged_signatures_are_refused() {
    let forge = Forge::new().await;
    let claims = forge.claims(json!({}));
    let (access_kid, id_kid) = (forge.kid(&forge.tokens.access), forge.kid(&forge.tokens.id));
    let keys = keys(&forge.app).await;
    let modulus =
        keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == access_kid).unwrap()["n"].clone();
    let by_modulus = EncodingKey::from_secret(modulus.as_str().unwrap().as_bytes());
    let [head, body, signature] = forge.tokens.access.split('.').collect::<Vec<_>>()[..] else {
        unreachable!()
    };
    let administrator = encoded(&forge.claims(json!({ "username": "root" })));
    let header = |members: Value| encoded(&members);
    let some = |kid: &str| Some(kid.to_owned());
    let (invalid, signed) = (&[INVALID_ACCESS_TOKEN][..], &[ACCESS_TOKEN_SIGNATURE][..]);
    let either = &[INVALID_ACCESS_TOKEN, ACCESS_TOKEN_SIGNATURE][..];
    let mut embedded =
        Map::from_iter([("alg".to_owned(), json!("RS256")), ("kid".to_owned(), json!(access_kid))]);
    embedded.insert("jwk".to_owned(), keys["keys"][0].clone());
    embedded.insert("jku".to_owned(), json!("https://evil.example/jwks.json"));
    for (what, token, expected) in [
        ("signed by nobody's key", forge.sign(&forge.foreign, &claims), signed),
        ("signed by the key of ID tokens", forge.sign(&forge.id, &claims), signed),
        (
            "signed by the key of ID tokens, in its name",
            forge.sign_as(&forge.id, Algorithm::RS256, some(&id_kid), &claims),
            invalid,
        ),
        (
            "the access key in the other's name",
            forge.sign_as(&forge.access, Algorithm::RS256, some(&id_kid), &claims),
            invalid,
        ),
        ("an unknown key", forge.sign_as(&forge.access, Algorithm::RS256, some("unknown"), &claims), invalid),
        ("no key", forge.sign_as(&forge.access, Algorithm::RS256, None, &claims), invalid),
        (
            "HS256 with the public modulus",
            forge.sign_as(&by_modulus, Algorithm::HS256, some(&access_kid), &claims),
            either,
        ),
        ("RS512", forge.sign_as(&forge.access, Algorithm::RS512, some(&access_kid), &claims), either),
        ("PS256", forge.sign_as(&forge.access, Algorithm::PS256, some(&access_kid), &claims), either),
        ("alg none", format!("{}.{body}.", header(json!({ "alg": "none", "kid": access_kid }))), either),
        (
            "alg NONE, with a signature",
            format!("{}.{body}.{signature}", header(json!({ "alg": "NONE", "kid": access_kid }))),
            either,
        ),
        ("no algorithm", format!("{}.{body}.{signature}", header(json!({ "kid": access_kid }))), either),
        ("a key of its own", format!("{}.{body}.{signature}", header(Value::Object(embedded))), either),
        ("other claims under the signature", format!("{head}.{administrator}.{signature}"), signed),
        ("no signature", format!("{head}.{body}."), either),
        ("a short signature", format!("{head}.{body}.{}", &signature[..signature.len() - 4]), either),
        ("a long signature", format!("{head}.{body}.{signature}AAAA"), either),
        ("nought as signature", format!("{head}.{body}.{}", "A".repeat(342)), signed),
        (
            "the ID token's signature",
            format!("{head}.{body}.{}", forge.tokens.id.rsplit_once('.').unwrap().1),
            signed,
        ),
        ("two parts", format!("{head}.{body}"), invalid),
        ("four parts", format!("{head}.{body}.{signature}.x"), invalid),
        ("five parts", format!("{head}.x.{body}.{signature}.x"), invalid),
        ("an empty head", format!(".{body}.{signature}"), invalid),
        ("claims that are a list", format!("{head}.{}.{signature}", encoded(&json!([]))), invalid),
        ("claims that are no JSON", format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode("{")), invalid),
        ("padding", format!("{head}=.{body}.{signature}"), either),
        ("dots", "...".to_owned(), invalid),
        ("a long text", "a".repeat(100_000), invalid),
    ] {
        forge.refuses(what, &token, expected).await;
    }
    forge.tokens.get_user().await.ok();
}
