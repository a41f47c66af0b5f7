//! ForgotPassword, ConfirmForgotPassword, AdminResetUserPassword: back in without the password.

use std::collections::BTreeMap;

use lido_domain::{Medium, User, UserStatus};
use lido_store::{codes as stored_codes, limits, users};
use lido_wire::ops::{AdminResetUserPassword, ConfirmForgotPassword, ForgotPassword};
use lido_wire::types::{ForgotPasswordResponse, RecoveryOptionNameType};

use crate::Operation;
use crate::auth::mfa;
use crate::auth::migration::{self, Migration};
use crate::caller::{Iam, PublicClient};
use crate::codes::{self, Counted, Purpose};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::{self, Address, Kind, Letter, Prepared};
use crate::ops::sign_up::{known, simulated_details};
use crate::ops::users::{alias_as_parameter, rename};
use crate::passwords;
use crate::pool::{Client, Pool, is_verified};
use crate::triggers::post_confirmation::{self, Source};
use crate::triggers::user_migration::Asked;

/// How passwords are recovered, by priority; without any in the pool, by phone first.
fn mechanisms(pool: &Pool) -> Vec<RecoveryOptionNameType> {
    let setting = pool.settings.account_recovery_setting.as_ref();
    let mut mechanisms = setting.and_then(|setting| setting.recovery_mechanisms.clone()).unwrap_or_default();
    if mechanisms.is_empty() {
        return vec![RecoveryOptionNameType::VerifiedPhoneNumber, RecoveryOptionNameType::VerifiedEmail];
    }
    mechanisms.sort_by_key(|mechanism| mechanism.priority);
    mechanisms.into_iter().map(|mechanism| mechanism.name).collect()
}

/// `email` or `phone_number`, whichever the pool recovers passwords by first.
pub(crate) fn primary_address(pool: &Pool) -> Option<&'static str> {
    match mechanisms(pool).first()? {
        RecoveryOptionNameType::VerifiedEmail => Some("email"),
        RecoveryOptionNameType::VerifiedPhoneNumber => Some("phone_number"),
        RecoveryOptionNameType::AdminOnly => None,
    }
}

/// The verified address that a reset goes to: not one that is a factor of the user's sign-in already.
///
/// Errors: [`fault::contact_administrator`], [`fault::no_recovery_channel`].
fn channel(pool: &Pool, user: &User) -> Result<Address, Fault> {
    let names = mechanisms(pool);
    if names.contains(&RecoveryOptionNameType::AdminOnly) {
        return Err(fault::contact_administrator());
    }
    names
        .into_iter()
        .map(|name| match name {
            RecoveryOptionNameType::VerifiedEmail => "email",
            _ => "phone_number",
        })
        .filter(|name| is_verified(&user.attributes, name) && !mfa::signs_in_by(pool, user, name))
        .find_map(|name| Address::of(&user.attributes, name))
        .ok_or_else(fault::no_recovery_channel)
}

/// The medium of the first mechanism: what most users of the pool would be written by.
fn usual_medium(pool: &Pool) -> Medium {
    match mechanisms(pool).first() {
        Some(RecoveryOptionNameType::VerifiedEmail) => Medium::Email,
        _ => Medium::Sms,
    }
}

/// What a user's state allows. Errors: [`fault::user_disabled`], [`fault::password_not_resettable`].
fn require_resettable(user: &User) -> Result<(), Fault> {
    if !user.enabled {
        return Err(fault::user_disabled());
    }
    match user.status {
        UserStatus::ForceChangePassword | UserStatus::ExternalProvider => {
            Err(fault::password_not_resettable())
        }
        _ if user.password.is_none() => Err(fault::password_not_resettable()),
        _ => Ok(()),
    }
}

async fn prepare(
    cx: &Cx,
    pool: &Pool,
    client: Option<&Client>,
    user: &User,
    address: Address,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<Prepared> {
    let code = codes::new(cx, &user.pool, &user.sub, Purpose::ForgotPassword, &address);
    let letter = Letter {
        pool,
        client,
        user,
        kind: Kind::ForgotPassword,
        address,
        secret: &code.text,
        code: Some(code.record),
        metadata,
    };
    messages::prepare(cx, letter).await
}

/// Sends a code; the user's status stays.
///
/// Where the client may not tell who exists, whatever would refuse answers simulated details.
impl Operation for ForgotPassword {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let pool = &caller.pool;
        let answer = |details| ForgotPasswordResponse { code_delivery_details: Some(details) };
        let tells = caller.client.tells_user_existence();
        let refuse = async |fault: Fault| {
            if tells {
                return Err(fault.into());
            }
            codes::as_for_a_user(cx, pool, &input.username).await?;
            Ok(answer(simulated_details(cx, pool, &input.username, usual_medium(pool))))
        };
        let mut found = known(cx, &caller, &input.username, input.secret_hash.as_deref()).await?;
        codes::count_discreetly(cx, &caller, &input.username, found.as_ref(), Counted::ForgotPassword)
            .await?;
        let mut unknown = fault::username_client_combination_not_found();
        if found.is_none() {
            let (client, metadata) = (&caller.client, input.client_metadata.as_ref());
            let asked = Asked::ForgotPassword;
            match migration::bring_in(cx, pool, client, &input.username, asked, None, metadata).await? {
                Migration::Done(user) => found = Some(*user),
                Migration::Nobody => {}
                Migration::Failed => unknown = fault::migration_failed(client.record.id.as_str()),
            }
        }
        let Some(user) = found else { return refuse(unknown).await };
        if let Err(fault) = require_resettable(&user) {
            return refuse(fault).await;
        }
        let address = match channel(pool, &user) {
            Ok(address) => address,
            Err(fault) => return refuse(fault).await,
        };
        if tells {
            codes::count(cx, &user.pool, &user.sub, Counted::ForgotPassword).await?;
        }
        let metadata = input.client_metadata.as_ref();
        let message = prepare(cx, pool, Some(&caller.client), &user, address, metadata).await?;
        // Neither a failed delivery nor its time may tell that there is somebody to write to.
        Ok(answer(message.send(cx, tells).await?))
    }
}

