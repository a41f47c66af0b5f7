//! User pools.

use std::collections::BTreeMap;

use lido_domain::{Millis, PoolId, UserPool};

use crate::{Result, Row, Tx, error::Error, params};

macro_rules! columns {
    () => {
        "id, name, settings, tags, created_ms, updated_ms, revision"
    };
}

fn pool(row: &Row<'_>) -> Result<UserPool> {
    Ok(UserPool {
        id: PoolId::new(row.text(0)?),
        name: row.text(1)?,
        settings: row.text(2)?,
        tags: serde_json::from_str(&row.text(3)?).map_err(Error::corrupt)?,
        created: row.millis(4)?,
        updated: row.millis(5)?,
        revision: row.int(6)?,
    })
}

fn tags_json(tags: &BTreeMap<String, String>) -> String {
    serde_json::to_string(tags).expect("a map of strings is always JSON")
}

pub async fn get(tx: &mut Tx, id: &PoolId) -> Result<Option<UserPool>> {
    tx.first(concat!("SELECT ", columns!(), " FROM user_pools WHERE id = $1"), params![id], pool).await
}

/// The revision of a pool: what a cache compares to know that its copy is current.
pub async fn revision(tx: &mut Tx, id: &PoolId) -> Result<Option<i64>> {
    tx.first("SELECT revision FROM user_pools WHERE id = $1", params![id], |row| row.int(0)).await
}

/// False when the id is taken, or its last holder's users are still being removed.
pub async fn insert(tx: &mut Tx, pool: &UserPool) -> Result<bool> {
    let leftover = tx
        .first("SELECT 1 FROM deleted_pools WHERE pool_id = $1", params![&pool.id], |row| row.int(0))
        .await?;
    if leftover.is_some() {
        return Ok(false);
    }
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO user_pools (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING"
            ),
            params![
                &pool.id,
                &pool.name,
                &pool.settings,
                &tags_json(&pool.tags),
                pool.created,
                pool.updated,
                pool.revision
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Replaces the pool that was read at `pool.revision`; false when it has changed since.
pub async fn put(tx: &mut Tx, pool: &UserPool) -> Result<bool> {
    let changed = tx
        .exec(
            "UPDATE user_pools SET name = $1, settings = $2, tags = $3, updated_ms = $4, revision = revision + 1 \
             WHERE id = $5 AND revision = $6",
            params![&pool.name, &pool.settings, &tags_json(&pool.tags), pool.updated, &pool.id, pool.revision],
        )
        .await?;
    Ok(changed == 1)
}

/// Removes the pool with its clients, keys and groups, and leaves its users to [`purge`].
/// False when it has changed since it was read, or is gone.
pub async fn delete(tx: &mut Tx, id: &PoolId, revision: i64, now: Millis) -> Result<bool> {
    let deleted =
        tx.exec("DELETE FROM user_pools WHERE id = $1 AND revision = $2", params![id, revision]).await?;
    if deleted == 0 {
        return Ok(false);
    }
    tx.exec(
        "INSERT INTO deleted_pools (pool_id, deleted_ms) VALUES ($1, $2) ON CONFLICT (pool_id) DO NOTHING",
        params![id, now],
    )
    .await?;
    Ok(true)
}

/// Pools that [`purge`] has not finished.
pub async fn deleted(tx: &mut Tx) -> Result<Vec<PoolId>> {
    tx.query("SELECT pool_id FROM deleted_pools ORDER BY pool_id LIMIT 100", params![], |row| {
        Ok(PoolId::new(row.text(0)?))
    })
    .await
}

/// Removes up to `batch` users of a deleted pool; true when nothing of it is left.
pub async fn purge(tx: &mut Tx, id: &PoolId, batch: i64) -> Result<bool> {
    let users = tx
        .exec(
            "DELETE FROM users WHERE pool_id = $1 AND sub IN \
             (SELECT sub FROM users WHERE pool_id = $1 ORDER BY sub LIMIT $2)",
            params![id, batch],
        )
        .await?;
    if i64::try_from(users).unwrap_or(i64::MAX) >= batch {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM lockouts WHERE pool_id = $1",
        "DELETE FROM hourly_counts WHERE pool_id = $1",
        "DELETE FROM outbox WHERE pool_id = $1",
        "DELETE FROM inbox WHERE pool_id = $1",
        "DELETE FROM deleted_pools WHERE pool_id = $1",
    ] {
        tx.exec(sql, params![id]).await?;
    }
    Ok(true)
}

/// Pools in the order of their ids, after `after`.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<UserPool>> {
    tx.query(
        concat!("SELECT ", columns!(), " FROM user_pools WHERE id > $1 ORDER BY id LIMIT $2"),
        params![after, limit],
        pool,
    )
    .await
}

/// How many users the pool has.
pub async fn user_count(tx: &mut Tx, id: &PoolId) -> Result<i64> {
    Ok(tx
        .first("SELECT count(*) FROM users WHERE pool_id = $1", params![id], |row| row.int(0))
        .await?
        .unwrap_or_default())
}
