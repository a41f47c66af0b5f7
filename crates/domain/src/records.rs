//! What is stored. Sealed fields are opaque bytes here; only `lido-idp` opens them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ClientId, Millis, PoolId, Sub};

/// User attributes by their wire name (`email`, `custom:tenant`); values are strings, as on the wire.
pub type Attributes = BTreeMap<String, String>;

/// A user pool. `settings` is the JSON of what DescribeUserPool returns, without the members that
/// are columns of their own (id, ARN, name, dates, tags, number of users).
#[derive(Clone, Debug, PartialEq)]
pub struct UserPool {
    pub id: PoolId,
    pub name: String,
    pub settings: String,
    /// JSON of what SetUserPoolMfaConfig sets and DescribeUserPool does not return.
    pub mfa: String,
    pub tags: BTreeMap<String, String>,
    pub created: Millis,
    pub updated: Millis,
    /// Grows with every change; a write names the revision that it read.
    pub revision: i64,
}

/// An app client. `settings` is the JSON of what DescribeUserPoolClient returns, without ids, name,
/// dates and secret.
#[derive(Clone, Debug, PartialEq)]
pub struct AppClient {
    pub pool: PoolId,
    pub id: ClientId,
    pub name: String,
    pub settings: String,
    pub sealed_secret: Option<Vec<u8>>,
    /// When that secret was made; absent for one that is as old as the client.
    pub secret_created: Option<Millis>,
    /// Another one, which is as good as the first.
    pub second_secret: Option<SealedSecret>,
    pub created: Millis,
    pub updated: Millis,
    pub revision: i64,
}

/// A secret of an app client and when it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedSecret {
    pub sealed: Vec<u8>,
    pub created: Millis,
}

/// A pool's signing key: one RSA-2048 pair for ID tokens, one for access tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct SigningKey {
    pub pool: PoolId,
    pub token_use: TokenUse,
    pub kid: String,
    /// Base64url of the modulus, as in a JWK; the exponent is always 65537.
    pub modulus: String,
    pub sealed_private: Vec<u8>,
    pub created: Millis,
    /// When it began to sign; absent for a key that is only announced.
    pub active: Option<Millis>,
    /// When another key took its place.
    pub retired: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenUse {
    Id,
    Access,
}

impl TokenUse {
    /// The value of the claim `token_use`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Access => "access",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "id" => Some(Self::Id),
            "access" => Some(Self::Access),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UserStatus {
    Unconfirmed,
    Confirmed,
    ExternalProvider,
    ResetRequired,
    ForceChangePassword,
}

impl UserStatus {
    pub const ALL: [Self; 5] = [
        Self::Unconfirmed,
        Self::Confirmed,
        Self::ExternalProvider,
        Self::ResetRequired,
        Self::ForceChangePassword,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unconfirmed => "UNCONFIRMED",
            Self::Confirmed => "CONFIRMED",
            Self::ExternalProvider => "EXTERNAL_PROVIDER",
            Self::ResetRequired => "RESET_REQUIRED",
            Self::ForceChangePassword => "FORCE_CHANGE_PASSWORD",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for UserStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A user of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub pool: PoolId,
    pub sub: Sub,
    /// The immutable user name; in pools with username attributes it equals `sub`.
    pub username: String,
    pub attributes: Attributes,
    /// New values of email and phone_number that wait for VerifyUserAttribute.
    pub pending: Attributes,
    pub status: UserStatus,
    pub enabled: bool,
    pub created: Millis,
    pub updated: Millis,
    /// Sealed salt and SRP verifier; absent for users without a password.
    pub password: Option<Vec<u8>>,
    /// When a temporary password was set; it ages by the pool's policy.
    pub password_set: Millis,
    /// Sealed list of earlier passwords, newest first.
    pub password_history: Option<Vec<u8>>,
    /// Tokens without origin_jti that were issued up to this moment are revoked.
    pub signed_out: Millis,
    pub mfa: MfaSettings,
    /// Sealed seed of the software token; absent until one is verified.
    pub totp_secret: Option<Vec<u8>>,
    /// Sealed seed of a software token that waits for its first code.
    pub totp_pending: Option<Vec<u8>>,
    pub revision: i64,
}

/// A second factor, in the order in which users are shown them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MfaFactor {
    SmsMfa,
    EmailOtp,
    SoftwareTokenMfa,
}

impl MfaFactor {
    pub const ALL: [Self; 3] = [Self::SmsMfa, Self::EmailOtp, Self::SoftwareTokenMfa];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::SmsMfa => "SMS_MFA",
            Self::EmailOtp => "EMAIL_OTP",
            Self::SoftwareTokenMfa => "SOFTWARE_TOKEN_MFA",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|factor| factor.as_str() == text)
    }

    /// The attribute that codes of this factor are sent to.
    pub fn address(self) -> Option<&'static str> {
        match self {
            Self::SmsMfa => Some("phone_number"),
            Self::EmailOtp => Some("email"),
            Self::SoftwareTokenMfa => None,
        }
    }
}

/// What a user has turned on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MfaSettings {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub enabled: BTreeSet<MfaFactor>,
    /// One of `enabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred: Option<MfaFactor>,
    /// What the user calls the device that makes its codes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_name: Option<String>,
}

impl MfaSettings {
    pub fn disable(&mut self, factor: MfaFactor) {
        self.enabled.remove(&factor);
        self.preferred = self.preferred.filter(|preferred| *preferred != factor);
    }
}

/// A group of a pool's users. Its name is its identity: it is never changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub pool: PoolId,
    /// Unique in the pool, told apart by case.
    pub name: String,
    pub description: Option<String>,
    /// The role that the group's users may assume, for the claims about roles.
    pub role_arn: Option<String>,
    /// 0 and up; the lowest goes first, none goes last.
    pub precedence: Option<i32>,
    pub created: Millis,
    pub updated: Millis,
    pub revision: i64,
}

/// One sign-in: a refresh token and every token descended from it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSession {
    pub pool: PoolId,
    pub client: ClientId,
    pub sub: Sub,
    pub origin_jti: String,
    pub auth_time: Millis,
    pub scope: String,
    pub expires: Millis,
    pub revoked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Medium {
    Email,
    Sms,
}

impl Medium {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Sms => "SMS",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "EMAIL" => Some(Self::Email),
            "SMS" => Some(Self::Sms),
            _ => None,
        }
    }
}

/// A message ready to be delivered, as the inbox shows it and a transport sends it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Grows with time: a later message has a greater id.
    pub id: String,
    pub created: Millis,
    pub pool: PoolId,
    pub client: Option<ClientId>,
    pub username: String,
    pub medium: Medium,
    /// The unmasked address or number.
    pub destination: String,
    /// The trigger source that the message belongs to, `CustomMessage_VerifyUserAttribute`.
    pub source: String,
    /// Only e-mail has one.
    pub subject: Option<String>,
    pub body: String,
    /// The bare code or temporary password.
    pub code: Option<String>,
    pub sender: Sender,
}

/// What the pool's EmailConfiguration and SmsConfiguration say of the sender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sender {
    pub from: Option<String>,
    pub reply_to: Option<String>,
    pub configuration_set: Option<String>,
    pub source_arn: Option<String>,
}

impl fmt::Debug for Message {
    /// Without body and code: a message may pass through a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("pool", &self.pool)
            .field("medium", &self.medium)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}
