//! New signing keys for a pool, made by a command beside the servers. Caches hold a pool's keys as long as its
//! revision stands, which every request reads: a rotation counts at once, on every node.

use lido_crypto::jws::{self, SigningKey};
use lido_crypto::keys::KeyRing;
use lido_domain::records::{SigningKey as KeyRecord, TokenUse};
use lido_domain::{Millis, PoolId, Random};
use lido_store::{Store, keys};

use crate::fault::{self, Error, Result};
use crate::tokens::keys::seal_with;

/// What becomes of the key that another one takes the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// It verifies until every token has expired that it signed.
    Retired,
    /// It verifies nothing any more, and neither does any that was retired before.
    Withdrawn,
}

/// Makes a key for a pool and lists it in the pool's key set, where verifiers learn of it before it signs. A key
/// that was announced earlier, and not brought into use, stays the announced one, unless it is to be withdrawn too.
///
/// Errors: [`fault::pool_not_found`].
pub async fn announce(
    store: &Store,
    keyring: &KeyRing,
    random: &dyn Random,
    pool: &PoolId,
    token_use: TokenUse,
    old: Old,
    now: Millis,
) -> Result<()> {
    let key = tokio::task::spawn_blocking(SigningKey::generate)
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)?;
    let record = seal_with(keyring, random, pool, token_use, jws::new_kid(random), &key, now);
    store
        .write((record, old), |(record, old): &(KeyRecord, Old), tx| {
            Box::pin(async move {
                if !keys::changed(tx, &record.pool).await? {
                    return Err(fault::pool_not_found(record.pool.as_str()).into());
                }
                if *old == Old::Withdrawn {
                    keys::remove_announced(tx, &record.pool, record.token_use).await?;
                }
                keys::announce(tx, record).await?;
                Ok(())
            })
        })
        .await
}

/// Brings the announced keys into use, in one transaction.
///
/// Errors: [`fault::pool_not_found`]; [`Error::Conflict`] when none is announced for one of the uses.
pub async fn promote(store: &Store, pool: &PoolId, uses: &[TokenUse], old: Old, now: Millis) -> Result<()> {
    store
        .write((pool.clone(), uses.to_vec(), old, now), |(pool, uses, old, now), tx| {
            Box::pin(async move {
                if !keys::changed(tx, pool).await? {
                    return Err(fault::pool_not_found(pool.as_str()).into());
                }
                for token_use in uses {
                    if !keys::promote(tx, pool, *token_use, *now).await? {
                        return Err(Error::Conflict);
                    }
                    if *old == Old::Withdrawn {
                        keys::remove_retired(tx, pool, *token_use).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}
