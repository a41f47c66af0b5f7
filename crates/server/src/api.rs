//! `POST /`: the AWS JSON 1.1 protocol. Every answer of the API is made here and nowhere else.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE,
    HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderMap as Headers, StatusCode};
use lido_idp::{Error, Fault, Request, Result, Route, Signer, dispatch, fault};
use serde_json::{Map, Value};
use tracing::{Instrument, error, error_span, info};

use crate::app::{Access, App, BodyFault, chain};
use crate::metrics;
use crate::sigv4;

const TARGET_PREFIX: &str = "AWSCognitoIdentityProviderService.";
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-amzn-errormessage");

/// Most characters of a message that a header carries.
const HEADER_MESSAGE: usize = 1024;

/// Answers one request of the API and writes its log line.
pub(crate) async fn answer(
    app: &App,
    head: &Parts,
    body: impl Future<Output = Result<Bytes, BodyFault>>,
    source: IpAddr,
) -> Response {
    let start = Instant::now();
    let id = app.cx.uuid();
    let span = error_span!("request", id = %id);
    async {
        let route = route(&head.headers);
        let outcome = AssertUnwindSafe(run(app, head, body, source, route, &id)).catch_unwind().await;
        let internal = || Err(fault::internal(route.map(|route| route.facts)));
        let (answer, caught) = match outcome {
            Ok(Ok(output)) => (Ok(output), None),
            Ok(Err(Error::Fault(fault))) => (Err(fault), None),
            Ok(Err(Error::Conflict)) => (internal(), Some("a conflict was not settled".to_owned())),
            Ok(Err(Error::Internal(cause))) => (internal(), Some(chain(&*cause))),
            // The panic hook has logged it, within this span.
            Err(_panic) => (internal(), None),
        };

        let operation = route.as_ref().map_or(metrics::NO_OPERATION, |route| route.facts.name);
        let code = answer.as_ref().map_or_else(|fault| fault.code, |_| metrics::SUCCESS);
        let duration = start.elapsed();
        app.metrics.count(operation, code, duration);
        if let Some(cause) = caught {
            error!(operation, error = %cause, "{operation} failed inside: {cause}");
        }
        let response = render(answer, &id);
        info!(
            operation,
            status = response.status().as_u16(),
            code,
            duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            "{operation} {code}"
        );
        response
    }
    .instrument(span)
    .await
}

/// What a preflight request of a browser is told.
pub(crate) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("172800"));
    // SDKs send headers of their own invention: only what was asked for is sure to be enough.
    if let Some(requested) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, requested.clone());
    }
    response
}

/// The order of checks is the service's: target, signature, body; then policy and constraints in dispatch.
async fn run(
    app: &App,
    head: &Parts,
    body: impl Future<Output = Result<Bytes, BodyFault>>,
    source: IpAddr,
    route: Option<&'static Route>,
    id: &str,
) -> Result<Vec<u8>> {
    let body = body.await.map_err(|body_fault| match body_fault {
        BodyFault::TooLarge => fault::request_too_large(),
        BodyFault::Incomplete => fault::request_timeout(),
    })?;
    let route = route.filter(|_| is_json(&head.headers)).ok_or_else(fault::unknown_operation)?;
    let (signer, region) = signer(app, head, &body, route)?;
    let user_agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = Request {
        id: id.to_owned(),
        body: parse(&body)?,
        signer,
        region,
        source: Some(source),
        user_agent: user_agent.to_owned(),
    };
    dispatch(&app.cx, route, &request).await
}

fn route(headers: &Headers) -> Option<&'static Route> {
    lido_idp::route(headers.get(TARGET)?.to_str().ok()?.strip_prefix(TARGET_PREFIX)?)
}

/// The protocol's content type. Differs: plain JSON and no content type at all pass too, for requests
/// made by hand; the service knows no operation then.
fn is_json(headers: &Headers) -> bool {
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return true };
    let content_type = content_type.to_str().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/x-amz-json-1.1", "application/json"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Who signed, and the region that the signature is scoped to.
fn signer(app: &App, head: &Parts, body: &Bytes, route: &Route) -> Result<(Signer, Option<String>), Fault> {
    if route.needs_no_signature() {
        // Source: the model's noAuth trait. Browser SDKs sign these as well, often with keys of another service.
        return Ok((Signer::Nobody, None));
    }
    match &app.access {
        // An administrator by being there is no administrator through a page that they visit.
        Access::Open if app.is_foreign(&head.headers) => Ok((Signer::Nobody, None)),
        Access::Open => Ok((Signer::Administrator, sigv4::scoped_region(&head.headers))),
        Access::Enforced(verifier) => {
            let signed = verifier.verify(head, body)?;
            Ok((Signer::Principal(signed.principal), Some(signed.region)))
        }
    }
}

