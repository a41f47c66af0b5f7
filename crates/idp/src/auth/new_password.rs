//! NEW_PASSWORD_REQUIRED: a user with a temporary password chooses a new one.

use std::collections::BTreeMap;

use lido_domain::{User, UserStatus};
use lido_store::{sessions, users};
use lido_wire::types::{AttributeType, ChallengeNameType};
use serde_json::json;

use crate::attributes::{self, Writer};
use crate::auth::finish::{self, Once};
use crate::auth::session::{self, Awaits};
use crate::auth::{Entrance, Parameters, Step};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::users::rename;
use crate::passwords;
use crate::tokens::issue;

const PREFIX: &str = "userAttributes.";

/// Asks for the new password. `once`: what proved the temporary one, where that may be used once.
pub(super) async fn challenge(cx: &Cx, entrance: &Entrance, user: &User, once: Option<Once>) -> Result<Step> {
    if passwords::is_expired_temporary(&entrance.pool, user, cx.now()) {
        return Err(fault::temporary_password_expired().into());
    }
    if let Some(once) = once {
        let first = cx
            .store
            .write(once, |once, tx| {
                Box::pin(async move {
                    Ok::<_, Error>(sessions::redeem_once(tx, &once.digest, once.expires).await?)
                })
            })
            .await?;
        if !first {
            return Err(fault::wrong_credentials().into());
        }
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
        session: Some(session::seal(cx, entrance, &user.sub, Awaits::NewPasswordRequired)),
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
    // Confirmed or reset in another way since: this session has nothing left to change.
    if before.status != UserStatus::ForceChangePassword {
        return Err(fault::invalid_session().into());
    }
    passwords::check_policy(pool, password, fault::password_policy)?;

    let mut user = before.clone();
    let change = attributes::for_update(pool, Writer::Client(&entrance.client), &sent_attributes(responses))?;
    for name in change.set.keys() {
        let is_required = pool.required_attributes().any(|required| required == name);
        if is_required
            && before.attributes.contains_key(name)
            && before.attributes.get(name) != change.set.get(name)
        {
            return Err(fault::attribute_already_provided(name).into());
        }
    }
    user.attributes.extend(change.set);
    for name in change.remove {
        user.attributes.remove(&name);
    }
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
    let captures = (before, user.clone(), names, new.session.clone(), new.digest, proven, once);
    let recorded = cx.store.write(captures, |(before, user, names, session, digest, proven, once), tx| {
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
    });
    let signed = issue::tokens(cx, pool, &entrance.client, &user, &new.session, now);
    let ((), mut tokens) = tokio::try_join!(recorded, signed)?;
    tokens.refresh_token = Some(refresh_token.into());
    Ok(Step::Tokens(tokens))
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
