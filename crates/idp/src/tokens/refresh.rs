//! Refresh tokens at work: new tokens, rotation, and revocation.
//!
//! A sign-in and all that descends from it is one family, known by its `origin_jti`. Where a client rotates, each
//! refresh exchanges the refresh token for another one of the family, which expires when the first one would have.
//! The store remembers a token that was exchanged for some minutes; later the token itself tells, by a tag that only
//! this installation can make, which family it is of.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lido_crypto::constant_time_eq;
use lido_crypto::keys::Purpose;
use lido_domain::records::TokenSession;
use lido_domain::{Millis, PoolId, User, UserStatus};
use lido_store::sessions::{self, Exchange, Exchanged, RefreshToken};
use lido_store::users;
use lido_wire::types::AuthenticationResultType;

use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::issue::{self, Issue, Source};

/// The longest time in which a refresh token may be exchanged again. Source: RetryGracePeriodSeconds.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

const RANDOM_BYTES: usize = 32;
const TAG_BYTES: usize = 16;

/// A refresh token that came by rotation: `<origin_jti>.<random and tag>`.
fn rotated_token(cx: &Cx, session: &TokenSession) -> String {
    let mut bytes = [0_u8; RANDOM_BYTES + TAG_BYTES];
    let (random, tag) = bytes.split_at_mut(RANDOM_BYTES);
    cx.random.fill(random);
    tag.copy_from_slice(&family_tag(cx, &session.pool, &session.origin_jti, random));
    format!("{}.{}", session.origin_jti, issue::base64_url(&bytes))
}

/// What nobody else can put into a token of the family.
fn family_tag(cx: &Cx, pool: &PoolId, origin_jti: &str, random: &[u8]) -> [u8; TAG_BYTES] {
    let parts = [b"rotated", pool.as_str().as_bytes(), origin_jti.as_bytes(), random];
    let digest = cx.keyring.digest(Purpose::RefreshToken, &parts);
    digest[..TAG_BYTES].try_into().expect("a digest is longer than a tag")
}

/// The family that a token says it is of, if that is true.
fn family_of<'t>(cx: &Cx, pool: &PoolId, token: &'t str) -> Option<&'t str> {
    let (origin_jti, rest) = token.split_once('.')?;
    let bytes = URL_SAFE_NO_PAD.decode(rest).ok().filter(|bytes| bytes.len() == RANDOM_BYTES + TAG_BYTES)?;
    let (random, tag) = bytes.split_at(RANDOM_BYTES);
    constant_time_eq(&family_tag(cx, pool, origin_jti, random), tag).then_some(origin_jti)
}

/// How a token of this pool is stored.
fn stored(cx: &Cx, pool: &Pool, token: &str) -> RefreshToken {
    let digest = issue::refresh_digest(cx, token);
    match family_of(cx, &pool.record.id, token) {
        None => RefreshToken::First(digest),
        Some(origin_jti) => {
            RefreshToken::Rotated { pool: pool.record.id.clone(), origin_jti: origin_jti.to_owned(), digest }
        }
    }
}

/// A refresh token of a client, with what it stands for.
#[derive(Debug)]
struct Held {
    token: RefreshToken,
    session: TokenSession,
    exchanged: Exchanged,
    /// None when the user has been deleted.
    user: Option<User>,
}

/// Errors: [`fault::invalid_refresh_token`] for one that is unknown, of another client or another pool.
async fn find(cx: &Cx, pool: &Pool, client: &Client, token: &str) -> Result<Held> {
    let found = cx
        .store
        .read(stored(cx, pool, token), |token, tx| {
            Box::pin(async move {
                let Some((session, exchanged)) = sessions::of_refresh_token(tx, token).await? else {
                    return Ok(None);
                };
                let user = users::by_sub(tx, &session.pool, &session.sub).await?;
                Ok::<_, Error>(Some(Held { token: token.clone(), session, exchanged, user }))
            })
        })
        .await?;
    found
        .filter(|held| held.session.pool == pool.record.id && held.session.client == client.record.id)
        .ok_or_else(|| fault::invalid_refresh_token().into())
}

impl Held {
    /// Whether the sign-in stands, and who it is of.
    ///
    /// Errors in order: [`fault::refresh_token_expired`], [`fault::refresh_token_revoked`],
    /// [`fault::user_not_found`] as far as the client is told.
    fn user(&self, client: &Client, now: Millis) -> Result<&User> {
        if self.session.expires <= now {
            return Err(fault::refresh_token_expired().into());
        }
        if self.session.revoked {
            return Err(fault::refresh_token_revoked().into());
        }
        let missing = || {
            let tells = client.tells_user_existence();
            if tells { fault::user_not_found() } else { fault::invalid_refresh_token() }
        };
        Ok(self.user.as_ref().ok_or_else(missing)?)
    }

    /// Whether the token can be exchanged, as far as can be said before it is written.
    fn is_live(&self, again_since: Option<Millis>) -> bool {
        match self.exchanged {
            Exchanged::No => true,
            Exchanged::At(first) => again_since.is_some_and(|since| first > since),
            Exchanged::LongAgo => false,
        }
    }

