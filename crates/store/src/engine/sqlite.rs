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
//!
//! A disk that fails. A commit that cannot be written or synced is everybody's error in its group, and the
//! next commit writes over what it left in the log. From then on the database is not ready, and the next one
//! who comes, at most once a second, has the writer open its file anew and try a small durable write. A sync
//! of the database file that fails is worse: the system may drop what it could not write and still call the
//! next sync a success. Then the log is the only copy, and nothing is written before [`settle`] has copied
//! all of it once more. The same is done for what a killed process left behind.

use std::any::Any;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
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

/// The file whose lock gives a directory to one server.
const LOCK_FILE: &str = "lido.lock";

/// How long to wait for a lock that a foreign program (a backup, the sqlite3 shell) holds.
pub(super) const LOCK_TIME: Duration = Duration::from_secs(5);
/// The same where nobody else is expected.
const EXCLUSIVE_LOCK_TIME: Duration = Duration::from_millis(200);

/// The time between two attempts to make a failed database work again.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
/// How long a repair waits for readers to end. They run their few statements without waiting for anything.
const READERS_END_WITHIN: Duration = Duration::from_secs(1);

const STATEMENTS: usize = 256;

const DIALECT: Dialect = Dialect { bytes: "BLOB", collation: "" };

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
    Inline(Arc<Readers>),
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
        let mut failing = None;
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
                        failing = match settle(&path) {
                            // A tool has the database open and keeps it in order meanwhile.
                            Ok(Settled::Done | Settled::InUse) => None,
                            // Whoever only reads is served, and the rest as soon as there is space.
                            Err(Error::Full) => Some(Error::Full),
                            Err(failure) => return Err(failure),
                        };
                        Some(lock)
                    }
                    // A server may have the directory; SQLite's own locks keep the two apart.
                    Role::Tool => None,
                };
                let mut connection = Connection::writer(&path)?;
                match options.role {
                    Role::Server if failing.is_none() => migrate(&mut connection, migrations)?,
                    Role::Server | Role::Tool => require_schema(&mut connection, migrations)?,
                }
                let log = Log::start(&mut connection, &path)?;
                log.distrusted.store(failing.is_some(), Ordering::Release);
                let readers = Arc::new(Readers::new(path.clone(), options.readers));
                let file = OwnFile { path, log, readers: Arc::clone(&readers), repaired: None, _lock: lock };
                (connection.into_tx(), Some(file), Reads::Inline(readers))
            }
            Location::Postgres(_) => unreachable!("the engine is chosen by the location"),
        };

        let (sender, queue) = bounded(options.queue.max(1));
        let (alive, writer) = watch::channel(());
        let group = Vec::with_capacity(GROUP_BODIES);
        let thread = Writer { tx: Some(tx), queue, group, file, failing, _alive: alive };
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
        self.submit(Access::Probe, (), |(), _| Box::pin(async { Ok(()) })).await
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
    /// Nothing but the question whether a write would be kept.
    Probe,
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
    /// `None` where opening the file anew has failed.
    tx: Option<Tx>,
    queue: Receiver<Box<dyn Job>>,
    /// The bodies that were run in the current group, in order, waiting for its end.
    group: Vec<Box<dyn Job>>,
    /// `None` in memory.
    file: Option<OwnFile>,
    /// Why the latest commit failed, until a later one has succeeded. Always `None` in memory.
    failing: Option<Error>,
    _alive: watch::Sender<()>,
}

/// What belongs to a file and is let go of after the connection.
struct OwnFile {
    path: PathBuf,
    log: Log,
    readers: Arc<Readers>,
    /// The latest attempt to make a failed database work again.
    repaired: Option<Instant>,
    /// `None` beside a server.
    _lock: Option<File>,
}

