//! The tokens of a sign-in and of a refresh.

use std::collections::BTreeMap;

use lido_crypto::keys::Purpose;
use lido_domain::records::TokenSession;
use lido_domain::{Attributes, Millis, Secret, User};
use lido_wire::types::AuthenticationResultType;
use serde_json::{Map, Value, json};

use crate::caller::ACCOUNT_SCOPE;
use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::groups::GroupClaims;
use crate::tokens::keys;
use crate::triggers::pre_token_generation;

/// A sign-in that is ready to be recorded: its session row, and the refresh token that it is known by.
#[derive(Debug)]
pub struct NewSession {
    pub session: TokenSession,
    pub refresh_token: Secret<String>,
    pub digest: [u8; 32],
}

/// How many random bytes a refresh token has.
const REFRESH_TOKEN_BYTES: usize = 48;

/// Prepares the session of a sign-in; [`lido_store::sessions::begin`] records it.
pub fn new_session(cx: &Cx, pool: &Pool, client: &Client, user: &User, now: Millis) -> NewSession {
    let mut bytes = [0_u8; REFRESH_TOKEN_BYTES];
    cx.random.fill(&mut bytes);
    let refresh_token = base64_url(&bytes);
    NewSession {
        digest: refresh_digest(cx, &refresh_token),
        refresh_token: Secret::new(refresh_token),
        session: TokenSession {
            pool: pool.record.id.clone(),
            client: client.record.id.clone(),
            sub: user.sub.clone(),
            origin_jti: cx.uuid(),
            auth_time: now,
            scope: ACCOUNT_SCOPE.to_owned(),
            expires: now + client.refresh_token_validity(),
            revoked: false,
        },
    }
}

/// How a refresh token is looked up: it is stored only as this keyed hash.
pub fn refresh_digest(cx: &Cx, token: &str) -> [u8; 32] {
    cx.keyring.digest(Purpose::RefreshToken, &[token.as_bytes()])
}

pub(crate) fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Why tokens are issued, as PreTokenGeneration is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Authentication,
    /// After NEW_PASSWORD_REQUIRED.
    NewPasswordChallenge,
    RefreshTokens,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "TokenGeneration_Authentication",
            Self::NewPasswordChallenge => "TokenGeneration_NewPasswordChallenge",
            Self::RefreshTokens => "TokenGeneration_RefreshTokens",
        }
    }
}

/// What tokens are issued for.
#[derive(Clone, Copy, Debug)]
pub struct Issue<'a> {
    pub pool: &'a Pool,
    pub client: &'a Client,
    pub user: &'a User,
    pub session: &'a TokenSession,
    pub source: Source,
    /// ClientMetadata, as far as the operation passes it on to PreTokenGeneration.
    pub metadata: Option<&'a BTreeMap<String, String>>,
    pub now: Millis,
}

/// Signs an ID and an access token of a session, each on a thread of the crypto pool. The user's groups are
/// read here and PreTokenGeneration is fired here, so that no path to tokens can leave them out.
/// The refresh token is the caller's to add.
///
/// Errors: those of [`pre_token_generation::for_user`].
pub async fn tokens(cx: &Cx, issue: Issue<'_>) -> Result<AuthenticationResultType> {
    let Issue { pool, client, user, .. } = issue;
    let keys = keys::of(cx, pool).await?;
    let event_id = cx.uuid();
    let groups = GroupClaims::read(cx, user).await?;
    let changes = pre_token_generation::for_user(cx, issue, &groups).await?;
    let groups = changes.groups.as_ref().unwrap_or(&groups);
    let mut access_claims = access_claims(cx, issue, &event_id);
    groups.add_groups(&mut access_claims);
    changes.apply_to_access_token(&mut access_claims);
    let mut id_claims = id_claims(cx, issue, &event_id);
    groups.add_groups(&mut id_claims);
    groups.add_roles(&mut id_claims);
    changes.apply_to_id_token(&mut id_claims);
    let (access_key, id_key) = (keys.access.clone(), keys.id.clone());
    let (access, id) = tokio::try_join!(
        cx.crypto.run(move || access_key.sign(&access_claims)),
        cx.crypto.run(move || id_key.sign(&id_claims)),
    )?;
    Ok(AuthenticationResultType {
        access_token: Some(access.map_err(Error::internal)?.into()),
        id_token: Some(id.map_err(Error::internal)?.into()),
        expires_in: Some(i32::try_from(client.access_token_validity().as_secs()).unwrap_or(i32::MAX)),
        token_type: Some("Bearer".to_owned()),
        ..AuthenticationResultType::default()
    })
}

fn common_claims(cx: &Cx, issue: Issue<'_>, event_id: &str) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".into(), issue.user.sub.as_str().into());
    claims.insert("iss".into(), issue.pool.issuer(&cx.settings).into());
    if issue.client.names_sign_ins() {
        claims.insert("origin_jti".into(), issue.session.origin_jti.as_str().into());
    }
    claims.insert("event_id".into(), event_id.into());
    claims.insert("auth_time".into(), issue.session.auth_time.seconds().into());
    claims.insert("iat".into(), issue.now.seconds().into());
    claims
}

/// Source: access token claims. `jti` is in every access token, `aud` in none.
fn access_claims(cx: &Cx, issue: Issue<'_>, event_id: &str) -> Map<String, Value> {
    let Issue { client, user, session, now, .. } = issue;
    let mut claims = common_claims(cx, issue, event_id);
    claims.insert("client_id".into(), client.record.id.as_str().into());
    claims.insert("token_use".into(), "access".into());
    claims.insert("scope".into(), session.scope.as_str().into());
    claims.insert("exp".into(), (now + client.access_token_validity()).seconds().into());
    claims.insert("jti".into(), cx.uuid().into());
    claims.insert("username".into(), user.username.as_str().into());
    claims
}

/// Source: ID token claims; attributes as far as the client may read them.
fn id_claims(cx: &Cx, issue: Issue<'_>, event_id: &str) -> Map<String, Value> {
    let Issue { client, user, now, .. } = issue;
    let mut claims = attribute_claims(client, &user.attributes);
    claims.append(&mut common_claims(cx, issue, event_id));
    claims.insert("aud".into(), client.record.id.as_str().into());
    claims.insert("token_use".into(), "id".into());
    claims.insert("cognito:username".into(), user.username.as_str().into());
    claims.insert("exp".into(), (now + client.id_token_validity()).seconds().into());
    if client.names_sign_ins() {
        claims.insert("jti".into(), cx.uuid().into());
    }
    claims
}

/// Attributes as claims: the verified flags are booleans, `address` an object, `updated_at` a number,
/// everything else a string, custom attributes of any type included.
fn attribute_claims(client: &Client, attributes: &Attributes) -> Map<String, Value> {
    attributes
        .iter()
        .filter(|(name, _)| client.reads(name))
        .map(|(name, value)| {
            let claim = match name.as_str() {
                "email_verified" | "phone_number_verified" => Value::Bool(value == "true"),
                "address" => json!({ "formatted": value }),
                "updated_at" => value.parse::<i64>().map_or_else(|_| value.as_str().into(), Value::from),
                _ => value.as_str().into(),
            };
            (name.clone(), claim)
        })
        .collect()
}
