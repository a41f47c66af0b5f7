//! Verification of AWS Signature Version 4 in the `Authorization` header.
//!
//! Source: the signing process of the AWS general reference; the texts are the request framework's. The
//! query form is not accepted: no client of this service uses it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::{digest, hmac};
use http::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName};
use http::request::Parts;
use lido_crypto::constant_time_eq;
use lido_domain::{Clock, Millis, Secret};
use lido_idp::fault::{self, Fault};
use lido_idp::policy::Principal;
use moka::sync::Cache;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "cognito-idp";
const TERMINATOR: &str = "aws4_request";

/// How far a request's time may be from the server's.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Derived signing keys that are kept: one for each access key, day and region.
const DERIVED_KEYS: u64 = 1_000;

/// A configured access key.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub id: String,
    pub secret: Secret<String>,
    pub principal: Arc<Principal>,
}

/// Knows the access keys of the account, and whether a request is signed with one.
#[derive(Debug)]
pub struct Verifier {
    keys: HashMap<String, AccessKey>,
    clock: Arc<dyn Clock>,
    derived: Cache<(String, String, String), hmac::Key>,
}

/// A request whose signature is right.
#[derive(Clone, Debug)]
pub struct Signed {
    pub principal: Arc<Principal>,
    /// The region of the credential scope.
    pub region: String,
}

impl Verifier {
    /// `clock`: the real time, since the signer's clock is real too.
    pub fn new(keys: impl IntoIterator<Item = AccessKey>, clock: Arc<dyn Clock>) -> Self {
        let keys = keys.into_iter().map(|key| (key.id.clone(), key)).collect();
        Self { keys, clock, derived: Cache::new(DERIVED_KEYS) }
    }

    /// Errors: [`fault::missing_authentication_token`], [`fault::incomplete_signature`],
    /// [`fault::unrecognized_client`], [`fault::invalid_signature`].
    pub fn verify(&self, request: &Parts, body: &[u8]) -> Result<Signed, Fault> {
        let headers = &request.headers;
        let authorization = Authorization::of(headers)?;
        if request.uri.query().is_some_and(|query| query.contains("X-Amz-Signature=")) {
            return Err(fault::incomplete_signature(
                "Only one way of signing a request may be used at a time.",
            ));
        }
        let scope = authorization.scope;
        let time = signing_time(headers)?;
        scope.check(&time)?;
        let key = self.keys.get(scope.access_key).ok_or_else(fault::unrecognized_client)?;
        // A long-term key never comes with a session token.
        if headers.contains_key("x-amz-security-token") {
            return Err(fault::unrecognized_client());
        }
        self.check_skew(&time)?;
        check_signed_headers(headers, &authorization)?;

        let canonical = canonical_request(request, &authorization.signed_headers, body);
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{}/{}/{SERVICE}/{TERMINATOR}\n{}",
            time.text,
            scope.date,
            scope.region,
            hex_sha256(&canonical)
        );
        let signature = hex(hmac::sign(&self.signing_key(key, &scope), to_sign.as_bytes()).as_ref());
        if !constant_time_eq(signature.as_bytes(), authorization.signature.as_bytes()) {
            return Err(fault::wrong_signature());
        }
        Ok(Signed { principal: Arc::clone(&key.principal), region: scope.region.to_owned() })
    }

    fn check_skew(&self, time: &SigningTime) -> Result<(), Fault> {
        let now = self.clock.now();
        let sent = &time.text;
        let (earliest, latest) = (now - TOLERANCE, now + TOLERANCE);
        if time.at < earliest {
            let (limit, now) = (timestamp::basic(earliest), timestamp::basic(now));
            return Err(fault::invalid_signature(format!(
                "Signature expired: {sent} is now earlier than {limit} ({now} - 5 min.)"
            )));
        }
        if time.at > latest {
            let (limit, now) = (timestamp::basic(latest), timestamp::basic(now));
            return Err(fault::invalid_signature(format!(
                "Signature not yet current: {sent} is still later than {limit} ({now} + 5 min.)"
            )));
        }
        Ok(())
    }

    fn signing_key(&self, key: &AccessKey, scope: &Scope<'_>) -> hmac::Key {
        let place = (key.id.clone(), scope.date.to_owned(), scope.region.to_owned());
        self.derived.get_with(place, || signing_key(&key.secret, scope.date, scope.region))
    }
}

