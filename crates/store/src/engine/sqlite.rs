//! SQLite: one writer's thread that commits in groups, and readers on the callers' threads.
//!
//! A commit costs an fsync (0.2–0.5 ms), a row in it some 25 µs. So everything that waits when the
//! writer becomes free shares one transaction and one fsync, each body with its own outcome. There
//! is no timer: groups grow by themselves when work comes faster than the disk.
//!
//! Reads run inline, on the thread that polls them: a read by key takes about 10 µs, and handing
//! it to another thread and back costs as much again. WAL lets them go on beside the writer.
//!
//! A database in memory is one connection, so there the reads go through the writer's queue too.

use std::any::Any;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures_util::future::BoxFuture;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, ErrorCode, OpenFlags, ToSql, ffi};
use tokio::sync::{oneshot, watch};

use super::migrate::{self, Applied, Dialect, Migration};
use super::{Location, Options, Role, Row, Tx, Value};
use crate::Error;

/// A group is closed by the first of: nobody waits, this many bodies, this long since it began.
const GROUP_BODIES: usize = 512;
const GROUP_TIME: Duration = Duration::from_millis(2);

/// Pages of the log (4 KiB each) between two passes of the checkpointer.
const PASS_PAGES: i32 = 1024;
/// Pages of the log from which on the writer itself finishes a pass, so that the log starts over.
const FINISH_PAGES: i32 = 4 * PASS_PAGES;

/// How long to wait for a lock that a foreign program (a backup, the sqlite3 shell) holds.
const LOCK_TIME: Duration = Duration::from_secs(5);

const STATEMENTS: usize = 256;

const DIALECT: Dialect = Dialect { bytes: "BLOB", json: "TEXT", collation: "" };

// ---- The database -----------------------------------------------------------------------------

/// An open database: the way to its writer, and its readers.
pub(super) struct Database {
    /// `None` once closed.
    queue: RwLock<Option<Sender<Box<dyn Job>>>>,
    reads: Reads,
    /// Its other end is dropped when the writer has let go of everything.
    writer: watch::Receiver<()>,
}

enum Reads {
    Inline(Readers),
    Queued,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match &self.reads {
            Reads::Inline(readers) => readers.path.as_path(),
            Reads::Queued => Path::new(":memory:"),
        };
        f.debug_struct("Database").field("path", &path).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn open(options: &Options, migrations: &[Migration]) -> Result<Self, Error> {
        let (tx, file, reads) = match &options.path {
            Location::Memory => {
                let mut connection = Connection::memory()?;
                migrate(&mut connection, migrations)?;
                (connection.into_tx(), None, Reads::Queued)
            }
            Location::Directory(directory) => {
                let path = directory.join("lido.db");
                let lock = match options.role {
                    Role::Server => {
                        let lock = lock(directory)?;
                        // Before SQLite opens it: closing a file gives up every lock the process has on it.
                        drop(private_file(&path)?);
                        Some(lock)
                    }
                    // A server may have the directory; SQLite's own locks keep the two apart.
                    Role::Tool => None,
                };
                let mut connection = Connection::writer(&path)?;
                match options.role {
                    Role::Server => migrate(&mut connection, migrations)?,
                    Role::Tool => require_schema(&mut connection, migrations)?,
                }
                let log = Log::start(&mut connection, &path)?;
                let readers = Readers::new(path, options.readers);
                (connection.into_tx(), Some(OwnFile { log, _lock: lock }), Reads::Inline(readers))
            }
            Location::Postgres(_) => unreachable!("the engine is chosen by the location"),
        };

        let (sender, queue) = bounded(options.queue.max(1));
        let (alive, writer) = watch::channel(());
        let thread = Writer { tx, queue, group: Vec::with_capacity(GROUP_BODIES), file, _alive: alive };
        thread::Builder::new()
            .name("lido-writer".into())
            .spawn(move || thread.run())
            .map_err(|failure| Error::Engine(format!("cannot start the writer's thread: {failure}")))?;
        Ok(Self { queue: RwLock::new(Some(sender)), reads, writer })
    }

