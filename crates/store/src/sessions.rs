//! Sign-ins: refresh tokens as keyed hashes, their revocation, and what may be used only once.

use lido_domain::records::TokenSession;
use lido_domain::{ClientId, Millis, PoolId, Sub, User};

use crate::clients::Revisions;
use crate::{Result, Row, Tx, params, users};

macro_rules! columns {
    ($table:literal) => {
        concat!(
            $table,
            "pool_id, ",
            $table,
            "client_id, ",
            $table,
            "sub, ",
            $table,
            "origin_jti, ",
            $table,
            "auth_time_ms, ",
            $table,
            "scope, ",
            $table,
            "expires_ms, ",
            $table,
            "revoked_ms"
        )
    };
}

fn session(row: &Row<'_>) -> Result<TokenSession> {
    Ok(TokenSession {
        pool: PoolId::new(row.text(0)?),
        client: ClientId::new(row.text(1)?),
        sub: Sub::new(row.text(2)?),
        origin_jti: row.text(3)?,
        auth_time: row.millis(4)?,
        scope: row.text(5)?,
        expires: row.millis(6)?,
        revoked: row.opt_int(7)?.is_some(),
    })
}

/// What must still hold when a sign-in is recorded.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The revision of the user that was authenticated: any change since undoes the sign-in.
    pub revision: i64,
    pub now: Millis,
}

/// Records a sign-in if its client is there and its user unchanged, enabled and not locked out.
/// False otherwise.
pub async fn begin(tx: &mut Tx, session: &TokenSession, digest: &[u8; 32], proven: &Proven) -> Result<bool> {
    let begun = tx
        .exec(
            "INSERT INTO token_sessions (digest, pool_id, client_id, sub, origin_jti, auth_time_ms, scope, \
             expires_ms) SELECT $1, u.pool_id, $2, u.sub, $3, $4, $5, $6 FROM users u \
             WHERE u.pool_id = $7 AND u.sub = $8 AND u.enabled = 1 AND u.revision = $9 AND EXISTS \
             (SELECT 1 FROM app_clients c WHERE c.id = $2 AND c.pool_id = u.pool_id) AND NOT EXISTS \
             (SELECT 1 FROM lockouts l WHERE l.pool_id = u.pool_id AND l.subject = u.sub \
             AND l.locked_until_ms > $10)",
            params![
                &digest[..],
                &session.client,
                &session.origin_jti,
                session.auth_time,
                &session.scope,
                session.expires,
                &session.pool,
                &session.sub,
                proven.revision,
                proven.now
            ],
        )
        .await?;
    Ok(begun == 1)
}

/// A refresh token by what is stored of it.
#[derive(Clone, Debug)]
pub enum RefreshToken {
    /// The one that the sign-in gave.
    First([u8; 32]),
    /// One that came by rotation. It says itself which sign-in it is of.
    Rotated { pool: PoolId, origin_jti: String, digest: [u8; 32] },
}

/// Whether a refresh token was exchanged for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    No,
    /// For the first time at that moment.
    At(Millis),
    /// So long ago that nothing is left of it.
    LongAgo,
}

/// The sign-in of a refresh token, and what became of the token.
pub async fn of_refresh_token(
    tx: &mut Tx,
    token: &RefreshToken,
) -> Result<Option<(TokenSession, Exchanged)>> {
    let exchanged = |at: Option<i64>| at.map_or(Exchanged::No, |at| Exchanged::At(Millis(at)));
    match token {
        RefreshToken::First(digest) => {
            tx.first(
                concat!("SELECT ", columns!("t."), ", t.used_ms FROM token_sessions t WHERE t.digest = $1"),
                params![&digest[..]],
                |row| Ok((session(row)?, exchanged(row.opt_int(8)?))),
            )
            .await
        }
        RefreshToken::Rotated { pool, origin_jti, digest } => {
            tx.first(
                concat!(
                    "SELECT ",
                    columns!("t."),
                    ", r.used_ms, r.id FROM token_sessions t LEFT JOIN rotated_tokens r ON r.digest = $1 \
                     AND r.pool_id = t.pool_id AND r.origin_jti = t.origin_jti \
                     WHERE t.pool_id = $2 AND t.origin_jti = $3"
                ),
                params![&digest[..], pool, origin_jti],
                |row| {
                    let used = match row.opt_text(9)? {
                        Some(_) => exchanged(row.opt_int(8)?),
                        None => Exchanged::LongAgo,
                    };
                    Ok((session(row)?, used))
                },
            )
            .await
        }
    }
}