impl Writer {
    /// Until the queue is closed and empty.
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            self.repair();
            let outcome = match self.barred() {
                Some(failure) => {
                    self.gather(first);
                    Err(failure)
                }
                None => self.commit_group(first),
            };
            if let Err(failure) = &outcome {
                tracing::error!(bodies = self.group.len(), "a group of writes failed: {failure}");
                if let Some(file) = &self.file
                    && is_of_the_disk(failure)
                {
                    self.failing = Some(file.reason(failure.clone()));
                }
            }
            // Refusals wait for the commit as well: one may rest on a neighbour's row.
            for job in self.group.drain(..) {
                let failing = self.failing.clone().filter(|_| job.access() == Access::Probe);
                job.reply(failing.map_or_else(|| outcome.clone(), Err));
            }
            if let (Some(file), Some(tx)) = (&mut self.file, &mut self.tx) {
                file.log.tend(sqlite(tx));
            }
        }
        let Self { tx, file, _alive: alive, .. } = self;
        match file {
            Some(OwnFile { log, _lock: lock, .. }) => {
                log.finish(tx, lock.is_some());
                drop(lock);
            }
            None => drop(tx),
        }
        drop(alive);
    }

    /// The writer's connection. Only called where [`barred`](Self::barred) has found that there is one.
    fn connection(&mut self) -> &mut Connection {
        sqlite(self.tx.as_mut().expect("a group is run on an open connection"))
    }

    /// Why nothing may be written now.
    fn barred(&self) -> Option<Error> {
        let distrusted = self.file.as_ref().is_some_and(|file| file.log.distrusted.load(Ordering::Acquire));
        if !distrusted && self.tx.is_some() {
            return None;
        }
        let unknown = || Error::Engine("the disk of the database has failed".into());
        Some(self.failing.clone().unwrap_or_else(unknown))
    }

    /// Where something has failed, at most once in [`REPAIR_EVERY`]: opens the file anew, and tries a write
    /// that is as small as it is durable. So a database comes back without traffic, and without a restart.
    fn repair(&mut self) {
        let Some(file) = &mut self.file else { return };
        let healthy =
            self.failing.is_none() && self.tx.is_some() && !file.log.distrusted.load(Ordering::Acquire);
        if healthy || file.repaired.is_some_and(|at| at.elapsed() < REPAIR_EVERY) {
            return;
        }
        file.repaired = Some(Instant::now());
        let repaired = file.reopen(&mut self.tx).and_then(|()| {
            let tx = self.tx.as_mut().expect("a file that was opened anew has a connection");
            try_write(sqlite(tx))
        });
        match repaired {
            Ok(()) => {
                self.failing = None;
                tracing::info!("the database takes writes again");
            }
            Err(failure) => {
                let failure = file.reason(failure);
                tracing::error!("the database still takes no writes: {failure}");
                self.failing = Some(failure);
            }
        }
    }

    /// Takes `first` and who else waits, without running them.
    fn gather(&mut self, first: Box<dyn Job>) {
        self.group.push(first);
        self.group.extend(self.queue.try_iter().take(GROUP_BODIES - 1));
    }

    /// Runs `first` and whoever else waits. All of them are in `self.group` afterwards; the result
    /// is that of their transaction.
    fn commit_group(&mut self, first: Box<dyn Job>) -> Result<(), Error> {
        let began = Instant::now();
        if let Err(failure) = self.connection().control("BEGIN IMMEDIATE") {
            // Whoever waits would meet the same lock or disk, one time-out after the other.
            self.gather(first);
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
        let connection = self.connection();
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
            return outcome.and(Err(failure));
        }
        outcome
    }

    /// Runs one body and undoes what is not to be kept. `Err` if the group's transaction cannot go on.
    ///
    /// In a savepoint every page is copied before it is changed, and few bodies that change anything fail
    /// afterwards. So a group is begun without, and run again with savepoints when one was missing.
    fn run_job(&mut self, job: &mut dyn Job, savepoint: bool) -> Result<Ran, Error> {
        let connection = self.connection();
        if savepoint {
            connection.control("SAVEPOINT body")?;
        }
        connection.writable = job.access() == Access::Write;
        connection.failure = None;
        let changes = connection.raw.total_changes();
        let keep = job.run(self.tx.as_mut().expect("a group is run on an open connection"));
        let connection = self.connection();
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
        let connection = self.connection();
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

// ---- After a failure --------------------------------------------------------------------------

/// Whether a group failed by its database, and not by what one of its bodies did.
fn is_of_the_disk(failure: &Error) -> bool {
    matches!(failure, Error::Full | Error::ReadOnly | Error::Engine(_))
}

/// Commits one page. SQLite writes it whether or not the number is another one.
fn try_write(connection: &Connection) -> Result<(), Error> {
    connection.control("BEGIN IMMEDIATE")?;
    let outcome = connection.control("PRAGMA user_version = 1").and_then(|()| connection.control("COMMIT"));
    if !connection.raw.is_autocommit() {
        connection.control("ROLLBACK")?;
    }
    outcome
}

impl OwnFile {
    /// A failure, or what the file system says more clearly than SQLite: that everything became read-only.
    fn reason(&self, failure: Error) -> Error {
        match OpenOptions::new().append(true).open(self.path.with_file_name(LOCK_FILE)) {
            Err(refusal) if refusal.kind() == io::ErrorKind::ReadOnlyFilesystem => Error::ReadOnly,
            _ => failure,
        }
    }

    /// Puts a new connection in the place of the writer's. Where the database file is not to be trusted
    /// everything is closed first and the log is [settled](settle); reading then pauses for that long.
    fn reopen(&mut self, tx: &mut Option<Tx>) -> Result<(), Error> {
        let settled = if self.log.distrusted.load(Ordering::Acquire) {
            let _pause = self.readers.pause()?;
            self.log.stop();
            *tx = None;
            settle(&self.path)
        } else {
            Ok(Settled::Done)
        };
        // Whatever came of it: with a connection there are readers.
        let mut connection = Connection::writer(&self.path)?;
        self.log.watch(&mut connection)?;
        self.log.resume(&self.path)?;
        *tx = Some(connection.into_tx());
        match settled? {
            Settled::Done => self.log.distrusted.store(false, Ordering::Release),
            Settled::InUse => {
                let text = "the disk of the database has failed, and another program holds the database open";
                return Err(Error::Engine(text.into()));
            }
        }
        Ok(())
    }
}

/// What came of an attempt to settle the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Done,
    /// Another process has the database open, and with it the index of the log.
    InUse,
}

