//! UpdateUserAttributes, DeleteUserAttributes, their Admin twins, and GetUser.

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD, Tokens, User, pairs};
use serde_json::{Value, json};

use super::*;

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

/// A pool with attributes of every kind, and a client that may read and write them.
async fn rich() -> (App, User, Tokens) {
    let schema = json!([
        { "Name": "name", "Required": true },
        { "Name": "text", "AttributeDataType": "String", "Mutable": true,
          "StringAttributeConstraints": { "MinLength": "3", "MaxLength": "5" } },
        { "Name": "age", "AttributeDataType": "Number", "Mutable": true,
          "NumberAttributeConstraints": { "MinValue": "18", "MaxValue": "99" } },
        { "Name": "member", "AttributeDataType": "Boolean", "Mutable": true },
        { "Name": "since", "AttributeDataType": "DateTime", "Mutable": true },
        { "Name": "fixed", "AttributeDataType": "String", "Mutable": false },
        { "Name": "note", "AttributeDataType": "String", "Mutable": true, "DeveloperOnlyAttribute": true },
    ]);
    let pool = Lido::shared().await.pool().with(json!({ "Schema": schema })).create().await;
    let all = [
        "name",
        "nickname",
        "email",
        "phone_number",
        "birthdate",
        "updated_at",
        "custom:text",
        "custom:age",
        "custom:member",
        "custom:since",
        "custom:fixed",
    ];
    let app = pool.client().with(json!({ "ReadAttributes": all, "WriteAttributes": all })).create().await;
    let user = app.user("ana").attribute("name", "Ana").attribute("custom:fixed", "once").create().await;
    let tokens = user.tokens().await;
    (app, user, tokens)
}

async fn delete(tokens: &Tokens, names: &[&str]) -> lido_tests::Answer {
    tokens.call("DeleteUserAttributes", json!({ "UserAttributeNames": names })).await
}

#[tokio::test]
async fn a_user_reads_and_writes_its_attributes() {
    let app = app().await;
    let (user, tokens) = app.user("ana").verified_email("ana@example.com").signed_in().await;
    let sub = user.sub().await;
    let read = tokens.get_user().await.ok();
    assert_eq!(
        read,
        json!({ "Username": "ana", "UserAttributes": [
            { "Name": "sub", "Value": sub },
            { "Name": "email", "Value": "ana@example.com" },
            { "Name": "email_verified", "Value": "true" },
        ] })
    );
    let updated = tokens.update(json!({ "name": "Ana", "nickname": "A", "locale": "sv" })).await.ok();
    assert_eq!(updated, json!({ "CodeDeliveryDetailsList": [] }));
    let stored = pairs(&tokens.get_user().await.ok()["UserAttributes"]);
    assert_eq!((stored["name"].as_str(), stored["nickname"].as_str()), ("Ana", "A"));
    // An empty value removes, and of a name that is sent twice the last value counts.
    let list = json!({ "UserAttributes": [
        { "Name": "nickname", "Value": "" }, { "Name": "name", "Value": "1" }, { "Name": "name", "Value": "2" },
    ] });
    tokens.call("UpdateUserAttributes", list).await.ok();
    let stored = user.attributes().await;
    assert_eq!((stored.get("nickname"), stored["name"].as_str()), (None, "2"));
    delete(&tokens, &["name", "locale", "gender"]).await.ok_empty();
    assert_eq!(user.attributes().await.len(), 3);
}

#[tokio::test]
async fn values_are_checked_against_the_schema() {
    let (app, user, tokens) = rich().await;
    for (name, value, message) in [
        ("email", "no address", "Invalid email address format."),
        ("email", "a@b@c", "Invalid email address format."),
        ("phone_number", "5550001234", "Invalid phone number format."),
        ("phone_number", "+1 555", "Invalid phone number format."),
        ("custom:text", "ab", "user.custom:text: String must be no shorter than 3 characters\n"),
        ("custom:text", "abcdef", "user.custom:text: String must be no longer than 5 characters\n"),
        ("birthdate", "1.1.2000", "user.birthdate: String must be no shorter than 10 characters\n"),
        ("custom:none", "x", "user.custom:none: Attribute does not exist in the schema.\n"),
        ("custom:fixed", "twice", "user.custom:fixed: Attribute cannot be updated.\n"),
        ("sub", "x", "Cannot modify the non-mutable attribute sub"),
        ("identities", "[]", "Cannot modify the non-mutable attribute identities"),
    ] {
        tokens.update(json!({ name: value })).await.is_invalid(message);
        app.pool.update("ana", json!({ name: value })).await.is_invalid(message);
    }
    for (name, value) in [
        ("custom:age", "17"),
        ("custom:age", "100"),
        ("custom:age", "old"),
        ("custom:age", "1e2"),
        ("custom:member", "yes"),
        ("custom:since", "yesterday"),
        ("updated_at", "-1"),
    ] {
        let answer = tokens.update(json!({ name: value })).await;
        let message = answer.fails_with("InvalidParameterException");
        assert!(message.starts_with(&format!("user.{name}: ")) && message.ends_with('\n'), "{message}");
    }
    let good = json!({
        "custom:text": "abc", "custom:age": "42", "custom:member": "TRUE", "custom:since": "2026-02-28T10:00:00Z",
        "birthdate": "2000-02-29", "updated_at": "1700000000",
    });
    tokens.update(good).await.ok();
    let stored = user.attributes().await;
    assert_eq!((stored["custom:member"].as_str(), stored["custom:age"].as_str()), ("true", "42"));
    let without_value = json!({ "UserAttributes": [{ "Name": "nickname" }] });
    let answer = tokens.call("UpdateUserAttributes", without_value).await;
    answer.is_invalid("Attribute value for nickname must not be null");
}

