//! Texts of messages: the pool's templates, the defaults, the places in them.

use lido_domain::Medium;
use lido_wire::types::{MessageTemplateType, VerificationMessageTemplateType};

use crate::messages::Kind;
use crate::pool::Pool;

/// The place of the code or temporary password.
pub const CODE: &str = "{####}";
/// The place of the user name, in invitations.
pub const USERNAME: &str = "{username}";
/// Longest texts, in characters.
pub const MAX_SMS: usize = 140;
pub const MAX_EMAIL: usize = 20_000;
pub const MAX_SUBJECT: usize = 140;

const VERIFICATION: &str = "Your verification code is {####}. ";
const VERIFICATION_SUBJECT: &str = "Your verification code";
const AUTHENTICATION_SMS: &str = "Your authentication code is {####}. ";
const AUTHENTICATION_EMAIL: &str = "Your authentication code is {####}";
const AUTHENTICATION_SUBJECT: &str = "Your authentication code";
const INVITATION: &str = "Your username is {username} and temporary password is {####}. ";
const INVITATION_SUBJECT: &str = "Your temporary password";

/// The text of a kind of message, with its places still open.
pub fn body(pool: &Pool, kind: Kind, medium: Medium) -> String {
    let (template, default) = match kind {
        Kind::AdminCreateUser => {
            let template = invitation(pool);
            let text = match medium {
                Medium::Email => template.and_then(|template| template.email_message.clone()),
                Medium::Sms => template.and_then(|template| template.sms_message.clone()),
            };
            (text, INVITATION)
        }
        Kind::Authentication => match medium {
            Medium::Email => {
                (pool.mfa.email.as_ref().and_then(|email| email.message.clone()), AUTHENTICATION_EMAIL)
            }
            Medium::Sms => (pool.settings.sms_authentication_message.clone(), AUTHENTICATION_SMS),
        },
        _ => {
            let template = verification(pool);
            let text = match medium {
                Medium::Email => template.and_then(|template| template.email_message.clone()),
                Medium::Sms => template.and_then(|template| template.sms_message.clone()),
            };
            (text, VERIFICATION)
        }
    };
    template.unwrap_or_else(|| default.to_owned())
}

/// The subject of an e-mail of a kind.
pub fn subject(pool: &Pool, kind: Kind) -> String {
    let (template, default) = match kind {
        Kind::AdminCreateUser => {
            (invitation(pool).and_then(|template| template.email_subject.clone()), INVITATION_SUBJECT)
        }
        Kind::Authentication => {
            (pool.mfa.email.as_ref().and_then(|email| email.subject.clone()), AUTHENTICATION_SUBJECT)
        }
        _ => (verification(pool).and_then(|template| template.email_subject.clone()), VERIFICATION_SUBJECT),
    };
    template.unwrap_or_else(|| default.to_owned())
}

fn verification(pool: &Pool) -> Option<&VerificationMessageTemplateType> {
    pool.settings.verification_message_template.as_ref()
}

fn invitation(pool: &Pool) -> Option<&MessageTemplateType> {
    pool.settings.admin_create_user_config.as_ref()?.invite_message_template.as_ref()
}

/// Fills the places. An e-mail is HTML, so what is put in is escaped there.
pub fn fill(text: &str, medium: Medium, secret: &str, username: &str) -> String {
    let put = |value: &str| match medium {
        Medium::Email => escape(value),
        Medium::Sms => value.to_owned(),
    };
    // One pass: what is put in is not searched for places again.
    let mut filled = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(CODE) {
            filled.push_str(&put(secret));
            rest = after;
        } else if let Some(after) = rest.strip_prefix(USERNAME) {
            filled.push_str(&put(username));
            rest = after;
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled.push_str(rest);
    filled
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_once() {
        let text = "{####} for {username}, again {####}; {other} {";
        assert_eq!(
            fill(text, Medium::Sms, "{username}", "a<b"),
            "{username} for a<b, again {username}; {other} {"
        );
    }

    #[test]
    fn an_email_is_escaped() {
        assert_eq!(fill("{username}: {####}", Medium::Email, "1&2", "<b>"), "&lt;b&gt;: 1&amp;2");
    }
}
