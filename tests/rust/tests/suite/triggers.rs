//! The triggers of sign-up, sign-in, tokens and migration. CustomMessage has a file of its own.

use std::sync::Arc;

use futures_util::future::join_all;
use lido_tests::{
    Answer, App, Functions, Lido, PASSWORD, Pool, PoolBuilder, Reply, Tokens, attributes, claims, merged,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;

const EMAIL: &str = "ana@example.com";
const UNRECOGNIZABLE: Refusal = ("InvalidLambdaResponseException", "Unrecognizable lambda output");
const ACCOUNT_SCOPE: &str = "aws.cognito.signin.user.admin";
const NO_CLIENT: &str = "CLIENT_ID_NOT_APPLICABLE";

const SIGN_IN: [&str; 3] = ["PreAuthentication", "PostAuthentication", "PreTokenGeneration"];

/// A pool with functions for these triggers, each named as its trigger. Without more they answer the event.
async fn pool(functions: &Functions, triggers: &[&str]) -> PoolBuilder {
    let lido = Lido::setup().config(functions.config(triggers)).start().await;
    with_triggers(lido.pool(), triggers)
}

fn with_triggers(pool: PoolBuilder, triggers: &[&str]) -> PoolBuilder {
    let config: Value =
        triggers.iter().map(|trigger| ((*trigger).to_owned(), Functions::arn(trigger))).collect();
    pool.with(json!({ "LambdaConfig": config }))
}

/// A pool whose function changes tokens, by events of this version.
async fn token_pool(functions: &Functions, version: &str) -> PoolBuilder {
    let lido = Lido::setup().config(functions.config(&["PreTokenGeneration"])).start().await;
    let function = json!({ "LambdaVersion": version, "LambdaArn": Functions::arn("PreTokenGeneration") });
    lido.pool().with(json!({ "LambdaConfig": { "PreTokenGenerationConfig": function } }))
}

/// A whole event of version 1.
fn event(pool: &Pool, client: &str, username: &str, source: &str, request: Value, response: Value) -> Value {
    json!({
        "version": "1",
        "region": "us-east-1",
        "userPoolId": pool.id,
        "userName": username,
        "callerContext": { "awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": client },
        "triggerSource": source,
        "request": request,
        "response": response,
    })
}

/// The events since this was last asked.
fn events(functions: &Functions) -> Vec<Value> {
    functions.invocations().into_iter().map(|invocation| invocation.event).collect()
}

/// Their sources.
fn sources(functions: &Functions) -> Vec<String> {
    events(functions).iter().map(|event| event["triggerSource"].as_str().unwrap().to_owned()).collect()
}

fn only(functions: &Functions) -> Value {
    let mut events = events(functions);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

fn raises(message: &str) -> Reply {
    Reply::Raw { status: 200, body: json!({ "errorMessage": message }).to_string(), function_error: true }
}

/// Asserts that a function's refusal has reached the caller.
#[track_caller]
fn refused_by(answer: &Answer, trigger: &str, message: &str) {
    answer.fails("UserLambdaValidationException", &format!("{trigger} failed with error {message}."));
}

fn metadata(value: &str) -> Value {
    json!({ "ClientMetadata": { "said": value } })
}

// ---- Sign-up ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_sign_up_fires_its_triggers_in_order() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PreSignUp", "CustomMessage", "PostConfirmation"])
        .await
        .verify_email()
        .app_client()
        .await;
    let body = json!({
        "Username": "ana", "Password": PASSWORD,
        "UserAttributes": attributes(json!({ "email": EMAIL, "name": "Ana" })),
        "ValidationData": attributes(json!({ "captcha": "7" })),
    });
    let sub = app.call("SignUp", merged(body, metadata("sign-up"))).await.ok()["UserSub"].clone();
    let seen = events(&functions);
    assert_eq!(seen.len(), 2);
    let request = json!({
        "userAttributes": { "email": EMAIL, "name": "Ana" }, "validationData": { "captcha": "7" },
        "clientMetadata": { "said": "sign-up" },
    });
    let response = json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false });
    assert_eq!(seen[0], event(&app.pool, &app.id, "ana", "PreSignUp_SignUp", request, response));
    assert_eq!(seen[1]["triggerSource"], "CustomMessage_SignUp");
    assert_eq!(seen[1]["request"]["clientMetadata"], json!({ "said": "sign-up" }));

    let code = app.inbox().code_for(EMAIL).await;
    let body = json!({ "Username": "ana", "ConfirmationCode": code });
    app.call("ConfirmSignUp", merged(body, metadata("confirm"))).await.ok_empty();
    let request = json!({
        "userAttributes": {
            "sub": sub, "cognito:user_status": "CONFIRMED", "email": EMAIL, "email_verified": "true", "name": "Ana",
        },
        "clientMetadata": { "said": "confirm" },
    });
    let source = "PostConfirmation_ConfirmSignUp";
    assert_eq!(only(&functions), event(&app.pool, &app.id, "ana", source, request, json!({})));

    // What was not sent is null or left out.
    app.sign_up_with("bo", PASSWORD, json!({})).await.ok();
    let request = json!({ "userAttributes": {}, "validationData": null });
    let response = json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false });
    assert_eq!(only(&functions), event(&app.pool, &app.id, "bo", "PreSignUp_SignUp", request, response));
    app.pool.admin("AdminConfirmSignUp", "bo", metadata("by admin")).await.ok_empty();
    let seen = only(&functions);
    let request = json!({
        "userAttributes": { "sub": seen["request"]["userAttributes"]["sub"], "cognito:user_status": "CONFIRMED" },
        "clientMetadata": { "said": "by admin" },
    });
    assert_eq!(seen, event(&app.pool, NO_CLIENT, "bo", source, request, json!({})));

    app.forgot("ana").await.ok();
    assert_eq!(sources(&functions), ["CustomMessage_ForgotPassword"]);
    let code = app.inbox().code_for(EMAIL).await;
    let body = json!({ "Username": "ana", "ConfirmationCode": code, "Password": "Another-pass-1" });
    app.call("ConfirmForgotPassword", merged(body, metadata("reset"))).await.ok_empty();
    let request = json!({
        "userAttributes": {
            "sub": sub, "cognito:user_status": "CONFIRMED", "email": EMAIL, "email_verified": "true", "name": "Ana",
        },
        "clientMetadata": { "said": "reset" },
    });
    let source = "PostConfirmation_ConfirmForgotPassword";
    assert_eq!(only(&functions), event(&app.pool, &app.id, "ana", source, request, json!({})));
}

