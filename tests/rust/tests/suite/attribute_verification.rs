//! GetUserAttributeVerificationCode and VerifyUserAttribute.

use futures_util::future::join_all;
use lido_tests::{App, Lido, Tokens, User, pairs};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const PHONE_NUMBER: &str = "+15550001234";

async fn app(lido: &Lido) -> App {
    lido.pool().app_client().await
}

/// A signed-in user with both addresses, neither verified.
async fn user(app: &App) -> (User, Tokens) {
    app.user("ana").email(EMAIL).phone_number(PHONE_NUMBER).signed_in().await
}

async fn code(app: &App, tokens: &Tokens, attribute: &str) -> String {
    tokens.request_code(attribute).await.ok();
    app.inbox().code_for(if attribute == "email" { EMAIL } else { PHONE_NUMBER }).await
}

#[tokio::test]
async fn an_email_address_is_verified_with_the_code_that_was_sent() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let sent = tokens.request_code("email").await.ok();
    let details = json!({ "Destination": "a***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" });
    assert_eq!(sent, json!({ "CodeDeliveryDetails": details }));

    let message = app.inbox().newest_for(EMAIL).await;
    let code = message["code"].as_str().unwrap();
    assert!(code.len() == 6 && code.bytes().all(|digit| digit.is_ascii_digit()), "{code}");
    assert_eq!(message["source"], "CustomMessage_VerifyUserAttribute");
    assert_eq!(message["subject"], "Your verification code");
    assert_eq!(message["body"], format!("Your verification code is {code}. "));
    assert_eq!((&message["medium"], &message["username"]), (&json!("EMAIL"), &json!("ana")));
    assert_eq!((&message["clientId"], &message["userPoolId"]), (&json!(app.id), &json!(app.pool.id)));

    assert_eq!(user.attribute("email_verified").await, None);
    tokens.verify("email", code).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
    assert_eq!(user.attribute("phone_number_verified").await, None);
    let seen = pairs(&tokens.get_user().await.ok()["UserAttributes"]);
    assert_eq!((seen["email"].as_str(), seen["email_verified"].as_str()), (EMAIL, "true"));
}

#[tokio::test]
async fn a_phone_number_is_verified_by_sms() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let sent = tokens.request_code("phone_number").await.ok();
    let details =
        json!({ "Destination": "+*******1234", "DeliveryMedium": "SMS", "AttributeName": "phone_number" });
    assert_eq!(sent, json!({ "CodeDeliveryDetails": details }));
    let message = app.inbox().newest_for(PHONE_NUMBER).await;
    let code = message["code"].as_str().unwrap();
    assert_eq!((&message["medium"], message.get("subject")), (&json!("SMS"), None));
    assert_eq!(message["body"], format!("Your verification code is {code}. "));
    tokens.verify("phone_number", code).await.ok_empty();
    assert_eq!(user.attribute("phone_number_verified").await.as_deref(), Some("true"));
}

#[tokio::test]
async fn destinations_are_masked() {
    let app = app(&Lido::shared().await).await;
    for (index, (attribute, value, masked)) in [
        ("email", "z@b.c", "z***@b***"),
        ("email", "very.long.local.part@sub.domain.example.com", "v***@s***"),
        ("email", "ö@ü.example", "ö***@ü***"),
        ("phone_number", "+12065558920", "+*******8920"),
        ("phone_number", "+123456789018920", "+***********8920"),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, tokens) = app.user(&format!("u{index}")).attribute(attribute, value).signed_in().await;
        let sent = tokens.request_code(attribute).await.ok();
        assert_eq!(sent["CodeDeliveryDetails"]["Destination"], masked);
    }
}

#[tokio::test]
async fn only_email_and_phone_number_can_be_verified() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    for name in ["name", "sub", "custom:other", "Email", "email_verified", PHONE_NUMBER] {
        let message = "Invalid attribute name. Only phone_number and email can be verified.";
        tokens.request_code(name).await.is_invalid(message);
        tokens.verify(name, "123456").await.is_invalid(message);
    }
}

