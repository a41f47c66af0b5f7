//! Moving an installation: everything that Lido keeps of pools and their users as lines of a file, and back, on
//! whichever engine. What is sealed is sealed anew: under the export key in the file, under the installation's own
//! keys in a database.
//!
//! The file is in [`format`]; which tables there are, and what is in them, in [`lido_store::transfer`]; what their
//! columns are sealed for in [`sealed`].

mod format;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom};
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use lido_crypto::constant_time_eq;
use lido_crypto::keys::{DIGEST_ROOT, KeyBytes, KeyRing, MasterKey, Purpose};
use lido_domain::{Millis, PoolId, Random, Secret};
use lido_store::transfer::{self, Field, Kind, Record, TABLES, Table};
use lido_store::{Store, Tx, data_keys, pools};
use serde::{Deserialize, Serialize};

use crate::sealed;

pub use format::{Counts, Header};
use format::{Line, Reader, Writer};

/// Rows that are read at a time.
const PAGE: i64 = 1000;
/// Rows that are written in one transaction.
const BATCH: usize = 2000;

/// Why nothing was exported, or why an import is not complete.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the file is no export of lido: {0}")]
    NotAnExport(String),
    #[error("the file was written with another key")]
    OtherKey,
    #[error("the file was changed since it was written, or is not what was written with this key")]
    Changed,
    #[error("the file ends too early: it is not complete")]
    Truncated,
    #[error("line {0} of the file is not right: {1}")]
    Line(u64, String),
    #[error(
        "the file was written by a newer release, with schema version {found}; this one has version {known}"
    )]
    SchemaTooNew { found: i64, known: i64 },
    #[error("the installation has the {0} {1} already: nothing was imported")]
    Taken(&'static str, String),
    #[error(
        "the users of the deleted pool {0} are still being removed: nothing was imported, try again later"
    )]
    BeingRemoved(String),
    #[error("an import was not completed: run it again, or give it up with lido import --abandon")]
    Unfinished,
    #[error("something else has changed the installation during the import: run it again")]
    Disturbed,
    #[error("the {1} of a stored {0} is not readable: {2}")]
    Stored(&'static str, &'static str, String),
    #[error("the keys of this installation cannot be read")]
    Keys,
    #[error("the file: {0}")]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] lido_store::Error),
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// Who opens and seals: the installation, and the file that its data goes to or comes from.
#[derive(Clone, Debug)]
pub struct Keys {
    pub installation: KeyRing,
    pub export: MasterKey,
    pub random: Arc<dyn Random>,
}

impl Keys {
    /// The name of the installation's master key in its database.
    fn master(&self) -> String {
        format::hex(&self.installation.fingerprint())
    }

    async fn digest_root(&self, tx: &mut Tx) -> Result<KeyBytes> {
        let wrapped = transfer::digest_root(tx, DIGEST_ROOT, &self.master()).await?.ok_or(Error::Keys)?;
        self.installation.master().unwrap(DIGEST_ROOT, &wrapped).map_err(|_| Error::Keys)
    }
}

/// What a column is sealed for.
fn purpose(table: &Table, column: &str) -> Option<Purpose> {
    let (_, purpose) =
        sealed::COLUMNS.iter().find(|(sealed, _)| sealed.table == table.name && sealed.column == column)?;
    Some(*purpose)
}

/// Opens what is sealed in a record, and seals it anew if there is something to seal it with. Errors: the name of a
/// column that does not open.
fn reseal(
    table: &Table,
    record: &mut Record,
    from: &KeyRing,
    to: Option<(&KeyRing, &dyn Random)>,
) -> Result<(), &'static str> {
    for (position, column) in
        table.columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Sealed)
    {
        let Field::Bytes(sealed) = &record[position] else { continue };
        let purpose = purpose(table, column.name).ok_or(column.name)?;
        let key = table.key_of(record).into_iter();
        // Owned, because the record is about to change.
        let context: Vec<String> = iter::once(table.pool(record)).chain(key).map(str::to_owned).collect();
        let context: Vec<&[u8]> = context.iter().map(String::as_bytes).collect();
        let plain = Secret::new(from.open(purpose, &context, sealed).map_err(|_| column.name)?);
        if let Some((to, random)) = to {
            record[position] = Field::Bytes(to.seal(purpose, &context, plain.expose(), random));
        }
    }
    Ok(())
}

// ---- Export -----------------------------------------------------------------------------------

struct Export {
    keys: Keys,
    /// The keys that the export key is of.
    ring: KeyRing,
    now: Millis,
    file: File,
    /// Locked for a page at a time.
    writer: Mutex<Option<Writer<BufWriter<File>>>>,
}

