//! Signing keys of user pools. For each use a pool has one current key, which signs; maybe one that is
//! announced to those who verify, to become current later; and retired ones, which still verify.

use lido_domain::records::{SigningKey, TokenUse};
use lido_domain::{Millis, PoolId};

use crate::{Error, Result, Row, Tx, params};

macro_rules! columns {
    () => {
        "kid, pool_id, token_use, modulus, sealed_private, created_ms, active_ms, retired_ms"
    };
}

fn key(row: &Row<'_>) -> Result<SigningKey> {
    let token_use = row.text(2)?;
    Ok(SigningKey {
        kid: row.text(0)?,
        pool: PoolId::new(row.text(1)?),
        token_use: TokenUse::parse(&token_use).ok_or_else(|| Error::corrupt("unknown token_use"))?,
        modulus: row.text(3)?,
        sealed_private: row.bytes(4)?,
        created: row.millis(5)?,
        active: row.opt_millis(6)?,
        retired: row.opt_millis(7)?,
    })
}

/// The keys of a pool, the youngest first; none while they are still being generated.
pub async fn of_pool(tx: &mut Tx, pool: &PoolId) -> Result<Vec<SigningKey>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM signing_keys WHERE pool_id = $1 ORDER BY token_use, created_ms DESC, kid"
        ),
        params![pool],
        key,
    )
    .await
}

