//! SignUp, ConfirmSignUp, ResendConfirmationCode, AdminConfirmSignUp.

use lido_tests::{App, Lido, PASSWORD, attributes, pairs};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const PHONE_NUMBER: &str = "+15550001234";
const CONFIRMED: Refusal =
    ("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED");

async fn app() -> App {
    Lido::shared().await.pool().verify_email().app_client().await
}

#[tokio::test]
async fn a_user_signs_up_confirms_and_signs_in() {
    let app = app().await;
    let answer = app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL, "name": "Ana" })).await.ok();
    let sub = answer["UserSub"].as_str().unwrap();
    assert_eq!(
        answer,
        json!({
            "UserConfirmed": false,
            "UserSub": sub,
            "CodeDeliveryDetails": { "Destination": "a***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" },
        })
    );
    let user = app.pool.user("ana").await;
    assert_eq!((&user["UserStatus"], &user["Enabled"]), (&json!("UNCONFIRMED"), &json!(true)));
    let stored = pairs(&user["UserAttributes"]);
    let expected = [("email", EMAIL), ("email_verified", "false"), ("name", "Ana"), ("sub", sub)];
    assert_eq!(stored, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    refused(&app.sign_in("ana", PASSWORD).await, NOT_CONFIRMED);
    refused(&app.sign_in("ana", "Another-pass-8").await, WRONG_CREDENTIALS);

    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!((&message["source"], &message["username"]), (&json!("CustomMessage_SignUp"), &json!("ana")));
    assert_eq!(message["subject"], "Your verification code");
    let code = message["code"].as_str().unwrap();
    assert_eq!(message["body"], format!("Your verification code is {code}. "));
    app.confirm("ana", code).await.ok_empty();
    let user = app.pool.user("ana").await;
    assert_eq!(user["UserStatus"], "CONFIRMED");
    assert_eq!(pairs(&user["UserAttributes"])["email_verified"], "true");
    app.tokens("ana", PASSWORD).await;
}

#[tokio::test]
async fn a_confirmed_user_is_not_confirmed_again() {
    let app = app().await;
    app.sign_up(EMAIL, PASSWORD).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm(EMAIL, &code).await.ok_empty();
    refused(&app.confirm(EMAIL, &code).await, CONFIRMED);
    refused(&app.pool.admin("AdminConfirmSignUp", EMAIL, json!({})).await, CONFIRMED);
    app.resend(EMAIL).await.is_invalid("User is already confirmed.");
}

#[tokio::test]
async fn a_wrong_code_does_not_confirm() {
    let app = app().await;
    app.sign_up(EMAIL, PASSWORD).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    for _ in 0..15 {
        refused(&app.confirm(EMAIL, another_code(&code)).await, CODE_MISMATCH);
    }
    refused(&app.confirm(EMAIL, &code).await, ATTEMPT_LIMIT);
    app.resend(EMAIL).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm(EMAIL, &code).await.ok_empty();
}

#[tokio::test]
async fn a_code_is_replaced_by_the_next_and_expires_after_a_day() {
    let lido = Lido::start().await;
    let app = lido.pool().verify_email().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let first = app.inbox().code_for(EMAIL).await;
    let resent = app.resend("ana").await.ok();
    let details = json!({ "Destination": "a***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" });
    assert_eq!(resent, json!({ "CodeDeliveryDetails": details }));
    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!(message["source"], "CustomMessage_ResendCode");
    let second = message["code"].as_str().unwrap();
    if first != second {
        refused(&app.confirm("ana", &first).await, CODE_MISMATCH);
    }
    lido.clock().advance(DAY).await;
    refused(&app.confirm("ana", second).await, CODE_EXPIRED);
    app.resend("ana").await.ok();
    lido.clock().advance(DAY - 60).await;
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
}

#[tokio::test]
async fn a_code_for_an_address_that_changed_is_void() {
    let app = app().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.pool.update("ana", json!({ "email": "new@example.com", "email_verified": "true" })).await.ok_empty();
    refused(&app.confirm("ana", &code).await, CODE_EXPIRED);
    assert_eq!(app.pool.status("ana").await, "UNCONFIRMED");
}

