//! The protocol: headers, bodies, constraints, and what holds for every operation of the model.

use std::collections::BTreeSet;

use http::Method;
use lido_tests::{Lido, PASSWORD};
use lido_wire::{Kind, OPERATIONS, Shape};
use serde_json::{Map, Value, json};

const NULL_MAX_RESULTS: &str = "1 validation error detected: Value null at 'maxResults' failed to satisfy constraint: Member must not be null";

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let lido = Lido::shared().await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let good = lido.call("ListUserPools", json!({ "MaxResults": 1 })).await;
        good.ok();
        ids.insert(good.header("x-amzn-requestid").unwrap().to_owned());
        let bad = lido.call("ListUserPools", json!({})).await;
        bad.is_invalid(NULL_MAX_RESULTS);
        ids.insert(bad.header("x-amzn-requestid").unwrap().to_owned());
    }
    assert_eq!(ids.len(), 40);
}

#[tokio::test]
async fn unknown_operations_are_told_without_a_message() {
    let lido = Lido::shared().await;
    let json = ("content-type", "application/x-amz-json-1.1");
    let known = "AWSCognitoIdentityProviderService.ListUserPools";
    for headers in [
        vec![json],
        vec![json, ("x-amz-target", "")],
        vec![json, ("x-amz-target", "ListUserPools")],
        vec![json, ("x-amz-target", "AWSCognitoIdentityProviderService.")],
        vec![json, ("x-amz-target", "AWSCognitoIdentityProviderService.listUserPools")],
        vec![json, ("x-amz-target", "AWSCognitoIdentityProviderService.Nothing")],
        vec![json, ("x-amz-target", "DynamoDB_20120810.ListTables")],
        vec![("content-type", "text/plain"), ("x-amz-target", known)],
        vec![("content-type", "application/x-www-form-urlencoded"), ("x-amz-target", known)],
        vec![("content-type", "application/x-amz-json-1.0"), ("x-amz-target", known)],
    ] {
        let answer = lido.post("unknown", &headers, "{}").await;
        assert_eq!(
            (answer.status, &*answer.text),
            (400, r#"{"__type":"UnknownOperationException"}"#),
            "{headers:?}"
        );
        assert_eq!(answer.header("x-amzn-errortype"), Some("UnknownOperationException:"));
        assert_eq!(answer.header("x-amzn-errormessage"), None);
        assert!(answer.header("x-amzn-requestid").is_some());
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    for content_type in
        ["application/x-amz-json-1.1", "application/x-amz-json-1.1; charset=utf-8", "application/json"]
    {
        let headers = [("content-type", content_type), ("x-amz-target", known)];
        lido.post("ListUserPools", &headers, r#"{"MaxResults":1}"#).await.ok();
    }
}

#[tokio::test]
async fn a_body_is_a_json_map() {
    let lido = Lido::shared().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: [&[u8]; 12] = [
        b"[]",
        b"1",
        b"\"text\"",
        b"true",
        b"{",
        b"{}{}",
        b"{'a':1}",
        b"{\"a\":}",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\\ud800\"}",
        b"\xef\xbb\xbf{}",
        deep.as_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        for operation in ["ListUserPools", "InitiateAuth"] {
            let answer = lido.send(operation, body).await;
            assert_eq!(answer.code(), Some("SerializationException"), "{shown}");
            answer.fails("SerializationException", "Expected map or null");
        }
    }
    // An empty body and null are an empty map.
    for body in ["", "null", "{}", " { } "] {
        lido.send("ListUserPools", body).await.is_invalid(NULL_MAX_RESULTS);
    }
}

#[tokio::test]
async fn values_are_of_the_model_s_types() {
    let lido = Lido::shared().await;
    let number =
        "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String";
    let boolean = "class java.lang.Boolean can not be converted to an String";
    for (operation, body, message) in [
        ("SignUp", json!({ "Username": 1 }), number),
        ("SignUp", json!({ "Username": true }), boolean),
        ("SignUp", json!({ "UserAttributes": [{ "Name": "email_verified", "Value": true }] }), boolean),
        ("SignUp", json!({ "UserAttributes": "x" }), "Expected list or null"),
        ("SignUp", json!({ "UserAttributes": ["x"] }), "Expected map or null"),
        ("SignUp", json!({ "UserAttributes": { "Name": "x" } }), "Expected list or null"),
        ("SignUp", json!({ "Username": ["x"] }), "Start of list found where not expected"),
        ("SignUp", json!({ "Username": {} }), "Start of structure or map found where not expected."),
        ("InitiateAuth", json!({ "AuthParameters": [] }), "Expected map or null"),
        ("InitiateAuth", json!({ "AuthParameters": { "USERNAME": 1 } }), number),
        (
            "ListUserPools",
            json!({ "MaxResults": "1" }),
            "class java.lang.String can not be converted to an Integer",
        ),
        (
            "AdminSetUserPassword",
            json!({ "Permanent": "true" }),
            "class java.lang.String can not be converted to an Boolean",
        ),
    ] {
        lido.call(operation, body.clone()).await.fails("SerializationException", message);
    }
    // Null is absent, and a whole number may have a fraction of nought.
    lido.call("ListUserPools", json!({ "MaxResults": 1.0, "NextToken": null })).await.ok();
}

#[tokio::test]
async fn constraints_are_told_in_the_service_s_words() {
    let lido = Lido::shared().await;
    let pool = json!({
        "PoolName": "p",
        "Policies": { "PasswordPolicy": { "MinimumLength": 5 } },
        "MfaConfiguration": "MAYBE",
        "AutoVerifiedAttributes": ["email", "sub"],
        "SmsAuthenticationMessage": "short",
        "Schema": [{ "Name": "a_name_longer_than_twenty" }],
    });
    let message = lido.call("CreateUserPool", pool).await.fails_with("InvalidParameterException");
    assert!(message.starts_with("6 validation errors detected: "), "{message}");
    for item in [
        "Value '5' at 'policies.passwordPolicy.minimumLength' failed to satisfy constraint: \
         Member must have value greater than or equal to 6",
        "Value 'MAYBE' at 'mfaConfiguration' failed to satisfy constraint: \
         Member must satisfy enum value set: [OPTIONAL, OFF, ON]",
        "Value '[email, sub]' at 'autoVerifiedAttributes' failed to satisfy constraint: \
         Member must satisfy constraint: [Member must satisfy enum value set: [phone_number, email]]",
        "Value 'short' at 'smsAuthenticationMessage' failed to satisfy constraint: \
         Member must have length greater than or equal to 6",
        "Value 'short' at 'smsAuthenticationMessage' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: .*\\{####\\}.*",
        "Value 'a_name_longer_than_twenty' at 'schema.1.member.name' failed to satisfy constraint: \
         Member must have length less than or equal to 20",
    ] {
        assert!(message.contains(item), "{item}\nis not in\n{message}");
    }
    let cases = [
        (
            "ListUserPools",
            json!({ "MaxResults": 0 }),
            "Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        (
            "ListUserPools",
            json!({ "MaxResults": 61 }),
            "Value '61' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 60",
        ),
        (
            "DescribeUserPool",
            json!({ "UserPoolId": "nonsense" }),
            "Value 'nonsense' at 'userPoolId' failed to satisfy constraint: \
          Member must satisfy regular expression pattern: [\\w-]+_[0-9a-zA-Z]+",
        ),
        (
            "AddCustomAttributes",
            json!({ "UserPoolId": "a_b", "CustomAttributes": [] }),
            "Value '[]' at 'customAttributes' failed to satisfy constraint: \
          Member must have length greater than or equal to 1",
        ),
    ];
    for (operation, body, item) in cases {
        lido.call(operation, body).await.is_invalid(&format!("1 validation error detected: {item}"));
    }
    let long = "v".repeat(257);
    let tags = json!({ "PoolName": "p", "UserPoolTags": { "k": long } });
    lido.call("CreateUserPool", tags).await.is_invalid(&format!(
        "1 validation error detected: Value '{{k={long}}}' at 'userPoolTags' failed to satisfy constraint: \
         Map value must satisfy constraint: [Member must have length less than or equal to 256, \
         Member must have length greater than or equal to 0]"
    ));
}

#[tokio::test]
async fn sensitive_values_are_not_repeated() {
    let lido = Lido::shared().await;
    let secret = "p ss w rd-that-nobody-may-see";
    for (operation, body) in [
        (
            "SignUp",
            json!({ "ClientId": secret, "Username": secret, "Password": secret, "SecretHash": secret }),
        ),
        (
            "ChangePassword",
            json!({ "AccessToken": secret, "PreviousPassword": secret, "ProposedPassword": secret }),
        ),
        ("GetUser", json!({ "AccessToken": secret })),
        ("RevokeToken", json!({ "Token": secret, "ClientId": secret, "ClientSecret": secret })),
        (
            "RespondToAuthChallenge",
            json!({ "ClientId": "x", "ChallengeName": "SMS_MFA", "Session": "short" }),
        ),
        ("AdminSetUserPassword", json!({ "UserPoolId": "a_b", "Username": "ana", "Password": secret })),
    ] {
        let message = lido.call(operation, body).await.fails_with("InvalidParameterException");
        assert!(!message.contains("nobody-may-see") && !message.contains("short'"), "{operation}: {message}");
        assert!(message.contains("Value at '"), "{operation}: {message}");
    }
    assert!(!lido.log().contains("nobody-may-see"));
}

#[tokio::test]
async fn unknown_members_are_ignored() {
    let lido = Lido::shared().await;
    let body = json!({ "MaxResults": 1, "Unknown": { "deep": [1, null, "x"] }, "maxResults": "not it" });
    lido.call("ListUserPools", body).await.ok();
    // Of a member that is sent twice the last counts.
    lido.send("ListUserPools", r#"{"MaxResults":0,"MaxResults":1}"#).await.ok();
}

#[tokio::test]
async fn a_signature_does_not_matter_where_none_is_asked_for() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let app = pool.app_client().await;
    app.user("ana").create().await;
    let body = json!({
        "ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ana", "PASSWORD": PASSWORD },
    });
    for authorization in
        ["garbage", "Bearer x", "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/execute-api/aws4_request"]
    {
        let call = async |operation: &str, body: &Value| {
            let target = format!("AWSCognitoIdentityProviderService.{operation}");
            let headers = [
                ("content-type", "application/x-amz-json-1.1"),
                ("x-amz-target", target.as_str()),
                ("authorization", authorization),
            ];
            lido.post(operation, &headers, body.to_string()).await
        };
        call("InitiateAuth", &body).await.ok();
        // Development serves everybody as the administrator.
        call("ListUserPools", &json!({ "MaxResults": 1 })).await.ok();
    }
}

#[tokio::test]
async fn a_signature_s_region_is_that_of_a_new_pool() {
    let lido = Lido::shared().await;
    let scope = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/eu-central-1/cognito-idp/aws4_request, \
                 SignedHeaders=host, Signature=00";
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "AWSCognitoIdentityProviderService.CreateUserPool"),
        ("authorization", scope),
    ];
    let pool = lido.post("CreateUserPool", &headers, r#"{"PoolName":"p"}"#).await.ok()["UserPool"].clone();
    let id = pool["Id"].as_str().unwrap();
    assert!(id.starts_with("eu-central-1_"), "{id}");
    assert_eq!(pool["Arn"], format!("arn:aws:cognito-idp:eu-central-1:000000000000:userpool/{id}"));
}

#[tokio::test]
async fn a_body_is_limited() {
    let lido = Lido::shared().await;
    let body = |length: usize| format!(r#"{{"MaxResults":1,"x":"{}"}}"#, "x".repeat(length));
    lido.send("ListUserPools", body(1024 * 1024 - 100)).await.ok();
    for length in [1024 * 1024, 4 * 1024 * 1024] {
        let answer = lido.send("ListUserPools", body(length)).await;
        answer.fails_as(413, "RequestEntityTooLargeException", "The request body is too large.");
    }
}

#[tokio::test]
async fn browsers_are_let_in() {
    let lido = Lido::shared().await;
    let preflight = lido
        .request(Method::OPTIONS, "/")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-amz-target,x-amz-user-agent")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    let header = |name: &str| preflight.headers()[name].to_str().unwrap();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("access-control-allow-methods"), "POST");
    assert_eq!(header("access-control-allow-headers"), "content-type,x-amz-target,x-amz-user-agent");
    assert_eq!(header("access-control-max-age"), "172800");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = lido.request(method.clone(), "/").send().await.unwrap();
        assert!([404, 405].contains(&answer.status().as_u16()), "{method}");
    }
}

#[tokio::test]
async fn a_message_that_no_header_carries_is_in_the_body() {
    let lido = Lido::shared().await;
    let answer = lido.call("DescribeUserPool", json!({ "UserPoolId": "größe" })).await;
    answer.is_invalid(
        "1 validation error detected: Value 'größe' at 'userPoolId' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: [\\w-]+_[0-9a-zA-Z]+",
    );
    assert_eq!(answer.header("x-amzn-errormessage"), None);
    let long = format!("x{}", "-".repeat(3000));
    let answer = lido.call("DescribeUserPool", json!({ "UserPoolId": long })).await;
    answer.fails_with("InvalidParameterException");
    assert_eq!(answer.header("x-amzn-errormessage").unwrap().len(), 1024);
}

// ---- Every operation of the model ------------------------------------------------------------

/// Whether Lido has the operation: whether it says otherwise, in the one way there is.
async fn is_built(lido: &Lido, name: &str) -> bool {
    let answer = lido.call(name, json!({})).await;
    if answer.status != 501 {
        return true;
    }
    answer.fails_as(501, "NotImplementedException", &format!("Lido does not implement {name} yet."));
    false
}

#[tokio::test]
async fn what_is_not_built_says_so_whatever_it_is_asked() {
    let lido = Lido::shared().await;
    assert_eq!(OPERATIONS.len(), 141);
    let mut built = 0;
    for facts in OPERATIONS {
        if is_built(&lido, facts.name).await {
            built += 1;
            continue;
        }
        for body in ["", "null", r#"{"UserPoolId":1}"#] {
            let message = format!("Lido does not implement {} yet.", facts.name);
            lido.send(facts.name, body).await.fails_as(501, "NotImplementedException", &message);
        }
    }
    assert!(built >= 44, "{built} operations are built");
}

/// Values of wrong kinds and extreme ones.
fn nasty() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1e300),
        json!(2_147_483_648_u64),
        json!(0.5),
        json!(""),
        json!(" "),
        json!("x"),
        json!("\u{0}"),
        json!("'\"; DROP TABLE users; --"),
        json!("\u{202e}🦀é\n"),
        json!("x".repeat(10_000)),
        json!([]),
        json!([null]),
        json!([[[]]]),
        json!({}),
        json!({ "": null }),
        json!({ "a": { "b": {} } }),
    ]
}

