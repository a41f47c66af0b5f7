//! What runs a transaction: [`Store`] takes bodies, [`Tx`] is what a body sees, and nothing above
//! this module knows which engine is behind them.
//!
//! A body is an async function over `Tx` that awaits statements and nothing else. On SQLite every
//! such future is ready at its first poll, so the writer's thread completes it without a runtime,
//! and a body that awaits anything else (HTTP, mail, a lock) is refused instead of holding up
//! everybody's commit.

pub mod backup;
mod migrate;
mod postgres;
mod sqlite;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use lido_domain::{ClientId, Millis, PoolId, Sub};

use crate::Error;
pub use migrate::Migration;
pub use postgres::Address;

/// Where the data lies, who asks, and how much may wait for it.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: Location,
    pub role: Role,
    /// Writes that may wait; one more is answered [`Error::Busy`].
    pub queue: usize,
    /// Idle reader connections that are kept open. More are opened when more callers read at once.
    pub readers: usize,
}

/// What a process is to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It brings the schema up to date, and has an embedded database to itself.
    Server,
    /// A command that works beside servers. It changes no schema: [`Error::SchemaTooOld`] tells that one has to be
    /// started first.
    Tool,
}

/// Where the data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// Nothing is kept after the process.
    Memory,
    /// The file `lido.db` in this directory, which is created if it is missing.
    Directory(PathBuf),
    /// PostgreSQL, or an engine that speaks its protocol.
    Postgres(Box<Address>),
}

impl Location {
    /// `postgres://user:password@host:port/database?sslmode=…`; see [`Address`].
    ///
    /// Errors: [`Error::Address`], which does not repeat the password.
    pub fn postgres(url: &str) -> Result<Self, Error> {
        Ok(Self::Postgres(Box::new(Address::parse(url)?)))
    }
}

impl Options {
    pub fn memory() -> Self {
        Self { path: Location::Memory, role: Role::Server, queue: 4096, readers: 8 }
    }

    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self { path: Location::Directory(path.into()), ..Self::memory() }
    }

    pub fn at(path: Location, role: Role) -> Self {
        Self { path, role, ..Self::memory() }
    }
}

/// The database. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
}

#[derive(Clone, Debug)]
enum Engine {
    Sqlite(Arc<sqlite::Database>),
    Postgres(Arc<postgres::Database>),
}

impl Store {
    /// Opens the database and, for a server, creates or migrates its schema. An embedded one blocks the
    /// calling thread for the few milliseconds (or the length of a migration) that this takes.
    ///
    /// Errors: [`Error::InUse`], [`Error::SchemaTooNew`], [`Error::SchemaTooOld`], [`Error::Migration`],
    /// [`Error::Unavailable`], or the engine's.
    pub async fn open(options: Options) -> Result<Self, Error> {
        Self::open_with_migrations(options, migrate::MIGRATIONS).await
    }

    /// [`Store::open`] with another schema, for tests of the engine.
    #[doc(hidden)]
    pub async fn open_with_migrations(options: Options, migrations: &[Migration]) -> Result<Self, Error> {
        let engine = match &options.path {
            Location::Memory | Location::Directory(_) => {
                Engine::Sqlite(Arc::new(sqlite::Database::open(&options, migrations)?))
            }
            Location::Postgres(address) => {
                Engine::Postgres(Arc::new(postgres::Database::open(address, &options, migrations).await?))
            }
        };
        Ok(Self { engine })
    }

    /// Runs `body` in a transaction, serializable with all others. An `Err` of the body undoes what the body did, and
    /// nothing else. The reply, either way, comes after the commit is on disk.
    ///
    /// `captures` is what the body uses; the body is `Fn` because an engine may run it again. Once
    /// this future was polled the body runs, even if the caller goes away.
    ///
    /// Errors, beside the body's own: [`Error::Busy`] without waiting, [`Error::Closed`], and what
    /// kept the engine from committing; in all these cases nothing of the body is stored.
    pub async fn write<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.engine {
            Engine::Sqlite(database) => database.write(captures, body).await,
            Engine::Postgres(database) => database.write(captures, body).await,
        }
    }

    /// Runs `body`, which sees every write that was acknowledged before this began, by whatever node. A statement
    /// that would change something is refused. Two statements may see a change between them (on PostgreSQL): where
    /// that matters, take a [`snapshot`](Store::snapshot).
    pub async fn read<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.engine {
            Engine::Sqlite(database) => database.read(captures, body).await,
            Engine::Postgres(database) => database.read(captures, body).await,
        }
    }

    /// [`Store::read`] on one consistent snapshot.
    pub async fn snapshot<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        match &self.engine {
            Engine::Sqlite(database) => database.read(captures, body).await,
            Engine::Postgres(database) => database.snapshot(captures, body).await,
        }
    }

    /// Whether the database takes writes. Changes nothing that means anything.
    pub async fn ping(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Sqlite(database) => database.ping().await,
            Engine::Postgres(database) => database.ping().await,
        }
    }

    /// Completes the writes that wait, moves the log into the database file and lets go of the
    /// directory. Every later call is answered [`Error::Closed`]. Closing twice is not an error.
    ///
    /// Not closing loses nothing that was acknowledged; the next start then reads the log.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(database) => database.close().await,
            Engine::Postgres(database) => database.close().await,
        }
    }
}

