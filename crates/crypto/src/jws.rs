//! Signed tokens: JWS in its compact form, with RS256 and nothing else.
//!
//! [`SigningKey`] makes them. Reading is in two steps: [`parse`] takes a token apart without believing it, so
//! that the `kid` can be looked up, and [`VerifyingKey::verify`] tells whether to believe it. Expiry, issuer
//! and the other claims are for the caller to judge.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lido_domain::{Random, Secret};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// The longest token that [`parse`] looks at, in bytes. An access token of a user in 100 groups, whose names have
/// 128 characters of up to four bytes, has some 70,000.
pub const MAX_TOKEN: usize = 128 * 1024;

/// The only public exponent in use: 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// Why a key cannot be used or did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("not a PEM block of an unencrypted RSA private key")]
    Pem,
    #[error("not an RSA key of 2048 to 8192 bits with exponent 65537")]
    Rejected,
    #[error("the RSA operation failed")]
    Failed,
}

/// A new RSA-2048 key.
#[derive(Debug)]
pub struct GeneratedKey {
    /// PKCS#8 DER.
    pub pkcs8: Secret<Vec<u8>>,
    /// Base64url of the modulus, as in a JWK.
    pub modulus: String,
}

/// A private key ready to sign, with the header that its tokens carry.
pub struct SigningKey {
    pair: RsaKeyPair,
    kid: String,
    /// Base64url of `{"kid":"…","alg":"RS256"}`.
    header: String,
}

impl SigningKey {
    /// Takes some 100 ms, at times several times as long: keep keys in stock.
    pub fn generate() -> Result<GeneratedKey, KeyFault> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFault::Failed)?;
        Ok(GeneratedKey { pkcs8: pkcs8(&pair)?, modulus: modulus(&pair) })
    }

    /// From PKCS#8 DER.
    pub fn from_pkcs8(der: &[u8], kid: String) -> Result<Self, KeyFault> {
        Self::new(RsaKeyPair::from_pkcs8(der).map_err(|_| KeyFault::Rejected)?, kid)
    }

    /// From the first PEM block of a file, `PRIVATE KEY` (PKCS#8) or `RSA PRIVATE KEY` (PKCS#1), unencrypted.
    pub fn from_pem(pem: &str, kid: String) -> Result<Self, KeyFault> {
        let (label, der) = pem_block(pem).ok_or(KeyFault::Pem)?;
        let pair = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
            _ => return Err(KeyFault::Pem),
        };
        Self::new(pair.map_err(|_| KeyFault::Rejected)?, kid)
    }

    fn new(pair: RsaKeyPair, kid: String) -> Result<Self, KeyFault> {
        if pair.public_key().exponent().big_endian_without_leading_zero() != EXPONENT {
            return Err(KeyFault::Rejected);
        }
        // Written by hand for the order of the members, which is that of the real service.
        let header = format!(r#"{{"kid":{},"alg":"RS256"}}"#, Value::from(kid.as_str()));
        Ok(Self { pair, kid, header: URL_SAFE_NO_PAD.encode(header) })
    }

    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// A compact JWS over the claims. Some 0.7 ms.
    ///
    /// Errors: [`KeyFault::Failed`] also for claims that do not make JSON.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, KeyFault> {
        let claims = serde_json::to_vec(claims).map_err(|_| KeyFault::Failed)?;
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 352);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // The padding of PKCS#1 takes no randomness; the parameter is for the other one.
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| KeyFault::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// As in a JWK and as [`VerifyingKey::from_modulus`] reads it.
    pub fn modulus_base64url(&self) -> String {
        modulus(&self.pair)
    }

    /// PKCS#8 DER, whatever form the key came in.
    pub fn pkcs8(&self) -> Result<Secret<Vec<u8>>, KeyFault> {
        pkcs8(&self.pair)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn modulus(pair: &RsaKeyPair) -> String {
    URL_SAFE_NO_PAD.encode(pair.public_key().modulus().big_endian_without_leading_zero())
}

fn pkcs8(pair: &RsaKeyPair) -> Result<Secret<Vec<u8>>, KeyFault> {
    let der = pair.as_der().map_err(|_| KeyFault::Failed)?;
    Ok(Secret::new(der.as_ref().to_vec()))
}

/// Label and content of the first PEM block.
fn pem_block(pem: &str) -> Option<(&str, Zeroizing<Vec<u8>>)> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    Some((label, Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?)))
}

