//! What SQLite promises beyond that: groups with one fsync, its log, its files.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::join_all;
use lido_store::engine::Location;
use lido_store::{Error, Options, Store, params};

use crate::{count, counters, open, put, value};

async fn in_memory() -> Store {
    open(Options::memory()).await.unwrap()
}

async fn in_directory(directory: &Path) -> Store {
    open(Options::directory(directory)).await.unwrap()
}

/// Runs the test on a file and in memory.
async fn on_both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let directory = tempfile::tempdir().unwrap();
    for store in [in_directory(directory.path()).await, in_memory().await] {
        test(store.clone()).await;
        store.close().await;
    }
}

/// Keeps the writer busy until the answer is dropped or used.
async fn hold(store: &Store) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let shared = std::sync::Mutex::new((held, Some(started)));
    let holder = store.clone();
    tokio::spawn(async move {
        holder
            .write(shared, |shared, _| {
                Box::pin(async move {
                    let mut shared = shared.lock().unwrap();
                    let _ = shared.1.take().unwrap().send(());
                    let _ = shared.0.recv();
                    Ok::<_, Error>(())
                })
            })
            .await
    });
    running.await.unwrap();
    // Its group is closed by time then, and what waits behind it shares the next one.
    tokio::time::sleep(Duration::from_millis(3)).await;
    release
}

