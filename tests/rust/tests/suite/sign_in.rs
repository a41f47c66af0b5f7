//! InitiateAuth, RespondToAuthChallenge and their Admin twins: passwords, new passwords, sessions.

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD, Tokens, claims};
use serde_json::{Value, json};

use super::*;

const TEMPORARY: &str = "Temporary-pass-1";
const NEW: &str = "Brand-new-pass-2";

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

/// A user who has to choose a new password.
async fn invite(app: &App, username: &str, values: Value) {
    let body = json!({
        "MessageAction": "SUPPRESS",
        "TemporaryPassword": TEMPORARY,
        "UserAttributes": lido_tests::attributes(values),
    });
    app.pool.admin("AdminCreateUser", username, body).await.ok();
}

/// The session of the challenge that follows the temporary password.
async fn challenged(app: &App, username: &str) -> String {
    let answer = app.sign_in(username, TEMPORARY).await.ok();
    assert_eq!(answer["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    answer["Session"].as_str().unwrap().to_owned()
}

async fn choose(app: &App, session: &str, username: &str, password: &str) -> lido_tests::Answer {
    let responses = json!({ "USERNAME": username, "NEW_PASSWORD": password });
    app.respond("NEW_PASSWORD_REQUIRED", Some(session), responses).await
}

#[tokio::test]
async fn a_password_signs_in() {
    let app = app().await;
    app.user("ana").create().await;
    for answer in [
        app.sign_in("ana", PASSWORD).await,
        app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", json!({ "USERNAME": "ana", "PASSWORD": PASSWORD }))
            .await,
        app.admin_initiate("ADMIN_NO_SRP_AUTH", json!({ "USERNAME": "ana", "PASSWORD": PASSWORD })).await,
    ] {
        let body = answer.ok();
        let names: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["AuthenticationResult", "ChallengeParameters"]);
        assert_eq!(body["ChallengeParameters"], json!({}));
        let result = &body["AuthenticationResult"];
        let names: Vec<&String> = result.as_object().unwrap().keys().collect();
        assert_eq!(names, ["AccessToken", "ExpiresIn", "IdToken", "RefreshToken", "TokenType"]);
        assert_eq!((&result["ExpiresIn"], &result["TokenType"]), (&json!(3600), &json!("Bearer")));
        Tokens::of(&app.lido, &answer).get_user().await.ok();
    }
}

#[tokio::test]
async fn a_wrong_password_does_not() {
    let app = app().await;
    app.user("ana").create().await;
    for wrong in ["Wrong-pass-word-1", "correct-horse-7", "Correct-horse-7 ", "x", &"x".repeat(2000)] {
        // Enough correct ones in between to stay below the lockout.
        refused(&app.sign_in("ana", wrong).await, WRONG_CREDENTIALS);
        app.tokens("ana", PASSWORD).await;
    }
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": "Wrong-pass-word-1" });
    refused(&app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters).await, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn unknown_users_and_clients_are_told() {
    let app = app().await;
    refused(&app.sign_in("nobody", PASSWORD).await, USER_NOT_FOUND);
    let parameters = json!({ "USERNAME": "nobody", "PASSWORD": PASSWORD });
    refused(&app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters.clone()).await, USER_NOT_FOUND);
    let body =
        json!({ "ClientId": "unknown", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    let unknown: Refusal = ("ResourceNotFoundException", "User pool client unknown does not exist.");
    refused(&app.lido.call("InitiateAuth", body.clone()).await, unknown);
    refused(&app.pool.call("AdminInitiateAuth", body.clone()).await, unknown);
    let body = lido_tests::merged(body, json!({ "UserPoolId": "us-east-1_unknown", "ClientId": app.id }));
    app.lido
        .call("AdminInitiateAuth", body)
        .await
        .fails("ResourceNotFoundException", "User pool us-east-1_unknown does not exist.");
}

#[tokio::test]
async fn parameters_of_a_flow_are_required() {
    let app = app().await;
    for (flow, parameters, missing) in [
        ("USER_PASSWORD_AUTH", json!({}), "USERNAME"),
        ("USER_PASSWORD_AUTH", json!({ "USERNAME": "ana" }), "PASSWORD"),
        ("USER_PASSWORD_AUTH", json!({ "USERNAME": "", "PASSWORD": "x" }), "USERNAME"),
        ("USER_PASSWORD_AUTH", json!({ "username": "ana", "PASSWORD": "x" }), "USERNAME"),
        ("USER_SRP_AUTH", json!({ "SRP_A": "a" }), "USERNAME"),
        ("USER_SRP_AUTH", json!({ "USERNAME": "ana" }), "SRP_A"),
        ("REFRESH_TOKEN_AUTH", json!({}), "REFRESH_TOKEN"),
        ("REFRESH_TOKEN", json!({}), "REFRESH_TOKEN"),
        ("CUSTOM_AUTH", json!({}), "USERNAME"),
    ] {
        app.initiate(flow, parameters).await.is_invalid(&format!("Missing required parameter {missing}"));
    }
    let without = json!({ "AuthFlow": "USER_PASSWORD_AUTH" });
    app.call("InitiateAuth", without).await.is_invalid("Missing required parameter USERNAME");
    for (challenge, responses, missing) in [
        ("NEW_PASSWORD_REQUIRED", json!({}), "USERNAME"),
        ("NEW_PASSWORD_REQUIRED", json!({ "USERNAME": "ana" }), "NEW_PASSWORD"),
        ("PASSWORD_VERIFIER", json!({}), "USERNAME"),
        ("PASSWORD_VERIFIER", json!({ "USERNAME": "ana" }), "PASSWORD_CLAIM_SIGNATURE"),
    ] {
        let answer = app.respond(challenge, None, responses).await;
        answer.is_invalid(&format!("Missing required parameter {missing}"));
    }
}

#[tokio::test]
async fn a_client_allows_its_flows_alone() {
    let pool = Lido::shared().await.pool().create().await;
    let closed = pool.client().with(json!({ "ExplicitAuthFlows": ["ALLOW_USER_AUTH"] })).create().await;
    closed.user("ana").create().await;
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD, "SRP_A": "abc", "REFRESH_TOKEN": "x" });
    for (flow, message) in [
        ("USER_PASSWORD_AUTH", "USER_PASSWORD_AUTH flow not enabled for this client"),
        ("USER_SRP_AUTH", "USER_SRP_AUTH is not enabled for the client."),
        ("CUSTOM_AUTH", "CUSTOM_AUTH is not enabled for the client."),
        ("REFRESH_TOKEN_AUTH", "REFRESH_TOKEN_AUTH flow not enabled for this client"),
        ("ADMIN_USER_PASSWORD_AUTH", "Initiate Auth method not supported."),
        ("ADMIN_NO_SRP_AUTH", "Initiate Auth method not supported."),
    ] {
        closed.initiate(flow, parameters.clone()).await.is_invalid(message);
    }
    for (flow, message) in [
        ("ADMIN_USER_PASSWORD_AUTH", "Auth flow not enabled for this client"),
        ("ADMIN_NO_SRP_AUTH", "Auth flow not enabled for this client"),
        ("USER_PASSWORD_AUTH", "Initiate Auth method not supported."),
        ("USER_SRP_AUTH", "USER_SRP_AUTH is not enabled for the client."),
    ] {
        closed.admin_initiate(flow, parameters.clone()).await.is_invalid(message);
    }
    // Without any flow a client has SRP, refresh and custom authentication.
    let plain = pool.call("CreateUserPoolClient", json!({ "ClientName": "plain" })).await.ok();
    let plain =
        App { id: plain["UserPoolClient"]["ClientId"].as_str().unwrap().to_owned(), ..closed.clone() };
    let answer = plain.sign_in("ana", PASSWORD).await;
    answer.is_invalid("USER_PASSWORD_AUTH flow not enabled for this client");
    let tokens = Tokens::of(&plain.lido, &plain.srp_sign_in("ana", PASSWORD).await);
    plain.refresh(&tokens.refresh).await.ok();
    let answer = plain.initiate("CUSTOM_AUTH", json!({ "USERNAME": "ana" })).await;
    answer.is_invalid("Custom auth lambda trigger is not configured for the user pool.");
    // The older names.
    let legacy = json!({ "ExplicitAuthFlows": ["ADMIN_NO_SRP_AUTH", "USER_PASSWORD_AUTH"] });
    let legacy = pool.client().with(legacy).create().await;
    let tokens = legacy.tokens("ana", PASSWORD).await;
    legacy.refresh(&tokens.refresh).await.ok();
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD });
    legacy.admin_initiate("ADMIN_NO_SRP_AUTH", parameters).await.ok();
}

