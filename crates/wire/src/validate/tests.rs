use serde_json::json;

use super::*;
use crate::shapes;

fn constraints(shape: &'static Shape, body: Value) -> String {
    match validate(shape, &body) {
        Err(invalid @ Invalid::Constraints(_)) => invalid.to_string(),
        other => panic!("{other:?}"),
    }
}

fn serialization(shape: &'static Shape, body: Value) -> String {
    match validate(shape, &body) {
        Err(Invalid::Serialization { message }) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_valid_request_passes() {
    let body = json!({
        "ClientId": "1example23456789",
        "Username": "ana@example.com",
        "Password": "Passw0rd!",
        "UserAttributes": [{"Name": "email", "Value": "ana@example.com"}, {"Name": "name"}],
        "ClientMetadata": {"a": "b"},
        "SecretHash": null,
        "NoSuchMember": {"a": 1},
    });
    assert_eq!(validate(&shapes::SIGN_UP_REQUEST, &body), Ok(()));
}

#[test]
fn a_required_member_that_is_absent_or_null_gets_only_that_item() {
    let body = json!({"ClientId": null, "Username": "ana"});
    assert_eq!(
        constraints(&shapes::SIGN_UP_REQUEST, body),
        "1 validation error detected: Value at 'clientId' failed to satisfy constraint: Member must not be null"
    );
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, json!({})),
        "1 validation error detected: Value null at 'poolName' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn an_absent_body_is_an_empty_one() {
    assert_eq!(
        constraints(&shapes::SIGN_UP_REQUEST, Value::Null),
        "2 validation errors detected: \
         Value at 'clientId' failed to satisfy constraint: Member must not be null; \
         Value at 'username' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn a_sensitive_value_is_left_out() {
    let body = json!({"ClientId": "c", "Username": "", "Password": "two words"});
    assert_eq!(
        constraints(&shapes::SIGN_UP_REQUEST, body),
        "3 validation errors detected: \
         Value at 'username' failed to satisfy constraint: Member must have length greater than or equal to 1; \
         Value at 'username' failed to satisfy constraint: Member must satisfy regular expression pattern: \
         [\\p{L}\\p{M}\\p{S}\\p{N}\\p{P}]+; \
         Value at 'password' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\S]+"
    );
}

#[test]
fn list_elements_are_counted_from_one() {
    let body = json!({
        "ClientId": "c",
        "Username": "ana",
        "UserAttributes": [{"Value": "x"}, {"Name": "email", "Value": "v".repeat(2049)}, null],
    });
    assert_eq!(
        constraints(&shapes::SIGN_UP_REQUEST, body),
        "3 validation errors detected: \
         Value null at 'userAttributes.1.member.name' failed to satisfy constraint: Member must not be null; \
         Value at 'userAttributes.2.member.value' failed to satisfy constraint: \
         Member must have length less than or equal to 2048; \
         Value null at 'userAttributes.3.member' failed to satisfy constraint: Member must not be null"
    );
}

#[test]
fn nested_members_are_reached_by_dots() {
    let body = json!({"PoolName": "p", "Schema": [{"Name": "a_name_longer_than_twenty"}]});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value 'a_name_longer_than_twenty' at 'schema.1.member.name' \
         failed to satisfy constraint: Member must have length less than or equal to 20"
    );
    let body = json!({"PoolName": "p", "Policies": {"PasswordPolicy": {"MinimumLength": 5}}});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value '5' at 'policies.passwordPolicy.minimumLength' \
         failed to satisfy constraint: Member must have value greater than or equal to 6"
    );
}

