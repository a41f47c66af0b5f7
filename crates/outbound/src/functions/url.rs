//! A function behind a URL: the event is POSTed, the answer is the result.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use lido_domain::ports::InvokeError;
use serde_json::Value;
use url::Url;

use super::client::HttpClient;
use super::{Failure, answer, error_message, function_error};

/// Status 200 without `X-Amz-Function-Error` is the result; everything else is a function error whose
/// JSON body says why, or whose status does where the body says nothing.
pub(super) async fn post(http: &HttpClient, url: &Url, event: Bytes) -> Result<Value, Failure> {
    let request = Request::post(url.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(event)
        .map_err(|_| Failure::Final(InvokeError::Unreachable { code: "ServiceException".to_owned() }))?;
    let response = http.send(request).await?;
    if response.status == StatusCode::OK && !response.headers.contains_key("x-amz-function-error") {
        return answer(&response.body);
    }
    let message =
        error_message(&response.body).unwrap_or_else(|| format!("HTTP status {}", response.status.as_u16()));
    Err(function_error(message))
}