    pub(super) async fn write<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        self.submit(Access::Write, captures, body).await
    }

    pub(super) async fn read<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.reads {
            Reads::Inline(readers) => readers.read(&captures, &body),
            Reads::Queued => self.submit(Access::Read, captures, body).await,
        }
    }

    pub(super) async fn ping(&self) -> Result<(), Error> {
        // A body that keeps nothing: the group takes the write lock and is rolled back.
        self.submit(Access::Read, (), |(), _| Box::pin(async { Ok(()) })).await
    }

    pub(super) async fn close(&self) {
        drop(self.queue.write().unwrap_or_else(PoisonError::into_inner).take());
        if let Reads::Inline(readers) = &self.reads {
            readers.close();
        }
        let mut writer = self.writer.clone();
        while writer.changed().await.is_ok() {}
    }

    async fn submit<C, T, E, F>(&self, access: Access, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Work { access, captures, body, result: None, reply }))?;
        answer.await.unwrap_or_else(|_| Err(Error::Closed.into()))
    }

    fn enqueue(&self, job: Box<dyn Job>) -> Result<(), Error> {
        match self.queue.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            None => Err(Error::Closed),
            Some(queue) => queue.try_send(job).map_err(|refusal| match refusal {
                TrySendError::Full(_) => Error::Busy,
                TrySendError::Disconnected(_) => Error::Closed,
            }),
        }
    }
}

// ---- Bodies -----------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// A body on its way through the queue, its types forgotten.
trait Job: Send {
    fn access(&self) -> Access;

    /// Runs the body. Whether there is anything to keep.
    fn run(&mut self, tx: &mut Tx) -> bool;

    /// Answers the caller: with the body's result if its group is committed, else with the failure.
    fn reply(self: Box<Self>, group: Result<(), Error>);
}

struct Work<C, T, E, F> {
    access: Access,
    captures: C,
    body: F,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<C, T, E, F> Job for Work<C, T, E, F>
where
    C: Send,
    T: Send,
    E: From<Error> + Send,
    F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn run(&mut self, tx: &mut Tx) -> bool {
        let result = complete(tx, &self.captures, &self.body).unwrap_or_else(|broken| Err(broken.into()));
        let keep = result.is_ok() && self.access == Access::Write;
        self.result = Some(result);
        keep
    }

