//! From a proven password to the next challenge or to tokens.

use lido_domain::{Millis, User, UserStatus};
use lido_store::{Tx, limits, sessions};
use lido_wire::types::{AuthenticationResultType, UserPoolMfaType};

use crate::auth::{Entrance, Step, new_password};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::Pool;
use crate::tokens::issue;
use crate::triggers::{self, Unbuilt};

/// Something that may be used once, to be redeemed in the write that acts on it.
#[derive(Clone, Debug)]
pub(super) struct Once {
    pub digest: [u8; 32],
    /// When it stops being valid anyway.
    pub expires: Millis,
}

/// Refuses before any work what would have to be done at the end and is not built.
pub(super) fn refuse_unbuilt(pool: &Pool) -> Result<()> {
    triggers::refuse_unbuilt(pool, &[Unbuilt::PostAuthentication, Unbuilt::PreTokenGeneration])?;
    if pool.settings.mfa_configuration == Some(UserPoolMfaType::On) {
        return Err(fault::feature_not_implemented("multi-factor authentication").into());
    }
    Ok(())
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
        return sign_in(cx, entrance, user, once).await.map(Step::Tokens);
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

/// Redeems what proved the password, if nobody has locked the user out since the proof began: guesses that
/// run beside each other are not answered past the lock.
async fn require_unlocked(cx: &Cx, user: &User, once: Option<Once>) -> Result<()> {
    let captures = (user.pool.clone(), user.sub.clone(), once, cx.now());
    cx.store
        .write(captures, |(pool, sub, once, now), tx| {
            Box::pin(async move {
                redeem(tx, once.as_ref()).await?;
                match limits::locked_until(tx, pool, sub.as_str(), *now).await? {
                    Some(_) => Err(fault::locked_out().into()),
                    None => Ok(()),
                }
            })
        })
        .await
}

async fn redeem(tx: &mut Tx, once: Option<&Once>) -> Result<()> {
    match once {
        Some(once) if !sessions::redeem_once(tx, &once.digest, once.expires).await? => {
            Err(fault::wrong_credentials().into())
        }
        _ => Ok(()),
    }
}

/// Signs the tokens and records the sign-in, in this order: what is recorded is answered, however busy the
/// threads that sign are.
async fn sign_in(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    once: Option<Once>,
) -> Result<AuthenticationResultType> {
    let now = cx.now();
    let new = issue::new_session(cx, &entrance.pool, &entrance.client, user, now);
    let proven = sessions::Proven { revision: user.revision, now };
    let refresh_token = new.refresh_token.clone();
    let mut tokens = issue::tokens(cx, &entrance.pool, &entrance.client, user, &new.session, now).await?;
    cx.store
        .write((new.session, new.digest, proven, once), |(session, digest, proven, once), tx| {
            Box::pin(async move {
                redeem(tx, once.as_ref()).await?;
                record(tx, session, digest, proven).await
            })
        })
        .await?;
    tokens.refresh_token = Some(refresh_token.expose().as_str().into());
    Ok(tokens)
}

/// The part of the write that every sign-in shares: it must still be allowed at that moment.
pub(super) async fn record(
    tx: &mut Tx,
    session: &lido_domain::records::TokenSession,
    digest: &[u8; 32],
    proven: &sessions::Proven,
) -> Result<()> {
    if !sessions::begin(tx, session, digest, proven).await? {
        let locked = limits::locked_until(tx, &session.pool, session.sub.as_str(), proven.now).await?;
        return Err(if locked.is_some() { fault::locked_out().into() } else { Error::Conflict });
    }
    limits::clear_failures(tx, &session.pool, session.sub.as_str()).await?;
    Ok(())
}
