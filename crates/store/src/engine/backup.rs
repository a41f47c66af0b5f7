//! Copies of the embedded database: one file each, taken while a server works with the original, and the way back.
//!
//! A copy is taken by SQLite itself under one read transaction, so it is one moment of the database. In WAL mode a
//! reader does not hold up writers; the log grows until the copy is complete.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::migrate::{self, Applied};
use super::sqlite::{LOCK_TIME, error, lock, of_path};
use super::{Columns, Options, Row};
use crate::Error;

/// Pages (4 KiB each) that are copied before they are brought to the disk: few enough that the commits of a server on
/// the same disk hardly wait for them.
const STEP_PAGES: i32 = 1024;

const FILE: &str = "lido.db";
/// What SQLite keeps beside a database: its log, and an index of that.
const LOG: &str = "lido.db-wal";
const INDEX: &str = "lido.db-shm";
/// Where a database is made before it is put into its place in the same directory.
const STAGING: &str = "restore.part";

/// What is in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Version of the schema.
    pub schema: i64,
    pub pools: i64,
    pub users: i64,
}

/// Copies the database in `directory` to `file`, which is readable by its owner alone and gets its name when it is
/// complete, checked and on disk.
///
/// Errors: [`Error::Exists`] unless `replace`; [`Error::NotADatabase`]; [`Error::SchemaTooNew`].
pub fn save(directory: &Path, file: &Path, replace: bool) -> Result<Contents, Error> {
    let source = directory.join(FILE);
    if !replace && file.exists() {
        return Err(Error::Exists(file.to_path_buf()));
    }
    if !source.exists() {
        return Err(Error::NotADatabase(source, "there is no such file".into()));
    }
    let draft = Draft::create(file, replace)?;
    let contents = copy(&source, &draft.part, &draft.written)?;
    draft.finish()?;
    Ok(contents)
}

/// A file, readable by its owner alone, that gets its name when it is complete. Dropped before, it is gone.
#[derive(Debug)]
pub struct Draft {
    file: PathBuf,
    part: PathBuf,
    replace: bool,
    // Held until SQLite has closed the file: closing it earlier would give up SQLite's locks on it.
    written: File,
}

impl Draft {
    /// Errors: [`Error::Exists`] when there is such a file, unless `replace`.
    pub fn create(file: &Path, replace: bool) -> Result<Self, Error> {
        if !replace && file.exists() {
            return Err(Error::Exists(file.to_path_buf()));
        }
        let part = beside(file, ".part");
        let written = claim(&part)?;
        Ok(Self { file: file.to_path_buf(), part, replace, written })
    }

    /// The file to write to.
    pub fn written(&self) -> &File {
        &self.written
    }

    /// Brings the file to the disk and gives it its name. A file that was made there meanwhile is not replaced
    /// unless it may be.
    pub fn finish(self) -> Result<(), Error> {
        let Self { file, part, .. } = &self;
        self.written.sync_all().map_err(|failure| of_path(part, &failure))?;
        let placed = if self.replace { fs::rename(part, file) } else { fs::hard_link(part, file) };
        placed.map_err(|failure| match failure.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(file.clone()),
            _ => of_path(file, &failure),
        })?;
        // Its other name, if it still has one.
        let _ = fs::remove_file(part);
        sync_directory(parent(file))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part);
    }
}

/// Opens a file that is about to be written, which another process may be at.
fn claim(part: &Path) -> Result<File, Error> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(part)
        .map_err(|failure| of_path(part, &failure))?;
    match file.try_lock() {
        Ok(()) => file.set_len(0).map_err(|failure| of_path(part, &failure))?,
        Err(TryLockError::WouldBlock) => {
            return Err(Error::Engine(format!("{}: another process is writing it", part.display())));
        }
        Err(TryLockError::Error(failure)) => return Err(of_path(part, &failure)),
    }
    Ok(file)
}

