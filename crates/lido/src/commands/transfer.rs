//! `lido export` and `lido import`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lido_crypto::keys::{KeyRing, MasterKey};
use lido_domain::Clock;
use lido_idp::data_keys;
use lido_idp::transfer::{self, Counts, Keys};
use lido_store::backup::Draft;
use lido_store::{Location, Options, Role, Store};

use crate::cli::Settings;
use crate::config::{Mode, Storage};
use crate::master_key;
use crate::ports::{SystemClock, SystemRandom};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write.
    file: PathBuf,
    /// The key that seals what is secret in the file: 32 bytes in base64. It is made if there is none.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Replaces the file if there is one.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Export {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { file, key_file, force, settings } = self;
        let storage = settings.storage()?;
        require_kept(&storage)?;
        let store = open(&storage, Role::Tool).await?;
        let exported = export(&store, &storage, &file, &key_file, force).await;
        store.close().await;
        let counts = exported?;
        println!(
            "{}: {}; what is secret in it is sealed with {}: keep the two apart",
            file.display(),
            listed(&counts),
            key_file.display()
        );
        Ok(())
    }
}

async fn export(
    store: &Store,
    storage: &Storage,
    file: &Path,
    key_file: &Path,
    force: bool,
) -> Result<Counts> {
    ensure!(
        data_keys::exist(store).await.context("export")?,
        "export: no server has ever worked with this data: it has no keys"
    );
    let installation = keyring(store, storage).await?;
    let draft = Draft::create(file, force).context("export")?;
    let export = match read_key(key_file)? {
        Some(key) => key,
        None => make_key(key_file)?,
    };
    let keys = Keys { installation, export, random: Arc::new(SystemRandom) };
    let written = draft.written().try_clone().context("export")?;
    let counts = transfer::export(store, keys, SystemClock.now(), written).await.context("export")?;
    draft.finish().context("export")?;
    Ok(counts)
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// What `lido export` wrote.
    #[arg(required_unless_present = "abandon")]
    file: Option<PathBuf>,
    /// The key that the file was written with.
    #[arg(long, value_name = "FILE", required_unless_present = "abandon")]
    key_file: Option<PathBuf>,
    /// Removes what an import that was not completed has left, and imports nothing.
    #[arg(long, conflicts_with_all = ["file", "key_file"])]
    abandon: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Import {
    pub(crate) async fn run(self) -> Result<()> {
        let Self { file, key_file, abandon: _, settings } = self;
        let storage = settings.storage()?;
        require_kept(&storage)?;
        let (Some(file), Some(key_file)) = (file, key_file) else { return abandon(&storage).await };
        let key = read_key(&key_file)?
            .with_context(|| format!("key_file: {}: there is no such file", key_file.display()))?;
        let opened = File::open(&file).with_context(|| format!("import: {}", file.display()))?;
        // Before anything is made or opened that the data would go to.
        let checked = transfer::check(&opened, &key).context("import")?;

        let store = open(&storage, Role::Server).await?;
        let imported = async {
            let installation = keyring(&store, &storage).await?;
            let keys = Keys { installation, export: key, random: Arc::new(SystemRandom) };
            transfer::import(&store, keys, SystemClock.now(), &opened, checked).await.context("import")
        };
        let imported: Result<_> = imported.await;
        store.close().await;
        let imported = imported?;
        println!("{}: imported {}", file.display(), listed(&imported.counts));
        if imported.without_sessions {
            println!(
                "sign-ins and codes were left out, because the installation was not empty: users sign in again"
            );
        }
        Ok(())
    }
}

async fn abandon(storage: &Storage) -> Result<()> {
    let store = open(storage, Role::Server).await?;
    let abandoned = transfer::abandon(&store, SystemClock.now()).await.context("import");
    store.close().await;
    match abandoned? {
        true => println!("what the import has left was removed"),
        false => println!("no import was left uncompleted"),
    }
    Ok(())
}

/// `3 pool, 12 user`
fn listed(counts: &Counts) -> String {
    let counts: Vec<_> = counts.iter().filter(|(_, count)| **count > 0).collect();
    if counts.is_empty() {
        return "nothing".into();
    }
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn require_kept(storage: &Storage) -> Result<()> {
    ensure!(storage.location != Location::Memory, "data: this needs a directory or a database, not memory");
    Ok(())
}

async fn open(storage: &Storage, role: Role) -> Result<Store> {
    if let (Location::Directory(directory), Role::Server) = (&storage.location, role) {
        master_key::create_directory(directory)
            .with_context(|| format!("data: {} is not writable", directory.display()))?;
    }
    Store::open(Options::at(storage.location.clone(), role)).await.context("data")
}

async fn keyring(store: &Store, storage: &Storage) -> Result<KeyRing> {
    master_key::keyring(store, storage.master_key_file.as_deref(), &SystemRandom, Mode::Serve).await
}

fn read_key(file: &Path) -> Result<Option<MasterKey>> {
    let place = || format!("key_file: {}", file.display());
    let permissions = match fs::metadata(file) {
        Ok(metadata) => metadata.permissions(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    if permissions.mode() & 0o077 != 0 {
        bail!("{}: the file is readable by others: chmod 600 it", place());
    }
    let text = fs::read_to_string(file).with_context(place)?;
    MasterKey::from_base64(&text).with_context(place).map(Some)
}

fn make_key(file: &Path) -> Result<MasterKey> {
    let key = MasterKey::generate(&SystemRandom);
    let write = || -> Result<()> {
        let draft = Draft::create(file, false)?;
        writeln!(draft.written(), "{}", key.to_base64().expose())?;
        Ok(draft.finish()?)
    };
    write().with_context(|| format!("key_file: {} cannot be written", file.display()))?;
    Ok(key)
}
