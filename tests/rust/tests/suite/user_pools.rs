//! CreateUserPool, DescribeUserPool, UpdateUserPool, DeleteUserPool, ListUserPools, AddCustomAttributes.

use lido_tests::{Functions, Lido, PASSWORD, Pool};
use serde_json::{Value, json};

use super::*;

async fn pool() -> Pool {
    Lido::shared().await.pool().create().await
}

async fn create(members: Value) -> lido_tests::Answer {
    let body = lido_tests::merged(json!({ "PoolName": "p" }), members);
    Lido::shared().await.call("CreateUserPool", body).await
}

/// Without the members that differ from pool to pool.
fn settings(mut pool: Value) -> Value {
    let members = pool.as_object_mut().unwrap();
    for name in ["Id", "Arn", "CreationDate", "LastModifiedDate"] {
        assert!(members.remove(name).is_some(), "{name}");
    }
    pool
}

fn string(name: &str, bounds: (&str, &str)) -> Value {
    json!({
        "Name": name, "AttributeDataType": "String", "DeveloperOnlyAttribute": false,
        "Mutable": name != "sub", "Required": name == "sub",
        "StringAttributeConstraints": { "MinLength": bounds.0, "MaxLength": bounds.1 },
    })
}

fn boolean(name: &str) -> Value {
    json!({
        "Name": name, "AttributeDataType": "Boolean", "DeveloperOnlyAttribute": false,
        "Mutable": true, "Required": false,
    })
}

fn standard_schema() -> Value {
    let mut schema = vec![string("sub", ("1", "2048"))];
    for name in [
        "name",
        "given_name",
        "family_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "email",
    ] {
        schema.push(string(name, ("0", "2048")));
    }
    schema.push(boolean("email_verified"));
    schema.push(string("gender", ("0", "2048")));
    schema.push(string("birthdate", ("10", "10")));
    for name in ["zoneinfo", "locale", "phone_number"] {
        schema.push(string(name, ("0", "2048")));
    }
    schema.push(boolean("phone_number_verified"));
    schema.push(string("address", ("0", "2048")));
    schema.push(json!({
        "Name": "updated_at", "AttributeDataType": "Number", "DeveloperOnlyAttribute": false,
        "Mutable": true, "Required": false, "NumberAttributeConstraints": { "MinValue": "0" },
    }));
    json!(schema)
}

/// What the smallest pool has.
fn defaults() -> Value {
    json!({
        "Name": "pool",
        "Policies": {
            "PasswordPolicy": {
                "MinimumLength": 8, "RequireUppercase": true, "RequireLowercase": true, "RequireNumbers": true,
                "RequireSymbols": true, "TemporaryPasswordValidityDays": 7,
            },
            "SignInPolicy": { "AllowedFirstAuthFactors": ["PASSWORD"] },
        },
        "DeletionProtection": "INACTIVE",
        "LambdaConfig": {},
        "SchemaAttributes": standard_schema(),
        "VerificationMessageTemplate": { "DefaultEmailOption": "CONFIRM_WITH_CODE" },
        "MfaConfiguration": "OFF",
        "EstimatedNumberOfUsers": 0,
        "EmailConfiguration": { "EmailSendingAccount": "COGNITO_DEFAULT" },
        "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": false, "UnusedAccountValidityDays": 7 },
        "AccountRecoverySetting": { "RecoveryMechanisms": [
            { "Priority": 1, "Name": "verified_email" }, { "Priority": 2, "Name": "verified_phone_number" },
        ] },
        "UserPoolTier": "ESSENTIALS",
        "AcrConfiguration": {
            "Level1": { "AcrValue": "urn:cognito:loa:1" }, "Level2": { "AcrValue": "urn:cognito:loa:2" },
            "Level3": { "AcrValue": "urn:cognito:loa:3" }, "Level4": { "AcrValue": "urn:cognito:loa:4" },
        },
    })
}