/// Copies all of the log into the database and empties it, trusting nothing but its content. No connection of
/// this process may be open.
///
/// Two things can be wrong after a sync that failed, in this process or in one that was killed. The system may
/// show log pages that are not on disk and that no later sync would write: so every page is written again.
/// And pages of the database may be missing that SQLite counts as copied, since it syncs the database only when
/// it has copied the last of the log: so its count is forgotten, by an index that is made anew.
fn settle(path: &Path) -> Result<Settled, Error> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    match fs::metadata(&log) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Ok(Settled::Done),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(Settled::Done),
        Err(failure) => return Err(of_path(&log, &failure)),
    }
    let connection = Connection::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.raw.busy_timeout(EXCLUSIVE_LOCK_TIME).map_err(error)?;
    // Nothing is copied from a log that could not be written again.
    connection.checkpoint_on_close(false);
    connection.batch("PRAGMA synchronous = FULL")?;
    // The index of a connection that is alone is its own memory.
    connection.raw.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(())).map_err(error)?;
    match connection.raw.execute_batch("BEGIN IMMEDIATE") {
        Err(rusqlite::Error::SqliteFailure(code, _)) if code.code == ErrorCode::DatabaseBusy => {
            return Ok(Settled::InUse);
        }
        begun => begun.map_err(error)?,
    }
    write_again(&log).map_err(|failure| of_path(&log, &failure))?;
    connection.control("ROLLBACK")?;
    let busy = connection.raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    Ok(if busy.map_err(error)? { Settled::InUse } else { Settled::Done })
}

/// Writes a file over itself and syncs it.
fn write_again(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&chunk[..length])?;
        at += length as u64;
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
    /// Set by the thread when a pass has ended.
    passed: Arc<AtomicBool>,
    /// Set when a pass has failed: what SQLite counts as copied may not be on disk.
    distrusted: Arc<AtomicBool>,
    /// `None` while the file is closed.
    checkpointer: Option<Checkpointer>,
}

struct Checkpointer {
    wake: Sender<()>,
    thread: JoinHandle<()>,
}

impl Log {
    fn start(writer: &mut Connection, path: &Path) -> Result<Self, Error> {
        let mut log = Self {
            pages: Arc::default(),
            seen: 0,
            next_pass: PASS_PAGES,
            passed: Arc::default(),
            distrusted: Arc::default(),
            checkpointer: None,
        };
        log.watch(writer)?;
        log.resume(path)?;
        Ok(log)
    }

    /// Follows the commits of a writer.
    fn watch(&self, writer: &mut Connection) -> Result<(), Error> {
        let pages = Arc::clone(&self.pages);
        // Takes the place of SQLite's own checkpoint, which would run inside COMMIT.
        let hook = move |_: &mut rusqlite::hooks::Wal, length| {
            pages.store(length, Ordering::Relaxed);
            Ok(())
        };
        writer.raw.wal_hook(Some(hook)).map_err(error)
    }

