use lido_wire::ErrorCode;
use serde_json::{Value, json};

use super::*;
use crate::fault::Error;

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
const ROLE: &str = "arn:aws:iam::123456789012:role/sms";

fn create(mut request: Value) -> Result<Value> {
    request["PoolName"] = json!("p");
    let settings = created(serde_json::from_value(request).unwrap(), "eu-west-1")?;
    Ok(serde_json::to_value(settings).unwrap())
}

fn update(current: Value, mut request: Value) -> Result<Value> {
    request["UserPoolId"] = json!("eu-west-1_a");
    let current = serde_json::from_value(current).unwrap();
    let settings = updated(&current, serde_json::from_value(request).unwrap(), "eu-west-1")?;
    Ok(serde_json::to_value(settings).unwrap())
}

#[track_caller]
fn refused_with(code: ErrorCode, answer: Result<Value>) {
    match answer {
        Err(Error::Fault(fault)) => assert!(fault.is(code), "{fault:?}"),
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn invalid(answer: Result<Value>) {
    refused_with(ErrorCode::InvalidParameter, answer);
}

#[test]
fn a_pool_has_the_service_s_defaults() {
    let mut settings = create(json!({})).unwrap();
    assert_eq!(settings["SchemaAttributes"].as_array().unwrap().len(), 20);
    settings.as_object_mut().unwrap().remove("SchemaAttributes");
    assert_eq!(
        settings,
        json!({
            "Policies": {
                "PasswordPolicy": {
                    "MinimumLength": 8, "RequireUppercase": true, "RequireLowercase": true,
                    "RequireNumbers": true, "RequireSymbols": true, "TemporaryPasswordValidityDays": 7
                },
                "SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD"]}
            },
            "DeletionProtection": "INACTIVE",
            "LambdaConfig": {},
            "VerificationMessageTemplate": {"DefaultEmailOption": "CONFIRM_WITH_CODE"},
            "MfaConfiguration": "OFF",
            "EmailConfiguration": {"EmailSendingAccount": "COGNITO_DEFAULT"},
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": false, "UnusedAccountValidityDays": 7},
            "AccountRecoverySetting": {"RecoveryMechanisms": [
                {"Priority": 1, "Name": "verified_email"}, {"Priority": 2, "Name": "verified_phone_number"}
            ]},
            "UserPoolTier": "ESSENTIALS",
            "AcrConfiguration": {
                "Level1": {"AcrValue": "urn:cognito:loa:1"}, "Level2": {"AcrValue": "urn:cognito:loa:2"},
                "Level3": {"AcrValue": "urn:cognito:loa:3"}, "Level4": {"AcrValue": "urn:cognito:loa:4"}
            }
        })
    );
}

#[test]
fn an_update_goes_back_to_the_defaults_for_what_it_leaves_out() {
    let before = create(json!({
        "Policies": {"PasswordPolicy": {"MinimumLength": 12}},
        "LambdaConfig": {"PreSignUp": FUNCTION},
        "AutoVerifiedAttributes": ["email"],
        "UsernameAttributes": ["email"],
        "UsernameConfiguration": {"CaseSensitive": false},
        "Schema": [{"Name": "tenant", "AttributeDataType": "String"}],
        "UserPoolTier": "PLUS",
    }))
    .unwrap();
    let after = update(before, json!({})).unwrap();

    let mut expected = create(json!({
        "UsernameAttributes": ["email"],
        "UsernameConfiguration": {"CaseSensitive": false},
        "Schema": [{"Name": "tenant", "AttributeDataType": "String"}],
        "UserPoolTier": "PLUS",
    }))
    .unwrap();
    assert_eq!(after, expected);
    expected["UserPoolTier"] = json!("LITE");
    assert_eq!(update(after, json!({"UserPoolTier": "LITE"})).unwrap(), expected);
}

#[test]
fn aliases_and_username_attributes_exclude_each_other() {
    invalid(create(json!({"AliasAttributes": ["email"], "UsernameAttributes": ["email"]})));
    let settings = create(json!({"AliasAttributes": [], "UsernameAttributes": ["email"]})).unwrap();
    assert_eq!(settings.get("AliasAttributes"), None);
}

