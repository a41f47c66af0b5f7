//! Signing keys of user pools.

use lido_domain::PoolId;
use lido_domain::records::{SigningKey, TokenUse};

use crate::{Error, Result, Row, Tx, params};

macro_rules! columns {
    () => {
        "kid, pool_id, token_use, modulus, sealed_private, created_ms"
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
    })
}

/// The keys of a pool; none while they are still being generated.
pub async fn of_pool(tx: &mut Tx, pool: &PoolId) -> Result<Vec<SigningKey>> {
    tx.query(
        concat!("SELECT ", columns!(), " FROM signing_keys WHERE pool_id = $1 ORDER BY token_use"),
        params![pool],
        key,
    )
    .await
}

/// Gives a pool its key for one use, unless it has one: the first writer wins.
pub async fn insert_once(tx: &mut Tx, key: &SigningKey) -> Result<bool> {
    let inserted = tx
        .exec(
            concat!(
                "INSERT INTO signing_keys (",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING"
            ),
            params![
                &key.kid,
                &key.pool,
                key.token_use.as_str(),
                &key.modulus,
                &key.sealed_private,
                key.created
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Takes a pool's keys away; the caller writes others in the same transaction.
pub async fn remove(tx: &mut Tx, pool: &PoolId, token_use: TokenUse) -> Result<u64> {
    tx.exec(
        "DELETE FROM signing_keys WHERE pool_id = $1 AND token_use = $2",
        params![pool, token_use.as_str()],
    )
    .await
}