/// A transaction under way.
#[derive(Debug)]
pub struct Tx {
    inner: Connection,
}

#[derive(Debug)]
enum Connection {
    Sqlite(sqlite::Connection),
    Postgres(postgres::Connection),
}

impl Tx {
    /// Runs a statement and returns how many rows it changed.
    ///
    /// `sql`: one statement that both engines speak, with `$1…$n` first appearing in order.
    pub async fn exec(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, Error> {
        match &mut self.inner {
            Connection::Sqlite(connection) => connection.exec(sql, params),
            Connection::Postgres(connection) => connection.exec(sql, params).await,
        }
    }

    /// Runs a statement that returns rows, and maps each.
    pub async fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        row: impl Fn(&Row<'_>) -> Result<T, Error> + Send,
    ) -> Result<Vec<T>, Error> {
        match &mut self.inner {
            Connection::Sqlite(connection) => connection.query(sql, params, usize::MAX, row),
            Connection::Postgres(connection) => connection.query(sql, params, usize::MAX, row).await,
        }
    }

    /// [`Tx::query`] for the first row alone; further ones are not read.
    pub async fn first<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        row: impl Fn(&Row<'_>) -> Result<T, Error> + Send,
    ) -> Result<Option<T>, Error> {
        match &mut self.inner {
            Connection::Sqlite(connection) => Ok(connection.query(sql, params, 1, row)?.pop()),
            Connection::Postgres(connection) => Ok(connection.query(sql, params, 1, row).await?.pop()),
        }
    }
}

/// One row of an answer. Columns are counted from 0.
pub struct Row<'a> {
    inner: Columns<'a>,
}

enum Columns<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a tokio_postgres::Row),
}

impl Row<'_> {
    pub fn text(&self, column: usize) -> Result<String, Error> {
        self.opt_text(column)?.ok_or_else(|| is_null(column))
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<String>, Error> {
        match &self.inner {
            Columns::Sqlite(row) => row.get(column).map_err(sqlite::error),
            Columns::Postgres(row) => postgres::text(row, column),
        }
    }

    pub fn int(&self, column: usize) -> Result<i64, Error> {
        self.opt_int(column)?.ok_or_else(|| is_null(column))
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, Error> {
        match &self.inner {
            Columns::Sqlite(row) => row.get(column).map_err(sqlite::error),
            Columns::Postgres(row) => postgres::int(row, column),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<Vec<u8>, Error> {
        self.opt_bytes(column)?.ok_or_else(|| is_null(column))
    }

    pub fn opt_bytes(&self, column: usize) -> Result<Option<Vec<u8>>, Error> {
        match &self.inner {
            Columns::Sqlite(row) => row.get(column).map_err(sqlite::error),
            Columns::Postgres(row) => postgres::bytes(row, column),
        }
    }

    /// Flags are stored as 0 and 1.
    pub fn flag(&self, column: usize) -> Result<bool, Error> {
        Ok(self.int(column)? != 0)
    }

    pub fn millis(&self, column: usize) -> Result<Millis, Error> {
        Ok(Millis(self.int(column)?))
    }

    pub fn opt_millis(&self, column: usize) -> Result<Option<Millis>, Error> {
        Ok(self.opt_int(column)?.map(Millis))
    }
}

fn is_null(column: usize) -> Error {
    Error::corrupt(format_args!("column {column} is NULL"))
}

impl fmt::Debug for Row<'_> {
    /// Without the values: a row may hold what no log should.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

/// What is bound to a placeholder. [`params!`](crate::params) makes them.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl fmt::Debug for Value<'_> {
    /// Without the value: it may be what no log should hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Int(_) => f.write_str("Int(…)"),
            Self::Text(_) => f.write_str("Text(…)"),
            Self::Bytes(_) => f.write_str("Bytes(…)"),
        }
    }
}

/// The parameters of a statement in the order of its placeholders: `params![pool, name, now]`.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Value::from($value)),*]
    };
}

macro_rules! value_from {
    ($($source:ty: $from:ident => $value:expr;)*) => {
        $(impl<'a> From<$source> for Value<'a> {
            fn from($from: $source) -> Self {
                $value
            }
        })*
    };
}

value_from! {
    i64: int => Self::Int(int);
    i32: int => Self::Int(int.into());
    bool: flag => Self::Int(flag.into());
    Millis: moment => Self::Int(moment.0);
    &'a str: text => Self::Text(text);
    &'a String: text => Self::Text(text);
    &'a Cow<'_, str>: text => Self::Text(text);
    &'a PoolId: id => Self::Text(id.as_str());
    &'a ClientId: id => Self::Text(id.as_str());
    &'a Sub: sub => Self::Text(sub.as_str());
    &'a [u8]: bytes => Self::Bytes(bytes);
    &'a Vec<u8>: bytes => Self::Bytes(bytes);
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a, T> From<Option<T>> for Value<'a>
where
    Value<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}