    /// A token that was exchanged, and is shown again too late: two hold it, and one of them should not. The whole
    /// family is revoked, unless it comes so soon that a client has only repeated its request.
    // Differs: what the service does about the family is not known.
    async fn reused(&self, cx: &Cx, now: Millis) -> Result<()> {
        let is_repetition = match self.exchanged {
            Exchanged::At(first) => now < first + LONGEST_GRACE,
            Exchanged::No | Exchanged::LongAgo => false,
        };
        if is_repetition {
            return Ok(());
        }
        revoke_family(cx, &self.session, now).await
    }
}

async fn revoke_family(cx: &Cx, session: &TokenSession, now: Millis) -> Result<()> {
    let captures = (session.pool.clone(), session.origin_jti.clone(), now);
    cx.store
        .write(captures, |(pool, origin_jti, now), tx| {
            Box::pin(async move { Ok::<_, Error>(sessions::revoke(tx, pool, origin_jti, *now).await?) })
        })
        .await
}

/// Revokes the family of a client's refresh token. A token that is unknown, or of another client, is revoked already:
/// RFC 7009 §2.2.
pub async fn revoke(cx: &Cx, pool: &Pool, client: &Client, token: &str) -> Result<()> {
    match find(cx, pool, client, token).await {
        Ok(held) => revoke_family(cx, &held.session, cx.now()).await,
        Err(Error::Fault(fault)) if fault == fault::invalid_refresh_token() => Ok(()),
        Err(other) => Err(other),
    }
}

/// REFRESH_TOKEN_AUTH: new ID and access tokens of the same session. Attributes are read anew;
/// `auth_time` and `origin_jti` are carried over. Clients that rotate are refused before.
///
/// Errors in order: [`fault::invalid_refresh_token`], [`fault::refresh_token_expired`],
/// [`fault::refresh_token_revoked`], also for a token that was exchanged while the client did rotate; the user's
/// state.
pub async fn refresh(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    token: &str,
    secret_hash: Option<&str>,
) -> Result<AuthenticationResultType> {
    let held = find(cx, pool, client, token).await?;
    let now = cx.now();
    let user = held.user(client, now)?;
    check_secret_hash(client, user, secret_hash)?;
    if !held.is_live(None) {
        held.reused(cx, now).await?;
        return Err(fault::refresh_token_revoked().into());
    }
    if !user.enabled {
        return Err(fault::user_disabled().into());
    }
    if user.status == UserStatus::ResetRequired {
        return Err(fault::password_reset_required().into());
    }
    let session = &held.session;
    let issue = Issue { pool, client, user, session, source: Source::RefreshTokens, metadata: None, now };
    issue::tokens(cx, issue).await
}

/// GetTokensFromRefreshToken: the same, and where the client rotates, another refresh token in exchange. Whether the
/// client knows its secret is the caller's to check.
///
/// Errors in order: as for [`refresh`], with [`fault::refresh_token_reused`] for a token that was exchanged, and
/// [`fault::password_reset_required_to_refresh`].
pub async fn exchange(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    token: &str,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<AuthenticationResultType> {
    let held = find(cx, pool, client, token).await?;
    let now = cx.now();
    let user = held.user(client, now)?;
    let rotates = client.rotates_refresh_tokens();
    let grace = client.retry_grace_period();
    let again_since = (rotates && !grace.is_zero()).then(|| now - grace);
    if !held.is_live(again_since) {
        held.reused(cx, now).await?;
        return Err(fault::refresh_token_reused().into());
    }
    if !user.enabled {
        return Err(fault::user_disabled().into());
    }
    if user.status == UserStatus::ResetRequired {
        return Err(fault::password_reset_required_to_refresh().into());
    }
    let session = &held.session;
    let issue = Issue { pool, client, user, session, source: Source::RefreshTokens, metadata, now };
    let mut tokens = issue::tokens(cx, issue).await?;
    if rotates {
        let next = rotated_token(cx, session);
        let exchange = Exchange {
            client: client.record.id.clone(),
            client_revision: client.record.revision,
            now,
            again_since,
        };
        let digest = issue::refresh_digest(cx, &next);
        let captures = (held.token.clone(), session.clone(), cx.uuid(), digest, exchange);
        cx.store
            .write(captures, |(token, session, id, digest, exchange), tx| {
                Box::pin(async move {
                    if !sessions::exchange(tx, token, exchange).await? {
                        return Err(Error::Conflict);
                    }
                    Ok(sessions::add_rotated(tx, session, id, digest, exchange.now).await?)
                })
            })
            .await?;
        tokens.refresh_token = Some(next.into());
    }
    Ok(tokens)
}

/// There is no user name in the request: the hash is over the user name or the sub.
fn check_secret_hash(client: &Client, user: &User, sent: Option<&str>) -> Result<()> {
    let names = [user.username.as_str(), user.sub.as_str()];
    client.check_secret_hash(sent, &names).map_err(|error| match error {
        Error::Fault(fault)
            if sent.is_some() && fault == fault::secret_hash_wrong(client.record.id.as_str()) =>
        {
            fault::secret_hash_wrong_for_refresh(client.record.id.as_str()).into()
        }
        other => other,
    })
}
