//! AdminCreateUser, AdminGetUser, AdminEnableUser, AdminDisableUser, AdminDeleteUser, DeleteUser.

use lido_tests::{App, Lido, PASSWORD, attributes, pairs};
use serde_json::{Value, json};

use super::*;

const EMAIL: &str = "ana@example.com";
const PHONE_NUMBER: &str = "+15550001234";

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn create(app: &App, username: &str, body: Value) -> lido_tests::Answer {
    app.pool.admin("AdminCreateUser", username, body).await
}

fn suppressed(values: Value) -> Value {
    json!({ "MessageAction": "SUPPRESS", "UserAttributes": attributes(values) })
}

#[tokio::test]
async fn an_invited_user_gets_a_temporary_password() {
    let app = app().await;
    let body = json!({
        "DesiredDeliveryMediums": ["EMAIL"],
        "UserAttributes": attributes(json!({ "email": EMAIL, "email_verified": "true" })),
    });
    let answer = create(&app, "ana", body).await.ok();
    let user = &answer["User"];
    let names: Vec<&String> = user.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["Attributes", "Enabled", "UserCreateDate", "UserLastModifiedDate", "UserStatus", "Username"]
    );
    assert_eq!((&user["Username"], &user["Enabled"]), (&json!("ana"), &json!(true)));
    assert_eq!(user["UserStatus"], "FORCE_CHANGE_PASSWORD");
    let listed = pairs(&user["Attributes"]);
    assert_eq!(listed.keys().collect::<Vec<_>>(), ["email", "email_verified", "sub"]);

    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!(message["source"], "CustomMessage_AdminCreateUser");
    assert_eq!(message["subject"], "Your temporary password");
    assert_eq!(message.get("clientId"), None);
    let password = message["code"].as_str().unwrap();
    assert!(password.len() >= 8, "{password}");
    let escaped =
        password.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    assert_eq!(message["body"], format!("Your username is ana and temporary password is {escaped}. "));
    assert_eq!(app.sign_in("ana", password).await.ok()["ChallengeName"], "NEW_PASSWORD_REQUIRED");
}