    fn reply(self: Box<Self>, group: Result<(), Error>) {
        let answer = match (group, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(Error::Engine("the body was not run".into()).into()),
            (Err(failure), _) => Err(failure.into()),
        };
        // The caller may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// Runs a body to its end in one poll. `Err` if it broke the rules: it panicked, or it awaited
/// something that was not ready, which cannot be a statement of its transaction.
fn complete<C, T, E, F>(tx: &mut Tx, captures: &C, body: &F) -> Result<Result<T, E>, Error>
where
    F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
{
    // Unwind safety: what the body did to the database is undone, and the connection keeps no
    // state of its own between statements.
    let poll = catch_unwind(AssertUnwindSafe(|| {
        body(captures, tx).as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }));
    match poll {
        Ok(Poll::Ready(result)) => Ok(result),
        Ok(Poll::Pending) => {
            tracing::error!("a transaction's body awaited something other than its transaction");
            Err(Error::Engine("the body awaited something other than its transaction".into()))
        }
        Err(panic) => {
            let text = panic_text(&*panic);
            tracing::error!(panic = text, "a transaction's body panicked: {text}");
            Err(Error::Engine(format!("the body panicked: {text}")))
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

// ---- The writer -------------------------------------------------------------------------------

/// What has become of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Kept,
    /// Nothing of it is left in the transaction.
    Undone,
    /// It failed after it had changed something, and there is no savepoint to go back to.
    Spoiled,
}

struct Writer {
    tx: Tx,
    queue: Receiver<Box<dyn Job>>,
    /// The bodies that were run in the current group, in order, waiting for its end.
    group: Vec<Box<dyn Job>>,
    /// `None` in memory.
    file: Option<OwnFile>,
    _alive: watch::Sender<()>,
}

/// What belongs to a file and is let go of after the connection.
struct OwnFile {
    log: Log,
    /// `None` beside a server.
    _lock: Option<File>,
}

impl Writer {
    /// Until the queue is closed and empty.
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            let outcome = self.commit_group(first);
            if let Err(failure) = &outcome {
                tracing::error!(bodies = self.group.len(), "a group of writes failed: {failure}");
            }
            // Refusals wait for the commit as well: one may rest on a neighbour's row.
            for job in self.group.drain(..) {
                job.reply(outcome.clone());
            }
            if let Some(file) = &mut self.file {
                file.log.tend(sqlite(&mut self.tx));
            }
        }
        let Self { mut tx, file, _alive: alive, .. } = self;
        match file {
            Some(OwnFile { log, _lock: lock }) => {
                log.finish(sqlite(&mut tx));
                drop(tx);
                drop(lock);
            }
            None => drop(tx),
        }
        drop(alive);
    }

    /// Runs `first` and whoever else waits. All of them are in `self.group` afterwards; the result
    /// is that of their transaction.
    fn commit_group(&mut self, first: Box<dyn Job>) -> Result<(), Error> {
        let began = Instant::now();
        if let Err(failure) = sqlite(&mut self.tx).control("BEGIN IMMEDIATE") {
            // Whoever waits would meet the same lock or disk, one time-out after the other.
            self.group.push(first);
            self.group.extend(self.queue.try_iter().take(GROUP_BODIES - 1));
            return Err(failure);
        }
        let mut keep = false;
        let mut failure = None;
        let mut savepoints = false;
        let mut next = Some(first);
        while let Some(mut job) = next.take() {
            let mut ran = self.run_job(&mut *job, savepoints);
            self.group.push(job);
            if let Ok(Ran::Spoiled) = ran {
                savepoints = true;
                ran = self.run_group_again();
            }
            match ran {
                Ok(ran) => keep |= ran == Ran::Kept,
                Err(broken) => {
                    failure = Some(broken);
                    break;
                }
            }
            if self.group.len() < GROUP_BODIES && began.elapsed() < GROUP_TIME {
                next = self.queue.try_recv().ok();
            }
        }
        let connection = sqlite(&mut self.tx);
        let outcome = match failure {
            Some(broken) => Err(broken),
            None if keep => connection.control("COMMIT"),
            // Nothing to keep, so nothing that a disk must confirm: refusals and reads.
            None => Ok(()),
        };
        if !connection.raw.is_autocommit()
            && let Err(failure) = connection.control("ROLLBACK")
        {
            tracing::error!("a group could not be rolled back: {failure}");
        }
        outcome
    }

    /// Runs one body and undoes what is not to be kept. `Err` if the group's transaction cannot go on.
    ///
    /// In a savepoint every page is copied before it is changed, and few bodies that change anything fail
    /// afterwards. So a group is begun without, and run again with savepoints when one was missing.
    fn run_job(&mut self, job: &mut dyn Job, savepoint: bool) -> Result<Ran, Error> {
        let connection = sqlite(&mut self.tx);
        if savepoint {
            connection.control("SAVEPOINT body")?;
        }
        connection.writable = job.access() == Access::Write;
        connection.failure = None;
        let changes = connection.raw.total_changes();
        let keep = job.run(&mut self.tx);
        let connection = sqlite(&mut self.tx);
        if connection.raw.is_autocommit() {
            // SQLite gives up the whole transaction on a full disk or a failing one.
            return Err(connection.failure.take().unwrap_or_else(|| {
                Error::Engine("a body ended the transaction that it shared with others".into())
            }));
        }
        if savepoint {
            if !keep {
                connection.control("ROLLBACK TO body")?;
            }
            connection.control("RELEASE body")?;
        } else if !keep && connection.raw.total_changes() != changes {
            return Ok(Ran::Spoiled);
        }
        Ok(if keep { Ran::Kept } else { Ran::Undone })
    }

    /// Begins the transaction anew and runs what is in the group in savepoints.
    fn run_group_again(&mut self) -> Result<Ran, Error> {
        let connection = sqlite(&mut self.tx);
        connection.control("ROLLBACK")?;
        connection.control("BEGIN IMMEDIATE")?;
        let mut group = std::mem::take(&mut self.group);
        let again = group.iter_mut().try_fold(Ran::Undone, |all, job| {
            let ran = self.run_job(&mut **job, true)?;
            Ok(if ran == Ran::Kept { ran } else { all })
        });
        self.group = group;
        again
    }
}

// ---- The write-ahead log ----------------------------------------------------------------------

/// Keeps the write-ahead log short without making writers wait: a thread copies it into the
/// database while commits go on. While there are commits that never quite reaches the log's end,
/// without which SQLite does not start the log over, so from a certain length on the writer itself
/// copies the few pages that are left when the thread has just been through.
struct Log {
    /// Length in pages after the latest commit.
    pages: Arc<AtomicI32>,
    seen: i32,
    next_pass: i32,
    wake: Sender<()>,
    /// Set by the thread when a pass has ended.
    passed: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Log {
    fn start(writer: &mut Connection, path: &Path) -> Result<Self, Error> {
        let pages = Arc::new(AtomicI32::new(0));
        let hook = Arc::clone(&pages);
        // Takes the place of SQLite's own checkpoint, which would run inside COMMIT.
        writer
            .raw
            .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
                hook.store(pages, Ordering::Relaxed);
                Ok(())
            }))
            .map_err(error)?;
        let connection = Connection::writer(path)?;
        let passed = Arc::new(AtomicBool::new(false));
        let signal = Arc::clone(&passed);
        let (wake, calls) = bounded::<()>(1);
        let thread = thread::Builder::new()
            .name("lido-checkpoint".into())
            .spawn(move || {
                while calls.recv().is_ok() {
                    connection.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
                    signal.store(true, Ordering::Release);
                }
            })
            .map_err(|failure| Error::Engine(format!("cannot start the checkpointer's thread: {failure}")))?;
        Ok(Self { pages, seen: 0, next_pass: PASS_PAGES, wake, passed, thread })
    }