#[tokio::test]
async fn the_smallest_pool_has_the_service_s_defaults() {
    let lido = Lido::shared().await;
    let created = lido.call("CreateUserPool", json!({ "PoolName": "pool" })).await.ok()["UserPool"].clone();
    let id = created["Id"].as_str().unwrap().to_owned();
    let (region, name) = id.split_once('_').unwrap();
    assert_eq!((region, name.len()), ("us-east-1", 9));
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    assert_eq!(created["Arn"], format!("arn:aws:cognito-idp:us-east-1:000000000000:userpool/{id}"));
    assert_eq!(created["CreationDate"], created["LastModifiedDate"]);
    assert!((created["CreationDate"].as_f64().unwrap() - lido.clock().now().await as f64).abs() < 60.0);
    assert_eq!(settings(created.clone()), defaults());
    let described = lido.call("DescribeUserPool", json!({ "UserPoolId": id })).await.ok()["UserPool"].clone();
    let with_tags = lido_tests::merged(defaults(), json!({ "UserPoolTags": {} }));
    assert_eq!(settings(described.clone()), with_tags);
    assert_eq!(described["CreationDate"], created["CreationDate"]);
}

#[tokio::test]
async fn what_is_set_is_described() {
    let lido = Lido::shared().await;
    let members = json!({
        "AutoVerifiedAttributes": ["email"],
        "UsernameAttributes": ["email", "phone_number"],
        "UsernameConfiguration": { "CaseSensitive": false },
        "UserAttributeUpdateSettings": { "AttributesRequireVerificationBeforeUpdate": ["email"] },
        "DeletionProtection": "ACTIVE",
        "UserPoolTier": "PLUS",
        "SmsAuthenticationMessage": "Code {####}",
        "EmailConfiguration": {
            "EmailSendingAccount": "DEVELOPER", "From": "A <a@example.com>", "ReplyToEmailAddress": "b@example.com",
            "SourceArn": "arn:aws:ses:us-east-1:000000000000:identity/a@example.com", "ConfigurationSet": "set",
        },
        "UserPoolAddOns": { "AdvancedSecurityMode": "AUDIT" },
        "AdminCreateUserConfig": {
            "AllowAdminCreateUserOnly": true, "UnusedAccountValidityDays": 7,
            "InviteMessageTemplate": { "EmailSubject": "Hello", "SMSMessage": "{username} {####}" },
        },
        "AccountRecoverySetting": { "RecoveryMechanisms": [{ "Priority": 1, "Name": "admin_only" }] },
        "UserPoolTags": { "team": "one" },
    });
    let pool = lido.pool().with(members.clone()).create().await;
    let described = pool.describe().await;
    for (name, value) in members.as_object().unwrap() {
        assert_eq!(described[name], *value, "{name}");
    }
}

#[tokio::test]
async fn texts_and_functions_are_mirrored_between_their_two_places() {
    let lido = Lido::shared().await;
    let old = json!({
        "EmailVerificationMessage": "Code {####}", "EmailVerificationSubject": "Code", "SmsVerificationMessage": "SMS {####}",
    });
    let pool = lido.pool().with(old.clone()).create().await;
    let described = pool.describe().await;
    let template = json!({
        "DefaultEmailOption": "CONFIRM_WITH_CODE", "EmailMessage": "Code {####}", "EmailSubject": "Code",
        "SmsMessage": "SMS {####}",
    });
    assert_eq!(described["VerificationMessageTemplate"], template);
    let pool = lido.pool().with(json!({ "VerificationMessageTemplate": template })).create().await;
    let described = pool.describe().await;
    for (name, value) in old.as_object().unwrap() {
        assert_eq!(described[name], *value, "{name}");
    }
    let differ =
        json!({ "EmailVerificationMessage": "Other {####}", "VerificationMessageTemplate": template });
    create(differ)
        .await
        .is_invalid("EmailVerificationMessage and VerificationMessageTemplate must not differ.");

    let arn = Functions::arn("tokens");
    let pool = lido.pool().with(json!({ "LambdaConfig": { "PreTokenGeneration": arn } })).create().await;
    let config = json!({ "LambdaVersion": "V1_0", "LambdaArn": arn });
    assert_eq!(pool.describe().await["LambdaConfig"]["PreTokenGenerationConfig"], config);
    let config = json!({ "LambdaVersion": "V2_0", "LambdaArn": arn });
    let pool =
        lido.pool().with(json!({ "LambdaConfig": { "PreTokenGenerationConfig": config } })).create().await;
    assert_eq!(pool.describe().await["LambdaConfig"]["PreTokenGeneration"], arn);
}