#[test]
fn a_password_policy_without_its_flags_requires_nothing() {
    let settings = create(json!({"Policies": {"PasswordPolicy": {"MinimumLength": 6}}})).unwrap();
    assert_eq!(
        settings["Policies"]["PasswordPolicy"],
        json!({"MinimumLength": 6, "RequireUppercase": false, "RequireLowercase": false, "RequireNumbers": false,
               "RequireSymbols": false, "TemporaryPasswordValidityDays": 7})
    );
}

#[test]
fn temporary_passwords_and_unused_accounts_have_one_validity() {
    let both = |settings: &Value| {
        (
            settings["Policies"]["PasswordPolicy"]["TemporaryPasswordValidityDays"].as_i64(),
            settings["AdminCreateUserConfig"]["UnusedAccountValidityDays"].as_i64(),
        )
    };
    let temporary = |days: i32| json!({"PasswordPolicy": {"TemporaryPasswordValidityDays": days}});
    let unused = |days: i32| json!({"UnusedAccountValidityDays": days});
    assert_eq!(both(&create(json!({"Policies": temporary(3)})).unwrap()), (Some(3), Some(3)));
    assert_eq!(both(&create(json!({"Policies": temporary(0)})).unwrap()), (Some(7), Some(7)));
    assert_eq!(both(&create(json!({"AdminCreateUserConfig": unused(30)})).unwrap()), (Some(30), Some(30)));
    create(json!({"Policies": temporary(5), "AdminCreateUserConfig": unused(5)})).unwrap();
    invalid(create(json!({"Policies": temporary(3), "AdminCreateUserConfig": unused(5)})));
}

#[test]
fn the_first_factors_contain_the_password() {
    let factors =
        |factors: Value| json!({"Policies": {"SignInPolicy": {"AllowedFirstAuthFactors": factors}}});
    create(factors(json!(["PASSWORD", "EMAIL_OTP", "WEB_AUTHN"]))).unwrap();
    invalid(create(factors(json!(["EMAIL_OTP"]))));
    invalid(create(factors(json!(["PASSWORD", "SOFTWARE_TOKEN"]))));
}

#[test]
fn features_beyond_the_plan_are_refused() {
    for request in [
        json!({"Policies": {"PasswordPolicy": {"PasswordHistorySize": 3}}}),
        json!({"Policies": {"SignInPolicy": {"AllowedFirstAuthFactors": ["PASSWORD", "SMS_OTP"]}}}),
        json!({"LambdaConfig": {"PreTokenGenerationConfig": {"LambdaVersion": "V2_0", "LambdaArn": FUNCTION}}}),
        json!({"AcrConfiguration": {"Level1": {"AcrValue": "low"}}}),
        json!({"DcrConfiguration": {}}),
        json!({"UserPoolAddOns": {"AdvancedSecurityMode": "AUDIT"}}),
    ] {
        create(request.clone()).unwrap();
        let mut request = request;
        request["UserPoolTier"] = json!("LITE");
        refused_with(ErrorCode::FeatureUnavailableInTier, create(request));
    }
    let mut request = json!({"UserPoolAddOns": {"AdvancedSecurityMode": "ENFORCED"}});
    assert_eq!(create(request.clone()).unwrap()["UserPoolTier"], json!("PLUS"));
    request["UserPoolTier"] = json!("ESSENTIALS");
    refused_with(ErrorCode::FeatureUnavailableInTier, create(request));
    create(json!({"UserPoolTier": "LITE"})).unwrap();
}

#[test]
fn the_token_function_is_shown_in_both_places() {
    let v1 = json!({"PreTokenGeneration": FUNCTION,
                    "PreTokenGenerationConfig": {"LambdaVersion": "V1_0", "LambdaArn": FUNCTION}});
    let settings = create(json!({"LambdaConfig": {"PreTokenGeneration": FUNCTION}})).unwrap();
    assert_eq!(settings["LambdaConfig"], v1);
    let v2 = json!({"LambdaVersion": "V2_0", "LambdaArn": FUNCTION});
    let settings = create(json!({"LambdaConfig": {"PreTokenGenerationConfig": v2}})).unwrap();
    assert_eq!(settings["LambdaConfig"]["PreTokenGeneration"], json!(FUNCTION));
    let other = format!("{FUNCTION}2");
    invalid(create(json!({"LambdaConfig": {"PreTokenGeneration": other, "PreTokenGenerationConfig": v2}})));
}