#[tokio::test]
async fn flows_and_challenges_are_those_of_the_model() {
    let app = app().await;
    let message = app.initiate("MAGIC", json!({})).await.fails_with("InvalidParameterException");
    let expected = "1 validation error detected: Value 'MAGIC' at 'authFlow' failed to satisfy constraint: \
                    Member must satisfy enum value set: [";
    assert!(message.starts_with(expected), "{message}");
    let message = app.respond("MAGIC", None, json!({})).await.fails_with("InvalidParameterException");
    assert!(message.contains("Value 'MAGIC' at 'challengeName'"), "{message}");
    let unbuilt = app.initiate("USER_AUTH", json!({ "USERNAME": "ana" })).await;
    unbuilt.is_invalid("USER_AUTH flow not enabled for this client");
}

#[tokio::test]
async fn a_disabled_user_does_not_sign_in() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    user.admin("AdminDisableUser", json!({})).await.ok_empty();
    refused(&user.sign_in().await, USER_DISABLED);
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD });
    refused(&app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters).await, USER_DISABLED);
    refused(&app.refresh(&tokens.refresh).await, REFRESH_TOKEN_REVOKED);
    user.admin("AdminEnableUser", json!({})).await.ok_empty();
    user.tokens().await;
}

#[tokio::test]
async fn a_user_whose_password_was_reset_does_not_sign_in() {
    let app = app().await;
    let (user, tokens) = app.user("ana").verified_email("ana@example.com").signed_in().await;
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();
    refused(&user.sign_in().await, RESET_REQUIRED);
    refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    refused(&app.refresh(&tokens.refresh).await, RESET_REQUIRED);
}

