//! `lido serve`: signatures and policies are real, and nothing of development exists.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::Method;
use lido_tests::{Answer, Lido, MailServer, PASSWORD, Setup};
use lido_wire::OPERATIONS;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const POOL: &str = "us-east-1_Example01";
const CLIENT: &str = "1example23456789";

fn config() -> String {
    let principal = |name: &str, key: &str, policy: &str| {
        format!(
            "[[iam.principals]]\narn = \"arn:aws:iam::000000000000:user/{name}\"\naccess_key_id = \"{key}\"\n\
             secret_access_key = \"{SECRET}\"\npolicy = '''{policy}'''\n"
        )
    };
    let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cognito-idp:*","Resource":"*"}]}"#;
    let reader = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cognito-idp:List*","Resource":"*"}]}"#;
    principal("deploy", KEY, all) + &principal("reader", "AKIAREADER", reader)
}

fn seed() -> String {
    let user = json!({
        "Username": "ana", "Password": PASSWORD,
        "UserAttributes": { "email": "ana@example.com", "email_verified": "true" },
    });
    let client = json!({
        "ClientId": CLIENT, "ClientName": "web",
        "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    });
    json!({ "UserPools": [{ "Id": POOL, "PoolName": "app", "Clients": [client], "Users": [user] }] })
        .to_string()
}

fn setup(data: &TempDir, more: &str) -> Setup {
    Lido::setup()
        .serve()
        .data(&data.path().join("data"))
        .config(config() + more)
        .file("seed.json", seed())
        .flag("--seed", "seed.json")
        .flag("--management", "127.0.0.1:0")
}

/// Calls an operation, signed by the vendor's own implementation.
async fn signed(lido: &Lido, key: &str, secret: &str, operation: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let target = format!("AWSCognitoIdentityProviderService.{operation}");
    let host = lido.base().trim_start_matches("http://").to_owned();
    let headers =
        [("content-type", "application/x-amz-json-1.1"), ("host", &host), ("x-amz-target", &target)];
    let identity = Credentials::new(key, secret, None, None, "test").into();
    #[expect(clippy::disallowed_methods, reason = "the server's clock is the real one")]
    let now = std::time::SystemTime::now();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("cognito-idp")
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let uri = format!("{}/", lido.base());
    let signable =
        SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
            .unwrap();
    let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
    let mut all: Vec<(&str, &str)> = headers.to_vec();
    all.extend(instructions.headers());
    lido.post(operation, &all, body).await
}

fn sign_in() -> Value {
    json!({
        "ClientId": CLIENT, "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ana", "PASSWORD": PASSWORD },
    })
}

#[tokio::test]
async fn unsigned_calls_reach_what_needs_no_signature_alone() {
    let data = TempDir::new().unwrap();
    let lido = setup(&data, "").start().await;
    let missing: Refusal = ("MissingAuthenticationTokenException", "Missing Authentication Token");
    for facts in OPERATIONS {
        for body in [json!({}), json!({ "UserPoolId": POOL, "Username": "ana" })] {
            let answer = lido.call(facts.name, body).await;
            // GetClientToken is proven by the secret of an app client, whatever the model says of signatures.
            if facts.unsigned || facts.name == "GetClientToken" {
                assert_ne!(answer.code(), Some(missing.0), "{}", facts.name);
            } else {
                refused(&answer, missing);
            }
        }
    }
    let tokens = lido_tests::Tokens::of(&lido, &lido.call("InitiateAuth", sign_in()).await);
    tokens.get_user().await.ok();
    let keys = lido.get(&format!("/{POOL}/.well-known/jwks.json")).await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn signed_calls_are_served_as_the_policy_allows() {
    let data = TempDir::new().unwrap();
    let lido = setup(&data, "").start().await;
    let user = json!({ "UserPoolId": POOL, "Username": "ana" });
    let read = signed(&lido, KEY, SECRET, "AdminGetUser", &user).await.ok();
    assert_eq!(read["Username"], "ana");
    signed(&lido, KEY, SECRET, "CreateUserPool", &json!({ "PoolName": "p" })).await.ok();
    signed(&lido, "AKIAREADER", SECRET, "ListUserPools", &json!({ "MaxResults": 1 })).await.ok();
    signed(&lido, "AKIAREADER", SECRET, "AdminGetUser", &user).await.fails(
        "AccessDeniedException",
        &format!(
            "User: arn:aws:iam::000000000000:user/reader is not authorized to perform: cognito-idp:AdminGetUser on \
             resource: arn:aws:cognito-idp:us-east-1:000000000000:userpool/{POOL} because no identity-based policy \
             allows the cognito-idp:AdminGetUser action"
        ),
    );
    signed(&lido, "AKIAREADER", SECRET, "CreateUserPool", &json!({ "PoolName": "p" })).await.fails(
        "AccessDeniedException",
        "User: arn:aws:iam::000000000000:user/reader is not authorized to perform: cognito-idp:CreateUserPool on \
         resource: * because no identity-based policy allows the cognito-idp:CreateUserPool action",
    );
    signed(&lido, "AKIAUNKNOWN", SECRET, "AdminGetUser", &user)
        .await
        .fails("UnrecognizedClientException", "The security token included in the request is invalid.");
    signed(&lido, KEY, "wrong", "AdminGetUser", &user).await.fails(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    );
    // A stranger learns nothing from the constraints either.
    signed(&lido, KEY, "wrong", "AdminGetUser", &json!({})).await.fails_with("InvalidSignatureException");
    signed(&lido, "AKIAREADER", SECRET, "AdminGetUser", &json!({})).await.fails_with("AccessDeniedException");
}

#[tokio::test]
async fn nothing_of_development_exists() {
    let data = TempDir::new().unwrap();
    let lido = setup(&data, "").start().await;
    for base in [lido.base().to_owned(), lido.management().to_owned()] {
        for (method, path) in [
            (Method::GET, "/_lido/messages"),
            (Method::DELETE, "/_lido/messages"),
            (Method::GET, "/_lido/clock"),
            (Method::POST, "/_lido/clock"),
            (Method::POST, "/_lido/reset"),
        ] {
            let status = reach(&lido, &base, method.clone(), path).await;
            assert_eq!(status, 404, "{method} {base}{path}");
        }
    }
    assert_ne!(lido.base(), lido.management());
    assert_eq!(reach(&lido, lido.base(), Method::GET, "/_lido/metrics").await, 404);
    assert_eq!(reach(&lido, lido.management(), Method::GET, "/_lido/metrics").await, 200);
    assert_eq!(reach(&lido, lido.management(), Method::GET, "/_lido/health/ready").await, 200);
    assert_eq!(reach(&lido, lido.management(), Method::POST, "/").await, 404);
    // A tag fixes no id.
    let body = json!({ "PoolName": "p", "UserPoolTags": { "lido:id": "us-east-1_Fixed01" } });
    let pool = signed(&lido, KEY, SECRET, "CreateUserPool", &body).await.ok();
    assert_ne!(pool["UserPool"]["Id"], "us-east-1_Fixed01");
}

async fn reach(lido: &Lido, base: &str, method: Method, path: &str) -> u16 {
    // A path that begins with the rest of another address would be of the same server.
    let request = lido.request(method, path).build().unwrap();
    let mut request = request;
    *request.url_mut() = format!("{base}{path}").parse().unwrap();
    lido.execute(request).await.status().as_u16()
}

#[tokio::test]
async fn without_a_transport_no_code_is_sent() {
    let data = TempDir::new().unwrap();
    let lido = setup(&data, "").start().await;
    let tokens = lido_tests::Tokens::of(&lido, &lido.call("InitiateAuth", sign_in()).await);
    refused(&tokens.request_code("email").await, DELIVERY_FAILED);
}

#[tokio::test]
async fn with_one_it_is_and_requests_are_counted() {
    let server = MailServer::start().await;
    let data = TempDir::new().unwrap();
    let lido = setup(&data, &server.config()).start().await;
    let tokens = lido_tests::Tokens::of(&lido, &lido.call("InitiateAuth", sign_in()).await);
    for _ in 0..5 {
        tokens.request_code("email").await.ok();
    }
    refused(&tokens.request_code("email").await, ATTEMPT_LIMIT);
    let mails = server.wait_for(5).await;
    let text = &mails[4].data;
    let at = text.find("code is ").expect("the mail has a code") + "code is ".len();
    tokens.verify("email", &text[at..at + 6]).await.ok_empty();
}

#[tokio::test]
async fn an_unsafe_configuration_is_refused_in_a_sentence() {
    let data = TempDir::new().unwrap();
    let serve = || Lido::setup().serve().data(&data.path().join("data")).flag("--management", "127.0.0.1:0");
    for (setup, names) in [
        (serve(), "principal"),
        (serve().config("[iam]\nenforce = false\n").flag("--listen", "0.0.0.0:0"), "enforce"),
        (serve().config(config()).flag("--data", ":memory:"), "data"),
        (serve().config(config() + "[unknown]\nkey = 1\n"), "unknown"),
        (serve().config(config() + "[delivery.email]\ntransport = \"inbox\"\n"), "transport"),
        (serve().config(config()).flag("--limits", "many"), "limits"),
    ] {
        let (status, text) = setup.refused();
        assert!(!status.success(), "{names}");
        assert!(text.contains(names), "{names} is not in: {text}");
        assert_eq!(text.trim().lines().count(), 1, "{text}");
    }
}
