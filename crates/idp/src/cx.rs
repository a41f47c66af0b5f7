//! The context of an operation: what it reads and writes, the clock, randomness, keys.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lido_crypto::keys::KeyRing;
use lido_domain::{ClientId, Clock, Millis, PoolId, Random, Transport, TriggerHost, User, UserPool};
use lido_store::clients::{self, Revisions};
use lido_store::{Store, Tx, pools, users};
use moka::sync::Cache;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::crypto_pool::CryptoPool;
use crate::fault::{self, Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::keys::KeyStock;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of the issuer and of every advertised URL, without a slash at the end.
    pub public_url: String,
    pub issuer: Issuer,
    pub region: String,
    pub account: String,
    /// Development features: fixed ids by tag, the inbox.
    pub development: bool,
    /// Counts per hour, as the service limits them.
    pub limit_counts: bool,
}

/// The value of `iss`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// `{public-url}/{userPoolId}`
    PublicUrl,
    /// `https://cognito-idp.<region>.amazonaws.com/<userPoolId>`
    Aws,
    /// This text, followed by the pool's id where it holds `{userPoolId}`.
    Fixed(String),
}

impl Settings {
    pub fn pool_arn(&self, pool: &PoolId) -> String {
        format!("arn:aws:cognito-idp:{}:{}:userpool/{pool}", pool.region(), self.account)
    }
}

/// How messages leave.
#[derive(Debug)]
pub struct Delivery {
    pub email: Channel,
    pub sms: Channel,
    /// Whether the inbox gets a copy.
    pub inbox: bool,
    /// How long a call waits for the first attempt.
    pub answer_within: Duration,
    pub retry: Vec<Duration>,
}

/// Where the messages of one medium go.
#[derive(Clone, Debug)]
pub enum Channel {
    /// Only the inbox takes them.
    Inbox,
    /// Nothing takes them: asking for one is refused.
    None,
    Transport(Arc<dyn Transport>),
}

/// What every operation has at hand.
#[derive(Debug)]
pub struct Cx {
    pub settings: Settings,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub keyring: KeyRing,
    pub crypto: CryptoPool,
    pub functions: Arc<dyn TriggerHost>,
    pub delivery: Delivery,
    pub key_stock: KeyStock,
    /// Woken when a message has reached the inbox.
    pub inbox_arrival: Notify,
    /// First attempts to deliver a message that are under way.
    pub deliveries: TaskTracker,
    me: Weak<Cx>,
    pools: Cache<String, Arc<Pool>>,
    clients: Cache<String, Arc<Client>>,
}

/// The parts that a context is put together from.
#[derive(Debug)]
pub struct Parts {
    pub settings: Settings,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub keyring: KeyRing,
    pub functions: Arc<dyn TriggerHost>,
    pub delivery: Delivery,
    /// How many ready signing keys are kept in stock.
    pub key_stock: usize,
}

