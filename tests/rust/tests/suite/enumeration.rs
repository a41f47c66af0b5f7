//! PreventUserExistenceErrors: answers about users who exist and who do not are the same.

use std::collections::BTreeMap;

use lido_tests::{Answer, App, Lido, PASSWORD};
use serde_json::{Value, json};

use super::*;

const WRONG: &str = "Wrong-pass-word-1";

/// Everything of an answer that a client sees, without what differs each time.
fn seen(answer: &Answer) -> (u16, String, BTreeMap<String, String>) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-amzn-requestid", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (answer.status, answer.text.clone(), headers)
}

/// Users in every state beside the one that nobody is. In pools that sign in by address.
async fn cast(app: &App) -> Vec<String> {
    let name = |who: &str| format!("a{who}@example.com");
    app.user(&name("confirmed")).attribute("email_verified", "true").create().await;
    app.user(&name("unverified")).create().await;
    app.user(&name("disabled")).attribute("email_verified", "true").create().await;
    app.pool.admin("AdminDisableUser", &name("disabled"), json!({})).await.ok();
    app.user(&name("reset")).attribute("email_verified", "true").create().await;
    app.pool.admin("AdminResetUserPassword", &name("reset"), json!({})).await.ok();
    let invited = json!({ "MessageAction": "SUPPRESS" });
    app.pool.admin("AdminCreateUser", &name("invited"), invited).await.ok();
    app.sign_up_with(&name("unconfirmed"), PASSWORD, json!({})).await.ok();
    ["confirmed", "unverified", "disabled", "reset", "invited", "unconfirmed", "nobody"].map(name).into()
}

async fn discreet() -> App {
    let lido = Lido::shared().await;
    let pool = lido.pool().sign_in_by(&["email"]).verify_email().create().await;
    pool.client().discreet().create().await
}

#[tokio::test]
async fn public_calls_do_not_tell_who_exists() {
    let app = discreet().await;
    let names = cast(&app).await;
    let mut answers: BTreeMap<&str, Vec<Answer>> = BTreeMap::new();
    for name in &names {
        let mut note = |call, answer: Answer| answers.entry(call).or_default().push(answer);
        note("sign-in", app.sign_in(name, WRONG).await);
        note("ConfirmSignUp", app.confirm(name, "123456").await);
        note("ResendConfirmationCode", app.resend(name).await);
        note("ConfirmForgotPassword", app.reset(name, "123456", PASSWORD).await);
        note("ForgotPassword", app.forgot(name).await);
        note("ConfirmForgotPassword, asked for", app.reset(name, "123456", PASSWORD).await);
    }
    for (call, answers) in &answers {
        for (name, answer) in names.iter().zip(answers) {
            assert_eq!(seen(answer), seen(&answers[names.len() - 1]), "{call} of {name}");
        }
    }
    refused(&answers["sign-in"][0], WRONG_CREDENTIALS);
    refused(&answers["ConfirmSignUp"][0], CODE_MISMATCH);
    refused(&answers["ConfirmForgotPassword"][0], CODE_MISMATCH);
    let details = json!({ "Destination": "a***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" });
    assert_eq!(answers["ForgotPassword"][0].ok(), json!({ "CodeDeliveryDetails": details }));
    assert_eq!(answers["ResendConfirmationCode"][0].ok(), json!({ "CodeDeliveryDetails": details }));
    // Nobody got a message who should not have.
    let sent = app.inbox().messages(&[("destination", "anobody@example.com")]).await;
    assert_eq!(sent, Vec::<Value>::new());
}

#[tokio::test]
async fn an_srp_exchange_does_not_tell_who_exists() {
    let app = discreet().await;
    let names = cast(&app).await;
    for name in &names {
        let (exchange, answer) = app.srp_begin(name).await;
        let challenge = answer.ok();
        let parameters = challenge["ChallengeParameters"].clone();
        let keys: Vec<&String> = parameters.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["SALT", "SECRET_BLOCK", "SRP_B", "USERNAME", "USER_ID_FOR_SRP"], "{name}");
        let user = parameters["USER_ID_FOR_SRP"].as_str().unwrap();
        assert!(user.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{user}");
        assert_eq!(user.as_bytes()[14], b'4', "{user}");
        assert!(b"89ab".contains(&user.as_bytes()[19]), "{user}");
        // What does not change for a user does not change for nobody either.
        let (_, again) = app.srp_begin(name).await;
        let again = &again.ok()["ChallengeParameters"];
        assert_eq!(
            (&again["SALT"], &again["USER_ID_FOR_SRP"]),
            (&parameters["SALT"], &parameters["USER_ID_FOR_SRP"])
        );
        assert_ne!(again["SRP_B"], parameters["SRP_B"]);
        let responses = app.srp_responses(&exchange, &parameters, WRONG, &app.timestamp().await);
        refused(&app.respond("PASSWORD_VERIFIER", None, responses).await, WRONG_CREDENTIALS);
    }
}

