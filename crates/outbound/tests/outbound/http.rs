use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lido_domain::ports::InvokeError;
use lido_domain::{Secret, TriggerHost};
use lido_outbound::{AwsSettings, Credentials, FunctionSettings, Functions, Target};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::{ARN, RealTime, function};

const LIMIT: Duration = Duration::from_secs(20);
const ENCODED: &str =
    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A000000000000%3Afunction%3Agreet/invocations";

/// A server that gives `answer` for each request and remembers what it was asked.
struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<(Parts, Bytes)>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Parts) -> Option<Response<Full<Bytes>>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let response = answer(&head);
                        log.lock().unwrap().push((head, body));
                        match response {
                            Some(response) => Ok::<_, Infallible>(response),
                            None => std::future::pending().await,
                        }
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen }
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn take(&self) -> (Parts, Bytes) {
        self.seen.lock().unwrap().pop().unwrap()
    }
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Option<Response<Full<Bytes>>> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(Full::new(body.into())).unwrap())
}

fn by_url(server: &Server) -> Functions {
    function(Target::Url(server.url.clone()), LIMIT)
}

fn endpoint(url: &Url) -> Target {
    Target::InvokeEndpoint { endpoint: url.clone(), credentials: None, region: None }
}

fn function_error(message: &str) -> Result<Value, InvokeError> {
    Err(InvokeError::Function { message: message.to_owned() })
}

fn unreachable(code: &str) -> Result<Value, InvokeError> {
    Err(InvokeError::Unreachable { code: code.to_owned() })
}

#[tokio::test]
async fn a_url_is_posted_the_event_and_answers_the_result() {
    let server = Server::start(|_| response(200, &[], r#"{"response":{}}"#)).await;
    let answer = by_url(&server).invoke(ARN, &json!({"version": "1"})).await;
    assert_eq!(answer, Ok(json!({"response": {}})));
    let (head, body) = server.take();
    assert_eq!(
        (head.method.as_str(), head.headers["content-type"].as_bytes()),
        ("POST", &b"application/json"[..])
    );
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"version": "1"}));
}

#[tokio::test]
async fn a_url_s_other_answers_are_function_errors() {
    let error = r#"{"errorMessage":"No!","errorType":"Error"}"#;
    for (status, headers, body, expected) in [
        (200, &[("X-Amz-Function-Error", "Unhandled")][..], error, "No!"),
        (500, &[], error, "No!"),
        (400, &[], r#"{"errorType":"TypeError"}"#, "TypeError"),
        (503, &[], "<html>", "HTTP status 503"),
        (204, &[], "", "HTTP status 204"),
        (302, &[("Location", "/elsewhere")], "", "HTTP status 302"),
    ] {
        let server = Server::start(move |_| response(status, headers, body)).await;
        assert_eq!(
            by_url(&server).invoke(ARN, &json!({})).await,
            function_error(expected),
            "{status} {body}"
        );
        assert_eq!(server.count(), 1, "a function error is not tried again");
    }
}

#[tokio::test]
async fn a_url_s_body_must_be_json_of_bounded_size() {
    for (body, expected) in [
        (String::new(), Err(InvokeError::NotJson)),
        ("oops".to_owned(), Err(InvokeError::NotJson)),
        ("null".to_owned(), Ok(Value::Null)),
        (
            format!("\"{}\"", "x".repeat(6_291_556)),
            function_error("Response payload size exceeded maximum allowed payload size (6291556 bytes)."),
        ),
    ] {
        let server = Server::start(move |_| response(200, &[], body.clone())).await;
        assert_eq!(by_url(&server).invoke(ARN, &json!({})).await, expected);
    }
}

#[tokio::test]
async fn silence_is_tried_three_times() {
    let server = Server::start(|_| None).await;
    for target in [Target::Url(server.url.clone()), endpoint(&server.url)] {
        let functions = function(target, Duration::from_millis(300));
        assert_eq!(functions.invoke(ARN, &json!({})).await, Err(InvokeError::Timeout));
    }
    assert_eq!(server.count(), 6);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_then_a_service_exception() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let accepted = tokio::spawn(async move {
        let mut accepted = 0;
        while let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_secs(2), listener.accept()).await
        {
            accepted += 1;
            drop(stream);
            if accepted == 3 {
                break;
            }
        }
        accepted
    });
    let functions = function(Target::Url(url.clone()), LIMIT);
    assert_eq!(functions.invoke(ARN, &json!({})).await, unreachable("ServiceException"));
    assert_eq!(accepted.await.unwrap(), 3);
    assert_eq!(functions.invoke(ARN, &json!({})).await, unreachable("ServiceException"));
    assert_eq!(
        function(endpoint(&url), LIMIT).invoke(ARN, &json!({})).await,
        unreachable("ServiceException")
    );
}

#[tokio::test]
async fn the_invoke_api_is_called_with_the_whole_arn() {
    let server = Server::start(|_| response(200, &[], r#"{"response":{"a":1}}"#)).await;
    let functions = function(endpoint(&server.url), LIMIT);
    assert_eq!(functions.invoke(ARN, &json!({"version": "1"})).await, Ok(json!({"response": {"a": 1}})));
    let (head, body) = server.take();
    assert_eq!(head.uri.path_and_query().unwrap().as_str(), ENCODED);
    assert_eq!(head.headers["x-amz-invocation-type"], "RequestResponse");
    assert!(!head.headers.contains_key("authorization"), "without credentials the call is not signed");
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), json!({"version": "1"}));

    functions.invoke(&format!("{ARN}:$LATEST"), &json!({})).await.unwrap();
    assert!(server.take().0.uri.path().ends_with("%3Agreet%3A%24LATEST/invocations"));
}