#[tokio::test]
async fn pre_sign_up_confirms_and_verifies() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PreSignUp", "PostConfirmation"]).await.verify_email().app_client().await;
    let decide = |confirm: Value, email: Value, phone: Value| {
        functions.on("PreSignUp", move |_| {
            Reply::Respond(
                json!({ "autoConfirmUser": confirm, "autoVerifyEmail": email, "autoVerifyPhone": phone }),
            )
        });
    };
    let values = json!({ "email": EMAIL, "phone_number": "+15550001234" });

    decide(json!(true), json!(false), json!(true));
    let body =
        json!({ "Username": "ana", "Password": PASSWORD, "UserAttributes": attributes(values.clone()) });
    let answer = app.call("SignUp", merged(body, metadata("sign-up"))).await.ok();
    assert_eq!(answer["UserConfirmed"], true);
    assert_eq!(answer.get("CodeDeliveryDetails"), None);
    let seen = events(&functions);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let request = json!({
        "userAttributes": {
            "sub": answer["UserSub"], "cognito:user_status": "CONFIRMED", "email": EMAIL, "email_verified": "false",
            "phone_number": "+15550001234", "phone_number_verified": "true",
        },
        "clientMetadata": { "said": "sign-up" },
    });
    let source = "PostConfirmation_ConfirmSignUp";
    assert_eq!(seen[1], event(&app.pool, &app.id, "ana", source, request, json!({})));
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    app.tokens("ana", PASSWORD).await;

    // Verified, not confirmed: the code is sent all the same.
    decide(json!(false), json!(true), json!(null));
    let answer = app.sign_up_with("bo", PASSWORD, values.clone()).await.ok();
    assert_eq!(answer["UserConfirmed"], false);
    assert_eq!(answer["CodeDeliveryDetails"]["AttributeName"], "email");
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED");
    let stored = app.pool.attributes("bo").await;
    assert_eq!((&*stored["email_verified"], &*stored["phone_number_verified"]), ("true", "false"));
    assert_eq!(sources(&functions), ["PreSignUp_SignUp"]);

    for (confirm, email, phone, values) in [
        (json!(true), json!(true), json!(false), json!({ "phone_number": "+15550001234" })),
        (json!(true), json!(false), json!(true), json!({ "email": EMAIL })),
        (json!("true"), json!(false), json!(false), values.clone()),
        (json!(false), json!(1), json!(false), values.clone()),
        (json!(false), json!(false), json!({}), values.clone()),
    ] {
        decide(confirm, email, phone);
        refused(&app.sign_up_with("cy", PASSWORD, values).await, UNRECOGNIZABLE);
    }
    refused(&app.pool.admin("AdminGetUser", "cy", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn an_address_that_pre_sign_up_vouches_for_is_taken_from_its_holder() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PreSignUp"]).await.aliases(&["email"]).app_client().await;
    functions
        .on("PreSignUp", |_| Reply::Respond(json!({ "autoConfirmUser": true, "autoVerifyEmail": true })));
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    app.sign_up_with("bo", "Another-pass-1", json!({ "email": EMAIL })).await.ok();
    assert_eq!(app.pool.attributes("ana").await["email_verified"], "false");
    assert_eq!(app.pool.attributes("bo").await["email_verified"], "true");
    refused(&app.sign_in(EMAIL, PASSWORD).await, WRONG_CREDENTIALS);
    app.tokens(EMAIL, "Another-pass-1").await;
    app.tokens("ana", PASSWORD).await;
}

#[tokio::test]
async fn pre_sign_up_refuses_a_user() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PreSignUp"]).await.verify_email().app_client().await;
    functions.on("PreSignUp", |_| raises("Not with us!"));
    refused_by(&app.sign_up(EMAIL, PASSWORD).await, "PreSignUp", "Not with us!");
    let answer = app.pool.admin("AdminCreateUser", EMAIL, json!({ "MessageAction": "SUPPRESS" })).await;
    refused_by(&answer, "PreSignUp", "Not with us!");
    refused(&app.pool.admin("AdminGetUser", EMAIL, json!({})).await, USER_NOT_FOUND);
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    assert_eq!(events(&functions).len(), 2);
    // What is refused without it is not asked.
    let weak = json!({ "MessageAction": "SUPPRESS", "TemporaryPassword": "shorter" });
    app.pool.admin("AdminCreateUser", "bo", weak).await.fails_with("InvalidPasswordException");
    app.sign_up("bo", "short").await.fails_with("InvalidPasswordException");
    app.sign_up_with("bo", PASSWORD, json!({ "custom:none": "x" }))
        .await
        .fails_with("InvalidParameterException");
    functions.on("PreSignUp", |event| Reply::Value(event.clone()));
    app.sign_up("bo", PASSWORD).await.ok();
    assert_eq!(events(&functions).len(), 1);
    app.sign_up("bo", PASSWORD).await.fails_with("UsernameExistsException");
    assert_eq!(events(&functions).len(), 0);
}

#[tokio::test]
async fn a_user_whom_an_administrator_makes_is_only_admitted() {
    let functions = Functions::start().await;
    let triggers = ["PreSignUp", "CustomMessage", "PostConfirmation"];
    let app = pool(&functions, &triggers).await.app_client().await;
    functions
        .on("PreSignUp", |_| Reply::Respond(json!({ "autoConfirmUser": true, "autoVerifyEmail": true })));
    let body = json!({
        "UserAttributes": attributes(json!({ "email": EMAIL })), "DesiredDeliveryMediums": ["EMAIL"],
        "ValidationData": attributes(json!({ "by": "admin" })),
    });
    app.pool.admin("AdminCreateUser", "ana", merged(body, metadata("invite"))).await.ok();
    let seen = events(&functions);
    let request = json!({
        "userAttributes": { "email": EMAIL }, "validationData": { "by": "admin" },
        "clientMetadata": { "said": "invite" },
    });
    let response = json!({ "autoConfirmUser": false, "autoVerifyEmail": false, "autoVerifyPhone": false });
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0], event(&app.pool, NO_CLIENT, "ana", "PreSignUp_AdminCreateUser", request, response));
    assert_eq!(seen[1]["triggerSource"], "CustomMessage_AdminCreateUser");
    assert_eq!(app.pool.status("ana").await, "FORCE_CHANGE_PASSWORD");
    assert_eq!(app.pool.attributes("ana").await.get("email_verified"), None);

    let again = json!({ "MessageAction": "RESEND", "DesiredDeliveryMediums": ["EMAIL"] });
    app.pool.admin("AdminCreateUser", "ana", again).await.ok();
    assert_eq!(sources(&functions), ["CustomMessage_AdminCreateUser"], "the user is there already");
    app.pool.admin("AdminCreateUser", "bo", json!({ "MessageAction": "SUPPRESS" })).await.ok();
    assert_eq!(sources(&functions), ["PreSignUp_AdminCreateUser"]);
}