/// Adds a key, unless the pool has one of that use in that state: the first writer wins.
pub async fn insert_once(tx: &mut Tx, key: &SigningKey) -> Result<bool> {
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO signing_keys (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING"
            ),
            params![
                &key.kid,
                &key.pool,
                key.token_use.as_str(),
                &key.modulus,
                &key.sealed_private,
                key.created,
                key.active,
                key.retired
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Announces a key, unless one of that use is announced. The caller tells the caches: [`changed`].
pub async fn announce(tx: &mut Tx, key: &SigningKey) -> Result<bool> {
    insert_once(tx, &SigningKey { active: None, retired: None, ..key.clone() }).await
}

/// Retires the current key of a use and makes the announced one current. The caller tells the caches: [`changed`].
/// False when none is announced; then nothing changes.
pub async fn promote(tx: &mut Tx, pool: &PoolId, token_use: TokenUse, now: Millis) -> Result<bool> {
    let announced = tx
        .first(
            "SELECT kid FROM signing_keys WHERE pool_id = $1 AND token_use = $2 AND active_ms IS NULL",
            params![pool, token_use.as_str()],
            |row| row.text(0),
        )
        .await?;
    let Some(kid) = announced else { return Ok(false) };
    tx.exec(
        "UPDATE signing_keys SET retired_ms = $1 WHERE pool_id = $2 AND token_use = $3 \
         AND active_ms IS NOT NULL AND retired_ms IS NULL",
        params![now, pool, token_use.as_str()],
    )
    .await?;
    tx.exec("UPDATE signing_keys SET active_ms = $1 WHERE kid = $2", params![now, &kid]).await?;
    Ok(true)
}

/// Takes back the key of a use that is announced.
pub async fn remove_announced(tx: &mut Tx, pool: &PoolId, token_use: TokenUse) -> Result<()> {
    tx.exec(
        "DELETE FROM signing_keys WHERE pool_id = $1 AND token_use = $2 AND active_ms IS NULL",
        params![pool, token_use.as_str()],
    )
    .await?;
    Ok(())
}

/// Takes the retired keys of a use away: nothing that they signed is believed any more.
pub async fn remove_retired(tx: &mut Tx, pool: &PoolId, token_use: TokenUse) -> Result<()> {
    tx.exec(
        "DELETE FROM signing_keys WHERE pool_id = $1 AND token_use = $2 AND retired_ms IS NOT NULL",
        params![pool, token_use.as_str()],
    )
    .await?;
    Ok(())
}

/// Lets the pool's revision grow, by which every node notices that its copy of the keys is old. False when there
/// is no such pool.
pub async fn changed(tx: &mut Tx, pool: &PoolId) -> Result<bool> {
    let changed =
        tx.exec("UPDATE user_pools SET revision = revision + 1 WHERE id = $1", params![pool]).await?;
    Ok(changed == 1)
}

/// Drops keys that were retired before `before`, at most `batch`; returns how many.
pub async fn sweep(tx: &mut Tx, before: Millis, batch: i64) -> Result<u64> {
    tx.exec(
        "DELETE FROM signing_keys WHERE kid IN \
         (SELECT kid FROM signing_keys WHERE retired_ms < $1 ORDER BY retired_ms LIMIT $2)",
        params![before, batch],
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Store};

    const POOL: &str = "local_pool";

    fn made(kid: &str, created: i64) -> SigningKey {
        SigningKey {
            pool: PoolId::new(POOL),
            token_use: TokenUse::Access,
            kid: kid.into(),
            modulus: String::new(),
            sealed_private: vec![1],
            created: Millis(created),
            active: Some(Millis(created)),
            retired: None,
        }
    }

    /// Every key as `kid`, when it became current, when it was retired.
    async fn states(tx: &mut Tx) -> Result<Vec<(String, Option<i64>, Option<i64>)>> {
        let keys = of_pool(tx, &PoolId::new(POOL)).await?;
        let state = |key: SigningKey| {
            (key.kid, key.active.map(|moment| moment.0), key.retired.map(|moment| moment.0))
        };
        Ok(keys.into_iter().map(state).collect())
    }

    #[tokio::test]
    async fn one_key_of_a_use_is_current_and_one_announced() {
        let store = Store::open(Options::memory()).await.unwrap();
        let done: Result<()> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let pool = PoolId::new(POOL);
                    assert!(!changed(tx, &pool).await?);
                    tx.exec(
                        "INSERT INTO user_pools (id, name, settings, tags, created_ms, updated_ms, revision) \
                         VALUES ($1, 'pool', '{}', '{}', 0, 0, 1)",
                        params![&pool],
                    )
                    .await?;
                    assert!(!promote(tx, &pool, TokenUse::Access, Millis(1)).await?);
                    assert!(insert_once(tx, &made("a", 1)).await?);
                    assert!(!insert_once(tx, &made("b", 2)).await?);
                    assert!(insert_once(tx, &SigningKey { token_use: TokenUse::Id, ..made("id", 1) }).await?);

                    assert!(!promote(tx, &pool, TokenUse::Access, Millis(2)).await?);
                    assert!(announce(tx, &made("b", 3)).await?);
                    assert!(!announce(tx, &made("c", 4)).await?);
                    assert!(changed(tx, &pool).await?);
                    let [a, b] = ["a", "b"].map(String::from);
                    let id = ("id".to_owned(), Some(1), None);
                    assert_eq!(
                        states(tx).await?,
                        [(b.clone(), None, None), (a.clone(), Some(1), None), id.clone()]
                    );
                    assert!(promote(tx, &pool, TokenUse::Access, Millis(5)).await?);
                    assert_eq!(
                        states(tx).await?,
                        [(b.clone(), Some(5), None), (a, Some(1), Some(5)), id.clone()]
                    );
                    assert!(!promote(tx, &pool, TokenUse::Access, Millis(6)).await?);

                    assert_eq!(sweep(tx, Millis(5), 10).await?, 0);
                    assert_eq!(sweep(tx, Millis(6), 10).await?, 1);
                    assert_eq!(states(tx).await?, [(b.clone(), Some(5), None), id.clone()]);
                    assert!(announce(tx, &made("d", 7)).await?);
                    remove_announced(tx, &pool, TokenUse::Access).await?;
                    assert!(announce(tx, &made("c", 7)).await?);
                    assert!(promote(tx, &pool, TokenUse::Access, Millis(7)).await?);
                    remove_retired(tx, &pool, TokenUse::Access).await?;
                    assert_eq!(states(tx).await?, [("c".to_owned(), Some(7), None), id]);
                    assert_eq!(crate::pools::revision(tx, &pool).await?, Some(2));
                    Ok(())
                })
            })
            .await;
        done.unwrap();
    }
}