#[tokio::test]
async fn what_is_required_stays() {
    let (app, user, tokens) = rich().await;
    let required = "Attributes did not conform to the schema: name: The attribute is required\n";
    tokens.update(json!({ "name": "" })).await.is_invalid(required);
    delete(&tokens, &["name"]).await.is_invalid(required);
    app.pool.update("ana", json!({ "name": "" })).await.is_invalid(required);
    let names = json!({ "UserAttributeNames": ["name"] });
    user.admin("AdminDeleteUserAttributes", names).await.is_invalid(required);
    assert_eq!(user.attribute("name").await.as_deref(), Some("Ana"));
}

#[tokio::test]
async fn a_client_reads_and_writes_what_it_may() {
    let (app, user, _) = rich().await;
    app.pool
        .update("ana", json!({ "nickname": "A", "custom:text": "abc", "dev:custom:note": "n" }))
        .await
        .ok_empty();
    let narrow = app.pool.client().with(json!({ "ReadAttributes": ["name"], "WriteAttributes": ["name"] }));
    let narrow = narrow.create().await;
    let tokens = narrow.tokens("ana", PASSWORD).await;
    let read = pairs(&tokens.get_user().await.ok()["UserAttributes"]);
    assert_eq!(read.keys().collect::<Vec<_>>(), ["name", "sub"]);
    refused(&tokens.update(json!({ "nickname": "B" })).await, UNAUTHORIZED_WRITE);
    refused(&delete(&tokens, &["nickname"]).await, UNAUTHORIZED_WRITE);
    tokens.update(json!({ "name": "Anna" })).await.ok();
    // By default: the standard attributes, no custom ones.
    let plain = app.pool.app_client().await.tokens("ana", PASSWORD).await;
    let read = pairs(&plain.get_user().await.ok()["UserAttributes"]);
    assert_eq!(read.keys().collect::<Vec<_>>(), ["name", "nickname", "sub"]);
    refused(&plain.update(json!({ "custom:text": "abcd" })).await, UNAUTHORIZED_WRITE);
    refused(&plain.update(json!({ "dev:custom:note": "x" })).await, UNAUTHORIZED_WRITE);
    for flag in ["email_verified", "phone_number_verified"] {
        let answer = plain.update(json!({ flag: "true" })).await;
        answer.is_invalid(&format!("Cannot modify the non-mutable attribute {flag}"));
    }
    // Administrators see and write everything.
    let all = user.attributes().await;
    assert_eq!((all["dev:custom:note"].as_str(), all["custom:text"].as_str()), ("n", "abc"));
}

#[tokio::test]
async fn unknown_names_are_not_deleted() {
    let (_, user, tokens) = rich().await;
    let unknown = "Invalid user attributes: user.custom:a: Attribute does not exist in the schema.\n\
                   user.custom:b: Attribute does not exist in the schema.\n";
    delete(&tokens, &["custom:a", "nickname", "custom:b"]).await.is_invalid(unknown);
    let names = json!({ "UserAttributeNames": ["custom:a", "custom:b"] });
    user.admin("AdminDeleteUserAttributes", names).await.is_invalid(unknown);
    delete(&tokens, &["sub"]).await.is_invalid("Cannot modify the non-mutable attribute sub");
    delete(&tokens, &["custom:fixed"]).await.is_invalid("user.custom:fixed: Attribute cannot be updated.\n");
}

#[tokio::test]
async fn a_changed_address_is_unverified_and_a_code_is_sent() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().app_client().await;
    let user = app.user("ana").verified_email("ana@example.com").verified_phone_number("+15550001234");
    let (user, tokens) = user.signed_in().await;
    let details = json!({ "Destination": "n***@e***", "DeliveryMedium": "EMAIL", "AttributeName": "email" });
    let change = json!({ "email": "new@example.com", "phone_number": "+15550009999" });
    let updated = tokens.update(change).await.ok();
    assert_eq!(
        updated,
        json!({ "CodeDeliveryDetailsList": [details] }),
        "phone numbers are not auto-verified"
    );
    let stored = user.attributes().await;
    assert_eq!((stored["email"].as_str(), stored["email_verified"].as_str()), ("new@example.com", "false"));
    assert_eq!(
        (stored["phone_number"].as_str(), stored["phone_number_verified"].as_str()),
        ("+15550009999", "false")
    );
    let message = app.inbox().newest_for("new@example.com").await;
    assert_eq!(message["source"], "CustomMessage_UpdateUserAttribute");
    tokens.verify("email", message["code"].as_str().unwrap()).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
    // The same value again changes nothing.
    assert_eq!(
        tokens.update(json!({ "email": "new@example.com" })).await.ok(),
        json!({ "CodeDeliveryDetailsList": [] })
    );
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
    // Without an address there is no flag.
    delete(&tokens, &["email"]).await.ok_empty();
    assert_eq!(user.attribute("email_verified").await, None);
}

