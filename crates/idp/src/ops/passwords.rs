//! ChangePassword and AdminSetUserPassword.

use lido_domain::{Millis, User, UserStatus};
use lido_store::{codes as stored_codes, limits, users};
use lido_wire::ops::{AdminSetUserPassword, ChangePassword};

use crate::Operation;
use crate::caller::{Iam, SignedIn};
use crate::codes::{self, Counted, Purpose};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::ops::users::{alias_as_parameter, rename};
use crate::passwords;
use crate::pool::Pool;

/// Errors: [`fault::password_policy`], [`fault::attempt_limit_exceeded`], [`fault::locked_out`],
/// [`fault::wrong_credentials`], [`fault::password_history`]. A wrong password counts as a failed sign-in.
impl Operation for ChangePassword {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, input: Self::Input) -> Result<Self::Output> {
        caller.require_settled()?;
        passwords::check_policy(&caller.pool, &input.proposed_password, fault::password_policy)?;
        let before = caller.user;
        codes::count(cx, &before.pool, &before.sub, Counted::ChangePassword).await?;
        let subject = (before.pool.clone(), before.sub.to_string(), cx.now());
        let locked = cx
            .store
            .read(subject.clone(), |(pool, subject, now), tx| {
                Box::pin(async move { Ok::<_, Error>(limits::locked_until(tx, pool, subject, *now).await?) })
            })
            .await?;
        if locked.is_some() {
            return Err(fault::locked_out().into());
        }
        let right = match (&before.password, input.previous_password.as_deref()) {
            (Some(sealed), Some(previous)) => {
                let verifier = passwords::open(cx, &before, sealed)?;
                passwords::matches(cx, &before.pool, &before.username, verifier, previous).await?
            }
            // A user without a password sets the first one.
            (None, None) => true,
            _ => false,
        };
        if !right {
            let counted = cx
                .store
                .write(subject, |(pool, subject, now), tx| {
                    Box::pin(
                        async move { Ok::<_, Error>(limits::count_failure(tx, pool, subject, *now).await?) },
                    )
                })
                .await?;
            return Err(if counted { fault::wrong_credentials() } else { fault::locked_out() }.into());
        }
        let mut user = before.clone();
        let status = user.status;
        passwords::set(cx, &caller.pool, &mut user, &input.proposed_password, status).await?;
        user.updated = cx.now();
        store(cx, &caller.pool, before, user, Some(cx.now())).await?;
        Ok(Self::Output::default())
    }
}

/// Writes a user with a new password; a code that was sent to reset the old one is void.
///
/// `proven`: when the user proved the old password, which counts for nothing if others have locked the user
/// out meanwhile.
async fn store(cx: &Cx, pool: &Pool, before: User, after: User, proven: Option<Millis>) -> Result<()> {
    let names = (pool.sign_in_names(&before), pool.sign_in_names(&after));
    cx.store
        .write((before, after, names, proven), |(before, after, names, proven), tx| {
            Box::pin(async move {
                if let Some(now) = proven
                    && limits::locked_until(tx, &after.pool, after.sub.as_str(), *now).await?.is_some()
                {
                    return Err(fault::locked_out().into());
                }
                if !users::put(tx, before, after).await? {
                    return Err(Error::Conflict);
                }
                rename(tx, &after.pool, &after.sub, &names.0, &names.1).await?;
                stored_codes::clear(tx, &after.pool, &after.sub, Purpose::ForgotPassword.as_str()).await?;
                Ok(())
            })
        })
        .await
}

/// A permanent password confirms the user; a temporary one has to be changed at the next sign-in.
///
/// Errors: [`fault::user_not_found`], [`fault::admin_password_policy`], [`fault::password_history`].
impl Operation for AdminSetUserPassword {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let before = cx.user(&pool, &input.username).await?;
        passwords::check_policy(&pool, &input.password, fault::admin_password_policy)?;
        let status = if input.permanent == Some(true) {
            UserStatus::Confirmed
        } else {
            UserStatus::ForceChangePassword
        };
        let mut user = before.clone();
        passwords::set(cx, &pool, &mut user, &input.password, status).await?;
        user.updated = cx.now();
        store(cx, &pool, before, user, None).await.map_err(alias_as_parameter)?;
        Ok(Self::Output::default())
    }
}
