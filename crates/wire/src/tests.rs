use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::types::*;
use crate::{Api, ErrorCode, OPERATIONS, Resource, Shape, operation, ops, shapes, validate};

#[test]
fn every_operation_is_there_in_order() {
    assert_eq!(OPERATIONS.len(), 141);
    assert!(OPERATIONS.is_sorted_by(|a, b| a.name < b.name));
    assert_eq!(OPERATIONS.iter().filter(|facts| facts.unsigned).count(), 34);
    assert_eq!(OPERATIONS.iter().filter(|facts| !facts.has_output).count(), 13);
    assert_eq!(OPERATIONS.iter().filter(|facts| facts.page.is_some()).count(), 9);
    for facts in OPERATIONS {
        assert_eq!(operation(facts.name).map(|found| found.name), Some(facts.name));
    }
    assert!(operation("signUp").is_none());
}

#[test]
fn an_operation_knows_its_facts() {
    let facts = ops::SignUp::FACTS;
    assert_eq!(facts.name, "SignUp");
    assert!(facts.unsigned && !facts.readonly);
    assert!(facts.errors.contains(&ErrorCode::UsernameExists));
    assert_eq!(facts.resource, Resource::Any);
    assert_eq!(facts.input.name, "SignUpRequest");
    assert_eq!(ops::ListUsers::FACTS.page.map(|page| page.limit), Some("Limit"));
    assert_eq!(ops::ListUsers::FACTS.resource, Resource::UserPool);
    assert_eq!(ops::TagResource::FACTS.resource, Resource::Arn);
    assert_eq!(ops::ListUserPools::FACTS.resource, Resource::Any);
}

#[test]
fn errors_have_the_codes_and_statuses_of_the_model() {
    assert_eq!(ErrorCode::ALL.len(), 59);
    assert_eq!(ErrorCode::NotAuthorized.as_str(), "NotAuthorizedException");
    assert_eq!(ErrorCode::NotAuthorized.status(), 400);
    let other: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.status() != 400).collect();
    assert_eq!(other, [&ErrorCode::InternalError, &ErrorCode::InternalServer]);
}

#[test]
fn an_input_is_read_and_keeps_its_secrets_from_debug() {
    let body = json!({
        "ClientId": "1example23456789",
        "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": {"USERNAME": "ana", "PASSWORD": "hunter2"},
        "UserContextData": null,
        "Unknown": [1],
    });
    validate(ops::InitiateAuth::FACTS.input, &body).unwrap();
    let input = ops::InitiateAuth::parse(body).unwrap();
    assert_eq!(input.auth_flow, AuthFlowType::UserPasswordAuth);
    assert_eq!(input.auth_parameters.as_ref().unwrap()["PASSWORD"], "hunter2");
    assert_eq!(input.user_context_data, None);
    let debug = format!("{input:?}");
    assert!(!debug.contains("hunter2") && !debug.contains("1example") && debug.contains("***"), "{debug}");
}

#[test]
fn an_absent_body_and_whole_numbers_are_read() {
    validate(ops::ConfirmDevice::FACTS.input, &Value::Null).unwrap_err();
    validate(ops::GetClientToken::FACTS.input, &Value::Null).unwrap_err();
    let body = json!({"MaxResults": 5.0});
    validate(ops::ListUserPools::FACTS.input, &body).unwrap();
    assert_eq!(ops::ListUserPools::parse(body).unwrap().max_results, 5);
    let facts = ops::AssociateSoftwareToken::FACTS;
    validate(facts.input, &Value::Null).unwrap();
    assert_eq!(ops::AssociateSoftwareToken::parse(Value::Null).unwrap(), Default::default());
}

#[test]
fn outputs_leave_out_what_is_absent() {
    assert_eq!(ops::AdminDeleteUser::render(&()), b"");
    assert_eq!(ops::AdminEnableUser::render(&AdminEnableUserResponse {}), b"{}");
    let output = GetUserResponse {
        username: "ana".into(),
        user_attributes: vec![AttributeType { name: "sub".to_string(), ..Default::default() }],
        ..Default::default()
    };
    let body: Value = serde_json::from_slice(&ops::GetUser::render(&output)).unwrap();
    assert_eq!(body, json!({"Username": "ana", "UserAttributes": [{"Name": "sub"}]}));
}

#[test]
fn enums_are_read_and_written_as_the_model_spells_them() {
    assert_eq!(UserPoolMfaType::ALL.len(), 3);
    assert_eq!(UserPoolMfaType::parse("OPTIONAL"), Some(UserPoolMfaType::Optional));
    assert_eq!(UserPoolMfaType::parse("optional"), None);
    assert_eq!("phone_number".parse(), Ok(VerifiedAttributeType::PhoneNumber));
    assert_eq!(CustomSMSSenderLambdaVersionType::V1_0.to_string(), "V1_0");
    assert_eq!(serde_json::to_value(IdentityProviderTypeType::Oidc).unwrap(), json!("OIDC"));
    assert!(serde_json::from_value::<UserPoolMfaType>(json!("MAYBE")).is_err());
}

#[test]
fn the_flow_that_the_model_lacks_is_patched_in() {
    let flow = ExplicitAuthFlowsType::parse("ALLOW_CLIENT_TOKEN_AUTH");
    assert_eq!(flow, Some(ExplicitAuthFlowsType::AllowClientTokenAuth));
}

#[test]
fn every_pattern_compiles() {
    assert!(shapes::PATTERNS.len() > 30);
    for pattern in shapes::PATTERNS {
        pattern.matches("");
    }
}

fn matches(shape: &Shape, text: &str) -> bool {
    let crate::Kind::String { pattern: Some(pattern), .. } = shape.kind else {
        panic!("{shape:?} has no pattern")
    };
    pattern.matches(text)
}

#[test]
fn patterns_match_the_whole_value() {
    let pool = &shapes::USER_POOL_ID_TYPE;
    assert!(matches(pool, "us-east-1_Example1"));
    assert!(!matches(pool, " us-east-1_Example1"));
    assert!(!matches(pool, "us-east-1_Example1\n"));
    assert!(!matches(pool, "us-east-1_Example1/x"));
    // Anchors and alternatives in the pattern change nothing.
    assert!(matches(&shapes::TERMS_NAME_TYPE, "terms-of-use"));
    assert!(!matches(&shapes::TERMS_NAME_TYPE, "terms-of-use-2"));
}

#[test]
fn shorthands_are_ascii_and_properties_are_unicode() {
    assert!(!matches(&shapes::USER_POOL_ID_TYPE, "über_1"));
    assert!(!matches(&shapes::CLIENT_ID_TYPE, "１２３"));
    assert!(matches(&shapes::USERNAME_TYPE, "Ünïcødé名前🙂１２"));
    assert!(!matches(&shapes::USERNAME_TYPE, "two words"));
    assert!(!matches(&shapes::USERNAME_TYPE, "no\u{a0}break"));
    // `\s` is ASCII, so that `\S` takes a no-break space.
    assert!(matches(&shapes::PASSWORD_TYPE, "a\u{a0}b"));
    assert!(!matches(&shapes::PASSWORD_TYPE, "a\u{b}b"));
}

#[test]
fn every_shape_of_an_input_is_in_the_table() {
    let names: BTreeMap<&str, &Shape> = shapes::ALL.iter().map(|shape| (shape.name, *shape)).collect();
    assert_eq!(names.len(), shapes::ALL.len());
    for facts in OPERATIONS {
        assert!(names.contains_key(facts.input.name), "{}", facts.input.name);
    }
}
