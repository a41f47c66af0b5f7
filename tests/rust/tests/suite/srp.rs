//! USER_SRP_AUTH, as client libraries speak it.

use futures_util::future::join_all;
use lido_crypto::srp::client;
use lido_tests::{App, Lido, PASSWORD, Tokens};
use serde_json::{Value, json};

use super::*;

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

/// An exchange up to the challenge, and the challenge's parameters.
async fn begun(app: &App, username: &str) -> (client::Client, Value) {
    let (exchange, answer) = app.srp_begin(username).await;
    (exchange, answer.ok()["ChallengeParameters"].clone())
}

async fn respond(app: &App, responses: Value) -> lido_tests::Answer {
    app.respond("PASSWORD_VERIFIER", None, responses).await
}

#[tokio::test]
async fn the_password_is_proven_without_being_sent() {
    let app = app().await;
    app.user("ana").create().await;
    let (exchange, answer) = app.srp_begin("ana").await;
    let challenge = answer.ok();
    assert_eq!(challenge["ChallengeName"], "PASSWORD_VERIFIER");
    let parameters = &challenge["ChallengeParameters"];
    let names: Vec<&String> = parameters.as_object().unwrap().keys().collect();
    assert_eq!(names, ["SALT", "SECRET_BLOCK", "SRP_B", "USERNAME", "USER_ID_FOR_SRP"]);
    assert_eq!((&parameters["USERNAME"], &parameters["USER_ID_FOR_SRP"]), (&json!("ana"), &json!("ana")));
    for number in ["SALT", "SRP_B"] {
        let text = parameters[number].as_str().unwrap();
        assert!(!text.starts_with('0'), "leading zeros make client libraries differ");
        assert!(text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit)), "{text}");
    }
    let responses = app.srp_responses(&exchange, parameters, PASSWORD, &app.timestamp().await);
    let tokens = Tokens::of(&app.lido, &respond(&app, responses).await);
    tokens.get_user().await.ok();
}