#[tokio::test]
async fn a_user_signs_in_by_sub_too() {
    let app = app().await;
    let user = app.user("ana").create().await;
    app.tokens(&user.sub().await, PASSWORD).await;
}

#[tokio::test]
async fn the_secret_hash_is_over_the_name_as_sent_or_the_user_name() {
    let lido = Lido::shared().await;
    let pool = lido.pool().aliases(&["email"]).create().await;
    let app = pool.client().secret().create().await;
    app.user("ana").verified_email("ana@example.com").create().await;
    let hash =
        |name: &str| lido_crypto::secret_hash::secret_hash(name, &app.id, app.secret.as_deref().unwrap());
    let sign_in = async |name: &str, hash: Option<String>| {
        let mut parameters = json!({ "USERNAME": name, "PASSWORD": PASSWORD });
        if let Some(hash) = hash {
            parameters["SECRET_HASH"] = hash.into();
        }
        let body =
            json!({ "ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
        lido.call("InitiateAuth", body).await
    };
    let missing = format!("Client {} is configured with secret but SECRET_HASH was not received", app.id);
    let wrong = format!("Unable to verify secret hash for client {}", app.id);
    sign_in("ana", None).await.is_not_authorized(&missing);
    sign_in("nobody", None).await.is_not_authorized(&missing);
    sign_in("ana", Some(hash("bo"))).await.is_not_authorized(&wrong);
    sign_in("ana", Some("no base64".to_owned())).await.is_not_authorized(&wrong);
    sign_in("ana", Some(hash("ana"))).await.ok();
    sign_in("ana@example.com", Some(hash("ana@example.com"))).await.ok();
    sign_in("ana@example.com", Some(hash("ana"))).await.ok();
    sign_in("ana@example.com", Some(hash("else@example.com"))).await.is_not_authorized(&wrong);

    let tokens = Tokens::of(&lido, &sign_in("ana", Some(hash("ana"))).await);
    let refresh = async |hash: Option<String>| {
        let mut parameters = json!({ "REFRESH_TOKEN": tokens.refresh });
        if let Some(hash) = hash {
            parameters["SECRET_HASH"] = hash.into();
        }
        app.initiate("REFRESH_TOKEN_AUTH", parameters).await
    };
    refresh(None).await.is_not_authorized(&missing);
    let mismatch = format!("SecretHash does not match for the client: {}", app.id);
    refresh(Some(hash("ana@example.com"))).await.is_not_authorized(&mismatch);
    refresh(Some(hash("ana"))).await.ok();
    refresh(Some(hash(&pool.attributes("ana").await["sub"]))).await.ok();

    let answer = app.srp_sign_in("ana@example.com", PASSWORD).await;
    Tokens::of(&lido, &answer);
    let other = pool.app_client().await;
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD, "SECRET_HASH": hash("ana") });
    let wrong = format!("Unable to verify secret hash for client {}", other.id);
    other.initiate("USER_PASSWORD_AUTH", parameters).await.is_not_authorized(&wrong);
}