#[tokio::test]
async fn of_two_auto_verified_addresses_the_phone_gets_the_code() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().verify_phone_number().app_client().await;
    let answer =
        app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL, "phone_number": PHONE_NUMBER })).await.ok();
    let details =
        json!({ "Destination": "+*******1234", "DeliveryMedium": "SMS", "AttributeName": "phone_number" });
    assert_eq!(answer["CodeDeliveryDetails"], details);
    let code = app.inbox().code_for(PHONE_NUMBER).await;
    app.confirm("ana", &code).await.ok_empty();
    let stored = app.pool.attributes("ana").await;
    assert_eq!(
        (stored["phone_number_verified"].as_str(), stored["email_verified"].as_str()),
        ("true", "false")
    );
    assert_eq!(app.inbox().messages(&[]).await.len(), 1);
}

#[tokio::test]
async fn without_an_address_to_verify_nothing_is_sent() {
    let app = app().await;
    let answer = app.sign_up_with("ana", PASSWORD, json!({ "phone_number": PHONE_NUMBER })).await.ok();
    assert_eq!(answer, json!({ "UserConfirmed": false, "UserSub": answer["UserSub"] }));
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    refused(&app.confirm("ana", "123456").await, CODE_EXPIRED);
    app.resend("ana").await.is_not_authorized("Cannot resend codes. Auto verification not turned on.");
    app.pool.admin("AdminConfirmSignUp", "ana", json!({})).await.ok_empty();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    assert_eq!(app.pool.attributes("ana").await["phone_number_verified"], "false");
    app.tokens("ana", PASSWORD).await;
}