#[tokio::test]
async fn validity_days_have_two_names() {
    let lido = Lido::shared().await;
    let days = async |members: Value| {
        let described = lido.pool().with(members).create().await.describe().await;
        let policy = &described["Policies"]["PasswordPolicy"]["TemporaryPasswordValidityDays"];
        assert_eq!(*policy, described["AdminCreateUserConfig"]["UnusedAccountValidityDays"]);
        policy.as_i64().unwrap()
    };
    let policy = |days: i64| json!({ "PasswordPolicy": { "TemporaryPasswordValidityDays": days } });
    assert_eq!(days(json!({ "Policies": policy(3) })).await, 3);
    assert_eq!(days(json!({ "Policies": policy(0) })).await, 7);
    assert_eq!(days(json!({ "AdminCreateUserConfig": { "UnusedAccountValidityDays": 5 } })).await, 5);
    let both = json!({ "Policies": policy(3), "AdminCreateUserConfig": { "UnusedAccountValidityDays": 5 } });
    create(both).await.is_invalid(
        "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays",
    );
    // A policy that is given has only what it says.
    let pool =
        lido.pool().with(json!({ "Policies": { "PasswordPolicy": { "MinimumLength": 6 } } })).create().await;
    assert_eq!(
        pool.describe().await["Policies"]["PasswordPolicy"],
        json!({
            "MinimumLength": 6, "RequireUppercase": false, "RequireLowercase": false, "RequireNumbers": false,
            "RequireSymbols": false, "TemporaryPasswordValidityDays": 7,
        })
    );
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused() {
    let arn = "arn:aws:sns:us-east-1:000000000000:role/x";
    for (members, message) in [
        (
            json!({ "AliasAttributes": ["email"], "UsernameAttributes": ["email"] }),
            "Only one of the AliasAttributes or UsernameAttributes can be set in a user pool.",
        ),
        (
            json!({ "MfaConfiguration": "ON" }),
            "SMS configuration and Auto verification for phone_number are required when MFA is required/optional",
        ),
        (
            json!({ "UserAttributeUpdateSettings": { "AttributesRequireVerificationBeforeUpdate": ["email"] } }),
            "email is in AttributesRequireVerificationBeforeUpdate and must be in AutoVerifiedAttributes.",
        ),
        (
            json!({ "EmailConfiguration": { "EmailSendingAccount": "DEVELOPER" } }),
            "SourceArn is required when EmailSendingAccount is DEVELOPER.",
        ),
        (json!({ "SmsConfiguration": {} }), "SmsConfiguration needs either SnsCallerArn or EumsSms."),
        (
            json!({ "SmsConfiguration": { "SnsCallerArn": arn, "EumsSms": { "CallerArn": arn } } }),
            "SmsConfiguration takes SnsCallerArn or EumsSms, not both.",
        ),
        (
            json!({ "Policies": { "SignInPolicy": { "AllowedFirstAuthFactors": ["EMAIL_OTP"] } } }),
            "AllowedFirstAuthFactors must contain PASSWORD.",
        ),
        (
            json!({ "LambdaConfig": {
                "PreTokenGeneration": Functions::arn("a"),
                "PreTokenGenerationConfig": { "LambdaVersion": "V1_0", "LambdaArn": Functions::arn("b") },
            } }),
            "PreTokenGeneration and the LambdaArn of PreTokenGenerationConfig must be the same.",
        ),
        (
            json!({ "LambdaConfig": { "CustomEmailSender": { "LambdaVersion": "V1_0", "LambdaArn": Functions::arn("a") } } }),
            "KMSKeyID is required with CustomSMSSender or CustomEmailSender.",
        ),
        (
            json!({ "Schema": [{ "Name": "x", "AttributeDataType": "String", "Required": true }] }),
            "Required custom attributes are not supported currently.",
        ),
        (
            json!({ "Schema": [{ "Name": "email", "AttributeDataType": "Number" }] }),
            "You can not change AttributeDataType or set developerOnlyAttribute for standard schema attribute email",
        ),
        (
            json!({ "Schema": [{ "Name": "email", "StringAttributeConstraints": { "MinLength": "9", "MaxLength": "5" } }] }),
            "user.email: Max length cannot be less than min length.",
        ),
        (
            json!({ "Schema": [{ "Name": "email", "StringAttributeConstraints": { "MaxLength": "2049" } }] }),
            "user.email: String attributes cannot have a length of more than 2048",
        ),
        (
            json!({ "Schema": [{ "Name": "email", "StringAttributeConstraints": { "MinLength": "many" } }] }),
            "Invalid StringAttributeConstraints for schema attribute email",
        ),
    ] {
        create(members.clone()).await.is_invalid(message);
    }
}

#[tokio::test]
async fn a_feature_belongs_to_a_plan() {
    let history =
        json!({ "Policies": { "PasswordPolicy": { "PasswordHistorySize": 3 } }, "UserPoolTier": "LITE" });
    let message = create(history).await.fails_with("FeatureUnavailableInTierException");
    assert!(message.contains("PasswordHistorySize") && message.contains("LITE"), "{message}");
    let threat =
        json!({ "UserPoolAddOns": { "AdvancedSecurityMode": "ENFORCED" }, "UserPoolTier": "ESSENTIALS" });
    create(threat).await.fails_with("FeatureUnavailableInTierException");
    let plus = create(json!({ "UserPoolAddOns": { "AdvancedSecurityMode": "ENFORCED" } })).await.ok();
    assert_eq!(plus["UserPool"]["UserPoolTier"], "PLUS");

    let pool = pool().await;
    pool.client().with(json!({ "ExplicitAuthFlows": ["ALLOW_USER_AUTH"] })).create().await;
    pool.call("UpdateUserPool", json!({ "UserPoolTier": "LITE" }))
        .await
        .fails_with("TierChangeNotAllowedException");
    pool.call("UpdateUserPool", json!({ "UserPoolTier": "PLUS" })).await.ok_empty();
    // A plan that is not named stays.
    pool.call("UpdateUserPool", json!({})).await.ok_empty();
    assert_eq!(pool.describe().await["UserPoolTier"], "PLUS");
}

#[tokio::test]
async fn an_update_replaces_what_it_leaves_out() {
    let lido = Lido::shared().await;
    let schema = json!([{ "Name": "level", "AttributeDataType": "String", "Mutable": true }]);
    let pool = lido
        .pool()
        .aliases(&["email"])
        .with(json!({
            "Schema": schema, "AutoVerifiedAttributes": ["email"], "DeletionProtection": "ACTIVE",
            "UsernameConfiguration": { "CaseSensitive": false }, "SmsAuthenticationMessage": "Code {####}",
            "Policies": { "PasswordPolicy": { "MinimumLength": 20 } }, "UserPoolTags": { "team": "one" },
            "LambdaConfig": { "CustomMessage": Functions::arn("f") }, "EmailVerificationSubject": "S",
            "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": true },
            "AccountRecoverySetting": { "RecoveryMechanisms": [{ "Priority": 1, "Name": "admin_only" }] },
        }))
        .create()
        .await;
    let before = pool.describe().await;
    pool.call("UpdateUserPool", json!({})).await.ok_empty();
    let after = pool.describe().await;
    let mut expected = lido_tests::merged(
        defaults(),
        json!({
            "UserPoolTags": { "team": "one" }, "AliasAttributes": ["email"],
            "UsernameConfiguration": { "CaseSensitive": false },
        }),
    );
    expected["SchemaAttributes"] = before["SchemaAttributes"].clone();
    assert_eq!(settings(after.clone()), expected);
    assert_eq!(after["CreationDate"], before["CreationDate"]);
    assert!(after["LastModifiedDate"].as_f64() >= before["LastModifiedDate"].as_f64());

    pool.call("UpdateUserPool", json!({ "PoolName": "new", "UserPoolTags": {} })).await.ok_empty();
    let renamed = pool.describe().await;
    assert_eq!((&renamed["Name"], &renamed["UserPoolTags"]), (&json!("new"), &json!({})));
    let bad = json!({ "MfaConfiguration": "ON" });
    assert_eq!(pool.call("UpdateUserPool", bad).await.status, 400);
    assert_eq!(pool.describe().await["Name"], "new");
}