#[tokio::test]
async fn a_wrong_password_proves_nothing() {
    let app = app().await;
    app.user("ana").create().await;
    refused(&app.srp_sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    let (_, answer) = app.srp_begin("nobody").await;
    refused(&answer, USER_NOT_FOUND);
}

#[tokio::test]
async fn a_secret_block_proves_a_password_once() {
    let app = app().await;
    app.user("ana").create().await;
    let (exchange, parameters) = begun(&app, "ana").await;
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    let answers = join_all((0..20).map(|_| respond(&app, responses.clone()))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, WRONG_CREDENTIALS);
    }
    refused(&respond(&app, responses).await, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn what_was_signed_must_be_what_arrives() {
    let app = app().await;
    app.user("ana").create().await;
    app.user("bo").create().await;
    let (exchange, parameters) = begun(&app, "ana").await;
    let good = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    let changed = |name: &str, value: &str| lido_tests::merged(good.clone(), json!({ name: value }));
    let block = good["PASSWORD_CLAIM_SECRET_BLOCK"].as_str().unwrap();
    let flipped = altered(block, 10);
    let (_, other) = begun(&app, "bo").await;
    for responses in [
        changed("PASSWORD_CLAIM_SIGNATURE", "d3Jvbmc="),
        changed("PASSWORD_CLAIM_SIGNATURE", "no base64"),
        changed("PASSWORD_CLAIM_SECRET_BLOCK", &flipped),
        changed("PASSWORD_CLAIM_SECRET_BLOCK", other["SECRET_BLOCK"].as_str().unwrap()),
        changed("PASSWORD_CLAIM_SECRET_BLOCK", "no base64"),
        changed("TIMESTAMP", "Tue Mar 3 04:05:06 UTC 2026"),
        changed("TIMESTAMP", "now"),
        changed("USERNAME", "bo"),
        changed("USERNAME", "nobody"),
    ] {
        refused(&respond(&app, responses).await, WRONG_CREDENTIALS);
        // Stays below the lockout.
        Tokens::of(&app.lido, &app.srp_sign_in("ana", PASSWORD).await);
    }
    Tokens::of(&app.lido, &respond(&app, good).await);
}

#[tokio::test]
async fn numbers_outside_the_group_are_refused() {
    let app = app().await;
    app.user("ana").create().await;
    let n = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD\
             EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED\
             EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F\
             83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B\
             E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510\
             15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7\
             ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C\
             BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF";
    for a in ["0", "00", n, &format!("0{n}"), &n.to_lowercase(), "xyz", "-1", &"f".repeat(5000)] {
        let answer = app.initiate("USER_SRP_AUTH", json!({ "USERNAME": "ana", "SRP_A": a })).await;
        answer.is_invalid("Invalid SRP_A parameter.");
    }
    // Odd digits, leading zeros and capitals are fine.
    for a in ["abc", "0abc", "ABC", "00000abc"] {
        app.initiate("USER_SRP_AUTH", json!({ "USERNAME": "ana", "SRP_A": a })).await.ok();
    }
}

#[tokio::test]
async fn an_exchange_belongs_to_its_client_and_ends_with_the_session_validity() {
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    app.user("ana").create().await;
    let other = app.pool.app_client().await;
    let (exchange, parameters) = begun(&app, "ana").await;
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    refused(&respond(&other, responses.clone()).await, WRONG_CREDENTIALS);
    lido.clock().advance(2 * 60).await;
    Tokens::of(&lido, &respond(&app, responses).await);

    let (exchange, parameters) = begun(&app, "ana").await;
    lido.clock().advance(3 * 60).await;
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    refused(&respond(&app, responses).await, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn an_alias_begins_and_the_user_name_or_the_alias_answers() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    app.user("ana").verified_email("ana@example.com").create().await;
    let (exchange, parameters) = begun(&app, "ana@example.com").await;
    assert_eq!(parameters["USER_ID_FOR_SRP"], "ana");
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    Tokens::of(&lido, &respond(&app, responses).await);
    let (exchange, parameters) = begun(&app, "ana@example.com").await;
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    let by_alias = lido_tests::merged(responses, json!({ "USERNAME": "ana@example.com" }));
    Tokens::of(&lido, &respond(&app, by_alias).await);
}

#[tokio::test]
async fn a_generated_user_name_is_the_one_that_is_hashed() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email"]).app_client().await;
    let user = app.user("ana@example.com").create().await;
    let (_, parameters) = begun(&app, "ana@example.com").await;
    assert_eq!(parameters["USER_ID_FOR_SRP"], user.username);
    Tokens::of(&lido, &app.srp_sign_in("ana@example.com", PASSWORD).await);
}

#[tokio::test]
async fn names_and_passwords_of_any_script_work() {
    let app = app().await;
    let password = "Grüße-Ωmega-7-日本";
    for name in ["björn", "ユーザー", "o'brien+x=1", "a:b"] {
        app.user(name).create().await;
        app.pool
            .admin("AdminSetUserPassword", name, json!({ "Password": password, "Permanent": true }))
            .await
            .ok();
        Tokens::of(&app.lido, &app.srp_sign_in(name, password).await);
        app.tokens(name, password).await;
    }
}

#[tokio::test]
async fn administrators_may_use_it_too() {
    let app = app().await;
    app.user("ana").create().await;
    let exchange = client::Client::new(&lido_tests::SystemRandom);
    let parameters = json!({ "USERNAME": "ana", "SRP_A": exchange.public_hex() });
    let challenge = app.admin_initiate("USER_SRP_AUTH", parameters).await.ok();
    let timestamp = app.timestamp().await;
    let responses = app.srp_responses(&exchange, &challenge["ChallengeParameters"], PASSWORD, &timestamp);
    let answer = app.admin_respond("PASSWORD_VERIFIER", None, responses).await;
    Tokens::of(&app.lido, &answer);
}

#[tokio::test]
async fn the_state_of_the_user_shows_after_the_proof() {
    let app = app().await;
    app.sign_up_with("ana", PASSWORD, json!({})).await.ok();
    refused(&app.srp_sign_in("ana", PASSWORD).await, NOT_CONFIRMED);
    refused(&app.srp_sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    let user = app.user("bo").verified_email("bo@example.com").create().await;
    user.admin("AdminResetUserPassword", json!({})).await.ok();
    refused(&app.srp_sign_in("bo", PASSWORD).await, RESET_REQUIRED);
    user.admin("AdminDisableUser", json!({})).await.ok();
    let (_, answer) = app.srp_begin("bo").await;
    refused(&answer, USER_DISABLED);
}