#[tokio::test]
async fn a_user_stays_confirmed_when_post_confirmation_fails() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PreSignUp", "PostConfirmation"]).await.verify_email().app_client().await;
    functions.on("PostConfirmation", |_| raises("too late"));
    let email = |name: &str| json!({ "email": format!("{name}@example.com") });

    app.sign_up_with("ana", PASSWORD, email("ana")).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    refused_by(&app.confirm("ana", &code).await, "PostConfirmation", "too late");
    app.sign_up_with("bo", PASSWORD, email("bo")).await.ok();
    refused_by(&app.pool.admin("AdminConfirmSignUp", "bo", json!({})).await, "PostConfirmation", "too late");
    functions.on("PreSignUp", |_| Reply::Respond(json!({ "autoConfirmUser": true })));
    refused_by(&app.sign_up_with("cy", PASSWORD, email("cy")).await, "PostConfirmation", "too late");
    for name in ["ana", "bo", "cy"] {
        assert_eq!(app.pool.status(name).await, "CONFIRMED");
        app.tokens(name, PASSWORD).await;
    }
    app.forgot("ana").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    refused_by(&app.reset("ana", &code, "Another-pass-1").await, "PostConfirmation", "too late");
    app.tokens("ana", "Another-pass-1").await;
}

#[tokio::test]
async fn a_custom_sender_is_not_passed_over() {
    let function = json!({ "LambdaVersion": "V1_0", "LambdaArn": Functions::arn("f") });
    let key = "arn:aws:kms:us-east-1:000000000000:key/1";
    for sender in ["CustomEmailSender", "CustomSMSSender"] {
        let config = json!({ "LambdaConfig": { sender: function, "KMSKeyID": key } });
        let pool = Lido::shared().await.pool().verify_email().verify_phone_number().with(config);
        let app = pool.app_client().await;
        let values = match sender {
            "CustomEmailSender" => json!({ "email": EMAIL }),
            _ => json!({ "phone_number": "+15550001234" }),
        };
        let message = format!("Lido does not implement the {sender} trigger yet.");
        let answer = app.sign_up_with("ana", PASSWORD, values).await;
        answer.fails_as(501, "NotImplementedException", &message);
    }
}

// ---- Sign-in ---------------------------------------------------------------------------------

/// The request of PreTokenGeneration's first version, without groups.
fn token_request(values: &Value) -> Value {
    json!({
        "userAttributes": values,
        "groupConfiguration": { "groupsToOverride": [], "iamRolesToOverride": [], "preferredRole": null },
    })
}

#[tokio::test]
async fn a_sign_in_by_password_fires_its_triggers_in_order() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    let user = app.user("ana").verified_email(EMAIL).create().await;
    let values = json!({
        "sub": user.sub().await, "cognito:user_status": "CONFIRMED", "email": EMAIL, "email_verified": "true",
    });
    let of = |source: &str, request: Value, response: Value| {
        event(&app.pool, &app.id, "ana", source, request, response)
    };
    let answered = json!({ "userAttributes": values, "newDeviceUsed": false });
    let expected = |validation_data: Value| {
        let before = json!({ "userAttributes": values, "validationData": validation_data });
        vec![
            of("PreAuthentication_Authentication", before, json!({})),
            of("PostAuthentication_Authentication", answered.clone(), json!({})),
            of(
                "TokenGeneration_Authentication",
                token_request(&values),
                json!({ "claimsOverrideDetails": null }),
            ),
        ]
    };
    let tokens = app.tokens("ana", PASSWORD).await;
    assert_eq!(events(&functions), expected(Value::Null));
    // What comes with the beginning reaches no other trigger.
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD });
    let body = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    app.call("InitiateAuth", merged(body, metadata("begin"))).await.ok();
    assert_eq!(events(&functions), expected(json!({ "said": "begin" })));
    let body = json!({
        "ClientId": app.id, "AuthFlow": "ADMIN_USER_PASSWORD_AUTH", "AuthParameters": parameters,
    });
    app.pool.call("AdminInitiateAuth", merged(body, metadata("begin"))).await.ok();
    assert_eq!(events(&functions), expected(json!({ "said": "begin" })));

    app.refresh(&tokens.refresh).await.ok();
    let response = json!({ "claimsOverrideDetails": null });
    let expected = of("TokenGeneration_RefreshTokens", token_request(&values), response);
    assert_eq!(events(&functions), [expected]);
    // A wrong password is seen by the first alone.
    refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    assert_eq!(sources(&functions), ["PreAuthentication_Authentication"]);
}

#[tokio::test]
async fn a_sign_in_in_two_steps_fires_where_each_belongs() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    let user = app.user("ana").create().await;
    let values = json!({ "sub": user.sub().await, "cognito:user_status": "CONFIRMED" });
    let (exchange, challenge) = app.srp_begin("ana").await;
    let challenge = challenge.ok();
    assert_eq!(sources(&functions), ["PreAuthentication_Authentication"]);
    let parameters = &challenge["ChallengeParameters"];
    let responses = app.srp_responses(&exchange, parameters, PASSWORD, &app.timestamp().await);
    let body = json!({ "ChallengeName": "PASSWORD_VERIFIER", "ChallengeResponses": responses });
    app.call("RespondToAuthChallenge", merged(body, metadata("answer"))).await.ok();
    let said = json!({ "clientMetadata": { "said": "answer" } });
    let of = |source: &str, request: Value, response: Value| {
        event(&app.pool, &app.id, "ana", source, merged(request, said.clone()), response)
    };
    let answered = json!({ "userAttributes": values, "newDeviceUsed": false });
    let response = json!({ "claimsOverrideDetails": null });
    let expected = [
        of("PostAuthentication_Authentication", answered, json!({})),
        of("TokenGeneration_Authentication", token_request(&values), response),
    ];
    assert_eq!(events(&functions), expected);
    refused(&app.srp_sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    assert_eq!(sources(&functions), ["PreAuthentication_Authentication"]);
}

/// The session of a user who has to choose a new password.
async fn awaiting_password(app: &App, username: &str) -> String {
    let body = json!({ "MessageAction": "SUPPRESS", "TemporaryPassword": "Temporary-1" });
    app.pool.admin("AdminCreateUser", username, body).await.ok();
    let challenge = app.sign_in(username, "Temporary-1").await.ok();
    assert_eq!(challenge["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    challenge["Session"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_password_has_a_source_of_its_own() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    let session = awaiting_password(&app, "ana").await;
    assert_eq!(sources(&functions), ["PreAuthentication_Authentication"]);
    let responses = json!({ "USERNAME": "ana", "NEW_PASSWORD": PASSWORD });
    app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses).await.ok();
    let seen = events(&functions);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let values = seen[0]["request"]["userAttributes"].clone();
    assert_eq!(values["cognito:user_status"], "CONFIRMED");
    let request = json!({ "userAttributes": values, "newDeviceUsed": false });
    let source = "PostAuthentication_Authentication";
    assert_eq!(seen[0], event(&app.pool, &app.id, "ana", source, request, json!({})));
    let source = "TokenGeneration_NewPasswordChallenge";
    let response = json!({ "claimsOverrideDetails": null });
    assert_eq!(seen[1], event(&app.pool, &app.id, "ana", source, token_request(&values), response));

    // A refusal leaves the new password in force.
    let session = awaiting_password(&app, "bo").await;
    functions.on("PostAuthentication", |_| raises("not today"));
    let responses = json!({ "USERNAME": "bo", "NEW_PASSWORD": PASSWORD });
    let answer = app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses.clone()).await;
    refused_by(&answer, "PostAuthentication", "not today");
    refused(&app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses).await, SESSION_USED);
    functions.on("PostAuthentication", |event| Reply::Value(event.clone()));
    app.tokens("bo", PASSWORD).await;
}