#[tokio::test]
async fn an_update_holds_at_once() {
    let lido = Lido::shared().await;
    let app = lido.pool().app_client().await;
    app.sign_up("ana", PASSWORD).await.ok();
    let policy = json!({ "Policies": { "PasswordPolicy": { "MinimumLength": 30 } } });
    app.pool.call("UpdateUserPool", policy).await.ok_empty();
    let answer = app.sign_up("bo", PASSWORD).await;
    answer
        .fails("InvalidPasswordException", "Password did not conform with policy: Password not long enough");
    let closed = json!({ "AdminCreateUserConfig": { "AllowAdminCreateUserOnly": true } });
    app.pool.call("UpdateUserPool", closed).await.ok_empty();
    app.sign_up("bo", PASSWORD).await.is_not_authorized("SignUp is not permitted for this user pool");
}

#[tokio::test]
async fn a_deleted_pool_is_gone_with_all_it_had() {
    let lido = Lido::shared().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let answer = app.pool.call("DeleteUserPool", json!({})).await;
    answer.ok();
    assert_eq!(answer.text, "", "an operation without output has an empty body");
    let gone = format!("User pool {} does not exist.", app.pool.id);
    for operation in
        ["DescribeUserPool", "UpdateUserPool", "DeleteUserPool", "ListUsers", "ListUserPoolClients"]
    {
        app.pool.call(operation, json!({})).await.fails("ResourceNotFoundException", &gone);
    }
    let gone = format!("User pool client {} does not exist.", app.id);
    app.sign_in("ana", PASSWORD).await.fails("ResourceNotFoundException", &gone);
    refused(&tokens.get_user().await, INVALID_ACCESS_TOKEN);
}

