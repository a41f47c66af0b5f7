//! A function behind the Lambda Invoke API: AWS itself, a local stand-in, a runtime interface emulator.

use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use lido_domain::Millis;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tracing::warn;
use url::Url;

use super::client::{Answer, HttpClient};
use super::{Failure, answer, error_message, function_error, unreachable};
use crate::Credentials;

/// Everything but RFC 3986's unreserved characters, so that the colons of an ARN are encoded as SDKs do.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

const INVOCATION_TYPE: &str = "x-amz-invocation-type";

/// One invocation: whom, where, and as whom. Without credentials the call is not signed.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) arn: &'a str,
    pub(super) endpoint: &'a Url,
    pub(super) credentials: Option<&'a Credentials>,
    pub(super) region: &'a str,
    pub(super) now: Millis,
}

pub(super) async fn invoke(http: &HttpClient, call: &Call<'_>, event: Bytes) -> Result<Value, Failure> {
    let base = call.endpoint.as_str().trim_end_matches('/');
    if base.ends_with("/invocations") {
        let response = http.send(call.request(base, event)?).await?;
        return call.judge(&response, Speaker::Emulator);
    }
    let name = utf8_percent_encode(call.arn, SEGMENT);
    let address = format!("{base}/2015-03-31/functions/{name}/invocations");
    let response = http.send(call.request(&address, event.clone())?).await?;
    if !is_unknown_path(&response) {
        return call.judge(&response, Speaker::Service);
    }
    let address = format!("{base}/2015-03-31/functions/function/invocations");
    let response = http.send(call.request(&address, event)?).await?;
    call.judge(&response, Speaker::Emulator)
}

/// Who answers. A runtime interface emulator knows one function, which it calls `function` whatever
/// its ARN, and marks errors by nothing but their shape.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaker {
    Service,
    Emulator,
}

/// A 404 of an HTTP server that does not know the path, rather than of a Lambda service that does not
/// know the function: the service always names its error.
fn is_unknown_path(response: &Answer) -> bool {
    response.status == StatusCode::NOT_FOUND
        && !response.headers.contains_key("x-amzn-errortype")
        && serde_json::from_slice::<Value>(&response.body).is_err()
}

impl Call<'_> {
    fn request(&self, address: &str, event: Bytes) -> Result<Request<Bytes>, Failure> {
        let mut request = Request::post(address)
            .header(CONTENT_TYPE, "application/json")
            .header(INVOCATION_TYPE, "RequestResponse")
            .body(event)
            .map_err(|_| Failure::Final(unreachable("ServiceException")))?;
        if let Some(credentials) = self.credentials {
            self.sign(credentials, &mut request).map_err(|reason| {
                warn!(function.arn = %self.arn, %reason, "the call of {} cannot be signed", self.arn);
                Failure::Final(unreachable("ServiceException"))
            })?;
        }
        Ok(request)
    }

    /// Adds the SigV4 headers for the service `lambda`. The path is signed as it is sent, encoded once
    /// more: `%3A` is `%253A` in the canonical request.
    fn sign(&self, credentials: &Credentials, request: &mut Request<Bytes>) -> Result<(), String> {
        let session_token = credentials.session_token.as_ref().map(|token| token.expose().clone());
        let is_header_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_header_text(&credentials.access_key_id)
            || !session_token.as_deref().is_none_or(is_header_text)
            || !is_header_text(self.region)
        {
            return Err(
                "access key id, session token or region has characters that no header can carry".into()
            );
        }
        let identity = aws_credential_types::Credentials::new(
            &credentials.access_key_id,
            credentials.secret_access_key.expose(),
            session_token,
            None,
            "lido",
        )
        .into();
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(self.now.0.unsigned_abs());
        let settings = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name("lambda")
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let headers =
            request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new(
            "POST",
            request.uri().to_string(),
            headers,
            SignableBody::Bytes(request.body()),
        )
        .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(signable, &settings).map_err(|error| error.to_string())?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }

    /// A function that failed answers 200 too; other statuses are the service's.
    fn judge(&self, response: &Answer, speaker: Speaker) -> Result<Value, Failure> {
        if response.status != StatusCode::OK {
            let code = error_code(response);
            warn!(
                function.arn = %self.arn,
                status = response.status.as_u16(),
                "the invocation of {} is refused: {code}",
                self.arn
            );
            return Err(Failure::Final(unreachable(code)));
        }
        if let Some(kind) = response.header("x-amz-function-error") {
            return Err(function_error(error_message(&response.body).unwrap_or_else(|| kind.to_owned())));
        }
        let answer = answer(&response.body)?;
        if speaker == Speaker::Emulator
            && answer.get("errorType").is_some()
            && answer.get("response").is_none()
        {
            return Err(function_error(error_message(&response.body).unwrap_or_default()));
        }
        Ok(answer)
    }
}

/// Lambda's name of the error: from the header, else the body, else what the status says.
fn error_code(response: &Answer) -> String {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    let member = |name| body.as_ref().and_then(|body| body.get(name)).and_then(Value::as_str);
    [response.header("x-amzn-errortype"), member("__type"), member("code"), member("Code")]
        .into_iter()
        .flatten()
        .find_map(bare_code)
        .unwrap_or(match response.status.as_u16() {
            400 => "InvalidParameterValueException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            413 => "RequestTooLargeException",
            429 => "TooManyRequestsException",
            _ => "ServiceException",
        })
        .to_owned()
}

/// `Name` of `prefix#Name`, `Name:http://…`; `None` for what cannot be a name, since it reaches clients.
fn bare_code(text: &str) -> Option<&str> {
    let text = text.rsplit('#').next()?;
    let text = text.split(':').next()?.trim();
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_name.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lido_domain::Secret;

    fn response(status: u16, header: Option<&str>, body: &str) -> Answer {
        let mut headers = http::HeaderMap::new();
        if let Some(header) = header {
            headers.insert("x-amzn-errortype", header.parse().unwrap());
        }
        Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn the_code_comes_from_the_header_the_body_or_the_status() {
        assert_eq!(error_code(&response(404, Some("Foo:http://x/"), r#"{"__type":"Bar"}"#)), "Foo");
        assert_eq!(error_code(&response(400, None, r#"{"__type":"a.b#Bar"}"#)), "Bar");
        assert_eq!(error_code(&response(404, None, r#"{"Type":"User"}"#)), "ResourceNotFoundException");
        assert_eq!(error_code(&response(403, Some("not a name"), "")), "AccessDeniedException");
        assert_eq!(error_code(&response(429, None, "")), "TooManyRequestsException");
        assert_eq!(error_code(&response(502, None, "")), "ServiceException");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_an_error_without_its_text() {
        let endpoint = Url::parse("http://127.0.0.1:1").unwrap();
        let secret = || Secret::new("hush\n".to_owned());
        let credentials = Credentials::new("AK", secret(), Some(secret()));
        let call = Call {
            arn: "arn",
            endpoint: &endpoint,
            credentials: Some(&credentials),
            region: "us-east-1",
            now: Millis(0),
        };
        let mut request = Request::post("http://127.0.0.1:1/").body(Bytes::new()).unwrap();
        let reason = call.sign(&credentials, &mut request).unwrap_err();
        assert!(!reason.contains("hush"));
    }
}
