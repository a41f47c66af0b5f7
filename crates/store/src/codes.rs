//! Verification codes: one for each user and purpose, as keyed hashes, redeemed by one statement.

use lido_domain::{Millis, PoolId, Sub};

use crate::{Result, Tx, params};

/// A code that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// `sign_up`, `forgot_password`, `verify:email` …
    pub purpose: String,
    pub digest: [u8; 32],
    /// What the code proves, `email=ana@example.com`: a code for an earlier address is void.
    pub target: String,
    pub expires: Millis,
}

/// What became of an attempt to redeem a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    /// It was right and is gone.
    Right,
    /// It was wrong; the attempt was counted.
    Wrong,
    /// Too many wrong attempts: nothing redeems it any more.
    Exhausted,
    /// There is no code, or it has expired.
    Absent,
}

/// Stores a code; an earlier one for the same purpose is void.
pub async fn put(tx: &mut Tx, pool: &PoolId, sub: &Sub, code: &Code) -> Result<()> {
    tx.exec(
        "INSERT INTO codes (pool_id, sub, purpose, digest, target, expires_ms, attempts) \
         VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (pool_id, sub, purpose) DO UPDATE SET \
         digest = excluded.digest, target = excluded.target, expires_ms = excluded.expires_ms, attempts = 0",
        params![pool, sub, &code.purpose, &code.digest[..], &code.target, code.expires],
    )
    .await?;
    Ok(())
}

/// An attempt to redeem a code. It must be committed whatever the outcome: a wrong one counts.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub purpose: String,
    pub digest: [u8; 32],
    pub target: String,
    pub now: Millis,
    /// Wrong attempts that a code survives.
    pub max_attempts: i64,
}

/// Takes the code if it is right; counts the attempt if it is not.
pub async fn redeem(tx: &mut Tx, pool: &PoolId, sub: &Sub, attempt: &Attempt) -> Result<Redeemed> {
    let taken = tx
        .exec(
            "DELETE FROM codes WHERE pool_id = $1 AND sub = $2 AND purpose = $3 AND digest = $4 \
             AND target = $5 AND expires_ms > $6 AND attempts < $7",
            params![
                pool,
                sub,
                &attempt.purpose,
                &attempt.digest[..],
                &attempt.target,
                attempt.now,
                attempt.max_attempts
            ],
        )
        .await?;
    if taken == 1 {
        return Ok(Redeemed::Right);
    }
    let attempts = tx
        .first(
            "UPDATE codes SET attempts = attempts + 1 WHERE pool_id = $1 AND sub = $2 AND purpose = $3 \
             AND target = $4 AND expires_ms > $5 RETURNING attempts",
            params![pool, sub, &attempt.purpose, &attempt.target, attempt.now],
            |row| row.int(0),
        )
        .await?;
    Ok(match attempts {
        None => Redeemed::Absent,
        Some(attempts) if attempts > attempt.max_attempts => Redeemed::Exhausted,
        Some(_) => Redeemed::Wrong,
    })
}

/// What the live code of a purpose was sent to, if there is one.
pub async fn target(
    tx: &mut Tx,
    pool: &PoolId,
    sub: &Sub,
    purpose: &str,
    now: Millis,
) -> Result<Option<String>> {
    tx.first(
        "SELECT target FROM codes WHERE pool_id = $1 AND sub = $2 AND purpose = $3 AND expires_ms > $4",
        params![pool, sub, purpose, now],
        |row| row.text(0),
    )
    .await
}

/// Whether an attempt would succeed. Nothing is taken and nothing is counted.
pub async fn would_redeem(tx: &mut Tx, pool: &PoolId, sub: &Sub, attempt: &Attempt) -> Result<bool> {
    let found = tx
        .first(
            "SELECT 1 FROM codes WHERE pool_id = $1 AND sub = $2 AND purpose = $3 AND digest = $4 \
             AND target = $5 AND expires_ms > $6 AND attempts < $7",
            params![
                pool,
                sub,
                &attempt.purpose,
                &attempt.digest[..],
                &attempt.target,
                attempt.now,
                attempt.max_attempts
            ],
            |_| Ok(()),
        )
        .await?;
    Ok(found.is_some())
}

/// Takes back the code that `digest` names: its message could not be delivered.
pub async fn void(tx: &mut Tx, pool: &PoolId, sub: &Sub, purpose: &str, digest: &[u8; 32]) -> Result<()> {
    tx.exec(
        "DELETE FROM codes WHERE pool_id = $1 AND sub = $2 AND purpose = $3 AND digest = $4",
        params![pool, sub, purpose, &digest[..]],
    )
    .await?;
    Ok(())
}

/// Drops the code of a purpose.
pub async fn clear(tx: &mut Tx, pool: &PoolId, sub: &Sub, purpose: &str) -> Result<()> {
    tx.exec(
        "DELETE FROM codes WHERE pool_id = $1 AND sub = $2 AND purpose = $3",
        params![pool, sub, purpose],
    )
    .await?;
    Ok(())
}

/// Drops codes that expired before `now`, at most `batch`; returns how many.
pub async fn sweep(tx: &mut Tx, now: Millis, batch: i64) -> Result<u64> {
    tx.exec(
        "DELETE FROM codes WHERE (pool_id, sub, purpose) IN \
         (SELECT pool_id, sub, purpose FROM codes WHERE expires_ms < $1 ORDER BY expires_ms LIMIT $2)",
        params![now, batch],
    )
    .await
}