/// A value that satisfies a shape, or comes close to it: an optional member only at the outermost level.
fn plausible(shape: &Shape, depth: usize) -> Value {
    match &shape.kind {
        Kind::String { values, .. } if !values.is_empty() => json!(values[0]),
        Kind::String { min, pattern, .. } => {
            let least = usize::try_from(min.unwrap_or(1)).unwrap_or(1);
            let candidates = [
                "a".repeat(least.max(1)),
                "1".repeat(least.max(1)),
                "us-east-1_Abc123".to_owned(),
                "arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_Abc123".to_owned(),
                "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
                "ana@example.com".to_owned(),
                "import-1234567890".to_owned(),
                "Your code is {####}. ".to_owned(),
                "Click {##here##}.".to_owned(),
                "https://example.com".to_owned(),
                "00000000-0000-4000-8000-000000000000".to_owned(),
            ];
            let fits = |text: &&String| pattern.is_none_or(|pattern| pattern.matches(text));
            json!(candidates.iter().find(fits).unwrap_or(&candidates[0]))
        }
        Kind::Integer { min, .. } | Kind::Long { min, .. } => json!(min.unwrap_or(1)),
        Kind::Boolean => json!(true),
        Kind::Blob { .. } => json!("AAAA"),
        Kind::Timestamp => json!(1_700_000_000),
        Kind::List { of, .. } => json!([plausible(of, depth + 1)]),
        Kind::Map { key, value, .. } => {
            let key = plausible(key, depth + 1).as_str().unwrap_or("a").to_owned();
            json!({ key: plausible(value, depth + 1) })
        }
        Kind::Structure(members) => {
            let members = members.iter().filter(|member| member.required || depth < 2);
            members
                .map(|member| (member.name.to_owned(), plausible(member.shape, depth + 1)))
                .collect::<Map<_, _>>()
                .into()
        }
        Kind::Document => json!({}),
    }
}