#[tokio::test]
async fn an_address_must_be_there() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let answer = tokens.request_code("email").await;
    answer.is_invalid("User does not have a valid registered email address");
    let answer = tokens.request_code("phone_number").await;
    answer.is_invalid("User does not have a valid registered phone number");
    refused(&tokens.verify("email", "123456").await, CODE_EXPIRED);
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_is_verified_can_be_verified_again() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    let code = code(&app, &tokens, "email").await;
    tokens.verify("email", &code).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
}

#[tokio::test]
async fn the_pool_s_auto_verification_makes_no_difference() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().app_client().await;
    let (user, tokens) = user(&app).await;
    for attribute in ["email", "phone_number"] {
        let code = code(&app, &tokens, attribute).await;
        tokens.verify(attribute, &code).await.ok_empty();
        assert_eq!(user.attribute(&format!("{attribute}_verified")).await.as_deref(), Some("true"));
    }
}

#[tokio::test]
async fn a_code_is_used_once() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    refused(&tokens.verify("email", "123456").await, CODE_EXPIRED);
    let code = code(&app, &tokens, "email").await;
    tokens.verify("email", &code).await.ok_empty();
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
    refused(&tokens.verify("email", another_code(&code)).await, CODE_EXPIRED);
}

#[tokio::test]
async fn a_new_code_replaces_the_old_one_for_the_same_attribute_alone() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    let by_sms = code(&app, &tokens, "phone_number").await;
    let first = code(&app, &tokens, "email").await;
    let second = code(&app, &tokens, "email").await;
    if first != second {
        refused(&tokens.verify("email", &first).await, CODE_MISMATCH);
    }
    if by_sms != second {
        refused(&tokens.verify("email", &by_sms).await, CODE_MISMATCH);
    }
    tokens.verify("email", &second).await.ok_empty();
    tokens.verify("phone_number", &by_sms).await.ok_empty();
}

#[tokio::test]
async fn a_wrong_code_is_a_mismatch_whatever_it_looks_like() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    let long = "1".repeat(2048);
    for wrong in [another_code(&code), "1", "abcdef", "１２３４５６", &format!("{code}0"), &long] {
        refused(&tokens.verify("email", wrong).await, CODE_MISMATCH);
    }
    assert_eq!(user.attribute("email_verified").await, None);
    tokens.verify("email", &code).await.ok_empty();
}

#[tokio::test]
async fn a_malformed_code_breaks_the_model_s_constraints() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    tokens.verify("email", "").await.is_invalid(
        "2 validation errors detected: \
         Value '' at 'code' failed to satisfy constraint: Member must have length greater than or equal to 1; \
         Value '' at 'code' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\S]+",
    );
    tokens.verify("email", "12 34").await.is_invalid(
        "1 validation error detected: \
         Value '12 34' at 'code' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\S]+",
    );
    let long = "1".repeat(2049);
    tokens.verify("email", &long).await.is_invalid(&format!(
        "1 validation error detected: Value '{long}' at 'code' failed to satisfy constraint: \
         Member must have length less than or equal to 2048"
    ));
}

#[tokio::test]
async fn a_code_survives_fifteen_wrong_attempts() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    for _ in 0..14 {
        refused(&tokens.verify("email", another_code(&code)).await, CODE_MISMATCH);
    }
    tokens.verify("email", &code).await.ok_empty();

    let code = self::code(&app, &tokens, "email").await;
    for _ in 0..15 {
        refused(&tokens.verify("email", another_code(&code)).await, CODE_MISMATCH);
    }
    refused(&tokens.verify("email", &code).await, ATTEMPT_LIMIT);
    refused(&tokens.verify("email", &code).await, ATTEMPT_LIMIT);
    let code = self::code(&app, &tokens, "email").await;
    tokens.verify("email", &code).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
}

#[tokio::test]
async fn guesses_at_once_are_counted_each() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    let wrong = another_code(&code);
    let answers = join_all((0..100).map(|_| tokens.verify("email", wrong))).await;
    let mismatches = answers.iter().filter(|answer| answer.code() == Some(CODE_MISMATCH.0)).count();
    let limited = answers.iter().filter(|answer| answer.code() == Some(ATTEMPT_LIMIT.0)).count();
    assert_eq!((mismatches, limited), (15, 85));
    refused(&tokens.verify("email", &code).await, ATTEMPT_LIMIT);
}

