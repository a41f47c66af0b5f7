//! Signing keys of user pools: two RSA-2048 pairs each, made ahead of need, sealed in the store, parsed
//! once for as long as the pool's revision stands. Retired ones verify for a while longer.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use lido_crypto::jws::{self, GeneratedKey, SigningKey, VerifyingKey};
use lido_crypto::keys::{KeyRing, Purpose};
use lido_domain::records::{SigningKey as KeyRecord, TokenUse};
use lido_domain::{Millis, PoolId, Random};
use lido_store::keys;
use serde_json::Value;

use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::pool::Pool;

/// How long a retired key verifies, and is in the key set: longer than any token lives that it signed (24 hours),
/// by more than clocks differ.
pub const VERIFIES_FOR: Duration = Duration::from_secs(25 * 60 * 60);

/// A pool's keys, ready to use.
#[derive(Debug)]
pub struct PoolKeys {
    pub access: Arc<SigningKey>,
    pub id: Arc<SigningKey>,
    /// The current key of ID tokens, that of access tokens, then those that are announced or retired.
    public: Vec<PublicKey>,
}

/// What verifies tokens.
#[derive(Debug)]
pub struct PublicKey {
    pub token_use: TokenUse,
    pub verifying: VerifyingKey,
    kid: String,
    modulus: String,
    retired: Option<Millis>,
}

/// Keys that wait for a pool. Generating one takes a tenth of a second and more, so a thread of its own
/// keeps a few ready.
#[derive(Debug)]
pub struct KeyStock {
    ready: Receiver<GeneratedKey>,
}

impl KeyStock {
    /// `size`: how many keys are kept; none are made ahead with 0.
    pub fn start(size: usize) -> Self {
        let (sender, ready) = bounded(size);
        if size > 0 {
            std::thread::Builder::new()
                .name("lido-key-stock".into())
                .spawn(move || {
                    while let Ok(key) = SigningKey::generate() {
                        // Blocks while the stock is full, ends with the stock.
                        if sender.send(key).is_err() {
                            break;
                        }
                    }
                })
                .expect("a thread can be started when the process starts");
        }
        Self { ready }
    }

    fn take_two(&self) -> Option<[GeneratedKey; 2]> {
        if self.ready.len() < 2 {
            return None;
        }
        Some([self.ready.try_recv().ok()?, self.ready.try_recv().ok()?])
    }
}

fn seal_context<'a>(pool: &'a PoolId, kid: &'a str) -> [&'a [u8]; 2] {
    [pool.as_str().as_bytes(), kid.as_bytes()]
}

/// Seals a current key for storage, under the id that tokens will name it by.
pub fn seal(
    cx: &Cx,
    pool: &PoolId,
    token_use: TokenUse,
    kid: String,
    key: &GeneratedKey,
    now: Millis,
) -> KeyRecord {
    seal_with(&cx.keyring, &*cx.random, pool, token_use, kid, key, now)
}

pub(super) fn seal_with(
    keyring: &KeyRing,
    random: &dyn Random,
    pool: &PoolId,
    token_use: TokenUse,
    kid: String,
    key: &GeneratedKey,
    now: Millis,
) -> KeyRecord {
    let context = seal_context(pool, &kid);
    let sealed_private = keyring.seal(Purpose::PrivateKey, &context, key.pkcs8.expose(), random);
    KeyRecord {
        pool: pool.clone(),
        token_use,
        modulus: key.modulus.clone(),
        sealed_private,
        kid,
        created: now,
        active: Some(now),
        retired: None,
    }
}

fn seal_pair(cx: &Cx, pool: &PoolId, [access, id]: &[GeneratedKey; 2], now: Millis) -> [KeyRecord; 2] {
    let seal = |token_use, key| seal(cx, pool, token_use, jws::new_kid(&*cx.random), key, now);
    [seal(TokenUse::Access, access), seal(TokenUse::Id, id)]
}

/// Two keys for a new pool, if the stock has them. A pool that is made without is given its keys when it
/// first needs them, so that making it never waits.
pub fn prepare(cx: &Cx, pool: &PoolId, now: Millis) -> Option<[KeyRecord; 2]> {
    Some(seal_pair(cx, pool, &cx.key_stock.take_two()?, now))
}