#[tokio::test]
async fn no_body_makes_an_operation_fail_inside() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let app = pool.app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let known = json!({
        "UserPoolId": pool.id, "ClientId": app.id, "Username": "ana", "AccessToken": tokens.access,
        "ResourceArn": pool.arn,
    });
    let expected = |status: u16| status < 500 || status == 501;
    for facts in OPERATIONS {
        for body in ["", "null", "{}", "[]", "{", "\"\"", "[[[[[[[["] {
            let answer = lido.send(facts.name, body).await;
            assert!(expected(answer.status), "{} {body}: {} {}", facts.name, answer.status, answer.text);
        }
        if !is_built(&lido, facts.name).await {
            continue;
        }
        let Kind::Structure(members) = &facts.input.kind else { panic!("{} takes a structure", facts.name) };
        let required: Map<String, Value> = members
            .iter()
            .filter(|member| member.required)
            .map(|member| (member.name.to_owned(), plausible(member.shape, 1)))
            .collect();
        let with_known = |mut body: Map<String, Value>| {
            for member in *members {
                if let Some(value) = known.get(member.name) {
                    body.insert(member.name.to_owned(), value.clone());
                }
            }
            body
        };
        let mut bodies = vec![Value::Object(required.clone()), plausible(facts.input, 0)];
        // What would end the pool, the client or the user stays with made-up names.
        if !facts.name.contains("Delete")
            && !facts.name.contains("SignOut")
            && !facts.name.contains("Disable")
        {
            bodies.push(Value::Object(with_known(required.clone())));
            for member in *members {
                for value in nasty() {
                    let mut body = with_known(required.clone());
                    body.insert(member.name.to_owned(), value);
                    bodies.push(Value::Object(body));
                }
                let mut body = with_known(required.clone());
                body.entry(member.name).or_insert_with(|| plausible(member.shape, 0));
                bodies.push(Value::Object(body));
            }
        }
        for body in bodies {
            let answer = lido.call(facts.name, body.clone()).await;
            assert!(expected(answer.status), "{} {body}: {} {}", facts.name, answer.status, answer.text);
        }
    }
    lido.call("ListUserPools", json!({ "MaxResults": 1 })).await.ok();
}
