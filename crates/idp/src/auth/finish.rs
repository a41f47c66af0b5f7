//! From a proven password to the next challenge or to tokens.

use lido_domain::records::{MfaFactor, TokenSession};
use lido_domain::{Millis, PoolId, Sub, User, UserStatus};
use lido_store::codes::{self, Attempt, Redeemed};
use lido_store::sessions::Proven;
use lido_store::{Tx, limits, sessions, users};
use lido_wire::ErrorCode;

use crate::attributes::verified_flag;
use crate::auth::mfa;
use crate::auth::{Entrance, Step, new_password};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::Address;
use crate::ops::users::rename;
use crate::pool::Pool;
use crate::tokens::issue::{self, Issue, Source};
use crate::triggers::post_authentication;

/// Something that may be used once, to be redeemed in the write that acts on it.
#[derive(Clone, Debug)]
pub(super) struct Once {
    pub digest: [u8; 32],
    /// When it stops being valid anyway.
    pub expires: Millis,
    /// What whoever brings it a second time is told.
    pub used: fn() -> Fault,
}

/// What is used up by a sign-in, and what it changes, in the write that records it.
#[derive(Clone, Debug, Default)]
pub(super) struct Proof {
    pub once: Option<Once>,
    pub second: Option<SecondFactor>,
    pub change: Option<Change>,
}

/// A second factor that was right when it was looked at, and must still be when it is used.
#[derive(Clone, Debug)]
pub(super) enum SecondFactor {
    Code {
        attempt: Attempt,
        /// Where it was sent, if the user must still have that address.
        address: Option<Address>,
    },
    /// The time step of a software token's code.
    Step(i64),
    /// The step of the code that verified the software token which is registered now.
    Registered(i64),
}

/// What a second factor changes in its user.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// The code arrived at this address, which the user has.
    Verified(Address),
    /// The same, and the address becomes the user's, and a factor.
    NewEmail(Address),
    SoftwareToken {
        sealed: Vec<u8>,
        name: Option<String>,
    },
}

impl Change {
    /// The user as it is then, and as tokens and functions see it.
    fn applied_to(&self, user: &User, now: Millis) -> User {
        let mut user = User { updated: now, ..user.clone() };
        match self {
            Self::Verified(address) => {
                user.attributes.insert(verified_flag(address.attribute), "true".to_owned());
            }
            Self::NewEmail(address) => {
                user.pending.remove(address.attribute);
                user.attributes.insert(address.attribute.to_owned(), address.value.clone());
                user.attributes.insert(verified_flag(address.attribute), "true".to_owned());
                user.mfa.enabled.insert(MfaFactor::EmailOtp);
            }
            Self::SoftwareToken { sealed, name } => {
                user.totp_secret = Some(sealed.clone());
                user.totp_pending = None;
                user.mfa.token_name.clone_from(name);
                user.mfa.enabled.insert(MfaFactor::SoftwareTokenMfa);
            }
        }
        user
    }
}

/// The password is right: what the user's state asks for next.
///
/// Errors: [`fault::user_disabled`], [`fault::user_not_confirmed`], [`fault::password_reset_required`],
/// [`fault::temporary_password_expired`].
pub(super) async fn first_factor_proven(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    once: Option<Once>,
) -> Result<Step> {
    if user.enabled && user.status == UserStatus::Confirmed {
        let proof = Proof { once, ..Proof::default() };
        return proceed(cx, entrance, user, proof, Source::Authentication).await;
    }
    // Every other answer tells as much about the password as tokens do.
    require_unlocked(cx, user, once).await?;
    if !user.enabled {
        return Err(fault::user_disabled().into());
    }
    match user.status {
        UserStatus::Unconfirmed => Err(fault::user_not_confirmed().into()),
        UserStatus::ResetRequired => Err(fault::password_reset_required().into()),
        UserStatus::ForceChangePassword => new_password::challenge(cx, entrance, user),
        UserStatus::ExternalProvider | UserStatus::Confirmed => Err(fault::wrong_credentials().into()),
    }
}

