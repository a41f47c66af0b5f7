//! Data keys: made at the first start, loaded again and again while a server works, replaced with the master key.
//!
//! Every step of a rotation leaves data that every node can open: a new data key is known everywhere before it
//! seals anything, and an old one is removed when nothing is sealed with it any more. So a rotation can be ended
//! at any moment and begun again.

use std::time::Duration;

use lido_crypto::keys::{DIGEST_ROOT, KeyRing, MasterKey, WrappedKey, random_key};
use lido_crypto::seal::KeyId;
use lido_domain::{Clock, Millis, Random};
use lido_store::data_keys::{self, DataKey, Wrapped};
use lido_store::{Store, Tx, transfer};
use tracing::{info, warn};

use crate::cx::Cx;
use crate::fault::{Error, Result};
use crate::sealed::{self, Walk, Which};

/// How often a server looks for changed data keys.
pub const RELOAD_EVERY: Duration = Duration::from_secs(2);

/// After how long every server has surely seen a change, and has committed what it had sealed before.
pub const SETTLE: Duration = Duration::from_secs(15);

/// How long a retired data key stays. What it sealed in the database is sealed anew by then, and longer than what
/// clients hold is good for: sessions and SRP blocks 15 minutes, page tokens an hour.
const KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// How a master key is called in the database.
fn name(master: &MasterKey) -> String {
    master.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All data keys, and the copies of one master key.
#[derive(Debug)]
struct Stored {
    /// The oldest first.
    keys: Vec<DataKey>,
    wrapped: Vec<Wrapped>,
    /// Every master key in force.
    masters: Vec<String>,
}

impl Stored {
    async fn of(tx: &mut Tx, master: &str) -> lido_store::Result<Self> {
        Ok(Self {
            keys: data_keys::all(tx).await?,
            wrapped: data_keys::wrapped(tx, master).await?,
            masters: data_keys::masters(tx).await?,
        })
    }

    async fn read(store: &Store, master: &str) -> Result<Self> {
        // A snapshot: another node may be writing the first keys right now.
        store
            .snapshot(master.to_owned(), |master, tx| {
                Box::pin(async move { Ok::<_, Error>(Self::of(tx, master).await?) })
            })
            .await
    }

    fn youngest(&self) -> Result<&DataKey> {
        self.keys.last().ok_or_else(|| Error::internal("there is no data key"))
    }

    /// The data keys in the form of the ring, and which of them seals.
    fn data(&self) -> Result<(Vec<WrappedKey>, KeyId)> {
        let id = |text: &str| text.parse::<KeyId>().map_err(Error::internal);
        let current = self.keys.iter().rfind(|key| key.active.is_some());
        let current = current.ok_or_else(|| Error::internal("no data key is active"))?;
        let copies = self.wrapped.iter().filter(|copy| copy.name != DIGEST_ROOT);
        let data = copies
            .map(|copy| Ok(WrappedKey { id: id(&copy.name)?, wrapped: copy.wrapped.clone() }))
            .collect::<Result<_>>()?;
        Ok((data, id(&current.id)?))
    }
}

/// The keys of a database, which are made for one that has none. Of several nodes that do so at once, the first to
/// write wins and the others use its keys.
///
/// None: they are wrapped by another master key.
pub async fn open(
    store: &Store,
    master: &MasterKey,
    random: &dyn Random,
    now: Millis,
) -> Result<Option<KeyRing>> {
    let made_for = name(master);
    let mut stored = Stored::read(store, &made_for).await?;
    if stored.masters.is_empty() {
        let key = DataKey {
            id: KeyId::generate(random).to_string(),
            generation: 1,
            made_for: made_for.clone(),
            active: Some(now),
            retired: None,
        };
        let wrap = |name: &str| Wrapped {
            name: name.to_owned(),
            wrapped: master.wrap(name, &random_key(random), random),
        };
        let copies = [wrap(DIGEST_ROOT), wrap(&key.id)];
        stored = store
            .write((key, copies), |(key, copies), tx| {
                Box::pin(async move {
                    if data_keys::masters(tx).await?.is_empty() {
                        data_keys::insert(tx, key).await?;
                        for copy in copies {
                            data_keys::wrap(tx, &key.made_for, copy).await?;
                        }
                    }
                    Ok::<_, Error>(Stored::of(tx, &key.made_for).await?)
                })
            })
            .await?;
    }
    let Some(digest_root) = stored.wrapped.iter().find(|copy| copy.name == DIGEST_ROOT) else {
        return Ok(None);
    };
    let (data, current) = stored.data()?;
    let keyring =
        KeyRing::unwrap(master.clone(), &digest_root.wrapped, &data, current).map_err(Error::internal)?;
    Ok(Some(keyring))
}

/// Whether the database has keys, whichever master key wraps them.
pub async fn exist(store: &Store) -> Result<bool> {
    let masters = store
        .read((), |(), tx| Box::pin(async move { Ok::<_, Error>(data_keys::masters(tx).await?) }))
        .await?;
    Ok(!masters.is_empty())
}

/// Brings a ring up to date. One whose master key is not in force any more keeps what it has.
pub async fn reload(store: &Store, keyring: &KeyRing) -> Result<()> {
    let stored = Stored::read(store, &name(keyring.master())).await?;
    if stored.wrapped.is_empty() {
        return Ok(());
    }
    let (data, current) = stored.data()?;
    keyring.replace(&data, current).map_err(Error::internal)
}

/// What the background does beside [`reload`]: removes data keys that were retired long enough ago, and says when
/// this server should be restarted.
pub async fn tend(cx: &Cx) -> Result<()> {
    let own = name(cx.keyring.master());
    let stored = Stored::read(&cx.store, &own).await?;
    let Some(youngest) = stored.keys.last() else { return Ok(()) };
    if stored.wrapped.is_empty() {
        warn!("the master key of this server is not in force any more: restart it with the new one");
    } else if youngest.made_for != own && stored.masters.contains(&youngest.made_for) {
        warn!("the master key is being replaced: restart this server with the new one when that is in place");
    }
    remove_retired(&cx.store, &cx.keyring, &*cx.random, cx.now()).await
}

async fn remove_retired(store: &Store, keyring: &KeyRing, random: &dyn Random, now: Millis) -> Result<()> {
    let (keys, import) = store
        .read((), |(), tx| {
            Box::pin(async move { Ok::<_, Error>((data_keys::all(tx).await?, transfer::mark(tx).await?)) })
        })
        .await?;
    if import.is_some() {
        // It seals with what was current when it began.
        return Ok(());
    }
    for key in keys {
        if key.retired.is_none_or(|retired| now < retired + KEPT) {
            continue;
        }
        // Something may have been sealed before the key was retired, and written after the last look.
        let id = key.id.parse().map_err(Error::internal)?;
        let walk = sealed::reseal(store, keyring, random, Which::Under(id)).await?;
        if walk.unreadable > 0 {
            warn!(
                "the retired data key {id} stays: {} values that name it cannot be opened",
                walk.unreadable
            );
        } else if walk.found == 0 {
            store
                .write(key.id, |id, tx| {
                    Box::pin(async move { Ok::<_, Error>(data_keys::remove(tx, id).await?) })
                })
                .await?;
            info!("removed the retired data key {id}");
        }
    }
    Ok(())
}

/// The replacement of a master key, seen from a command beside the servers.
#[derive(Debug)]
pub struct Rotation<'a> {
    pub store: &'a Store,
    /// Opened with a master key that is in force.
    pub keyring: &'a KeyRing,
    pub random: &'a dyn Random,
    pub clock: &'a dyn Clock,
    /// Usually [`SETTLE`].
    pub settle: Duration,
}

