//! NEW_PASSWORD_REQUIRED: a user with a temporary password chooses a new one.

use std::collections::BTreeMap;

use lido_domain::{User, UserStatus};
use lido_store::{limits, sessions, users};
use lido_wire::types::{AttributeType, ChallengeNameType};
use serde_json::json;

use crate::attributes::{self, ADDRESSES, Writer, verified_flag};
use crate::auth::finish::{self, Proof};
use crate::auth::session::{self, Awaits, Resumed, Session};
use crate::auth::{Entrance, Parameters, Step};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::users::rename;
use crate::passwords;
use crate::pool::{Client, Pool};
use crate::tokens::issue::Source;

const PREFIX: &str = "userAttributes.";

/// Asks for the new password.
///
/// Errors: [`fault::temporary_password_expired`].
pub(super) fn challenge(cx: &Cx, entrance: &Entrance, user: &User) -> Result<Step> {
    if passwords::is_expired_temporary(&entrance.pool, user, cx.now()) {
        return Err(fault::temporary_password_expired().into());
    }
    let required: Vec<String> = attributes::missing_required(&entrance.pool, &user.attributes)
        .into_iter()
        .map(|name| format!("{PREFIX}{name}"))
        .collect();
    let readable: BTreeMap<&String, &String> =
        user.attributes.iter().filter(|(name, _)| entrance.client.reads(name)).collect();
    let parameters = [
        ("USER_ID_FOR_SRP", user.username.clone()),
        ("requiredAttributes", json!(required).to_string()),
        ("userAttributes", json!(readable).to_string()),
    ];
    Ok(Step::Challenge {
        name: ChallengeNameType::NewPasswordRequired,
        parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
        session: Some(session::seal(
            cx,
            entrance,
            &Session::new(cx, entrance, user, Awaits::NewPasswordRequired),
        )),
    })
}

/// Sets the new password, in one write with the session's redemption, and signs the user in. A function that
/// refuses the sign-in leaves the new password in force.
pub(super) async fn answer(
    cx: &Cx,
    entrance: &Entrance,
    sealed: Option<&str>,
    responses: &Parameters,
) -> Result<Step> {
    responses.require("USERNAME")?;
    let password = responses.require("NEW_PASSWORD")?;
    let pool = &entrance.pool;
    let session = session::open(cx, entrance, sealed, ChallengeNameType::NewPasswordRequired)?;
    let Resumed { user: before, once, .. } = session::resume(cx, entrance, &session, responses).await?;
    // Confirmed, signed out, or given another temporary password since: this session proves nothing any more.
    if before.status != UserStatus::ForceChangePassword {
        return Err(fault::invalid_session().into());
    }
    passwords::check_policy(pool, password, fault::password_policy)?;

    let mut user = before.clone();
    complete_attributes(pool, &entrance.client, &mut user, &sent_attributes(responses))?;
    let missing = attributes::missing_required(pool, &user.attributes);
    if !missing.is_empty() {
        return Err(fault::required_attributes_missing(&missing).into());
    }
    passwords::set(cx, pool, &mut user, password, UserStatus::Confirmed).await?;
    let now = cx.now();
    user.updated = now;

    let names = (pool.sign_in_names(&before), pool.sign_in_names(&user));
    cx.store
        .write((before, user.clone(), names, once, now), |(before, user, names, once, now), tx| {
            Box::pin(async move {
                if !sessions::redeem_once(tx, &once.digest, once.expires).await? {
                    return Err(fault::session_used().into());
                }
                if limits::locked_until(tx, &user.pool, user.sub.as_str(), *now).await?.is_some() {
                    return Err(fault::locked_out().into());
                }
                if !users::put(tx, before, user).await? {
                    return Err(Error::Conflict);
                }
                rename(tx, &user.pool, &user.sub, &names.0, &names.1).await
            })
        })
        .await?;
    // The write has raised it.
    user.revision += 1;
    let (proof, source) = (Proof::default(), Source::NewPasswordChallenge);
    match finish::proceed(cx, entrance, &user, proof, source).await {
        // Run again, the session would be found used: this says what became of its user.
        Err(Error::Conflict) => Err(fault::invalid_session().into()),
        outcome => outcome,
    }
}

/// Takes over the attributes that came with the new password. An address that the user has cannot be
/// changed here, nor can any required attribute; a new address is not verified by it.
///
/// Errors: [`fault::unauthorized_attribute_write`], [`fault::attribute_already_provided`], those of
/// [`attributes::for_update`].
fn complete_attributes(pool: &Pool, client: &Client, user: &mut User, sent: &[AttributeType]) -> Result<()> {
    if sent.iter().any(|sent| ADDRESSES.iter().any(|address| verified_flag(address) == sent.name)) {
        return Err(fault::unauthorized_attribute_write().into());
    }
    let change = attributes::for_update(pool, Writer::Client(client), sent)?;
    for (name, value) in change.set {
        let is_address = ADDRESSES.contains(&name.as_str());
        let is_fixed = is_address || pool.required_attributes().any(|required| required == name);
        match user.attributes.get(&name) {
            Some(present) if *present == value => continue,
            Some(_) if is_fixed => return Err(fault::attribute_already_provided(&name).into()),
            _ => {}
        }
        if is_address {
            user.attributes.insert(verified_flag(&name), "false".to_owned());
            user.pending.remove(&name);
        }
        user.attributes.insert(name, value);
    }
    attributes::remove(user, &change.remove);
    Ok(())
}

/// The attributes among the responses, `userAttributes.<name>`.
fn sent_attributes(responses: &Parameters) -> Vec<AttributeType> {
    responses
        .0
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(PREFIX)?;
            Some(AttributeType { name: name.to_owned(), value: Some(value.clone()) })
        })
        .collect()
}