#[tokio::test]
async fn each_body_of_a_group_has_its_own_outcome() {
    on_both(|store| async move {
        put(&store, "taken", 0).await.unwrap();
        let release = hold(&store).await;
        let writes = (0..100).map(|index| {
            let name = if index % 10 == 3 { "taken".to_owned() } else { format!("n{index}") };
            let store = store.clone();
            tokio::spawn(async move { put(&store, &name, index).await })
        });
        let writes: Vec<_> = writes.collect();
        tokio::task::yield_now().await;
        drop(release);
        for (index, write) in writes.into_iter().enumerate() {
            let outcome = write.await.unwrap();
            if index % 10 == 3 {
                assert!(matches!(outcome, Err(Error::Constraint(_))), "{index}: {outcome:?}");
            } else {
                outcome.unwrap();
                assert_eq!(value(&store, &format!("n{index}")).await, Some(index as i64));
            }
        }
        assert_eq!(count(&store).await, 91);
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_undone_and_hurts_nobody_else() {
    on_both(|store| async move {
        let release = hold(&store).await;
        let before = tokio::spawn({
            let store = store.clone();
            async move { put(&store, "before", 1).await }
        });
        tokio::task::yield_now().await;
        let panics = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .write((), |(), tx| {
                        Box::pin(async move {
                            counters::set(tx, "undone", 1).await?;
                            assert!(counters::value(tx, "undone").await?.is_none(), "on purpose");
                            Ok::<_, Error>(())
                        })
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        drop(release);
        let panicked = panics.await.unwrap();
        assert!(matches!(&panicked, Err(Error::Engine(text)) if text.contains("on purpose")), "{panicked:?}");
        before.await.unwrap().unwrap();
        assert_eq!(value(&store, "undone").await, None);

        let panicked: Result<(), Error> =
            store.read((), |(), _| Box::pin(async move { panic!("while reading") })).await;
        assert!(matches!(&panicked, Err(Error::Engine(text)) if text.contains("while reading")));
        assert_eq!(value(&store, "before").await, Some(1));
    })
    .await;
}

#[tokio::test]
async fn a_body_that_awaits_something_else_is_refused() {
    on_both(|store| async move {
        let slept: Result<(), Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    counters::set(tx, "undone", 1).await?;
                    std::future::pending::<()>().await;
                    Ok(())
                })
            })
            .await;
        let text = "the body awaited something other than its transaction";
        assert!(matches!(&slept, Err(Error::Engine(said)) if said == text), "{slept:?}");
        let slept: Result<(), Error> = store
            .read((), |(), _| {
                Box::pin(async move {
                    std::future::pending::<()>().await;
                    Ok(())
                })
            })
            .await;
        assert!(matches!(&slept, Err(Error::Engine(said)) if said == text), "{slept:?}");
        assert_eq!(count(&store).await, 0);
        put(&store, "after", 1).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_body_cannot_end_the_transaction_of_its_neighbours() {
    on_both(|store| async move {
        let ended: Result<u64, Error> =
            store.write((), |(), tx| Box::pin(async move { tx.exec("COMMIT", params![]).await })).await;
        assert!(matches!(ended, Err(Error::Engine(_))), "{ended:?}");
        let rolled: Result<u64, Error> =
            store.write((), |(), tx| Box::pin(async move { tx.exec("ROLLBACK", params![]).await })).await;
        assert!(matches!(rolled, Err(Error::Engine(_))), "{rolled:?}");
        put(&store, "after", 1).await.unwrap();
    })
    .await;
}

/// Starts a write and lets it get as far as the queue.
async fn queue(store: &Store, name: &'static str) -> tokio::task::JoinHandle<Result<(), Error>> {
    let store = store.clone();
    let task = tokio::spawn(async move { put(&store, name, 1).await });
    tokio::task::yield_now().await;
    task
}

#[tokio::test]
async fn a_full_disk_fails_the_group_and_not_the_writer() {
    on_both(|store| async move {
        put(&store, "earlier", 1).await.unwrap();
        let release = hold(&store).await;
        let before = queue(&store, "before").await;
        let filling = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .write("x".repeat(100_000), |body, tx| {
                        Box::pin(async move {
                            tx.first("PRAGMA max_page_count = 20", params![], |row| row.int(0)).await?;
                            let sql = "INSERT INTO things (id, body) VALUES ($1, $2)";
                            tx.exec(sql, params!["big", body]).await
                        })
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        drop(release);
        let filled: Result<u64, Error> = filling.await.unwrap();
        assert!(matches!(filled, Err(Error::Full)), "{filled:?}");
        assert!(matches!(before.await.unwrap(), Err(Error::Full)), "it shared the transaction");
        assert_eq!(value(&store, "before").await, None);
        assert_eq!(value(&store, "earlier").await, Some(1));
        put(&store, "after", 1).await.unwrap();
        store.ping().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_failed_commit_is_everybodys_answer() {
    on_both(|store| async move {
        let release = hold(&store).await;
        let before = queue(&store, "before").await;
        let orphaning = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .write((), |(), tx| {
                        Box::pin(async move {
                            // Puts the check off until COMMIT, which then fails.
                            tx.exec("PRAGMA defer_foreign_keys = ON", params![]).await?;
                            let sql = "INSERT INTO things (id, counter) VALUES ($1, $2)";
                            tx.exec(sql, params!["orphan", "none"]).await
                        })
                    })
                    .await
            }
        });
        tokio::task::yield_now().await;
        let after = queue(&store, "after").await;
        drop(release);
        let orphaned: Result<u64, Error> = orphaning.await.unwrap();
        for outcome in [orphaned.map(|_| ()), before.await.unwrap(), after.await.unwrap()] {
            assert!(matches!(outcome, Err(Error::Constraint(_))), "{outcome:?}");
        }
        assert_eq!(count(&store).await, 0);
        put(&store, "before", 1).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_foreign_lock_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_directory(directory.path()).await;
    let foreign = rusqlite::Connection::open(directory.path().join("lido.db")).unwrap();
    foreign.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = queue(&store, "a").await;
    assert_eq!(count(&store).await, 0, "readers do not wait");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    foreign.execute_batch("COMMIT").unwrap();
    waiting.await.unwrap().unwrap();
    drop(foreign);
    store.close().await;
}

#[tokio::test]
async fn a_read_keeps_its_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_directory(directory.path()).await;
    put(&store, "a", 1).await.unwrap();
    let (looked, has_looked) = mpsc::channel::<()>();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let reader = std::thread::spawn({
        let store = store.clone();
        move || {
            let shared = std::sync::Mutex::new((looked, may_go_on));
            futures_util::future::FutureExt::now_or_never(store.read(shared, |shared, tx| {
                Box::pin(async move {
                    let first = counters::value(tx, "a").await?;
                    {
                        let shared = shared.lock().unwrap();
                        shared.0.send(()).unwrap();
                        shared.1.recv().unwrap();
                    }
                    let second = counters::value(tx, "a").await?;
                    Ok::<_, Error>((first, second, counters::value(tx, "b").await?))
                })
            }))
        }
    });
    has_looked.recv().unwrap();
    put(&store, "b", 2).await.unwrap();
    let changed: Result<u64, Error> = store
        .write((), |(), tx| {
            Box::pin(async move {
                tx.exec("UPDATE counters SET value = $1 WHERE name = $2", params![9, "a"]).await
            })
        })
        .await;
    assert_eq!(changed.unwrap(), 1);
    go_on.send(()).unwrap();
    let seen = reader.join().unwrap().expect("a read of a file is ready at once").unwrap();
    assert_eq!(seen, (Some(1), Some(1), None));
    assert_eq!(value(&store, "a").await, Some(9));
    assert_eq!(value(&store, "b").await, Some(2));
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let store = open(Options { queue: 3, ..Options::memory() }).await.unwrap();
    let release = hold(&store).await;
    let waiting: Vec<_> = (0..3)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &index.to_string(), index).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(matches!(put(&store, "more", 1).await, Err(Error::Busy)));
    drop(release);
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    assert_eq!(count(&store).await, 3);
    put(&store, "more", 1).await.unwrap();
}

#[tokio::test]
async fn a_write_whose_caller_goes_away_is_done() {
    on_both(|store| async move {
        let release = hold(&store).await;
        {
            let mut write = Box::pin(put(&store, "a", 1));
            assert!(futures_util::poll!(&mut write).is_pending());
        }
        drop(release);
        put(&store, "b", 1).await.unwrap();
        assert_eq!(value(&store, "a").await, Some(1));
    })
    .await;
}

#[tokio::test]
async fn closing_completes_what_waits_and_reopening_finds_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/when/missing");
    let store = in_directory(&path).await;
    let release = hold(&store).await;
    let waiting: Vec<_> = (0..20)
        .map(|index| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &index.to_string(), index).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let closing = tokio::spawn({
        let store = store.clone();
        async move { store.close().await }
    });
    tokio::task::yield_now().await;
    drop(release);
    closing.await.unwrap();
    for write in waiting {
        write.await.unwrap().unwrap();
    }
    assert!(matches!(put(&store, "late", 1).await, Err(Error::Closed)));
    assert!(matches!(store.ping().await, Err(Error::Closed)));
    let late: Result<(), Error> = store.read((), |(), _| Box::pin(async { Ok(()) })).await;
    assert!(matches!(late, Err(Error::Closed)));
    store.close().await;
    assert!(!path.join("lido.db-wal").exists(), "the log is emptied");

    let store = in_directory(&path).await;
    assert_eq!(count(&store).await, 20);
    store.ping().await.unwrap();
    store.close().await;
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let store = in_directory(&path).await;
    put(&store, "a", 1).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for file in ["lido.db", "lido.db-wal", "lido.lock"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    store.close().await;
}

#[tokio::test]
async fn one_process_per_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_directory(directory.path()).await;
    let second = open(Options::directory(directory.path())).await;
    assert!(matches!(&second, Err(Error::InUse(path)) if path == directory.path()), "{second:?}");
    put(&store, "a", 1).await.unwrap();
    store.close().await;
    in_directory(directory.path()).await.close().await;
}

#[tokio::test]
async fn memory_stores_are_apart() {
    let (one, other) = (in_memory().await, in_memory().await);
    put(&one, "a", 1).await.unwrap();
    assert_eq!(count(&other).await, 0);
    assert_eq!(Options::memory().path, Location::Memory);
}

#[tokio::test]
async fn a_ping_waits_for_its_turn_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_directory(directory.path()).await;
    let log = directory.path().join("lido.db-wal");
    let before = log.metadata().unwrap().len();
    for _ in 0..10 {
        store.ping().await.unwrap();
    }
    assert_eq!(log.metadata().unwrap().len(), before);
    let release = hold(&store).await;
    let mut ping = Box::pin(store.ping());
    assert!(futures_util::poll!(&mut ping).is_pending());
    drop(release);
    ping.await.unwrap();
    store.close().await;
}

/// Writers never stop and readers never stop, and still the log starts over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_stays_short_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let store = in_directory(directory.path()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let reader = tokio::spawn({
        let (store, stop) = (store.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                value(&store, "0/0").await;
                tokio::task::yield_now().await;
            }
        }
    });
    let body = "x".repeat(3000);
    let writers = (0..32).map(|task| {
        let (store, written, body) = (store.clone(), Arc::clone(&written), body.clone());
        tokio::spawn(async move {
            for index in 0..1000 {
                let done: Result<u64, Error> = store
                    .write((format!("{task}/{index}"), body.clone()), |(id, body), tx| {
                        Box::pin(async move {
                            tx.exec("INSERT INTO things (id, body) VALUES ($1, $2)", params![id, body]).await
                        })
                    })
                    .await;
                done.unwrap();
                written.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    reader.await.unwrap();
    // 32 000 rows of 3 kB are some 130 MB of pages, without counting the inner ones.
    let log = directory.path().join("lido.db-wal").metadata().unwrap().len();
    assert!(log < 64 << 20, "the log has grown to {} MB", log >> 20);
    store.close().await;
}

#[tokio::test]
async fn placeholders_first_appear_in_order() {
    if cfg!(debug_assertions) {
        let order: Result<Option<i64>, Error> = in_memory()
            .await
            .read((), |(), tx| {
                Box::pin(async move { tx.first("SELECT $2 - $1", params![1, 10], |row| row.int(0)).await })
            })
            .await;
        assert!(matches!(&order, Err(Error::Engine(text)) if text.contains("first appear")), "{order:?}");
    }
}

const CHILD: &str = "LIDO_STORE_TEST_DIRECTORY";

/// Not a test of its own: the process that the next test kills. It prints each name after the
/// store acknowledged it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = in_directory(Path::new(&directory)).await;
    let round = count(&store).await;
    let writers = (0..16).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            for index in 0.. {
                let name = format!("{round}/{task}/{index}");
                put(&store, &name, index).await.unwrap();
                println!("acknowledged {name}");
            }
        })
    });
    join_all(writers).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..5u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["sqlite::child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut seen = 0;
        // Some rounds are killed early, some with a log of several passes.
        let enough = 50 + 400 * round * round;
        for line in lines.by_ref() {
            if let Some((_, name)) = line.split_once("acknowledged ") {
                acknowledged.push(name.to_owned());
                seen += 1;
                if seen == enough {
                    break;
                }
            }
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        // A name is complete if its line ended before the kill.
        acknowledged.extend(
            lines.filter_map(|line| line.split_once("acknowledged ").map(|(_, name)| name.to_owned())),
        );
        acknowledged.pop();
        assert!(seen == enough, "the child ended by itself");

        let store = in_directory(directory.path()).await;
        for name in &acknowledged {
            assert!(value(&store, name).await.is_some(), "{name} was acknowledged and is gone");
        }
        let sound = store
            .read((), |(), tx| {
                Box::pin(
                    async move { tx.first("PRAGMA integrity_check", params![], |row| row.text(0)).await },
                )
            })
            .await;
        assert_eq!(sound.unwrap_or_else(|error: Error| panic!("{error}")).as_deref(), Some("ok"));
        store.close().await;
    }
}