/// The region that the `Authorization` header is scoped to, as far as it can be told. Nothing is verified.
pub fn scoped_region(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, credential) = authorization.split_once("Credential=")?;
    let region = credential.split([',', ' ']).next()?.split('/').nth(2)?;
    is_region(region).then(|| region.to_owned())
}

/// Whether a text can be the region of a pool's id: lower-case letters, digits and hyphens.
fn is_region(text: &str) -> bool {
    let shaped = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len())
        && text.bytes().all(shaped)
        && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The parts of the header, still unproven.
struct Authorization<'a> {
    scope: Scope<'a>,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

#[derive(Clone, Copy)]
struct Scope<'a> {
    access_key: &'a str,
    /// `yyyymmdd`
    date: &'a str,
    region: &'a str,
    service: &'a str,
    terminator: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, Fault> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let header = values.next().ok_or_else(fault::missing_authentication_token)?;
        let header = header.to_str().map_err(|_| {
            fault::incomplete_signature(
                "The Authorization header holds characters that are not visible ASCII.",
            )
        })?;
        if header.trim().is_empty() {
            return Err(fault::missing_authentication_token());
        }
        if values.next().is_some() {
            return Err(fault::incomplete_signature("The request has more than one Authorization header."));
        }
        Self::parse(header, headers)
    }

    fn parse(header: &'a str, headers: &HeaderMap) -> Result<Self, Fault> {
        let (algorithm, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let mut parameters = BTreeMap::new();
        for item in rest.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some((name, value)) = item.split_once('=') else {
                return Err(fault::incomplete_signature(format!(
                    "'{item}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'."
                )));
            };
            parameters.insert(name, value);
        }
        let parameter = |name: &str| parameters.get(name).copied().filter(|value| !value.is_empty());
        let (credential, signature, signed_headers) =
            (parameter("Credential"), parameter("Signature"), parameter("SignedHeaders"));

        let mut missing = String::new();
        for (name, value) in
            [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)]
        {
            if value.is_none() {
                missing += &format!("Authorization header requires '{name}' parameter. ");
            }
        }
        if !headers.contains_key("x-amz-date") && !headers.contains_key(DATE) {
            missing +=
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        }
        if algorithm != ALGORITHM {
            missing += &format!("Authorization header requires the algorithm '{ALGORITHM}'. ");
        }
        let (Some(credential), Some(signature), Some(signed_headers), "") =
            (credential, signature, signed_headers, missing.as_str())
        else {
            return Err(fault::incomplete_signature(format!("{missing}Authorization={header}")));
        };

        let [access_key, date, region, service, terminator] =
            credential.split('/').collect::<Vec<_>>().try_into().map_err(|_| {
                fault::incomplete_signature(format!(
                    "Credential must have exactly 5 slash-delimited elements, e.g. \
                     keyid/date/region/service/term, got '{credential}'."
                ))
            })?;
        Ok(Self {
            scope: Scope { access_key, date, region, service, terminator },
            signed_headers: signed_headers.split(';').collect(),
            signature,
        })
    }
}

impl Scope<'_> {
    fn check(&self, time: &SigningTime) -> Result<(), Fault> {
        if !is_region(self.region) {
            return Err(fault::invalid_signature(format!(
                "Credential should be scoped to a valid region, not '{}'. ",
                self.region
            )));
        }
        if self.service != SERVICE {
            return Err(fault::invalid_signature(format!(
                "Credential should be scoped to correct service: '{SERVICE}'. "
            )));
        }
        if self.terminator != TERMINATOR {
            return Err(fault::invalid_signature(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'. ",
                self.terminator
            )));
        }
        if self.date != &time.text[..8] {
            return Err(fault::invalid_signature(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{}', from '{}'.",
                self.date,
                &time.text[..8],
                time.text
            )));
        }
        Ok(())
    }
}

