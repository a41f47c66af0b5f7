//! Functions behind URLs: what a test's Lambda triggers run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use http::StatusCode;
use serde_json::Value;
use tokio::sync::Notify;

/// What a function answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This JSON.
    Value(Value),
    /// The event, with this as its response.
    Respond(Value),
    /// Status, body, and whether `X-Amz-Function-Error` is set.
    Raw { status: u16, body: String, function_error: bool },
    /// This, when it is told to.
    Held(Arc<Notify>, Box<Reply>),
    /// Nothing, ever.
    Silence,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub function: String,
    pub event: Value,
}

type Handler = Arc<dyn Fn(&Value) -> Reply + Send + Sync>;

#[derive(Default)]
struct Inner {
    handlers: Mutex<BTreeMap<String, Handler>>,
    invocations: Mutex<Vec<Invocation>>,
}

/// The functions of a test, served on a port of their own for as long as its runtime lives.
#[derive(Clone)]
pub struct Functions {
    inner: Arc<Inner>,
    base: String,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Functions {
    pub async fn start() -> Self {
        let inner = Arc::<Inner>::default();
        let router = Router::new().route("/{name}", post(invoke)).with_state(inner.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, base }
    }

    /// The ARN that stands for a function in a pool's LambdaConfig.
    pub fn arn(name: &str) -> String {
        format!("arn:aws:lambda:us-east-1:000000000000:function:{name}")
    }

    /// Sections of `lido.toml` for functions of these names.
    pub fn config(&self, names: &[&str]) -> String {
        names
            .iter()
            .map(|name| format!("[functions.\"{}\"]\nurl = \"{}/{name}\"\n", Self::arn(name), self.base))
            .collect()
    }

    /// What a function does from now on.
    pub fn on(&self, name: &str, handler: impl Fn(&Value) -> Reply + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        handlers.insert(name.to_owned(), Arc::new(handler));
    }

    /// The calls since this was last asked.
    pub fn invocations(&self) -> Vec<Invocation> {
        std::mem::take(&mut *self.inner.invocations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn invoke(State(inner): State<Arc<Inner>>, Path(name): Path<String>, body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).expect("an event is JSON");
    let handler = inner.handlers.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
    let reply = handler.map_or_else(|| Reply::Value(event.clone()), |handler| handler(&event));
    let invocation = Invocation { function: name, event: event.clone() };
    inner.invocations.lock().unwrap_or_else(PoisonError::into_inner).push(invocation);
    let reply = match reply {
        Reply::Held(until, then) => {
            until.notified().await;
            *then
        }
        reply => reply,
    };
    match reply {
        Reply::Value(value) => Json(value).into_response(),
        Reply::Respond(response) => {
            Json(crate::merged(event, serde_json::json!({ "response": response }))).into_response()
        }
        Reply::Held(..) | Reply::Silence => std::future::pending().await,
        Reply::Raw { status, body, function_error } => {
            let status = StatusCode::from_u16(status).expect("the test knows statuses");
            if function_error {
                (status, [("x-amz-function-error", "Unhandled")], body).into_response()
            } else {
                (status, body).into_response()
            }
        }
    }
}