#[tokio::test]
async fn of_many_redemptions_at_once_one_succeeds() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    let answers = join_all((0..200).map(|_| tokens.verify("email", &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, CODE_EXPIRED);
    }
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
}

#[tokio::test]
async fn a_code_is_good_for_a_day() {
    let lido = Lido::start().await;
    let app = app(&lido).await;
    let (user, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    lido.clock().advance(DAY - 60).await;
    let tokens = user.tokens().await;
    refused(&tokens.verify("email", another_code(&code)).await, CODE_MISMATCH);
    tokens.verify("email", &code).await.ok_empty();

    let code = self::code(&app, &tokens, "email").await;
    lido.clock().advance(DAY).await;
    let tokens = user.tokens().await;
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
    refused(&tokens.verify("email", another_code(&code)).await, CODE_EXPIRED);
}

#[tokio::test]
async fn a_code_is_for_the_address_it_was_sent_to() {
    let app = app(&Lido::shared().await).await;
    let (user, tokens) = user(&app).await;
    let code = code(&app, &tokens, "email").await;
    tokens.update(json!({ "email": "new@example.com" })).await.ok();
    refused(&tokens.verify("email", &code).await, CODE_EXPIRED);
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("false"));
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for("new@example.com").await;
    tokens.verify("email", &code).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
}

#[tokio::test]
async fn a_value_that_waits_becomes_the_value_when_it_is_verified() {
    let lido = Lido::shared().await;
    let pool = lido.pool().verify_email().verify_phone_number().verify_before_update();
    let app = pool.app_client().await;
    let (user, tokens) =
        app.user("ana").verified_email(EMAIL).verified_phone_number(PHONE_NUMBER).signed_in().await;
    let updated =
        tokens.update(json!({ "email": "new@example.com", "phone_number": "+442071838750" })).await.ok();
    assert_eq!(
        updated,
        json!({ "CodeDeliveryDetailsList": [
            { "Destination": "n***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" },
            { "Destination": "+********8750", "DeliveryMedium": "SMS", "AttributeName": "phone_number" },
        ] })
    );
    let message = app.inbox().newest_for("new@example.com").await;
    assert_eq!(message["source"], "CustomMessage_UpdateUserAttribute");
    let first = message["code"].as_str().unwrap().to_owned();
    let before = user.attributes().await;
    assert_eq!((before["email"].as_str(), before["email_verified"].as_str()), (EMAIL, "true"));
    assert_eq!(
        (before["phone_number"].as_str(), before["phone_number_verified"].as_str()),
        (PHONE_NUMBER, "true")
    );

    // A fresh code goes to the value that waits, too.
    let sent = tokens.request_code("email").await.ok();
    assert_eq!(sent["CodeDeliveryDetails"]["Destination"], "n***@e***");
    let message = app.inbox().newest_for("new@example.com").await;
    assert_eq!(message["source"], "CustomMessage_VerifyUserAttribute");
    let second = message["code"].as_str().unwrap();
    if first != second {
        refused(&tokens.verify("email", &first).await, CODE_MISMATCH);
    }
    tokens.verify("email", second).await.ok_empty();
    let after = user.attributes().await;
    assert_eq!((after["email"].as_str(), after["email_verified"].as_str()), ("new@example.com", "true"));
    assert_eq!(after["phone_number"], PHONE_NUMBER);
    let by_sms = app.inbox().code_for("+442071838750").await;
    tokens.verify("phone_number", &by_sms).await.ok_empty();
    assert_eq!(user.attribute("phone_number").await.as_deref(), Some("+442071838750"));
}

