//! An answer of the API, to be asserted on whole.

use http::HeaderMap;
use serde_json::{Value, json};

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    pub operation: String,
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body, null if it is empty or no JSON.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(operation: &str, response: reqwest::Response) -> Self {
        Self::try_read(operation, response).await.expect("the answer arrives whole")
    }

    pub(crate) async fn try_read(
        operation: &str,
        response: reqwest::Response,
    ) -> Result<Self, reqwest::Error> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { operation: operation.to_owned(), status, headers, text, body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII"))
    }

    /// The code of an error, none of a success.
    pub fn code(&self) -> Option<&str> {
        self.body["__type"].as_str()
    }

    pub fn is_ok(&self) -> bool {
        self.status == 200
    }

    /// Asserts success with everything that belongs to it, and returns the body.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}: {}", self.operation, self.text);
        self.carries_the_protocols_headers();
        assert_eq!(self.header("x-amzn-errortype"), None, "{}", self.operation);
        self.body.clone()
    }

    /// Asserts success with an empty object.
    #[track_caller]
    pub fn ok_empty(&self) {
        self.ok();
        assert_eq!(self.text, "{}", "{}", self.operation);
    }

    /// Asserts status 400 and this error, in body and headers.
    #[track_caller]
    pub fn fails(&self, code: &str, message: &str) {
        self.fails_as(400, code, message);
    }

    #[track_caller]
    pub fn fails_as(&self, status: u16, code: &str, message: &str) {
        let member = if code == "SerializationException" { "Message" } else { "message" };
        let expected = format!(r#"{{"__type":{},"{member}":{}}}"#, json!(code), json!(message));
        assert_eq!(self.text, expected, "{}", self.operation);
        assert_eq!(self.status, status, "{}: {}", self.operation, self.text);
        assert_eq!(self.header("x-amzn-errortype"), Some(&*format!("{code}:")), "{}", self.operation);
        let beginning: String = message.chars().take(1024).collect();
        let visible = beginning.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let in_header = visible.then_some(&*beginning);
        assert_eq!(self.header("x-amzn-errormessage"), in_header, "{}", self.operation);
        self.carries_the_protocols_headers();
    }

    /// Asserts an error of this code, and returns its message.
    #[track_caller]
    pub fn fails_with(&self, code: &str) -> String {
        assert_eq!(self.code(), Some(code), "{}: {} {}", self.operation, self.status, self.text);
        let message = self.body["message"].as_str().expect("an error has a message").to_owned();
        self.fails(code, &message);
        message
    }

    /// Asserts an InvalidParameterException, by far the most frequent error.
    #[track_caller]
    pub fn is_invalid(&self, message: &str) {
        self.fails("InvalidParameterException", message);
    }

    /// Asserts a NotAuthorizedException.
    #[track_caller]
    pub fn is_not_authorized(&self, message: &str) {
        self.fails("NotAuthorizedException", message);
    }

    #[track_caller]
    fn carries_the_protocols_headers(&self) {
        assert_eq!(self.header("content-type"), Some("application/x-amz-json-1.1"), "{}", self.operation);
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
        assert_eq!(
            self.header("access-control-expose-headers"),
            Some("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date")
        );
        let id = self.header("x-amzn-requestid").expect("an answer has a request id");
        let form: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(form, [8, 4, 4, 4, 12], "{id} is a UUID");
    }
}
