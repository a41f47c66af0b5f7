//! A user pool and an app client as operations see them: the record, its settings parsed once, and
//! the questions that are asked of them everywhere.

use std::collections::BTreeSet;
use std::time::Duration;

use lido_crypto::constant_time_eq;
use lido_crypto::keys::{KeyRing, Purpose};
use lido_crypto::secret_hash::secret_hash_matches;
use lido_domain::{AppClient, Attributes, ClientId, MfaFactor, PoolId, Secret, User, UserPool, UserStatus};
use lido_store::users::SignInName;
use lido_wire::types::{
    AliasAttributeType, EmailMfaConfigType, ExplicitAuthFlowsType, FeatureType, LambdaConfigType,
    PasswordPolicyType, PreventUserExistenceErrorTypes, SchemaAttributeType, SoftwareTokenMfaConfigType,
    TimeUnitsType, UserPoolClientType, UserPoolMfaType, UserPoolTierType, UserPoolType,
    UsernameAttributeType, VerifiedAttributeType, WebAuthnConfigurationType,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::cx::{Issuer, Settings};
use crate::fault::{self, Error, Result};
use crate::tokens::keys::PoolKeys;

/// What SetUserPoolMfaConfig sets besides the pool's settings; stored as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MfaConfig {
    /// Whether codes are sent by SMS, by the SmsConfiguration of the settings.
    pub sms: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_token: Option<SoftwareTokenMfaConfigType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<EmailMfaConfigType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_authn: Option<WebAuthnConfigurationType>,
}

impl MfaConfig {
    /// The factors that are set up, whether or not they are asked for.
    pub fn factors(&self) -> impl Iterator<Item = MfaFactor> {
        let software_token = self.software_token.as_ref().is_some_and(|token| token.enabled == Some(true));
        [
            (self.sms, MfaFactor::SmsMfa),
            (self.email.is_some(), MfaFactor::EmailOtp),
            (software_token, MfaFactor::SoftwareTokenMfa),
        ]
        .into_iter()
        .filter_map(|(is_on, factor)| is_on.then_some(factor))
    }

    /// As it is stored.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a configuration has only string keys")
    }
}

/// A user pool. Kept for as long as its revision stands, with its parsed signing keys.
#[derive(Debug)]
pub struct Pool {
    pub record: UserPool,
    /// What DescribeUserPool returns, without the members that are columns of the record.
    pub settings: UserPoolType,
    /// What only GetUserPoolMfaConfig returns.
    pub mfa: MfaConfig,
    pub(crate) keys: OnceCell<PoolKeys>,
}

impl Pool {
    pub fn parse(record: UserPool) -> Result<Self> {
        let settings = serde_json::from_str(&record.settings).map_err(Error::internal)?;
        let mfa = serde_json::from_str(&record.mfa).map_err(Error::internal)?;
        Ok(Self { record, settings, mfa, keys: OnceCell::new() })
    }

    /// The second factors that the pool asks for.
    pub fn mfa_factors(&self) -> BTreeSet<MfaFactor> {
        if self.settings.mfa_configuration.is_none_or(|mode| mode == UserPoolMfaType::Off) {
            return BTreeSet::new();
        }
        self.mfa.factors().collect()
    }

    /// Whether names are told apart by case. Source: `UsernameConfiguration`, true when absent.
    pub fn is_case_sensitive(&self) -> bool {
        self.settings.username_configuration.as_ref().is_none_or(|configuration| configuration.case_sensitive)
    }

    /// A name as it is looked up.
    pub fn fold(&self, name: &str) -> String {
        if self.is_case_sensitive() { name.to_owned() } else { name.to_lowercase() }
    }

    /// Whether users sign in with e-mail address or phone number instead of a user name.
    pub fn has_username_attributes(&self) -> bool {
        self.settings.username_attributes.as_ref().is_some_and(|attributes| !attributes.is_empty())
    }

    pub fn is_username_attribute(&self, name: &str) -> bool {
        let listed = |attribute: &UsernameAttributeType| attribute.as_str() == name;
        self.settings.username_attributes.as_ref().is_some_and(|attributes| attributes.iter().any(listed))
    }

    pub fn is_alias(&self, name: &str) -> bool {
        let listed = |attribute: &AliasAttributeType| attribute.as_str() == name;
        self.settings.alias_attributes.as_ref().is_some_and(|attributes| attributes.iter().any(listed))
    }

