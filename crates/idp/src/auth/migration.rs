//! A user whom the pool does not know is brought in from another directory, in the request that names it.

use std::collections::BTreeMap;

use lido_domain::{MfaFactor, Secret, User};
use lido_store::users::SignInName;
use lido_wire::ops::AdminGetUser;
use lido_wire::{Api, ErrorCode};
use serde_json::json;

use crate::attributes::{self, ADDRESSES, Writer};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::ops::admin_create_user::{self, Invitation, invitations};
use crate::ops::sign_up::{name_new_user, new_user};
use crate::passwords;
use crate::pool::{Client, Pool};
use crate::triggers::About;
use crate::triggers::user_migration::{self, Asked, Found};

/// A password that nobody knows is not to be guessed.
const UNKNOWN_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const UNKNOWN_LENGTH: usize = 64;

/// What came of asking another directory.
pub(crate) enum Migration {
    /// The user is in the pool now.
    Done(Box<User>),
    /// The other directory knows nobody of this name either, or the pool has no function.
    Nobody,
    /// Something went wrong with the function, its answer, or the user that the answer describes: the log says
    /// what. The caller tells as much as the app client may.
    Failed,
}

pub(crate) fn is_configured(pool: &Pool) -> bool {
    pool.lambda().is_some_and(|lambda| lambda.user_migration.is_some())
}

/// Asks the pool's function for the user that is typed as `name`, and makes it. Past the lock of
/// who guesses nobody is made, however many guesses run beside each other.
pub(crate) async fn bring_in(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    name: &str,
    asked: Asked<'_>,
    validation_data: Option<&BTreeMap<String, String>>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Migration> {
    let about = About { pool, client: Some(client), username: name };
    let outcome = match user_migration::fire(cx, about, asked, validation_data, metadata).await {
        Ok(Some(found)) => {
            create(cx, pool, client, name, asked, found).await.map(|user| Migration::Done(user.into()))
        }
        Ok(None) => Ok(Migration::Nobody),
        Err(error) => Err(error),
    };
    match outcome {
        Err(Error::Fault(fault)) if !is_loud(&fault) => {
            tracing::warn!(pool.id = %pool.record.id, code = fault.code, "a user was not migrated");
            Ok(Migration::Failed)
        }
        outcome => outcome,
    }
}

/// Neither what is typed at a sign-in nor what a function answers is bounded by the model, and every Admin operation
/// has to be able to name the user.
fn require_nameable(pool: &Pool, name: &str) -> Result<()> {
    let body = json!({ "UserPoolId": pool.record.id.as_str(), "Username": name });
    match lido_wire::validate(AdminGetUser::FACTS.input, &body) {
        Ok(()) => Ok(()),
        Err(_) => Err(fault::unrecognizable_lambda_output().into()),
    }
}

/// What is no failure of the migration: the server is busy, or has not built what the pool asks for.
fn is_loud(fault: &Fault) -> bool {
    fault.is(ErrorCode::TooManyRequests) || fault.is_not_implemented()
}

/// Makes the user in one write. If another request made it meanwhile, that one is the user.
async fn create(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    typed: &str,
    asked: Asked<'_>,
    found: Found,
) -> Result<User> {
    let mut attributes = attributes::for_new_user(pool, Writer::Administrator, &found.attributes)?;
    let chosen = found.username.as_deref().filter(|_| !pool.has_username_attributes());
    let name = name_new_user(cx, pool, chosen.unwrap_or(typed), &mut attributes)?;
    let missing = attributes::missing_required(pool, &attributes);
    if !missing.is_empty() {
        return Err(fault::required_attributes_missing(&missing).into());
    }
    let mut user = new_user(pool, name, attributes, found.status, cx.now());
    require_nameable(pool, &user.username)?;
    // Only where the pool asks for it and there is a number to write to.
    let has_sms_mfa = pool.mfa_factors().contains(&MfaFactor::SmsMfa);
    if found.enable_sms_mfa && has_sms_mfa && user.attributes.contains_key("phone_number") {
        user.mfa.enabled.insert(MfaFactor::SmsMfa);
    }
    // As it was typed, without the pool's policy. Whoever forgot it gets one that nobody knows until it is reset.
    let (password, guessed_by) = match asked {
        Asked::SignIn { password, guessed_by } => (Secret::new(password.to_owned()), Some(guessed_by)),
        Asked::ForgotPassword => (Secret::new(cx.random_text(UNKNOWN_ALPHABET, UNKNOWN_LENGTH)), None),
    };
    passwords::set(cx, pool, &mut user, password.expose(), found.status).await?;
    let is_forced = |name: &SignInName| {
        found.force_alias_creation && pool.is_alias(name.kind) && ADDRESSES.contains(&name.kind)
    };
    let (forced, plain): (Vec<SignInName>, Vec<SignInName>) =
        pool.sign_in_names(&user).into_iter().partition(is_forced);
    // The welcome carries the password: who does not know it is not told another.
    let welcome = if found.is_welcomed && matches!(asked, Asked::SignIn { .. }) {
        let invitation = Invitation {
            pool,
            client: Some(client),
            user: &user,
            password: &password,
            mediums: Some(&found.mediums),
            metadata: None,
        };
        invitations(cx, invitation).await?
    } else {
        Vec::new()
    };
    match admin_create_user::store(cx, &user, plain, forced, &welcome, guessed_by).await {
        Ok(()) => {}
        Err(Error::Fault(fault)) if !fault.is(ErrorCode::TooManyRequests) => {
            return cx.find_user(pool, typed).await?.ok_or_else(|| fault.into());
        }
        Err(other) => return Err(other),
    }
    for message in welcome {
        message.deliver_unheard(cx);
    }
    Ok(user)
}