impl Cx {
    pub fn new(parts: Parts) -> Arc<Self> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            settings: parts.settings,
            store: parts.store,
            clock: parts.clock,
            random: parts.random,
            keyring: parts.keyring,
            crypto: CryptoPool::start(threads, 64 * threads),
            functions: parts.functions,
            delivery: parts.delivery,
            key_stock: KeyStock::start(parts.key_stock),
            inbox_arrival: Notify::new(),
            deliveries: TaskTracker::new(),
            pools: Cache::new(1_000),
            clients: Cache::new(10_000),
        })
    }

    /// The context for work that outlives the request.
    pub fn strong(&self) -> Arc<Self> {
        self.me.upgrade().expect("a context that is being used is alive")
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// A random UUID, version 4.
    pub fn uuid(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.random.fill(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let mut text = String::with_capacity(36);
        for (index, byte) in bytes.into_iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 0xf] {
                text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
            }
        }
        text
    }

    /// `length` characters of `alphabet`, each equally likely.
    pub fn random_text(&self, alphabet: &[u8], length: usize) -> String {
        let bound = (256 / alphabet.len() * alphabet.len()) as u16;
        let mut text = String::with_capacity(length);
        let mut bytes = [0_u8; 64];
        while text.len() < length {
            self.random.fill(&mut bytes);
            for byte in bytes {
                if u16::from(byte) < bound && text.len() < length {
                    text.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
                }
            }
        }
        text
    }

    /// A pool by its id. Parsed pools are kept; the revision is read each time, so that a change made
    /// anywhere holds at once.
    pub async fn pool(&self, id: &str) -> Result<Arc<Pool>> {
        let id = PoolId::new(id);
        let cached = self.pools.get(id.as_str());
        let known = cached.as_ref().map(|pool| pool.record.revision);
        let record = self
            .store
            .read((id.clone(), known), |(id, known), tx| {
                Box::pin(async move {
                    let revision = pools::revision(tx, id).await?;
                    match revision {
                        None => Ok::<_, Error>(None),
                        Some(revision) if Some(revision) == *known => Ok(Some(None)),
                        Some(_) => Ok(pools::get(tx, id).await?.map(Some)),
                    }
                })
            })
            .await?;
        match (record, cached) {
            (None, _) => {
                self.pools.invalidate(id.as_str());
                Err(fault::pool_not_found(id.as_str()).into())
            }
            (Some(None), Some(pool)) => Ok(pool),
            (Some(None), None) => Err(Error::Conflict),
            (Some(Some(record)), _) => self.keep(record),
        }
    }

    /// A client by its id alone, with its pool.
    pub async fn client_by_id(&self, id: &str) -> Result<(Arc<Pool>, Arc<Client>)> {
        let (pool, client, ()) = self
            .client_and((), id, |(), id, tx| {
                Box::pin(
                    async move { Ok(clients::revisions(tx, id).await?.map(|revisions| (revisions, ()))) },
                )
            })
            .await?;
        Ok((pool, client))
    }

    /// The same, and what `look` finds beside the revisions of client and pool, which tell whether the copies at
    /// hand are current: one read, and one statement where the copies are.
    pub async fn client_and<C, T, F>(
        &self,
        captures: C,
        id: &str,
        look: F,
    ) -> Result<(Arc<Pool>, Arc<Client>, T)>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'a> Fn(&'a C, &'a ClientId, &'a mut Tx) -> BoxFuture<'a, Result<Option<(Revisions, T)>>>
            + Send
            + Sync
            + 'static,
    {
        let cached_client = self.clients.get(id);
        let cached_pool =
            cached_client.as_ref().and_then(|client| self.pools.get(client.record.pool.as_str()));
        let known = (
            cached_client.as_ref().map(|client| client.record.revision),
            cached_pool.as_ref().map(|pool| pool.record.revision),
        );
        let found = self
            .store
            .read((ClientId::new(id), known, captures, look), |(id, known, captures, look), tx| {
                Box::pin(async move {
                    let (known_client, known_pool) = known;
                    let Some((now, found)) = look(captures, id, tx).await? else {
                        return Ok::<_, Error>(None);
                    };
                    let client =
                        if *known_client == Some(now.client) { None } else { clients::by_id(tx, id).await? };
                    let pool = if *known_pool == Some(now.pool) {
                        None
                    } else {
                        pools::get(tx, &now.pool_id).await?
                    };
                    Ok(Some((client, pool, found)))
                })
            })
            .await?;
        let Some((client, pool, more)) = found else {
            self.clients.invalidate(id);
            return Err(fault::client_not_found(id).into());
        };
        let client = match (client, cached_client) {
            (Some(record), _) => {
                let client = Arc::new(Client::parse(record, &self.keyring)?);
                self.clients.insert(id.to_owned(), client.clone());
                client
            }
            (None, Some(client)) => client,
            (None, None) => return Err(Error::Conflict),
        };
        let pool = match (pool, cached_pool) {
            (Some(record), _) => self.keep(record)?,
            (None, Some(pool)) => pool,
            (None, None) => return Err(Error::Conflict),
        };
        Ok((pool, client, more))
    }

    /// Parses a pool and keeps it for the next request.
    fn keep(&self, record: UserPool) -> Result<Arc<Pool>> {
        let pool = Arc::new(Pool::parse(record)?);
        self.pools.insert(pool.record.id.to_string(), pool.clone());
        Ok(pool)
    }

    /// A client of this pool.
    pub async fn client(&self, pool: &Pool, id: &str) -> Result<Arc<Client>> {
        let (_, client) = self.client_by_id(id).await?;
        if client.record.pool != pool.record.id {
            return Err(fault::client_not_found(id).into());
        }
        Ok(client)
    }

    /// The user whom `name` names: a user name, an alias in force, or a sub.
    pub async fn find_user(&self, pool: &Pool, name: &str) -> Result<Option<User>> {
        self.store
            .read((pool.record.id.clone(), pool.fold(name), name.to_owned()), |(pool, folded, name), tx| {
                Box::pin(async move {
                    if let Some(user) = users::by_name(tx, pool, folded).await? {
                        return Ok::<_, Error>(Some(user));
                    }
                    Ok(users::by_sub(tx, pool, &lido_domain::Sub::new(name.as_str())).await?)
                })
            })
            .await
    }

    /// The same for the Admin operations, which may always tell that there is no such user.
    pub async fn user(&self, pool: &Pool, name: &str) -> Result<User> {
        self.find_user(pool, name).await?.ok_or_else(|| fault::user_not_found().into())
    }
}