    /// Starts the thread unless it runs.
    fn resume(&mut self, path: &Path) -> Result<(), Error> {
        if self.checkpointer.is_some() {
            return Ok(());
        }
        let connection = Connection::writer(path)?;
        let (passed, distrusted) = (Arc::clone(&self.passed), Arc::clone(&self.distrusted));
        let (wake, calls) = bounded::<()>(1);
        let thread = thread::Builder::new()
            .name("lido-checkpoint".into())
            .spawn(move || {
                while calls.recv().is_ok() {
                    pass(&connection, &distrusted);
                    passed.store(true, Ordering::Release);
                }
            })
            .map_err(|failure| Error::Engine(format!("cannot start the checkpointer's thread: {failure}")))?;
        self.checkpointer = Some(Checkpointer { wake, thread });
        Ok(())
    }

    /// Ends the thread, and with it its connection.
    fn stop(&mut self) {
        let Some(Checkpointer { wake, thread }) = self.checkpointer.take() else { return };
        drop(wake);
        if thread.join().is_err() {
            tracing::error!("the checkpointer's thread panicked");
        }
    }

    /// Called between groups.
    fn tend(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.seen {
            self.next_pass = PASS_PAGES;
        }
        self.seen = pages;
        if pages >= FINISH_PAGES && self.passed.swap(false, Ordering::Acquire) {
            pass(writer, &self.distrusted);
        } else if pages >= self.next_pass {
            self.passed.store(false, Ordering::Relaxed);
            if let Some(checkpointer) = &self.checkpointer {
                // Full: a pass is waiting already.
                let _ = checkpointer.wake.try_send(());
            }
            self.next_pass = pages + PASS_PAGES;
        }
    }

    /// Ends the thread, empties the log and closes the writer. A log that is the only good copy stays, and so does
    /// that of a server, unless this process is the `owner`: its writers would wait.
    fn finish(mut self, writer: Option<Tx>, owner: bool) {
        self.stop();
        let Some(mut tx) = writer else { return };
        if !self.distrusted.load(Ordering::Acquire) {
            let writer = sqlite(&mut tx);
            let emptied = if owner { writer.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)") } else { Ok(()) };
            match emptied {
                // The last one who closes an empty log removes it.
                Ok(()) => writer.checkpoint_on_close(true),
                Err(failure) => tracing::warn!("the write-ahead log stays for the next start: {failure}"),
            }
        }
    }
}

/// Copies what there is of the log into the database, unless an earlier copy is in doubt.
///
/// A pass that fails loses nothing: the log stays. But the sync that failed may have been that of the
/// database, which a second attempt would not repeat for pages that earlier passes have copied.
fn pass(connection: &Connection, distrusted: &AtomicBool) {
    if distrusted.load(Ordering::Acquire) {
        return;
    }
    if let Err(failure) = connection.checkpoint("PRAGMA wal_checkpoint(PASSIVE)") {
        // A disk without space fails before anything is copied that counts.
        if !matches!(failure, Error::Full) {
            distrusted.store(true, Ordering::Release);
        }
        tracing::error!("the write-ahead log could not be moved into the database: {failure}");
    }
}

// ---- Readers ----------------------------------------------------------------------------------

/// Read-only connections for callers to run on, opened when all are in use.
struct Readers {
    path: PathBuf,
    /// Locked for a push or a pop only.
    pool: Mutex<Pool>,
    kept: usize,
    /// Told when a connection comes back while somebody pauses.
    returned: Condvar,
}

struct Pool {
    phase: Phase,
    /// The latest used last.
    idle: Vec<Tx>,
    /// How many are with callers.
    out: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The file is being closed and opened anew.
    Paused,
    Closed,
}

/// A connection on its way through a read. It is closed at the end unless it is given back.
struct Lease<'a> {
    readers: &'a Readers,
    tx: Option<Tx>,
    give_back: bool,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut surplus = self.tx.take();
        if !self.give_back {
            drop(surplus.take());
        }
        let mut pool = self.readers.lock();
        if pool.phase == Phase::Open && pool.idle.len() < self.readers.kept {
            pool.idle.extend(surplus.take());
        } else if surplus.is_some() {
            // Closing a connection takes a while: not under the lock.
            drop(pool);
            drop(surplus);
            pool = self.readers.lock();
        }
        pool.out -= 1;
        if pool.phase == Phase::Paused {
            self.readers.returned.notify_all();
        }
    }
}

