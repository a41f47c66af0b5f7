//! What is sealed where, in one place: every column of sealed values, and how to seal them anew with another data
//! key while they are in use. Each value is sealed for its row: the context is the row's key, in order.

use std::time::Duration;

use lido_crypto::keys::{KeyRing, Purpose};
use lido_crypto::seal::KeyId;
use lido_domain::Random;
use lido_store::Store;
use lido_store::sealed::{self, Cell, Column};
use tracing::{error, warn};

use crate::fault::Result;

/// Every column of sealed values. A test compares this list with the schema.
pub static COLUMNS: [(&Column, Purpose); 9] = [
    (&sealed::USER_PASSWORD, Purpose::PasswordVerifier),
    (&sealed::USER_PASSWORD_HISTORY, Purpose::PasswordVerifier),
    (&sealed::USER_TOTP_SECRET, Purpose::TotpSecret),
    (&sealed::USER_TOTP_PENDING, Purpose::TotpSecret),
    (&sealed::CLIENT_SECRET, Purpose::ClientSecret),
    (&sealed::SECOND_CLIENT_SECRET, Purpose::ClientSecret),
    (&sealed::SIGNING_KEY, Purpose::PrivateKey),
    (&sealed::OUTBOX, Purpose::Message),
    (&sealed::INBOX, Purpose::Message),
];

/// Rows that are read, and at most written, at once: few enough to hold up nobody.
const BATCH: i64 = 100;

/// Which values are sealed anew, each with the current data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All that another data key has sealed.
    NotCurrent,
    /// What this one has.
    Under(KeyId),
}

/// What one walk through all columns found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    pub values: u64,
    /// To be sealed anew, and done so unless somebody else changed them meanwhile.
    pub found: u64,
    /// To be sealed anew, but not readable with any key; each is in the log.
    pub unreadable: u64,
}

/// Walks through all sealed values once. It can be ended at any moment and begun again: what was done stays done.
pub async fn reseal(store: &Store, keyring: &KeyRing, random: &dyn Random, which: Which) -> Result<Walk> {
    let mut walk = Walk::default();
    for (column, purpose) in COLUMNS {
        let mut after = column.start();
        loop {
            let cells = page(store, column, &after).await?;
            let Some(last) = cells.last() else { break };
            after.clone_from(&last.key);
            let mut changes = Vec::new();
            for Cell { key, sealed } in cells {
                let Some(sealed) = sealed else { continue };
                walk.values += 1;
                let wanted = match which {
                    Which::NotCurrent => KeyRing::key_of(&sealed) != Some(keyring.current()),
                    Which::Under(id) => KeyRing::key_of(&sealed) == Some(id),
                };
                if !wanted {
                    continue;
                }
                let context: Vec<&[u8]> = key.iter().map(String::as_bytes).collect();
                match keyring.open(purpose, &context, &sealed) {
                    Ok(plain) => {
                        let anew = keyring.seal(purpose, &context, &plain, random);
                        changes.push((key, sealed, anew));
                    }
                    Err(_) => {
                        let (table, column) = (column.table, column.column);
                        error!(table, column, ?key, "{table}.{column} of {key:?} cannot be opened");
                        walk.unreadable += 1;
                    }
                }
            }
            walk.found += changes.len() as u64;
            if !changes.is_empty() {
                replace(store, column, &changes).await?;
            }
        }
    }
    Ok(walk)
}

async fn page(store: &Store, column: &'static Column, after: &[String]) -> Result<Vec<Cell>> {
    let mut patience = Patience::default();
    loop {
        let cells = store
            .read((column, after.to_vec()), |(column, after), tx| {
                Box::pin(async move { sealed::page(tx, column, after, BATCH).await })
            })
            .await;
        match cells {
            Ok(cells) => return Ok(cells),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// A row's key, its value, and the value in its place.
type Change = (Vec<String>, Vec<u8>, Vec<u8>);

async fn replace(store: &Store, column: &'static Column, changes: &[Change]) -> Result<()> {
    let mut patience = Patience::default();
    loop {
        let written = store
            .write((column, changes.to_vec()), |(column, changes), tx| {
                Box::pin(async move {
                    for (key, before, after) in changes {
                        // A value that somebody else has changed meanwhile is theirs, and younger.
                        sealed::replace(tx, column, key, before, after).await?;
                    }
                    Ok(())
                })
            })
            .await;
        match written {
            Ok(()) => return Ok(()),
            Err(error) => patience.wait(error).await?,
        }
    }
}

/// Lasts a minute: a walk is long, and should outlive a busy database or a broken connection.
#[derive(Default)]
struct Patience {
    seconds: u32,
}

impl Patience {
    async fn wait(&mut self, error: lido_store::Error) -> Result<()> {
        if self.seconds == 60 {
            return Err(error.into());
        }
        self.seconds += 1;
        warn!("the database will be asked again: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    /// Byte columns that are not sealed by a data key.
    const OTHERS: [(&str, &str, &str); 6] = [
        ("installation", "value", "no secret"),
        ("wrapped_keys", "wrapped", "sealed by a master key"),
        ("codes", "digest", "a keyed hash"),
        ("token_sessions", "digest", "a keyed hash"),
        ("rotated_tokens", "digest", "a keyed hash"),
        ("redeemed", "digest", "a keyed hash"),
    ];

    /// A column that is sealed and not listed would be lost with the first rotation.
    #[test]
    fn every_column_of_bytes_is_listed() {
        let mut schema = BTreeSet::new();
        let migrations = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/migrations");
        for file in fs::read_dir(migrations).unwrap() {
            let mut table = String::new();
            for line in fs::read_to_string(file.unwrap().path()).unwrap().lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                match words[..] {
                    ["CREATE" | "ALTER", "TABLE", name, ..] => table = name.to_owned(),
                    ["--", ..] => {}
                    _ => {
                        if let Some(place) = words.iter().position(|word| word.starts_with("{BYTES}")) {
                            assert!(place > 0, "{line}");
                            schema.insert((table.clone(), words[place - 1].to_owned()));
                        }
                    }
                }
            }
        }
        let sealed = COLUMNS.iter().map(|(column, _)| (column.table, column.column));
        let others = OTHERS.iter().map(|(table, column, _)| (*table, *column));
        let listed: BTreeSet<_> =
            sealed.chain(others).map(|(table, column)| (table.to_owned(), column.to_owned())).collect();
        assert_eq!(schema, listed);
    }
}