    pub fn is_auto_verified(&self, name: &str) -> bool {
        let listed = |attribute: &VerifiedAttributeType| attribute.as_str() == name;
        self.settings.auto_verified_attributes.as_ref().is_some_and(|list| list.iter().any(listed))
    }

    /// Whether a new value of email or phone_number waits for its verification.
    pub fn verifies_before_update(&self, name: &str) -> bool {
        self.settings
            .user_attribute_update_settings
            .as_ref()
            .and_then(|settings| settings.attributes_require_verification_before_update.as_ref())
            .is_some_and(|list| list.iter().any(|attribute| attribute.as_str() == name))
    }

    /// The schema entry of an attribute by its wire name (`email`, `custom:tenant`).
    pub fn schema(&self, name: &str) -> Option<&SchemaAttributeType> {
        self.settings
            .schema_attributes
            .as_ref()?
            .iter()
            .find(|attribute| attribute.name.as_deref() == Some(name))
    }

    pub fn schema_attributes(&self) -> &[SchemaAttributeType] {
        self.settings.schema_attributes.as_deref().unwrap_or_default()
    }

    /// Wire names of the attributes that every user must have, without `sub`.
    pub fn required_attributes(&self) -> impl Iterator<Item = &str> {
        self.schema_attributes()
            .iter()
            .filter(|attribute| attribute.required == Some(true))
            .filter_map(|attribute| attribute.name.as_deref())
            .filter(|name| *name != "sub")
    }

    pub fn password_policy(&self) -> PasswordPolicyType {
        self.settings
            .policies
            .as_ref()
            .and_then(|policies| policies.password_policy.clone())
            .unwrap_or_default()
    }

    /// How long a temporary password is good for.
    pub fn temporary_password_validity(&self) -> Duration {
        let days = match self.password_policy().temporary_password_validity_days {
            None | Some(0) => 7,
            Some(days) => days,
        };
        Duration::from_secs(24 * 60 * 60 * u64::try_from(days).unwrap_or(7))
    }

    pub fn lambda(&self) -> Option<&LambdaConfigType> {
        self.settings.lambda_config.as_ref()
    }

    pub fn tier(&self) -> UserPoolTierType {
        self.settings.user_pool_tier.unwrap_or(UserPoolTierType::Essentials)
    }

    /// The claim `iss` of the pool's tokens.
    pub fn issuer(&self, settings: &Settings) -> String {
        let id = self.record.id.as_str();
        match &settings.issuer {
            Issuer::PublicUrl => format!("{}/{id}", settings.public_url),
            Issuer::Aws => format!("https://cognito-idp.{}.amazonaws.com/{id}", self.record.id.region()),
            Issuer::Fixed(text) => text.replace("{userPoolId}", id),
        }
    }

    /// The names that sign this user in: the user name always; in pools with username attributes the
    /// addresses; elsewhere the aliases, as soon as they are verified.
    pub fn sign_in_names(&self, user: &User) -> Vec<SignInName> {
        let mut names = vec![SignInName { kind: "username", name: self.fold(&user.username) }];
        for kind in ["email", "phone_number"] {
            let Some(value) = user.attributes.get(kind) else { continue };
            if self.is_username_attribute(kind)
                || (self.is_alias(kind)
                    && user.status != UserStatus::Unconfirmed
                    && is_verified(&user.attributes, kind))
            {
                names.push(SignInName { kind, name: self.fold(value) });
            }
        }
        if let Some(value) = user.attributes.get("preferred_username")
            && self.is_alias("preferred_username")
            && user.status != UserStatus::Unconfirmed
        {
            names.push(SignInName { kind: "preferred_username", name: self.fold(value) });
        }
        names
    }
}

/// Whether `email` or `phone_number` is verified.
pub fn is_verified(attributes: &Attributes, name: &str) -> bool {
    attributes.get(&format!("{name}_verified")).is_some_and(|value| value == "true")
}

/// An app client.
#[derive(Debug)]
pub struct Client {
    pub record: AppClient,
    /// What DescribeUserPoolClient returns, without the members that are columns of the record.
    pub settings: UserPoolClientType,
    pub secret: Option<Secret<String>>,
    /// Another one, which is as good as the first.
    pub second_secret: Option<Secret<String>>,
}

