//! What can be known of a user.

use std::collections::{BTreeMap, BTreeSet};

use lido_tests::{Answer, Tokens};
use serde_json::Value;

use super::stage::Stage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Unconfirmed,
    Confirmed,
    /// Has a temporary password.
    Temporary,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "UNCONFIRMED",
            Self::Confirmed => "CONFIRMED",
            Self::Temporary => "FORCE_CHANGE_PASSWORD",
        }
    }
}

/// What a code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    SignUp,
    Verify,
    Reset,
}

impl Purpose {
    pub(super) fn of(source: &str) -> Self {
        match source {
            "CustomMessage_SignUp" => Self::SignUp,
            "CustomMessage_ForgotPassword" => Self::Reset,
            _ => Self::Verify,
        }
    }
}

/// A code that is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// It is in the newest of the messages that were not read yet.
    Sent,
    Read(String),
}

#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) status: Status,
    pub(super) enabled: bool,
    pub(super) password: String,
    pub(super) nickname: Option<String>,
    pub(super) email: String,
    pub(super) verified: bool,
    pub(super) groups: BTreeSet<&'static str>,
    pub(super) codes: BTreeMap<Purpose, Code>,
    /// Sign-ins that stand, the newest last.
    pub(super) sign_ins: Vec<Tokens>,
}

impl User {
    /// Whether the address is a name to sign in with.
    pub(super) fn has_alias(&self) -> bool {
        self.verified && self.status != Status::Unconfirmed
    }
}

/// Something that was redeemed.
#[derive(Clone, Debug)]
pub(super) enum Spent {
    SignUpCode(String),
    VerifyCode(String),
    ResetCode(String),
    /// The answer to NEW_PASSWORD_REQUIRED.
    Session(Value),
    /// The answer to PASSWORD_VERIFIER, and the password that it proves.
    Proof(Value, String),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) user: Option<User>,
    /// How many messages were sent that were not read yet.
    pub(super) unread: usize,
    /// Sign-ins that were ended.
    pub(super) ended: Vec<Tokens>,
    /// What was redeemed, and whether that was acknowledged.
    pub(super) spent: Vec<(Spent, bool)>,
}

/// Keeps the newest few.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == 3 {
        list.remove(0);
    }
    list.push(item);
}

impl Facts {
    /// Of a step that is taken only when there is a user.
    pub(super) fn user(&mut self) -> &mut User {
        self.user.as_mut().expect("the step is that of a user")
    }

    pub(super) fn end_sign_ins(&mut self) {
        for tokens in std::mem::take(&mut self.user().sign_ins) {
            push(&mut self.ended, tokens);
        }
    }

    pub(super) fn signed_in(&mut self, stage: &Stage, answer: Option<&Answer>) {
        // Without an answer nobody has the tokens.
        if let Some(answer) = answer {
            push(&mut self.user().sign_ins, Tokens::of(stage.node(), answer));
        }
    }

    pub(super) fn send(&mut self, purpose: Purpose) {
        self.unread += 1;
        self.user().codes.insert(purpose, Code::Sent);
    }

    pub(super) fn spend(&mut self, spent: Spent, answer: Option<&Answer>) {
        push(&mut self.spent, (spent, answer.is_some()));
    }

    pub(super) fn set_password(&mut self, password: &str, status: Status) {
        let user = self.user();
        user.password = password.to_owned();
        user.status = status;
        user.codes.remove(&Purpose::Reset);
    }
}
