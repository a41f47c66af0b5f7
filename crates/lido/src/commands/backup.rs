//! `lido backup` and `lido restore`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use lido_domain::Clock;
use lido_idp::data_keys;
use lido_store::backup::{self, Contents};
use lido_store::{Location, Store};

use crate::cli::Settings;
use crate::config::{Mode, Storage};
use crate::master_key;
use crate::ports::{SystemClock, SystemRandom};

#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write.
    file: PathBuf,
    /// Replaces the file if there is one.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Backup {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { file, force, settings } = self;
        let storage = settings.storage()?;
        let data = directory(
            &storage,
            "a PostgreSQL database is backed up by its own tools: pg_dump --format=custom --file=FILE URL; \
             see docs/backup.md, or use lido export",
        )?;
        let contents = backup::save(data, &file, force).context("backup")?;
        println!("{}", said(&file, contents, "the master key is not in it: keep a copy of that elsewhere"));
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// What `lido backup` wrote.
    file: PathBuf,
    /// Puts it in the place of data that is there, which is kept under another name.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Restore {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { file, force, settings } = self;
        let storage = settings.storage()?;
        let data = directory(
            &storage,
            "a PostgreSQL database is restored by its own tools: pg_restore --dbname=URL FILE; \
             see docs/backup.md, or use lido import",
        )?;
        let restore = backup::Restore::begin(&file, data, force).context("restore")?;
        require_key(&restore, &storage).await?;
        let contents = restore.contents();
        let kept = restore.finish(SystemClock.now()).context("restore")?;
        println!("{}", said(data, contents, "lido serve may be started"));
        if let Some(kept) = kept {
            println!("the data that was there before is in {}", kept.display());
        }
        Ok(())
    }
}

/// Refuses data that the master key does not open, before anything is in its place. Nothing is made here: no key,
/// and no data for one.
async fn require_key(restore: &backup::Restore, storage: &Storage) -> Result<()> {
    let store = Store::open(restore.staged()).await.context("restore")?;
    let checked = async {
        if !data_keys::exist(&store).await.context("restore")? {
            bail!("restore: no server has ever worked with this data: it has no keys");
        }
        master_key::keyring(&store, storage.master_key_file.as_deref(), &SystemRandom, Mode::Serve).await
    };
    let checked = checked.await;
    store.close().await;
    checked.map(drop)
}

/// The data directory; `otherwise` tells what to do where there is none.
fn directory<'s>(storage: &'s Storage, otherwise: &str) -> Result<&'s Path> {
    match &storage.location {
        Location::Directory(directory) => Ok(directory),
        Location::Memory => bail!("data: this needs a directory, not memory"),
        Location::Postgres(_) => bail!("database: {otherwise}"),
    }
}

fn said(place: &Path, contents: Contents, more: &str) -> String {
    let Contents { schema, pools, users } = contents;
    format!("{}: {users} users in {pools} pools, schema version {schema}; {more}", place.display())
}