/// Copies one database to a file that is there and empty, as a database without a log, and checks the copy.
fn copy(source: &Path, target: &Path, held: &File) -> Result<Contents, Error> {
    let from = open(source, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // One transaction for all steps: a write between two of them would begin the copy anew.
    from.execute_batch("BEGIN").map_err(error)?;
    applied(&from, source)?;
    let mut into = open(target, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Brought to the disk here, not by SQLite: until then the file is worthless.
    into.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF").map_err(error)?;
    {
        let backup = Backup::new(&from, &mut into).map_err(error)?;
        loop {
            match backup.step(STEP_PAGES).map_err(|failure| not_a_database(source, failure))? {
                StepResult::Done => break,
                StepResult::More => held.sync_data().map_err(|failure| of_path(target, &failure))?,
                _ => return Err(Error::Engine(format!("{}: the database is locked", source.display()))),
            }
        }
    }
    from.execute_batch("COMMIT").map_err(error)?;
    into.execute_batch("PRAGMA journal_mode = DELETE").map_err(error)?;
    let contents = inspect(&into, target)?;
    into.close().map_err(|(_, failure)| error(failure))?;
    Ok(contents)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection, Error> {
    let connection =
        Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(error)?;
    connection.busy_timeout(LOCK_TIME).map_err(error)?;
    Ok(connection)
}

/// Which migrations a database has, when they are all known.
fn applied(connection: &Connection, path: &Path) -> Result<Vec<Applied>, Error> {
    let read = || {
        let mut statement = connection.prepare(migrate::APPLIED)?;
        let mut rows = statement.query([])?;
        let mut applied = Vec::new();
        while let Some(row) = rows.next()? {
            applied.push(migrate::applied(&Row { inner: Columns::Sqlite(row) }));
        }
        Ok(applied)
    };
    let applied: Vec<Applied> =
        read().map_err(|failure| not_a_database(path, failure))?.into_iter().collect::<Result<_, _>>()?;
    if applied.is_empty() {
        return Err(Error::NotADatabase(path.to_path_buf(), "it has no schema".into()));
    }
    migrate::next(&applied, migrate::MIGRATIONS)?;
    Ok(applied)
}

/// Checks a database from its first page to its last, and counts.
fn inspect(connection: &Connection, path: &Path) -> Result<Contents, Error> {
    let applied = applied(connection, path)?;
    let check: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|failure| not_a_database(path, failure))?;
    if check != "ok" {
        return Err(Error::NotADatabase(path.to_path_buf(), format!("it is damaged: {check}")));
    }
    let count = |sql| {
        connection.query_row(sql, [], |row| row.get(0)).map_err(|failure| not_a_database(path, failure))
    };
    Ok(Contents {
        schema: applied.last().map_or(0, |last| last.version),
        pools: count("SELECT count(*) FROM user_pools")?,
        users: count("SELECT count(*) FROM users")?,
    })
}

/// A failure to read what should be a database of Lido.
fn not_a_database(path: &Path, failure: rusqlite::Error) -> Error {
    match failure.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
            Error::NotADatabase(path.to_path_buf(), failure.to_string())
        }
        _ => error(failure),
    }
}

// ---- The way back -----------------------------------------------------------------------------

/// A database that lies ready beside its place in a data directory, which no server can take meanwhile. Dropped, it
/// is gone.
#[derive(Debug)]
pub struct Restore {
    directory: PathBuf,
    staging: PathBuf,
    contents: Contents,
    replace: bool,
    _lock: File,
}