/// Writes everything that moves to `file`, as one moment of the installation, in a memory that does not grow with
/// it. The caller makes sure that it is on disk.
///
/// Errors: [`Error::Unfinished`]; what is stored and cannot be read.
pub async fn export(store: &Store, keys: Keys, now: Millis, file: File) -> Result<Counts> {
    let ring = keys.export.keyring();
    let export = Export { keys, ring, now, file, writer: Mutex::default() };
    store.snapshot(export, |export, tx| Box::pin(export.run(tx))).await
}

impl Export {
    async fn run(&self, tx: &mut Tx) -> Result<Counts> {
        if transfer::mark(tx).await?.is_some() {
            return Err(Error::Unfinished);
        }
        self.begin(transfer::schema(tx).await?, &self.keys.digest_root(tx).await?)?;
        let (pools, contents) = TABLES.split_first().ok_or(Error::Keys)?;
        let mut last = None;
        loop {
            let page = transfer::page(tx, pools, "", last.as_ref(), PAGE).await?;
            for pool in &page {
                self.write(pools, vec![pool.clone()])?;
                for table in contents {
                    self.table(tx, table, pools.pool(pool)).await?;
                }
            }
            match page.into_iter().next_back() {
                Some(pool) => last = Some(pool),
                None => break,
            }
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(writer.ok_or(Error::Truncated)?.end(&self.keys.export, &*self.keys.random)?)
    }

    /// Begins the file. It may have been begun before: an engine may run a body again.
    fn begin(&self, schema: i64, digest_root: &KeyBytes) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        *writer = None;
        let mut file = self.file.try_clone()?;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        let wrapped = self.keys.export.wrap(DIGEST_ROOT, digest_root, &*self.keys.random);
        let header = Header::new(schema, self.now, &self.keys.export, &wrapped);
        *writer = Some(Writer::new(BufWriter::with_capacity(1 << 18, file), &header)?);
        Ok(())
    }

