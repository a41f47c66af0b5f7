//! The master key: its file, and whether the data was made with it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use lido_crypto::keys::{KeyRing, MasterKey};
use lido_crypto::seal::KeyId;
use lido_domain::{Clock, Random};
use lido_idp::data_keys;
use lido_store::Store;
use tracing::warn;

use crate::config::Mode;
use crate::ports::SystemClock;

/// The keys for what lies in `store`.
///
/// `file`: absent for data that is not kept, which gets a key that is not kept either. A file that does
/// not exist is made for data that does not exist.
///
/// Errors: the key is missing for existing data, is another one's, is no key, or may be read by others.
pub(crate) async fn keyring(
    store: &Store,
    file: Option<&Path>,
    random: &dyn Random,
    mode: Mode,
) -> Result<KeyRing> {
    let in_data = |error: lido_idp::Error| anyhow::Error::new(error).context("data");
    let key = match file {
        None => MasterKey::generate(random),
        Some(file) => match read(file, mode)? {
            Some(key) => key,
            None if data_keys::exist(store).await.map_err(in_data)? => bail!(
                "master_key_file: there is data, but its master key {} is missing: put the file back",
                file.display()
            ),
            None => create(file, random, mode)?,
        },
    };
    match data_keys::open(store, &key, random, SystemClock.now()).await.map_err(in_data)? {
        Some(keyring) => Ok(keyring),
        None => {
            let place = file.map_or_else(String::new, |file| format!(" in {}", file.display()));
            bail!(
                "master_key_file: the master key{place} is not the one that this data was made with, or another \
                 has taken its place"
            )
        }
    }
}

/// The key in a file; none if there is no file.
pub(crate) fn read(file: &Path, mode: Mode) -> Result<Option<MasterKey>> {
    let place = || format!("master_key_file: {}", file.display());
    let permissions = match fs::metadata(file) {
        Ok(metadata) => metadata.permissions(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(place),
    };
    if permissions.mode() & 0o077 != 0 {
        match mode {
            Mode::Serve => bail!("{}: the file is readable by others: chmod 600 it", place()),
            // A development machine may have a file system that knows no permissions.
            Mode::Dev => warn!("{}: the file is readable by others", place()),
        }
    }
    let text = fs::read_to_string(file).with_context(place)?;
    MasterKey::from_base64(&text).with_context(place).map(Some)
}

/// Writes a new key beside its place and links it there, so that a crash leaves a whole key or none. A key that
/// somebody else has put there meanwhile is never replaced, but used.
pub(crate) fn create(file: &Path, random: &dyn Random, mode: Mode) -> Result<MasterKey> {
    let place = || format!("master_key_file: {} cannot be written", file.display());
    let key = MasterKey::generate(random);
    let directory = match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    create_directory(directory).with_context(place)?;
    let mut draft = file.as_os_str().to_owned();
    // Process ids repeat where each process has a container of its own.
    draft.push(format!(".{}", KeyId::generate(random)));
    let write = || -> std::io::Result<()> {
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        out.set_permissions(Permissions::from_mode(0o600))?;
        writeln!(out, "{}", key.to_base64().expose())?;
        out.sync_all()?;
        fs::hard_link(&draft, file)
    };
    let written = write();
    let _ = fs::remove_file(&draft);
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(file, mode)?.with_context(place),
        written => {
            // The name must be as durable as the data that needs the key.
            written.and_then(|()| File::open(directory)?.sync_all()).with_context(place)?;
            Ok(key)
        }
    }
}

/// Creates a directory that only its owner may enter, unless there is one.
pub(crate) fn create_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use lido_store::Options;

    use super::*;
    use crate::ports::SystemRandom;

    async fn open(directory: &Path, mode: Mode) -> Result<[u8; 16]> {
        let store = Store::open(Options::directory(directory)).await?;
        let ring = keyring(&store, Some(&directory.join("master.key")), &SystemRandom, mode).await;
        store.close().await;
        ring.map(|ring| ring.fingerprint())
    }

    #[tokio::test]
    async fn the_key_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path(), Mode::Serve).await.unwrap();
        assert_eq!(open(directory.path(), Mode::Serve).await.unwrap(), first);
        let made = create(&directory.path().join("master.key"), &SystemRandom, Mode::Serve).unwrap();
        assert_eq!(made.fingerprint(), first, "a key that is there is used");
        let file = directory.path().join("master.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap().trim().len(), 44);
        let names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("master.key.")), "{names:?}");
    }

    #[tokio::test]
    async fn data_without_its_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path(), Mode::Serve).await.unwrap();
        let file = directory.path().join("master.key");
        fs::remove_file(&file).unwrap();
        let refusal = open(directory.path(), Mode::Dev).await.unwrap_err().to_string();
        assert!(refusal.starts_with("master_key_file: ") && refusal.contains("missing"), "{refusal}");
        assert!(!file.exists(), "a refusal makes no key");

        let other = MasterKey::generate(&SystemRandom);
        fs::write(&file, other.to_base64().expose()).unwrap();
        let refusal = open(directory.path(), Mode::Dev).await.unwrap_err().to_string();
        assert!(refusal.contains("not the one"), "{refusal}");

        fs::write(&file, "short").unwrap();
        assert!(open(directory.path(), Mode::Dev).await.is_err());
    }

    #[tokio::test]
    async fn a_key_that_others_can_read_is_refused_by_the_real_server() {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path(), Mode::Serve).await.unwrap();
        fs::set_permissions(directory.path().join("master.key"), Permissions::from_mode(0o644)).unwrap();
        assert!(
            format!("{:#}", open(directory.path(), Mode::Serve).await.unwrap_err())
                .contains("readable by others")
        );
        assert!(open(directory.path(), Mode::Dev).await.is_ok());
    }
}
