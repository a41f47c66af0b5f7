//! Sign-ins: refresh tokens as keyed hashes, their revocation, and what may be used only once.

use lido_domain::records::TokenSession;
use lido_domain::{ClientId, Millis, PoolId, Sub, User};

use crate::clients::Revisions;
use crate::{Result, Row, Tx, params, users};

macro_rules! columns {
    () => {
        "pool_id, client_id, sub, origin_jti, auth_time_ms, scope, expires_ms, revoked_ms"
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

/// The sign-in of a refresh token.
pub async fn by_digest(tx: &mut Tx, digest: &[u8; 32]) -> Result<Option<TokenSession>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM token_sessions WHERE digest = $1"),
        params![&digest[..]],
        session,
    )
    .await
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
                    pool_id: PoolId::new(row.text(14)?),
                    client: row.int(15)?,
                    pool: row.int(16)?,
                },
                stands: row.opt_text(17)?.is_some(),
            })
        },
    )
    .await
}

/// Revokes one sign-in; doing it again changes nothing.
pub async fn revoke(tx: &mut Tx, digest: &[u8; 32], now: Millis) -> Result<()> {
    tx.exec(
        "UPDATE token_sessions SET revoked_ms = $1 WHERE digest = $2 AND revoked_ms IS NULL",
        params![now, &digest[..]],
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
                    assert!(by_digest(tx, &[7; 32]).await?.is_some());
                    assert_eq!(sweep(tx, Millis(last + 1), 10).await?, 1);
                    assert!(by_digest(tx, &[7; 32]).await?.is_none());
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