    /// Called between groups.
    fn tend(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.seen {
            self.next_pass = PASS_PAGES;
        }
        self.seen = pages;
        if pages >= FINISH_PAGES && self.passed.swap(false, Ordering::Acquire) {
            writer.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
        } else if pages >= self.next_pass {
            self.passed.store(false, Ordering::Relaxed);
            // Full: a pass is waiting already.
            let _ = self.wake.try_send(());
            self.next_pass = pages + PASS_PAGES;
        }
    }

    /// Ends the thread and empties the log.
    fn finish(self, writer: &Connection) {
        drop(self.wake);
        if self.thread.join().is_err() {
            tracing::error!("the checkpointer's thread panicked");
        }
        writer.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
    }
}

// ---- Readers ----------------------------------------------------------------------------------

/// Read-only connections for callers to run on, opened when all are in use.
struct Readers {
    path: PathBuf,
    /// Idle ones, the latest used last; `None` once closed. Locked for a push or a pop only.
    idle: Mutex<Option<Vec<Tx>>>,
    kept: usize,
}

impl Readers {
    fn new(path: PathBuf, kept: usize) -> Self {
        Self { path, idle: Mutex::new(Some(Vec::with_capacity(kept))), kept }
    }

    fn read<C, T, E, F>(&self, captures: &C, body: &F) -> Result<T, E>
    where
        E: From<Error>,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
    {
        let mut tx = self.take()?;
        sqlite(&mut tx).control("BEGIN")?;
        // A connection whose body broke the rules, or that cannot end its snapshot, is dropped.
        let result = complete(&mut tx, captures, body)?;
        sqlite(&mut tx).control("COMMIT")?;
        self.give_back(tx);
        result
    }

    fn take(&self) -> Result<Tx, Error> {
        let idle =
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).as_mut().ok_or(Error::Closed)?.pop();
        match idle {
            Some(tx) => Ok(tx),
            None => Ok(Connection::reader(&self.path)?.into_tx()),
        }
    }

    fn give_back(&self, tx: Tx) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = match idle.as_mut() {
            Some(idle) if idle.len() < self.kept => {
                idle.push(tx);
                None
            }
            _ => Some(tx),
        };
        // Closing a connection takes a while: not under the lock.
        drop(idle);
        drop(surplus);
    }

    fn close(&self) {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(idle);
    }
}

// ---- Connections ------------------------------------------------------------------------------

