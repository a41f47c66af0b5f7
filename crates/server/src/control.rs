//! `/_lido/`: health, metrics, and what development mode adds: inbox, clock, reset.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use lido_domain::{Clock, Medium, Millis};
use lido_idp::{inbox, ops};
use lido_store::messages;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::warn;

use crate::app::{App, Refusal, chain};
use crate::dev_clock::DevClock;
use crate::metrics::Outbox;

/// How long the store may take to answer before the server counts as not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Moments further away than this, in seconds either side of 1970, are no time that anybody means.
const CLOCK_LIMIT: f64 = 1e11;

/// Health, at every address.
pub(crate) fn health() -> Router<Arc<App>> {
    Router::new().route("/_lido/health/live", get(live)).route("/_lido/health/ready", get(ready))
}

/// What only the management address has.
pub(crate) fn management() -> Router<Arc<App>> {
    Router::new().route("/_lido/metrics", get(metrics))
}

/// What only development mode has, for programs and local pages.
pub(crate) fn development(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/_lido/messages", get(list_messages).delete(clear_messages))
        .route("/_lido/clock", get(read_clock).post(move_clock).delete(release_clock))
        .route("/_lido/reset", post(reset))
        .route_layer(from_fn_with_state(Arc::clone(app), refuse_foreign))
}