/// What must hold when a refresh token is exchanged.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub client: ClientId,
    /// The revision of the client whose settings decided.
    pub client_revision: i64,
    pub now: Millis,
    /// A token whose first exchange was after this moment may be exchanged again; None: no token may.
    pub again_since: Option<Millis>,
}

/// Exchanges a refresh token, if its sign-in stands, its client is unchanged, and it was not exchanged before or
/// only so lately that it may be again. False otherwise.
pub async fn exchange(tx: &mut Tx, token: &RefreshToken, exchange: &Exchange) -> Result<bool> {
    // Later than any moment, whatever the other nodes' clocks say.
    let again_since = exchange.again_since.unwrap_or(Millis(i64::MAX));
    let Exchange { client, client_revision, now, .. } = exchange;
    let exchanged = match token {
        RefreshToken::First(digest) => {
            tx.exec(
                "UPDATE token_sessions SET used_ms = COALESCE(used_ms, $1) WHERE digest = $2 \
                 AND revoked_ms IS NULL AND (used_ms IS NULL OR used_ms > $3) \
                 AND EXISTS (SELECT 1 FROM app_clients c WHERE c.id = $4 AND c.revision = $5)",
                params![*now, &digest[..], again_since, client, *client_revision],
            )
            .await?
        }
        RefreshToken::Rotated { pool, origin_jti, digest } => {
            tx.exec(
                "UPDATE rotated_tokens SET used_ms = COALESCE(used_ms, $1) WHERE digest = $2 \
                 AND (used_ms IS NULL OR used_ms > $3) \
                 AND EXISTS (SELECT 1 FROM token_sessions t WHERE t.pool_id = $4 AND t.origin_jti = $5 \
                 AND t.revoked_ms IS NULL) \
                 AND EXISTS (SELECT 1 FROM app_clients c WHERE c.id = $6 AND c.revision = $7)",
                params![*now, &digest[..], again_since, pool, origin_jti, client, *client_revision],
            )
            .await?
        }
    };
    Ok(exchanged == 1)
}

/// Milliseconds that an exchanged token is remembered for: longer than the longest time in which it may be
/// exchanged again, whatever little the clocks of nodes differ.
pub const REMEMBERS_EXCHANGED_MS: i64 = 10 * 60 * 1000;

/// Records the refresh token that another one of the sign-in was exchanged for, and forgets those that were
/// exchanged long ago.
pub async fn add_rotated(
    tx: &mut Tx,
    session: &TokenSession,
    id: &str,
    digest: &[u8; 32],
    now: Millis,
) -> Result<()> {
    tx.exec(
        "DELETE FROM rotated_tokens WHERE pool_id = $1 AND origin_jti = $2 AND used_ms < $3",
        params![&session.pool, &session.origin_jti, Millis(now.0 - REMEMBERS_EXCHANGED_MS)],
    )
    .await?;
    tx.exec(
        "INSERT INTO rotated_tokens (pool_id, origin_jti, id, digest) VALUES ($1, $2, $3, $4)",
        params![&session.pool, &session.origin_jti, id, &digest[..]],
    )
    .await?;
    Ok(())
}

/// What a token rests on.
#[derive(Clone, Debug)]
pub struct Standing {
    pub revisions: Revisions,
    /// Whether the sign-in that it descends from still stands.
    pub stands: bool,
    /// `None` when the user has been deleted.
    pub user: Option<User>,
}

/// What the token of a sign-in of `sub` through `client` rests on, in one statement: every request with an access
/// token asks this. None when there is no such client. `origin_jti`: empty for a token that names no sign-in.
pub async fn standing(
    tx: &mut Tx,
    client: &ClientId,
    origin_jti: &str,
    sub: &Sub,
) -> Result<Option<Standing>> {
    tx.first(
        concat!(
            "SELECT ",
            users::columns!("u."),
            ", c.pool_id, c.revision, p.revision, t.client_id \
             FROM app_clients c JOIN user_pools p ON p.id = c.pool_id \
             LEFT JOIN token_sessions t ON t.pool_id = c.pool_id AND t.origin_jti = $1 AND t.revoked_ms IS NULL \
             LEFT JOIN users u ON u.pool_id = c.pool_id AND u.sub = $2 WHERE c.id = $3"
        ),
        params![origin_jti, sub, client],
        |row| {
            let has_user = row.opt_text(1)?.is_some();
            Ok(Standing {
                user: if has_user { Some(users::user(row)?) } else { None },
                revisions: Revisions {
                    pool_id: PoolId::new(row.text(users::COLUMNS)?),
                    client: row.int(users::COLUMNS + 1)?,
                    pool: row.int(users::COLUMNS + 2)?,
                },
                stands: row.opt_text(users::COLUMNS + 3)?.is_some(),
            })
        },
    )
    .await
}