// ---- A new password --------------------------------------------------------------------------

#[tokio::test]
async fn a_temporary_password_has_to_be_changed() {
    let app = app().await;
    invite(&app, "ana", json!({ "email": "ana@example.com", "email_verified": "true" })).await;
    let answer = app.sign_in("ana", TEMPORARY).await.ok();
    let session = answer["Session"].as_str().unwrap();
    assert!(session.len() >= 20);
    assert_eq!(answer["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let parameters = &answer["ChallengeParameters"];
    assert_eq!(
        (&parameters["USER_ID_FOR_SRP"], &parameters["requiredAttributes"]),
        (&json!("ana"), &json!("[]"))
    );
    let shown: Value = serde_json::from_str(parameters["userAttributes"].as_str().unwrap()).unwrap();
    assert_eq!(shown, json!({ "email": "ana@example.com", "email_verified": "true" }));

    let tokens = Tokens::of(&app.lido, &choose(&app, session, "ana", NEW).await);
    tokens.get_user().await.ok();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    refused(&app.sign_in("ana", TEMPORARY).await, WRONG_CREDENTIALS);
    app.tokens("ana", NEW).await;
}

#[tokio::test]
async fn administrators_and_srp_meet_the_same_challenge() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    invite(&app, "bo", json!({})).await;
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": TEMPORARY });
    let answer = app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters).await.ok();
    assert_eq!(answer["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let responses = json!({ "USERNAME": "ana", "NEW_PASSWORD": NEW });
    let answer = app.admin_respond("NEW_PASSWORD_REQUIRED", answer["Session"].as_str(), responses).await;
    Tokens::of(&app.lido, &answer);

    let answer = app.srp_sign_in("bo", TEMPORARY).await.ok();
    assert_eq!(answer["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let answer = choose(&app, answer["Session"].as_str().unwrap(), "bo", NEW).await;
    Tokens::of(&app.lido, &answer);
}

#[tokio::test]
async fn required_attributes_are_asked_for_with_the_new_password() {
    let lido = Lido::shared().await;
    let schema = json!([
        { "Name": "name", "Required": true }, { "Name": "email", "Required": true },
        { "Name": "fixed", "AttributeDataType": "String", "Mutable": false },
    ]);
    let pool = lido.pool().with(json!({ "Schema": schema })).create().await;
    let app = pool.client().with(json!({ "WriteAttributes": ["name", "email", "nickname"] })).create().await;
    invite(&app, "ana", json!({ "email": "ana@example.com" })).await;
    let answer = app.sign_in("ana", TEMPORARY).await.ok();
    assert_eq!(answer["ChallengeParameters"]["requiredAttributes"], r#"["userAttributes.name"]"#);
    let session = answer["Session"].as_str().unwrap();
    let respond = async |more: Value| {
        let responses = lido_tests::merged(json!({ "USERNAME": "ana", "NEW_PASSWORD": NEW }), more);
        app.respond("NEW_PASSWORD_REQUIRED", Some(session), responses).await
    };
    let missing = "Attributes did not conform to the schema: name: The attribute is required\n";
    respond(json!({})).await.is_invalid(missing);
    let unwritable = json!({ "userAttributes.name": "Ana", "userAttributes.locale": "sv" });
    refused(&respond(unwritable).await, UNAUTHORIZED_WRITE);
    let provided = json!({ "userAttributes.name": "Ana", "userAttributes.email": "new@example.com" });
    respond(provided).await.is_not_authorized("Cannot modify an already provided email");
    let unknown = json!({ "userAttributes.name": "Ana", "userAttributes.custom:no": "x" });
    respond(unknown).await.is_invalid("user.custom:no: Attribute does not exist in the schema.\n");
    let flag = json!({ "userAttributes.name": "Ana", "userAttributes.email_verified": "true" });
    assert_eq!(respond(flag).await.status, 400);
    let good = json!({ "userAttributes.name": "Ana", "userAttributes.nickname": "A", "unknown": "ignored" });
    Tokens::of(&lido, &respond(good).await);
    let stored = pool.attributes("ana").await;
    assert_eq!((stored["name"].as_str(), stored["nickname"].as_str()), ("Ana", "A"));
    assert_eq!(stored["email"], "ana@example.com");
}

#[tokio::test]
async fn a_new_password_obeys_the_policy_and_leaves_the_session_good() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    let session = challenged(&app, "ana").await;
    let answer = choose(&app, &session, "ana", "weak").await;
    answer
        .fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
    Tokens::of(&app.lido, &choose(&app, &session, "ana", NEW).await);
}

#[tokio::test]
async fn a_temporary_password_expires() {
    let lido = Lido::start().await;
    let policy = json!({ "PasswordPolicy": {
        "MinimumLength": 8, "RequireUppercase": true, "RequireLowercase": true, "RequireNumbers": true,
        "RequireSymbols": true, "TemporaryPasswordValidityDays": 2,
    } });
    let app = lido.pool().with(json!({ "Policies": policy })).app_client().await;
    for name in ["ana", "bo", "cy"] {
        invite(&app, name, json!({ "email": format!("{name}@example.com") })).await;
    }
    lido.clock().advance(2 * DAY - 60).await;
    let session = challenged(&app, "ana").await;
    Tokens::of(&lido, &choose(&app, &session, "ana", NEW).await);
    lido.clock().advance(60).await;
    let expired: Refusal =
        ("NotAuthorizedException", "Temporary password has expired and must be reset by an administrator.");
    refused(&app.sign_in("bo", TEMPORARY).await, expired);
    refused(&app.srp_sign_in("bo", TEMPORARY).await, expired);
    refused(&app.sign_in("bo", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    // Inviting again begins anew, and so does an administrator's password.
    let resend = json!({ "MessageAction": "RESEND", "DesiredDeliveryMediums": ["EMAIL"], "TemporaryPassword": TEMPORARY });
    app.pool.admin("AdminCreateUser", "bo", resend).await.ok();
    challenged(&app, "bo").await;
    app.pool.admin("AdminSetUserPassword", "cy", json!({ "Password": TEMPORARY })).await.ok_empty();
    challenged(&app, "cy").await;
}

// ---- Sessions --------------------------------------------------------------------------------

#[tokio::test]
async fn a_session_is_used_once() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    let session = challenged(&app, "ana").await;
    Tokens::of(&app.lido, &choose(&app, &session, "ana", NEW).await);
    refused(&choose(&app, &session, "ana", "Yet-another-pass-3").await, SESSION_USED);
    app.tokens("ana", NEW).await;
}

#[tokio::test]
async fn of_many_answers_to_a_session_one_counts() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    let session = challenged(&app, "ana").await;
    let passwords: Vec<String> = (0..40).map(|index| format!("Brand-new-pass-{index}")).collect();
    let answers = join_all(passwords.iter().map(|password| choose(&app, &session, "ana", password))).await;
    let winners: Vec<usize> = (0..40).filter(|index| answers[*index].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, SESSION_USED);
    }
    app.tokens("ana", &passwords[winners[0]]).await;
}

#[tokio::test]
async fn a_session_expires_with_its_client_s_validity() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let short = pool.app_client().await;
    let long = pool.client().with(json!({ "AuthSessionValidity": 15 })).create().await;
    invite(&short, "ana", json!({})).await;
    invite(&long, "bo", json!({})).await;
    let (ana, bo) = (challenged(&short, "ana").await, challenged(&long, "bo").await);
    lido.clock().advance(3 * 60).await;
    refused(&choose(&short, &ana, "ana", NEW).await, SESSION_EXPIRED);
    lido.clock().advance(11 * 60).await;
    Tokens::of(&lido, &choose(&long, &bo, "bo", NEW).await);
}

#[tokio::test]
async fn a_session_belongs_to_its_client_user_and_challenge() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    app.user("bo").create().await;
    let session = challenged(&app, "ana").await;
    let other = app.pool.app_client().await;
    refused(&choose(&other, &session, "ana", NEW).await, INVALID_SESSION);
    refused(&choose(&app, &session, "bo", NEW).await, INVALID_SESSION);
    refused(&choose(&app, &session, "nobody", NEW).await, INVALID_SESSION);
    let elsewhere = Lido::shared().await.pool().app_client().await;
    invite(&elsewhere, "ana", json!({})).await;
    refused(&choose(&elsewhere, &session, "ana", NEW).await, INVALID_SESSION);
    refused(&choose(&app, &"x".repeat(40), "ana", NEW).await, INVALID_SESSION);
    for tampered in [&session[1..], &altered(&session, 30), &format!("{session}AAAA")] {
        refused(&choose(&app, tampered, "ana", NEW).await, INVALID_SESSION);
    }
    let without = json!({ "USERNAME": "ana", "NEW_PASSWORD": NEW });
    refused(&app.respond("NEW_PASSWORD_REQUIRED", None, without).await, INVALID_SESSION);
    Tokens::of(&app.lido, &choose(&app, &session, "ana", NEW).await);
}

#[tokio::test]
async fn a_session_is_void_when_the_user_was_settled_otherwise() {
    let app = app().await;
    invite(&app, "ana", json!({})).await;
    let session = challenged(&app, "ana").await;
    let password = json!({ "Password": PASSWORD, "Permanent": true });
    app.pool.admin("AdminSetUserPassword", "ana", password).await.ok_empty();
    refused(&choose(&app, &session, "ana", NEW).await, INVALID_SESSION);
    app.tokens("ana", PASSWORD).await;

    invite(&app, "bo", json!({})).await;
    let session = challenged(&app, "bo").await;
    app.pool.admin("AdminDisableUser", "bo", json!({})).await.ok_empty();
    refused(&choose(&app, &session, "bo", NEW).await, USER_DISABLED);
    invite(&app, "cy", json!({})).await;
    let session = challenged(&app, "cy").await;
    app.pool.admin("AdminDeleteUser", "cy", json!({})).await.ok();
    refused(&choose(&app, &session, "cy", NEW).await, INVALID_SESSION);
}

// ---- Refresh ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_refresh_token_gets_new_tokens_of_the_same_sign_in() {
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    let (user, tokens) = app.user("ana").attribute("nickname", "a").signed_in().await;
    lido.clock().advance(100).await;
    user.admin(
        "AdminUpdateUserAttributes",
        json!({ "UserAttributes": [{ "Name": "nickname", "Value": "b" }] }),
    )
    .await
    .ok();
    for flow in ["REFRESH_TOKEN_AUTH", "REFRESH_TOKEN"] {
        for answer in [
            app.initiate(flow, json!({ "REFRESH_TOKEN": tokens.refresh })).await,
            app.admin_initiate(flow, json!({ "REFRESH_TOKEN": tokens.refresh })).await,
        ] {
            let body = answer.ok();
            let result = &body["AuthenticationResult"];
            let names: Vec<&String> = result.as_object().unwrap().keys().collect();
            assert_eq!(names, ["AccessToken", "ExpiresIn", "IdToken", "TokenType"]);
            let (before, after) = (claims(&tokens.access), claims(result["AccessToken"].as_str().unwrap()));
            for same in
                ["sub", "iss", "client_id", "auth_time", "origin_jti", "scope", "username", "token_use"]
            {
                assert_eq!(before[same], after[same], "{same}");
            }
            assert_ne!(before["jti"], after["jti"]);
            assert!(after["iat"].as_i64().unwrap() - before["iat"].as_i64().unwrap() >= 100);
            let (before, after) = (claims(&tokens.id), claims(result["IdToken"].as_str().unwrap()));
            assert_eq!((&before["nickname"], &after["nickname"]), (&json!("a"), &json!("b")));
            assert_eq!(before["auth_time"], after["auth_time"]);
        }
    }
}

#[tokio::test]
async fn a_refresh_token_expires_and_nothing_else_is_one() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let app = pool.client().with(json!({
        "RefreshTokenValidity": 2, "TokenValidityUnits": { "RefreshToken": "hours" },
    }));
    let app = app.create().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    for other in ["x", &tokens.access, &tokens.id, &tokens.refresh[1..], &format!("{}A", tokens.refresh)] {
        refused(&app.refresh(other).await, INVALID_REFRESH_TOKEN);
    }
    let sibling = pool.app_client().await;
    refused(&sibling.refresh(&tokens.refresh).await, INVALID_REFRESH_TOKEN);
    lido.clock().advance(2 * HOUR - 60).await;
    app.refresh(&tokens.refresh).await.ok();
    lido.clock().advance(60).await;
    refused(&app.refresh(&tokens.refresh).await, REFRESH_TOKEN_EXPIRED);
}

#[tokio::test]
async fn the_refresh_token_of_a_deleted_user_is_gone() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    user.admin("AdminDeleteUser", json!({})).await.ok();
    refused(&app.refresh(&tokens.refresh).await, INVALID_REFRESH_TOKEN);
}
