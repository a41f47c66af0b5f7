//! What PostgreSQL promises beyond that: many processes on one database, and connections that break.

use std::time::Duration;

use futures_util::future::join_all;
use lido_store::engine::{Location, Role};
use lido_store::{Error, Options, Store, params};
use tokio::sync::{Mutex, oneshot};
use tokio_postgres::{Client, NoTls};
use url::Url;

use crate::{Refused, count, counters, open, put, value};

/// A database of a test's own, made by the administrator that the environment names.
#[derive(Debug)]
pub(crate) struct Database {
    administrator: String,
    name: String,
}

impl Database {
    /// `None` where there is no PostgreSQL.
    pub(crate) async fn create() -> Option<Self> {
        let administrator = std::env::var("LIDO_TEST_POSTGRES").ok().filter(|url| !url.is_empty())?;
        // Every test has a process of its own, or a counter with the others.
        static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let database = Self { administrator, name: format!("lido_store_{}_{number}", std::process::id()) };
        database.administer(&format!("CREATE DATABASE {} TEMPLATE template0", database.name)).await;
        Some(database)
    }

    pub(crate) async fn remove(self) {
        self.administer(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }

    pub(crate) fn options(&self) -> Options {
        self.options_with("")
    }

    /// `parameters`: of the URL, `?connections=1`.
    fn options_with(&self, parameters: &str) -> Options {
        let location = Location::postgres(&format!("{}{parameters}", self.url())).unwrap();
        Options::at(location, Role::Server)
    }

    fn url(&self) -> String {
        let mut url = Url::parse(&self.administrator).unwrap();
        url.set_path(&self.name);
        url.into()
    }

    async fn administer(&self, sql: &str) {
        client(&self.administrator).await.batch_execute(sql).await.unwrap();
    }

    /// Breaks every connection to the database but the one that asks for it.
    async fn break_connections(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        client(&self.url()).await.batch_execute(sql).await.unwrap();
    }
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Stores of several processes start at once on an empty database.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_open_an_empty_database_at_once() {
    for _ in 0..3 {
        let Some(database) = Database::create().await else { return };
        let opened = join_all((0..8).map(|_| {
            let options = database.options_with("?connections=2");
            tokio::spawn(async move { open(options).await })
        }))
        .await;
        for (index, store) in opened.into_iter().enumerate() {
            let store = store.unwrap().unwrap();
            put(&store, &index.to_string(), 1).await.unwrap();
            store.close().await;
        }
        database.remove().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_process_wrote_the_others_see_and_take_once() {
    let Some(database) = Database::create().await else { return };
    let stores = join_all((0..3).map(|_| open(database.options()))).await;
    let stores: Vec<Store> = stores.into_iter().map(Result::unwrap).collect();
    for index in 0..30 {
        let name = index.to_string();
        put(&stores[index % 3], &name, 1).await.unwrap();
        for store in &stores {
            assert_eq!(value(store, &name).await, Some(1));
        }
        let attempts = (0..12).map(|attempt| {
            let (store, name) = (stores[attempt % 3].clone(), name.clone());
            tokio::spawn(async move {
                let taken: Result<(), Refused> = store
                    .write(name, |name, tx| Box::pin(async move { counters::consume(tx, name).await }))
                    .await;
                taken
            })
        });
        let outcomes = join_all(attempts).await;
        assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ok(())))).count(), 1);
        let refused = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Err(Refused::Gone)))).count();
        assert_eq!(refused, 11, "{outcomes:?}");
    }
    for store in stores {
        store.close().await;
    }
    database.remove().await;
}

/// One connection serves any number of bodies, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_pool_of_one_connection_is_enough() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options_with("?connections=1")).await.unwrap();
    let tasks = (0..40).map(|index| {
        let store = store.clone();
        tokio::spawn(async move {
            put(&store, &index.to_string(), index).await.unwrap();
            assert_eq!(value(&store, &index.to_string()).await, Some(index));
        })
    });
    for task in join_all(tasks).await {
        task.unwrap();
    }
    store.ping().await.unwrap();
    assert_eq!(count(&store).await, 40);
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options()).await.unwrap();
    put(&store, "a", 1).await.unwrap();
    let (looked, has_looked) = oneshot::channel::<()>();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let reader = tokio::spawn({
        let store = store.clone();
        let shared = Mutex::new(Some((looked, may_go_on)));
        async move {
            store
                .snapshot(shared, |shared, tx| {
                    Box::pin(async move {
                        let first = counters::value(tx, "a").await?;
                        let (looked, may_go_on) = shared.lock().await.take().unwrap();
                        looked.send(()).unwrap();
                        may_go_on.await.unwrap();
                        let second = counters::value(tx, "a").await?;
                        Ok::<_, Error>((first, second, counters::value(tx, "b").await?))
                    })
                })
                .await
        }
    });
    has_looked.await.unwrap();
    put(&store, "b", 2).await.unwrap();
    let changed: Result<u64, Error> =
        store.write((), |(), tx| Box::pin(async move { counters::change(tx, "a", 9).await })).await;
    assert_eq!(changed.unwrap(), 1);
    go_on.send(()).unwrap();
    assert_eq!(reader.await.unwrap().unwrap(), (Some(1), Some(1), None));
    assert_eq!(value(&store, "a").await, Some(9));
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn more_bodies_than_the_queue_takes_are_refused_at_once() {
    let Some(database) = Database::create().await else { return };
    let store = open(Options { queue: 3, ..database.options() }).await.unwrap();
    let (release, held) = tokio::sync::watch::channel(false);
    let mut waiting = Vec::new();
    for index in 0..3 {
        let (store, held) = (store.clone(), held.clone());
        let (began, has_begun) = oneshot::channel::<()>();
        let shared = (index, held, Mutex::new(Some(began)));
        waiting.push(tokio::spawn(async move {
            store
                .write(shared, |(index, held, began), tx| {
                    Box::pin(async move {
                        if let Some(began) = began.lock().await.take() {
                            began.send(()).unwrap();
                        }
                        held.clone().wait_for(|released| *released).await.unwrap();
                        counters::set(tx, &format!("{index}"), *index).await
                    })
                })
                .await
        }));
        has_begun.await.unwrap();
    }
    assert!(matches!(put(&store, "more", 1).await, Err(Error::Busy)));
    release.send(true).unwrap();
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    put(&store, "more", 1).await.unwrap();
    assert_eq!(count(&store).await, 4);
    store.close().await;
    database.remove().await;
}