/// Nobody proves here who they are: a page that somebody visits must not read mail or throw everything away.
async fn refuse_foreign(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.is_foreign(request.headers()) {
        let text = "A web page of another host may not do this.".to_owned();
        return Refusal(StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

async fn live() -> Response {
    axum::Json(json!({ "status": "live" })).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let reason = if *app.stopping.borrow() {
        "the server is stopping".to_owned()
    } else {
        match tokio::time::timeout(READY_WITHIN, app.cx.store.ping()).await {
            Ok(Ok(())) => return axum::Json(json!({ "status": "ready" })).into_response(),
            Ok(Err(error)) => format!("store: {}", chain(&error)),
            Err(_) => "store: no answer in time".to_owned(),
        }
    };
    warn!(reason, "not ready: {reason}");
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(json!({ "status": "unavailable", "reason": reason })))
        .into_response()
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let counts =
        app.cx.store.read((), |(), tx| Box::pin(async move { messages::outbox_counts(tx).await })).await;
    let outbox = match counts {
        Ok((waiting, dead)) => Some(Outbox { waiting, dead }),
        Err(error) => {
            warn!(error = %chain(&error), "the outbox could not be counted");
            None
        }
    };
    let page = app.metrics.render(outbox, app.in_flight());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct MessagesQuery {
    user_pool_id: String,
    username: String,
    destination: String,
    medium: String,
    /// Seconds.
    wait: f64,
    after: String,
}

impl MessagesQuery {
    fn check(self) -> Result<inbox::Query, Refusal> {
        let wait = Duration::try_from_secs_f64(self.wait)
            .map_err(|_| Refusal::bad_request("wait: a number of seconds is expected"))?;
        if !self.medium.is_empty() && Medium::parse(&self.medium).is_none() {
            return Err(Refusal::bad_request("medium: EMAIL or SMS is expected"));
        }
        // A plus sign that was not encoded arrives as a space, which neither of the two can hold.
        let plus = |text: String| text.replace(' ', "+");
        Ok(inbox::Query {
            user_pool_id: self.user_pool_id,
            username: plus(self.username),
            destination: plus(self.destination),
            medium: self.medium,
            after: Some(self.after).filter(|id| !id.is_empty()),
            wait,
        })
    }
}

async fn list_messages(
    State(app): State<Arc<App>>,
    query: Result<Query<MessagesQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
    let query = query.check()?;
    let mut stopping = app.stopping.subscribe();
    let messages = tokio::select! {
        messages = inbox::list(&app.cx, &query) => messages?,
        // Who waits for a message must not hold up the end of the server.
        _ = stopping.wait_for(|stopping| *stopping) => Vec::new(),
    };
    Ok(axum::Json(json!({ "messages": messages })).into_response())
}

async fn clear_messages(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    inbox::clear(&app.cx).await?;
    Ok(done())
}

/// One of the two ways to move the clock.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Move {
    AdvanceSeconds(f64),
    /// Seconds since 1970.
    Set(f64),
}

fn clock(app: &App) -> Result<&DevClock, Refusal> {
    app.development.as_deref().ok_or_else(|| Refusal::not_found("There is nothing here."))
}

fn now(clock: &DevClock) -> Response {
    axum::Json(json!({ "now": clock.now().seconds() })).into_response()
}

async fn read_clock(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    Ok(now(clock(&app)?))
}

async fn move_clock(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let clock = clock(&app)?;
    let millis = |seconds: f64| (seconds * 1000.0).round() as i64;
    let sane = |seconds: f64| {
        let is_sane = seconds.abs() <= CLOCK_LIMIT;
        if is_sane { Ok(()) } else { Err(Refusal::bad_request("the clock cannot be moved that far")) }
    };
    match json_body(&body)? {
        Move::AdvanceSeconds(by) => {
            sane(clock.now().seconds() as f64 + by)?;
            clock.advance(millis(by));
        }
        Move::Set(to) => {
            sane(to)?;
            clock.set(Millis(millis(to)));
        }
    }
    Ok(now(clock))
}

async fn release_clock(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    let clock = clock(&app)?;
    clock.release();
    Ok(now(clock))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Reset {
    /// Everything, if absent.
    user_pool_id: Option<String>,
}

async fn reset(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, Refusal> {
    let what: Reset = if body.is_empty() { Reset::default() } else { json_body(&body)? };
    ops::user_pools::reset(&app.cx, what.user_pool_id.as_deref()).await?;
    Ok(done())
}

fn done() -> Response {
    axum::Json(Value::Object(serde_json::Map::new())).into_response()
}

/// JSON whatever the content type says: these paths are called by hand, with what `curl -d` sends.
fn json_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad_request(format!("the body is not as expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<inbox::Query, Refusal> {
        let uri = format!("http://localhost/_lido/messages?{text}").parse().unwrap();
        let Query(query) = Query::<MessagesQuery>::try_from_uri(&uri)
            .map_err(|rejection| Refusal::bad_request(rejection.body_text()))?;
        query.check()
    }

    #[test]
    fn filters_of_messages_are_read() {
        let found =
            query("userPoolId=us-east-1_a&destination=+15550100&medium=SMS&wait=1.5&after=7").unwrap();
        assert_eq!((found.user_pool_id.as_str(), found.destination.as_str()), ("us-east-1_a", "+15550100"));
        assert_eq!((found.medium.as_str(), found.wait), ("SMS", Duration::from_millis(1500)));
        assert_eq!(found.after.as_deref(), Some("7"));
        let found = query("username=&after=").unwrap();
        assert_eq!((found.username.as_str(), found.after), ("", None));
    }

    #[test]
    fn bad_filters_are_refused() {
        for text in ["wait=soon", "wait=-1", "wait=NaN", "wait=", "medium=FAX", "pool=x"] {
            assert_eq!(query(text).unwrap_err().0, StatusCode::BAD_REQUEST, "{text}");
        }
    }

    #[test]
    fn the_clock_is_moved_in_exactly_one_way() {
        assert!(matches!(json_body(br#"{"advanceSeconds":3600}"#), Ok(Move::AdvanceSeconds(3600.0))));
        assert!(matches!(json_body(br#"{"set":0}"#), Ok(Move::Set(0.0))));
        for body in ["", "{}", r#"{"advanceSeconds":1,"set":2}"#, r#"{"advance":1}"#, r#"{"set":"noon"}"#] {
            assert!(json_body::<Move>(body.as_bytes()).is_err(), "{body}");
        }
    }
}
