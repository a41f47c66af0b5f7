//! What a restart, and a kill, leave as it was. `crash` does the same at random moments.

use std::path::Path;

use lido_tests::{Lido, PASSWORD, Tokens};
use serde_json::json;
use tempfile::TempDir;

use super::*;

async fn start(data: &Path) -> Lido {
    // The issuer must not change with the port.
    Lido::setup().data(data).flag("--public-url", "http://localhost:5436").start().await
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path()).await;
    let app = lido.pool().aliases(&["email"]).verify_email().create().await.client().secret().create().await;
    let (user, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    let keys = lido.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await;
    let pool = app.pool.describe().await;
    let revoked = user.tokens().await;
    app.revoke(&revoked.refresh).await.ok_empty();
    assert!(lido.terminate().success());

    let lido = start(data.path()).await;
    let (app, tokens) = (app.at(&lido), tokens.at(&lido));
    assert_eq!(app.pool.describe().await, pool);
    assert_eq!(lido.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await, keys);
    assert_eq!(app.inbox().code_for("ana@example.com").await, code);
    tokens.get_user().await.ok();
    tokens.verify("email", &code).await.ok_empty();
    app.tokens("ana@example.com", PASSWORD).await;
    Tokens::of(&lido, &app.srp_sign_in("ana", PASSWORD).await);
    let hash = lido_crypto::secret_hash::secret_hash("ana", &app.id, app.secret.as_deref().unwrap());
    let parameters = json!({ "REFRESH_TOKEN": tokens.refresh, "SECRET_HASH": hash });
    app.initiate("REFRESH_TOKEN_AUTH", parameters).await.ok();
    refused(&revoked.at(&lido).get_user().await, ACCESS_TOKEN_REVOKED);
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
}

#[tokio::test]
async fn a_code_is_used_once_across_a_kill() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path()).await;
    let app = lido.pool().app_client().await;
    let (user, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    tokens.verify("email", &code).await.ok_empty();
    let out = user.tokens().await;
    out.call("GlobalSignOut", json!({})).await.ok_empty();
    for _ in 0..3 {
        app.sign_in("ana", "Wrong-pass-word-1").await;
    }
    lido.kill();
    let lido = start(data.path()).await;
    let app = app.at(&lido);
    refused(&out.at(&lido).get_user().await, ACCESS_TOKEN_REVOKED);
    let tokens = app.tokens("ana", PASSWORD).await;
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
    assert_eq!(app.pool.attributes("ana").await["email_verified"], "true");
}

#[tokio::test]
async fn data_needs_its_master_key() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path()).await;
    lido.pool().app_client().await;
    assert!(lido.terminate().success());
    drop(lido);
    let key = data.path().join("master.key");
    let content = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let (status, text) = Lido::setup().data(data.path()).refused();
    assert!(!status.success() && text.contains("master"), "{text}");
    std::fs::write(&key, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n").unwrap();
    let (status, text) = Lido::setup().data(data.path()).refused();
    assert!(!status.success() && text.contains("master"), "{text}");
    std::fs::write(&key, content).unwrap();
    let pools = start(data.path()).await.call("ListUserPools", json!({ "MaxResults": 60 })).await.ok();
    assert_eq!(pools["UserPools"].as_array().unwrap().len(), 1);
}
