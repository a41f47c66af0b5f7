//! What is good once is taken once, whichever nodes are asked at the same time.

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, PASSWORD};
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_is_good_once_is_taken_once_of_all_nodes() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().verify_email().app_client().await;
    let apps = nodes.each(&app);
    let everywhere = |count: usize| apps.iter().cycle().take(count);
    let confirmed = "User cannot be confirmed. Current status is CONFIRMED";

    // The code of a sign-up.
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    let answers = join_all(everywhere(120).map(|app| app.confirm("ana", &code))).await;
    once(&answers, &[CODE_EXPIRED, ("NotAuthorizedException", confirmed)]);

    // That of an attribute.
    let tokens = app.tokens("ana", PASSWORD).await;
    tokens.request_code("email").await.ok();
    let message = &app.inbox().messages(&[("username", "ana")]).await[0];
    let code = message["code"].as_str().unwrap();
    let verify = async |app: &App| tokens.at(&app.lido).verify("email", code).await;
    once(&join_all(everywhere(120).map(verify)).await, &[CODE_EXPIRED]);

    // That of a forgotten password: one password wins.
    app.forgot("ana").await.ok();
    let message = &app.inbox().messages(&[("username", "ana")]).await[0];
    let code = message["code"].as_str().unwrap().to_owned();
    let passwords: Vec<String> = (0..120).map(|index| format!("Brand-new-pass-{index}")).collect();
    let reset = apps.iter().cycle().zip(&passwords).map(|(app, password)| app.reset("ana", &code, password));
    let answers = join_all(reset).await;
    once(&answers, &[CODE_EXPIRED]);
    let winner = answers.iter().position(Answer::is_ok).unwrap();
    app.tokens("ana", &passwords[winner]).await;

    // A proof by SRP.
    let (exchange, challenge) = app.srp_begin("ana").await;
    let timestamp = app.timestamp().await;
    let parameters = &challenge.ok()["ChallengeParameters"];
    let responses = app.srp_responses(&exchange, parameters, &passwords[winner], &timestamp);
    let prove = |app: &App| {
        let (app, responses) = (app.clone(), responses.clone());
        async move { app.respond("PASSWORD_VERIFIER", None, responses).await }
    };
    once(&join_all(everywhere(120).map(prove)).await, &[WRONG_CREDENTIALS]);

    // A session.
    let temporary = json!({ "Password": "Temporary-1", "Permanent": false });
    app.pool.admin("AdminSetUserPassword", "ana", temporary).await.ok_empty();
    let challenge = app.sign_in("ana", "Temporary-1").await.ok();
    let session = challenge["Session"].as_str().unwrap();
    let responses = json!({ "USERNAME": "ana", "NEW_PASSWORD": NEW_PASSWORD });
    let answer =
        async |app: &App| app.respond("NEW_PASSWORD_REQUIRED", Some(session), responses.clone()).await;
    once(&join_all(everywhere(120).map(answer)).await, &[SESSION_USED]);
    app.tokens("ana", NEW_PASSWORD).await;
    nodes.failed_nowhere_inside();
}

#[tokio::test]
async fn a_name_is_given_once_by_all_nodes() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().aliases(&["email"]).verify_email().app_client().await;
    let apps = nodes.each(&app);
    let everywhere = |count: usize| apps.iter().cycle().take(count);

    let sign_up = everywhere(30).map(|app| app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })));
    once(&join_all(sign_up).await, &[("UsernameExistsException", "User already exists")]);
    let invitation = json!({ "MessageAction": "SUPPRESS" });
    let invite = everywhere(30).map(|app| app.pool.admin("AdminCreateUser", "bo", invitation.clone()));
    once(&join_all(invite).await, &[("UsernameExistsException", "User account already exists")]);
    let group = everywhere(60).map(|app| app.pool.call("CreateGroup", json!({ "GroupName": "g" })));
    once(&join_all(group).await, &[("GroupExistsException", "A group with the name already exists.")]);
    let pool = |app: &App| {
        let lido = app.lido.clone();
        let body = json!({ "PoolName": "p", "UserPoolTags": { "lido:id": "us-east-1_Fixed01" } });
        async move { lido.call("CreateUserPool", body).await }
    };
    let taken = ("InvalidParameterException", "User pool us-east-1_Fixed01 already exists.");
    once(&join_all(everywhere(30).map(pool)).await, &[taken]);

    // Twelve users verify one address.
    let names: Vec<String> = (0..12).map(|index| format!("user{index}")).collect();
    let values = json!({ "email": "shared@example.com" });
    join_all(names.iter().map(|name| app.sign_up_with(name, PASSWORD, values.clone()))).await;
    let mut codes = Vec::new();
    for name in &names {
        let message = &app.inbox().messages(&[("username", name)]).await[0];
        codes.push(message["code"].as_str().unwrap().to_owned());
    }
    let confirm = apps.iter().cycle().zip(names.iter().zip(&codes));
    let answers = join_all(confirm.map(|(app, (name, code))| app.confirm(name, code))).await;
    once(&answers, &[("AliasExistsException", "An account with the given email already exists.")]);
    let winner = &names[answers.iter().position(Answer::is_ok).unwrap()];
    for app in &apps {
        assert_eq!(app.pool.user("shared@example.com").await["Username"], **winner);
    }
    nodes.failed_nowhere_inside();
}
