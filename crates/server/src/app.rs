//! What the HTTP rooms share, and which room answers a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use lido_idp::{Cx, Error};
use serde_json::json;
use tokio::sync::watch;
use tower::ServiceExt;
use tracing::{debug, error};

use crate::dev_clock::DevClock;
use crate::metrics::Metrics;
use crate::sigv4::Verifier;
use crate::{api, control, issuer, origin};

/// Who may call the operations that IAM authorizes.
#[derive(Debug)]
pub enum Access {
    /// Anyone, signed or not, as the account's administrator.
    Open,
    /// Principals, as far as their policies allow.
    Enforced(Verifier),
}

/// The server's state, shared by all connections.
#[derive(Debug)]
pub struct App {
    pub(crate) cx: Arc<Cx>,
    pub(crate) access: Access,
    /// Present in development mode: the control API exists, and this is the clock that it moves.
    pub(crate) development: Option<Arc<DevClock>>,
    pub(crate) metrics: Metrics,
    /// True as soon as the server has been asked to end.
    pub(crate) stopping: watch::Sender<bool>,
    in_flight: AtomicUsize,
}

/// What an address answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    Api,
    Management,
    Both,
}

/// The largest body that is accepted.
const BODY_LIMIT: usize = 1024 * 1024;
/// How much of a larger one is read, so that the client gets to see the answer.
const DISCARD_LIMIT: usize = 8 * 1024 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    TooLarge,
    /// It did not arrive in time, or the client went away.
    Incomplete,
}

impl App {
    pub fn new(cx: Arc<Cx>, access: Access, development: Option<Arc<DevClock>>) -> Self {
        Self {
            cx,
            access,
            development,
            metrics: Metrics::new(),
            stopping: watch::Sender::new(false),
            in_flight: AtomicUsize::new(0),
        }
    }

    /// The routes of an address beside `POST /`.
    pub(crate) fn router(self: &Arc<Self>, surface: Surface) -> Router {
        let mut router = control::health();
        if surface != Surface::Management {
            router = router.merge(issuer::routes());
        }
        if surface != Surface::Api {
            router = router.merge(control::management());
            if self.development.is_some() {
                router = router.merge(control::development(self));
            }
        }
        let not_found = || async { Refusal::not_found("There is nothing here.") };
        let not_allowed = || async {
            Refusal(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed here.".to_owned())
        };
        router.fallback(not_found).method_not_allowed_fallback(not_allowed).with_state(Arc::clone(self))
    }

    /// The answer to a request, whatever it is. While the server ends, it is the last of its connection.
    pub(crate) async fn respond(
        self: Arc<Self>,
        surface: Surface,
        router: Router,
        source: SocketAddr,
        request: Request<Incoming>,
    ) -> Response {
        let _in_flight = InFlight::enter(&self.in_flight);
        let mut response = self.answer(surface, router, source, request).await;
        if *self.stopping.borrow() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(
        &self,
        surface: Surface,
        router: Router,
        source: SocketAddr,
        request: Request<Incoming>,
    ) -> Response {
        let (parts, body) = request.into_parts();
        if surface != Surface::Management && parts.uri.path() == "/" {
            match parts.method {
                Method::POST => return api::answer(self, &parts, read(body), source.ip()).await,
                Method::OPTIONS => return api::preflight(&parts.headers),
                _ => {}
            }
        }
        let body = match read(body).await {
            Ok(body) => body,
            Err(BodyFault::TooLarge) => {
                return Refusal(StatusCode::PAYLOAD_TOO_LARGE, "The body is too large.".to_owned())
                    .into_response();
            }
            Err(BodyFault::Incomplete) => {
                let text = "The body did not arrive in time.".to_owned();
                return Refusal(StatusCode::REQUEST_TIMEOUT, text).into_response();
            }
        };
        // Without the query: a message's destination may stand in it.
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let response = match router.oneshot(Request::from_parts(parts, Body::from(body))).await {
            Ok(response) => response,
            Err(impossible) => match impossible {},
        };
        debug!(http.method = %method, http.path = %path, http.status = response.status().as_u16(), "{method} {path}");
        response
    }

    /// Whether the request is of a web page that is neither of this machine nor of this server's own host.
    pub(crate) fn is_foreign(&self, headers: &HeaderMap) -> bool {
        origin::is_foreign(headers, &self.cx.settings.public_url)
    }

    /// How many requests are being answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }
}

/// Counts a request for as long as it lives, also when its client goes away.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The whole body, within the limits of size and time.
async fn read(body: Incoming) -> Result<Bytes, BodyFault> {
    tokio::time::timeout(BODY_TIMEOUT, read_limited(body)).await.unwrap_or(Err(BodyFault::Incomplete))
}

async fn read_limited(mut body: Incoming) -> Result<Bytes, BodyFault> {
    let mut whole = BytesMut::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyFault::Incomplete)?.into_data() else { continue };
        seen += data.len();
        if seen > DISCARD_LIMIT {
            break;
        } else if seen > BODY_LIMIT {
            whole = BytesMut::new();
        } else {
            whole.extend_from_slice(&data);
        }
    }
    if seen > BODY_LIMIT { Err(BodyFault::TooLarge) } else { Ok(whole.freeze()) }
}

/// An error outside of the AWS protocol: a status and `{"error": "…"}`.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

impl Refusal {
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, text.into())
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, text.into())
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Fault(fault) => {
                let status = match fault.code {
                    "ResourceNotFoundException" => StatusCode::NOT_FOUND,
                    "TooManyRequestsException" => StatusCode::SERVICE_UNAVAILABLE,
                    _ => StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST),
                };
                Self(status, fault.message.unwrap_or_else(|| fault.code.to_owned()))
            }
            Error::Conflict => {
                Self(StatusCode::CONFLICT, "It was changed at the same time; try again.".to_owned())
            }
            Error::Internal(cause) => {
                error!(error = %chain(&*cause), "a request failed inside");
                Self(StatusCode::INTERNAL_SERVER_ERROR, "Internal error.".to_owned())
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, axum::Json(json!({ "error": self.1 }))).into_response()
    }
}

/// An error with everything that caused it.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
