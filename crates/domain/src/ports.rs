//! What the rooms below are asked to do, in the words of the ones above.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Message, Millis};

/// The only source of the current time. Development mode moves it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    fn now(&self) -> Millis;
}

/// The only source of randomness: a cryptographic generator.
pub trait Random: Send + Sync + std::fmt::Debug {
    fn fill(&self, bytes: &mut [u8]);
}

/// Runs the functions behind a pool's Lambda triggers.
#[async_trait]
pub trait TriggerHost: Send + Sync + std::fmt::Debug {
    /// Invokes the function `arn` with `event` and returns its answer, any JSON value.
    async fn invoke(&self, arn: &str, event: &Value) -> Result<Value, InvokeError>;
}

/// Why a function gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvokeError {
    /// The function raised or crashed: its `errorMessage` (or `errorType` where it has none).
    Function { message: String },
    /// It could not be invoked; the code is Lambda's (`AccessDeniedException`, `ResourceNotFoundException`).
    Unreachable { code: String },
    /// No answer within the time limit, in every attempt.
    Timeout,
    /// The answer is not JSON.
    NotJson,
}

/// Carries messages out of the house: SMTP, an SMS provider.
#[async_trait]
pub trait Transport: Send + Sync + std::fmt::Debug {
    /// One attempt to send. Returns when the provider has taken or refused the message.
    async fn send(&self, message: &Message) -> Result<(), SendError>;
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The provider will never take it: bad address, refused sender, failed authentication.
    Refused { reason: String },
    /// It may go through later: connection refused, time-out, a temporary reply.
    Unavailable { reason: String },
}