#[tokio::test]
async fn unknown_users_are_not_confirmed() {
    let app = app().await;
    refused(&app.confirm("nobody", "123456").await, COMBINATION_NOT_FOUND);
    refused(&app.resend("nobody").await, COMBINATION_NOT_FOUND);
    refused(&app.pool.admin("AdminConfirmSignUp", "nobody", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let app = app().await;
    app.sign_up_with("ana", PASSWORD, json!({})).await.ok();
    let taken: Refusal = ("UsernameExistsException", "User already exists");
    refused(&app.sign_up_with("ana", PASSWORD, json!({})).await, taken);
    app.pool.admin("AdminConfirmSignUp", "ana", json!({})).await.ok_empty();
    refused(&app.sign_up_with("ana", PASSWORD, json!({})).await, taken);
    // The API's default tells names apart by case.
    app.sign_up_with("Ana", PASSWORD, json!({})).await.ok();
    assert_eq!(app.pool.user("Ana").await["Username"], "Ana");
    app.pool.admin("AdminDeleteUser", "ana", json!({})).await.ok();
    app.sign_up_with("ana", PASSWORD, json!({})).await.ok();
}

#[tokio::test]
async fn names_are_folded_where_case_does_not_matter() {
    let lido = Lido::shared().await;
    let pool = lido.pool().with(json!({ "UsernameConfiguration": { "CaseSensitive": false } }));
    let app = pool.app_client().await;
    app.sign_up_with("Ana", PASSWORD, json!({})).await.ok();
    refused(
        &app.sign_up_with("aNA", PASSWORD, json!({})).await,
        ("UsernameExistsException", "User already exists"),
    );
    app.pool.admin("AdminConfirmSignUp", "ANA", json!({})).await.ok_empty();
    app.tokens("anA", PASSWORD).await;
    let answer = app.srp_sign_in("ANa", PASSWORD).await;
    assert!(answer.ok()["AuthenticationResult"]["AccessToken"].is_string());
}

#[tokio::test]
async fn only_administrators_create_users_where_the_pool_says_so() {
    let lido = Lido::shared().await;
    let pool = lido.pool().with(json!({ "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": true } }));
    let app = pool.app_client().await;
    app.sign_up("ana", PASSWORD).await.is_not_authorized("SignUp is not permitted for this user pool");
    app.user("ana").create().await;
}

#[tokio::test]
async fn a_password_must_satisfy_the_policy() {
    let app = app().await;
    for (password, reason) in [
        ("aA1!", "Password not long enough"),
        ("correct-horse-7", "Password must have uppercase characters"),
        ("CORRECT-HORSE-7", "Password must have lowercase characters"),
        ("Correct-horse-x", "Password must have numeric characters"),
        ("CorrectHorse77", "Password must have symbol characters"),
    ] {
        let message = format!("Password did not conform with policy: {reason}");
        app.sign_up("ana", password).await.fails("InvalidPasswordException", &message);
    }
    let pattern = "1 validation error detected: Value at 'password' failed to satisfy constraint: \
                   Member must satisfy regular expression pattern: [\\S]+";
    app.sign_up("ana", "Correct horse 7!").await.is_invalid(pattern);
    let answer = app.call("SignUp", json!({ "Username": "ana" })).await;
    let missing = "1 validation error detected: Value at 'password' failed to satisfy constraint: \
                   Member must not be null";
    answer.is_invalid(missing);
    refused(&app.pool.admin("AdminGetUser", "ana", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn requests_are_checked_against_the_model() {
    let lido = Lido::shared().await;
    lido.call("SignUp", json!({})).await.is_invalid(
        "2 validation errors detected: \
         Value at 'clientId' failed to satisfy constraint: Member must not be null; \
         Value at 'username' failed to satisfy constraint: Member must not be null",
    );
    let body = json!({
        "ClientId": "a b", "Username": "u".repeat(129), "Password": PASSWORD,
        "UserAttributes": [{ "Value": "secret" }, { "Name": "email", "Value": "v".repeat(2049) }],
    });
    lido.call("SignUp", body).await.is_invalid(
        "4 validation errors detected: \
         Value at 'clientId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+]+; \
         Value at 'username' failed to satisfy constraint: Member must have length less than or equal to 128; \
         Value null at 'userAttributes.1.member.name' failed to satisfy constraint: Member must not be null; \
         Value at 'userAttributes.2.member.value' failed to satisfy constraint: \
         Member must have length less than or equal to 2048",
    );
    let body = json!({ "ClientId": "unknown", "Username": "ana", "Password": PASSWORD });
    lido.call("SignUp", body)
        .await
        .fails("ResourceNotFoundException", "User pool client unknown does not exist.");
}

#[tokio::test]
async fn attributes_are_checked() {
    let app = app().await;
    let sign_up = async |values: Value| app.sign_up_with("ana", PASSWORD, values).await;
    sign_up(json!({ "email": "no address" })).await.is_invalid("Invalid email address format.");
    sign_up(json!({ "phone_number": "12345" })).await.is_invalid("Invalid phone number format.");
    sign_up(json!({ "custom:role": "x" })).await.is_invalid(
        "Attributes did not conform to the schema: Type for attribute {custom:role} could not be determined",
    );
    sign_up(json!({ "sub": "x" })).await.is_invalid("Cannot modify the non-mutable attribute sub");
    let flag = sign_up(json!({ "email": EMAIL, "email_verified": "true" })).await;
    flag.is_invalid("Cannot modify the non-mutable attribute email_verified");
    let short = sign_up(json!({ "birthdate": "1990" })).await;
    short.is_invalid("user.birthdate: String must be no shorter than 10 characters\n");
    let without_value = json!({
        "Username": "ana", "Password": PASSWORD, "UserAttributes": [{ "Name": "name" }],
    });
    app.call("SignUp", without_value).await.is_invalid("Attribute value for name must not be null");
    sign_up(json!({ "name": "" })).await.ok();
    assert_eq!(app.pool.attributes("ana").await.len(), 1, "an empty value counts as absent");
}

#[tokio::test]
async fn required_attributes_are_required() {
    let lido = Lido::shared().await;
    let schema = json!([
        { "Name": "name", "Required": true }, { "Name": "family_name", "Required": true },
        { "Name": "email", "Required": true },
    ]);
    let app = lido.pool().with(json!({ "Schema": schema })).app_client().await;
    let answer = app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL, "name": "" })).await;
    answer.is_invalid(
        "Attributes did not conform to the schema: name: The attribute is required\n\
         family_name: The attribute is required\n",
    );
    let all = json!({ "email": EMAIL, "name": "Ana", "family_name": "Sun" });
    app.sign_up_with("ana", PASSWORD, all).await.ok();
}

#[tokio::test]
async fn a_client_writes_what_it_may() {
    let lido = Lido::shared().await;
    let schema = json!([
        { "Name": "email", "Required": true },
        { "Name": "role", "AttributeDataType": "String", "Mutable": false },
        { "Name": "level", "AttributeDataType": "String", "Mutable": true },
        { "Name": "note", "AttributeDataType": "String", "DeveloperOnlyAttribute": true },
    ]);
    let pool = lido.pool().with(json!({ "Schema": schema })).create().await;
    let plain = pool.app_client().await;
    let custom = json!({ "email": EMAIL, "custom:level": "1" });
    refused(&plain.sign_up_with("ana", PASSWORD, custom).await, UNAUTHORIZED_WRITE);
    let writing = json!({ "WriteAttributes": ["email", "name", "custom:role"] });
    let app = pool.client().with(writing).create().await;
    let nickname = json!({ "email": EMAIL, "nickname": "a" });
    refused(&app.sign_up_with("ana", PASSWORD, nickname).await, UNAUTHORIZED_WRITE);
    let developer = json!({ "email": EMAIL, "dev:custom:note": "a" });
    refused(&app.sign_up_with("ana", PASSWORD, developer).await, UNAUTHORIZED_WRITE);
    let good = json!({ "email": EMAIL, "name": "Ana", "custom:role": "admin" });
    app.sign_up_with("ana", PASSWORD, good).await.ok();
    assert_eq!(pool.attributes("ana").await["custom:role"], "admin");
}

// ---- Aliases ---------------------------------------------------------------------------------

#[tokio::test]
async fn an_alias_is_no_user_name() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email", "phone_number", "preferred_username"]).app_client().await;
    app.sign_up_with(EMAIL, PASSWORD, json!({}))
        .await
        .is_invalid("Username cannot be of email format, since user pool is configured for email alias.");
    let message =
        app.sign_up_with(PHONE_NUMBER, PASSWORD, json!({})).await.fails_with("InvalidParameterException");
    assert!(message.starts_with("Username cannot be of phone"), "{message}");
    app.sign_up_with("ana", PASSWORD, json!({ "preferred_username": "queen" })).await.is_invalid(
        "Preferred username cannot be provided for unconfirmed account, since user pool is configured for \
         preferred username alias.",
    );
}