    async fn table(&self, tx: &mut Tx, table: &'static Table, pool: &str) -> Result<()> {
        let mut last = None;
        loop {
            let page = transfer::page(tx, table, pool, last.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            last = page.last().cloned();
            self.write(table, page)?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn write(&self, table: &'static Table, mut records: Vec<Record>) -> Result<()> {
        for record in &mut records {
            reseal(table, record, &self.keys.installation, Some((&self.ring, &*self.keys.random))).map_err(
                |column| {
                    let why = "it is sealed with no key of this installation";
                    Error::Stored(table.record, column, why.into())
                },
            )?;
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.as_mut().ok_or(Error::Truncated)?.records(table, &records)
    }
}

// ---- Looking at a file ------------------------------------------------------------------------

/// What a file that was read to its end has in it.
#[derive(Debug)]
pub struct Checked {
    pub header: Header,
    pub counts: Counts,
    digest: [u8; 32],
    digest_root: KeyBytes,
    /// The pools, and what can only be written together with them.
    with_pools: Vec<(&'static Table, Vec<Record>)>,
}

impl Checked {
    fn pools(&self) -> impl Iterator<Item = &str> {
        let pools = self.with_pools.iter().filter(|(table, _)| table.is_pool());
        pools.flat_map(|(table, records)| records.iter().map(|record| table.pool(record)))
    }
}

/// Reads a file from its beginning to its end: its key, its digest, the type of every value, the order of the
/// records and what they refer to, and whether every sealed value opens.
pub fn check(file: &File, key: &MasterKey) -> Result<Checked> {
    let ring = key.keyring();
    let mut reader = reader(file, key)?;
    let digest_root = reader.header().digest_root(key, DIGEST_ROOT)?;
    let mut order = Order::new();
    let mut with_pools = Vec::new();
    loop {
        let (table, mut record) = match reader.read()? {
            Line::Record(table, record) => (table, record),
            Line::End(counts) => {
                let digest = reader.digest();
                return Ok(Checked {
                    header: reader.header().clone(),
                    counts,
                    digest,
                    digest_root,
                    with_pools,
                });
            }
        };
        let line = reader.number();
        order.next(table, &record).map_err(|what| Error::Line(line, what))?;
        reseal(table, &mut record, &ring, None)
            .map_err(|column| Error::Line(line, format!("the {column} does not open")))?;
        if table.goes_with_pool() {
            push(&mut with_pools, table, record);
        }
    }
}

fn reader(mut file: &File, key: &MasterKey) -> Result<Reader<BufReader<File>>> {
    file.seek(SeekFrom::Start(0))?;
    Reader::new(BufReader::with_capacity(1 << 18, file.try_clone()?), key)
}

/// Adds a record to the run of its table.
fn push(runs: &mut Vec<(&'static Table, Vec<Record>)>, table: &'static Table, record: Record) {
    match runs.last_mut() {
        Some((last, run)) if std::ptr::eq(*last, table) => run.push(record),
        _ => runs.push((table, vec![record])),
    }
}

/// Makes sure that records come pool by pool, table by table, key by key, and refer to what came before.
struct Order {
    pool: String,
    /// The table of the latest record, by its place in [`TABLES`].
    place: usize,
    key: Vec<String>,
    /// Hashes of the keys of this pool's records that others may refer to: 8 bytes each, for there may be millions.
    known: HashSet<u64>,
    hasher: RandomState,
}

impl Order {
    fn new() -> Self {
        let (known, hasher) = (HashSet::new(), RandomState::new());
        Self { pool: String::new(), place: 0, key: Vec::new(), known, hasher }
    }

    fn next(&mut self, table: &'static Table, record: &Record) -> Result<(), String> {
        let place = TABLES.iter().position(|other| std::ptr::eq(*other, table)).unwrap_or_default();
        let pool = table.pool(record);
        let key = table.key_of(record);
        if table.is_pool() {
            if pool <= self.pool.as_str() {
                return Err("pools are not in the order of their ids".into());
            }
            pool.clone_into(&mut self.pool);
            self.known.clear();
        } else if pool != self.pool {
            return Err(format!("the {} is not in the pool before it", table.record));
        } else if place < self.place
            || place == self.place && key.iter().copied().le(self.key.iter().map(String::as_str))
        {
            return Err(format!("the {} is not in its place", table.record));
        }
        for column in table.columns {
            if let Some(of) = column.of
                && !self
                    .known
                    .contains(&self.hasher.hash_one((of, record[table.position(column.name)].as_text())))
            {
                return Err(format!("the {of} that the {} belongs to does not come before it", table.record));
            }
        }
        if let [key] = key[..]
            && TABLES.iter().any(|other| other.columns.iter().any(|column| column.of == Some(table.record)))
        {
            self.known.insert(self.hasher.hash_one((table.record, key)));
        }
        self.place = place;
        self.key = key.into_iter().map(str::to_owned).collect();
        Ok(())
    }
}

// ---- Import -----------------------------------------------------------------------------------

/// What an import has done.
#[derive(Debug)]
pub struct Imported {
    pub counts: Counts,
    /// Whether sign-ins and codes were left out, because the installation has a digest root of its own.
    pub without_sessions: bool,
}

/// What an import that is under way has written down of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    /// Tells this run from others.
    run: String,
    /// Pools of which something may be in the installation.
    pools: Vec<String>,
}

impl Note {
    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts are always JSON")
    }
}

/// Adds what is in a file to an installation. The pools come last, in the transaction that completes the import:
/// until then nothing of it can be reached. What an import that was not completed has left is removed first.
///
/// `file` is read again, `checked` is what the first reading found.
///
/// Errors: [`Error::Taken`], [`Error::BeingRemoved`], [`Error::SchemaTooNew`]: nothing was written. Anything else:
/// see [`unfinished`].
pub async fn import(
    store: &Store,
    keys: Keys,
    now: Millis,
    file: &File,
    checked: Checked,
) -> Result<Imported> {
    abandon(store, now).await?;
    let mut run = [0; 16];
    keys.random.fill(&mut run);
    let note = Note { run: format::hex(&run), pools: checked.pools().map(str::to_owned).collect() };
    let Checked { header, counts, digest, digest_root, with_pools } = checked;
    let frame = Frame { keys: keys.clone(), note, schema: header.schema, digest_root, with_pools };
    let frame = Arc::new(frame);
    let sessions = store.write(Arc::clone(&frame), |frame, tx| Box::pin(frame.begin(tx))).await?;

    let ring = keys.export.keyring();
    let mut reader = reader(file, &keys.export)?;
    let mut batch = Vec::new();
    let mut size = 0;
    while let Line::Record(table, mut record) = reader.read()? {
        if table.goes_with_pool() || sessions == Sessions::Stay && table.is_digest_bound() {
            continue;
        }
        reseal(table, &mut record, &ring, Some((&keys.installation, &*keys.random)))
            .map_err(|_| Error::Changed)?;
        push(&mut batch, table, record);
        size += 1;
        if size == BATCH {
            insert(store, std::mem::take(&mut batch)).await?;
            size = 0;
        }
    }
    if reader.digest() != digest {
        return Err(Error::Changed);
    }
    insert(store, batch).await?;

    store.write((frame, sessions), |(frame, sessions), tx| Box::pin(frame.complete(tx, *sessions))).await?;
    Ok(Imported { counts, without_sessions: sessions == Sessions::Stay })
}

async fn insert(store: &Store, batch: Vec<(&'static Table, Vec<Record>)>) -> Result<()> {
    store
        .write(batch, |batch, tx| {
            Box::pin(async move {
                for (table, records) in batch {
                    transfer::insert_all(tx, table, records).await?;
                }
                Ok(())
            })
        })
        .await
}

/// What becomes of sign-ins and codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sessions {
    /// They come along, and the digest root with them.
    Adopt,
    /// They come along: the installation has the same digest root.
    Come,
    /// They stay behind.
    Stay,
}

/// What the first and the last transaction of an import take.
struct Frame {
    keys: Keys,
    note: Note,
    schema: i64,
    digest_root: KeyBytes,
    with_pools: Vec<(&'static Table, Vec<Record>)>,
}

impl Frame {
    /// Makes sure that the import can be completed, and marks the installation.
    async fn begin(&self, tx: &mut Tx) -> Result<Sessions> {
        let known = transfer::schema(tx).await?;
        if self.schema > known {
            return Err(Error::SchemaTooNew { found: self.schema, known });
        }
        if transfer::mark(tx).await?.is_some() {
            return Err(Error::Disturbed);
        }
        for pool in &self.note.pools {
            if transfer::is_being_removed(tx, &PoolId::new(pool)).await? {
                return Err(Error::BeingRemoved(pool.clone()));
            }
        }
        for (table, records) in &self.with_pools {
            for record in records {
                if transfer::is_taken(tx, table, record).await? {
                    return Err(Error::Taken(table.record, table.key_of(record).join(" ")));
                }
            }
        }
        let own = self.keys.digest_root(tx).await?;
        let sessions = if constant_time_eq(own.expose(), self.digest_root.expose()) {
            Sessions::Come
        } else if transfer::is_empty(tx).await? && data_keys::masters(tx).await?.len() == 1 {
            Sessions::Adopt
        } else {
            Sessions::Stay
        };
        transfer::put_mark(tx, &self.note.bytes()).await?;
        Ok(sessions)
    }

    /// Takes over the digest root of the file. False when there is something by now that the earlier one is for.
    async fn adopt(&self, tx: &mut Tx) -> Result<bool> {
        if !transfer::has_no_pools(tx).await? {
            return Ok(false);
        }
        let master = self.keys.installation.master();
        let wrapped = master.wrap(DIGEST_ROOT, &self.digest_root, &*self.keys.random);
        Ok(transfer::adopt_digest_root(tx, DIGEST_ROOT, &self.keys.master(), &wrapped).await?)
    }

    /// Writes the pools and takes the mark away.
    async fn complete(&self, tx: &mut Tx, sessions: Sessions) -> Result<()> {
        if transfer::mark(tx).await? != Some(self.note.bytes()) {
            return Err(Error::Disturbed);
        }
        if sessions == Sessions::Adopt && !self.adopt(tx).await? {
            return Err(Error::Disturbed);
        }
        let ring = self.keys.export.keyring();
        for (table, records) in &self.with_pools {
            let mut records = records.clone();
            for record in &mut records {
                reseal(table, record, &ring, Some((&self.keys.installation, &*self.keys.random)))
                    .map_err(|_| Error::Changed)?;
            }
            transfer::insert_all(tx, table, &records).await?;
        }
        transfer::remove_mark(tx).await?;
        Ok(())
    }
}

/// Errors: [`Error::Unfinished`] when an import was begun and not completed. No server may start then.
pub async fn require_finished(store: &Store) -> Result<()> {
    let mark =
        store.read((), |(), tx| Box::pin(async move { Ok::<_, Error>(transfer::mark(tx).await?) })).await?;
    match mark {
        None => Ok(()),
        Some(_) => Err(Error::Unfinished),
    }
}

/// Removes what an import that was not completed has left, and its mark. False when there is nothing of the kind.
pub async fn abandon(store: &Store, now: Millis) -> Result<bool> {
    let note = store
        .write(now, |now, tx| {
            Box::pin(async move {
                let Some(note) = transfer::mark(tx).await? else { return Ok::<_, Error>(None) };
                let note: Note = serde_json::from_slice(&note)
                    .map_err(|error| Error::Stored("import", "note", error.to_string()))?;
                for pool in &note.pools {
                    transfer::give_up(tx, &PoolId::new(pool), *now).await?;
                }
                Ok(Some(note))
            })
        })
        .await?;
    let Some(note) = note else { return Ok(false) };
    for pool in &note.pools {
        let purge = || {
            store.write(PoolId::new(pool), |pool, tx| {
                Box::pin(async move { Ok::<_, Error>(pools::purge(tx, pool, PAGE).await?) })
            })
        };
        while !purge().await? {}
    }
    store
        .write(note.bytes(), |note, tx| {
            Box::pin(async move {
                if transfer::mark(tx).await?.as_ref() != Some(note) {
                    return Err(Error::Disturbed);
                }
                transfer::remove_mark(tx).await?;
                Ok(true)
            })
        })
        .await
}
