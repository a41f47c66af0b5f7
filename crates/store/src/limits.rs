//! Lockouts after wrong passwords, and counts per hour.

use lido_domain::{Millis, PoolId};

use crate::{Result, Tx, params};

/// A quarter of an hour without attempts forgets the failures. Milliseconds.
pub const LOCKOUT_MEMORY_MS: i64 = 15 * 60 * 1000;

/// Until when the subject is locked out, if it is.
pub async fn locked_until(tx: &mut Tx, pool: &PoolId, subject: &str, now: Millis) -> Result<Option<Millis>> {
    tx.first(
        "SELECT locked_until_ms FROM lockouts WHERE pool_id = $1 AND subject = $2 AND locked_until_ms > $3",
        params![pool, subject, now],
        |row| row.millis(0),
    )
    .await
}

/// Counts a failure, unless the subject is locked out: then it neither counts nor extends the lock.
/// The n-th failure, n ≥ 5, locks for 2^(n-5) seconds, at most 900. False when it was locked.
///
/// A quarter of an hour without failures forgets them; where the lock itself lasts as long, it begins when
/// the lock ends, else the longest lock would be the last.
pub async fn count_failure(tx: &mut Tx, pool: &PoolId, subject: &str, now: Millis) -> Result<bool> {
    let fresh_since = Millis(now.0 - LOCKOUT_MEMORY_MS);
    let failures = tx
        .first(
            "INSERT INTO lockouts (pool_id, subject, failures, last_failure_ms, locked_until_ms) \
             VALUES ($1, $2, 1, $3, 0) ON CONFLICT (pool_id, subject) DO UPDATE SET \
             failures = CASE WHEN lockouts.last_failure_ms <= $4 AND (lockouts.failures < 15 \
             OR lockouts.locked_until_ms <= $4) THEN 1 ELSE lockouts.failures + 1 END, \
             last_failure_ms = excluded.last_failure_ms \
             WHERE lockouts.locked_until_ms <= excluded.last_failure_ms RETURNING failures",
            params![pool, subject, now, fresh_since],
            |row| row.int(0),
        )
        .await?;
    let Some(failures) = failures else { return Ok(false) };
    if failures >= 5 {
        let seconds = if failures >= 15 { 900 } else { (1_i64 << (failures - 5)).min(900) };
        tx.exec(
            "UPDATE lockouts SET locked_until_ms = $1 WHERE pool_id = $2 AND subject = $3",
            params![Millis(now.0 + seconds * 1000), pool, subject],
        )
        .await?;
    }
    Ok(true)
}

/// Forgets the failures of the subject.
pub async fn clear_failures(tx: &mut Tx, pool: &PoolId, subject: &str) -> Result<()> {
    tx.exec("DELETE FROM lockouts WHERE pool_id = $1 AND subject = $2", params![pool, subject]).await?;
    Ok(())
}

/// Counts `action` in the subject's running hour. False when `most` were counted already.
pub async fn count_hourly(
    tx: &mut Tx,
    pool: &PoolId,
    subject: &str,
    action: &str,
    most: i64,
    now: Millis,
) -> Result<bool> {
    let hour_ago = Millis(now.0 - 60 * 60 * 1000);
    let counted = tx
        .exec(
            "INSERT INTO hourly_counts (pool_id, subject, action, window_ms, count) VALUES ($1, $2, $3, $4, 1) \
             ON CONFLICT (pool_id, subject, action) DO UPDATE SET \
             count = CASE WHEN hourly_counts.window_ms <= $5 THEN 1 ELSE hourly_counts.count + 1 END, \
             window_ms = CASE WHEN hourly_counts.window_ms <= $5 THEN excluded.window_ms \
             ELSE hourly_counts.window_ms END \
             WHERE hourly_counts.window_ms <= $5 OR hourly_counts.count < $6",
            params![pool, subject, action, now, hour_ago, most],
        )
        .await?;
    Ok(counted == 1)
}

/// Drops what no longer matters at `now`, at most `batch` of each kind.
pub async fn sweep(tx: &mut Tx, now: Millis, batch: i64) -> Result<u64> {
    let lockouts = tx
        .exec(
            "DELETE FROM lockouts WHERE (pool_id, subject) IN (SELECT pool_id, subject FROM lockouts \
             WHERE last_failure_ms < $1 AND locked_until_ms < $1 ORDER BY last_failure_ms LIMIT $2)",
            params![Millis(now.0 - LOCKOUT_MEMORY_MS), batch],
        )
        .await?;
    let counts = tx
        .exec(
            "DELETE FROM hourly_counts WHERE (pool_id, subject, action) IN \
             (SELECT pool_id, subject, action FROM hourly_counts WHERE window_ms < $1 \
             ORDER BY window_ms LIMIT $2)",
            params![Millis(now.0 - 60 * 60 * 1000), batch],
        )
        .await?;
    Ok(lockouts + counts)
}