#[tokio::test]
async fn an_alias_comes_into_force_with_the_confirmation() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).verify_email().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    refused(&app.sign_in(EMAIL, PASSWORD).await, USER_NOT_FOUND);
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
    app.tokens(EMAIL, PASSWORD).await;

    // Somebody else with the same address signs up, and is stopped when confirming.
    app.sign_up_with("bo", PASSWORD, json!({ "email": EMAIL })).await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    let exists: Refusal = ("AliasExistsException", "An account with the given email already exists.");
    refused(&app.confirm("bo", &code).await, exists);
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED");
    assert_eq!(app.pool.user(EMAIL).await["Username"], "ana");

    let forced = json!({ "Username": "bo", "ConfirmationCode": code, "ForceAliasCreation": true });
    app.call("ConfirmSignUp", forced).await.ok_empty();
    assert_eq!(app.pool.user(EMAIL).await["Username"], "bo");
    assert_eq!(app.pool.attributes("ana").await["email_verified"], "false");
    assert_eq!(app.pool.attributes("bo").await["email_verified"], "true");
}

#[tokio::test]
async fn an_administrator_s_confirmation_meets_a_taken_alias() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    app.user("ana").verified_email(EMAIL).create().await;
    app.sign_up_with("bo", PASSWORD, json!({ "email": EMAIL })).await.ok();
    app.pool.update("bo", json!({ "email_verified": "true" })).await.ok_empty();
    let answer = app.pool.admin("AdminConfirmSignUp", "bo", json!({})).await;
    answer.is_invalid("An account with the given email already exists.");
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED");
    // Ways to be confirmed that do not know AliasExistsException.
    let password = json!({ "Password": PASSWORD, "Permanent": true });
    let answer = app.pool.admin("AdminSetUserPassword", "bo", password).await;
    answer.is_invalid("An account with the given email already exists.");
    app.forgot("bo").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    let answer = app.reset("bo", &code, "Another-pass-8").await;
    answer.is_invalid("An account with the given email already exists.");
    assert_eq!(app.pool.status("bo").await, "UNCONFIRMED");
}

// ---- Username attributes ---------------------------------------------------------------------