/// Redeems the code for a new password; the user is confirmed, and its failed sign-ins are forgotten.
///
/// Errors where the client may tell who exists: [`fault::username_client_combination_not_found`],
/// [`fault::expired_code`], [`fault::attempt_limit_exceeded`]. Where it may not, each of them is
/// [`fault::code_mismatch`], but for the hourly limit, which nobody meets as well. [`fault::password_policy`] and
/// [`fault::password_history`] leave the code valid. An alias that another user holds is a bad parameter. When
/// PostConfirmation fails, the new password is in force.
impl Operation for ConfirmForgotPassword {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let pool = &caller.pool;
        let tells = caller.client.tells_user_existence();
        let vague = move |fault: Fault| if tells { fault } else { fault::code_mismatch() };
        let found = known(cx, &caller, &input.username, input.secret_hash.as_deref()).await?;
        passwords::check_policy(pool, &input.password, fault::password_policy)?;
        codes::count_discreetly(cx, &caller, &input.username, found.as_ref(), Counted::ForgotPassword)
            .await?;
        let usable = found.ok_or_else(fault::username_client_combination_not_found).and_then(|user| {
            require_resettable(&user)?;
            Ok(user)
        });
        let before = match usable {
            Ok(user) => user,
            Err(fault) => {
                if !tells {
                    codes::as_for_a_user(cx, pool, &input.username).await?;
                }
                return Err(vague(fault).into());
            }
        };
        if tells {
            codes::count(cx, &before.pool, &before.sub, Counted::ForgotPassword).await?;
        }
        let mut attempt = codes::attempt(
            cx,
            &before.pool,
            &before.sub,
            Purpose::ForgotPassword,
            String::new(),
            &input.confirmation_code,
        );
        let (right, aimed) = cx
            .store
            .read((before.clone(), attempt.clone()), |(before, attempt), tx| {
                Box::pin(async move {
                    let mut attempt = attempt.clone();
                    codes::aim(tx, before, &mut attempt).await?;
                    let right = stored_codes::would_redeem(tx, &before.pool, &before.sub, &attempt).await?;
                    Ok::<_, Error>((right, attempt))
                })
            })
            .await?;
        attempt = aimed;
        // The history is only compared for whoever holds the code: else it would answer guesses.
        let mut after = before.clone();
        if right {
            passwords::set(cx, pool, &mut after, &input.password, UserStatus::Confirmed).await?;
            after.updated = cx.now();
        }
        let captures = (before, after.clone(), pool.clone(), attempt, right);
        cx.store
            .write(captures, move |(before, after, pool, attempt, right), tx| {
                Box::pin(async move {
                    if let Err(fault) = codes::redeem(tx, &before.pool, &before.sub, attempt).await? {
                        return Ok(Err(vague(fault)));
                    }
                    // Sent between the look and now: run again, with the password.
                    if !right || !users::put(tx, before, after).await? {
                        return Err(Error::Conflict);
                    }
                    rename(
                        tx,
                        &after.pool,
                        &after.sub,
                        &pool.sign_in_names(before),
                        &pool.sign_in_names(after),
                    )
                    .await
                    .map_err(alias_as_parameter)?;
                    limits::clear_failures(tx, &after.pool, after.sub.as_str()).await?;
                    Ok::<_, Error>(Ok(()))
                })
            })
            .await??;
        let (client, metadata) = (Some(&*caller.client), input.client_metadata.as_ref());
        post_confirmation::fire(cx, pool, client, Source::ConfirmForgotPassword, &after, metadata).await?;
        Ok(Self::Output::default())
    }
}

/// The password is worth nothing until it is reset with the code that is sent.
///
/// Errors: [`fault::user_not_found`], [`fault::password_not_resettable`], [`fault::no_recovery_channel`], those
/// of the CustomMessage trigger. A message that cannot be delivered is none: the operation does not know that
/// error.
impl Operation for AdminResetUserPassword {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = cx.user(&pool, &input.username).await?;
        require_resettable(&before)?;
        let address = channel(&pool, &before)?;
        let mut user = before.clone();
        user.status = UserStatus::ResetRequired;
        user.updated = cx.now();
        let message = prepare(cx, &pool, None, &user, address, input.client_metadata.as_ref()).await?;
        let names = (pool.sign_in_names(&before), pool.sign_in_names(&user));
        cx.store
            .write((before, user, names, message.clone()), |(before, user, names, message), tx| {
                Box::pin(async move {
                    if !users::put(tx, before, user).await? {
                        return Err(Error::Conflict);
                    }
                    rename(tx, &user.pool, &user.sub, &names.0, &names.1)
                        .await
                        .map_err(alias_as_parameter)?;
                    message.post(tx).await?;
                    Ok::<_, Error>(())
                })
            })
            .await?;
        match message.deliver(cx).await {
            Err(Error::Fault(fault)) => tracing::warn!(fault.code, "a reset code was not delivered"),
            outcome => drop(outcome?),
        }
        Ok(Self::Output::default())
    }
}
