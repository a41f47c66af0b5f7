//! The seed file: pools, clients, groups and users that must exist, with the ids that it fixes.
//!
//! Its objects are the API's own requests with ids added, so they are checked by the same rules. Applying a
//! seed makes what is missing and leaves what exists as it is; applying it again changes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::jws;
use lido_domain::records::{SigningKey, TokenUse};
use lido_domain::{ClientId, Millis, PoolId, Sub, User, UserStatus};
use lido_store::users;
use lido_wire::ops::{AdminCreateUser, CreateGroup, CreateUserPool, CreateUserPoolClient};
use lido_wire::types::{AttributeType, Sensitive};
use lido_wire::{Api, ErrorCode, Kind, Shape};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::attributes::{self, Writer};
use crate::cx::Cx;
use crate::fault::{self, Error};
use crate::ops::{app_clients, groups, user_pools};
use crate::passwords;
use crate::pool::{Client, Pool};
use crate::tokens;

/// A seed file as it is read from JSON or YAML.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    #[serde(rename = "UserPools", default)]
    pub user_pools: Vec<PoolSeed>,
}

/// A pool: the members of CreateUserPool, and these. A group is the members of CreateGroup, without the pool's
/// id.
#[derive(Deserialize)]
pub struct PoolSeed {
    #[serde(rename = "Id")]
    pub id: String,
    #[serde(rename = "Clients", default)]
    pub clients: Vec<ClientSeed>,
    #[serde(rename = "Groups", default)]
    pub groups: Vec<Map<String, Value>>,
    #[serde(rename = "Users", default)]
    pub users: Vec<UserSeed>,
    #[serde(rename = "SigningKeys", default)]
    pub signing_keys: SigningKeysSeed,
    #[serde(flatten)]
    pub request: Map<String, Value>,
}

impl fmt::Debug for PoolSeed {
    /// Without the request: it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSeed")
            .field("id", &self.id)
            .field("clients", &self.clients)
            .field("groups", &self.groups)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

/// A client: the members of CreateUserPoolClient, without the pool's id, and this.
#[derive(Deserialize)]
pub struct ClientSeed {
    #[serde(rename = "ClientId")]
    pub client_id: String,
    #[serde(flatten)]
    pub request: Map<String, Value>,
}

impl fmt::Debug for ClientSeed {
    /// Without the request: a secret may be in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSeed").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// A confirmed user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSeed {
    /// As it is given to sign-up: in pools with username attributes an address.
    #[serde(rename = "Username")]
    pub username: Sensitive,
    /// A UUID; absent, one is made up.
    #[serde(rename = "Sub")]
    pub sub: Option<String>,
    /// The permanent password. Without one the user cannot sign in, nor reset it: there is none until an
    /// administrator sets one.
    #[serde(rename = "Password")]
    pub password: Option<Sensitive>,
    #[serde(rename = "UserAttributes", default)]
    pub attributes: BTreeMap<String, Sensitive>,
    /// Names of groups of the pool. Only a user that the seed makes is put into them: one who holds the name
    /// already may be somebody else.
    #[serde(rename = "Groups", default)]
    pub groups: Vec<String>,
}

/// RSA private keys as PEM.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeysSeed {
    pub access: Option<Sensitive>,
    pub id: Option<Sensitive>,
}

/// What applying a seed did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub pools_created: usize,
    pub clients_created: usize,
    pub groups_created: usize,
    pub users_created: usize,
    /// Pools, clients, groups and users that were there already.
    pub left_alone: usize,
}

/// What in a seed cannot be made, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct SeedError {
    /// `UserPools[0].Users[2]`
    pub place: String,
    pub reason: String,
}

impl SeedError {
    fn at(place: &str, reason: impl fmt::Display) -> Self {
        Self { place: place.to_owned(), reason: reason.to_string() }
    }
}

/// Makes what the seed names and the store has not. Stops at the first error; what was made until then
/// stays, and is left alone the next time.
pub async fn apply(cx: &Cx, seed: Seed) -> Result<Summary, SeedError> {
    let mut summary = Summary::default();
    for (index, pool) in seed.user_pools.into_iter().enumerate() {
        let place = format!("UserPools[{index}]");
        let (clients, groups, users) = (pool.clients, pool.groups, pool.users);
        let (pool, created) = make_pool(cx, &place, &pool.id, pool.request, &pool.signing_keys).await?;
        summary.count(created, |summary| &mut summary.pools_created);
        for (index, client) in clients.into_iter().enumerate() {
            let place = format!("{place}.Clients[{index}]");
            let created = make_client(cx, &place, &pool, client).await?;
            summary.count(created, |summary| &mut summary.clients_created);
        }
        for (index, group) in groups.into_iter().enumerate() {
            let place = format!("{place}.Groups[{index}]");
            let created = make_group(cx, &place, &pool, group).await?;
            summary.count(created, |summary| &mut summary.groups_created);
        }
        for (index, user) in users.into_iter().enumerate() {
            let place = format!("{place}.Users[{index}]");
            let created = make_user(cx, &place, &pool, user).await?;
            summary.count(created, |summary| &mut summary.users_created);
        }
    }
    Ok(summary)
}

