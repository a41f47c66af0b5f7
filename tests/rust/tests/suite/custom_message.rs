//! The CustomMessage trigger.

use lido_tests::{App, Functions, Lido, PASSWORD, Reply, attributes};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const UNRECOGNIZABLE: Refusal = ("InvalidLambdaResponseException", "Unrecognizable lambda output");

/// A pool whose messages a function writes; without more it answers the event.
async fn app(functions: &Functions) -> App {
    let lido = Lido::setup().config(functions.config(&["message"])).start().await;
    let trigger = json!({ "LambdaConfig": { "CustomMessage": Functions::arn("message") } });
    lido.pool().verify_email().with(trigger).app_client().await
}

/// The event for one message about `ana`.
fn event(app: &App, source: &str, values: Value) -> Value {
    json!({
        "version": "1",
        "region": "us-east-1",
        "userPoolId": app.pool.id,
        "userName": "ana",
        "callerContext": { "awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": app.id },
        "triggerSource": source,
        "request": {
            "userAttributes": values, "codeParameter": "{####}", "linkParameter": "{##Click Here##}",
            "usernameParameter": null,
        },
        "response": { "smsMessage": null, "emailMessage": null, "emailSubject": null },
    })
}

/// The only event since this was last asked.
fn only(functions: &Functions) -> Value {
    let invocations = functions.invocations();
    assert_eq!(invocations.len(), 1, "{invocations:?}");
    invocations[0].event.clone()
}

#[tokio::test]
async fn each_source_has_its_event() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    let answer = app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL, "name": "Ana" })).await.ok();
    let sub = answer["UserSub"].as_str().unwrap();
    let attributes_of = |status: &str, verified: &str, email: &str| json!({ "sub": sub, "cognito:user_status": status, "email": email, "email_verified": verified, "name": "Ana" });
    let unconfirmed = attributes_of("UNCONFIRMED", "false", EMAIL);
    assert_eq!(only(&functions), event(&app, "CustomMessage_SignUp", unconfirmed.clone()));
    app.resend("ana").await.ok();
    assert_eq!(only(&functions), event(&app, "CustomMessage_ResendCode", unconfirmed));
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
    assert_eq!(functions.invocations().len(), 0, "a confirmation sends nothing");

    let confirmed = attributes_of("CONFIRMED", "true", EMAIL);
    app.forgot("ana").await.ok();
    assert_eq!(only(&functions), event(&app, "CustomMessage_ForgotPassword", confirmed.clone()));
    let tokens = app.tokens("ana", PASSWORD).await;
    tokens.request_code("email").await.ok();
    assert_eq!(only(&functions), event(&app, "CustomMessage_VerifyUserAttribute", confirmed));
    tokens.update(json!({ "email": "new@example.com" })).await.ok();
    let changed = attributes_of("CONFIRMED", "false", "new@example.com");
    assert_eq!(only(&functions), event(&app, "CustomMessage_UpdateUserAttribute", changed));
    // Operations that no app client calls.
    app.pool.update("ana", json!({ "email": EMAIL })).await.ok_empty();
    let by_admin = |mut event: Value| {
        event["callerContext"]["clientId"] = "CLIENT_ID_NOT_APPLICABLE".into();
        event
    };
    let changed = attributes_of("CONFIRMED", "false", EMAIL);
    assert_eq!(only(&functions), by_admin(event(&app, "CustomMessage_UpdateUserAttribute", changed)));
    app.pool.update("ana", json!({ "email_verified": "true" })).await.ok_empty();
    app.pool.admin("AdminResetUserPassword", "ana", json!({})).await.ok_empty();
    let seen = only(&functions);
    let mut expected =
        by_admin(event(&app, "CustomMessage_ForgotPassword", attributes_of("CONFIRMED", "true", EMAIL)));
    // Before or after the reset: the service's event is not known.
    expected["request"]["userAttributes"]["cognito:user_status"] =
        seen["request"]["userAttributes"]["cognito:user_status"].clone();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_invitation_has_its_event_too() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    functions.on("message", |_| Reply::Respond(json!({
        "emailMessage": "Mail for {username}: {####}", "emailSubject": "Come in", "smsMessage": "SMS for {username}: {####}",
    })));
    let values = attributes(json!({ "email": EMAIL, "phone_number": "+15550001234" }));
    let body = json!({
        "DesiredDeliveryMediums": ["EMAIL", "SMS"], "UserAttributes": values, "TemporaryPassword": "Temporary-1",
        "ClientMetadata": { "from": "admin" },
    });
    let created = app.pool.admin("AdminCreateUser", "ana", body).await.ok();
    let sub = created["User"]["Attributes"][0]["Value"].clone();
    let invocations = functions.invocations();
    assert_eq!(invocations.len(), 2, "one for each medium");
    let mut expected = event(
        &app,
        "CustomMessage_AdminCreateUser",
        json!({
            "sub": sub, "cognito:user_status": "FORCE_CHANGE_PASSWORD", "email": EMAIL, "phone_number": "+15550001234",
        }),
    );
    expected["callerContext"]["clientId"] = "CLIENT_ID_NOT_APPLICABLE".into();
    expected["request"]["usernameParameter"] = "{username}".into();
    expected["request"]["clientMetadata"] = json!({ "from": "admin" });
    for invocation in invocations {
        assert_eq!(invocation.event, expected);
    }
    let mail = app.inbox().newest_for(EMAIL).await;
    assert_eq!((&mail["subject"], &mail["body"]), (&json!("Come in"), &json!("Mail for ana: Temporary-1")));
    assert_eq!(app.inbox().newest_for("+15550001234").await["body"], "SMS for ana: Temporary-1");
    let quiet = json!({ "MessageAction": "SUPPRESS" });
    app.pool.admin("AdminCreateUser", "bo", quiet).await.ok();
    assert_eq!(functions.invocations().len(), 0);
}

