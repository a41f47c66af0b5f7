//! User pools.

use std::collections::BTreeMap;

use lido_domain::{Millis, PoolId, UserPool};

use crate::{Result, Row, Tx, error::Error, params};

macro_rules! columns {
    () => {
        "id, name, settings, mfa, tags, created_ms, updated_ms, revision"
    };
}

fn pool(row: &Row<'_>) -> Result<UserPool> {
    Ok(UserPool {
        id: PoolId::new(row.text(0)?),
        name: row.text(1)?,
        settings: row.text(2)?,
        mfa: row.text(3)?,
        tags: serde_json::from_str(&row.text(4)?).map_err(Error::corrupt)?,
        created: row.millis(5)?,
        updated: row.millis(6)?,
        revision: row.int(7)?,
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

/// False when the id is taken, or its last holder's users and groups are still being removed.
pub async fn insert(tx: &mut Tx, pool: &UserPool) -> Result<bool> {
    if is_deleted(tx, &pool.id).await? {
        return Ok(false);
    }
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO user_pools (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING"
            ),
            params![
                &pool.id,
                &pool.name,
                &pool.settings,
                &pool.mfa,
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
            "UPDATE user_pools SET name = $1, settings = $2, mfa = $3, tags = $4, updated_ms = $5, \
             revision = revision + 1 WHERE id = $6 AND revision = $7",
            params![
                &pool.name,
                &pool.settings,
                &pool.mfa,
                &tags_json(&pool.tags),
                pool.updated,
                &pool.id,
                pool.revision
            ],
        )
        .await?;
    Ok(changed == 1)
}

/// Removes the pool with its clients and keys, and leaves its users and groups to [`purge`].
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

/// Whether the pool was deleted and [`purge`] has not finished with it.
async fn is_deleted(tx: &mut Tx, id: &PoolId) -> Result<bool> {
    let found = tx.first("SELECT 1 FROM deleted_pools WHERE pool_id = $1", params![id], |_| Ok(())).await?;
    Ok(found.is_some())
}

/// Removes up to `batch` users, or groups, of a deleted pool; true when nothing of it is left, and when it is
/// no deleted pool: since it was listed as one, its id may have been given to a new pool.
pub async fn purge(tx: &mut Tx, id: &PoolId, batch: i64) -> Result<bool> {
    if !is_deleted(tx, id).await? {
        return Ok(true);
    }
    // Users take their memberships with them, so that groups are empty when their turn comes.
    for sql in [
        "DELETE FROM users WHERE pool_id = $1 AND sub IN \
         (SELECT sub FROM users WHERE pool_id = $1 ORDER BY sub LIMIT $2)",
        "DELETE FROM groups WHERE pool_id = $1 AND name IN \
         (SELECT name FROM groups WHERE pool_id = $1 ORDER BY name LIMIT $2)",
    ] {
        let removed = tx.exec(sql, params![id, batch]).await?;
        if i64::try_from(removed).unwrap_or(i64::MAX) >= batch {
            return Ok(false);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Store};

    fn id() -> PoolId {
        PoolId::new("local_pool")
    }

    /// A pool with the users and groups 0 to 4, each user a member of each group.
    async fn make(tx: &mut Tx) -> Result<()> {
        let pool = UserPool {
            id: id(),
            name: "pool".into(),
            settings: "{}".into(),
            mfa: "{}".into(),
            tags: BTreeMap::new(),
            created: Millis(0),
            updated: Millis(0),
            revision: 1,
        };
        assert!(insert(tx, &pool).await?);
        let names = ["0", "1", "2", "3", "4"];
        for name in names {
            tx.exec(
                "INSERT INTO users (pool_id, sub, username, attributes, pending, status, enabled, created_ms, \
                 updated_ms, password_set_ms, signed_out_ms, revision) \
                 VALUES ($1, $2, $2, '{}', '{}', 'CONFIRMED', 1, 0, 0, 0, 0, 0)",
                params![&id(), name],
            )
            .await?;
            tx.exec(
                "INSERT INTO groups (pool_id, name, created_ms, updated_ms, revision) VALUES ($1, $2, 0, 0, 0)",
                params![&id(), name],
            )
            .await?;
        }
        tx.exec(
            "INSERT INTO group_members (pool_id, group_name, sub) \
             SELECT g.pool_id, g.name, u.sub FROM groups g JOIN users u ON u.pool_id = g.pool_id",
            params![],
        )
        .await?;
        Ok(())
    }

    async fn left(tx: &mut Tx) -> Result<[i64; 3]> {
        let sql = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM groups), \
                   (SELECT count(*) FROM group_members)";
        let left = tx.first(sql, params![], |row| Ok([row.int(0)?, row.int(1)?, row.int(2)?])).await?;
        Ok(left.expect("an aggregate has a row"))
    }

    #[tokio::test]
    async fn users_and_groups_of_a_deleted_pool_go_in_batches_and_keep_its_id_until_then() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    make(tx).await?;
                    assert!(delete(tx, &id(), 1, Millis(2)).await?);
                    assert_eq!(left(tx).await?, [5, 5, 25]);
                    assert!(!purge(tx, &id(), 3).await?);
                    assert_eq!(left(tx).await?, [2, 5, 10]);
                    assert!(!purge(tx, &id(), 3).await?);
                    assert_eq!(left(tx).await?, [0, 2, 0]);
                    let again = UserPool {
                        id: id(),
                        name: "again".into(),
                        settings: "{}".into(),
                        mfa: "{}".into(),
                        tags: BTreeMap::new(),
                        created: Millis(3),
                        updated: Millis(3),
                        revision: 1,
                    };
                    assert!(!insert(tx, &again).await?);
                    assert!(purge(tx, &id(), 3).await?);
                    assert_eq!(left(tx).await?, [0, 0, 0]);
                    assert!(insert(tx, &again).await?);
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }

    #[tokio::test]
    async fn a_pool_that_is_not_deleted_is_not_purged() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    make(tx).await?;
                    assert!(purge(tx, &id(), 3).await?);
                    assert_eq!(left(tx).await?, [5, 5, 25]);
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