/// One connection, inside a transaction whenever a body sees it.
#[derive(Debug)]
pub(super) struct Connection {
    raw: rusqlite::Connection,
    /// Whether statements may change anything.
    writable: bool,
    /// The latest failure of the engine, to tell why it gave up a transaction.
    failure: Option<Error>,
}

/// The connection in `tx`.
fn sqlite(tx: &mut Tx) -> &mut Connection {
    match &mut tx.inner {
        super::Connection::Sqlite(connection) => connection,
        super::Connection::Postgres(_) => unreachable!("the engine made the transaction itself"),
    }
}

impl Connection {
    fn memory() -> Result<Self, Error> {
        let connection = Self::new(rusqlite::Connection::open_in_memory().map_err(error)?, true)?;
        connection.batch("PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY")?;
        Ok(connection)
    }

    fn writer(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Self::new(rusqlite::Connection::open_with_flags(path, flags).map_err(error)?, true)?;
        let mode: String =
            connection.raw.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(error)?;
        if mode != "wal" {
            return Err(Error::Engine(format!(
                "{}: this file system does not take a write-ahead log",
                path.display()
            )));
        }
        // FULL: NORMAL would lose acknowledged commits with the power.
        connection.batch(
            "PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -8000",
        )?;
        Ok(connection)
    }

    fn reader(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Self::new(rusqlite::Connection::open_with_flags(path, flags).map_err(error)?, false)?;
        // Not mapped: with every commit that a reader gets to see SQLite would give its whole mapping up, and
        // the faults that bring it back cost more than reading the few pages of a request.
        connection.batch("PRAGMA temp_store = MEMORY")?;
        Ok(connection)
    }

    fn new(raw: rusqlite::Connection, writable: bool) -> Result<Self, Error> {
        raw.busy_timeout(LOCK_TIME).map_err(error)?;
        raw.set_prepared_statement_cache_capacity(STATEMENTS);
        // "x" is a column and nothing else, as everywhere but in SQLite.
        raw.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false).map_err(error)?;
        raw.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false).map_err(error)?;
        // Otherwise binding a value that the planner might look at prepares the statement anew, each time.
        raw.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(error)?;
        Ok(Self { raw, writable, failure: None })
    }

    fn into_tx(self) -> Tx {
        Tx { inner: super::Connection::Sqlite(self) }
    }

    pub(super) fn exec(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, Error> {
        let result = self.prepare(sql, params).and_then(|mut statement| {
            let changed = statement.raw_execute().map_err(error)?;
            Ok(changed as u64)
        });
        self.remember(result)
    }

    /// At most `limit` rows.
    pub(super) fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        limit: usize,
        row: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let result = self.prepare(sql, params).and_then(|mut statement| {
            let changes = !statement.readonly();
            let mut mapped = Vec::new();
            let mut rows = statement.raw_query();
            // A statement that changes rows is stepped to its end, where its constraints are checked.
            while (changes || mapped.len() < limit)
                && let Some(next) = rows.next().map_err(error)?
            {
                if mapped.len() < limit {
                    mapped.push(row(&Row { inner: super::Columns::Sqlite(next) })?);
                }
            }
            Ok(mapped)
        });
        self.remember(result)
    }

    fn prepare(&self, sql: &'static str, params: &[Value<'_>]) -> Result<CachedStatement<'_>, Error> {
        let mut statement = self.raw.prepare_cached(sql).map_err(error)?;
        if !self.writable && !statement.readonly() {
            return Err(Error::Engine(format!("a read tried to change something: {sql}")));
        }
        if statement.parameter_count() != params.len() {
            return Err(Error::Engine(format!(
                "{} parameters for the {} placeholders of: {sql}",
                params.len(),
                statement.parameter_count(),
            )));
        }
        // SQLite numbers the names in the order in which they appear first.
        debug_assert!(
            (1..=params.len()).all(|index| statement.parameter_name(index) == Some(&format!("${index}"))),
            "placeholders must first appear as $1, $2, …: {sql}"
        );
        for (index, value) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value).map_err(error)?;
        }
        Ok(statement)
    }

    fn remember<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(failure @ (Error::Full | Error::ReadOnly | Error::Engine(_))) = &result {
            self.failure = Some(failure.clone());
        }
        result
    }

    /// A statement that opens or ends a transaction or savepoint.
    fn control(&self, sql: &'static str) -> Result<(), Error> {
        self.raw.prepare_cached(sql).and_then(|mut statement| statement.raw_execute()).map_err(error)?;
        Ok(())
    }

    /// Any number of statements without parameters.
    fn batch(&self, sql: &str) -> Result<(), Error> {
        self.raw.execute_batch(sql).map_err(error)
    }

    /// A failed checkpoint loses nothing: the log stays, and the next one tries again.
    fn checkpoint(&self, sql: &'static str) {
        if let Err(failure) = self.raw.query_row(sql, [], |_| Ok(())) {
            tracing::warn!("the write-ahead log could not be moved into the database: {failure}");
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Int(int) => ValueRef::Integer(int),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// The store's word for a failure of SQLite.
pub(super) fn error(failure: rusqlite::Error) -> Error {
    if let rusqlite::Error::SqliteFailure(code, text) = &failure {
        match (code.code, code.extended_code) {
            (ErrorCode::DiskFull, _) => return Error::Full,
            (ErrorCode::ReadOnly, _) => return Error::ReadOnly,
            (
                _,
                ffi::SQLITE_CONSTRAINT_UNIQUE
                | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | ffi::SQLITE_CONSTRAINT_ROWID
                | ffi::SQLITE_CONSTRAINT_FOREIGNKEY,
            ) => return Error::Constraint(text.clone().unwrap_or_else(|| code.to_string())),
            (_, extended) => return Error::Engine(format!("{failure} (SQLite {extended})")),
        }
    }
    Error::Engine(failure.to_string())
}

// ---- Opening ----------------------------------------------------------------------------------

/// Takes the directory for this process, until the file returned is dropped.
fn lock(directory: &Path) -> Result<File, Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|failure| of_path(directory, &failure))?;
    let path = directory.join("lido.lock");
    let file = private_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(directory.to_path_buf())),
        Err(TryLockError::Error(failure)) => Err(of_path(&path, &failure)),
    }
}

