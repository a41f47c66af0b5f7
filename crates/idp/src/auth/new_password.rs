//! NEW_PASSWORD_REQUIRED: a user with a temporary password chooses a new one.

use std::collections::BTreeMap;

use lido_domain::{User, UserStatus};
use lido_store::{sessions, users};
use lido_wire::types::{AttributeType, ChallengeNameType};
use serde_json::json;

use crate::attributes::{self, ADDRESSES, Writer, verified_flag};
use crate::auth::finish;
use crate::auth::session::{self, Awaits};
use crate::auth::{Entrance, Parameters, Step};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::users::rename;
use crate::passwords;
use crate::pool::{Client, Pool};
use crate::tokens::issue;

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
        session: Some(session::seal(cx, entrance, user, Awaits::NewPasswordRequired)),
    })
}

/// Sets the new password and signs the user in, in one write with the session's redemption.
pub(super) async fn answer(
    cx: &Cx,
    entrance: &Entrance,
    sealed: Option<&str>,
    responses: &Parameters,
) -> Result<Step> {
    let name = responses.require("USERNAME")?;
    let password = responses.require("NEW_PASSWORD")?;
    finish::refuse_unbuilt(&entrance.pool)?;
    let pool = &entrance.pool;
    let session = session::open(cx, entrance, sealed, Awaits::NewPasswordRequired)?;
    let once = session.once(cx);
    let found = cx
        .store
        .read((pool.record.id.clone(), session.sub.clone(), once.digest), |(pool, sub, digest), tx| {
            Box::pin(async move {
                Ok::<_, Error>((
                    users::by_sub(tx, pool, sub).await?,
                    sessions::is_redeemed(tx, digest).await?,
                ))
            })
        })
        .await?;
    let (Some(before), redeemed) = found else { return Err(fault::invalid_session().into()) };
    entrance.client.check_secret_hash(responses.get("SECRET_HASH"), &[name, &before.username])?;
    if redeemed {
        return Err(fault::session_used().into());
    }
    if name != before.username && cx.find_user(pool, name).await?.is_none_or(|user| user.sub != before.sub) {
        return Err(fault::invalid_session().into());
    }
    if !before.enabled {
        return Err(fault::user_disabled().into());
    }
    // Confirmed, signed out, or given another temporary password since: this session proves nothing any more.
    if before.status != UserStatus::ForceChangePassword || !session.is_of(&before) {
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

    let new = issue::new_session(cx, pool, &entrance.client, &user, now);
    // The write below raises the revision once.
    let proven = sessions::Proven { revision: before.revision + 1, now };
    let names = (pool.sign_in_names(&before), pool.sign_in_names(&user));
    let refresh_token = new.refresh_token.clone();
    let mut tokens = issue::tokens(cx, pool, &entrance.client, &user, &new.session, now).await?;
    let captures = (before, user, names, new.session, new.digest, proven, once);
    cx.store
        .write(captures, |(before, user, names, session, digest, proven, once), tx| {
            Box::pin(async move {
                if !sessions::redeem_once(tx, &once.digest, once.expires).await? {
                    return Err(fault::session_used().into());
                }
                if !users::put(tx, before, user).await? {
                    return Err(Error::Conflict);
                }
                rename(tx, &user.pool, &user.sub, &names.0, &names.1).await?;
                finish::record(tx, session, digest, proven).await
            })
        })
        .await?;
    tokens.refresh_token = Some(refresh_token.expose().as_str().into());
    Ok(Step::Tokens(tokens))
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
