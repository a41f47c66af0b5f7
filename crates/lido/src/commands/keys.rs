//! `lido keys`: new keys in place of old ones, while servers work with them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use lido_crypto::keys::{KeyRing, MasterKey};
use lido_domain::records::TokenUse;
use lido_domain::{Clock, PoolId};
use lido_idp::data_keys::{Rotation, SETTLE};
use lido_idp::tokens::rotate::{self, Old};
use lido_store::{Options, Role, Store};
use tracing::info;

use crate::cli::Settings;
use crate::config::Mode;
use crate::config::value::Span;
use crate::master_key;
use crate::ports::{SystemClock, SystemRandom};

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Replaces keys by new ones.
    #[command(subcommand)]
    Rotate(Rotate),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rotate {
    /// The master key: wraps and seals everything anew. Run again after an interruption, it goes on.
    Master {
        #[command(flatten)]
        how: MasterRotation,
        #[command(flatten)]
        settings: Settings,
    },
    /// The signing keys of user pools.
    Pool {
        #[command(flatten)]
        how: PoolRotation,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MasterRotation {
    /// File of the new master key, made if it does not exist; the old one's name with `.new` behind it, if not given.
    #[arg(long, value_name = "FILE")]
    new_master_key_file: Option<PathBuf>,
    /// Puts the old master key out of force, when every server was restarted with the new one.
    #[arg(long, conflicts_with_all = ["abandon", "new_master_key_file"])]
    finish: bool,
    /// Gives a rotation up: puts the new master key out of force, for one that was lost.
    #[arg(long, conflicts_with = "new_master_key_file")]
    abandon: bool,
    /// How long servers are given to notice a change. For tests alone.
    #[arg(long, hide = true, value_name = "DURATION", default_value_t = Span(SETTLE))]
    settle: Span,
}

#[derive(Debug, Args)]
pub(crate) struct PoolRotation {
    /// Ids of the user pools.
    #[arg(required = true, value_name = "POOL_ID")]
    pools: Vec<String>,
    /// The key of these tokens alone.
    #[arg(long = "use", value_name = "USE", value_enum)]
    token_use: Option<Use>,
    /// Lists the new keys in the key set this long before they sign, for verifiers that keep a copy of it.
    #[arg(long, value_name = "DURATION")]
    announce: Option<Span>,
    /// The old keys have leaked: tokens that they signed are refused from now on.
    #[arg(long, conflicts_with = "announce")]
    leaked: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Use {
    Access,
    Id,
}

impl Keys {
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Rotate(Rotate::Master { how, settings }) => {
                let data = Data::open(settings).await?;
                let outcome = how.rotate(&data).await;
                data.store.close().await;
                outcome
            }
            Self::Rotate(Rotate::Pool { how, settings }) => {
                let data = Data::open(settings).await?;
                let outcome = how.rotate(&data).await;
                data.store.close().await;
                outcome
            }
        }
    }
}

/// The data and its keys, beside the servers.
struct Data {
    store: Store,
    keyring: KeyRing,
    /// Of the master key.
    file: PathBuf,
}

impl Data {
    async fn open(settings: Settings) -> Result<Self> {
        let storage = settings.storage()?;
        let file = storage.master_key_file.context("data: what is not kept has no key to rotate")?;
        // A server makes a key that is missing; a command has come to the wrong place.
        ensure!(file.exists(), "master_key_file: {} does not exist", file.display());
        let store = Store::open(Options::at(storage.location, Role::Tool)).await.context("data")?;
        match master_key::keyring(&store, Some(&file), &SystemRandom, Mode::Serve).await {
            Ok(keyring) => Ok(Self { store, keyring, file }),
            Err(refusal) => {
                store.close().await;
                Err(refusal)
            }
        }
    }
}

impl MasterRotation {
    async fn rotate(self, Data { store, keyring, file }: &Data) -> Result<()> {
        let rotation =
            Rotation { store, keyring, random: &SystemRandom, clock: &SystemClock, settle: self.settle.0 };
        let progress = rotation.progress().await?;
        let is_in_place = progress.leads_to(keyring.master());
        if self.finish {
            ensure!(progress.is_under_way, "there is nothing to finish: one master key is in force");
            ensure!(
                is_in_place,
                "master_key_file: {} is the old master key: put the new one in its place on every server, restart \
                 them, and finish then",
                file.display()
            );
            ensure!(progress.is_resealed, "not everything is sealed anew yet: run it without --finish first");
            rotation.keep_only_this().await?;
            println!("The old master key opens nothing any more.");
            return Ok(());
        }
        if self.abandon {
            ensure!(progress.is_under_way, "there is nothing to give up: one master key is in force");
            ensure!(
                !is_in_place,
                "master_key_file: {} is the new master key: finish instead",
                file.display()
            );
            rotation.keep_only_this().await?;
            println!("The rotation is given up. The master key in {} is the only one.", file.display());
            return Ok(());
        }

        let new_file = self.new_file(file);
        if progress.is_under_way && is_in_place {
            let other = match &self.new_master_key_file {
                Some(new_file) => master_key::read(new_file, Mode::Serve)?
                    .is_none_or(|new| new.fingerprint() != keyring.fingerprint()),
                None => false,
            };
            ensure!(
                !other,
                "the old master key is still in force: end the last rotation with --finish first"
            );
        } else if progress.is_under_way {
            let new = master_key::read(&new_file, Mode::Serve)?;
            ensure!(
                new.is_some_and(|new| progress.leads_to(&new)),
                "a rotation is under way, and {} is not its new master key: name the file with \
                 --new-master-key-file, or give the rotation up with --abandon",
                new_file.display()
            );
        } else {
            let new = new_key(&new_file)?;
            ensure!(
                new.fingerprint() != keyring.fingerprint(),
                "{} is the master key already: name a file that does not exist with --new-master-key-file",
                new_file.display()
            );
            rotation.begin(&new).await?;
        }
        if !progress.is_under_way || !progress.is_resealed {
            let walk = rotation.complete().await?;
            println!("Sealed {} of {} values anew.", walk.found, walk.values);
        }

        let put = match is_in_place && progress.is_under_way {
            true => String::new(),
            false => format!(" put {} in the place of {},", new_file.display(), file.display()),
        };
        println!(
            "Both master keys are in force. On every server, one after the other:{put} restart it with the new one. \
             Then run\n\n    lido keys rotate master --finish\n\nand keep the old key only for backups that were \
             made before."
        );
        Ok(())
    }

    fn new_file(&self, file: &Path) -> PathBuf {
        self.new_master_key_file.clone().unwrap_or_else(|| {
            let mut name = file.as_os_str().to_owned();
            name.push(".new");
            name.into()
        })
    }
}

fn new_key(file: &Path) -> Result<MasterKey> {
    match master_key::read(file, Mode::Serve)? {
        Some(key) => Ok(key),
        None => {
            let key = master_key::create(file, &SystemRandom, Mode::Serve)?;
            info!("made the new master key {}", file.display());
            Ok(key)
        }
    }
}

impl PoolRotation {
    async fn rotate(self, Data { store, keyring, .. }: &Data) -> Result<()> {
        let uses: &[TokenUse] = match self.token_use {
            Some(Use::Access) => &[TokenUse::Access],
            Some(Use::Id) => &[TokenUse::Id],
            None => &[TokenUse::Id, TokenUse::Access],
        };
        let old = if self.leaked { Old::Withdrawn } else { Old::Retired };
        let promote = async |pool: &PoolId| {
            rotate::promote(store, pool, uses, old, SystemClock.now()).await?;
            println!("{pool} signs with new keys.");
            Ok::<_, anyhow::Error>(())
        };
        let pools: Vec<PoolId> = self.pools.into_iter().map(PoolId::new).collect();
        for pool in &pools {
            for token_use in uses {
                let now = SystemClock.now();
                rotate::announce(store, keyring, &SystemRandom, pool, *token_use, old, now).await?;
            }
            if self.announce.is_none() {
                promote(pool).await?;
            }
        }
        if let Some(Span(wait)) = self.announce {
            println!("The new keys are listed, and will sign in {}.", Span(wait));
            tokio::time::sleep(wait).await;
            for pool in &pools {
                promote(pool).await?;
            }
        }
        Ok(())
    }
}