/// Revokes one sign-in, with every token that descends from it; doing it again changes nothing.
pub async fn revoke(tx: &mut Tx, pool: &PoolId, origin_jti: &str, now: Millis) -> Result<()> {
    tx.exec(
        "UPDATE token_sessions SET revoked_ms = $1 WHERE pool_id = $2 AND origin_jti = $3 \
         AND revoked_ms IS NULL",
        params![now, pool, origin_jti],
    )
    .await?;
    Ok(())
}

/// Revokes every sign-in of the user.
pub async fn revoke_all(tx: &mut Tx, pool: &PoolId, sub: &Sub, now: Millis) -> Result<()> {
    tx.exec(
        "UPDATE token_sessions SET revoked_ms = $1 WHERE pool_id = $2 AND sub = $3 AND revoked_ms IS NULL",
        params![now, pool, sub],
    )
    .await?;
    Ok(())
}

/// Removes up to `batch` sign-ins that were made through a client; true when none is left.
pub async fn purge_client(tx: &mut Tx, pool: &PoolId, client: &ClientId, batch: i64) -> Result<bool> {
    let removed = tx
        .exec(
            "DELETE FROM token_sessions WHERE digest IN \
             (SELECT digest FROM token_sessions WHERE pool_id = $1 AND client_id = $2 LIMIT $3)",
            params![pool, client, batch],
        )
        .await?;
    Ok(i64::try_from(removed).unwrap_or(i64::MAX) < batch)
}

/// Marks something as used. False when it was used before.
pub async fn redeem_once(tx: &mut Tx, digest: &[u8; 32], expires: Millis) -> Result<bool> {
    let first = tx
        .exec(
            "INSERT INTO redeemed (digest, expires_ms) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING",
            params![&digest[..], expires],
        )
        .await?;
    Ok(first == 1)
}

/// Whether something was used.
pub async fn is_redeemed(tx: &mut Tx, digest: &[u8; 32]) -> Result<bool> {
    let found =
        tx.first("SELECT 1 FROM redeemed WHERE digest = $1", params![&digest[..]], |_| Ok(())).await?;
    Ok(found.is_some())
}

/// The longest life of an access token, which may begin when its sign-in ends. Milliseconds. Source:
/// AccessTokenValidity.
pub const LONGEST_ACCESS_TOKEN_MS: i64 = 24 * 60 * 60 * 1000;

/// Drops redemptions that expired before `now`, and sign-ins that did so long enough before for every access
/// token to have expired as well; at most `batch` of each.
pub async fn sweep(tx: &mut Tx, now: Millis, batch: i64) -> Result<u64> {
    let sessions = tx
        .exec(
            "DELETE FROM token_sessions WHERE digest IN \
             (SELECT digest FROM token_sessions WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2)",
            params![Millis(now.0 - LONGEST_ACCESS_TOKEN_MS), batch],
        )
        .await?;
    let redeemed = tx
        .exec(
            "DELETE FROM redeemed WHERE digest IN \
             (SELECT digest FROM redeemed WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2)",
            params![now, batch],
        )
        .await?;
    Ok(sessions + redeemed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Store};

    /// A refresh in the last minute of a sign-in gives an access token that outlives it.
    #[tokio::test]
    async fn a_sign_in_stays_until_its_last_access_token_has_expired() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let (pool, expires) = (PoolId::new("local_pool"), Millis(1_000));
                    tx.exec(
                        "INSERT INTO users (pool_id, sub, username, attributes, pending, status, enabled, \
                         created_ms, updated_ms, password_set_ms, signed_out_ms, revision) \
                         VALUES ($1, 'ana', 'ana', '{}', '{}', 'CONFIRMED', 1, 0, 0, 0, 0, 0)",
                        params![&pool],
                    )
                    .await?;
                    tx.exec(
                        "INSERT INTO token_sessions (digest, pool_id, client_id, sub, origin_jti, auth_time_ms, \
                         scope, expires_ms) VALUES ($1, $2, 'client', 'ana', 'jti', 0, '', $3)",
                        params![&[7; 32][..], &pool, expires],
                    )
                    .await?;
                    assert!(redeem_once(tx, &[8; 32], expires).await?);
                    let last = expires.0 + LONGEST_ACCESS_TOKEN_MS;
                    assert_eq!(sweep(tx, Millis(last), 10).await?, 1, "what is redeemed goes at once");
                    let token = RefreshToken::First([7; 32]);
                    assert!(of_refresh_token(tx, &token).await?.is_some());
                    assert_eq!(sweep(tx, Millis(last + 1), 10).await?, 1);
                    assert!(of_refresh_token(tx, &token).await?.is_none());
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