/// The body as a JSON map; an empty body and null stand for an empty one.
fn parse(body: &[u8]) -> Result<Value, Fault> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    // The parser itself refuses more than 128 levels.
    match serde_json::from_slice(body) {
        Ok(map @ Value::Object(_)) => Ok(map),
        Ok(Value::Null) => Ok(Value::Object(Map::new())),
        Ok(_) | Err(_) => Err(fault::serialization("Expected map or null")),
    }
}

fn render(answer: Result<Vec<u8>, Fault>, id: &str) -> Response {
    let mut response = match answer {
        Ok(output) => Response::new(Body::from(output)),
        Err(fault) => {
            let mut response = Response::new(Body::from(error_body(&fault)));
            *response.status_mut() =
                StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let headers = response.headers_mut();
            if let Ok(code) = HeaderValue::from_str(&format!("{}:", fault.code)) {
                headers.insert(ERROR_TYPE, code);
            }
            if let Some(message) = fault.message.as_deref().and_then(header_message) {
                headers.insert(ERROR_MESSAGE, message);
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(REQUEST_ID, HeaderValue::from_str(id).expect("a UUID is visible ASCII"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date"),
    );
    response
}

/// Compact, `__type` first. The framework's own SerializationException spells `Message` with a capital.
fn error_body(fault: &Fault) -> String {
    let code = Value::from(fault.code);
    let member = if fault.code == "SerializationException" { "Message" } else { "message" };
    match &fault.message {
        Some(message) => format!(r#"{{"__type":{code},"{member}":{}}}"#, Value::from(message.as_str())),
        None => format!(r#"{{"__type":{code}}}"#),
    }
}

/// The beginning of a message, if a header can carry it.
fn header_message(message: &str) -> Option<HeaderValue> {
    let beginning: String = message.chars().take(HEADER_MESSAGE).collect();
    let visible = !beginning.is_empty() && beginning.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    visible.then(|| HeaderValue::from_str(&beginning).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(body: &[u8]) -> Option<&'static str> {
        parse(body).err().map(|fault| fault.code)
    }

    #[test]
    fn a_body_is_a_map_or_null() {
        for body in ["", "null", "{}", r#" {"a":1} "#] {
            assert_eq!(code_of(body.as_bytes()), None, "{body}");
        }
        for body in ["[]", "1", "\"text\"", "{", "{}{}", "\u{feff}{}", r#"{"a":"\ud800"}"#] {
            assert_eq!(code_of(body.as_bytes()), Some("SerializationException"), "{body}");
        }
        assert_eq!(code_of(b"{\"a\":\"\xff\"}"), Some("SerializationException"));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(code_of(deep.as_bytes()), Some("SerializationException"));
    }

    #[test]
    fn an_error_is_compact_with_its_type_first() {
        assert_eq!(
            error_body(&fault::pool_not_found("us-east-1_\"")),
            r#"{"__type":"ResourceNotFoundException","message":"User pool us-east-1_\" does not exist."}"#
        );
        assert_eq!(error_body(&fault::unknown_operation()), r#"{"__type":"UnknownOperationException"}"#);
        assert_eq!(
            error_body(&parse(b"[]").unwrap_err()),
            r#"{"__type":"SerializationException","Message":"Expected map or null"}"#
        );
    }

    #[test]
    fn a_header_carries_what_it_can_of_a_message() {
        assert_eq!(header_message("plain text").unwrap(), "plain text");
        assert_eq!(header_message(&"x".repeat(3000)).unwrap().len(), 1024);
        for message in ["two\nlines", "Größe", ""] {
            assert_eq!(header_message(message), None, "{message:?}");
        }
    }

    #[test]
    fn answers_carry_the_protocols_headers() {
        let response = render(Err(fault::user_not_found()), "id-1");
        assert_eq!(response.status(), 400);
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!(header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(header("x-amzn-requestid"), "id-1");
        assert_eq!(header("x-amzn-errortype"), "UserNotFoundException:");
        assert_eq!(header("x-amzn-errormessage"), "User does not exist.");
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(
            header("access-control-expose-headers"),
            "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date"
        );
        assert_eq!(render(Ok(Vec::new()), "id-2").status(), 200);
    }

    #[test]
    fn content_types_of_json_pass() {
        let of = |value: &str| is_json(&Headers::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        assert!(
            of("application/x-amz-json-1.1")
                && of("application/json; charset=utf-8")
                && is_json(&Headers::new())
        );
        assert!(
            !of("text/plain")
                && !of("application/x-www-form-urlencoded")
                && !of("application/x-amz-json-1.0")
        );
    }

    #[test]
    fn a_preflight_echoes_the_requested_headers() {
        let requested: HeaderValue = "content-type,x-amz-target".parse().unwrap();
        let headers = Headers::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, requested.clone())]);
        let response = preflight(&headers);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_HEADERS], requested);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(response.headers()[ACCESS_CONTROL_MAX_AGE], "172800");
    }
}
