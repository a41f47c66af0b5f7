//! The HTTP client of `url` functions and the Invoke API.

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use lido_domain::ports::InvokeError;
use tracing::warn;

use super::{Failure, MAX_ANSWER, answer_too_large, function_error, unreachable};

/// Made at its first use: loading the platform's certificates costs time and memory that a server
/// without such functions does not owe.
#[derive(Debug, Default)]
pub(super) struct HttpClient(OnceLock<reqwest::Client>);

/// An answer read to its end.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl HttpClient {
    /// Sends `request` and reads at most [`MAX_ANSWER`] bytes. The caller limits the time.
    pub(super) async fn send(&self, request: http::Request<Bytes>) -> Result<Answer, Failure> {
        let request = reqwest::Request::try_from(request)
            .inspect_err(|_| warn!("a function's address cannot be called"))
            .map_err(|_| Failure::Final(unreachable("ServiceException")))?;
        let mut response = self.client()?.execute(request).await.map_err(broken)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(function_error(answer_too_large()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: body.freeze(),
        })
    }

    /// Neither redirects nor proxies: an address in the configuration is the address that is called,
    /// and a redirect is an answer like any other status.
    fn client(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("lido/", env!("CARGO_PKG_VERSION")))
            .build()
            .inspect_err(|error| warn!(%error, "the HTTP client for functions cannot be made"))
            .map_err(|_| Failure::Final(unreachable("ServiceException")))?;
        Ok(self.0.get_or_init(|| client))
    }
}

/// A connection that failed: in Lambda's words the service's own failure, which the caller sees as
/// `invocation failed due to error ServiceException.`
fn broken(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::Again(InvokeError::Timeout);
    }
    // An address may carry a secret in its query.
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    warn!(%cause, "a function cannot be reached: {error}");
    Failure::Again(unreachable("ServiceException"))
}