impl Readers {
    fn new(path: PathBuf, kept: usize) -> Self {
        let pool = Pool { phase: Phase::Open, idle: Vec::with_capacity(kept), out: 0 };
        Self { path, pool: Mutex::new(pool), kept, returned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<C, T, E, F>(&self, captures: &C, body: &F) -> Result<T, E>
    where
        E: From<Error>,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
    {
        let mut lease = self.take()?;
        let tx = match &mut lease.tx {
            Some(tx) => tx,
            none => none.insert(Connection::reader(&self.path)?.into_tx()),
        };
        sqlite(tx).control("BEGIN")?;
        // A connection whose body broke the rules, or that cannot end its snapshot, is dropped.
        let result = complete(tx, captures, body)?;
        sqlite(tx).control("COMMIT")?;
        lease.give_back = true;
        result
    }

    fn take(&self) -> Result<Lease<'_>, Error> {
        let mut pool = self.lock();
        match pool.phase {
            Phase::Open => {}
            Phase::Paused => return Err(Error::Busy),
            Phase::Closed => return Err(Error::Closed),
        }
        pool.out += 1;
        Ok(Lease { readers: self, tx: pool.idle.pop(), give_back: false })
    }

    /// Closes every connection; reads are answered [`Error::Busy`] until the pause is dropped.
    fn pause(&self) -> Result<Pause<'_>, Error> {
        let mut pool = self.lock();
        if pool.phase == Phase::Open {
            pool.phase = Phase::Paused;
        }
        let pause = Pause(self);
        let (mut pool, waited) = self
            .returned
            .wait_timeout_while(pool, READERS_END_WITHIN, |pool| pool.out > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let idle = std::mem::take(&mut pool.idle);
        // Closed here, and the pause ended where it is dropped, without the lock.
        drop(pool);
        drop(idle);
        if waited.timed_out() {
            return Err(Error::Engine("a read does not end".into()));
        }
        Ok(pause)
    }

    fn close(&self) {
        let mut pool = self.lock();
        pool.phase = Phase::Closed;
        let idle = std::mem::take(&mut pool.idle);
        drop(pool);
        drop(idle);
    }
}

struct Pause<'a>(&'a Readers);

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        let mut pool = self.0.lock();
        if pool.phase == Phase::Paused {
            pool.phase = Phase::Open;
        }
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
        let connection = Self::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Who closes last would copy the log into the database, in trust of what was copied before.
        connection.checkpoint_on_close(false);
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
        let connection = Self::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // Not mapped: with every commit that a reader gets to see SQLite would give its whole mapping up, and
        // the faults that bring it back cost more than reading the few pages of a request.
        connection.batch("PRAGMA temp_store = MEMORY")?;
        Ok(connection)
    }

    fn open(path: &Path, access: OpenFlags) -> Result<Self, Error> {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let raw = rusqlite::Connection::open_with_flags(path, flags).map_err(error)?;
        Self::new(raw, access == OpenFlags::SQLITE_OPEN_READ_WRITE)
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

    fn checkpoint(&self, sql: &'static str) -> Result<(), Error> {
        self.raw.query_row(sql, [], |_| Ok(())).map_err(error)
    }

    /// Whether the connection empties the log if it is the last one that closes.
    fn checkpoint_on_close(&self, yes: bool) {
        if let Err(failure) = self.raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !yes) {
            tracing::error!("a connection could not be set up: {failure}");
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
            (ErrorCode::SystemIoFailure, extended) => {
                let what = match extended {
                    ffi::SQLITE_IOERR_READ | ffi::SQLITE_IOERR_SHORT_READ => "it cannot be read",
                    ffi::SQLITE_IOERR_WRITE => "it cannot be written",
                    ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => {
                        "it does not confirm what was written"
                    }
                    ffi::SQLITE_IOERR_SHMSIZE => "it fails or is full, the index of the log cannot grow",
                    _ => "input or output failed",
                };
                return Error::Engine(format!("the disk of the database fails: {what} (SQLite {extended})"));
            }
            // SQLite's own text has the path.
            (ErrorCode::CannotOpen, extended) => {
                let text = "the database or a file beside it cannot be opened";
                return Error::Engine(format!("{text} (SQLite {extended})"));
            }
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
pub(super) fn lock(directory: &Path) -> Result<File, Error> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|failure| of_path(directory, &failure))?;
    let path = directory.join(LOCK_FILE);
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

pub(super) fn of_path(path: &Path, failure: &io::Error) -> Error {
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