#[tokio::test]
async fn pre_authentication_refuses_before_the_password_is_looked_at() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    app.user("ana").create().await;
    functions.on("PreAuthentication", |_| raises("closed"));
    // More often than a wrong password may be tried.
    for password in [PASSWORD, "Wrong-pass-word-1", "Wrong", "Wrong", "Wrong", "Wrong", "Wrong", PASSWORD] {
        refused_by(&app.sign_in("ana", password).await, "PreAuthentication", "closed");
    }
    refused_by(&app.srp_begin("ana").await.1, "PreAuthentication", "closed");
    assert_eq!(sources(&functions).len(), 9);
    // Nobody, a disabled user, and a user who is locked out are refused without it.
    refused(&app.sign_in("nobody", PASSWORD).await, USER_NOT_FOUND);
    refused(&app.srp_begin("nobody").await.1, USER_NOT_FOUND);
    app.pool.admin("AdminDisableUser", "ana", json!({})).await.ok_empty();
    refused(&app.sign_in("ana", PASSWORD).await, USER_DISABLED);
    app.pool.admin("AdminEnableUser", "ana", json!({})).await.ok_empty();
    assert_eq!(events(&functions).len(), 0);
    functions.on("PreAuthentication", |event| Reply::Value(event.clone()));
    for _ in 0..6 {
        app.sign_in("ana", "Wrong-pass-word-1").await;
    }
    functions.invocations();
    refused(&app.sign_in("ana", PASSWORD).await, LOCKED_OUT);
    assert_eq!(events(&functions).len(), 0);
}

#[tokio::test]
async fn pre_authentication_is_told_of_a_name_that_nobody_has() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.create().await.client().discreet().create().await;
    let user = app.user("ana").create().await;
    let of = |name: &str, values: Value, not_found: bool| {
        let request = json!({ "userAttributes": values, "validationData": null, "userNotFound": not_found });
        event(&app.pool, &app.id, name, "PreAuthentication_Authentication", request, json!({}))
    };
    refused(&app.sign_in("Nobody", PASSWORD).await, WRONG_CREDENTIALS);
    assert_eq!(events(&functions), [of("Nobody", json!({}), true)]);
    refused(&app.srp_sign_in("Nobody", PASSWORD).await, WRONG_CREDENTIALS);
    assert_eq!(events(&functions), [of("Nobody", json!({}), true)]);
    let values = json!({ "sub": user.sub().await, "cognito:user_status": "CONFIRMED" });
    app.tokens("ana", PASSWORD).await;
    assert_eq!(events(&functions)[0], of("ana", values, false));
    functions.on("PreAuthentication", |_| raises("closed"));
    for name in ["ana", "Nobody"] {
        refused_by(&app.sign_in(name, PASSWORD).await, "PreAuthentication", "closed");
        refused_by(&app.srp_begin(name).await.1, "PreAuthentication", "closed");
    }
}

#[tokio::test]
async fn no_tokens_are_given_where_a_function_refuses() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    for trigger in ["PostAuthentication", "PreTokenGeneration"] {
        functions.on(trigger, |_| raises("no"));
        refused_by(&app.sign_in("ana", PASSWORD).await, trigger, "no");
        refused_by(&app.srp_sign_in("ana", PASSWORD).await, trigger, "no");
        if trigger == "PostAuthentication" {
            app.refresh(&tokens.refresh).await.ok();
        }
        functions.on(trigger, |event| Reply::Value(event.clone()));
    }
    functions.on("PreTokenGeneration", |_| raises("no"));
    refused_by(&app.refresh(&tokens.refresh).await, "PreTokenGeneration", "no");
}