#[test]
fn a_pattern_is_told_as_in_the_model() {
    assert_eq!(
        constraints(&shapes::DESCRIBE_USER_POOL_REQUEST, json!({"UserPoolId": "nonsense"})),
        "1 validation error detected: Value 'nonsense' at 'userPoolId' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\w-]+_[0-9a-zA-Z]+"
    );
    assert_eq!(
        constraints(&shapes::DESCRIBE_USER_POOL_REQUEST, json!({"UserPoolId": ""})),
        "2 validation errors detected: Value '' at 'userPoolId' failed to satisfy constraint: \
         Member must have length greater than or equal to 1; \
         Value '' at 'userPoolId' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\w-]+_[0-9a-zA-Z]+"
    );
}

#[test]
fn an_empty_code_breaks_two_constraints() {
    let body = json!({"AccessToken": "a.b.c", "AttributeName": "email", "Code": ""});
    assert_eq!(
        constraints(&shapes::VERIFY_USER_ATTRIBUTE_REQUEST, body),
        "2 validation errors detected: Value '' at 'code' failed to satisfy constraint: \
         Member must have length greater than or equal to 1; Value '' at 'code' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\S]+"
    );
}

#[test]
fn an_enum_lists_its_values_as_the_service_does() {
    let body = json!({"PoolName": "p", "MfaConfiguration": "MAYBE"});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value 'MAYBE' at 'mfaConfiguration' failed to satisfy constraint: \
         Member must satisfy enum value set: [OPTIONAL, OFF, ON]"
    );
}

#[test]
fn a_list_of_scalars_is_told_as_a_whole() {
    let body = json!({"PoolName": "p", "AutoVerifiedAttributes": ["email", "sub"]});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value '[email, sub]' at 'autoVerifiedAttributes' failed to satisfy constraint: \
         Member must satisfy constraint: [Member must satisfy enum value set: [phone_number, email]]"
    );
    let body = json!({"UserPoolId": "a_b", "ClientName": "c", "ExplicitAuthFlows": ["A", "ALLOW_USER_AUTH"]});
    let text = constraints(&shapes::CREATE_USER_POOL_CLIENT_REQUEST, body);
    assert!(
        text.starts_with(
            "1 validation error detected: Value '[A, ALLOW_USER_AUTH]' at 'explicitAuthFlows' failed to satisfy \
             constraint: Member must satisfy constraint: [Member must satisfy enum value set: ["
        ),
        "{text}"
    );
    for flow in crate::types::ExplicitAuthFlowsType::ALL {
        assert!(text.contains(flow.as_str()), "{text}");
    }
}

#[test]
fn a_null_among_scalars_is_refused() {
    let body = json!({"PoolName": "p", "AliasAttributes": [null]});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value '[null]' at 'aliasAttributes' failed to satisfy constraint: \
         Member must satisfy constraint: [Member must satisfy enum value set: \
         [phone_number, preferred_username, email], Member must not be null]"
    );
}

#[test]
fn list_and_map_lengths_read_as_string_lengths() {
    let body = json!({"UserPoolId": "a_b", "CustomAttributes": []});
    assert_eq!(
        constraints(&shapes::ADD_CUSTOM_ATTRIBUTES_REQUEST, body),
        "1 validation error detected: Value '[]' at 'customAttributes' failed to satisfy constraint: \
         Member must have length greater than or equal to 1"
    );
    let body = json!({"UserPoolId": "a_b", "CustomAttributes": vec![json!({"Name": "n"}); 26]});
    let text = constraints(&shapes::ADD_CUSTOM_ATTRIBUTES_REQUEST, body);
    assert!(text.contains("Value '[{Name=n}, {Name=n}, "), "{text}");
    assert!(text.ends_with("Member must have length less than or equal to 25"), "{text}");
}

#[test]
fn a_map_names_keys_or_values() {
    let long = "v".repeat(257);
    let body = json!({"PoolName": "p", "UserPoolTags": {"k": long}});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        format!(
            "1 validation error detected: Value '{{k={long}}}' at 'userPoolTags' failed to satisfy constraint: \
             Map value must satisfy constraint: [Member must have length less than or equal to 256, \
             Member must have length greater than or equal to 0]"
        )
    );
    let body = json!({"PoolName": "p", "UserPoolTags": {"": "v"}});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value '{=v}' at 'userPoolTags' failed to satisfy constraint: \
         Map keys must satisfy constraint: [Member must have length less than or equal to 128, \
         Member must have length greater than or equal to 1]"
    );
}

