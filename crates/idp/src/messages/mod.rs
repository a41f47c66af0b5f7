//! Messages to users: which medium, which text, which code. They are prepared before the write,
//! queued in it together with the code they carry, and delivered after it.

pub mod delivery;
pub mod mask;
pub mod template;

use std::collections::BTreeMap;

use lido_domain::records::Sender;
use lido_domain::{Medium, Message, Secret, User};
use lido_store::codes::Code;
use lido_wire::types::{CodeDeliveryDetailsType, DefaultEmailOptionType, DeliveryMediumType};

use crate::attributes::ADDRESSES;
use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::pool::{Client, Pool};
use crate::triggers::{self, Unbuilt, custom_message};

pub use delivery::Prepared;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SignUp,
    ResendCode,
    ForgotPassword,
    UpdateUserAttribute,
    VerifyUserAttribute,
    AdminCreateUser,
    /// A code that signs in.
    Authentication,
}

impl Kind {
    /// The trigger source of the CustomMessage event.
    pub fn source(self) -> &'static str {
        match self {
            Self::SignUp => "CustomMessage_SignUp",
            Self::ResendCode => "CustomMessage_ResendCode",
            Self::ForgotPassword => "CustomMessage_ForgotPassword",
            Self::UpdateUserAttribute => "CustomMessage_UpdateUserAttribute",
            Self::VerifyUserAttribute => "CustomMessage_VerifyUserAttribute",
            Self::AdminCreateUser => "CustomMessage_AdminCreateUser",
            Self::Authentication => "CustomMessage_Authentication",
        }
    }
}

/// Where a message goes: the user's `email` or `phone_number`, and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub attribute: &'static str,
    pub value: String,
}

impl Address {
    pub fn email(value: impl Into<String>) -> Self {
        Self { attribute: "email", value: value.into() }
    }

    pub fn phone_number(value: impl Into<String>) -> Self {
        Self { attribute: "phone_number", value: value.into() }
    }

    /// The value of `email` or `phone_number` among a user's attributes.
    pub fn of(attributes: &lido_domain::Attributes, attribute: &str) -> Option<Self> {
        let value = attributes.get(attribute)?.clone();
        match attribute {
            "email" => Some(Self::email(value)),
            "phone_number" => Some(Self::phone_number(value)),
            _ => None,
        }
    }

    pub fn medium(&self) -> Medium {
        if self.attribute == "email" { Medium::Email } else { Medium::Sms }
    }

    /// What a code sent here proves; stored beside it.
    pub fn target(&self) -> String {
        format!("{}={}", self.attribute, self.value)
    }

    /// As it is told to whoever asked for the message.
    pub fn details(&self) -> CodeDeliveryDetailsType {
        CodeDeliveryDetailsType {
            destination: Some(mask::destination(self.medium(), &self.value)),
            delivery_medium: Some(match self.medium() {
                Medium::Email => DeliveryMediumType::Email,
                Medium::Sms => DeliveryMediumType::Sms,
            }),
            attribute_name: Some(self.attribute.to_owned()),
        }
    }
}

/// A message to be written.
#[derive(Debug)]
pub struct Letter<'a> {
    pub pool: &'a Pool,
    pub client: Option<&'a Client>,
    /// As the function of a trigger should see it.
    pub user: &'a User,
    pub kind: Kind,
    pub address: Address,
    /// The code or the temporary password.
    pub secret: &'a Secret<String>,
    /// The code's record; none for an invitation, whose secret is a password.
    pub code: Option<Code>,
    pub metadata: Option<&'a BTreeMap<String, String>>,
}

impl Letter<'_> {
    pub fn medium(&self) -> Medium {
        self.address.medium()
    }
}

/// Runs the CustomMessage trigger and writes the text. Nothing is stored yet.
///
/// Errors: those of the trigger, and NotImplementedException for what Lido has not built.
pub async fn prepare(cx: &Cx, letter: Letter<'_>) -> Result<Prepared> {
    let medium = letter.medium();
    match medium {
        Medium::Email => triggers::refuse_unbuilt(letter.pool, &[Unbuilt::CustomEmailSender])?,
        Medium::Sms => triggers::refuse_unbuilt(letter.pool, &[Unbuilt::CustomSMSSender])?,
    }
    // Only confirmations are sent as links; every other message carries a code.
    if medium == Medium::Email
        && matches!(letter.kind, Kind::SignUp | Kind::ResendCode)
        && by_link(letter.pool)
    {
        return Err(fault::feature_not_implemented("confirmation by link").into());
    }
    let rewritten = custom_message::rewrite(cx, &letter).await?;
    let body = rewritten.body.unwrap_or_else(|| template::body(letter.pool, letter.kind, medium));
    let subject = (medium == Medium::Email)
        .then(|| rewritten.subject.unwrap_or_else(|| template::subject(letter.pool, letter.kind)));
    let shown_name = sign_in_name(letter.pool, letter.user);
    let message = Message {
        id: delivery::new_id(cx),
        created: cx.now(),
        pool: letter.pool.record.id.clone(),
        client: letter.client.map(|client| client.record.id.clone()),
        username: letter.user.username.clone(),
        medium,
        destination: letter.address.value.clone(),
        source: letter.kind.source().to_owned(),
        subject,
        body: template::fill(&body, medium, letter.secret.expose(), shown_name),
        code: Some(letter.secret.expose().clone()),
        sender: sender(letter.pool),
    };
    let channel = match medium {
        Medium::Email => &cx.delivery.email,
        Medium::Sms => &cx.delivery.sms,
    };
    Ok(Prepared::new(cx, message, letter.user.sub.clone(), letter.code, channel, letter.address.details()))
}

/// The name that the user signs in with: in pools that sign in by address, the address.
fn sign_in_name<'u>(pool: &Pool, user: &'u User) -> &'u str {
    ADDRESSES
        .into_iter()
        .filter(|address| pool.is_username_attribute(address))
        .find_map(|address| user.attributes.get(address))
        .unwrap_or(&user.username)
}

fn by_link(pool: &Pool) -> bool {
    pool.settings.verification_message_template.as_ref().is_some_and(|template| {
        template.default_email_option == Some(DefaultEmailOptionType::ConfirmWithLink)
    })
}

fn sender(pool: &Pool) -> Sender {
    let Some(email) = &pool.settings.email_configuration else { return Sender::default() };
    Sender {
        from: email.from.clone(),
        reply_to: email.reply_to_email_address.clone(),
        configuration_set: email.configuration_set.clone(),
        source_arn: email.source_arn.clone(),
    }
}