/// How far a rotation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether there are two master keys in force.
    pub is_under_way: bool,
    /// Fingerprint of the master key that the youngest data key was made for: the new one, or the only one.
    target: String,
    /// Whether nothing is sealed with an older data key.
    pub is_resealed: bool,
}

impl Progress {
    /// Whether this is the master key that the rotation leads to.
    pub fn leads_to(&self, master: &MasterKey) -> bool {
        self.target == name(master)
    }
}

impl Rotation<'_> {
    pub async fn progress(&self) -> Result<Progress> {
        let stored = Stored::read(self.store, &name(self.keyring.master())).await?;
        let (youngest, older) =
            stored.keys.split_last().ok_or_else(|| Error::internal("there is no data key"))?;
        Ok(Progress {
            is_under_way: stored.masters.len() > 1,
            target: youngest.made_for.clone(),
            is_resealed: youngest.active.is_some() && older.iter().all(|key| key.retired.is_some()),
        })
    }

    /// Wraps every key with the new master key as well, and makes a data key, which nobody uses yet.
    ///
    /// Errors: [`Error::Conflict`] when somebody else has changed the keys meanwhile.
    pub async fn begin(&self, new: &MasterKey) -> Result<()> {
        let old = self.keyring.master();
        let stored = Stored::read(self.store, &name(old)).await?;
        let key = DataKey {
            id: KeyId::generate(self.random).to_string(),
            generation: stored.youngest()?.generation + 1,
            made_for: name(new),
            active: None,
            retired: None,
        };
        let bytes = random_key(self.random);
        let wrap = |master: &MasterKey| Wrapped {
            name: key.id.clone(),
            wrapped: master.wrap(&key.id, &bytes, self.random),
        };
        let (for_old, mut for_new) = (wrap(old), vec![wrap(new)]);
        for Wrapped { name, wrapped } in &stored.wrapped {
            let bytes = old.unwrap(name, wrapped).map_err(Error::internal)?;
            for_new.push(Wrapped { name: name.clone(), wrapped: new.wrap(name, &bytes, self.random) });
        }
        let captures = (name(old), stored, key, for_old, for_new);
        self.store
            .write(captures, |(old, read, key, for_old, for_new), tx| {
                Box::pin(async move {
                    let now = Stored::of(tx, old).await?;
                    if now.masters != [old.as_str()] || now.keys != read.keys || now.wrapped != read.wrapped {
                        return Err(Error::Conflict);
                    }
                    data_keys::insert(tx, key).await?;
                    data_keys::wrap(tx, old, for_old).await?;
                    for copy in for_new {
                        data_keys::wrap(tx, &key.made_for, copy).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        info!(
            "wrapped all keys with the new master key, and made the data key {}",
            self.youngest().await?.id
        );
        Ok(())
    }

    /// Brings the youngest data key into use everywhere, seals everything with it and retires the others. What a
    /// run that was ended has done is not done again.
    ///
    /// Errors: values that cannot be opened; the older data keys then stay in force.
    pub async fn complete(&self) -> Result<Walk> {
        let key = self.youngest().await?;
        if key.active.is_none() {
            info!("waiting {} s until every server knows the new data key", self.settle.as_secs());
            tokio::time::sleep(self.settle).await;
            let captures = (key.id.clone(), self.clock.now());
            self.store
                .write(captures, |(id, now), tx| {
                    Box::pin(async move { Ok::<_, Error>(data_keys::activate(tx, id, *now).await?) })
                })
                .await?;
        }
        info!("waiting {} s until every server seals with the new data key", self.settle.as_secs());
        tokio::time::sleep(self.settle).await;
        reload(self.store, self.keyring).await?;

        info!("sealing everything with the new data key");
        let mut total = Walk::default();
        loop {
            let walk = sealed::reseal(self.store, self.keyring, self.random, Which::NotCurrent).await?;
            total = Walk { found: total.found + walk.found, ..walk };
            if walk.found == 0 {
                break;
            }
        }
        if total.unreadable > 0 {
            let text = format!(
                "{} values cannot be opened with any key, so the old data keys stay in force: repair or remove \
                 what the log names, and run the command again",
                total.unreadable
            );
            return Err(Error::internal(text));
        }
        let captures = (key.generation, self.clock.now());
        self.store
            .write(captures, |(generation, now), tx| {
                Box::pin(
                    async move { Ok::<_, Error>(data_keys::retire_before(tx, *generation, *now).await?) },
                )
            })
            .await?;
        Ok(total)
    }

    /// Puts every other master key out of force.
    pub async fn keep_only_this(&self) -> Result<()> {
        self.store
            .write(name(self.keyring.master()), |master, tx| {
                Box::pin(async move {
                    // Never the last copies.
                    if data_keys::wrapped(tx, master).await?.is_empty() {
                        return Err(Error::Conflict);
                    }
                    Ok(data_keys::keep_only(tx, master).await?)
                })
            })
            .await
    }

    async fn youngest(&self) -> Result<DataKey> {
        let stored = Stored::read(self.store, &name(self.keyring.master())).await?;
        Ok(stored.youngest()?.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use lido_crypto::keys::Purpose;
    use lido_domain::{AppClient, ClientId, PoolId, UserPool};
    use lido_store::{clients, pools};

    use super::*;
    use crate::pool::Client;
    use crate::seed::tests::context;

    /// A database with one app client, and the ring of a server.
    struct Installation {
        cx: Arc<Cx>,
        master: MasterKey,
        server: KeyRing,
    }

    impl Installation {
        async fn new() -> Self {
            let cx = context().await;
            let master = MasterKey::generate(&*cx.random);
            let server = open(&cx.store, &master, &*cx.random, cx.now()).await.unwrap().unwrap();
            let installation = Self { cx, master, server };
            let sealed = installation.seal(&installation.server);
            installation.put_client("known", sealed).await;
            installation
        }

        fn seal(&self, ring: &KeyRing) -> Vec<u8> {
            let context = Client::seal_context(&pool(), &id("known")).map(<[u8]>::to_vec);
            let context: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
            ring.seal(Purpose::ClientSecret, &context, b"secret", &*self.cx.random)
        }

        async fn put_client(&self, name: &str, sealed_secret: Vec<u8>) {
            let client = AppClient {
                pool: pool(),
                id: id(name),
                name: name.to_owned(),
                settings: "{}".to_owned(),
                sealed_secret: Some(sealed_secret),
                secret_created: None,
                second_secret: None,
                created: Millis(0),
                updated: Millis(0),
                revision: 1,
            };
            let done: Result<()> = self
                .cx
                .store
                .write(client, |client, tx| {
                    Box::pin(async move {
                        let pool = UserPool {
                            id: client.pool.clone(),
                            name: String::new(),
                            settings: "{}".to_owned(),
                            mfa: "{}".into(),
                            tags: BTreeMap::new(),
                            created: Millis(0),
                            updated: Millis(0),
                            revision: 1,
                        };
                        pools::insert(tx, &pool).await?;
                        clients::delete(tx, &client.pool, &client.id).await?;
                        assert!(clients::insert(tx, client).await?);
                        Ok(())
                    })
                })
                .await;
            done.unwrap();
        }

        async fn client(&self, name: &str) -> AppClient {
            let client = self.cx.store.read(id(name), |id, tx| {
                Box::pin(async move { Ok::<_, Error>(clients::by_id(tx, id).await?) })
            });
            client.await.unwrap().unwrap()
        }

        fn rotation<'a>(&'a self, keyring: &'a KeyRing) -> Rotation<'a> {
            let Cx { store, random, clock, .. } = &*self.cx;
            Rotation { store, keyring, random: &**random, clock: &**clock, settle: Duration::ZERO }
        }

        async fn open(&self, master: &MasterKey) -> Option<KeyRing> {
            open(&self.cx.store, master, &*self.cx.random, self.cx.now()).await.unwrap()
        }

        async fn mark_import(&self, is_under_way: bool) {
            let marked: Result<()> = self
                .cx
                .store
                .write(is_under_way, |is_under_way, tx| {
                    Box::pin(async move {
                        match is_under_way {
                            true => transfer::put_mark(tx, b"one").await?,
                            false => assert!(transfer::remove_mark(tx).await?),
                        }
                        Ok(())
                    })
                })
                .await;
            marked.unwrap();
        }

        async fn remove_retired(&self, after: Duration) {
            let now = self.cx.now() + after;
            remove_retired(&self.cx.store, &self.server, &*self.cx.random, now).await.unwrap();
            reload(&self.cx.store, &self.server).await.unwrap();
        }
    }

    fn pool() -> PoolId {
        PoolId::new("local_pool")
    }

    fn id(name: &str) -> ClientId {
        ClientId::new(name)
    }

    fn is_readable(client: AppClient, ring: &KeyRing) -> bool {
        Client::parse(client, ring).is_ok_and(|client| client.secret.unwrap().expose() == "secret")
    }

    #[tokio::test]
    async fn those_who_start_at_once_use_the_same_keys() {
        let cx = context().await;
        let master = MasterKey::generate(&*cx.random);
        assert!(!exist(&cx.store).await.unwrap());
        let start = || async { open(&cx.store, &master, &*cx.random, cx.now()).await.unwrap().unwrap() };
        let rings = futures_util::future::join_all((0..4).map(|_| start())).await;
        assert!(exist(&cx.store).await.unwrap());
        for ring in &rings {
            assert_eq!(ring.current(), rings[0].current());
            assert_eq!(ring.digest(Purpose::Code, &[b"a"]), rings[0].digest(Purpose::Code, &[b"a"]));
        }
        let other = MasterKey::generate(&*cx.random);
        assert!(open(&cx.store, &other, &*cx.random, cx.now()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_rotation_leaves_nothing_under_the_old_keys() {
        let installation = Installation::new().await;
        let Installation { cx, master: old, server } = &installation;
        let new = MasterKey::generate(&*cx.random);
        let tool = installation.open(old).await.unwrap();
        let rotation = installation.rotation(&tool);
        let first = server.current();
        let session = server.seal(Purpose::Session, &[], b"session", &*cx.random);
        let digest = server.digest(Purpose::RefreshToken, &[b"token"]);
        assert!(rotation.progress().await.unwrap().leads_to(old));

        rotation.begin(&new).await.unwrap();
        let progress = rotation.progress().await.unwrap();
        assert!(progress.is_under_way && progress.leads_to(&new) && !progress.is_resealed);
        assert!(matches!(rotation.begin(&new).await, Err(Error::Conflict)));
        // Known to servers of either master key, and not yet used by any.
        reload(&cx.store, server).await.unwrap();
        let restarted = installation.open(&new).await.unwrap();
        assert_eq!((server.current(), restarted.current()), (first, first));

        assert_eq!(rotation.complete().await.unwrap(), Walk { values: 1, found: 1, unreadable: 0 });
        let progress = rotation.progress().await.unwrap();
        assert!(progress.is_under_way && progress.is_resealed);
        assert_eq!(rotation.complete().await.unwrap(), Walk { values: 1, found: 0, unreadable: 0 });
        let client = installation.client("known").await;
        assert_eq!(client.revision, 2, "who has read the old value cannot write it back");
        let second = KeyRing::key_of(client.sealed_secret.as_deref().unwrap()).unwrap();
        assert_ne!(second, first);
        for ring in [server, &restarted] {
            // Whoever has not noticed the change opens what is sealed by then.
            assert!(is_readable(client.clone(), ring));
            reload(&cx.store, ring).await.unwrap();
            assert_eq!(ring.current(), second);
            assert!(is_readable(client.clone(), ring));
            assert_eq!(ring.open(Purpose::Session, &[], &session).unwrap(), b"session");
            assert_eq!(ring.digest(Purpose::RefreshToken, &[b"token"]), digest);
        }

        installation.rotation(&restarted).keep_only_this().await.unwrap();
        assert!(installation.open(old).await.is_none());
        assert!(installation.open(&new).await.is_some());
        assert!(matches!(rotation.keep_only_this().await, Err(Error::Conflict)));
        // The server that was not restarted keeps what it has.
        reload(&cx.store, server).await.unwrap();
        assert!(is_readable(client, server));
    }

    #[tokio::test]
    async fn a_retired_key_goes_when_nothing_needs_it() {
        let installation = Installation::new().await;
        let Installation { cx, master: old, server } = &installation;
        let tool = installation.open(old).await.unwrap();
        let late = installation.seal(server);
        let session = server.seal(Purpose::Session, &[], b"session", &*cx.random);
        let rotation = installation.rotation(&tool);
        rotation.begin(&MasterKey::generate(&*cx.random)).await.unwrap();
        rotation.complete().await.unwrap();
        reload(&cx.store, server).await.unwrap();
        // Sealed before the rotation, written after it.
        installation.put_client("known", late).await;

        installation.remove_retired(KEPT - Duration::from_secs(1)).await;
        assert!(server.open(Purpose::Session, &[], &session).is_ok());
        installation.remove_retired(KEPT).await;
        assert!(server.open(Purpose::Session, &[], &session).is_ok(), "it was needed once more");
        installation.mark_import(true).await;
        installation.remove_retired(KEPT).await;
        assert!(server.open(Purpose::Session, &[], &session).is_ok(), "an import may need it");
        installation.mark_import(false).await;
        installation.remove_retired(KEPT).await;
        assert!(server.open(Purpose::Session, &[], &session).is_err());
        assert!(is_readable(installation.client("known").await, server));
    }

    #[tokio::test]
    async fn what_cannot_be_opened_keeps_the_old_keys_in_force() {
        let installation = Installation::new().await;
        let Installation { cx, master: old, server } = &installation;
        let tool = installation.open(old).await.unwrap();
        let rotation = installation.rotation(&tool);
        // Sealed for another client.
        installation.put_client("broken", installation.seal(server)).await;
        rotation.begin(&MasterKey::generate(&*cx.random)).await.unwrap();
        let failure = rotation.complete().await.unwrap_err().to_string();
        assert!(failure.starts_with("1 values cannot be opened"), "{failure}");
        assert!(!rotation.progress().await.unwrap().is_resealed);
        assert!(is_readable(installation.client("known").await, &tool));

        let again = tool.seal(Purpose::ClientSecret, &[b"local_pool", b"broken"], b"secret", &*cx.random);
        installation.put_client("broken", again).await;
        rotation.complete().await.unwrap();
        assert!(rotation.progress().await.unwrap().is_resealed);
    }
}