#[tokio::test]
async fn client_metadata_reaches_the_function() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    let metadata = json!({ "ClientMetadata": { "locale": "sv", "empty": "" } });
    let with = |body: Value| lido_tests::merged(body, metadata.clone());
    let values = attributes(json!({ "email": EMAIL }));
    app.call("SignUp", with(json!({ "Username": "ana", "Password": PASSWORD, "UserAttributes": values })))
        .await
        .ok();
    app.call("ResendConfirmationCode", with(json!({ "Username": "ana" }))).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.call("ConfirmSignUp", with(json!({ "Username": "ana", "ConfirmationCode": code }))).await.ok();
    app.call("ForgotPassword", with(json!({ "Username": "ana" }))).await.ok();
    let tokens = app.tokens("ana", PASSWORD).await;
    tokens.call("GetUserAttributeVerificationCode", with(json!({ "AttributeName": "email" }))).await.ok();
    let change = json!({ "UserAttributes": attributes(json!({ "email": "new@example.com" })) });
    tokens.call("UpdateUserAttributes", with(change)).await.ok();
    let invocations = functions.invocations();
    assert_eq!(invocations.len(), 5);
    for invocation in invocations {
        assert_eq!(invocation.event["request"]["clientMetadata"], metadata["ClientMetadata"]);
    }
}

#[tokio::test]
async fn aliases_in_force_are_in_the_event() {
    let functions = Functions::start().await;
    let lido = Lido::setup().config(functions.config(&["message"])).start().await;
    let trigger = json!({ "LambdaConfig": { "CustomMessage": Functions::arn("message") } });
    let app = lido.pool().aliases(&["email", "phone_number"]).with(trigger).app_client().await;
    let user = app.user("ana").verified_email(EMAIL).phone_number("+15550001234");
    let (_, tokens) = user.signed_in().await;
    tokens.request_code("phone_number").await.ok();
    let values = only(&functions)["request"]["userAttributes"].clone();
    assert_eq!(values["cognito:email_alias"], EMAIL);
    assert_eq!(values.get("cognito:phone_number_alias"), None, "not verified, not in force");
}