impl PoolKeys {
    fn parse(cx: &Cx, records: &[KeyRecord]) -> Result<Option<Self>> {
        let is_current = |record: &&KeyRecord| record.active.is_some() && record.retired.is_none();
        let find = |token_use| records.iter().filter(is_current).find(|record| record.token_use == token_use);
        let (Some(access), Some(id)) = (find(TokenUse::Access), find(TokenUse::Id)) else { return Ok(None) };
        let signing = |record: &KeyRecord| -> Result<Arc<SigningKey>> {
            let context = seal_context(&record.pool, &record.kid);
            let pkcs8 = cx
                .keyring
                .open(Purpose::PrivateKey, &context, &record.sealed_private)
                .map_err(Error::internal)?;
            let key = SigningKey::from_pkcs8(&pkcs8, record.kid.clone()).map_err(Error::internal)?;
            Ok(Arc::new(key))
        };
        let others = records.iter().filter(|record| !is_current(record));
        let public = [id, access].into_iter().chain(others).map(PublicKey::parse).collect::<Result<_>>()?;
        Ok(Some(Self { access: signing(access)?, id: signing(id)?, public }))
    }

    /// The keys that verify tokens at this moment.
    pub fn public(&self, now: Millis) -> impl Iterator<Item = &PublicKey> {
        self.public.iter().filter(move |key| key.retired.is_none_or(|retired| now < retired + VERIFIES_FOR))
    }

    /// The one of them that a token names.
    pub fn find(&self, kid: &str, now: Millis) -> Option<&PublicKey> {
        self.public(now).find(|key| key.kid == kid)
    }
}

impl PublicKey {
    fn parse(record: &KeyRecord) -> Result<Self> {
        Ok(Self {
            token_use: record.token_use,
            verifying: VerifyingKey::from_modulus(&record.modulus).map_err(Error::internal)?,
            kid: record.kid.clone(),
            modulus: record.modulus.clone(),
            retired: record.retired,
        })
    }
}

/// The keys of a pool; the first need of a pool without any waits for their generation. Of several
/// that generate at once, the first to write wins and the others use its keys.
pub async fn of<'p>(cx: &Cx, pool: &'p Pool) -> Result<&'p PoolKeys> {
    pool.keys
        .get_or_try_init(|| async {
            let id = pool.record.id.clone();
            if let Some(keys) = PoolKeys::parse(cx, &stored(cx, &id).await?)? {
                return Ok(keys);
            }
            let pair = match cx.key_stock.take_two() {
                Some(pair) => pair,
                None => {
                    tokio::task::spawn_blocking(|| Ok([SigningKey::generate()?, SigningKey::generate()?]))
                        .await
                        .map_err(Error::internal)?
                        .map_err(|fault: jws::KeyFault| Error::internal(fault))?
                }
            };
            let records = seal_pair(cx, &id, &pair, cx.now());
            let stored = cx
                .store
                .write((id, records), |(id, records), tx| {
                    Box::pin(async move {
                        for record in records {
                            keys::insert_once(tx, record).await?;
                        }
                        Ok::<_, Error>(keys::of_pool(tx, id).await?)
                    })
                })
                .await?;
            PoolKeys::parse(cx, &stored)?.ok_or(Error::Conflict)
        })
        .await
}

async fn stored(cx: &Cx, pool: &PoolId) -> Result<Vec<KeyRecord>> {
    cx.store
        .read(pool.clone(), |pool, tx| {
            Box::pin(async move { Ok::<_, Error>(keys::of_pool(tx, pool).await?) })
        })
        .await
}

/// The pool's JWK set: the key of ID tokens, then the key of access tokens, then those that are announced or
/// retired.
pub async fn public(cx: &Cx, pool: &Pool) -> Result<Vec<Value>> {
    let keys = of(cx, pool).await?;
    Ok(keys.public(cx.now()).map(|key| jws::jwk(&key.kid, &key.modulus)).collect())
}