impl Restore {
    /// Copies `file` into `directory`, checks the copy, and puts nothing in its place yet.
    ///
    /// Errors: [`Error::NotADatabase`], [`Error::SchemaTooNew`]; [`Error::Exists`] when the directory has a database,
    /// unless `replace`; [`Error::InUse`].
    pub fn begin(file: &Path, directory: &Path, replace: bool) -> Result<Self, Error> {
        if !file.is_file() {
            return Err(Error::NotADatabase(file.to_path_buf(), "there is no such file".into()));
        }
        // Before anything is made: a directory, a lock.
        applied(&open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?, file)?;
        let lock = lock(directory)?;
        if !replace && has_data(directory)? {
            return Err(Error::Exists(directory.join(FILE)));
        }
        let staging = directory.join(STAGING);
        let of_staging = |failure: io::Error| of_path(&staging, &failure);
        match fs::remove_dir_all(&staging) {
            Ok(()) => {}
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => {}
            Err(failure) => return Err(of_staging(failure)),
        }
        DirBuilder::new().mode(0o700).create(&staging).map_err(of_staging)?;
        let target = staging.join(FILE);
        let copied = claim(&target).and_then(|held| {
            let contents = copy(file, &target, &held)?;
            drop(held);
            Ok(contents)
        });
        match copied {
            Ok(contents) => {
                let directory = directory.to_path_buf();
                Ok(Self { directory, staging, contents, replace, _lock: lock })
            }
            Err(failure) => {
                let _ = fs::remove_dir_all(&staging);
                Err(match failure {
                    // The copy is as damaged as what it was made from.
                    Error::NotADatabase(_, why) => Error::NotADatabase(file.to_path_buf(), why),
                    other => other,
                })
            }
        }
    }

    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Opens the database where it lies ready, so that it can be looked at. This brings its schema up to date.
    /// Whoever opens it closes it before [`finish`](Self::finish).
    pub fn staged(&self) -> Options {
        Options::directory(&self.staging)
    }

    /// Puts the database in its place. What was there before is kept under another name, which is returned.
    ///
    /// At no moment do parts of two databases lie together, and at each the earlier data is whole under one of its
    /// names.
    pub fn finish(self, now: lido_domain::Millis) -> Result<Option<PathBuf>, Error> {
        let ready = self.staging.join(FILE);
        let of = |path: &Path| {
            let path = path.to_path_buf();
            move |failure: io::Error| of_path(&path, &failure)
        };
        if size(&self.staging.join(LOG))? != 0 {
            return Err(Error::Engine(format!("{}: the database was not closed", ready.display())));
        }
        File::open(&ready).and_then(|file| file.sync_all()).map_err(of(&ready))?;
        let mut kept = None;
        if self.replace && has_data(&self.directory)? {
            let suffix = format!("replaced-{}", now.0);
            let name = self.directory.join(format!("{FILE}.{suffix}"));
            // The log belongs to the database of its name: both get the other name before they lose this one.
            for (path, new) in [(FILE, name.clone()), (LOG, beside(&name, "-wal"))] {
                let path = self.directory.join(path);
                if path.exists() {
                    fs::hard_link(&path, &new).map_err(of(&new))?;
                }
            }
            sync_directory(&self.directory)?;
            kept = Some(name);
        }
        // The database first: SQLite drops a log that it finds beside no database.
        for path in [FILE, LOG, INDEX] {
            let path = self.directory.join(path);
            match fs::remove_file(&path) {
                Ok(()) => sync_directory(&self.directory)?,
                Err(failure) if failure.kind() == io::ErrorKind::NotFound => {}
                Err(failure) => return Err(of(&path)(failure)),
            }
        }
        let place = self.directory.join(FILE);
        fs::rename(&ready, &place).map_err(of(&place))?;
        sync_directory(&self.directory)?;
        Ok(kept)
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Err(failure) = fs::remove_dir_all(&self.staging) {
            tracing::warn!("{} could not be removed: {failure}", self.staging.display());
        }
    }
}

/// Whether a directory has a database, or the log of one. A file without a single page is none.
fn has_data(directory: &Path) -> Result<bool, Error> {
    Ok(size(&directory.join(FILE))? + size(&directory.join(LOG))? != 0)
}