impl Summary {
    fn count(&mut self, created: bool, counter: fn(&mut Self) -> &mut usize) {
        *if created { counter(self) } else { &mut self.left_alone } += 1;
    }
}

async fn make_pool(
    cx: &Cx,
    place: &str,
    id: &str,
    request: Map<String, Value>,
    signing_keys: &SigningKeysSeed,
) -> Result<(Arc<Pool>, bool), SeedError> {
    let at = |error: Error| SeedError::at(place, error);
    match cx.pool(id).await {
        Ok(pool) => return Ok((pool, false)),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(at(error)),
    }
    let request = input::<CreateUserPool>(place, request)?;
    let id = PoolId::new(id);
    let mut keys = Vec::new();
    for (token_use, pem) in [(TokenUse::Access, &signing_keys.access), (TokenUse::Id, &signing_keys.id)] {
        if let Some(pem) = pem {
            let place = format!("{place}.SigningKeys.{}", token_use.as_str());
            let key = signing_key(cx, &id, token_use, pem, cx.now())
                .map_err(|fault| SeedError::at(&place, fault))?;
            keys.push(key);
        }
    }
    let region = id.region().to_owned();
    let pool = user_pools::create_with_keys(cx, Some(id), &region, request, keys).await.map_err(at)?;
    Ok((pool, true))
}

/// The record of a key from a seed. Its id follows from the key, so that tokens and cached key sets hold
/// after the data was thrown away and seeded again.
fn signing_key(
    cx: &Cx,
    pool: &PoolId,
    token_use: TokenUse,
    pem: &str,
    now: Millis,
) -> Result<SigningKey, jws::KeyFault> {
    let key = jws::SigningKey::from_pem(pem, String::new())?;
    let modulus = key.modulus_base64url();
    let kid = STANDARD.encode(Sha256::digest(format!("{pool}\n{}\n{modulus}", token_use.as_str())));
    let key = jws::GeneratedKey { pkcs8: key.pkcs8()?, modulus };
    Ok(tokens::keys::seal(cx, pool, token_use, kid, &key, now))
}

async fn make_client(cx: &Cx, place: &str, pool: &Pool, client: ClientSeed) -> Result<bool, SeedError> {
    let at = |error: Error| SeedError::at(place, error);
    let id = client.client_id;
    match cx.client_by_id(&id).await {
        Ok((found, _)) if found.record.id == pool.record.id => return Ok(false),
        Ok((found, _)) => {
            let reason = format!("the client id {id} is in use in the user pool {}", found.record.id);
            return Err(SeedError::at(place, reason));
        }
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(at(error)),
    }
    if !is_client_id(&id) {
        return Err(SeedError::at(place, "a ClientId has 1 to 128 letters, digits, _ and +"));
    }
    let mut members = client.request;
    members.insert("UserPoolId".to_owned(), pool.record.id.as_str().into());
    let mut request = input::<CreateUserPoolClient>(place, members)?;
    let secret = request.client_secret.take().map(Sensitive::into_string);
    let _: Arc<Client> =
        app_clients::create(cx, pool, Some(ClientId::new(id)), secret, request).await.map_err(at)?;
    Ok(true)
}

/// Source: ClientIdType.
fn is_client_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+'))
}

async fn make_group(
    cx: &Cx,
    place: &str,
    pool: &Pool,
    mut members: Map<String, Value>,
) -> Result<bool, SeedError> {
    let at = |error: Error| SeedError::at(place, error);
    members.insert("UserPoolId".to_owned(), pool.record.id.as_str().into());
    let request = input::<CreateGroup>(place, members)?;
    if groups::find(cx, pool, &request.group_name).await.map_err(at)?.is_some() {
        return Ok(false);
    }
    groups::create(cx, pool, request).await.map_err(at)?;
    Ok(true)
}

async fn make_user(cx: &Cx, place: &str, pool: &Pool, seed: UserSeed) -> Result<bool, SeedError> {
    let request = [("UserPoolId", pool.record.id.as_str()), ("Username", seed.username.as_str())]
        .map(|(name, value)| (name.to_owned(), value.into()));
    input::<AdminCreateUser>(place, Map::from_iter(request))?;
    create_user(cx, pool, &seed).await.map_err(|error| SeedError::at(place, error))
}