#[tokio::test]
async fn an_address_is_the_name_in_pools_that_sign_in_by_it() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email"]).verify_email().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({})).await.is_invalid("Username should be an email.");
    let answer = app.sign_up_with(EMAIL, PASSWORD, json!({})).await.ok();
    let sub = answer["UserSub"].as_str().unwrap();
    let user = app.pool.user(EMAIL).await;
    assert_eq!(user["Username"], sub, "the user name is generated");
    assert_eq!(pairs(&user["UserAttributes"])["email"], EMAIL);
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm(EMAIL, &code).await.ok_empty();
    let tokens = app.tokens(EMAIL, PASSWORD).await;
    assert_eq!(lido_tests::claims(&tokens.access)["username"], sub);
    app.tokens(sub, PASSWORD).await;
    let taken: Refusal = ("UsernameExistsException", "An account with the given email already exists.");
    refused(&app.sign_up_with(EMAIL, PASSWORD, json!({})).await, taken);
}

#[tokio::test]
async fn either_address_is_a_name_where_both_are_allowed() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email", "phone_number"]).app_client().await;
    let wrong = app.sign_up_with("ana", PASSWORD, json!({})).await;
    wrong.is_invalid("Username should be either an email or a phone number.");
    app.sign_up_with(EMAIL, PASSWORD, json!({})).await.ok();
    app.sign_up_with(PHONE_NUMBER, PASSWORD, json!({})).await.ok();
    refused(
        &app.sign_up_with(PHONE_NUMBER, PASSWORD, json!({})).await,
        ("UsernameExistsException", "An account with the given phone_number already exists."),
    );
    for name in [EMAIL, PHONE_NUMBER] {
        // No verification is needed to sign in by it.
        app.pool.admin("AdminConfirmSignUp", name, json!({})).await.ok_empty();
        app.tokens(name, PASSWORD).await;
    }
    let phones = lido.pool().sign_in_by(&["phone_number"]).app_client().await;
    phones.sign_up_with(EMAIL, PASSWORD, json!({})).await.is_invalid("Username should be a phone number.");
}

// ---- Secret hash -----------------------------------------------------------------------------

#[tokio::test]
async fn a_client_with_a_secret_proves_it() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().create().await.client().secret().create().await;
    let missing = format!("Client {} is configured with secret but SECRET_HASH was not received", app.id);
    let wrong = format!("Unable to verify secret hash for client {}", app.id);
    let values = attributes(json!({ "email": EMAIL }));
    let bodies = [
        ("SignUp", json!({ "Username": "ana", "Password": PASSWORD, "UserAttributes": values })),
        ("ConfirmSignUp", json!({ "Username": "ana", "ConfirmationCode": "123456" })),
        ("ResendConfirmationCode", json!({ "Username": "ana" })),
        ("ForgotPassword", json!({ "Username": "ana" })),
        (
            "ConfirmForgotPassword",
            json!({ "Username": "ana", "ConfirmationCode": "123456", "Password": PASSWORD }),
        ),
    ];
    for (operation, body) in &bodies {
        let with_id = lido_tests::merged(json!({ "ClientId": app.id }), body.clone());
        lido.call(operation, with_id.clone()).await.is_not_authorized(&missing);
        for hash in ["d3Jvbmc=", "no base64 at all".replace(' ', "").as_str()] {
            let body = lido_tests::merged(with_id.clone(), json!({ "SecretHash": hash }));
            lido.call(operation, body).await.is_not_authorized(&wrong);
        }
    }
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    app.resend("ana").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
    app.forgot("ana").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.reset("ana", &code, "Another-pass-8").await.ok_empty();
    app.tokens("ana", "Another-pass-8").await;
}

#[tokio::test]
async fn a_hash_for_a_client_without_a_secret_is_wrong() {
    let app = app().await;
    let body = json!({ "Username": "ana", "Password": PASSWORD, "SecretHash": "d3Jvbmc=" });
    let wrong = format!("Unable to verify secret hash for client {}", app.id);
    app.call("SignUp", body).await.is_not_authorized(&wrong);
}

#[tokio::test]
async fn confirmations_and_resends_are_counted_where_limits_are_on() {
    let lido = Lido::setup().flag("--limits", "cognito").start().await;
    let app = lido.pool().verify_email().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    for _ in 0..5 {
        app.resend("ana").await.ok();
    }
    refused(&app.resend("ana").await, ATTEMPT_LIMIT);
    let code = app.inbox().code_for(EMAIL).await;
    for _ in 0..15 {
        refused(&app.confirm("ana", another_code(&code)).await, CODE_MISMATCH);
    }
    refused(&app.confirm("ana", &code).await, ATTEMPT_LIMIT);
    lido.clock().advance(HOUR).await;
    app.resend("ana").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    app.confirm("ana", &code).await.ok_empty();
}