#[tokio::test]
async fn every_trigger_refuses_answers_that_cannot_be_used() {
    let functions = Functions::start().await;
    let triggers =
        ["PreSignUp", "PostConfirmation", "PreAuthentication", "PostAuthentication", "PreTokenGeneration"];
    let app = pool(&functions, &triggers).await.app_client().await;
    app.user("ana").create().await;
    app.sign_up("bo", PASSWORD).await.ok();
    let with = |body: &str| Reply::Raw { status: 200, body: body.to_owned(), function_error: false };
    let not_json: Refusal =
        ("InvalidLambdaResponseException", "Invalid lambda function output : Invalid JSON");
    let renamed: Refusal = (
        "InvalidLambdaResponseException",
        "Invalid user name. User name in Lambda mismatches the actual username.",
    );
    for trigger in triggers {
        for (reply, expected) in [
            (with("nonsense"), not_json),
            (with("null"), UNRECOGNIZABLE),
            (with("{}"), UNRECOGNIZABLE),
            (with(r#"{"response":"fine"}"#), UNRECOGNIZABLE),
            (with(r#"{"userName":"eve","response":{}}"#), renamed),
        ] {
            functions.on(trigger, move |_| reply.clone());
            let answer = match trigger {
                "PreSignUp" => app.sign_up("cy", PASSWORD).await,
                "PostConfirmation" => {
                    let name = format!("user-{}", functions.invocations().len());
                    functions.on("PreSignUp", |_| Reply::Respond(json!({ "autoConfirmUser": true })));
                    let answer = app.sign_up(&name, PASSWORD).await;
                    app.pool.admin("AdminDeleteUser", &name, json!({})).await.ok();
                    answer
                }
                _ => app.sign_in("ana", PASSWORD).await,
            };
            refused(&answer, expected);
        }
        functions.on(trigger, |event| Reply::Value(event.clone()));
    }
}

#[tokio::test]
async fn functions_that_are_not_there_or_silent_are_unexpected() {
    let functions = Functions::start().await;
    let config = functions.config(&["silent"]) + "timeout = \"200ms\"\n";
    let lido = Lido::setup().config(config).start().await;
    functions.on("silent", |_| Reply::Silence);
    for (function, reason) in [
        ("unknown", "ResourceNotFoundException."),
        ("silent", "Socket timeout while invoking Lambda function."),
    ] {
        for trigger in ["PreSignUp", "PreAuthentication", "PostAuthentication", "PreTokenGeneration"] {
            let config = json!({ "LambdaConfig": { trigger: Functions::arn(function) } });
            let pool = lido.pool().create().await;
            let app = pool.app_client().await;
            app.user("ana").create().await;
            pool.call("UpdateUserPool", config).await.ok_empty();
            let answer = match trigger {
                "PreSignUp" => app.sign_up("bo", PASSWORD).await,
                _ => app.sign_in("ana", PASSWORD).await,
            };
            let message = format!("{trigger} invocation failed due to error {reason}");
            answer.fails("UnexpectedLambdaException", &message);
        }
    }
}

/// Runs what a function does with Lido's own API.
fn calling(run: impl Future<Output = ()>) {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(run));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_function_may_change_the_user_that_it_is_about() {
    let functions = Functions::start().await;
    let app = pool(&functions, &SIGN_IN).await.app_client().await;
    app.user("ana").create().await;
    app.sign_up("bo", PASSWORD).await.ok();
    for trigger in ["PostAuthentication", "PreTokenGeneration", "PreAuthentication"] {
        let pool = app.pool.clone();
        functions.on(trigger, move |event| {
            let name = event["userName"].as_str().unwrap();
            calling(async {
                pool.update(name, json!({ "nickname": trigger })).await.ok_empty();
            });
            Reply::Value(event.clone())
        });
    }
    app.tokens("ana", PASSWORD).await;
    assert_eq!(events(&functions).len(), 3, "each is asked once");
    app.srp_sign_in("ana", PASSWORD).await.ok();
    assert_eq!(events(&functions).len(), 3);
    let session = awaiting_password(&app, "cy").await;
    let responses = json!({ "USERNAME": "cy", "NEW_PASSWORD": PASSWORD });
    app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses).await.ok();
    assert_eq!(events(&functions).len(), 3);
    assert_eq!(app.pool.attributes("cy").await["nickname"], "PreTokenGeneration");

    // What it does to the account itself counts at once.
    let pool = app.pool.clone();
    functions.on("PreAuthentication", move |event| {
        calling(async {
            let name = event["userName"].as_str().unwrap();
            pool.admin("AdminConfirmSignUp", name, json!({})).await.ok();
        });
        Reply::Value(event.clone())
    });
    app.tokens("bo", PASSWORD).await;
    let pool = app.pool.clone();
    functions.on("PreAuthentication", |event| Reply::Value(event.clone()));
    functions.on("PostAuthentication", move |event| {
        calling(async {
            pool.admin("AdminDisableUser", "bo", json!({})).await.ok();
        });
        Reply::Value(event.clone())
    });
    refused(&app.sign_in("bo", PASSWORD).await, USER_DISABLED);
}

// ---- Tokens ----------------------------------------------------------------------------------

fn decoded(answer: &Answer) -> (Value, Value) {
    let result = &answer.ok()["AuthenticationResult"];
    (claims(result["IdToken"].as_str().unwrap()), claims(result["AccessToken"].as_str().unwrap()))
}

/// A user in two groups, of which `admins` has a role.
async fn member(app: &App) {
    app.user("ana").verified_email(EMAIL).attribute("nickname", "An").create().await;
    for (name, role) in [("admins", json!({ "RoleArn": ROLE, "Precedence": 1 })), ("staff", json!({}))] {
        app.pool.call("CreateGroup", merged(json!({ "GroupName": name }), role)).await.ok();
        app.pool.admin("AdminAddUserToGroup", "ana", json!({ "GroupName": name })).await.ok();
    }
}

const ROLE: &str = "arn:aws:iam::111122223333:role/admin";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/other";

#[tokio::test]
async fn the_first_version_changes_id_tokens_and_groups() {
    let functions = Functions::start().await;
    let app = token_pool(&functions, "V1_0").await.app_client().await;
    member(&app).await;
    functions.on("PreTokenGeneration", |_| Reply::Respond(json!({ "claimsOverrideDetails": {
        "claimsToAddOrOverride": {
            "tier": "gold", "nickname": "Annie", "sub": "changed", "cognito:username": "changed", "aud": "changed",
            "token_use": "changed", "both": "x",
        },
        "claimsToSuppress": ["email", "both", "iss", "exp"],
        "groupOverrideDetails": {
            "groupsToOverride": ["b", "a"], "iamRolesToOverride": [OTHER_ROLE], "preferredRole": OTHER_ROLE,
        },
    } })));
    let (id, access) = decoded(&app.sign_in("ana", PASSWORD).await);
    let seen = only(&functions);
    assert_eq!(seen["version"], "1");
    assert_eq!(seen["request"].get("scopes"), None);
    let groups = json!({
        "groupsToOverride": ["admins", "staff"], "iamRolesToOverride": [ROLE], "preferredRole": ROLE,
    });
    assert_eq!(seen["request"]["groupConfiguration"], groups);
    assert_eq!((&id["tier"], &id["nickname"]), (&json!("gold"), &json!("Annie")));
    assert_eq!((id.get("email"), id.get("both")), (None, None));
    assert_eq!(id["email_verified"], true);
    assert_eq!((&id["cognito:username"], &id["aud"]), (&json!("ana"), &json!(app.id)));
    assert_eq!((&id["token_use"], &id["sub"]), (&json!("id"), &access["sub"]));
    assert!(id["iss"].is_string() && id["exp"].is_i64());
    for token in [&id, &access] {
        assert_eq!(token["cognito:groups"], json!(["b", "a"]));
    }
    assert_eq!(id["cognito:roles"], json!([OTHER_ROLE]));
    assert_eq!(id["cognito:preferred_role"], OTHER_ROLE);
    assert_eq!((access.get("tier"), access.get("cognito:roles")), (None, None));
    assert_eq!(access["scope"], ACCOUNT_SCOPE);

    for empty in [json!(null), json!({})] {
        functions.on("PreTokenGeneration", move |_| {
            Reply::Respond(json!({ "claimsOverrideDetails": { "groupOverrideDetails": empty } }))
        });
        let (id, access) = decoded(&app.sign_in("ana", PASSWORD).await);
        assert_eq!((id.get("cognito:groups"), access.get("cognito:groups")), (None, None));
        assert_eq!((id.get("cognito:roles"), id.get("cognito:preferred_role")), (None, None));
    }
    for nothing in [json!(null), json!({})] {
        functions
            .on("PreTokenGeneration", move |_| Reply::Respond(json!({ "claimsOverrideDetails": nothing })));
        let (id, access) = decoded(&app.sign_in("ana", PASSWORD).await);
        assert_eq!(id["cognito:groups"], json!(["admins", "staff"]));
        assert_eq!(access["cognito:groups"], json!(["admins", "staff"]));
        assert_eq!(id["cognito:roles"], json!([ROLE]));
    }
    for odd in [
        json!("x"),
        json!({ "claimsToAddOrOverride": { "tier": 3 } }),
        json!({ "claimsToSuppress": "email" }),
        json!({ "groupOverrideDetails": { "groupsToOverride": "a" } }),
    ] {
        functions.on("PreTokenGeneration", move |_| Reply::Respond(json!({ "claimsOverrideDetails": odd })));
        refused(&app.sign_in("ana", PASSWORD).await, UNRECOGNIZABLE);
    }
}

#[tokio::test]
async fn later_versions_change_both_tokens_and_the_scopes() {
    for (version, number) in [("V2_0", "2"), ("V3_0", "3")] {
        let functions = Functions::start().await;
        let app = token_pool(&functions, version).await.app_client().await;
        member(&app).await;
        let sub = app.pool.attributes("ana").await["sub"].clone();
        let tokens = app.tokens("ana", PASSWORD).await;
        let mut expected = event(
            &app.pool,
            &app.id,
            "ana",
            "TokenGeneration_Authentication",
            json!({
                "userAttributes": {
                    "sub": sub, "cognito:user_status": "CONFIRMED", "email": EMAIL, "email_verified": "true",
                    "nickname": "An",
                },
                "groupConfiguration": {
                    "groupsToOverride": ["admins", "staff"], "iamRolesToOverride": [ROLE], "preferredRole": ROLE,
                },
                "scopes": [ACCOUNT_SCOPE],
            }),
            json!({ "claimsAndScopeOverrideDetails": null }),
        );
        expected["version"] = number.into();
        assert_eq!(only(&functions), expected);

        functions.on("PreTokenGeneration", |_| Reply::Respond(json!({ "claimsAndScopeOverrideDetails": {
            "idTokenGeneration": {
                "claimsToAddOrOverride": { "tier": 3, "flags": [true, 1.5], "address": { "formatted": "no" }, "iat": 1 },
                "claimsToSuppress": ["email", "cognito:groups"],
            },
            "accessTokenGeneration": {
                "claimsToAddOrOverride": {
                    "tenant": { "id": "t1" }, "scope": "all", "client_id": "changed", "aud": "other", "username": "eve",
                },
                "claimsToSuppress": ["jti", "scope"],
                "scopesToAdd": ["api/read", "api/write", "two words"],
                "scopesToSuppress": ["api/write"],
            },
        } })));
        let answer = app.refresh(&tokens.refresh).await;
        assert_eq!(only(&functions)["triggerSource"], "TokenGeneration_RefreshTokens");
        let (id, access) = decoded(&answer);
        assert_eq!((&id["tier"], &id["flags"]), (&json!(3), &json!([true, 1.5])));
        for gone in ["email", "address", "cognito:groups", "cognito:roles", "cognito:preferred_role"] {
            assert_eq!(id.get(gone), None, "{gone}");
        }
        assert!(id["iat"].as_i64().unwrap() > 1);
        assert_eq!(access["tenant"], json!({ "id": "t1" }));
        assert_eq!(access["scope"], format!("{ACCOUNT_SCOPE} api/read"));
        assert_eq!((&access["client_id"], &access["username"]), (&json!(app.id), &json!("ana")));
        assert_eq!(access.get("aud"), None);
        assert!(access["jti"].is_string());
        assert_eq!(access["cognito:groups"], json!(["admins", "staff"]));

        // The audience may be the client; without the account's scope the token opens nothing here.
        let client = app.id.clone();
        functions.on("PreTokenGeneration", move |_| {
            Reply::Respond(json!({ "claimsAndScopeOverrideDetails": {
            "accessTokenGeneration": {
                "claimsToAddOrOverride": { "aud": client }, "scopesToSuppress": [ACCOUNT_SCOPE],
            },
        } }))
        });
        let tokens = app.tokens("ana", PASSWORD).await;
        let access = claims(&tokens.access);
        assert_eq!((&access["aud"], &access["scope"]), (&json!(app.id), &json!("")));
        refused(&tokens.get_user().await, ACCESS_TOKEN_SCOPES);
        // The next refresh begins with the scopes of the sign-in.
        functions.invocations();
        functions.on("PreTokenGeneration", |event| Reply::Value(event.clone()));
        let (_, access) = decoded(&app.refresh(&tokens.refresh).await);
        assert_eq!(only(&functions)["request"]["scopes"], json!([ACCOUNT_SCOPE]));
        assert_eq!(access["scope"], ACCOUNT_SCOPE);

        for odd in [
            json!([]),
            json!({ "idTokenGeneration": "x" }),
            json!({ "accessTokenGeneration": { "scopesToAdd": [1] } }),
            json!({ "accessTokenGeneration": { "claimsToAddOrOverride": { "a": null } } }),
        ] {
            functions.on("PreTokenGeneration", move |_| {
                Reply::Respond(json!({ "claimsAndScopeOverrideDetails": odd }))
            });
            refused(&app.sign_in("ana", PASSWORD).await, UNRECOGNIZABLE);
        }
    }
}

// ---- Migration -------------------------------------------------------------------------------

/// The answer of a directory that knows the user.
fn knows(functions: &Functions, values: Value, more: Value) {
    let response = merged(json!({ "userAttributes": values, "messageAction": "SUPPRESS" }), more);
    functions.on("UserMigration", move |_| Reply::Respond(response.clone()));
}

#[tokio::test]
async fn an_unknown_user_is_migrated_and_signed_in() {
    let functions = Functions::start().await;
    let triggers = [&["UserMigration", "PreSignUp", "PostConfirmation"][..], &SIGN_IN].concat();
    let app = pool(&functions, &triggers).await.app_client().await;
    // Under the pool's policy it could not be chosen.
    let password = "old";
    knows(
        &functions,
        json!({ "email": EMAIL, "email_verified": "true" }),
        json!({ "finalUserStatus": "CONFIRMED" }),
    );
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": password });
    let body = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    app.call("InitiateAuth", merged(body, metadata("begin"))).await.ok();
    let seen = events(&functions);
    let nulls = json!({
        "userAttributes": null, "forceAliasCreation": null, "enableSMSMFA": null, "finalUserStatus": null,
        "messageAction": null, "desiredDeliveryMediums": null,
    });
    let request = json!({
        "password": password, "validationData": { "said": "begin" }, "clientMetadata": { "said": "begin" },
    });
    let source = "UserMigration_Authentication";
    assert_eq!(seen[0], event(&app.pool, &app.id, "ana", source, request, nulls));
    let rest: Vec<&Value> = seen[1..].iter().map(|event| &event["triggerSource"]).collect();
    assert_eq!(
        rest,
        [
            "PreAuthentication_Authentication",
            "PostAuthentication_Authentication",
            "TokenGeneration_Authentication"
        ]
    );
    assert_eq!(seen[1]["request"]["userAttributes"]["cognito:user_status"], "CONFIRMED");
    let stored = app.pool.attributes("ana").await;
    assert_eq!((&*stored["email"], &*stored["email_verified"]), (EMAIL, "true"));
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");

    // From now on it is a user of the pool.
    app.srp_sign_in("ana", password).await.ok();
    refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    assert!(!sources(&functions).iter().any(|source| source.starts_with("UserMigration")));
    let body = json!({ "USERNAME": "bo", "PASSWORD": password });
    app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", body).await.ok();
    assert_eq!(sources(&functions)[0], "UserMigration_Authentication");
    // Where the password is not sent, there is nothing to ask the other directory with.
    refused(&app.srp_begin("cy").await.1, USER_NOT_FOUND);
    assert_eq!(events(&functions).len(), 0);
}

#[tokio::test]
async fn a_migrated_user_is_made_as_the_function_says() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["UserMigration"]).await.app_client().await;
    let phone = json!({ "email": EMAIL, "phone_number": "+15550001234" });
    // By default the password has to be reset, and the welcome goes to the phone.
    knows(&functions, phone.clone(), json!({ "messageAction": null }));
    refused(&app.sign_in("ana", PASSWORD).await, RESET_REQUIRED);
    assert_eq!(app.pool.status("ana").await, "RESET_REQUIRED");
    let welcome = app.inbox().newest_for("+15550001234").await;
    assert_eq!((&welcome["code"], &welcome["username"]), (&json!(PASSWORD), &json!("ana")));
    let mediums = json!({
        "messageAction": null, "desiredDeliveryMediums": ["EMAIL", "SMS"], "finalUserStatus": "CONFIRMED",
    });
    knows(&functions, phone.clone(), mediums);
    app.inbox().clear().await;
    app.tokens("bo", PASSWORD).await;
    assert_eq!(app.inbox().messages(&[]).await.len(), 2);
    assert_eq!(app.inbox().newest_for(EMAIL).await["username"], "bo");
    app.inbox().clear().await;
    // There is nowhere to write to, or nothing is wanted.
    knows(
        &functions,
        json!({ "name": "Cy" }),
        json!({ "messageAction": null, "finalUserStatus": "CONFIRMED" }),
    );
    app.tokens("cy", PASSWORD).await;
    knows(&functions, phone, json!({ "finalUserStatus": "CONFIRMED" }));
    app.tokens("di", PASSWORD).await;
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_migrated_user_may_have_a_second_factor() {
    let functions = Functions::start().await;
    let triggers = [&["UserMigration", "CustomMessage"][..], &SIGN_IN].concat();
    let pool = pool(&functions, &triggers).await.create().await;
    let app = pool.app_client().await;
    let values = json!({ "phone_number": "+15550001234", "phone_number_verified": "true" });
    knows(&functions, values, json!({ "enableSMSMFA": true, "finalUserStatus": "CONFIRMED" }));
    app.tokens("bo", PASSWORD).await;
    assert_eq!(pool.user("bo").await.get("UserMFASettingList"), None, "the pool asks for none");
    let sms = json!({ "SnsCallerArn": "arn:aws:iam::000000000000:role/sms" });
    let config = json!({
        "MfaConfiguration": "OPTIONAL", "SmsMfaConfiguration": { "SmsConfiguration": sms },
    });
    pool.call("SetUserPoolMfaConfig", config).await.ok();
    functions.invocations();
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD });
    let body = json!({ "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    let challenge = app.call("InitiateAuth", merged(body, metadata("begin"))).await.ok();
    assert_eq!(challenge["ChallengeName"], "SMS_MFA");
    assert_eq!(pool.user("ana").await["UserMFASettingList"], json!(["SMS_MFA"]));
    let seen = events(&functions);
    let fired: Vec<&Value> = seen.iter().map(|event| &event["triggerSource"]).collect();
    let expected =
        ["UserMigration_Authentication", "PreAuthentication_Authentication", "CustomMessage_Authentication"];
    assert_eq!(fired, expected);
    assert_eq!(seen[1]["request"]["validationData"], json!({ "said": "begin" }));
    assert_eq!(seen[2]["request"].get("clientMetadata"), None);
    let code = app.inbox().code_for("+15550001234").await;
    let body = json!({
        "ChallengeName": "SMS_MFA", "Session": challenge["Session"],
        "ChallengeResponses": { "USERNAME": "ana", "SMS_MFA_CODE": code },
    });
    app.call("RespondToAuthChallenge", merged(body, metadata("answer"))).await.ok();
    let seen = events(&functions);
    let fired: Vec<&Value> = seen.iter().map(|event| &event["triggerSource"]).collect();
    assert_eq!(fired, ["PostAuthentication_Authentication", "TokenGeneration_Authentication"]);
    for event in &seen {
        assert_eq!(event["request"]["clientMetadata"], json!({ "said": "answer" }));
    }
}

#[tokio::test]
async fn a_migrated_user_has_the_names_of_its_pool() {
    let functions = Functions::start().await;
    let by_alias = pool(&functions, &["UserMigration"]).await.aliases(&["email"]).app_client().await;
    let lido = by_alias.lido.clone();
    let confirmed = json!({ "finalUserStatus": "CONFIRMED" });
    let values = json!({ "username": "ana", "email": EMAIL, "email_verified": "true" });
    knows(&functions, values.clone(), confirmed.clone());
    let tokens = by_alias.tokens(EMAIL, PASSWORD).await;
    assert_eq!(claims(&tokens.access)["username"], "ana");
    assert!(!by_alias.pool.attributes("ana").await.contains_key("username"));
    // An alias of another user is not taken, unless the function says so.
    let values = merged(values, json!({ "username": "bo" }));
    knows(&functions, values.clone(), confirmed.clone());
    let failed = format!("Exception migrating user in app client {}", by_alias.id);
    by_alias.sign_in("bo", PASSWORD).await.fails("UserNotFoundException", &failed);
    refused(&by_alias.pool.admin("AdminGetUser", "bo", json!({})).await, USER_NOT_FOUND);
    knows(&functions, values, merged(confirmed.clone(), json!({ "forceAliasCreation": true })));
    by_alias.tokens("bo", PASSWORD).await;
    assert_eq!(by_alias.pool.attributes("ana").await["email_verified"], "false");
    assert_eq!(by_alias.pool.attributes(EMAIL).await["email_verified"], "true");
    assert_eq!(by_alias.pool.user(EMAIL).await["Username"], "bo");

    let by_address = with_triggers(lido.pool().sign_in_by(&["email"]), &["UserMigration"]).app_client().await;
    knows(&functions, json!({ "email": EMAIL, "name": "Ana" }), confirmed.clone());
    let tokens = by_address.tokens(EMAIL, PASSWORD).await;
    let user = claims(&tokens.access);
    assert_eq!(user["username"], user["sub"], "the name is generated");
    by_address.srp_sign_in(EMAIL, PASSWORD).await.ok();
    let failed = format!("Exception migrating user in app client {}", by_address.id);
    by_address.sign_in("no address", PASSWORD).await.fails("UserNotFoundException", &failed);
}

#[tokio::test]
async fn a_failed_migration_tells_what_the_client_may_tell() {
    let functions = Functions::start().await;
    let pool = pool(&functions, &["UserMigration"]).await.create().await;
    let (plain, discreet) = (pool.app_client().await, pool.client().discreet().create().await);
    let respond = |response: Value| Reply::Respond(response);
    let failed = format!("Exception migrating user in app client {}", plain.id);
    for (reply, message) in [
        (raises("Bad password"), &*failed),
        (Reply::Raw { status: 200, body: "null".into(), function_error: false }, &*failed),
        (Reply::Raw { status: 200, body: "nonsense".into(), function_error: false }, &*failed),
        (respond(json!({ "userAttributes": { "email": 1 } })), &*failed),
        (respond(json!({ "userAttributes": { "custom:none": "x" } })), &*failed),
        (respond(json!({ "userAttributes": { "email": EMAIL }, "finalUserStatus": "NEW" })), &*failed),
        (respond(json!({ "userAttributes": null })), "User does not exist."),
        (respond(json!({})), "User does not exist."),
    ] {
        functions.on("UserMigration", move |_| reply.clone());
        let name = format!("user-{}", functions.invocations().len());
        plain.sign_in(&name, PASSWORD).await.fails("UserNotFoundException", message);
        assert_eq!(events(&functions).len(), 1);
        discreet.sign_in("other", PASSWORD).await;
        refused(&discreet.sign_in(&format!("x{name}{message}"), PASSWORD).await, WRONG_CREDENTIALS);
        functions.invocations();
        pool.lido.clock().advance(HOUR).await;
    }
    refused(&pool.admin("AdminGetUser", "other", json!({})).await, USER_NOT_FOUND);
    // Guesses at the other directory are bounded as guesses at this one.
    functions.on("UserMigration", |_| raises("Bad password"));
    for app in [&plain, &discreet] {
        let mut asked = 0;
        for _ in 0..12 {
            app.sign_in("guessed", PASSWORD).await;
            asked += events(&functions).len();
        }
        assert!(asked < 8, "asked {asked} times");
        refused(&app.sign_in("guessed", PASSWORD).await, LOCKED_OUT);
        pool.lido.clock().advance(HOUR).await;
    }
}

/// What a guess leads to whose function is asked before the name is locked, and answers afterwards.
async fn judged_before_the_lock(
    functions: &Functions,
    trigger: &'static str,
    app: &App,
    reply: Reply,
    wrong_names: [&str; 5],
) -> Answer {
    let until = Arc::new(Notify::new());
    let held = Arc::clone(&until);
    functions.on(trigger, move |event| match event["request"]["password"].as_str() {
        Some(guess) if guess != PASSWORD => raises("Bad password"),
        _ => Reply::Held(Arc::clone(&held), Box::new(reply.clone())),
    });
    let others = async {
        while functions.invocations().is_empty() {
            tokio::task::yield_now().await;
        }
        for name in wrong_names {
            app.sign_in(name, "Wrong-pass-word-1").await;
        }
        // The first lock is of a second: too short for a busy machine.
        for _ in 0..4 {
            app.lido.clock().advance(16).await;
            app.sign_in(wrong_names[0], "Wrong-pass-word-1").await;
        }
        until.notify_one();
    };
    tokio::join!(app.sign_in("ana", PASSWORD), others).0
}

#[tokio::test]
async fn a_guess_at_another_directory_is_not_answered_past_the_lock() {
    let functions = Functions::start().await;
    let pool = pool(&functions, &["UserMigration"]).await.create().await;
    for app in [pool.app_client().await, pool.client().discreet().create().await] {
        let values = json!({ "userAttributes": { "email": EMAIL }, "finalUserStatus": "CONFIRMED" });
        // The other directory may fold what this pool tells apart.
        let names = ["ana", "Ana", "aNa", "anA", " ana"];
        let answer =
            judged_before_the_lock(&functions, "UserMigration", &app, Reply::Respond(values), names).await;
        refused(&answer, LOCKED_OUT);
        refused(&pool.admin("AdminGetUser", "ana", json!({})).await, USER_NOT_FOUND);
        pool.lido.clock().advance(HOUR).await;
    }
}

#[tokio::test]
async fn a_name_that_no_operation_takes_is_not_migrated() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["UserMigration"]).await.app_client().await;
    let failed = format!("Exception migrating user in app client {}", app.id);
    for name in ["two words".to_owned(), "x".repeat(129)] {
        knows(&functions, json!({ "email": EMAIL }), json!({ "finalUserStatus": "CONFIRMED" }));
        app.sign_in(&name, PASSWORD).await.fails("UserNotFoundException", &failed);
        knows(&functions, json!({ "email": EMAIL, "username": name }), json!({}));
        app.sign_in("ana", PASSWORD).await.fails("UserNotFoundException", &failed);
    }
}