#[tokio::test]
async fn an_invitation_goes_where_it_is_wanted() {
    let app = app().await;
    let both = attributes(json!({ "email": EMAIL, "phone_number": PHONE_NUMBER }));
    create(&app, "both", json!({ "DesiredDeliveryMediums": ["EMAIL", "SMS"], "UserAttributes": both }))
        .await
        .ok();
    let messages = app.inbox().messages(&[("username", "both")]).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["code"], messages[1]["code"], "the same password in both");
    // SMS unless it is said otherwise.
    create(&app, "default", json!({ "UserAttributes": both })).await.ok();
    let messages = app.inbox().messages(&[("username", "default")]).await;
    assert_eq!(messages.iter().map(|message| &message["medium"]).collect::<Vec<_>>(), ["SMS"]);
    // A medium without an address is passed over, unless none is left.
    let email = attributes(json!({ "email": EMAIL }));
    create(&app, "one", json!({ "DesiredDeliveryMediums": ["EMAIL", "SMS"], "UserAttributes": email }))
        .await
        .ok();
    assert_eq!(app.inbox().messages(&[("username", "one")]).await.len(), 1);
    let none = create(&app, "none", json!({ "UserAttributes": email })).await;
    none.is_invalid("User does not have an attribute for any of the desired delivery mediums.");
    refused(&app.pool.admin("AdminGetUser", "none", json!({})).await, USER_NOT_FOUND);
    create(&app, "quiet", suppressed(json!({ "email": EMAIL }))).await.ok();
    assert_eq!(app.inbox().messages(&[("username", "quiet")]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_invitation_is_repeated_with_another_password() {
    let app = app().await;
    let email = attributes(json!({ "email": EMAIL }));
    let body = json!({ "DesiredDeliveryMediums": ["EMAIL"], "UserAttributes": email });
    create(&app, "ana", body).await.ok();
    let first = app.inbox().code_for(EMAIL).await;
    let resend = json!({ "MessageAction": "RESEND", "DesiredDeliveryMediums": ["EMAIL"] });
    let again = create(&app, "ana", resend.clone()).await.ok();
    assert_eq!(again["User"]["UserStatus"], "FORCE_CHANGE_PASSWORD");
    let second = app.inbox().code_for(EMAIL).await;
    assert_ne!(first, second);
    refused(&app.sign_in("ana", &first).await, WRONG_CREDENTIALS);
    assert_eq!(app.sign_in("ana", &second).await.ok()["ChallengeName"], "NEW_PASSWORD_REQUIRED");
    let given = lido_tests::merged(resend.clone(), json!({ "TemporaryPassword": PASSWORD }));
    create(&app, "ana", given).await.ok();
    assert_eq!(app.sign_in("ana", PASSWORD).await.ok()["ChallengeName"], "NEW_PASSWORD_REQUIRED");

    refused(&create(&app, "nobody", resend.clone()).await, USER_NOT_FOUND);
    app.user("bo").email("bo@example.com").create().await;
    let settled = create(&app, "bo", resend).await;
    let message = "Resend not possible. bo status is not FORCE_CHANGE_PASSWORD";
    settled.fails("UnsupportedUserStateException", message);
}

#[tokio::test]
async fn a_generated_password_satisfies_the_policy() {
    let lido = Lido::shared().await;
    let policy = json!({ "PasswordPolicy": {
        "MinimumLength": 40, "RequireUppercase": true, "RequireLowercase": true, "RequireNumbers": true,
        "RequireSymbols": true,
    } });
    let app = lido.pool().with(json!({ "Policies": policy })).app_client().await;
    let body = json!({ "UserAttributes": attributes(json!({ "phone_number": PHONE_NUMBER })) });
    create(&app, "ana", body).await.ok();
    let password = app.inbox().code_for(PHONE_NUMBER).await;
    assert!(password.len() >= 40, "{password}");
    let classes: [fn(char) -> bool; 4] = [
        |c| c.is_ascii_uppercase(),
        |c| c.is_ascii_lowercase(),
        |c| c.is_ascii_digit(),
        |c| c.is_ascii_punctuation(),
    ];
    assert!(classes.iter().all(|class| password.chars().any(class)), "{password}");
}

#[tokio::test]
async fn names_and_addresses_are_taken_once() {
    let lido = Lido::shared().await;
    let app = app().await;
    create(&app, "ana", suppressed(json!({}))).await.ok();
    let taken: Refusal = ("UsernameExistsException", "User account already exists");
    refused(&create(&app, "ana", suppressed(json!({}))).await, taken);

    let app = lido.pool().sign_in_by(&["email", "phone_number"]).app_client().await;
    let created = create(&app, EMAIL, suppressed(json!({}))).await.ok();
    assert_eq!(pairs(&created["User"]["Attributes"])["email"], EMAIL);
    assert_eq!(created["User"]["Username"], pairs(&created["User"]["Attributes"])["sub"]);
    let taken: Refusal = ("UsernameExistsException", "An account with the given email already exists.");
    refused(&create(&app, EMAIL, suppressed(json!({}))).await, taken);
    create(&app, "ana", suppressed(json!({})))
        .await
        .is_invalid("Username should be either an email or a phone number.");
}

#[tokio::test]
async fn an_alias_is_taken_by_force_alone() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    let verified = json!({ "email": EMAIL, "email_verified": "true" });
    create(&app, "ana", suppressed(verified.clone())).await.ok();
    let message = "An account with the given email already exists.";
    let answer = create(&app, "bo", suppressed(verified.clone())).await;
    assert!(
        ["UsernameExistsException", "AliasExistsException"].contains(&answer.code().unwrap()),
        "{}",
        answer.text
    );
    assert_eq!(answer.body["message"], message);
    // Not verified, it is no alias.
    create(&app, "cy", suppressed(json!({ "email": EMAIL }))).await.ok();
    assert_eq!(app.pool.user(EMAIL).await["Username"], "ana");
    let forced = lido_tests::merged(suppressed(verified), json!({ "ForceAliasCreation": true }));
    create(&app, "bo", forced).await.ok();
    assert_eq!(app.pool.user(EMAIL).await["Username"], "bo");
    assert_eq!(app.pool.attributes("ana").await["email_verified"], "false");
}

#[tokio::test]
async fn attributes_are_checked_but_may_be_missing() {
    let lido = Lido::shared().await;
    let schema = json!([{ "Name": "name", "Required": true }]);
    let app = lido.pool().with(json!({ "Schema": schema })).app_client().await;
    create(&app, "ana", suppressed(json!({}))).await.ok();
    create(&app, "bo", suppressed(json!({ "custom:x": "1" }))).await.is_invalid(
        "Attributes did not conform to the schema: Type for attribute {custom:x} could not be determined",
    );
    create(&app, "bo", suppressed(json!({ "email": "no" })))
        .await
        .is_invalid("Invalid email address format.");
    create(&app, "bo", suppressed(json!({ "sub": "x" })))
        .await
        .is_invalid("Cannot modify the non-mutable attribute sub");
}

#[tokio::test]
async fn an_invited_user_of_a_passwordless_pool_is_confirmed() {
    let lido = Lido::shared().await;
    let factors = json!({ "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD", "EMAIL_OTP"] } });
    let app = lido.pool().with(json!({ "Policies": factors })).app_client().await;
    create(&app, "ana", suppressed(json!({ "email": EMAIL }))).await.ok();
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    refused(&app.sign_in("ana", PASSWORD).await, WRONG_CREDENTIALS);
}

