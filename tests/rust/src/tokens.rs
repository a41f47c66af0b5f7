//! Tokens of a sign-in, and what is in them.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Answer, Lido, merged};

/// The three tokens of a sign-in.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub lido: Lido,
    pub access: String,
    pub id: String,
    pub refresh: String,
}

impl Tokens {
    /// The tokens in an answer that has all three, as a sign-in's has.
    #[track_caller]
    pub fn of(lido: &Lido, answer: &Answer) -> Self {
        let body = answer.ok();
        let text = |name: &str| match &body["AuthenticationResult"][name] {
            Value::String(token) => token.clone(),
            _ => panic!("{name} is not in {body}"),
        };
        Self {
            lido: lido.clone(),
            access: text("AccessToken"),
            id: text("IdToken"),
            refresh: text("RefreshToken"),
        }
    }

    /// The same tokens, by way of another server.
    pub fn at(&self, lido: &Lido) -> Self {
        Self { lido: lido.clone(), ..self.clone() }
    }

    /// Calls an operation with the access token.
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        self.lido.call(operation, merged(json!({ "AccessToken": self.access }), body)).await
    }

    pub async fn get_user(&self) -> Answer {
        self.call("GetUser", json!({})).await
    }

    /// Asks for a code for `email` or `phone_number`.
    pub async fn request_code(&self, attribute: &str) -> Answer {
        self.call("GetUserAttributeVerificationCode", json!({ "AttributeName": attribute })).await
    }

    pub async fn verify(&self, attribute: &str, code: &str) -> Answer {
        self.call("VerifyUserAttribute", json!({ "AttributeName": attribute, "Code": code })).await
    }

    pub async fn update(&self, attributes: Value) -> Answer {
        self.call("UpdateUserAttributes", json!({ "UserAttributes": crate::attributes(attributes) })).await
    }
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("the token has three parts");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("a part is base64url");
    serde_json::from_slice(&bytes).expect("a part is JSON")
}

/// The header of a token, nothing verified.
pub fn header(token: &str) -> Value {
    part(token, 0)
}

/// The claims of a token, nothing verified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}
