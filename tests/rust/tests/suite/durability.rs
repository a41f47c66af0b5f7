//! What was acknowledged is there after the process was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD, Pool, Tokens};
use serde_json::json;
use tempfile::TempDir;

use super::*;

async fn start(data: &Path) -> Lido {
    // The issuer must not change with the port.
    Lido::setup().data(data).flag("--public-url", "http://localhost:5436").start().await
}

/// The same application, on a server that was started anew.
fn moved(app: &App, lido: &Lido) -> App {
    let pool = Pool { lido: lido.clone(), ..app.pool.clone() };
    App { lido: lido.clone(), pool, ..app.clone() }
}

fn moved_tokens(tokens: &Tokens, lido: &Lido) -> Tokens {
    Tokens { lido: lido.clone(), ..tokens.clone() }
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
    let (app, tokens) = (moved(&app, &lido), moved_tokens(&tokens, &lido));
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
    refused(&moved_tokens(&revoked, &lido).get_user().await, ACCESS_TOKEN_REVOKED);
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
}

/// How far a user got, as far as the server said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Acknowledged {
    signed_up: bool,
    confirmed: bool,
    /// The highest value of `nickname`.
    updated: Option<u32>,
    /// The highest value that was sent at all.
    sent: Option<u32>,
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_under_load() {
    const ROUNDS: usize = 3;
    const USERS: usize = 24;
    let data = TempDir::new().unwrap();
    let lido = start(data.path()).await;
    let mut app = lido.pool().verify_email().app_client().await;
    drop(lido);
    let acknowledged: Mutex<BTreeMap<String, Acknowledged>> = Mutex::default();
    for round in 0..ROUNDS {
        let count = AtomicUsize::new(0);
        let note = |name: &str, change: &dyn Fn(&mut Acknowledged)| {
            change(acknowledged.lock().unwrap().entry(name.to_owned()).or_default());
        };
        let one = async |index: usize| {
            // Ends with the first call that gets no answer.
            let name = format!("user{round}x{index}");
            let email = format!("{name}@example.com");
            let body = json!({
                "ClientId": app.id, "Username": name, "Password": PASSWORD,
                "UserAttributes": [{ "Name": "email", "Value": email }],
            });
            let answer = app.lido.try_call("SignUp", body).await.ok()?;
            answer.ok();
            note(&name, &|user| user.signed_up = true);
            count.fetch_add(1, Ordering::Relaxed);
            let path = format!("/_lido/messages?userPoolId={}&username={name}", app.pool.id);
            let inbox = app.lido.request(http::Method::GET, &path).send().await.ok()?;
            let inbox: serde_json::Value = inbox.json().await.ok()?;
            let code = inbox["messages"][0]["code"].as_str().unwrap().to_owned();
            let body = json!({ "ClientId": app.id, "Username": name, "ConfirmationCode": code });
            app.lido.try_call("ConfirmSignUp", body).await.ok()?.ok_empty();
            note(&name, &|user| user.confirmed = true);
            for value in 0_u32.. {
                note(&name, &|user| user.sent = Some(value));
                let body = json!({
                    "UserPoolId": app.pool.id, "Username": name,
                    "UserAttributes": [{ "Name": "nickname", "Value": value.to_string() }],
                });
                app.lido.try_call("AdminUpdateUserAttributes", body).await.ok()?.ok_empty();
                note(&name, &|user| user.updated = Some(value));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Some(())
        };
        let killed = async {
            while count.load(Ordering::Relaxed) < USERS * (2 + round) {
                tokio::task::yield_now().await;
            }
            app.lido.kill();
        };
        tokio::join!(join_all((0..USERS).map(one)), killed);

        let lido = start(data.path()).await;
        app = moved(&app, &lido);
        let users = acknowledged.lock().unwrap().clone();
        assert!(users.values().any(|user| user.updated.is_some()));
        for (name, user) in users {
            if !user.signed_up {
                continue;
            }
            let stored = app.pool.user(&name).await;
            if user.confirmed {
                assert_eq!(stored["UserStatus"], "CONFIRMED", "{name}");
            }
            let values = lido_tests::pairs(&stored["UserAttributes"]);
            let nickname: Option<u32> = values.get("nickname").map(|value| value.parse().unwrap());
            // What got no answer may be there or not.
            assert!(
                user.updated <= nickname && nickname <= user.sent,
                "{name}: {user:?}, stored {nickname:?}"
            );
        }
    }
    let users = acknowledged.into_inner().unwrap();
    let (name, _) = users.iter().find(|(_, user)| user.confirmed).unwrap();
    app.tokens(name, PASSWORD).await;
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
    let app = moved(&app, &lido);
    refused(&moved_tokens(&out, &lido).get_user().await, ACCESS_TOKEN_REVOKED);
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