/// A new key id: standard base64 of 32 random bytes, 44 characters.
pub fn new_kid(random: &dyn Random) -> String {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    STANDARD.encode(bytes)
}

/// The entry of a key in a JWK set. `modulus` is base64url.
pub fn jwk(kid: &str, modulus: &str) -> Value {
    json!({ "alg": "RS256", "e": "AQAB", "kid": kid, "kty": "RSA", "n": modulus, "use": "sig" })
}

/// A public key ready to verify.
#[derive(Clone)]
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    /// Of a key with exponent 65537, by the base64url of its modulus.
    pub fn from_modulus(base64url: &str) -> Result<Self, KeyFault> {
        Self::from_components(base64url, "AQAB")
    }

    /// By the members `n` and `e` of a JWK, as other issuers publish them.
    pub fn from_components(n: &str, e: &str) -> Result<Self, KeyFault> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFault::Rejected);
        let (n, e) = (decode(n)?, decode(e)?);
        // AWS-LC would refuse other sizes only when it comes to verify.
        let leading_zeros = n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(2048..=8192).contains(&(n.len() * 8 - leading_zeros)) {
            return Err(KeyFault::Rejected);
        }
        PublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map(Self)
            .map_err(|_| KeyFault::Rejected)
    }

    /// Whether this key signed the token. Some 25 µs.
    pub fn verify(&self, token: &Token<'_>) -> bool {
        self.0.verify_sig(token.signed.as_bytes(), &token.signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey")
    }
}

/// A token taken apart. Its claims are worth nothing until [`VerifyingKey::verify`] has agreed.
#[derive(Debug)]
pub struct Token<'a> {
    pub header: Header,
    pub claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Empty where the header has none; no key has an empty id.
    pub kid: String,
    /// Always `RS256`: others are refused.
    pub alg: String,
}

/// The text is not a token that could be verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RS256 token in compact form")]
pub struct Malformed;

/// Splits a compact JWS and decodes header and claims without trusting them.
///
/// Refused are texts of more than [`MAX_TOKEN`] bytes, of other than three parts, parts that are not strict
/// base64url without padding, header or claims that are not a JSON object or that name a member twice at any
/// depth (readers would disagree which counts), an `alg` other than `RS256`, and a header with `crit`.
pub fn parse(token: &str) -> Result<Token<'_>, Malformed> {
    if token.len() > MAX_TOKEN {
        return Err(Malformed);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Malformed)?;
    // A further dot fails as a character that is not base64url.
    let (header, claims) = signed.split_once('.').ok_or(Malformed)?;
    let (mut header, claims) = (object(header)?, object(claims)?);
    if header.contains_key("crit") {
        return Err(Malformed);
    }
    let alg = match header.remove("alg") {
        Some(Value::String(alg)) if alg == "RS256" => alg,
        _ => return Err(Malformed),
    };
    let kid = match header.remove("kid") {
        Some(Value::String(kid)) => kid,
        None => String::new(),
        Some(_) => return Err(Malformed),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Malformed)?;
    Ok(Token { header: Header { kid, alg }, claims, signed, signature })
}

fn object(part: &str) -> Result<Map<String, Value>, Malformed> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed)?;
    match serde_json::from_slice(&json) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        _ => Err(Malformed),
    }
}

/// A JSON value in which no object names a member twice; `Value` itself would keep the last one.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if map.insert(name, value).is_some() {
                return Err(de::Error::custom("a member is named twice"));
            }
        }
        Ok(map.into())
    }
}
