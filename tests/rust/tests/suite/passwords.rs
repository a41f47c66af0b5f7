//! ChangePassword, AdminSetUserPassword, policies and histories.

use lido_tests::{Answer, App, Lido, PASSWORD, Tokens};
use serde_json::{Value, json};

use super::*;

const NEW: &str = "Brand-new-pass-2";

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn under(policy: Value) -> App {
    Lido::shared().await.pool().with(json!({ "Policies": { "PasswordPolicy": policy } })).app_client().await
}

async fn change(tokens: &Tokens, previous: &str, proposed: &str) -> Answer {
    tokens.call("ChangePassword", json!({ "PreviousPassword": previous, "ProposedPassword": proposed })).await
}

async fn set(app: &App, password: &str, permanent: bool) -> Answer {
    app.pool
        .admin("AdminSetUserPassword", "ana", json!({ "Password": password, "Permanent": permanent }))
        .await
}

#[tokio::test]
async fn a_user_changes_its_password() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    change(&tokens, PASSWORD, NEW).await.ok_empty();
    refused(&user.sign_in().await, WRONG_CREDENTIALS);
    app.tokens("ana", NEW).await;
    Tokens::of(&app.lido, &app.srp_sign_in("ana", NEW).await);
    tokens.get_user().await.ok();
    app.refresh(&tokens.refresh).await.ok();
}

#[tokio::test]
async fn the_previous_password_must_be_right() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    refused(&change(&tokens, "Wrong-pass-word-1", NEW).await, WRONG_CREDENTIALS);
    let without = tokens.call("ChangePassword", json!({ "ProposedPassword": NEW })).await;
    refused(&without, WRONG_CREDENTIALS);
    user.tokens().await;
    let weak = change(&tokens, PASSWORD, "weak").await;
    weak.fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
}

#[tokio::test]
async fn guesses_of_the_previous_password_lock_the_user_out() {
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    let start = lido.clock().now().await as f64;
    for _ in 0..5 {
        lido.clock().set(start).await;
        refused(&change(&tokens, "Wrong-pass-word-1", NEW).await, WRONG_CREDENTIALS);
    }
    lido.clock().set(start).await;
    refused(&change(&tokens, PASSWORD, NEW).await, LOCKED_OUT);
    lido.clock().set(start).await;
    refused(&user.sign_in().await, LOCKED_OUT);
    lido.clock().set(start + 60.0).await;
    change(&tokens, PASSWORD, NEW).await.ok_empty();
}

#[tokio::test]
async fn an_administrator_sets_a_password() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    set(&app, NEW, true).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    app.tokens("ana", NEW).await;
    refused(&user.sign_in().await, WRONG_CREDENTIALS);
    tokens.get_user().await.ok();
    set(&app, PASSWORD, false).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "FORCE_CHANGE_PASSWORD");
    assert_eq!(user.sign_in().await.ok()["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let answer = app.pool.admin("AdminSetUserPassword", "ana", json!({ "Password": NEW })).await;
    answer.ok_empty();
    assert_eq!(
        app.pool.status("ana").await,
        "FORCE_CHANGE_PASSWORD",
        "temporary unless it is said otherwise"
    );
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    let answer = app.pool.admin("AdminSetUserPassword", "nobody", json!({ "Password": NEW })).await;
    refused(&answer, USER_NOT_FOUND);
}

#[tokio::test]
async fn a_permanent_password_confirms_whoever_signed_up() {
    let app = app().await;
    app.sign_up("ana", PASSWORD).await.ok();
    set(&app, NEW, true).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    app.tokens("ana", NEW).await;
}

#[tokio::test]
async fn policies_are_worded_for_administrators() {
    let app = app().await;
    app.user("ana").create().await;
    for (password, reason) in [
        ("aA1!", "Password not long enough"),
        ("correct-horse-7", "Password must have uppercase characters"),
        ("CORRECT-HORSE-7", "Password must have lowercase characters"),
        ("Correct-horse-x", "Password must have numeric characters"),
        ("CorrectHorse77", "Password must have symbol characters"),
    ] {
        let message = format!("Password did not conform with password policy: {reason}");
        set(&app, password, true).await.fails("InvalidPasswordException", &message);
        let invite = json!({ "MessageAction": "SUPPRESS", "TemporaryPassword": password });
        let answer = app.pool.admin("AdminCreateUser", "bo", invite).await;
        answer.fails("InvalidPasswordException", &message);
    }
}

#[tokio::test]
async fn a_policy_asks_for_what_it_says_alone() {
    let app = under(json!({ "MinimumLength": 6 })).await;
    app.sign_up("ana", "aaaaaa").await.ok();
    let short = app.sign_up("bo", "aaaaa").await;
    short.fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
    let app = under(json!({ "MinimumLength": 99, "RequireNumbers": true })).await;
    let long = "a".repeat(98);
    let short = app.sign_up("ana", &format!("{}1", &long[1..])).await;
    short.fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
    app.sign_up("ana", &format!("{long}1")).await.ok();
    let over = app.sign_up("bo", &"a1".repeat(129)).await;
    over.is_invalid(
        "1 validation error detected: Value at 'password' failed to satisfy constraint: \
         Member must have length less than or equal to 256",
    );
}

#[tokio::test]
async fn every_symbol_counts() {
    let app = under(json!({ "MinimumLength": 6, "RequireSymbols": true })).await;
    for (index, symbol) in "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-".chars().enumerate() {
        app.sign_up(&format!("u{index}"), &format!("aaaaa{symbol}")).await.ok();
    }
    for other in ["aaaaaé", "aaaaa€", "aaaaa§"] {
        let answer = app.sign_up("ana", other).await;
        let message = "Password did not conform with policy: Password must have symbol characters";
        answer.fails("InvalidPasswordException", message);
    }
}

#[tokio::test]
async fn a_remembered_password_is_not_used_again() {
    let app = under(json!({ "MinimumLength": 8, "PasswordHistorySize": 3 })).await;
    let user = app.user("ana").verified_email("ana@example.com").create().await;
    let tokens = user.tokens().await;
    let history = "PasswordHistoryPolicyViolationException";
    change(&tokens, PASSWORD, PASSWORD).await.fails_with(history);
    change(&tokens, PASSWORD, "password-2").await.ok_empty();
    change(&tokens, "password-2", PASSWORD).await.fails_with(history);
    change(&tokens, "password-2", "password-3").await.ok_empty();
    set(&app, "password-2", true).await.fails_with(history);
    app.forgot("ana").await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    app.reset("ana", &code, "password-3").await.fails_with(history);
    // Whoever holds no code learns nothing of the history.
    refused(&app.reset("ana", another_code(&code), "password-3").await, CODE_MISMATCH);
    app.reset("ana", &code, "password-4").await.ok_empty();
    // The current one and the two before it are remembered, no more.
    change(&tokens, "password-4", "password-2").await.fails_with(history);
    set(&app, "password-5", true).await.ok_empty();
    set(&app, "password-2", true).await.ok_empty();
}

#[tokio::test]
async fn changes_are_counted_where_limits_are_on() {
    let lido = Lido::setup().flag("--limits", "cognito").start().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let passwords: Vec<String> = (0..6).map(|index| format!("Brand-new-pass-{index}")).collect();
    change(&tokens, PASSWORD, &passwords[0]).await.ok_empty();
    for pair in passwords.windows(2).take(4) {
        change(&tokens, &pair[0], &pair[1]).await.ok_empty();
    }
    refused(&change(&tokens, &passwords[4], &passwords[5]).await, ATTEMPT_LIMIT);
    app.tokens("ana", &passwords[4]).await;
}
