//! Tokens, against an independent implementation in both directions.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use lido_crypto::jws::{self, GeneratedKey, KeyFault, MAX_TOKEN, SigningKey, VerifyingKey};
use serde_json::{Value, json};

use crate::SystemRandom;

const KID: &str = "a+b/c\"d=";

static GENERATED: LazyLock<GeneratedKey> = LazyLock::new(|| SigningKey::generate().unwrap());
static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_pkcs8(GENERATED.pkcs8.expose(), KID.to_owned()).unwrap());

fn public() -> VerifyingKey {
    VerifyingKey::from_modulus(&KEY.modulus_base64url()).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("a comment\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Strips the fixed 26 bytes that PKCS#8 puts around a 2048-bit PKCS#1 key.
fn pkcs1() -> &'static [u8] {
    &GENERATED.pkcs8.expose()[26..]
}

fn claims() -> Value {
    json!({ "sub": "ana", "exp": 4_102_444_800_u64, "cognito:groups": ["a", "b"], "nested": { "é": 1.5 } })
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_aud = false;
    validation
}

/// A compact JWS of the given header and claims, with the signature of the key over them.
fn forged(header: &str, claims: &str) -> String {
    let pair = aws_lc_rs::signature::RsaKeyPair::from_pkcs8(GENERATED.pkcs8.expose()).unwrap();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(
        &aws_lc_rs::signature::RSA_PKCS1_SHA256,
        &aws_lc_rs::rand::SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_token_signed_here_is_accepted_by_others() {
    let token = KEY.sign(&claims()).unwrap();
    let key = DecodingKey::from_rsa_components(&GENERATED.modulus, "AQAB").unwrap();
    let read = jsonwebtoken::decode::<Value>(&token, &key, &validation()).unwrap();
    assert_eq!(read.claims, claims());
    assert_eq!(read.header.kid.as_deref(), Some(KID));
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    assert_eq!(std::str::from_utf8(&header).unwrap(), r#"{"kid":"a+b/c\"d=","alg":"RS256"}"#);
}

#[test]
fn a_token_signed_here_is_accepted_here() {
    let text = KEY.sign(&claims()).unwrap();
    let token = jws::parse(&text).unwrap();
    assert!(public().verify(&token));
    assert_eq!(token.header.kid, KID);
    assert_eq!(token.header.alg, "RS256");
    assert_eq!(Value::Object(token.claims), claims());
}

#[test]
fn a_token_signed_by_others_is_accepted_here() {
    let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", GENERATED.pkcs8.expose()).as_bytes()).unwrap();
    let text = jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::RS256), &claims(), &key).unwrap();
    let token = jws::parse(&text).unwrap();
    assert!(public().verify(&token));
    assert_eq!(token.header.kid, "");
}

#[test]
fn a_changed_token_is_refused() {
    let text = KEY.sign(&claims()).unwrap();
    let key = public();
    for place in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(!jws::parse(&changed).is_ok_and(|token| key.verify(&token)), "{place}");
    }
    let (signed, _) = text.rsplit_once('.').unwrap();
    for other in [format!("{signed}."), format!("{signed}.AAAA")] {
        assert!(!key.verify(&jws::parse(&other).unwrap()));
    }
}

#[test]
fn another_key_is_refused() {
    let other = SigningKey::generate().unwrap();
    let other = SigningKey::from_pkcs8(other.pkcs8.expose(), KID.to_owned()).unwrap();
    let text = other.sign(&claims()).unwrap();
    assert!(!public().verify(&jws::parse(&text).unwrap()));
}

#[test]
fn other_algorithms_are_refused() {
    let secret = EncodingKey::from_secret(GENERATED.modulus.as_bytes());
    let hs256 = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims(), &secret).unwrap();
    assert!(jws::parse(&hs256).is_err());
    let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", GENERATED.pkcs8.expose()).as_bytes()).unwrap();
    let rs512 = jsonwebtoken::encode(&jsonwebtoken::Header::new(Algorithm::RS512), &claims(), &key).unwrap();
    assert!(jws::parse(&rs512).is_err());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"rs256"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["RS256"]}"#,
        r#"{}"#,
        r#"{"kid":"x"}"#,
    ] {
        assert!(jws::parse(&forged(header, "{}")).is_err(), "{header}");
    }
}