/// False when a user of this name or sub exists.
async fn create_user(cx: &Cx, pool: &Pool, seed: &UserSeed) -> Result<bool, Error> {
    let name = seed.username.as_str();
    for known in [Some(name), seed.sub.as_deref()].into_iter().flatten() {
        if cx.find_user(pool, known).await?.is_some() {
            return Ok(false);
        }
    }
    let sub = match &seed.sub {
        Some(sub) if is_uuid(sub) => sub.clone(),
        Some(_) => return Err(fault::invalid_parameter("Sub must be a UUID in lower case").into()),
        None => cx.uuid(),
    };
    let mut sent: Vec<AttributeType> = seed
        .attributes
        .iter()
        .map(|(name, value)| AttributeType { name: name.clone(), value: Some(value.clone()) })
        .collect();
    let username = if pool.has_username_attributes() {
        let kind = address_kind(pool, name)?;
        match seed.attributes.get(kind) {
            None => sent.push(AttributeType { name: kind.to_owned(), value: Some(name.into()) }),
            Some(value) if value == name => {}
            Some(_) => {
                return Err(
                    fault::invalid_parameter(format!("Username and the attribute {kind} differ")).into()
                );
            }
        }
        sub.clone()
    } else {
        pool.fold(name)
    };
    let now = cx.now();
    let mut user = User {
        pool: pool.record.id.clone(),
        sub: Sub::new(sub),
        username,
        attributes: attributes::for_new_user(pool, Writer::Administrator, &sent)?,
        pending: BTreeMap::new(),
        status: UserStatus::Confirmed,
        enabled: true,
        created: now,
        updated: now,
        password: None,
        password_set: now,
        password_history: None,
        signed_out: Millis::default(),
        mfa: Default::default(),
        totp_secret: None,
        totp_pending: None,
        revision: 0,
    };
    if let Some(password) = &seed.password {
        passwords::check_policy(pool, password, fault::password_policy)?;
        passwords::set(cx, pool, &mut user, password, UserStatus::Confirmed).await?;
    }
    let names = pool.sign_in_names(&user);
    cx.store
        .write((user, names, seed.groups.clone()), |(user, names, groups), tx| {
            Box::pin(async move {
                users::insert(tx, user).await?;
                for name in names {
                    if !users::claim(tx, &user.pool, &user.sub, name).await? {
                        return Err(Error::from(fault::username_attribute_taken(name.kind)));
                    }
                }
                for name in groups {
                    groups::join(tx, &user.pool, name, &user.sub).await?;
                }
                Ok(())
            })
        })
        .await?;
    Ok(true)
}

/// Which of the pool's username attributes a name is.
fn address_kind(pool: &Pool, name: &str) -> Result<&'static str, Error> {
    let (email, phone) = (pool.is_username_attribute("email"), pool.is_username_attribute("phone_number"));
    if email && attributes::is_email(name) {
        Ok("email")
    } else if phone && attributes::is_phone_number(name) {
        Ok("phone_number")
    } else {
        let expected = match (email, phone) {
            (true, true) => "either an email or a phone number",
            (true, false) => "an email",
            _ => "a phone number",
        };
        Err(fault::username_should_be(expected).into())
    }
}

/// `8-4-4-4-12` hexadecimal digits in lower case: a sub is looked up as it is written.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Fault(fault) if fault.is(ErrorCode::ResourceNotFound))
}

/// Members of a request as the request itself. Unlike the API, where unknown members are ignored, a seed
/// has none: they are mistakes.
fn input<O: Api>(place: &str, members: Map<String, Value>) -> Result<O::Input, SeedError> {
    let at = |reason: String| SeedError::at(place, reason);
    let value = Value::Object(members);
    if let Some(path) = unknown_member(O::FACTS.input, &value) {
        return Err(at(format!("unknown member {path}")));
    }
    lido_wire::validate(O::FACTS.input, &value).map_err(|invalid| at(invalid.to_string()))?;
    O::parse(value).map_err(|error| at(error.to_string()))
}

/// The path of a member that the model does not have: `Policies.PasswordPolicy.MinimumLenght`.
fn unknown_member(shape: &Shape, value: &Value) -> Option<String> {
    match (&shape.kind, value) {
        (Kind::Structure(members), Value::Object(object)) => {
            object.iter().find_map(|(name, value)| match members.iter().find(|member| member.name == name) {
                None => Some(name.clone()),
                Some(member) => unknown_member(member.shape, value).map(|path| join(name, &path)),
            })
        }
        (Kind::List { of, .. }, Value::Array(elements)) => {
            elements.iter().enumerate().find_map(|(index, value)| {
                unknown_member(of, value).map(|path| join(&format!("[{index}]"), &path))
            })
        }
        (Kind::Map { value: of, .. }, Value::Object(object)) => {
            object.iter().find_map(|(name, value)| unknown_member(of, value).map(|path| join(name, &path)))
        }
        _ => None,
    }
}

/// `Schema` and `[0].Nmae` make `Schema[0].Nmae`.
fn join(name: &str, path: &str) -> String {
    if path.starts_with('[') { format!("{name}{path}") } else { format!("{name}.{path}") }
}

#[cfg(test)]
pub(crate) mod tests;