#[tokio::test]
async fn a_second_update_replaces_the_value_that_waits() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().verify_before_update().app_client().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    tokens.update(json!({ "email": "one@example.com" })).await.ok();
    let one = app.inbox().code_for("one@example.com").await;
    tokens.update(json!({ "email": "two@example.com" })).await.ok();
    let two = app.inbox().code_for("two@example.com").await;
    if one != two {
        refused(&tokens.verify("email", &one).await, CODE_MISMATCH);
    }
    tokens.verify("email", &two).await.ok_empty();
    assert_eq!(user.attribute("email").await.as_deref(), Some("two@example.com"));

    // Going back to what stands gives the waiting value up.
    tokens.update(json!({ "email": "three@example.com" })).await.ok();
    let three = app.inbox().code_for("three@example.com").await;
    assert_eq!(
        tokens.update(json!({ "email": "two@example.com" })).await.ok(),
        json!({ "CodeDeliveryDetailsList": [] })
    );
    refused(&tokens.verify("email", &three).await, CODE_EXPIRED);
    let attributes = user.attributes().await;
    assert_eq!(
        (attributes["email"].as_str(), attributes["email_verified"].as_str()),
        ("two@example.com", "true")
    );
}

#[tokio::test]
async fn the_old_name_signs_in_until_the_new_one_is_verified() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).verify_email().verify_before_update().app_client().await;
    let (_, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    tokens.update(json!({ "email": "new@example.com" })).await.ok();
    app.tokens(EMAIL, lido_tests::PASSWORD).await;
    refused(&app.sign_in("new@example.com", lido_tests::PASSWORD).await, USER_NOT_FOUND);
    let code = app.inbox().code_for("new@example.com").await;
    tokens.verify("email", &code).await.ok_empty();
    app.tokens("new@example.com", lido_tests::PASSWORD).await;
    refused(&app.sign_in(EMAIL, lido_tests::PASSWORD).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn an_alias_of_another_user_is_not_verified() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email", "phone_number"]).app_client().await;
    let ana = app.user("ana").verified_email(EMAIL).verified_phone_number(PHONE_NUMBER).create().await;
    let (bo, tokens) = app.user("bo").email(EMAIL).phone_number(PHONE_NUMBER).signed_in().await;
    for (attribute, message) in [
        ("email", "An account with the given email already exists."),
        ("phone_number", "An account with the given phone_number already exists."),
    ] {
        let code = code(&app, &tokens, attribute).await;
        tokens.verify(attribute, &code).await.fails("AliasExistsException", message);
        assert_eq!(bo.attribute(&format!("{attribute}_verified")).await, None);
        assert_eq!(ana.attribute(&format!("{attribute}_verified")).await.as_deref(), Some("true"));
    }
    assert_eq!(app.pool.user(EMAIL).await["Username"], "ana");
}

#[tokio::test]
async fn an_alias_is_in_force_as_soon_as_it_is_verified() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    refused(&app.sign_in(EMAIL, lido_tests::PASSWORD).await, USER_NOT_FOUND);
    let code = code(&app, &tokens, "email").await;
    tokens.verify("email", &code).await.ok_empty();
    app.tokens(EMAIL, lido_tests::PASSWORD).await;
}

/// Both operations refuse a token in the same words.
async fn refuses(lido: &Lido, token: &str, expected: Refusal) {
    let code = json!({ "AccessToken": token, "AttributeName": "email" });
    refused(&lido.call("GetUserAttributeVerificationCode", code).await, expected);
    let verify = json!({ "AccessToken": token, "AttributeName": "email", "Code": "123456" });
    refused(&lido.call("VerifyUserAttribute", verify).await, expected);
}

#[tokio::test]
async fn the_access_token_must_be_good() {
    let lido = Lido::start().await;
    let app = app(&lido).await;
    let (user, tokens) = user(&app).await;
    refuses(&lido, "not-a-token", INVALID_ACCESS_TOKEN).await;
    refuses(&lido, &tokens.id, INVALID_ACCESS_TOKEN).await;
    refuses(&lido, &tokens.refresh, INVALID_ACCESS_TOKEN).await;
    let signature = tokens.access.rfind('.').unwrap() + 1;
    refuses(&lido, &altered(&tokens.access, signature), ACCESS_TOKEN_SIGNATURE).await;

    app.revoke(&tokens.refresh).await.ok_empty();
    refuses(&lido, &tokens.access, ACCESS_TOKEN_REVOKED).await;
    let tokens = user.tokens().await;
    tokens.call("GlobalSignOut", json!({})).await.ok_empty();
    refuses(&lido, &tokens.access, ACCESS_TOKEN_REVOKED).await;

    let tokens = user.tokens().await;
    lido.clock().advance(HOUR).await;
    refuses(&lido, &tokens.access, ACCESS_TOKEN_EXPIRED).await;

    // The client is gone, then the pool.
    let other = app.pool.app_client().await;
    let tokens = other.tokens("ana", lido_tests::PASSWORD).await;
    app.pool.call("DeleteUserPoolClient", json!({ "ClientId": other.id })).await.ok();
    refuses(&lido, &tokens.access, INVALID_ACCESS_TOKEN).await;
    let tokens = user.tokens().await;
    app.pool.call("DeleteUserPool", json!({})).await.ok();
    refuses(&lido, &tokens.access, INVALID_ACCESS_TOKEN).await;
}