#[test]
fn a_map_of_structures_is_reached_by_its_keys() {
    let body = json!({"PoolName": "p", "AcrConfiguration": {"Level1": {}}});
    assert_eq!(
        constraints(&shapes::CREATE_USER_POOL_REQUEST, body),
        "1 validation error detected: Value null at 'acrConfiguration.Level1.acrValue' failed to satisfy \
         constraint: Member must not be null"
    );
}

#[test]
fn a_sensitive_map_is_not_repeated() {
    let body =
        json!({"ClientId": "c", "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": {"PASSWORD": null}});
    assert_eq!(
        constraints(&shapes::INITIATE_AUTH_REQUEST, body),
        "1 validation error detected: Value at 'authParameters' failed to satisfy constraint: \
         Map value must satisfy constraint: [Member must have length less than or equal to 131072, \
         Member must have length greater than or equal to 0, Member must not be null]"
    );
}

#[test]
fn no_message_repeats_a_sensitive_value() {
    // A string that breaks as many constraints as can be, everywhere.
    fn fill(shape: &'static Shape, secret: bool) -> Value {
        let secret = secret || shape.sensitive;
        match &shape.kind {
            Kind::String { .. } => json!(if secret { " SECRET ".repeat(2000) } else { String::new() }),
            Kind::List { of, .. } => Value::from(vec![fill(of, secret); 60]),
            Kind::Map { value, .. } => json!({ "": fill(value, secret) }),
            Kind::Structure(members) => {
                let members =
                    members.iter().map(|member| (member.name.to_string(), fill(member.shape, secret)));
                Value::Object(members.collect())
            }
            _ => Value::Null,
        }
    }
    for facts in crate::OPERATIONS {
        if let Err(invalid) = validate(facts.input, &fill(facts.input, false)) {
            assert!(!invalid.to_string().contains("SECRET"), "{}", facts.name);
        }
    }
}

#[test]
fn numbers_have_bounds() {
    assert_eq!(
        constraints(&shapes::LIST_USERS_REQUEST, json!({"UserPoolId": "a_b", "Limit": 61})),
        "1 validation error detected: Value '61' at 'limit' failed to satisfy constraint: \
         Member must have value less than or equal to 60"
    );
    assert_eq!(validate(&shapes::LIST_USERS_REQUEST, &json!({"UserPoolId": "a_b", "Limit": 0})), Ok(()));
    assert_eq!(
        constraints(&shapes::LIST_USER_POOLS_REQUEST, json!({"MaxResults": 0})),
        "1 validation error detected: Value '0' at 'maxResults' failed to satisfy constraint: \
         Member must have value greater than or equal to 1"
    );
}

#[test]
fn lengths_count_utf_16_code_units() {
    let name = |length| json!({"PoolName": "p", "Schema": [{"Name": "🙂".repeat(length)}]});
    assert_eq!(validate(&shapes::CREATE_USER_POOL_REQUEST, &name(10)), Ok(()));
    let text = constraints(&shapes::CREATE_USER_POOL_REQUEST, name(11));
    assert!(text.ends_with("Member must have length less than or equal to 20"), "{text}");
}

#[test]
fn a_blob_is_measured_in_bytes() {
    let asset = |bytes: String| {
        let asset = json!({"Category": "FORM_LOGO", "ColorMode": "DARK", "Extension": "PNG", "Bytes": bytes});
        json!({"UserPoolId": "a_b", "ClientId": "c", "Assets": [asset]})
    };
    let shape = &shapes::CREATE_MANAGED_LOGIN_BRANDING_REQUEST;
    assert_eq!(validate(shape, &asset("AAAA".repeat(333_333))), Ok(()));
    assert_eq!(
        constraints(shape, asset("AAAA".repeat(333_334))),
        "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1000002 cap=1000002]' \
         at 'assets.1.member.bytes' failed to satisfy constraint: Member must have length less than or equal to 1000000"
    );
    assert_eq!(
        serialization(shape, asset("?".to_string())),
        "class java.lang.String can not be converted to a Blob"
    );
}