#[tokio::test]
async fn the_invoke_api_s_errors_keep_their_names() {
    let error = r#"{"errorMessage":"boom","errorType":"Error","trace":[]}"#;
    for (status, headers, body, expected) in [
        (200, &[("X-Amz-Function-Error", "Unhandled")][..], error, function_error("boom")),
        (200, &[("X-Amz-Function-Error", "Unhandled")], "null", function_error("Unhandled")),
        (200, &[], "", Err(InvokeError::NotJson)),
        (200, &[], error, Ok(serde_json::from_str(error).unwrap())),
        (404, &[], r#"{"Type":"User","Message":"x"}"#, unreachable("ResourceNotFoundException")),
        (
            404,
            &[("x-amzn-ErrorType", "ResourceNotFoundException:http://i/")],
            "",
            unreachable("ResourceNotFoundException"),
        ),
        (403, &[], "", unreachable("AccessDeniedException")),
        (
            403,
            &[("x-amzn-ErrorType", "InvalidSignatureException")],
            "{}",
            unreachable("InvalidSignatureException"),
        ),
        (429, &[], "", unreachable("TooManyRequestsException")),
        (500, &[], "", unreachable("ServiceException")),
        (502, &[], r#"{"__type":"lambda#InvalidRuntimeException"}"#, unreachable("InvalidRuntimeException")),
    ] {
        let server = Server::start(move |_| response(status, headers, body)).await;
        let functions = function(endpoint(&server.url), LIMIT);
        assert_eq!(functions.invoke(ARN, &json!({})).await, expected, "{status} {body}");
        assert_eq!(server.count(), 1, "a refusal is not tried again");
    }
}

#[tokio::test]
async fn a_runtime_interface_emulator_is_found_by_its_one_path() {
    const PATH: &str = "/2015-03-31/functions/function/invocations";
    let server = Server::start(|head| match head.uri.path() {
        PATH => response(200, &[], r#"{"errorMessage":"boom","errorType":"Error"}"#),
        _ => response(404, &[], "404 page not found\n"),
    })
    .await;
    assert_eq!(function(endpoint(&server.url), LIMIT).invoke(ARN, &json!({})).await, function_error("boom"));
    assert_eq!(server.count(), 2);

    let direct = server.url.join(PATH).unwrap();
    assert_eq!(function(endpoint(&direct), LIMIT).invoke(ARN, &json!({})).await, function_error("boom"));
    assert_eq!(server.count(), 3);
}

fn key(id: &str, secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new(id, Secret::new(secret.to_owned()), token.map(|token| Secret::new(token.to_owned())))
}

fn signed_functions(
    server: &Server,
    own: Option<Credentials>,
    region: Option<&str>,
    aws: AwsSettings,
) -> Functions {
    let target = Target::InvokeEndpoint {
        endpoint: server.url.clone(),
        credentials: own,
        region: region.map(str::to_owned),
    };
    let by_arn = BTreeMap::from([(ARN.to_owned(), FunctionSettings::new(target))]);
    Functions::new(by_arn, None, aws, Arc::new(RealTime))
}

#[tokio::test]
async fn a_signature_covers_the_path_encoded_twice() {
    let server = Server::start(|_| response(200, &[], "{}")).await;
    let aws = AwsSettings::new(None, Some(key("AKAWS", "aws-secret", None)));
    signed_functions(&server, Some(key("AKOWN", "own-secret", Some("token/+="))), None, aws.clone())
        .invoke(ARN, &json!({"a": "é"}))
        .await
        .unwrap();
    let (head, body) = server.take();
    assert_eq!(head.headers["x-amz-security-token"], "token/+=");
    let twice = ENCODED.replace('%', "%25");
    let authorization = head.headers["authorization"].to_str().unwrap();
    let signature = expected_signature(&head, &body, &twice, "own-secret", "eu-west-1");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKOWN/"), "{authorization}");
    assert!(authorization.contains("/eu-west-1/lambda/aws4_request"), "{authorization}");
    assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");

    signed_functions(&server, None, Some("sa-east-1"), aws).invoke(ARN, &json!({})).await.unwrap();
    let (head, body) = server.take();
    let authorization = head.headers["authorization"].to_str().unwrap();
    let signature = expected_signature(&head, &body, &twice, "aws-secret", "sa-east-1");
    assert!(authorization.contains("Credential=AKAWS/"), "{authorization}");
    assert!(authorization.ends_with(&format!("Signature={signature}")), "{authorization}");
}

/// SigV4 from its description, with the canonical path given.
fn expected_signature(head: &Parts, body: &[u8], path: &str, secret: &str, region: &str) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sha256 = |text: &[u8]| hex(digest::digest(&digest::SHA256, text).as_ref());
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let authorization = head.headers["authorization"].to_str().unwrap();
    let signed = authorization.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    for required in ["host", "x-amz-date", "x-amz-invocation-type"] {
        assert!(signed.split(';').any(|name| name == required), "{signed}");
    }
    let headers: String =
        signed.split(';').map(|name| format!("{name}:{}\n", head.headers[name].to_str().unwrap())).collect();
    let canonical = format!("POST\n{path}\n\n{headers}\n{signed}\n{}", sha256(body));
    let time = head.headers["x-amz-date"].to_str().unwrap();
    let scope = format!("{}/{region}/lambda/aws4_request", &time[..8]);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let key = mac(format!("AWS4{secret}").as_bytes(), &time[..8]);
    let key = mac(&mac(&mac(&key, region), "lambda"), "aws4_request");
    hex(&mac(&key, &text))
}