/// The first factor is proven and the user's state is settled: the second factor that is due, or tokens.
///
/// Errors: those of [`mfa::due`], [`mfa::challenge`] and [`complete`].
pub(super) async fn proceed(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    proof: Proof,
    source: Source,
) -> Result<Step> {
    let once = proof.once.clone();
    let outcome = match mfa::due(&entrance.pool, user) {
        Ok(None) => return complete(cx, entrance, user, proof, source).await,
        Ok(Some(due)) => mfa::challenge(cx, entrance, user, proof.once, source, due).await,
        Err(error) => Err(error),
    };
    behind_the_lock(cx, user, once, outcome).await
}

/// What refuses a sign-in whose proof was right tells as much about the proof as tokens do: it is told only where
/// nobody has locked the user out meanwhile.
async fn behind_the_lock(cx: &Cx, user: &User, once: Option<Once>, outcome: Result<Step>) -> Result<Step> {
    if let Err(Error::Fault(fault)) = &outcome {
        // Whoever is to come again later brings the same proof.
        require_unlocked(cx, user, once.filter(|_| !fault.is(ErrorCode::TooManyRequests))).await?;
    }
    outcome
}

/// Redeems what proved the password, if nobody has locked the user out since the proof began: guesses that
/// run beside each other are not answered past the lock.
async fn require_unlocked(cx: &Cx, user: &User, once: Option<Once>) -> Result<()> {
    let captures = (user.pool.clone(), user.sub.clone(), once, cx.now());
    cx.store
        .write(captures, |(pool, sub, once, now), tx| {
            Box::pin(async move { redeem_unlocked(tx, pool, sub, once.as_ref(), *now).await })
        })
        .await
}

/// The part of every write that goes on with a sign-in without ending it.
///
/// Errors: what [`Once::used`] says, [`fault::locked_out`].
pub(super) async fn redeem_unlocked(
    tx: &mut Tx,
    pool: &PoolId,
    sub: &Sub,
    once: Option<&Once>,
    now: Millis,
) -> Result<()> {
    redeem(tx, once).await?;
    match limits::locked_until(tx, pool, sub.as_str(), now).await? {
        Some(_) => Err(fault::locked_out().into()),
        None => Ok(()),
    }
}

async fn redeem(tx: &mut Tx, once: Option<&Once>) -> Result<()> {
    match once {
        Some(once) if !sessions::redeem_once(tx, &once.digest, once.expires).await? => {
            Err((once.used)().into())
        }
        _ => Ok(()),
    }
}

/// A code proves no address but the one that it was sent to.
async fn still_has(tx: &mut Tx, user: &User, address: Option<&Address>) -> Result<bool> {
    let Some(address) = address else { return Ok(true) };
    let current = users::by_sub(tx, &user.pool, &user.sub).await?;
    Ok(current.is_some_and(|current| current.attributes.get(address.attribute) == Some(&address.value)))
}

/// Errors: [`fault::code_or_auth_state_mismatch`] when a later sign-in has replaced the code or the address,
/// [`fault::software_token_used`].
async fn use_up(tx: &mut Tx, user: &User, second: Option<&SecondFactor>) -> Result<()> {
    match second {
        None => Ok(()),
        Some(SecondFactor::Code { attempt, address }) => {
            let redeemed = codes::redeem(tx, &user.pool, &user.sub, attempt).await?;
            if redeemed != Redeemed::Right || !still_has(tx, user, address.as_ref()).await? {
                return Err(fault::code_or_auth_state_mismatch().into());
            }
            Ok(())
        }
        Some(SecondFactor::Step(step)) => {
            match users::use_totp_step(tx, &user.pool, &user.sub, *step).await? {
                true => Ok(()),
                false => Err(fault::software_token_used().into()),
            }
        }
        Some(SecondFactor::Registered(step)) => {
            Ok(users::set_totp_step(tx, &user.pool, &user.sub, *step).await?)
        }
    }
}