#[test]
fn a_custom_sender_needs_a_key() {
    let sender = json!({"LambdaVersion": "V1_0", "LambdaArn": FUNCTION});
    invalid(create(json!({"LambdaConfig": {"CustomEmailSender": sender}})));
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    create(json!({"LambdaConfig": {"CustomEmailSender": sender, "KMSKeyID": key}})).unwrap();
}

#[test]
fn verification_texts_are_shown_under_both_names() {
    let settings = create(json!({
        "EmailVerificationMessage": "code {####}",
        "VerificationMessageTemplate": {"EmailSubject": "Hello", "SmsMessage": "it is {####}"}
    }))
    .unwrap();
    assert_eq!(settings["EmailVerificationSubject"], json!("Hello"));
    assert_eq!(settings["SmsVerificationMessage"], json!("it is {####}"));
    assert_eq!(
        settings["VerificationMessageTemplate"],
        json!({"EmailMessage": "code {####}", "EmailSubject": "Hello", "SmsMessage": "it is {####}",
               "DefaultEmailOption": "CONFIRM_WITH_CODE"})
    );
    invalid(create(json!({
        "EmailVerificationSubject": "Good day", "VerificationMessageTemplate": {"EmailSubject": "Hello"}
    })));
}

#[test]
fn an_sms_configuration_names_one_sender_in_the_pool_s_region() {
    let sms = |sms: Value| create(json!({"SmsConfiguration": sms}));
    assert_eq!(
        sms(json!({"SnsCallerArn": ROLE, "ExternalId": "x"})).unwrap()["SmsConfiguration"],
        json!({"SnsCallerArn": ROLE, "ExternalId": "x", "SnsRegion": "eu-west-1"})
    );
    assert_eq!(
        sms(json!({"EumsSms": {"CallerArn": ROLE}})).unwrap()["SmsConfiguration"]["EumsSms"]["Region"],
        json!("eu-west-1")
    );
    invalid(sms(json!({})));
    invalid(sms(json!({"SnsCallerArn": ROLE, "EumsSms": {"CallerArn": ROLE}})));
    invalid(sms(json!({"EumsSms": {"CallerArn": ROLE, "Region": "us-east-1"}})));
}

#[test]
fn what_is_verified_before_an_update_is_auto_verified() {
    let settings = json!({"AttributesRequireVerificationBeforeUpdate": ["email"]});
    invalid(create(json!({"UserAttributeUpdateSettings": settings})));
    create(json!({"UserAttributeUpdateSettings": settings, "AutoVerifiedAttributes": ["email"]})).unwrap();
}

#[test]
fn recovery_mechanisms_differ_and_admin_only_stands_alone() {
    let recovery = |first: &str, second: &str, priority: i32| {
        create(json!({"AccountRecoverySetting": {"RecoveryMechanisms": [
            {"Priority": 1, "Name": first}, {"Priority": priority, "Name": second}
        ]}}))
    };
    recovery("verified_phone_number", "verified_email", 2).unwrap();
    invalid(recovery("verified_phone_number", "verified_email", 1));
    invalid(recovery("verified_email", "verified_email", 2));
    invalid(recovery("admin_only", "verified_email", 2));
}

#[test]
fn a_sender_of_one_s_own_has_an_identity() {
    invalid(create(json!({"EmailConfiguration": {"EmailSendingAccount": "DEVELOPER"}})));
    let settings = create(json!({"EmailConfiguration": {"ReplyToEmailAddress": "a@b"}})).unwrap();
    assert_eq!(settings["EmailConfiguration"]["EmailSendingAccount"], json!("COGNITO_DEFAULT"));
}

#[test]
fn a_customer_s_key_is_named() {
    invalid(create(json!({"KeyConfiguration": {"KeyType": "CUSTOMER_MANAGED_KEY"}})));
    let settings = create(json!({"KeyConfiguration": {}})).unwrap();
    assert_eq!(settings["KeyConfiguration"], json!({"KeyType": "AWS_OWNED_KEY"}));
}

#[test]
fn assurance_levels_are_merged_and_differ() {
    let settings = create(json!({"AcrConfiguration": {"Level2": {"AcrValue": "two"}}})).unwrap();
    assert_eq!(settings["AcrConfiguration"]["Level2"]["AcrValue"], json!("two"));
    assert_eq!(settings["AcrConfiguration"]["Level3"]["AcrValue"], json!("urn:cognito:loa:3"));
    invalid(create(json!({"AcrConfiguration": {"Level2": {"AcrValue": "urn:cognito:loa:1"}}})));
}