#[tokio::test]
async fn a_protected_pool_is_not_deleted() {
    let lido = Lido::shared().await;
    let pool = lido.pool().with(json!({ "DeletionProtection": "ACTIVE" })).create().await;
    pool.call("DeleteUserPool", json!({})).await.is_invalid(
        "The user pool cannot be deleted because deletion protection is activated. Deletion protection must be \
         inactivated first.",
    );
    pool.call("UpdateUserPool", json!({ "DeletionProtection": "INACTIVE" })).await.ok_empty();
    pool.call("DeleteUserPool", json!({})).await.ok();
}

#[tokio::test]
async fn users_of_a_pool_are_counted() {
    let app = Lido::shared().await.pool().app_client().await;
    for name in ["ana", "bo", "cy"] {
        app.sign_up(name, PASSWORD).await.ok();
    }
    assert_eq!(app.pool.describe().await["EstimatedNumberOfUsers"], 3);
}

#[tokio::test]
async fn pools_are_listed_in_pages() {
    let lido = Lido::start().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(
            lido.pool()
                .with(json!({ "LambdaConfig": { "CustomMessage": Functions::arn("f") } }))
                .create()
                .await
                .id,
        );
    }
    let mut listed = Vec::new();
    let mut body = json!({ "MaxResults": 2 });
    let mut sizes = Vec::new();
    loop {
        let page = lido.call("ListUserPools", body).await.ok();
        let pools = page["UserPools"].as_array().unwrap();
        sizes.push(pools.len());
        for pool in pools {
            let names: Vec<&String> = pool.as_object().unwrap().keys().collect();
            assert_eq!(names, ["CreationDate", "Id", "LambdaConfig", "LastModifiedDate", "Name"]);
            assert_eq!(pool["LambdaConfig"], json!({ "CustomMessage": Functions::arn("f") }));
            listed.push(pool["Id"].as_str().unwrap().to_owned());
        }
        match page.get("NextToken") {
            Some(token) => body = json!({ "MaxResults": 2, "NextToken": token }),
            None => break,
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    listed.sort_unstable();
    made.sort_unstable();
    assert_eq!(listed, made);
    let foreign = json!({ "MaxResults": 2, "NextToken": "x" });
    lido.call("ListUserPools", foreign).await.is_invalid("Invalid pagination token.");
}

#[tokio::test]
async fn custom_attributes_are_added_and_stay() {
    let pool = pool().await;
    let added = json!({ "CustomAttributes": [
        { "Name": "plain" },
        { "Name": "level", "AttributeDataType": "Number", "Mutable": false,
          "NumberAttributeConstraints": { "MinValue": "1", "MaxValue": "9" } },
        { "Name": "note", "AttributeDataType": "String", "DeveloperOnlyAttribute": true },
        { "Name": "since", "AttributeDataType": "DateTime" },
        { "Name": "member", "AttributeDataType": "Boolean" },
    ] });
    pool.call("AddCustomAttributes", added.clone()).await.ok_empty();
    let schema = pool.describe().await["SchemaAttributes"].as_array().unwrap()[20..].to_vec();
    assert_eq!(
        schema,
        [
            json!({ "Name": "custom:plain", "AttributeDataType": "String", "DeveloperOnlyAttribute": false,
                    "Mutable": true, "Required": false, "StringAttributeConstraints": {} }),
            json!({ "Name": "custom:level", "AttributeDataType": "Number", "DeveloperOnlyAttribute": false,
                    "Mutable": false, "Required": false,
                    "NumberAttributeConstraints": { "MinValue": "1", "MaxValue": "9" } }),
            json!({ "Name": "dev:custom:note", "AttributeDataType": "String", "DeveloperOnlyAttribute": true,
                    "Mutable": true, "Required": false, "StringAttributeConstraints": {} }),
            json!({ "Name": "custom:since", "AttributeDataType": "DateTime", "DeveloperOnlyAttribute": false,
                    "Mutable": true, "Required": false }),
            json!({ "Name": "custom:member", "AttributeDataType": "Boolean", "DeveloperOnlyAttribute": false,
                    "Mutable": true, "Required": false }),
        ]
    );
    let again = pool.call("AddCustomAttributes", added).await;
    again.is_invalid("custom:plain: Existing attribute already has name custom:plain.");
    let required = json!({ "CustomAttributes": [{ "Name": "x", "Required": true }] });
    let answer = pool.call("AddCustomAttributes", required).await;
    answer.is_invalid("Required custom attributes are not supported currently.");
    for _ in 0..2 {
        let many: Vec<Value> = (0..22).map(|_| json!({ "Name": format!("a{}", unique()) })).collect();
        pool.call("AddCustomAttributes", json!({ "CustomAttributes": many })).await.ok_empty();
    }
    let over = json!({ "CustomAttributes": [{ "Name": "one" }, { "Name": "two" }] });
    let answer = pool.call("AddCustomAttributes", over).await;
    answer.is_invalid("A user pool cannot have more than 50 custom attributes.");
    assert_eq!(pool.describe().await["SchemaAttributes"].as_array().unwrap().len(), 20 + 49);
}

fn unique() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}
