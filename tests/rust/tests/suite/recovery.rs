//! ForgotPassword, ConfirmForgotPassword, AdminResetUserPassword.

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const PHONE_NUMBER: &str = "+15550001234";
const NEW: &str = "Brand-new-pass-2";
const NO_CHANNEL: Refusal = (
    "InvalidParameterException",
    "Cannot reset password for the user as there is no registered/verified email or phone_number",
);
const NOT_RESETTABLE: Refusal =
    ("NotAuthorizedException", "User password cannot be reset in the current state.");

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn recovering(mechanisms: Value) -> App {
    let setting = json!({ "AccountRecoverySetting": { "RecoveryMechanisms": mechanisms } });
    Lido::shared().await.pool().with(setting).app_client().await
}

async fn code(app: &App) -> String {
    app.forgot("ana").await.ok();
    app.inbox().code_for(EMAIL).await
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_with_a_code() {
    let app = app().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    let sent = app.forgot("ana").await.ok();
    let details = json!({ "Destination": "a***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" });
    assert_eq!(sent, json!({ "CodeDeliveryDetails": details }));
    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!(message["source"], "CustomMessage_ForgotPassword");
    assert_eq!(message["subject"], "Your verification code");
    let code = message["code"].as_str().unwrap();
    assert_eq!(message["body"], format!("Your verification code is {code}. "));
    // Until then everything stays.
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    user.tokens().await;
    app.reset("ana", code, NEW).await.ok_empty();
    refused(&user.sign_in().await, WRONG_CREDENTIALS);
    app.tokens("ana", NEW).await;
    tokens.get_user().await.ok();
    refused(&app.reset("ana", code, PASSWORD).await, CODE_EXPIRED);
}

#[tokio::test]
async fn the_code_may_come_by_sms_or_through_an_alias() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    app.user("ana").verified_email(EMAIL).create().await;
    app.forgot(EMAIL).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.reset(EMAIL, &code, NEW).await.ok_empty();
    app.user("bo").verified_phone_number(PHONE_NUMBER).create().await;
    let sent = app.forgot("bo").await.ok();
    assert_eq!(sent["CodeDeliveryDetails"]["Destination"], "+*******1234");
    let code = app.inbox().code_for(PHONE_NUMBER).await;
    app.reset("bo", &code, NEW).await.ok_empty();
    app.tokens("bo", NEW).await;
}

#[tokio::test]
async fn the_channel_follows_the_pool_s_priorities() {
    let both = async |app: &App| {
        app.user("ana").verified_email(EMAIL).verified_phone_number(PHONE_NUMBER).create().await;
        app.forgot("ana").await.ok()["CodeDeliveryDetails"]["AttributeName"].clone()
    };
    let email = json!({ "Name": "verified_email", "Priority": 1 });
    let phone = |priority: i64| json!({ "Name": "verified_phone_number", "Priority": priority });
    assert_eq!(both(&app().await).await, "email");
    assert_eq!(
        both(&recovering(json!([phone(1), { "Name": "verified_email", "Priority": 2 }])).await).await,
        "phone_number"
    );
    assert_eq!(both(&recovering(json!([phone(2), email])).await).await, "email");
    assert_eq!(both(&recovering(json!([phone(1)])).await).await, "phone_number");

    let app = recovering(json!([phone(1)])).await;
    app.user("ana").verified_email(EMAIL).create().await;
    refused(&app.forgot("ana").await, NO_CHANNEL);
    let app = recovering(json!([{ "Name": "admin_only", "Priority": 1 }])).await;
    app.user("ana").verified_email(EMAIL).create().await;
    app.forgot("ana").await.is_not_authorized("Contact administrator to reset password.");
}

#[tokio::test]
async fn the_user_s_state_decides() {
    let app = app().await;
    refused(&app.forgot("nobody").await, COMBINATION_NOT_FOUND);
    refused(&app.reset("nobody", "123456", NEW).await, COMBINATION_NOT_FOUND);
    refused(&app.pool.admin("AdminResetUserPassword", "nobody", json!({})).await, USER_NOT_FOUND);

    let user = app.user("ana").email(EMAIL).create().await;
    refused(&app.forgot("ana").await, NO_CHANNEL);
    refused(&user.admin("AdminResetUserPassword", json!({})).await, NO_CHANNEL);
    app.pool.update("ana", json!({ "email_verified": "true" })).await.ok_empty();
    user.admin("AdminDisableUser", json!({})).await.ok_empty();
    refused(&app.forgot("ana").await, USER_DISABLED);
    refused(&app.reset("ana", "123456", NEW).await, USER_DISABLED);

    let values = lido_tests::attributes(json!({ "email": "bo@example.com", "email_verified": "true" }));
    let invite = json!({ "MessageAction": "SUPPRESS", "UserAttributes": values });
    app.pool.admin("AdminCreateUser", "bo", invite).await.ok();
    refused(&app.forgot("bo").await, NOT_RESETTABLE);
    refused(&app.pool.admin("AdminResetUserPassword", "bo", json!({})).await, NOT_RESETTABLE);

    app.sign_up_with("cy", PASSWORD, json!({ "email": "cy@example.com" })).await.ok();
    refused(&app.forgot("cy").await, NO_CHANNEL);
    app.pool.update("cy", json!({ "email_verified": "true" })).await.ok_empty();
    app.forgot("cy").await.ok();
    let code = app.inbox().code_for("cy@example.com").await;
    app.reset("cy", &code, NEW).await.ok_empty();
    assert_eq!(app.pool.status("cy").await, "CONFIRMED");
}

