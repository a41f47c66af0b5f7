//! The documents of a user pool as an issuer of tokens.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use lido_idp::tokens::keys;
use serde_json::{Value, json};

use crate::app::{App, Refusal};

pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/{pool}/.well-known/jwks.json", get(key_set))
        .route("/{pool}/.well-known/openid-configuration", get(configuration))
}

async fn key_set(State(app): State<Arc<App>>, Path(pool): Path<String>) -> Result<Response, Refusal> {
    let pool = app.cx.pool(&pool).await?;
    let keys = keys::public(&app.cx, &pool).await?;
    Ok(public(json!({ "keys": keys })))
}

/// Source: OpenID Connect Discovery 1.0 §3; the members are the service's, as far as there is something
/// behind them.
async fn configuration(State(app): State<Arc<App>>, Path(pool): Path<String>) -> Result<Response, Refusal> {
    let pool = app.cx.pool(&pool).await?;
    let settings = &app.cx.settings;
    Ok(public(json!({
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": pool.issuer(settings),
        // The issuer may be a name that this server does not answer to; the keys are always here.
        "jwks_uri": format!("{}/{}/.well-known/jwks.json", settings.public_url, pool.record.id),
        "response_types_supported": ["code", "token"],
        "scopes_supported": ["openid", "email", "phone", "profile"],
        "subject_types_supported": ["public"],
    })))
}

/// For any origin, and kept by verifiers for a while. Keys do not change often, but a development server
/// may be given a new pool of the same id.
fn public(document: Value) -> Response {
    let headers = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (CACHE_CONTROL, "public, max-age=300")];
    (headers, axum::Json(document)).into_response()
}
