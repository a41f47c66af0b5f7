//! Many requests at once: what must happen once happens once, and nothing fails inside.

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, PASSWORD};
use serde_json::json;

use super::*;

const EMAIL: &str = "ana@example.com";

fn successes(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.is_ok()).count()
}

async fn app() -> App {
    Lido::shared().await.pool().verify_email().app_client().await
}

#[tokio::test]
async fn a_name_is_given_once() {
    let app = app().await;
    let answers =
        join_all((0..60).map(|_| app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })))).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, ("UsernameExistsException", "User already exists"));
    }
    assert_eq!(app.inbox().messages(&[]).await.len(), 1, "one message for the one user");
    assert_eq!(app.pool.describe().await["EstimatedNumberOfUsers"], 1);
}

#[tokio::test]
async fn an_address_is_given_once() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email"]).app_client().await;
    let answers = join_all((0..40).map(|_| app.sign_up_with(EMAIL, PASSWORD, json!({})))).await;
    assert_eq!(successes(&answers), 1);
    let invite = json!({ "MessageAction": "SUPPRESS" });
    let answers =
        join_all((0..40).map(|_| app.pool.admin("AdminCreateUser", "bo@example.com", invite.clone()))).await;
    assert_eq!(successes(&answers), 1);
    assert_eq!(app.pool.describe().await["EstimatedNumberOfUsers"], 2);
}

#[tokio::test]
async fn a_confirmation_happens_once() {
    let app = app().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    let answers = join_all((0..100).map(|_| app.confirm("ana", &code))).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        match answer.code() {
            Some("ExpiredCodeException") => refused(answer, CODE_EXPIRED),
            _ => answer.is_not_authorized("User cannot be confirmed. Current status is CONFIRMED"),
        }
    }
}

#[tokio::test]
async fn an_alias_has_one_holder() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).verify_email().app_client().await;
    let names: Vec<String> = (0..12).map(|index| format!("user{index}")).collect();
    join_all(names.iter().map(|name| app.sign_up_with(name, PASSWORD, json!({ "email": EMAIL })))).await;
    let mut codes = Vec::new();
    for name in &names {
        let message = &app.inbox().messages(&[("username", name)]).await[0];
        codes.push(message["code"].as_str().unwrap().to_owned());
    }
    let answers = join_all(names.iter().zip(&codes).map(|(name, code)| app.confirm(name, code))).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, ("AliasExistsException", "An account with the given email already exists."));
    }
    let winner = names.iter().zip(&answers).find(|(_, answer)| answer.is_ok()).unwrap().0;
    assert_eq!(app.pool.user(EMAIL).await["Username"], **winner);
}

#[tokio::test]
async fn forced_aliases_end_with_one_holder() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    let body = json!({
        "MessageAction": "SUPPRESS", "ForceAliasCreation": true,
        "UserAttributes": lido_tests::attributes(json!({ "email": EMAIL, "email_verified": "true" })),
    });
    let names: Vec<String> = (0..10).map(|index| format!("user{index}")).collect();
    let answers =
        join_all(names.iter().map(|name| app.pool.admin("AdminCreateUser", name, body.clone()))).await;
    let mut verified = 0;
    for (name, answer) in names.iter().zip(&answers) {
        if answer.is_ok() {
            verified += usize::from(app.pool.attributes(name).await["email_verified"] == "true");
        } else {
            answer.fails("TooManyRequestsException", "Rate exceeded");
        }
    }
    assert_eq!(verified, 1, "every other holder has lost its flag");
}

#[tokio::test]
async fn changes_of_a_pool_do_not_lose_each_other() {
    let app = app().await;
    let tags: Vec<String> = (0..12).map(|index| format!("tag{index}")).collect();
    let answers = join_all(tags.iter().map(|tag| {
        let body = json!({ "ResourceArn": app.pool.arn, "Tags": { tag: "v" } });
        app.lido.call("TagResource", body)
    }))
    .await;
    let described = app.pool.describe().await;
    for (tag, answer) in tags.iter().zip(&answers) {
        match answer.is_ok() {
            true => assert_eq!(described["UserPoolTags"][tag], "v"),
            false => answer.fails("TooManyRequestsException", "Rate exceeded"),
        }
    }
    assert!(successes(&answers) > 0);
}

#[tokio::test]
async fn a_pool_is_deleted_under_load() {
    let app = app().await;
    let names: Vec<String> = (0..60).map(|index| format!("user{index}")).collect();
    let sign_ups =
        join_all(names.iter().map(|name| app.sign_up_with(name, PASSWORD, json!({ "email": EMAIL }))));
    let (answers, deleted) = tokio::join!(sign_ups, async {
        app.resend("user0").await;
        app.pool.call("DeleteUserPool", json!({})).await
    });
    deleted.ok();
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        assert_eq!(answer.fails_with("ResourceNotFoundException").split(' ').next(), Some("User"));
    }
    app.pool.call("DescribeUserPool", json!({})).await.fails_with("ResourceNotFoundException");
}

#[tokio::test]
async fn a_mixed_load_fails_nowhere_inside() {
    let lido = Lido::start().await;
    let app = lido.pool().aliases(&["email"]).verify_email().app_client().await;
    let one = async |index: usize| {
        let (name, email) = (format!("user{index}"), format!("user{index}@example.com"));
        app.sign_up_with(&name, PASSWORD, json!({ "email": email })).await.ok();
        let code = app.inbox().code_for(&email).await;
        app.confirm(&name, &code).await.ok_empty();
        let tokens = app.tokens(&email, PASSWORD).await;
        let (_, _, _, refreshed) = tokio::join!(
            tokens.update(json!({ "nickname": "a" })),
            tokens.request_code("email"),
            app.sign_in(&name, "Wrong-pass-word-1"),
            app.refresh(&tokens.refresh),
        );
        refreshed.ok();
        let code = app.inbox().code_for(&email).await;
        tokens.verify("email", &code).await.ok_empty();
        app.srp_sign_in(&name, PASSWORD).await.ok();
        app.revoke(&tokens.refresh).await.ok_empty();
        refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
    };
    join_all((0..40).map(one)).await;
    assert_eq!(app.pool.describe().await["EstimatedNumberOfUsers"], 40);
    assert!(!lido.log().contains("ERROR"), "{}", lido.log());
}
