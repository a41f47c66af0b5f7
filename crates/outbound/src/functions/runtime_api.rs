//! The Lambda Runtime API, as one process of a function sees it.
//!
//! Each process has a listener of its own, since the paths name no function. It is on loopback and
//! knows no authentication, as the protocol has none.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lido_domain::Millis;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::debug;

use super::{MAX_ANSWER, answer_too_large, error_message};

const ROOT: &str = "/2018-06-01/runtime/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// An invocation on its way to the process.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request_id: String,
    /// As the pool names the function, with its alias if it has one.
    pub(super) arn: String,
    pub(super) event: Bytes,
    pub(super) deadline: Millis,
    pub(super) trace_id: String,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// The function's answer, or its error message.
pub(super) type Reply = Result<Bytes, String>;

/// How far a process has come.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// It has not asked for an invocation yet.
    Starting,
    Ready,
    /// It reported that it cannot start; the error message.
    Failed(String),
}

/// The state behind a listener.
#[derive(Debug)]
pub(super) struct Runtime {
    phase: watch::Sender<Phase>,
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<Current>>,
}

/// The invocation that the process works on.
#[derive(Debug)]
struct Current {
    request_id: String,
    reply: oneshot::Sender<Reply>,
}

impl Runtime {
    pub(super) fn new(jobs: mpsc::Receiver<Job>) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Starting),
            jobs: tokio::sync::Mutex::new(jobs),
            current: Mutex::new(None),
        }
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Gives an invocation up: a later answer to it is refused. Whether the process had taken it.
    pub(super) fn abandon(&self, request_id: &str) -> bool {
        self.take(request_id).is_some()
    }

    fn take(&self, request_id: &str) -> Option<oneshot::Sender<Reply>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.take_if(|current| current.request_id == request_id).map(|current| current.reply)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(sent) = Sent::read(head.headers, body).await else {
            return refusal(StatusCode::BAD_REQUEST, "InvalidRequest", "The body ended too early");
        };
        // Any page in a browser of this machine can send requests to loopback; no runtime sends these.
        if sent.headers.contains_key("origin") || sent.headers.contains_key("sec-fetch-site") {
            return refusal(StatusCode::FORBIDDEN, "Forbidden", "Not for browsers");
        }
        let path = head.uri.path().strip_prefix(ROOT).unwrap_or_default();
        match (head.method, path.split('/').collect::<Vec<_>>().as_slice()) {
            (Method::GET, ["invocation", "next"]) => self.next().await,
            (Method::POST, ["invocation", id, "response"]) => self.response(id, sent),
            (Method::POST, ["invocation", id, "error"]) => self.finish(id, Err(sent.error()), accepted()),
            (Method::POST, ["init", "error"]) => self.init_error(sent.error()),
            _ => refusal(StatusCode::NOT_FOUND, "NotFound", "No such path"),
        }
    }

    /// Holds the request until there is an invocation.
    async fn next(&self) -> Response<Full<Bytes>> {
        let failed = matches!(*self.phase.borrow(), Phase::Failed(_));
        let busy = self.current.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if failed || busy {
            return invalid_state();
        }
        self.phase.send_replace(Phase::Ready);
        let mut jobs = self.jobs.lock().await;
        let Some(job) = jobs.recv().await else {
            return refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Runtime.Shutdown",
                "The function is being ended",
            );
        };
        let current = Current { request_id: job.request_id.clone(), reply: job.reply };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(current);
        Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", job.request_id)
            .header("Lambda-Runtime-Deadline-Ms", job.deadline.0)
            .header("Lambda-Runtime-Invoked-Function-Arn", job.arn)
            .header("Lambda-Runtime-Trace-Id", job.trace_id)
            .body(Full::new(job.event))
            .unwrap_or_else(|_| {
                refusal(StatusCode::INTERNAL_SERVER_ERROR, "Runtime.InvalidArn", "The ARN fits in no header")
            })
    }

    fn response(&self, id: &str, sent: Sent) -> Response<Full<Bytes>> {
        if sent.too_large {
            let message = answer_too_large();
            let refused = refusal(StatusCode::PAYLOAD_TOO_LARGE, "Function.ResponseSizeTooLarge", &message);
            return self.finish(id, Err(message), refused);
        }
        // A streamed response that fails half-way says so behind its body.
        let failed = sent.trailers.as_ref().and_then(error_type);
        self.finish(id, failed.map_or(Ok(sent.body), Err), accepted())
    }

    fn finish(&self, id: &str, reply: Reply, response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
        // Nobody may listen any more: then the answer is late, and as good as unknown.
        let delivered = self.take(id).is_some_and(|sender| sender.send(reply).is_ok());
        if delivered { response } else { unknown_request() }
    }

    fn init_error(&self, message: String) -> Response<Full<Bytes>> {
        let failed = self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Failed(message);
            }
            starting
        });
        if failed { accepted() } else { invalid_state() }
    }
}

/// What the process sent. It is read to its end also where it is refused or too large to be kept, since
/// a client that is still writing would see a broken connection in place of the refusal.
#[derive(Debug)]
struct Sent {
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
    too_large: bool,
}

impl Sent {
    async fn read(headers: HeaderMap, mut body: Incoming) -> Result<Self, hyper::Error> {
        let mut kept = BytesMut::new();
        let (mut trailers, mut too_large) = (None, false);
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    too_large |= kept.len() + data.len() > MAX_ANSWER;
                    if !too_large {
                        kept.extend_from_slice(&data);
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok(Self { headers, body: kept.freeze(), trailers, too_large })
    }

    /// The message of an error report; its type, in body or header, where it has none.
    fn error(&self) -> String {
        error_message(&self.body)
            .or_else(|| error_type(&self.headers))
            .unwrap_or_else(|| "Runtime.Unknown".to_owned())
    }
}

/// Opens a listener on a free port of loopback.
pub(super) async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves the Runtime API. Dropping the future closes the listener and every connection.
pub(super) async fn serve(listener: TcpListener, runtime: Arc<Runtime>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                // Small answers should not wait for the acknowledgement of earlier ones.
                let _ = stream.set_nodelay(true);
                let runtime = Arc::clone(&runtime);
                let service = service_fn(move |request| {
                    let runtime = Arc::clone(&runtime);
                    async move { Ok::<_, Infallible>(runtime.answer(request).await) }
                });
                // Shell scripts look for the headers in Lambda's spelling.
                let mut http = http1::Builder::new();
                http.title_case_headers(true);
                connections.spawn(http.serve_connection(TokioIo::new(stream), service));
            }
            Err(error) => {
                debug!(%error, "a connection to the Runtime API could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

fn error_type(headers: &HeaderMap) -> Option<String> {
    headers.get(ERROR_TYPE)?.to_str().ok().map(str::to_owned)
}

fn accepted() -> Response<Full<Bytes>> {
    reply(StatusCode::ACCEPTED, &json!({"status": "OK"}))
}

fn unknown_request() -> Response<Full<Bytes>> {
    refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn invalid_state() -> Response<Full<Bytes>> {
    refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", "State transition is not allowed")
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({"errorMessage": message, "errorType": kind}))
}

fn reply(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