/// Bytes in a file; 0 when there is none.
fn size(path: &Path) -> Result<u64, Error> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(failure) => Err(of_path(path, &failure)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

fn parent(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(|failure| of_path(directory, &failure))
}

#[cfg(test)]
mod tests {
    use lido_domain::Millis;

    use super::*;
    use crate::{Store, params};

    async fn put(store: &Store, name: &str) {
        let done: crate::Result<()> = store
            .write(name.to_owned(), |name, tx| {
                Box::pin(async move {
                    let sql = "INSERT INTO user_pools (id, name, settings, tags, created_ms, updated_ms, revision) \
                               VALUES ($1, 'pool', '{}', '{}', 0, 0, 0)";
                    tx.exec(sql, params![name]).await.map(drop)
                })
            })
            .await;
        done.unwrap();
    }

    fn pools(directory: &Path) -> i64 {
        let connection = open(&directory.join(FILE), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        connection.query_row("SELECT count(*) FROM user_pools", [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_copy_is_taken_beside_the_writer_and_put_into_an_empty_directory() {
        let home = tempfile::tempdir().unwrap();
        let (data, file) = (home.path().join("data"), home.path().join("copy.db"));
        let store = Store::open(Options::directory(&data)).await.unwrap();
        put(&store, "one").await;
        let contents = save(&data, &file, false).unwrap();
        assert_eq!((contents.pools, contents.users), (1, 0));
        put(&store, "two").await;
        assert!(matches!(save(&data, &file, false), Err(Error::Exists(_))));
        assert_eq!(save(&data, &file, true).unwrap().pools, 2);
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> =
            fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(matches!(Restore::begin(&file, &data, true), Err(Error::InUse(_))));

        let other = home.path().join("other");
        let restore = Restore::begin(&file, &other, false).unwrap();
        assert!(!other.join(FILE).exists());
        let staged = Store::open(restore.staged()).await.unwrap();
        staged.close().await;
        assert_eq!(restore.finish(Millis(7)).unwrap(), None);
        assert_eq!(pools(&other), 2);
        assert!(!other.join(STAGING).exists());
    }

    #[tokio::test]
    async fn what_is_replaced_is_kept_with_its_log() {
        let home = tempfile::tempdir().unwrap();
        let (data, file) = (home.path().join("data"), home.path().join("copy.db"));
        let store = Store::open(Options::directory(&data)).await.unwrap();
        put(&store, "one").await;
        save(&data, &file, false).unwrap();
        put(&store, "two").await;
        store.close().await;
        fs::write(data.join(LOG), b"what a crash has left").unwrap();

        assert!(matches!(Restore::begin(&file, &data, false), Err(Error::Exists(_))));
        let restore = Restore::begin(&file, &data, true).unwrap();
        let kept = restore.finish(Millis(7)).unwrap().unwrap();
        assert_eq!(kept, data.join("lido.db.replaced-7"));
        assert_eq!(pools(&data), 1);
        assert_eq!(fs::read(data.join("lido.db.replaced-7-wal")).unwrap(), b"what a crash has left");
        fs::remove_file(data.join("lido.db.replaced-7-wal")).unwrap();
        let kept = open(&kept, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
        let pools: i64 = kept.query_row("SELECT count(*) FROM user_pools", [], |row| row.get(0)).unwrap();
        assert_eq!(pools, 2);
    }

    #[tokio::test]
    async fn what_is_no_database_of_lido_makes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (data, file) = (home.path().join("data"), home.path().join("file"));
        let refused = || {
            let refusal = Restore::begin(&file, &data, true).unwrap_err();
            assert!(matches!(refusal, Error::NotADatabase(..)), "{refusal:?}");
            assert!(!data.join(FILE).exists());
        };
        refused();
        fs::write(&file, b"").unwrap();
        refused();
        fs::write(&file, "no database at all ".repeat(1000)).unwrap();
        refused();
        fs::remove_file(&file).unwrap();
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE other (id)").unwrap();
        refused();
        assert!(matches!(save(&data, &file, true), Err(Error::NotADatabase(..))));

        let original = home.path().join("original");
        let store = Store::open(Options::directory(&original)).await.unwrap();
        for index in 0..200 {
            put(&store, &format!("local_{index:0300}")).await;
        }
        save(&original, &file, true).unwrap();
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        refused();
        let mut changed = whole.clone();
        let middle = changed.len() / 2 / 4096 * 4096;
        changed[middle..middle + 4096].fill(0xaa);
        fs::write(&file, &changed).unwrap();
        refused();

        fs::write(&file, &whole).unwrap();
        let newer = Connection::open(&file).unwrap();
        newer.execute_batch("INSERT INTO schema_migrations VALUES (999, 'later', '', 0)").unwrap();
        drop(newer);
        assert!(matches!(Restore::begin(&file, &data, true), Err(Error::SchemaTooNew { found: 999, .. })));
    }
}