#[tokio::test]
async fn the_function_writes_the_message_of_the_medium_that_is_sent() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    functions.on("message", |event| {
        let code = event["request"]["codeParameter"].as_str().unwrap();
        Reply::Respond(json!({
            "emailMessage": format!("<p>{code}, again {code}</p>"), "emailSubject": "Überschrift", "smsMessage": format!("SMS {code}"),
        }))
    });
    let (_, tokens) = app.user("ana").email(EMAIL).phone_number("+15550001234").signed_in().await;
    tokens.request_code("email").await.ok();
    let mail = app.inbox().newest_for(EMAIL).await;
    let code = mail["code"].as_str().unwrap();
    assert_eq!(mail["subject"], "Überschrift");
    assert_eq!(mail["body"], format!("<p>{code}, again {code}</p>"));
    tokens.verify("email", code).await.ok_empty();
    tokens.request_code("phone_number").await.ok();
    let sms = app.inbox().newest_for("+15550001234").await;
    assert_eq!(sms["body"], format!("SMS {}", sms["code"].as_str().unwrap()));

    // What the function leaves out keeps the template; what it changes elsewhere does not count.
    functions.on("message", |event| {
        let mut answer = event.clone();
        answer["request"]["userAttributes"]["email"] = "evil@example.com".into();
        answer["response"] = json!({ "emailSubject": "Only the subject", "emailMessage": null });
        Reply::Value(answer)
    });
    tokens.request_code("email").await.ok();
    let mail = app.inbox().newest_for(EMAIL).await;
    assert_eq!(mail["subject"], "Only the subject");
    assert_eq!(mail["body"], format!("Your verification code is {}. ", mail["code"].as_str().unwrap()));
    assert_eq!(app.inbox().messages(&[("destination", "evil@example.com")]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_refused() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    let (_, tokens) = app.user("ana").email(EMAIL).phone_number("+15550001234").signed_in().await;
    let renamed: Refusal = (
        "InvalidLambdaResponseException",
        "Invalid user name. User name in Lambda mismatches the actual username.",
    );
    let not_json: Refusal =
        ("InvalidLambdaResponseException", "Invalid lambda function output : Invalid JSON");
    let with = |body: &str| Reply::Raw { status: 200, body: body.to_owned(), function_error: false };
    let respond = |response: Value| Reply::Respond(response);
    for (attribute, reply, expected) in [
        ("email", with("not json"), not_json),
        ("email", with(""), not_json),
        ("email", with("[]"), UNRECOGNIZABLE),
        ("email", with("\"text\""), UNRECOGNIZABLE),
        ("email", with("{}"), UNRECOGNIZABLE),
        ("email", with(r#"{"response":null}"#), UNRECOGNIZABLE),
        ("email", with(r#"{"response":[]}"#), UNRECOGNIZABLE),
        ("email", with(r#"{"userName":"bo","response":{}}"#), renamed),
        ("email", respond(json!({ "emailMessage": 1 })), UNRECOGNIZABLE),
        ("email", respond(json!({ "emailMessage": "no place for the code" })), UNRECOGNIZABLE),
        (
            "email",
            respond(json!({ "emailMessage": format!("{{####}}{}", "x".repeat(20_000)) })),
            UNRECOGNIZABLE,
        ),
        ("email", respond(json!({ "emailSubject": "x".repeat(141) })), UNRECOGNIZABLE),
        ("phone_number", respond(json!({ "smsMessage": "no place for the code" })), UNRECOGNIZABLE),
        (
            "phone_number",
            respond(json!({ "smsMessage": format!("{{####}}{}", "x".repeat(140)) })),
            UNRECOGNIZABLE,
        ),
    ] {
        functions.on("message", move |_| reply.clone());
        refused(&tokens.request_code(attribute).await, expected);
    }
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    refused(&tokens.verify("email", "123456").await, CODE_EXPIRED);
    // At their limits the texts pass; those of the other medium are not looked at.
    let longest = format!("{{####}}{}", "x".repeat(134));
    functions.on("message", move |_| Reply::Respond(json!({ "smsMessage": longest, "emailMessage": 1 })));
    tokens.request_code("phone_number").await.ok();
}

#[tokio::test]
async fn errors_of_the_function_reach_the_caller() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    let error = |body: Value, status: u16, function_error: bool| Reply::Raw {
        status,
        body: body.to_string(),
        function_error,
    };
    for (reply, message) in [
        (error(json!({ "errorMessage": "no mail today" }), 200, true), "no mail today"),
        (error(json!({ "errorMessage": "stop!", "errorType": "Error", "trace": [] }), 500, false), "stop!"),
        (error(json!({ "errorType": "TypeError" }), 200, true), "TypeError"),
        (error(json!({}), 503, false), "HTTP status 503"),
    ] {
        functions.on("message", move |_| reply.clone());
        let expected = format!("CustomMessage failed with error {message}.");
        tokens.request_code("email").await.fails("UserLambdaValidationException", &expected);
        app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" }))
            .await
            .fails("UserLambdaValidationException", &expected);
        app.resend("bo").await.fails_with("UserNotFoundException");
        app.pool
            .update("ana", json!({ "email": "new@example.com" }))
            .await
            .fails("UserLambdaValidationException", &expected);
        let invite = json!({
            "DesiredDeliveryMediums": ["EMAIL"], "UserAttributes": attributes(json!({ "email": "cy@example.com" })),
        });
        app.pool
            .admin("AdminCreateUser", "cy", invite)
            .await
            .fails("UserLambdaValidationException", &expected);
    }
    // Nothing has come of any of it.
    assert_eq!(app.pool.attributes("ana").await["email"], EMAIL);
    for name in ["bo", "cy"] {
        refused(&app.pool.admin("AdminGetUser", name, json!({})).await, USER_NOT_FOUND);
    }
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_code_survives_a_failed_attempt_to_replace_it() {
    let functions = Functions::start().await;
    let app = app(&functions).await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    functions.on("message", |_| Reply::Raw { status: 500, body: "{}".to_owned(), function_error: true });
    tokens.request_code("email").await.fails_with("UserLambdaValidationException");
    tokens.verify("email", &code).await.ok_empty();
}

#[tokio::test]
async fn a_function_that_is_not_there_or_does_not_answer_is_unexpected() {
    let functions = Functions::start().await;
    let config = functions.config(&["silent"]) + "timeout = \"300ms\"\n";
    let lido = Lido::setup().config(config).start().await;
    let trigger = |name: &str| json!({ "LambdaConfig": { "CustomMessage": Functions::arn(name) } });
    let app = lido.pool().with(trigger("unknown")).app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.fails(
        "UnexpectedLambdaException",
        "CustomMessage invocation failed due to error ResourceNotFoundException.",
    );
    lido.logged(&Functions::arn("unknown")).await;
    functions.on("silent", |_| Reply::Silence);
    let app = lido.pool().with(trigger("silent")).app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    tokens.request_code("email").await.fails(
        "UnexpectedLambdaException",
        "CustomMessage invocation failed due to error Socket timeout while invoking Lambda function.",
    );
    assert_eq!(functions.invocations().len(), 3, "a function that does not answer is asked three times");
}