#[tokio::test]
async fn the_access_token_is_required() {
    let lido = Lido::shared().await;
    let missing = "1 validation error detected: Value at 'accessToken' failed to satisfy constraint: \
                   Member must not be null";
    let body = json!({ "AttributeName": "email" });
    lido.call("GetUserAttributeVerificationCode", body).await.is_invalid(missing);
    let body = json!({ "AttributeName": "email", "Code": "123456" });
    lido.call("VerifyUserAttribute", body).await.is_invalid(missing);
    let malformed = "1 validation error detected: Value at 'accessToken' failed to satisfy constraint: \
                     Member must satisfy regular expression pattern: [A-Za-z0-9-_=.]+";
    for token in ["", "a b", "a/b"] {
        let body = json!({ "AccessToken": token, "AttributeName": "email" });
        lido.call("GetUserAttributeVerificationCode", body).await.is_invalid(malformed);
    }
}

#[tokio::test]
async fn the_user_must_be_settled() {
    let lido = Lido::shared().await;
    let app = app(&lido).await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();
    refuses(&lido, &tokens.access, RESET_REQUIRED).await;

    let (user, tokens) = app.user("bo").verified_email("bo@example.com").signed_in().await;
    user.admin("AdminDisableUser", json!({})).await.ok_empty();
    refuses(&lido, &tokens.access, ACCESS_TOKEN_REVOKED).await;
    user.admin("AdminEnableUser", json!({})).await.ok_empty();
    refuses(&lido, &tokens.access, ACCESS_TOKEN_REVOKED).await;

    let (user, tokens) = app.user("cy").verified_email("cy@example.com").signed_in().await;
    user.admin("AdminDeleteUser", json!({})).await.ok();
    refuses(&lido, &tokens.access, USER_NOT_FOUND).await;
    // Another user of the same name is another user.
    app.user("cy").create().await;
    refuses(&lido, &tokens.access, USER_NOT_FOUND).await;
}

#[tokio::test]
async fn requests_and_attempts_are_counted_where_limits_are_on() {
    let lido = Lido::setup().flag("--limits", "cognito").start().await;
    let app = app(&lido).await;
    let (user, tokens) = user(&app).await;
    for _ in 0..5 {
        tokens.request_code("email").await.ok();
    }
    refused(&tokens.request_code("email").await, ATTEMPT_LIMIT);
    refused(&tokens.request_code("phone_number").await, ATTEMPT_LIMIT);
    assert_eq!(app.inbox().messages(&[]).await.len(), 5);
    let code = app.inbox().code_for(EMAIL).await;
    for _ in 0..14 {
        refused(&tokens.verify("email", another_code(&code)).await, CODE_MISMATCH);
    }
    tokens.verify("email", &code).await.ok_empty();
    refused(&tokens.verify("email", &code).await, ATTEMPT_LIMIT);

    lido.clock().advance(HOUR).await;
    let tokens = user.tokens().await;
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for(EMAIL).await;
    tokens.verify("email", &code).await.ok_empty();
}

#[tokio::test]
async fn nothing_is_counted_where_limits_are_off() {
    let app = app(&Lido::shared().await).await;
    let (_, tokens) = user(&app).await;
    for _ in 0..8 {
        tokens.request_code("email").await.ok();
    }
}
