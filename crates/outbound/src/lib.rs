//! The way out of the house: implementations of the ports `TriggerHost` and `Transport`.
//!
//! [`Functions`] runs the functions behind Lambda triggers: as a process that speaks the Lambda
//! Runtime API, as a URL, or through the Lambda Invoke API. [`Smtp`] hands e-mail to a mail server.
//!
//! Not in here: which trigger is called when and what its answer means, which message is sent and
//! when it is tried again (`lido-idp`), and how settings are read (the binary).
//!
//! Start with `functions/mod.rs` (ARN → target, time limits, retries); then `functions/command.rs`
//! for processes, and `smtp.rs` for mail. Keys for signed calls are in `credentials.rs`.

mod credentials;
mod functions;
mod plain_text;
mod smtp;

pub use credentials::{AwsSettings, Credentials};
pub use functions::{FunctionSettings, Functions, Target};
pub use smtp::{Smtp, SmtpSettings};

/// A setting that cannot be used, with its name as `lido.toml` spells it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct SettingError {
    pub setting: &'static str,
    pub reason: String,
}

impl SettingError {
    fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self { setting, reason: reason.into() }
    }
}