#[tokio::test]
async fn wrong_codes_are_counted() {
    let app = app().await;
    app.user("ana").verified_email(EMAIL).create().await;
    refused(&app.reset("ana", "123456", NEW).await, CODE_EXPIRED);
    let code = code(&app).await;
    for _ in 0..10 {
        refused(&app.reset("ana", another_code(&code), NEW).await, CODE_MISMATCH);
    }
    refused(&app.reset("ana", &code, NEW).await, ATTEMPT_LIMIT);
    app.tokens("ana", PASSWORD).await;
    let code = self::code(&app).await;
    app.reset("ana", &code, NEW).await.ok_empty();
}

#[tokio::test]
async fn a_code_is_good_for_an_hour_and_replaced_by_the_next() {
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    app.user("ana").verified_email(EMAIL).create().await;
    let first = code(&app).await;
    let second = code(&app).await;
    if first != second {
        refused(&app.reset("ana", &first, NEW).await, CODE_MISMATCH);
    }
    lido.clock().advance(HOUR - 60).await;
    app.reset("ana", &second, NEW).await.ok_empty();
    let code = code(&app).await;
    lido.clock().advance(HOUR).await;
    refused(&app.reset("ana", &code, NEW).await, CODE_EXPIRED);
}

#[tokio::test]
async fn a_code_for_an_address_that_changed_is_void() {
    let app = app().await;
    app.user("ana").verified_email(EMAIL).create().await;
    let code = code(&app).await;
    app.pool.update("ana", json!({ "email": "new@example.com", "email_verified": "true" })).await.ok_empty();
    refused(&app.reset("ana", &code, NEW).await, CODE_EXPIRED);
}

#[tokio::test]
async fn of_many_redemptions_at_once_one_succeeds() {
    let app = app().await;
    app.user("ana").verified_email(EMAIL).create().await;
    let code = code(&app).await;
    let passwords: Vec<String> = (0..40).map(|index| format!("Brand-new-pass-{index}")).collect();
    let answers = join_all(passwords.iter().map(|password| app.reset("ana", &code, password))).await;
    let winners: Vec<usize> = (0..40).filter(|index| answers[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, CODE_EXPIRED);
    }
    app.tokens("ana", &passwords[winners[0]]).await;
}

#[tokio::test]
async fn a_password_that_breaks_the_policy_leaves_the_code_good() {
    let app = app().await;
    app.user("ana").verified_email(EMAIL).create().await;
    let code = code(&app).await;
    let answer = app.reset("ana", &code, "weak").await;
    answer
        .fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
    app.reset("ana", &code, NEW).await.ok_empty();
}

#[tokio::test]
async fn a_reset_ends_a_lockout() {
    let app = app().await;
    app.user("ana").verified_email(EMAIL).create().await;
    for _ in 0..12 {
        app.sign_in("ana", "Wrong-pass-word-1").await;
    }
    let code = code(&app).await;
    app.reset("ana", &code, NEW).await.ok_empty();
    app.tokens("ana", NEW).await;
}

#[tokio::test]
async fn an_administrator_resets_a_password() {
    let app = app().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "RESET_REQUIRED");
    refused(&user.sign_in().await, RESET_REQUIRED);
    refused(&tokens.get_user().await, RESET_REQUIRED);
    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!(message["source"], "CustomMessage_ForgotPassword");
    assert_eq!(message.get("clientId"), None);
    app.reset("ana", message["code"].as_str().unwrap(), NEW).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    app.tokens("ana", NEW).await;
    // Once more, and asked for again by the user.
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();
    let code = code(&app).await;
    app.reset("ana", &code, PASSWORD).await.ok_empty();
}

#[tokio::test]
async fn requests_and_attempts_are_counted_where_limits_are_on() {
    let lido = Lido::setup().flag("--limits", "cognito").start().await;
    let app = lido.pool().app_client().await;
    app.user("ana").verified_email(EMAIL).create().await;
    for _ in 0..10 {
        app.forgot("ana").await.ok();
    }
    refused(&app.forgot("ana").await, ATTEMPT_LIMIT);
    let code = app.inbox().code_for(EMAIL).await;
    refused(&app.reset("ana", &code, NEW).await, ATTEMPT_LIMIT);
    lido.clock().advance(HOUR).await;
    let code = self::code(&app).await;
    app.reset("ana", &code, NEW).await.ok_empty();
}