/// Every proof is right: tokens.
///
/// Errors: those of PostAuthentication and PreTokenGeneration, [`fault::locked_out`].
pub(super) async fn complete(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    proof: Proof,
    source: Source,
) -> Result<Step> {
    // A session whose second factor was refused here is answered again, with the next code.
    let once = proof.once.clone().filter(|_| proof.second.is_none());
    let outcome = sign_in(cx, entrance, user, proof, source).await;
    behind_the_lock(cx, user, once, outcome).await
}

/// Signs the tokens and records the sign-in, in this order: what is recorded is
/// answered, however busy the threads that sign are.
async fn sign_in(cx: &Cx, entrance: &Entrance, user: &User, proof: Proof, source: Source) -> Result<Step> {
    let Entrance { pool, client, metadata, .. } = entrance;
    let metadata = metadata.as_ref();
    let before = user;
    let changed = proof.change.as_ref().map(|change| change.applied_to(before, cx.now()));
    let user = changed.as_ref().unwrap_or(before);
    post_authentication::fire(cx, pool, client, user, false, metadata).await?;
    let now = cx.now();
    let new = issue::new_session(cx, pool, client, user, now);
    let refresh_token = new.refresh_token.clone();
    let issue = Issue { pool, client, user, session: &new.session, source, metadata, now };
    let mut tokens = issue::tokens(cx, issue).await?;
    let captures = (new.session, new.digest, before.clone(), now, proof, pool.clone());
    cx.store
        .write(captures, |(session, digest, before, now, proof, pool), tx| {
            Box::pin(async move {
                redeem(tx, proof.once.as_ref()).await?;
                use_up(tx, before, proof.second.as_ref()).await?;
                match &proof.change {
                    None => record(tx, session, digest, before, *now).await,
                    Some(change) => {
                        let user = apply(tx, pool, before, change, *now).await?;
                        record(tx, session, digest, &user, *now).await
                    }
                }
            })
        })
        .await?;
    tokens.refresh_token = Some(refresh_token.expose().as_str().into());
    Ok(Step::Tokens(tokens))
}

/// The sign-in must still be allowed at the moment when it is recorded. A function that was called meanwhile
/// may have given the user other attributes, as many do: they prove nothing, so that alone undoes no sign-in.
async fn record(
    tx: &mut Tx,
    session: &TokenSession,
    digest: &[u8; 32],
    user: &User,
    now: Millis,
) -> Result<()> {
    let mut begun = sessions::begin(tx, session, digest, &Proven { revision: user.revision, now }).await?;
    if !begun {
        if limits::locked_until(tx, &session.pool, session.sub.as_str(), now).await?.is_some() {
            return Err(fault::locked_out().into());
        }
        begun = match users::by_sub(tx, &session.pool, &session.sub).await? {
            Some(current) if differs_in_attributes_alone(&current, user) => {
                sessions::begin(tx, session, digest, &Proven { revision: current.revision, now }).await?
            }
            _ => false,
        };
    }
    if !begun {
        return Err(Error::Conflict);
    }
    limits::clear_failures(tx, &session.pool, session.sub.as_str()).await?;
    Ok(())
}

/// Stores what the second factor changes in the user, whose attributes a function may have changed meanwhile.
/// Returns the user as it is then.
///
/// Errors: [`fault::alias_exists`], [`Error::Conflict`].
async fn apply(tx: &mut Tx, pool: &Pool, proven: &User, change: &Change, now: Millis) -> Result<User> {
    let Some(current) = users::by_sub(tx, &proven.pool, &proven.sub).await? else {
        return Err(Error::Conflict);
    };
    if !differs_in_attributes_alone(&current, proven) {
        return Err(Error::Conflict);
    }
    let after = change.applied_to(&current, now);
    if !users::put(tx, &current, &after).await? {
        return Err(Error::Conflict);
    }
    rename(tx, &after.pool, &after.sub, &pool.sign_in_names(&current), &pool.sign_in_names(&after)).await?;
    Ok(User { revision: current.revision + 1, ..after })
}

fn differs_in_attributes_alone(current: &User, proven: &User) -> bool {
    let proven = User {
        attributes: current.attributes.clone(),
        pending: current.pending.clone(),
        updated: current.updated,
        revision: current.revision,
        ..proven.clone()
    };
    *current == proven
}
