//! The store's own suite. [`promises`] holds on every engine, [`sqlite`] and [`postgres`] are what one of them
//! promises beyond that, [`records`] runs every function of the record files on each.
//!
//! PostgreSQL takes part where `LIDO_TEST_POSTGRES` is the URL of somebody who may make databases:
//! `python3 tests/postgres.py cargo test -p lido-store --test engine`.

#![expect(clippy::unwrap_used, reason = "a test's own steps may fail it")]

mod model;
mod postgres;
mod promises;
mod records;
mod sqlite;

use lido_store::engine::{Location, Migration, Role};
use lido_store::{Error, Options, Store, Tx, params};
use tempfile::TempDir;

use postgres::Database;

const FIRST: Migration = Migration {
    version: 1,
    name: "counters",
    sql: "CREATE TABLE counters (name TEXT {C} NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
          CREATE TABLE things (id TEXT {C} NOT NULL PRIMARY KEY, body TEXT, seal {BYTES}, at BIGINT, flag BIGINT,
              counter TEXT {C} REFERENCES counters (name));",
};
const SECOND: Migration =
    Migration { version: 2, name: "notes", sql: "CREATE TABLE notes (id BIGINT NOT NULL PRIMARY KEY)" };
const SCHEMA: &[Migration] = &[FIRST, SECOND];

async fn open(options: Options) -> Result<Store, Error> {
    Store::open_with_migrations(options, SCHEMA).await
}

/// An empty database of some engine.
#[derive(Debug)]
struct Place {
    options: Options,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Memory,
    Directory { _directory: TempDir },
    Database(Database),
}

impl Place {
    /// Memory and a file, and a database where there is PostgreSQL.
    async fn each() -> Vec<Self> {
        let mut places = vec![Self { options: Options::memory(), kept: Kept::Memory }];
        places.extend(Self::each_that_lasts().await);
        places
    }

    /// Those that are found again after they were closed.
    async fn each_that_lasts() -> Vec<Self> {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::directory(directory.path());
        let mut places = vec![Self { options, kept: Kept::Directory { _directory: directory } }];
        if let Some(database) = Database::create().await {
            places.push(Self { options: database.options(), kept: Kept::Database(database) });
        }
        places
    }

    /// The same for a command beside the server.
    fn tool(&self) -> Options {
        Options { role: Role::Tool, ..self.options.clone() }
    }

    /// Whether it is found again after it was closed.
    fn lasts(&self) -> bool {
        self.options.path != Location::Memory
    }

    async fn remove(self) {
        if let Kept::Database(database) = self.kept {
            database.remove().await;
        }
    }
}

/// Runs the test on every engine.
async fn on_each<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    for place in Place::each().await {
        let store = open(place.options.clone()).await.unwrap();
        test(store.clone()).await;
        store.close().await;
        place.remove().await;
    }
}

mod counters {
    use super::*;

    pub(super) async fn set(tx: &mut Tx, name: &str, value: i64) -> Result<(), Error> {
        tx.exec("INSERT INTO counters (name, value) VALUES ($1, $2)", params![name, value]).await?;
        Ok(())
    }

    pub(super) async fn change(tx: &mut Tx, name: &str, value: i64) -> Result<u64, Error> {
        tx.exec("UPDATE counters SET value = $1 WHERE name = $2", params![value, name]).await
    }

    pub(super) async fn value(tx: &mut Tx, name: &str) -> Result<Option<i64>, Error> {
        tx.first("SELECT value FROM counters WHERE name = $1", params![name], |row| row.int(0)).await
    }

    pub(super) async fn consume(tx: &mut Tx, name: &str) -> Result<(), Refused> {
        match tx.exec("DELETE FROM counters WHERE name = $1", params![name]).await? {
            0 => Err(Refused::Gone),
            _ => Ok(()),
        }
    }
}

/// An operation's own error, as the room above the store has one.
#[derive(Debug)]
enum Refused {
    Gone,
    Store(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

async fn put(store: &Store, name: &str, value: i64) -> Result<(), Error> {
    store
        .write((name.to_owned(), value), |(name, value), tx| {
            Box::pin(async move { counters::set(tx, name, *value).await })
        })
        .await
}

async fn value(store: &Store, name: &str) -> Option<i64> {
    store
        .read(name.to_owned(), |name, tx| Box::pin(async move { counters::value(tx, name).await }))
        .await
        .unwrap()
}

async fn count(store: &Store) -> i64 {
    let rows = store
        .read((), |(), tx| {
            Box::pin(
                async move { tx.query("SELECT count(*) FROM counters", params![], |row| row.int(0)).await },
            )
        })
        .await;
    rows.unwrap_or_else(|error: Error| panic!("{error}"))[0]
}