/// A fail-over breaks every connection of the pool at once; nobody above has to know.
#[tokio::test]
async fn broken_connections_are_replaced() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options()).await.unwrap();
    for round in 0..5 {
        let name = |index: i64| format!("{round}/{index}");
        // As many connections as the pool holds.
        for added in join_all((0..30).map(|index| {
            let store = store.clone();
            async move { put(&store, &name(index), index).await }
        }))
        .await
        {
            added.unwrap();
        }
        database.break_connections().await;
        assert_eq!(value(&store, &name(7)).await, Some(7));
        put(&store, &name(99), 99).await.unwrap();
        store.ping().await.unwrap();
    }
    assert_eq!(count(&store).await, 5 * 31);
    store.close().await;
    database.remove().await;
}

/// Its connection breaks while the body runs: nothing is stored of it then, and it runs again.
#[tokio::test]
async fn a_body_whose_connection_breaks_runs_again() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options()).await.unwrap();
    let url = database.url();
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&runs);
    let written: Result<(), Error> = store
        .write((url, counted), |(url, counted), tx| {
            Box::pin(async move {
                counters::set(tx, "a", 1).await?;
                if counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                               WHERE datname = current_database() AND pid <> pg_backend_pid()";
                    client(url).await.batch_execute(sql).await.unwrap();
                }
                counters::set(tx, "b", 2).await
            })
        })
        .await;
    written.unwrap();
    assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 2);
    assert_eq!((value(&store, "a").await, value(&store, "b").await), (Some(1), Some(2)));
    store.close().await;
    database.remove().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_says_why_without_the_password() {
    let Some(database) = Database::create().await else { return };
    let changed = |change: &dyn Fn(&mut Url)| {
        let mut url = Url::parse(&database.url()).unwrap();
        change(&mut url);
        url.to_string()
    };
    let wrong_password = changed(&|url| url.set_password(Some("hunter2")).unwrap());
    let unknown_role = changed(&|url| url.set_username("nobody_at_all").unwrap());
    let unknown_database = changed(&|url| url.set_path("no_such_database"));
    // Nobody listens at the port of a socket that was let go.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let unreachable = changed(&|url| url.set_port(Some(free)).unwrap());
    for (url, says) in [
        (wrong_password, "password"),
        (unknown_role, "nobody_at_all"),
        (unknown_database, "no_such_database"),
        (unreachable, "cannot be reached"),
    ] {
        let secret = Url::parse(&url).unwrap().password().unwrap().to_owned();
        let options = Options::at(Location::postgres(&url).unwrap(), Role::Server);
        let opened = tokio::time::timeout(Duration::from_secs(30), open(options)).await.unwrap();
        let refusal = opened.unwrap_err().to_string();
        assert!(refusal.contains(says) && !refusal.contains(&secret), "{says}: {refusal}");
    }
    database.remove().await;
}

#[tokio::test]
async fn a_role_that_may_not_write_is_for_tools_that_read() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options()).await.unwrap();
    put(&store, "a", 1).await.unwrap();
    let role = format!("reader_of_{}", database.name);
    let owner = client(&database.url()).await;
    owner
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        ))
        .await
        .unwrap();
    let mut url = Url::parse(&database.url()).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("secret")).unwrap();
    let options = |role| Options::at(Location::postgres(url.as_str()).unwrap(), role);
    let refusal = open(options(Role::Server)).await.unwrap_err().to_string();
    assert!(refusal.contains("permission denied"), "{refusal}");
    let reader = open(options(Role::Tool)).await.unwrap();
    assert_eq!(value(&reader, "a").await, Some(1));
    let refused = put(&reader, "b", 1).await.unwrap_err();
    assert!(refused.to_string().contains("counters"), "{refused}");
    reader.close().await;
    owner.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    store.close().await;
    database.remove().await;
}

/// Its rows are there for a statement that asks twice, whatever is written in between.
#[tokio::test]
async fn a_first_row_leaves_the_connection_usable() {
    let Some(database) = Database::create().await else { return };
    let store = open(database.options_with("?connections=1")).await.unwrap();
    for index in 0..500 {
        put(&store, &index.to_string(), index).await.unwrap();
    }
    for _ in 0..3 {
        let first: Result<Option<i64>, Error> = store
            .read((), |(), tx| {
                Box::pin(async move {
                    tx.first("SELECT value FROM counters ORDER BY value", params![], |row| row.int(0)).await
                })
            })
            .await;
        assert_eq!(first.unwrap(), Some(0));
    }
    store.close().await;
    database.remove().await;
}
