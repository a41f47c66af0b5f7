//! UpdateUserAttributes and AdminUpdateUserAttributes: new values, some of which wait for a code.

use std::collections::BTreeMap;

use lido_domain::User;
use lido_store::users;
use lido_wire::ops::{AdminUpdateUserAttributes, UpdateUserAttributes};
use lido_wire::types::{CodeDeliveryDetailsType, UpdateUserAttributesResponse};

use crate::Operation;
use crate::attributes::{self, ADDRESSES, Change, Writer, verified_flag};
use crate::caller::{Iam, SignedIn};
use crate::codes::{self, Purpose};
use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::messages::{self, Address, Kind, Letter, Prepared};
use crate::ops::users::rename;
use crate::pool::{Client, Pool};

/// What an update makes of a user, and the addresses that get a code.
#[derive(Debug, PartialEq)]
struct Updated {
    user: User,
    to_verify: Vec<Address>,
}

/// Applies a change of attributes.
///
/// A new address falls back to unverified, or waits beside the old one where the pool verifies before the
/// update; either way an auto-verified one gets a code. `*_verified` in the change is an administrator's word:
/// with `true` the address holds at once and no code is sent.
fn apply(pool: &Pool, before: &User, change: Change) -> Updated {
    let mut user = before.clone();
    let mut to_verify = Vec::new();
    let Change { mut set, remove } = change;
    attributes::remove(&mut user, &remove);
    for name in ADDRESSES {
        let flag = verified_flag(name);
        let vouched = set.get(&flag).is_some_and(|value| value == "true");
        let Some(value) = set.get(name).cloned() else { continue };
        if vouched || before.attributes.get(name) == Some(&value) {
            user.pending.remove(name);
            continue;
        }
        if pool.is_auto_verified(name) {
            to_verify.extend(Address::of(&set, name));
        }
        if pool.is_auto_verified(name) && pool.verifies_before_update(name) {
            user.pending.insert(name.to_owned(), value);
            set.remove(name);
            set.remove(&flag);
        } else {
            user.pending.remove(name);
            set.insert(flag, "false".to_owned());
        }
    }
    user.attributes.append(&mut set);
    Updated { user, to_verify }
}

/// Writes the user and queues the codes, in one commit.
async fn store(
    cx: &Cx,
    pool: &Pool,
    client: Option<&Client>,
    before: User,
    updated: Updated,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Vec<Prepared>> {
    let Updated { mut user, to_verify } = updated;
    user.updated = cx.now();
    let mut messages = Vec::with_capacity(to_verify.len());
    for address in to_verify {
        let code = codes::new(cx, &user.pool, &user.sub, Purpose::verifying(address.attribute), &address);
        let letter = Letter {
            pool,
            client,
            user: &user,
            kind: Kind::UpdateUserAttribute,
            address,
            secret: &code.text,
            code: Some(code.record),
            metadata,
        };
        messages.push(messages::prepare(cx, letter).await?);
    }
    let names = (pool.sign_in_names(&before), pool.sign_in_names(&user));
    cx.store
        .write((before, user, names, messages.clone()), |(before, user, names, messages), tx| {
            Box::pin(async move {
                if !users::put(tx, before, user).await? {
                    return Err(Error::Conflict);
                }
                rename(tx, &user.pool, &user.sub, &names.0, &names.1).await?;
                for message in messages {
                    message.post(tx).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await?;
    Ok(messages)
}

async fn deliver(cx: &Cx, messages: Vec<Prepared>) -> Result<Vec<CodeDeliveryDetailsType>> {
    let deliveries = messages.into_iter().map(|message| message.deliver(cx));
    futures_util::future::join_all(deliveries).await.into_iter().collect()
}

/// Errors: those of [`attributes::for_update`], [`fault::alias_exists`], those of the CustomMessage trigger,
/// [`fault::code_delivery_failed`] (the update stands then).
impl Operation for UpdateUserAttributes {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        let change =
            attributes::for_update(&caller.pool, Writer::Client(&caller.client), &input.user_attributes)?;
        let updated = apply(&caller.pool, &caller.user, change);
        let metadata = input.client_metadata.as_ref();
        let messages = store(cx, &caller.pool, Some(&caller.client), caller.user, updated, metadata).await?;
        let details = deliver(cx, messages).await?;
        Ok(UpdateUserAttributesResponse { code_delivery_details_list: Some(details) })
    }
}

/// Errors: those of [`attributes::for_update`], [`fault::alias_exists`], those of the CustomMessage trigger.
/// A message that cannot be delivered is none: the operation does not know that error.
impl Operation for AdminUpdateUserAttributes {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = cx.user(&pool, &input.username).await?;
        let change = attributes::for_update(&pool, Writer::Administrator, &input.user_attributes)?;
        let updated = apply(&pool, &before, change);
        let messages = store(cx, &pool, None, before, updated, input.client_metadata.as_ref()).await?;
        match deliver(cx, messages).await {
            Err(Error::Fault(fault)) => {
                tracing::warn!(fault.code, "a code for a changed address was not delivered")
            }
            outcome => drop(outcome?),
        }
        Ok(Self::Output::default())
    }
}