/// The scopes that need no resource server.
pub const STANDARD_SCOPES: [&str; 5] =
    ["phone", "email", "openid", "profile", "aws.cognito.signin.user.admin"];

impl Client {
    pub fn parse(record: AppClient, keyring: &KeyRing) -> Result<Self> {
        let settings = serde_json::from_str(&record.settings).map_err(Error::internal)?;
        let context = Self::seal_context(&record.pool, &record.id);
        let open = |sealed: &[u8]| {
            let plain = keyring.open(Purpose::ClientSecret, &context, sealed).map_err(Error::internal)?;
            Ok::<_, Error>(Secret::new(String::from_utf8(plain).map_err(Error::internal)?))
        };
        let secret = record.sealed_secret.as_deref().map(open).transpose()?;
        let second_secret = record.second_secret.as_ref().map(|second| open(&second.sealed)).transpose()?;
        Ok(Self { record, settings, secret, second_secret })
    }

    /// What a client's secrets are sealed for.
    pub fn seal_context<'a>(pool: &'a PoolId, id: &'a ClientId) -> [&'a [u8]; 2] {
        [pool.as_str().as_bytes(), id.as_str().as_bytes()]
    }

    /// The flows in force: `ExplicitAuthFlows`, or what its absence stands for, in `ALLOW_` names.
    /// Source: CreateUserPoolClient.
    pub fn allows(&self, flow: ExplicitAuthFlowsType) -> bool {
        use ExplicitAuthFlowsType as Flow;
        if flow == Flow::AllowRefreshTokenAuth && self.rotates_refresh_tokens() {
            return false;
        }
        let Some(flows) = &self.settings.explicit_auth_flows else {
            return matches!(
                flow,
                Flow::AllowRefreshTokenAuth | Flow::AllowUserSrpAuth | Flow::AllowCustomAuth
            );
        };
        let legacy = match flow {
            Flow::AllowAdminUserPasswordAuth => Some(Flow::AdminNoSrpAuth),
            Flow::AllowUserPasswordAuth => Some(Flow::UserPasswordAuth),
            Flow::AllowCustomAuth => Some(Flow::CustomAuthFlowOnly),
            _ => None,
        };
        // With legacy values SRP and refresh cannot be switched off, except by CUSTOM_AUTH_FLOW_ONLY.
        let is_legacy = |flow: &Flow| !flow.as_str().starts_with("ALLOW_");
        let implied = match flow {
            Flow::AllowRefreshTokenAuth => flows.is_empty() || flows.iter().any(is_legacy),
            Flow::AllowUserSrpAuth => {
                flows.is_empty()
                    || (flows.iter().any(is_legacy) && !flows.contains(&Flow::CustomAuthFlowOnly))
            }
            _ => false,
        };
        implied || flows.contains(&flow) || legacy.is_some_and(|legacy| flows.contains(&legacy))
    }

    /// Whether it may be told that there is no such user.
    pub fn tells_user_existence(&self) -> bool {
        self.settings.prevent_user_existence_errors != Some(PreventUserExistenceErrorTypes::Enabled)
    }

    /// Whether each refresh gives a new refresh token; REFRESH_TOKEN_AUTH cannot do that.
    pub fn rotates_refresh_tokens(&self) -> bool {
        let rotation = self.settings.refresh_token_rotation.as_ref();
        rotation.is_some_and(|rotation| rotation.feature == FeatureType::Enabled)
    }

    /// How long after its first exchange a refresh token may be exchanged again. Source: RefreshTokenRotation.
    pub fn retry_grace_period(&self) -> Duration {
        let rotation = self.settings.refresh_token_rotation.as_ref();
        let seconds = rotation.and_then(|rotation| rotation.retry_grace_period_seconds).unwrap_or_default();
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// The allowed scopes of resource servers.
    pub fn custom_scopes(&self) -> impl Iterator<Item = &str> {
        let allowed = self.settings.allowed_oauth_scopes.iter().flatten();
        allowed.map(String::as_str).filter(|scope| !STANDARD_SCOPES.contains(scope))
    }

    /// Whether tokens carry what names their sign-in, `origin_jti`.
    pub fn names_sign_ins(&self) -> bool {
        self.revokes_tokens() || self.rotates_refresh_tokens()
    }

    pub fn revokes_tokens(&self) -> bool {
        self.settings.enable_token_revocation.unwrap_or(true)
    }

    /// How long a session, an SRP exchange and a code sent within them are good for.
    pub fn session_validity(&self) -> Duration {
        let minutes = self.settings.auth_session_validity.unwrap_or(3);
        Duration::from_secs(60 * u64::try_from(minutes).unwrap_or(3))
    }

    fn validity(value: Option<i32>, unit: Option<&TimeUnitsType>, default: (i32, TimeUnitsType)) -> Duration {
        let (value, unit) = match value {
            None | Some(0) => (default.0, &default.1),
            Some(value) => (value, unit.unwrap_or(&default.1)),
        };
        let seconds = match unit {
            TimeUnitsType::Seconds => 1,
            TimeUnitsType::Minutes => 60,
            TimeUnitsType::Hours => 60 * 60,
            TimeUnitsType::Days => 24 * 60 * 60,
        };
        Duration::from_secs(seconds * u64::try_from(value).unwrap_or_default())
    }

    pub fn access_token_validity(&self) -> Duration {
        let unit = self.settings.token_validity_units.as_ref().and_then(|units| units.access_token.as_ref());
        Self::validity(self.settings.access_token_validity, unit, (1, TimeUnitsType::Hours))
    }

    pub fn id_token_validity(&self) -> Duration {
        let unit = self.settings.token_validity_units.as_ref().and_then(|units| units.id_token.as_ref());
        Self::validity(self.settings.id_token_validity, unit, (1, TimeUnitsType::Hours))
    }

    pub fn refresh_token_validity(&self) -> Duration {
        let unit = self.settings.token_validity_units.as_ref().and_then(|units| units.refresh_token.as_ref());
        Self::validity(self.settings.refresh_token_validity, unit, (30, TimeUnitsType::Days))
    }

    /// Source: SecretHash is base64(HMAC-SHA256(secret, user name + client id)). `names`: the name as
    /// the request carries it, then the names it stands for; a hash over any of them, made with either secret, is
    /// right.
    pub fn check_secret_hash(&self, sent: Option<&str>, names: &[&str]) -> Result<()> {
        let id = self.record.id.as_str();
        match (&self.secret, sent) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(fault::secret_hash_missing(id).into()),
            (_, Some(sent)) => {
                // Every one is tried: how long that takes tells nothing of which is right.
                let right = self.secrets().fold(false, |right, secret| {
                    let matches = |name: &&str| secret_hash_matches(name, id, secret.expose(), sent);
                    names.iter().fold(right, |right, name| matches(name) | right)
                });
                if right { Ok(()) } else { Err(fault::secret_hash_wrong(id).into()) }
            }
        }
    }

    /// The secrets in force: none, one or two.
    fn secrets(&self) -> impl Iterator<Item = &Secret<String>> {
        self.secret.iter().chain(&self.second_secret)
    }

    /// Whether `sent` is a secret of the client, or the client has none and none was sent.
    pub fn holds_secret(&self, sent: Option<&str>) -> bool {
        match (&self.secret, sent) {
            (None, None) => true,
            (_, Some(sent)) => self.secrets().fold(false, |right, secret| {
                constant_time_eq(secret.expose().as_bytes(), sent.as_bytes()) | right
            }),
            (Some(_), None) => false,
        }
    }

    /// Whether the client may read an attribute. Source: `ReadAttributes`; absent means the standard ones.
    pub fn reads(&self, attribute: &str) -> bool {
        permitted(self.settings.read_attributes.as_deref(), attribute)
    }

    /// Whether the client may write an attribute. Source: `WriteAttributes`; absent means the standard ones.
    pub fn writes(&self, attribute: &str) -> bool {
        permitted(self.settings.write_attributes.as_deref(), attribute)
    }
}

/// The attributes that `oidc:profile` stands for in a client's permissions.
pub const PROFILE_ATTRIBUTES: [&str; 13] = [
    "name",
    "family_name",
    "given_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "profile",
    "picture",
    "website",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
];

fn permitted(list: Option<&[String]>, attribute: &str) -> bool {
    match list {
        // Source: the default set has no custom attributes.
        None => !attribute.starts_with("custom:") && !attribute.starts_with("dev:"),
        Some(list) => list.iter().any(|allowed| {
            allowed == attribute || (allowed == "oidc:profile" && PROFILE_ATTRIBUTES.contains(&attribute))
        }),
    }
}