#[test]
fn malformed_tokens_are_refused() {
    let good = r#"{"alg":"RS256"}"#;
    assert!(public().verify(&jws::parse(&forged(good, "{}")).unwrap()));
    for (header, claims) in [
        (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, "{}"),
        (r#"{"alg":"RS256","crit":[]}"#, "{}"),
        (r#"{"alg":"RS256","alg":"RS256"}"#, "{}"),
        (r#"{"alg":"RS256","\u0061lg":"RS256"}"#, "{}"),
        (r#"{"alg":"RS256","kid":1}"#, "{}"),
        (r#"["alg","RS256"]"#, "{}"),
        (r#"{"alg":"RS256"} x"#, "{}"),
        ("", "{}"),
        (good, ""),
        (good, "[]"),
        (good, "null"),
        (good, r#"{"sub":"a","sub":"b"}"#),
        (good, r#"{"a":{"b":1,"b":2}}"#),
        (good, r#"{"a":[{"b":1,"b":1}]}"#),
        (good, r#"{"a":1}{"#),
        (good, &format!(r#"{{"a":{}{}}}"#, "[".repeat(1000), "]".repeat(1000))),
    ] {
        assert!(jws::parse(&forged(header, claims)).is_err(), "{header} {claims}");
    }
    let token = forged(good, "{}");
    let (header, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{body}"),
        format!("{header}.{body}.{signature}."),
        format!(".{header}.{body}.{signature}"),
        format!("{header}.{body}.{signature}.{signature}"),
        format!("{header}.{body}.{signature}="),
        format!("{header}=.{body}.{signature}"),
        format!("{header}.{body}.{signature}\n"),
        format!(" {header}.{body}.{signature}"),
        // Bits beyond the last byte must be zero: `{}` is e30.
        format!("{header}.e31.{signature}"),
        format!("{header}.{body}.{}", signature.replace(['-', '_'], "+")),
    ] {
        if text != token {
            assert!(jws::parse(&text).is_err(), "{text}");
        }
    }
    let long = forged(good, &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN)));
    assert!(jws::parse(&long).is_err());
    let nearly = forged(good, &format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_TOKEN * 3 / 4 - 400)));
    assert!(nearly.len() <= MAX_TOKEN && jws::parse(&nearly).is_ok());
}

#[test]
fn the_longest_list_of_groups_makes_a_token_that_is_read() {
    let key = SigningKey::from_pkcs8(GENERATED.pkcs8.expose(), KID.into()).unwrap();
    let groups = vec!["\u{1f600}".repeat(128); 100];
    let token = key.sign(&json!({ "sub": "ana", "cognito:groups": groups })).unwrap();
    let token = jws::parse(&token).unwrap();
    assert_eq!(token.claims["cognito:groups"].as_array().map(Vec::len), Some(100));
    assert!(VerifyingKey::from_modulus(&GENERATED.modulus).unwrap().verify(&token));
}

#[test]
fn keys_are_read_in_every_form() {
    let pkcs8 = GENERATED.pkcs8.expose();
    for key in [
        SigningKey::from_pkcs8(pkcs8, KID.to_owned()).unwrap(),
        SigningKey::from_pem(&pem("PRIVATE KEY", pkcs8), KID.to_owned()).unwrap(),
        SigningKey::from_pem(&pem("RSA PRIVATE KEY", pkcs1()).replace('\n', "\r\n"), KID.to_owned()).unwrap(),
    ] {
        assert_eq!(key.modulus_base64url(), GENERATED.modulus);
        assert_eq!(key.pkcs8().unwrap().expose(), pkcs8);
        assert_eq!(key.kid(), KID);
        assert!(!format!("{key:?}").contains("pair"));
    }
}

#[test]
fn other_keys_are_refused() {
    let pkcs8 = GENERATED.pkcs8.expose();
    for (text, why) in [
        (String::new(), KeyFault::Pem),
        (pem("ENCRYPTED PRIVATE KEY", pkcs8), KeyFault::Pem),
        (pem("PUBLIC KEY", pkcs8), KeyFault::Pem),
        (pem("PRIVATE KEY", pkcs8).replace("END", "FIN"), KeyFault::Pem),
        (pem("PRIVATE KEY", &pkcs8[..pkcs8.len() - 1]), KeyFault::Rejected),
        (pem("RSA PRIVATE KEY", pkcs8), KeyFault::Rejected),
        (pem("PRIVATE KEY", pkcs1()), KeyFault::Rejected),
    ] {
        assert_eq!(SigningKey::from_pem(&text, String::new()).unwrap_err(), why);
    }
    assert!(VerifyingKey::from_modulus("").is_err());
    assert!(VerifyingKey::from_modulus("AQAB").is_err());
    assert!(VerifyingKey::from_modulus("not base64url!").is_err());
    assert!(VerifyingKey::from_components(&GENERATED.modulus, "").is_err());
    // 1024 bits are too few.
    assert!(VerifyingKey::from_modulus(&URL_SAFE_NO_PAD.encode([0xff; 128])).is_err());
}

#[test]
fn a_jwk_has_the_members_of_the_service() {
    assert_eq!(
        jws::jwk("k=", "bW9k").to_string(),
        r#"{"alg":"RS256","e":"AQAB","kid":"k=","kty":"RSA","n":"bW9k","use":"sig"}"#
    );
    let kid = jws::new_kid(&SystemRandom);
    assert_eq!(STANDARD.decode(&kid).unwrap().len(), 32);
    assert_eq!(kid.len(), 44);
    assert_ne!(kid, jws::new_kid(&SystemRandom));
}