/// Opens a file, readable by its owner alone if it has to be made. SQLite gives the files beside
/// its database the same permissions.
fn private_file(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|failure| of_path(path, &failure))
}

fn of_path(path: &Path, failure: &io::Error) -> Error {
    match failure.kind() {
        io::ErrorKind::StorageFull => Error::Full,
        io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly,
        _ => Error::Engine(format!("{}: {failure}", path.display())),
    }
}

/// Refuses a database that is not of this release's schema.
fn require_schema(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
    let exists = connection.query(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'",
        &[],
        1,
        |_| Ok(()),
    )?;
    let applied = if exists.is_empty() { Vec::new() } else { applied(connection)? };
    migrate::require(&applied, migrations)
}

fn applied(connection: &mut Connection) -> Result<Vec<Applied>, Error> {
    connection.query(migrate::APPLIED, &[], usize::MAX, migrate::applied)
}

/// Applies what is missing, each migration in a transaction of its own that has seen what was
/// there before.
fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<(), Error> {
    loop {
        connection.control("BEGIN IMMEDIATE")?;
        match migrate_once(connection, migrations) {
            Ok(true) => connection.control("COMMIT")?,
            Ok(false) => return connection.control("ROLLBACK"),
            Err(failure) => {
                if !connection.raw.is_autocommit() {
                    connection.control("ROLLBACK")?;
                }
                return Err(failure);
            }
        }
    }
}

/// Whether there was a migration to apply.
fn migrate_once(connection: &mut Connection, migrations: &[Migration]) -> Result<bool, Error> {
    connection.batch(migrate::CREATE)?;
    let applied = applied(connection)?;
    let Some(migration) = migrate::next(&applied, migrations)? else { return Ok(false) };
    let Migration { version, name, .. } = *migration;
    connection
        .batch(&migration.text(DIALECT))
        .map_err(|failure| Error::Migration(format!("migration {version} ({name}) failed: {failure}")))?;
    let checksum = migration.checksum();
    let now = migrate::now_ms();
    connection.exec(migrate::RECORD, crate::params![version, name, &checksum, now])?;
    tracing::info!(version, name, "applied migration {version} ({name})");
    Ok(true)
}
