//! Whom a sign-in is about: a user, or a name that nobody has and that must not be told apart.

use lido_crypto::keys::Purpose;
use lido_crypto::srp::Verifier;
use lido_domain::{Millis, Sub, User};
use lido_store::{limits, users};

use crate::auth::{Entrance, migration};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::passwords;
use crate::pool::Pool;
use crate::triggers::pre_authentication;

/// Someone who tries to sign in.
#[derive(Debug)]
pub(super) struct Subject {
    /// None for a name that nobody has, in a pool whose client must not tell.
    pub(in crate::auth) user: Option<User>,
    /// The name that SRP hashes and that answers carry.
    pub(in crate::auth) identity: String,
    /// What failures are counted for.
    pub(in crate::auth) lockout: String,
    pub(in crate::auth) locked_until: Option<Millis>,
}

impl Subject {
    /// Looks up `name` as typed, once the secret hash is right: over that name or the one it stands for.
    /// What may be told of it says [`Self::admit`].
    pub(in crate::auth) async fn look(
        cx: &Cx,
        entrance: &Entrance,
        name: &str,
        secret_hash: Option<&str>,
    ) -> Result<Self> {
        let pool = &entrance.pool;
        let captures =
            (pool.record.id.clone(), pool.fold(name), name.to_owned(), ghost(cx, pool, name), cx.now());
        let (user, locked_until) = cx
            .store
            .read(captures, |(pool, folded, name, ghost, now), tx| {
                Box::pin(async move {
                    let mut user = users::by_name(tx, pool, folded).await?;
                    if user.is_none() {
                        user = users::by_sub(tx, pool, &Sub::new(name.as_str())).await?;
                    }
                    let subject = user.as_ref().map_or(ghost.as_str(), |user| user.sub.as_str());
                    let locked_until = limits::locked_until(tx, pool, subject, *now).await?;
                    Ok::<_, Error>((user, locked_until))
                })
            })
            .await?;
        let stands_for = user.as_ref().map_or(name, |user| user.username.as_str());
        entrance.client.check_secret_hash(secret_hash, &[name, stands_for])?;
        Ok(Self {
            identity: user
                .as_ref()
                .map_or_else(|| simulated_identity(cx, pool, name), |user| user.username.clone()),
            lockout: user.as_ref().map_or_else(|| ghost(cx, pool, name), |user| user.sub.to_string()),
            user,
            locked_until,
        })
    }

    /// The subject if it may sign in at this point, as PreAuthentication sees it as well. Where the client
    /// tells, an unknown name is [`fault::user_not_found`] and a disabled user [`fault::user_disabled`]; where
    /// it does not, both go on as if nothing were wrong and fail where a wrong password fails.
    ///
    /// Errors: these, [`fault::locked_out`], those of PreAuthentication.
    pub(in crate::auth) async fn admit(self, cx: &Cx, entrance: &Entrance, name: &str) -> Result<Self> {
        let Entrance { pool, client, validation_data, .. } = entrance;
        let tells = client.tells_user_existence();
        match &self.user {
            None if tells => return Err(fault::user_not_found().into()),
            Some(user) if tells && !user.enabled => return Err(fault::user_disabled().into()),
            _ => {}
        }
        self.require_unlocked()?;
        let user = self.user.as_ref();
        if !pre_authentication::fire(cx, pool, client, name, user, validation_data.as_ref()).await? {
            return Ok(self);
        }
        // The function may have changed the user.
        let sub = user.map(|user| user.sub.clone());
        let subject = Self::resume(cx, pool, sub.as_ref(), self.identity, self.lockout).await?;
        if sub.is_some() && subject.user.is_none() {
            return Err(Error::Conflict);
        }
        subject.require_unlocked()?;
        Ok(subject)
    }

    /// The same subject, now that its name is that of `user`.
    pub(in crate::auth) fn of(user: User) -> Self {
        Self {
            identity: user.username.clone(),
            lockout: user.sub.to_string(),
            user: Some(user),
            locked_until: None,
        }
    }

    /// The user of an exchange that began earlier; `identity` and `lockout` are what it began with.
    pub(in crate::auth) async fn resume(
        cx: &Cx,
        pool: &Pool,
        sub: Option<&Sub>,
        identity: String,
        lockout: String,
    ) -> Result<Self> {
        let captures = (pool.record.id.clone(), sub.cloned(), lockout.clone(), cx.now());
        let (user, locked_until) = cx
            .store
            .read(captures, |(pool, sub, lockout, now), tx| {
                Box::pin(async move {
                    let user = match sub {
                        Some(sub) => users::by_sub(tx, pool, sub).await?,
                        None => None,
                    };
                    Ok::<_, Error>((user, limits::locked_until(tx, pool, lockout, *now).await?))
                })
            })
            .await?;
        Ok(Self { user, identity, lockout, locked_until })
    }

    /// Errors: [`fault::locked_out`].
    pub(in crate::auth) fn require_unlocked(&self) -> Result<()> {
        if self.locked_until.is_some() { Err(fault::locked_out().into()) } else { Ok(()) }
    }

    /// The user's verifier, or one of a simulated user: stable, and no password belongs to it.
    pub(in crate::auth) fn verifier(&self, cx: &Cx, pool: &Pool) -> Result<Verifier> {
        match self.user.as_ref().and_then(|user| user.password.as_ref().map(|sealed| (user, sealed))) {
            Some((user, sealed)) => passwords::open(cx, user, sealed),
            None => Ok(Verifier::simulated(&cx.keyring.digest(
                Purpose::SimulatedUser,
                &[pool.record.id.as_str().as_bytes(), b"verifier", self.identity.as_bytes()],
            ))),
        }
    }
}

/// What is counted for a name that nobody has: its keyed hash, as long as a sub.
pub(crate) fn ghost(cx: &Cx, pool: &Pool, name: &str) -> String {
    // Another directory may know a name in any spelling: none of them is a further try.
    let folded = if migration::is_configured(pool) { name.trim().to_lowercase() } else { pool.fold(name) };
    let digest = cx
        .keyring
        .digest(Purpose::SimulatedUser, &[pool.record.id.as_str().as_bytes(), b"lockout", folded.as_bytes()]);
    digest[..14].iter().fold("unknown:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// The name that a real user of this pool would be shown by: the typed name where user names are typed, a
/// UUID where they are generated, and for an address in a pool that knows addresses as aliases.
fn simulated_identity(cx: &Cx, pool: &Pool, name: &str) -> String {
    let is_address = (pool.is_alias("email") && name.contains('@'))
        || (pool.is_alias("phone_number") && name.starts_with('+'));
    let folded = pool.fold(name);
    if !pool.has_username_attributes() && !is_address {
        return folded;
    }
    let digest = cx.keyring.digest(
        Purpose::SimulatedUser,
        &[pool.record.id.as_str().as_bytes(), b"identity", folded.as_bytes()],
    );
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}