#[tokio::test]
async fn an_administrator_vouches_for_an_address() {
    let lido = Lido::shared().await;
    let app = lido.pool().verify_email().verify_before_update().app_client().await;
    let user = app.user("ana").verified_email("ana@example.com").create().await;
    let vouched = json!({ "email": "new@example.com", "email_verified": "true" });
    app.pool.update("ana", vouched).await.ok_empty();
    let stored = user.attributes().await;
    assert_eq!((stored["email"].as_str(), stored["email_verified"].as_str()), ("new@example.com", "true"));
    assert_eq!(app.inbox().messages(&[]).await, Vec::<Value>::new());
    // Without its word the new address waits, and the user proves it.
    app.pool.update("ana", json!({ "email": "third@example.com" })).await.ok_empty();
    assert_eq!(user.attribute("email").await.as_deref(), Some("new@example.com"));
    let message = app.inbox().newest_for("third@example.com").await;
    assert_eq!(
        (&message["source"], message.get("clientId")),
        (&json!("CustomMessage_UpdateUserAttribute"), None)
    );
    user.tokens().await.verify("email", message["code"].as_str().unwrap()).await.ok_empty();
    assert_eq!(user.attribute("email").await.as_deref(), Some("third@example.com"));
}

#[tokio::test]
async fn a_taken_alias_is_refused_whole() {
    let lido = Lido::shared().await;
    let app = lido.pool().aliases(&["email", "preferred_username"]).app_client().await;
    app.user("ana").verified_email("ana@example.com").attribute("preferred_username", "queen").create().await;
    let (bo, tokens) = app.user("bo").verified_email("bo@example.com").signed_in().await;
    let change = json!({ "email": "ana@example.com", "email_verified": "true", "nickname": "B" });
    app.pool
        .update("bo", change)
        .await
        .fails("AliasExistsException", "An account with the given email already exists.");
    tokens
        .update(json!({ "preferred_username": "queen", "nickname": "B" }))
        .await
        .fails("AliasExistsException", "An account with the given preferred_username already exists.");
    assert_eq!(bo.attributes().await.get("nickname"), None);
    tokens.update(json!({ "preferred_username": "king" })).await.ok();
    app.tokens("king", PASSWORD).await;
    // An address that is not verified is no alias: it may be the same.
    tokens.update(json!({ "email": "ana@example.com" })).await.ok();
    assert_eq!(app.pool.user("ana@example.com").await["Username"], "ana");
}

#[tokio::test]
async fn a_username_attribute_stays_unique_and_signs_in_anew() {
    let lido = Lido::shared().await;
    let app = lido.pool().sign_in_by(&["email"]).app_client().await;
    let (_, tokens) = app.user("ana@example.com").signed_in().await;
    app.user("bo@example.com").create().await;
    tokens
        .update(json!({ "email": "bo@example.com" }))
        .await
        .fails("AliasExistsException", "An account with the given email already exists.");
    tokens.update(json!({ "email": "new@example.com" })).await.ok();
    app.tokens("new@example.com", PASSWORD).await;
    refused(&app.sign_in("ana@example.com", PASSWORD).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn updates_at_once_do_not_lose_each_other() {
    let app = app().await;
    let (user, tokens) = app.user("ana").signed_in().await;
    let names =
        ["name", "given_name", "family_name", "middle_name", "nickname", "profile", "website", "gender"];
    let answers = join_all(names.iter().map(|name| tokens.update(json!({ *name: *name })))).await;
    let mut missing = Vec::new();
    for (name, answer) in names.iter().zip(&answers) {
        // Whoever lost too often is told to come again; nobody is told of a success that was none.
        if !answer.is_ok() {
            answer.fails("TooManyRequestsException", "Rate exceeded");
            missing.push(*name);
        }
    }
    let stored = user.attributes().await;
    for name in names.iter().filter(|name| !missing.contains(name)) {
        assert_eq!(stored[*name], *name);
    }
    assert!(missing.len() < names.len());
}

#[tokio::test]
async fn unknown_users_have_no_attributes() {
    let app = app().await;
    refused(&app.pool.update("nobody", json!({ "name": "x" })).await, USER_NOT_FOUND);
    let names = json!({ "UserAttributeNames": ["name"] });
    refused(&app.pool.admin("AdminDeleteUserAttributes", "nobody", names).await, USER_NOT_FOUND);
}
