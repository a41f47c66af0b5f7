//! GlobalSignOut, AdminUserGlobalSignOut, RevokeToken.

use lido_tests::{App, Lido, PASSWORD, Tokens};
use serde_json::{Value, json};

use super::*;

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn is_alive(app: &App, tokens: &Tokens) {
    tokens.get_user().await.ok();
    app.refresh(&tokens.refresh).await.ok();
}

async fn is_revoked(app: &App, tokens: &Tokens) {
    refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
    refused(&app.refresh(&tokens.refresh).await, REFRESH_TOKEN_REVOKED);
}

async fn refreshed(app: &App, tokens: &Tokens) -> Tokens {
    let result = app.refresh(&tokens.refresh).await.ok()["AuthenticationResult"].clone();
    let text = |name: &str| result[name].as_str().unwrap().to_owned();
    Tokens { access: text("AccessToken"), id: text("IdToken"), ..tokens.clone() }
}

#[tokio::test]
async fn a_global_sign_out_ends_every_sign_in_of_the_user() {
    let app = app().await;
    let other = app.pool.app_client().await;
    let (user, one) = app.user("ana").signed_in().await;
    let (two, descendant) = (other.tokens("ana", PASSWORD).await, refreshed(&app, &one).await);
    let (_, bo) = app.user("bo").signed_in().await;
    descendant.call("GlobalSignOut", json!({})).await.ok_empty();
    is_revoked(&app, &one).await;
    is_revoked(&other, &two).await;
    is_revoked(&app, &descendant).await;
    refused(&one.call("GlobalSignOut", json!({})).await, ACCESS_TOKEN_REVOKED);
    is_alive(&app, &bo).await;
    is_alive(&app, &user.tokens().await).await;

    let three = user.tokens().await;
    for _ in 0..2 {
        user.admin("AdminUserGlobalSignOut", json!({})).await.ok_empty();
    }
    is_revoked(&app, &three).await;
    refused(&app.pool.admin("AdminUserGlobalSignOut", "nobody", json!({})).await, USER_NOT_FOUND);
    is_alive(&app, &user.tokens().await).await;
}

#[tokio::test]
async fn revoking_a_refresh_token_ends_its_sign_in_alone() {
    let app = app().await;
    let (user, one) = app.user("ana").signed_in().await;
    let (two, descendant) = (user.tokens().await, refreshed(&app, &one).await);
    for _ in 0..2 {
        app.revoke(&one.refresh).await.ok_empty();
    }
    is_revoked(&app, &one).await;
    is_revoked(&app, &descendant).await;
    is_alive(&app, &two).await;
}

#[tokio::test]
async fn only_refresh_tokens_are_revoked() {
    let app = app().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    for token in [&tokens.access, &tokens.id] {
        app.revoke(token).await.fails_with("UnsupportedTokenTypeException");
    }
    // What is not known is revoked already.
    app.revoke("unknown").await.ok_empty();
    is_alive(&app, &tokens).await;
}

#[tokio::test]
async fn a_token_is_revoked_by_its_client() {
    let app = app().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    app.pool.app_client().await.revoke(&tokens.refresh).await.ok_empty();
    Lido::shared().await.pool().app_client().await.revoke(&tokens.refresh).await.ok_empty();
    is_alive(&app, &tokens).await;
    let unknown = json!({ "ClientId": "unknown", "Token": tokens.refresh });
    app.lido.call("RevokeToken", unknown).await.fails_with("UnauthorizedException");

    let secret = app.pool.client().secret().create().await;
    let tokens = secret.tokens("ana", PASSWORD).await;
    let revoke = async |client_secret: Option<&str>| {
        let mut body = json!({ "ClientId": secret.id, "Token": tokens.refresh });
        if let Some(client_secret) = client_secret {
            body["ClientSecret"] = client_secret.into();
        }
        app.lido.call("RevokeToken", body).await
    };
    revoke(None).await.fails_with("UnauthorizedException");
    revoke(Some(&"x".repeat(52))).await.fails_with("UnauthorizedException");
    tokens.get_user().await.ok();
    revoke(secret.secret.as_deref()).await.ok_empty();
    refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
    let surplus = json!({ "ClientId": app.id, "Token": "x", "ClientSecret": "x".repeat(24) });
    app.lido.call("RevokeToken", surplus).await.fails_with("UnauthorizedException");
}

#[tokio::test]
async fn a_client_without_revocation_signs_out_globally() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let app = pool.client().with(json!({ "EnableTokenRevocation": false })).create().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    app.revoke(&tokens.refresh).await.fails_with("UnsupportedOperationException");
    is_alive(&app, &tokens).await;
    // Issued before the sign-out, told by the second it was issued in.
    lido.clock().advance(5).await;
    tokens.call("GlobalSignOut", json!({})).await.ok_empty();
    is_revoked(&app, &tokens).await;
    lido.clock().advance(5).await;
    is_alive(&app, &user.tokens().await).await;
}

#[tokio::test]
async fn every_operation_of_a_signed_in_user_sees_the_revocation() {
    let app = app().await;
    let (_, tokens) = app.user("ana").verified_email("ana@example.com").signed_in().await;
    app.revoke(&tokens.refresh).await.ok_empty();
    let calls: [(&str, Value); 8] = [
        ("ChangePassword", json!({ "PreviousPassword": PASSWORD, "ProposedPassword": PASSWORD })),
        ("DeleteUser", json!({})),
        ("DeleteUserAttributes", json!({ "UserAttributeNames": ["name"] })),
        ("GetUser", json!({})),
        ("GetUserAttributeVerificationCode", json!({ "AttributeName": "email" })),
        ("GlobalSignOut", json!({})),
        ("UpdateUserAttributes", json!({ "UserAttributes": [] })),
        ("VerifyUserAttribute", json!({ "AttributeName": "email", "Code": "123456" })),
    ];
    for (operation, body) in calls {
        refused(&tokens.call(operation, body).await, ACCESS_TOKEN_REVOKED);
    }
    app.tokens("ana", PASSWORD).await;
}
