//! What belongs to one pool or client is worth nothing in another.

use lido_tests::{App, Lido, PASSWORD, Tokens};
use serde_json::json;

use super::*;

const EMAIL: &str = "ana@example.com";

/// Two pools that look alike, with users of the same names.
async fn twins() -> (App, App) {
    let lido = Lido::shared().await;
    let one = lido.pool().aliases(&["email"]).verify_email().app_client().await;
    let two = lido.pool().aliases(&["email"]).verify_email().app_client().await;
    (one, two)
}

#[tokio::test]
async fn users_of_the_same_name_are_others_in_another_pool() {
    let (one, two) = twins().await;
    let (ana, tokens) = one.user("ana").verified_email(EMAIL).signed_in().await;
    refused(&two.sign_in("ana", PASSWORD).await, USER_NOT_FOUND);
    refused(&two.sign_in(&ana.sub().await, PASSWORD).await, USER_NOT_FOUND);
    let (twin, others) = two.user("ana").verified_email(EMAIL).signed_in().await;
    assert_ne!(ana.sub().await, twin.sub().await);
    others.update(json!({ "nickname": "two" })).await.ok();
    assert_eq!(ana.attribute("nickname").await, None);
    twin.admin("AdminUserGlobalSignOut", json!({})).await.ok_empty();
    tokens.get_user().await.ok();
    twin.admin("AdminDeleteUser", json!({})).await.ok();
    tokens.get_user().await.ok();
    assert_eq!(one.pool.describe().await["EstimatedNumberOfUsers"], 1);
    two.pool.call("DeleteUserPool", json!({})).await.ok();
    one.tokens(EMAIL, PASSWORD).await;
}

#[tokio::test]
async fn a_code_is_for_its_pool_user_and_purpose() {
    let (one, two) = twins().await;
    for app in [&one, &two] {
        app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
        app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await.ok();
    }
    let (here, there) = (one.inbox().code_for(EMAIL).await, two.inbox().code_for(EMAIL).await);
    let bo = one.inbox().code_for("bo@example.com").await;
    if here != there {
        refused(&one.confirm("ana", &there).await, CODE_MISMATCH);
    }
    if here != bo {
        refused(&one.confirm("ana", &bo).await, CODE_MISMATCH);
    }
    one.confirm("ana", &here).await.ok_empty();
    two.confirm("ana", &there).await.ok_empty();

    let tokens = one.tokens("ana", PASSWORD).await;
    one.forgot("ana").await.ok();
    let reset = one.inbox().code_for(EMAIL).await;
    refused(&tokens.verify("email", &reset).await, CODE_EXPIRED);
    tokens.request_code("email").await.ok();
    let verify = one.inbox().code_for(EMAIL).await;
    if reset != verify {
        refused(&one.reset("ana", &verify, "Brand-new-pass-2").await, CODE_MISMATCH);
    }
    one.reset("ana", &reset, "Brand-new-pass-2").await.ok_empty();
    tokens.verify("email", &verify).await.ok_empty();
}

#[tokio::test]
async fn an_access_token_speaks_for_its_own_user() {
    let (one, two) = twins().await;
    let (_, tokens) = one.user("ana").verified_email(EMAIL).signed_in().await;
    two.user("ana").verified_email(EMAIL).create().await;
    // The pool is found from the token: nothing in the body leads elsewhere.
    let body = json!({ "UserPoolId": two.pool.id, "ClientId": two.id, "Username": "bo" });
    let read = tokens.call("GetUser", body).await.ok();
    assert_eq!(lido_tests::pairs(&read["UserAttributes"])["sub"], one.pool.attributes("ana").await["sub"]);
    tokens.call("GlobalSignOut", json!({ "UserPoolId": two.pool.id })).await.ok_empty();
    two.tokens("ana", PASSWORD).await;
}

#[tokio::test]
async fn a_refresh_token_is_for_its_client() {
    let (one, two) = twins().await;
    let sibling = one.pool.app_client().await;
    let (_, tokens) = one.user("ana").signed_in().await;
    two.user("ana").create().await;
    for other in [&two, &sibling] {
        refused(&other.refresh(&tokens.refresh).await, INVALID_REFRESH_TOKEN);
        let parameters = json!({ "REFRESH_TOKEN": tokens.refresh });
        refused(&other.admin_initiate("REFRESH_TOKEN_AUTH", parameters).await, INVALID_REFRESH_TOKEN);
        other.revoke(&tokens.refresh).await.ok_empty();
    }
    one.refresh(&tokens.refresh).await.ok();
}

#[tokio::test]
async fn an_srp_exchange_is_for_its_client() {
    let (one, two) = twins().await;
    let sibling = one.pool.app_client().await;
    one.user("ana").create().await;
    two.user("ana").create().await;
    let (exchange, challenge) = one.srp_begin("ana").await;
    let parameters = challenge.ok()["ChallengeParameters"].clone();
    let responses = one.srp_responses(&exchange, &parameters, PASSWORD, &one.timestamp().await);
    for other in [&two, &sibling] {
        refused(&other.respond("PASSWORD_VERIFIER", None, responses.clone()).await, WRONG_CREDENTIALS);
    }
    Tokens::of(&one.lido, &one.respond("PASSWORD_VERIFIER", None, responses).await);
}

#[tokio::test]
async fn a_client_is_of_one_pool() {
    let (one, two) = twins().await;
    one.user("ana").create().await;
    let missing = format!("User pool client {} does not exist.", two.id);
    let body = json!({
        "ClientId": two.id, "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ana", "PASSWORD": PASSWORD },
    });
    one.pool.call("AdminInitiateAuth", body).await.fails("ResourceNotFoundException", &missing);
    let body =
        json!({ "ClientId": two.id, "ChallengeName": "NEW_PASSWORD_REQUIRED", "Session": "x".repeat(30) });
    one.pool.call("AdminRespondToAuthChallenge", body).await.fails("ResourceNotFoundException", &missing);
}

#[tokio::test]
async fn locks_and_messages_are_of_one_pool() {
    let (one, two) = twins().await;
    one.user("ana").create().await;
    two.user("ana").create().await;
    for _ in 0..12 {
        one.sign_in("ana", "Wrong-pass-word-1").await;
    }
    two.tokens("ana", PASSWORD).await;
    one.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await.ok();
    assert_eq!(two.inbox().messages(&[]).await.len(), 0);
    assert_eq!(one.inbox().messages(&[]).await.len(), 1);
}