#[tokio::test]
async fn what_refuses_after_a_right_password_is_not_told_past_the_lock() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["PostAuthentication"]).await.app_client().await;
    app.user("ana").create().await;
    let names = ["ana"; 5];
    let answer =
        judged_before_the_lock(&functions, "PostAuthentication", &app, raises("Not today"), names).await;
    refused(&answer, LOCKED_OUT);
}

#[tokio::test]
async fn migrations_beside_each_other_make_one_user() {
    let functions = Functions::start().await;
    let app = pool(&functions, &["UserMigration"]).await.app_client().await;
    knows(&functions, json!({ "email": EMAIL }), json!({ "finalUserStatus": "CONFIRMED" }));
    let answers = join_all((0..8).map(|_| app.sign_in("ana", PASSWORD))).await;
    let subs: std::collections::BTreeSet<String> = answers
        .iter()
        .map(|answer| claims(&Tokens::of(&app.lido, answer).access)["sub"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(subs.len(), 1);
    let listed = app.pool.call("ListUsers", json!({})).await.ok();
    assert_eq!(listed["Users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_forgotten_password_migrates_its_user() {
    let functions = Functions::start().await;
    let pool = pool(&functions, &["UserMigration"]).await.create().await;
    let app = pool.app_client().await;
    let values = json!({ "email": EMAIL, "email_verified": "true" });
    knows(&functions, values, json!({ "messageAction": null, "desiredDeliveryMediums": ["EMAIL"] }));
    app.call("ForgotPassword", merged(json!({ "Username": "ana" }), metadata("forgot"))).await.ok();
    let nulls = json!({
        "userAttributes": null, "forceAliasCreation": null, "enableSMSMFA": null, "finalUserStatus": null,
        "messageAction": null, "desiredDeliveryMediums": null,
    });
    let request = json!({ "validationData": null, "clientMetadata": { "said": "forgot" } });
    let expected = event(&pool, &app.id, "ana", "UserMigration_ForgotPassword", request, nulls);
    assert_eq!(only(&functions), expected);
    assert_eq!(app.inbox().messages(&[]).await.len(), 1, "the code alone");
    let code = app.inbox().code_for(EMAIL).await;
    app.reset("ana", &code, PASSWORD).await.ok_empty();
    app.tokens("ana", PASSWORD).await;

    // Without a verified address there is nowhere to send a code to.
    knows(&functions, json!({ "email": EMAIL }), json!({}));
    app.forgot("bo").await.is_invalid(
        "Cannot reset password for the user as there is no registered/verified email or phone_number",
    );
    let discreet = pool.client().discreet().create().await;
    functions.on("UserMigration", |event| Reply::Value(event.clone()));
    refused(&app.forgot("nobody").await, COMBINATION_NOT_FOUND);
    discreet.forgot("nobody").await.ok();
    functions.on("UserMigration", |_| raises("down"));
    let failed = format!("Exception migrating user in app client {}", app.id);
    app.forgot("nobody").await.fails("UserNotFoundException", &failed);
    discreet.forgot("nobody").await.ok();
    refused(&pool.admin("AdminGetUser", "nobody", json!({})).await, USER_NOT_FOUND);
}