#[tokio::test]
async fn a_user_is_read_by_any_of_its_names() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email", "phone_number"]).app_client().await;
    let user = app.user("ana").verified_email(EMAIL).phone_number(PHONE_NUMBER).create().await;
    let sub = user.sub().await;
    for name in ["ana", EMAIL, &sub] {
        let read = app.pool.user(name).await;
        let names: Vec<&String> = read.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            ["Enabled", "UserAttributes", "UserCreateDate", "UserLastModifiedDate", "UserStatus", "Username"]
        );
        assert_eq!((&read["Username"], &read["UserStatus"]), (&json!("ana"), &json!("CONFIRMED")));
        assert_eq!(read["UserAttributes"][0], json!({ "Name": "sub", "Value": sub }));
        assert_eq!(pairs(&read["UserAttributes"]).len(), 4);
    }
    for name in [PHONE_NUMBER, "ANA", "nobody"] {
        refused(&app.pool.admin("AdminGetUser", name, json!({})).await, USER_NOT_FOUND);
    }
}

#[tokio::test]
async fn disabling_ends_sign_ins_until_enabled() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    for _ in 0..2 {
        user.admin("AdminDisableUser", json!({})).await.ok_empty();
        assert_eq!(app.pool.user("ana").await["Enabled"], false);
        refused(&user.sign_in().await, USER_DISABLED);
        refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
    }
    for _ in 0..2 {
        user.admin("AdminEnableUser", json!({})).await.ok_empty();
        assert_eq!(app.pool.user("ana").await["Enabled"], true);
    }
    user.tokens().await.get_user().await.ok();
    refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
    refused(&app.refresh(&tokens.refresh).await, REFRESH_TOKEN_REVOKED);
    for operation in ["AdminDisableUser", "AdminEnableUser", "AdminDeleteUser"] {
        refused(&app.pool.admin(operation, "nobody", json!({})).await, USER_NOT_FOUND);
    }
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_its_name_is_free() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email"]).app_client().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    let answer = user.admin("AdminDeleteUser", json!({})).await;
    answer.ok();
    assert_eq!(answer.text, "");
    refused(&user.admin("AdminDeleteUser", json!({})).await, USER_NOT_FOUND);
    refused(&user.sign_in().await, USER_NOT_FOUND);
    refused(&tokens.get_user().await, USER_NOT_FOUND);
    refused(&app.refresh(&tokens.refresh).await, INVALID_REFRESH_TOKEN);

    let (again, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    let answer = tokens.call("DeleteUser", json!({})).await;
    answer.ok();
    assert_eq!(answer.text, "");
    refused(&again.sign_in().await, USER_NOT_FOUND);
    refused(&tokens.call("DeleteUser", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn the_token_of_a_deleted_user_is_refused_by_every_operation() {
    let app = app().await;
    let (user, tokens) = app.user("ana").verified_email(EMAIL).signed_in().await;
    user.admin("AdminDeleteUser", json!({})).await.ok();
    for (operation, body) in [
        ("ChangePassword", json!({ "PreviousPassword": PASSWORD, "ProposedPassword": PASSWORD })),
        ("DeleteUser", json!({})),
        ("DeleteUserAttributes", json!({ "UserAttributeNames": ["name"] })),
        ("GetUser", json!({})),
        ("GetUserAttributeVerificationCode", json!({ "AttributeName": "email" })),
        ("UpdateUserAttributes", json!({ "UserAttributes": [] })),
        ("VerifyUserAttribute", json!({ "AttributeName": "email", "Code": "123456" })),
    ] {
        refused(&tokens.call(operation, body).await, USER_NOT_FOUND);
    }
    // The one that does not know UserNotFoundException.
    refused(&tokens.call("GlobalSignOut", json!({})).await, ACCESS_TOKEN_REVOKED);
}