#[tokio::test]
async fn a_secret_block_is_as_long_for_nobody() {
    // With the same A, what is left of the difference in length is chance: the mean tells.
    const ROUNDS: usize = 24;
    let lido = Lido::shared().await;
    let app = lido.pool().create().await.client().discreet().create().await;
    app.user("ana").create().await;
    let mut mean = BTreeMap::new();
    for name in ["ana", "bob"] {
        let mut total = 0;
        for _ in 0..ROUNDS {
            let parameters = json!({ "USERNAME": name, "SRP_A": "abcdef" });
            let answer = app.initiate("USER_SRP_AUTH", parameters).await.ok();
            total += answer["ChallengeParameters"]["SECRET_BLOCK"].as_str().unwrap().len();
        }
        mean.insert(name, total / ROUNDS);
    }
    assert!(mean["ana"].abs_diff(mean["bob"]) < 12, "{mean:?}");
}

#[tokio::test]
async fn names_without_a_user_look_like_user_names() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().create().await.client().discreet().create().await;
    let (_, answer) = app.srp_begin("nobody").await;
    assert_eq!(answer.ok()["ChallengeParameters"]["USER_ID_FOR_SRP"], "nobody");
    let one = app.forgot("nobody").await.ok();
    assert_eq!(one, app.forgot("nobody").await.ok(), "the same name has the same address");
    let destination = one["CodeDeliveryDetails"]["Destination"].as_str().unwrap();
    let form: Vec<char> = destination.chars().collect();
    assert_eq!(destination.len(), "a***@e***".len(), "{destination}");
    assert!(form[0].is_ascii_lowercase() && form[5].is_ascii_lowercase(), "{destination}");
}

#[tokio::test]
async fn attempts_are_limited_for_nobody_too() {
    let lido = Lido::setup().flag("--limits", "cognito").start().await;
    let pool = lido.pool().sign_in_by(&["email"]).verify_email().create().await;
    let app = pool.client().discreet().create().await;
    let (confirmed, unconfirmed, nobody) = ("ana@example.com", "abo@example.com", "acy@example.com");
    app.user(confirmed).attribute("email_verified", "true").create().await;
    app.sign_up_with(unconfirmed, PASSWORD, json!({})).await.ok();
    for (one, times) in [(confirmed, 12), (unconfirmed, 17)] {
        for attempt in 0..times {
            let calls = [
                (app.resend(one).await, app.resend(nobody).await),
                (app.confirm(one, "123456").await, app.confirm(nobody, "123456").await),
                (app.forgot(one).await, app.forgot(nobody).await),
                (app.reset(one, "123456", PASSWORD).await, app.reset(nobody, "123456", PASSWORD).await),
            ];
            for (someone, nobody) in &calls {
                assert_eq!(seen(someone), seen(nobody), "{} of {one}, attempt {attempt}", someone.operation);
            }
        }
        lido.clock().advance(HOUR).await;
    }
}

#[tokio::test]
async fn sign_up_and_administrators_are_told() {
    let app = discreet().await;
    app.user("ana@example.com").create().await;
    let taken: Refusal = ("UsernameExistsException", "An account with the given email already exists.");
    refused(&app.sign_up_with("ana@example.com", PASSWORD, json!({})).await, taken);
    // A sign-in is one, whoever asks for it; everything else tells.
    let parameters = json!({ "USERNAME": "anobody@example.com", "PASSWORD": PASSWORD });
    refused(&app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters).await, WRONG_CREDENTIALS);
    refused(&app.pool.admin("AdminGetUser", "anobody@example.com", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn a_discreet_client_works_for_those_who_exist() {
    let app = discreet().await;
    app.sign_up_with("ana@example.com", PASSWORD, json!({})).await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    app.confirm("ana@example.com", &code).await.ok_empty();
    app.tokens("ana@example.com", PASSWORD).await;
    app.forgot("ana@example.com").await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    app.reset("ana@example.com", &code, "Brand-new-pass-2").await.ok_empty();
    let answer = app.srp_sign_in("ana@example.com", "Brand-new-pass-2").await;
    lido_tests::Tokens::of(&app.lido, &answer);
}