#[test]
fn a_value_of_another_kind_fails_before_any_constraint() {
    let sign_up = &shapes::SIGN_UP_REQUEST;
    let pool = &shapes::CREATE_USER_POOL_REQUEST;
    for (shape, body, text) in [
        (sign_up, json!([]), "Expected map or null"),
        (sign_up, json!("x"), "Expected map or null"),
        (
            sign_up,
            json!({"Username": 1}),
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
        ),
        (
            sign_up,
            json!({"UserAttributes": [{"Name": "email_verified", "Value": true}]}),
            "class java.lang.Boolean can not be converted to an String",
        ),
        (sign_up, json!({"Username": []}), "Start of list found where not expected"),
        (sign_up, json!({"Username": {}}), "Start of structure or map found where not expected."),
        (sign_up, json!({"UserAttributes": {}}), "Expected list or null"),
        (sign_up, json!({"ClientMetadata": []}), "Expected map or null"),
        (sign_up, json!({"ClientMetadata": "x"}), "Expected map or null"),
        (
            pool,
            json!({"Schema": [{"Mutable": "true"}]}),
            "class java.lang.String can not be converted to an Boolean",
        ),
        (
            pool,
            json!({"Policies": {"PasswordPolicy": {"MinimumLength": "8"}}}),
            "class java.lang.String can not be converted to an Integer",
        ),
        (
            pool,
            json!({"Policies": {"PasswordPolicy": {"MinimumLength": 8.5}}}),
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an Integer",
        ),
        (
            pool,
            json!({"Policies": {"PasswordPolicy": {"MinimumLength": 4_294_967_304u64}}}),
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an Integer",
        ),
    ] {
        assert_eq!(serialization(shape, body.clone()), text, "{body}");
    }
}

#[test]
fn a_document_is_any_json() {
    let settings = json!({"a": [1, "x", null, {"b": true}]});
    let body = json!({"UserPoolId": "a_b", "ClientId": "c", "Settings": settings});
    assert_eq!(validate(&shapes::CREATE_MANAGED_LOGIN_BRANDING_REQUEST, &body), Ok(()));
}

#[test]
fn the_answer_to_a_long_list_stays_short() {
    let body = json!({"ClientId": "c", "Username": "ana", "UserAttributes": vec![json!({}); 5000]});
    let text = constraints(&shapes::SIGN_UP_REQUEST, body);
    assert!(text.starts_with("100 validation errors detected: "), "{text}");

    let body = json!({"PoolName": "p", "AliasAttributes": vec!["é".repeat(100); 5000]});
    let text = constraints(&shapes::CREATE_USER_POOL_REQUEST, body);
    assert!(text.chars().count() < MAX_ECHO + 300, "{}", text.len());
}

#[test]
fn looking_characters_up_says_what_the_regular_expression_says() {
    let mut classes = 0;
    for pattern in shapes::PATTERNS {
        let compiled = pattern.compile();
        classes += usize::from(compiled.class.is_some());
        let ascii = || (0..128_u8).map(char::from);
        let pairs = ascii().flat_map(|first| ascii().map(move |second| String::from_iter([first, second])));
        let others = ascii().map(String::from).chain(["".into(), "ä".into(), "aä".into()]);
        for text in pairs.chain(others) {
            assert_eq!(pattern.matches(&text), compiled.regex.is_match(&text), "{pattern:?} {text:?}");
        }
    }
    assert!(classes > 15, "{classes}");
}