/// When a request was signed.
struct SigningTime {
    at: Millis,
    /// `yyyymmddThhmmssZ`
    text: String,
}

/// `X-Amz-Date`, else `Date`, which may have the form of RFC 9110.
fn signing_time(headers: &HeaderMap) -> Result<SigningTime, Fault> {
    let header = headers.get("x-amz-date").or_else(|| headers.get(DATE));
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let at = timestamp::parse_basic(text).or_else(|| {
        let since_epoch = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Millis::default() + since_epoch)
    });
    let at = at.ok_or_else(|| {
        fault::incomplete_signature(format!("Date must be in ISO-8601 'basic format'. Got '{text}'."))
    })?;
    Ok(SigningTime { at, text: timestamp::basic(at) })
}

/// `host` and every `x-amz-` header of the request have to be signed, else they could be exchanged.
fn check_signed_headers(headers: &HeaderMap, authorization: &Authorization<'_>) -> Result<(), Fault> {
    let signed = &authorization.signed_headers;
    if !signed.contains(&"host") {
        return Err(fault::invalid_signature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    let is_signed =
        |name: &HeaderName| !name.as_str().starts_with("x-amz-") || signed.contains(&name.as_str());
    if headers.keys().all(is_signed) { Ok(()) } else { Err(fault::wrong_signature()) }
}

fn canonical_request(request: &Parts, signed_headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(512);
    canonical.extend_from_slice(request.method.as_str().as_bytes());
    canonical.push(b'\n');
    // A path is encoded twice in all: once by the client to send it, once more to sign it.
    canonical.extend_from_slice(encode(request.uri.path().as_bytes(), PATH).as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(canonical_query(request.uri.query().unwrap_or_default()).as_bytes());
    canonical.push(b'\n');
    for name in signed_headers {
        canonical.extend_from_slice(name.as_bytes());
        canonical.push(b':');
        for (index, value) in request.headers.get_all(*name).iter().enumerate() {
            if index > 0 {
                canonical.push(b',');
            }
            push_collapsed(&mut canonical, value.as_bytes());
        }
        canonical.push(b'\n');
    }
    canonical.push(b'\n');
    canonical.extend_from_slice(signed_headers.join(";").as_bytes());
    canonical.push(b'\n');
    canonical.extend_from_slice(hex_sha256(body).as_bytes());
    canonical
}

/// Trims, and leaves one space of each run of them.
fn push_collapsed(canonical: &mut Vec<u8>, value: &[u8]) {
    let mut last = b' ';
    for &byte in value.trim_ascii() {
        if byte != b' ' || last != b' ' {
            canonical.push(byte);
        }
        last = byte;
    }
}

/// Everything but the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

fn encode(bytes: &[u8], set: &'static AsciiSet) -> String {
    percent_encode(bytes, set).to_string()
}

fn canonical_query(query: &str) -> String {
    let recode = |text: &str| encode(&percent_decode_str(text).collect::<Vec<_>>(), QUERY);
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recode(name), recode(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn signing_key(secret: &Secret<String>, date: &str, region: &str) -> hmac::Key {
    let start = Secret::new(format!("AWS4{}", secret.expose()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, start.expose().as_bytes());
    for part in [date, region, SERVICE, TERMINATOR] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
    }
    key
}

fn hex_sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string can be written to");
        text
    })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use http::{HeaderValue, Request};
    use lido_idp::policy::Policy;

    use super::*;

    const KEY: &str = "AKIDEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const BODY: &[u8] = br#"{"MaxResults":10}"#;
    const TIME: &str = "20261101T120000Z";

    #[derive(Debug)]
    struct Fixed(Millis);

    impl Clock for Fixed {
        fn now(&self) -> Millis {
            self.0
        }
    }

    fn verifier_at(time: &str) -> Verifier {
        let policy = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        let principal = Principal::new("arn:aws:iam::123456789012:user/test", Policy::parse(policy).unwrap());
        let key = AccessKey {
            id: KEY.to_owned(),
            secret: Secret::new(SECRET.to_owned()),
            principal: Arc::new(principal),
        };
        Verifier::new([key], Arc::new(Fixed(timestamp::parse_basic(time).unwrap())))
    }

    fn verifier() -> Verifier {
        verifier_at(TIME)
    }

    const VECTOR: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261101/us-east-1/cognito-idp/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
        Signature=6df240cb307d2053b162cb30dd1fab1132b1f49a09340649a17ec8b067e809a0";

    fn request(authorization: Option<&str>) -> Parts {
        let mut request = Request::post("/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("host", "cognito-idp.us-east-1.amazonaws.com")
            .header("x-amz-date", TIME)
            .header("x-amz-target", "AWSCognitoIdentityProviderService.ListUserPools");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refused(request: &Parts) -> (&'static str, String) {
        let fault = verifier().verify(request, BODY).unwrap_err();
        assert_eq!(fault.status, 400);
        (fault.code, fault.message.unwrap_or_default())
    }

    /// The request, signed by the vendor's own implementation at `time`.
    fn signed(
        mut request: Parts,
        time: &str,
        secret: &str,
        region: &str,
        service: &str,
        body: &[u8],
    ) -> Parts {
        request.headers.remove("x-amz-date");
        let identity = Credentials::new(KEY, secret, None, None, "test").into();
        let at = UNIX_EPOCH + Duration::from_millis(timestamp::parse_basic(time).unwrap().0.unsigned_abs());
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let uri = format!("http://{}{}", request.headers["host"].to_str().unwrap(), request.uri);
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let signable = SignableRequest::new(
            request.method.as_str(),
            &uri,
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(body),
        )
        .unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            let name: HeaderName = name.parse().unwrap();
            request.headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        request
    }

    #[test]
    fn the_vectors_hold() {
        let headers = ["content-type", "host", "x-amz-date", "x-amz-target"];
        let canonical = canonical_request(&request(None), &headers, BODY);
        assert_eq!(
            hex_sha256(&canonical),
            "50e106f278609bab1d51362f7d63827fbac82b7f4cb7d748a947f93c1ff5bcbc"
        );
        let signed = verifier().verify(&request(Some(VECTOR)), BODY).unwrap();
        assert_eq!(signed.region, "us-east-1");
        assert_eq!(signed.principal.arn, "arn:aws:iam::123456789012:user/test");
    }

    #[test]
    fn the_signing_key_is_derived_as_published() {
        let published = "0b4515a23c9c902f9c63603e4ce0dc0947a31db6207eed53711025383072c99b";
        let bytes: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&published[2 * at..2 * at + 2], 16).unwrap()).collect();
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), b"probe");
        let derived = signing_key(&Secret::new(SECRET.to_owned()), "20261101", "us-east-1");
        assert_eq!(hmac::sign(&derived, b"probe").as_ref(), expected.as_ref());
    }

    #[test]
    fn the_canonical_form_covers_a_session_token() {
        let mut parts = request(None);
        parts.headers.insert("x-amz-security-token", HeaderValue::from_static("TOKEN/EXAMPLE=="));
        let headers = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
        let to_sign = format!(
            "{ALGORITHM}\n{TIME}\n20261101/us-east-1/{SERVICE}/{TERMINATOR}\n{}",
            hex_sha256(&canonical_request(&parts, &headers, BODY))
        );
        let key = signing_key(&Secret::new(SECRET.to_owned()), "20261101", "us-east-1");
        assert_eq!(
            hex(hmac::sign(&key, to_sign.as_bytes()).as_ref()),
            "ee70b482fd66b2bb788c99251e921c3ab1e75d7d4f495e3c1b89570fb3157349"
        );
    }

    #[test]
    fn commas_may_come_without_a_space() {
        assert!(verifier().verify(&request(Some(&VECTOR.replace(", ", ","))), BODY).is_ok());
    }

    #[test]
    fn what_the_vendor_signs_is_accepted() {
        for (uri, region) in [("/", "eu-central-1"), ("/?b=2&a=x%20y&a=%2B&empty", "us-gov-west-1")] {
            let mut parts = request(None);
            parts.uri = uri.parse().unwrap();
            parts.headers.insert("host", HeaderValue::from_static("localhost:5436"));
            parts.headers.insert("x-amz-user-agent", HeaderValue::from_static("  sdk   with    spaces "));
            let parts = signed(parts, TIME, SECRET, region, SERVICE, BODY);
            let signed = verifier().verify(&parts, BODY).unwrap_or_else(|fault| panic!("{uri}: {fault:?}"));
            assert_eq!(signed.region, region);
        }
    }

    #[test]
    fn anything_changed_after_signing_is_noticed() {
        let wrong = fault::wrong_signature();
        let whole = signed(request(None), TIME, SECRET, "us-east-1", SERVICE, BODY);
        assert_eq!(verifier().verify(&whole, b"{}").unwrap_err(), wrong, "body");

        let mut parts = whole.clone();
        parts.headers.insert(
            "x-amz-target",
            HeaderValue::from_static("AWSCognitoIdentityProviderService.DeleteUserPool"),
        );
        assert_eq!(verifier().verify(&parts, BODY).unwrap_err(), wrong, "operation");

        let mut parts = whole.clone();
        parts.headers.insert("host", HeaderValue::from_static("elsewhere"));
        assert_eq!(verifier().verify(&parts, BODY).unwrap_err(), wrong, "host");

        let mut parts = whole.clone();
        parts.headers.insert("x-amz-unsigned", HeaderValue::from_static("1"));
        assert_eq!(verifier().verify(&parts, BODY).unwrap_err(), wrong, "an unsigned x-amz- header");

        let other = signed(request(None), TIME, "another secret", "us-east-1", SERVICE, BODY);
        assert_eq!(verifier().verify(&other, BODY).unwrap_err(), wrong, "secret");
    }

    #[test]
    fn host_must_be_signed() {
        let unsigned = VECTOR.replace("host;", "");
        let (code, text) = refused(&request(Some(&unsigned)));
        assert_eq!(code, "InvalidSignatureException");
        assert!(text.contains("'Host'"));
    }

    #[test]
    fn a_request_without_a_signature_is_told_so() {
        assert_eq!(
            refused(&request(None)),
            ("MissingAuthenticationTokenException", "Missing Authentication Token".to_owned())
        );
    }

    #[test]
    fn every_missing_part_is_named() {
        let mut parts = request(Some("AWS4-HMAC-SHA256 "));
        parts.headers.remove("x-amz-date");
        let (code, text) = refused(&parts);
        assert_eq!(code, "IncompleteSignatureException");
        assert_eq!(
            text,
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
             parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires \
             existence of either a 'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 "
        );
    }

    #[test]
    fn malformed_headers_are_incomplete() {
        assert_eq!(
            refused(&request(Some("Bearer abc"))),
            (
                "IncompleteSignatureException",
                "'abc' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer abc'."
                    .to_owned()
            )
        );
        for header in [
            VECTOR.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            VECTOR.replace("/cognito-idp/aws4_request", ""),
            VECTOR.replace("Signature=", "Signature=,x="),
        ] {
            assert_eq!(refused(&request(Some(&header))).0, "IncompleteSignatureException", "{header}");
        }
        let mut parts = request(Some(VECTOR));
        parts.headers.insert("x-amz-date", HeaderValue::from_static("yesterday"));
        assert_eq!(refused(&parts).0, "IncompleteSignatureException");
    }

    #[test]
    fn foreign_keys_and_session_tokens_are_unrecognized() {
        let text = "The security token included in the request is invalid.".to_owned();
        let foreign = VECTOR.replace("AKIDEXAMPLE", "AKIAOTHER");
        assert_eq!(refused(&request(Some(&foreign))), ("UnrecognizedClientException", text.clone()));
        let mut parts = request(Some(VECTOR));
        parts.headers.insert("x-amz-security-token", HeaderValue::from_static("TOKEN"));
        assert_eq!(refused(&parts), ("UnrecognizedClientException", text));
    }

    #[test]
    fn five_minutes_either_way_are_accepted() {
        let parts = signed(request(None), TIME, SECRET, "us-east-1", SERVICE, BODY);
        for now in ["20261101T115500Z", "20261101T120500Z"] {
            assert!(verifier_at(now).verify(&parts, BODY).is_ok(), "{now}");
        }
        let late = verifier_at("20261101T120501Z").verify(&parts, BODY).unwrap_err();
        assert_eq!(
            late,
            fault::invalid_signature(
                "Signature expired: 20261101T120000Z is now earlier than 20261101T120001Z \
                 (20261101T120501Z - 5 min.)"
            )
        );
        let early = verifier_at("20261101T115459Z").verify(&parts, BODY).unwrap_err();
        assert_eq!(
            early,
            fault::invalid_signature(
                "Signature not yet current: 20261101T120000Z is still later than 20261101T115959Z \
                 (20261101T115459Z + 5 min.)"
            )
        );
    }

    #[test]
    fn the_scope_must_be_of_this_service_and_day() {
        let of = |from: &str, to: &str| refused(&request(Some(&VECTOR.replace(from, to))));
        let invalid = |text: &str| ("InvalidSignatureException", text.to_owned());
        assert_eq!(
            of("/us-east-1/", "/US EAST/"),
            invalid("Credential should be scoped to a valid region, not 'US EAST'. ")
        );
        assert_eq!(
            of("/cognito-idp/", "/dynamodb/"),
            invalid("Credential should be scoped to correct service: 'cognito-idp'. ")
        );
        assert!(
            of("aws4_request", "aws5_request")
                .1
                .starts_with("Credential should be scoped with a valid terminator")
        );
        assert!(of("/20261101/", "/20261102/").1.starts_with("Date in Credential scope does not match"));
        assert!(of("/20261101/", "/2026/").1.starts_with("Date in Credential scope does not match"));
    }

    #[test]
    fn the_date_header_is_a_fallback_in_both_forms() {
        for date in ["Sun, 01 Nov 2026 12:00:00 GMT", TIME] {
            let mut parts = request(None);
            parts.headers.remove("x-amz-date");
            parts.headers.insert("date", HeaderValue::from_str(date).unwrap());
            let names = ["content-type", "date", "host", "x-amz-target"];
            let to_sign = format!(
                "{ALGORITHM}\n{TIME}\n20261101/us-east-1/{SERVICE}/{TERMINATOR}\n{}",
                hex_sha256(&canonical_request(&parts, &names, BODY))
            );
            let key = signing_key(&Secret::new(SECRET.to_owned()), "20261101", "us-east-1");
            let authorization = format!(
                "{ALGORITHM} Credential={KEY}/20261101/us-east-1/{SERVICE}/{TERMINATOR}, SignedHeaders={}, Signature={}",
                names.join(";"),
                hex(hmac::sign(&key, to_sign.as_bytes()).as_ref())
            );
            parts.headers.insert("authorization", authorization.parse().unwrap());
            assert!(verifier().verify(&parts, BODY).is_ok(), "{date}");
        }
    }

    #[test]
    fn the_region_of_an_unverified_header_is_read_where_it_is_plausible() {
        assert_eq!(scoped_region(&request(Some(VECTOR)).headers).as_deref(), Some("us-east-1"));
        assert_eq!(scoped_region(&request(Some("Bearer token")).headers), None);
        let odd = VECTOR.replace("us-east-1", "../x");
        assert_eq!(scoped_region(&request(Some(&odd)).headers), None);
        assert_eq!(scoped_region(&request(None).headers), None);
    }
}
