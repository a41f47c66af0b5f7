//! What holds on every engine.

use std::time::Duration;

use futures_util::future::join_all;
use lido_domain::{ClientId, Millis, PoolId, Sub};
use lido_store::engine::Migration;
use lido_store::{Error, Options, Row, Store, Tx, Value, params};

use crate::{FIRST, Place, Refused, SECOND, count, counters, on_each, open, put, value};

#[tokio::test]
async fn the_usual_form_of_a_write_needs_no_annotations() {
    struct User {
        sub: Sub,
    }
    async fn add(tx: &mut Tx, user: &User, digest: &[u8]) -> Result<u64, Error> {
        tx.exec("INSERT INTO things (id, seal) VALUES ($1, $2)", params![&user.sub, digest]).await
    }
    on_each(|store| async move {
        put(&store, "code", 1).await.unwrap();
        let user = User { sub: Sub::new("a") };
        let digest = vec![1u8, 2, 3];
        let written: Result<u64, Refused> = store
            .write((user, digest), |(user, digest), tx| {
                Box::pin(async move {
                    counters::consume(tx, "code").await?;
                    Ok(add(tx, user, digest).await?)
                })
            })
            .await;
        assert_eq!(written.unwrap(), 1);
        let again =
            store.write("code", |name, tx| Box::pin(async move { counters::consume(tx, name).await })).await;
        assert!(matches!(again, Err(Refused::Gone)));
        let failed = store
            .write("code", |name, tx| {
                Box::pin(async move {
                    tx.exec("DELETE FROM nothing WHERE name = $1", params![*name]).await?;
                    counters::consume(tx, name).await
                })
            })
            .await;
        assert!(matches!(&failed, Err(Refused::Store(Error::Engine(text))) if text.contains("nothing")));
    })
    .await;
}

#[tokio::test]
async fn futures_of_the_store_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let store = open(Options::memory()).await.unwrap();
    is_send(put(&store, "a", 1)).await.unwrap();
    is_send(value(&store, "a")).await;
    is_send(store.ping()).await.unwrap();
    is_send(store.close()).await;
}

#[tokio::test]
async fn a_column_of_another_kind_is_an_error() {
    on_each(|store| async move {
        put(&store, "a", 1).await.unwrap();
        let wrong = store
            .read((), |(), tx| {
                Box::pin(
                    async move { tx.first("SELECT value FROM counters", params![], |row| row.text(0)).await },
                )
            })
            .await;
        assert!(matches!(wrong, Err(Error::Engine(_))), "{wrong:?}");
    })
    .await;
}

#[tokio::test]
async fn a_refused_body_leaves_nothing() {
    on_each(|store| async move {
        let refused: Result<(), Refused> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    counters::set(tx, "a", 1).await?;
                    counters::set(tx, "b", 2).await?;
                    Err(Refused::Gone)
                })
            })
            .await;
        assert!(matches!(refused, Err(Refused::Gone)));
        assert_eq!(count(&store).await, 0);
        put(&store, "a", 1).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_read_changes_nothing() {
    on_each(|store| async move {
        let changed: Result<(), Error> =
            store.read((), |(), tx| Box::pin(async move { counters::set(tx, "a", 1).await })).await;
        assert!(matches!(&changed, Err(Error::Engine(text)) if text.contains("a read")), "{changed:?}");
        assert_eq!(count(&store).await, 0);
        put(&store, "a", 1).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_sees_every_acknowledged_write() {
    on_each(|store| async move {
        let tasks = (0..8).map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for index in 0..50 {
                    let name = format!("{task}/{index}");
                    put(&store, &name, index).await.unwrap();
                    assert_eq!(value(&store, &name).await, Some(index));
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        assert_eq!(count(&store).await, 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_200_that_consume_one_row_one_wins() {
    on_each(|store| async move {
        put(&store, "code", 1).await.unwrap();
        let tasks = (0..200).map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write(task, |task, tx| {
                        Box::pin(async move {
                            counters::consume(tx, "code").await?;
                            counters::set(tx, "winner", *task).await?;
                            Ok::<_, Refused>(())
                        })
                    })
                    .await
            })
        });
        let outcomes = join_all(tasks).await;
        let won: Vec<_> = (0..).zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Ok(Ok(())))).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(value(&store, "winner").await, Some(won[0].0));
        let lost = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Err(Refused::Gone)))).count();
        assert_eq!(lost, 199);
    })
    .await;
}

#[tokio::test]
async fn constraints_are_told_apart() {
    on_each(|store| async move {
        put(&store, "a", 1).await.unwrap();
        let double = put(&store, "a", 2).await;
        assert!(matches!(&double, Err(Error::Constraint(text)) if text.contains("counters")), "{double:?}");
        let orphan: Result<u64, Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    tx.exec("INSERT INTO things (id, counter) VALUES ($1, $2)", params!["t", "none"]).await
                })
            })
            .await;
        assert!(matches!(orphan, Err(Error::Constraint(_))), "{orphan:?}");
        let without: Result<u64, Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    tx.exec("INSERT INTO counters (name, value) VALUES ($1, $2)", params!["n", Value::Null])
                        .await
                })
            })
            .await;
        assert!(matches!(without, Err(Error::Engine(_))), "{without:?}");
    })
    .await;
}

#[tokio::test]
async fn a_statement_that_writes_is_run_to_its_end() {
    on_each(|store| async move {
        let added: Result<(Option<i64>, Vec<i64>), Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let sql = "INSERT INTO counters (name, value) VALUES ($1, $2), ($3, $4) RETURNING value";
                    let first = tx.first(sql, params!["a", 1, "b", 2], |row| row.int(0)).await?;
                    let all = tx.query(sql, params!["c", 3, "d", 4], |row| row.int(0)).await?;
                    Ok((first, all))
                })
            })
            .await;
        assert_eq!(added.unwrap(), (Some(1), vec![3, 4]));
        assert_eq!(count(&store).await, 4);
        // The foreign key is checked after the last row was returned.
        let orphan = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let sql = "INSERT INTO things (id, counter) VALUES ($1, $2) RETURNING id";
                    tx.first(sql, params!["t", "none"], |row| row.text(0)).await
                })
            })
            .await;
        assert!(matches!(orphan, Err(Error::Constraint(_))), "{orphan:?}");
    })
    .await;
}

#[tokio::test]
async fn quotes_name_columns_only() {
    on_each(|store| async move {
        put(&store, "a", 1).await.unwrap();
        let typo: Result<Option<String>, Error> = store
            .read((), |(), tx| {
                Box::pin(async move {
                    tx.first("SELECT name FROM counters WHERE \"nmae\" = $1", params!["a"], |row| row.text(0))
                        .await
                })
            })
            .await;
        assert!(matches!(&typo, Err(Error::Engine(text)) if text.contains("nmae")), "{typo:?}");
    })
    .await;
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    on_each(|store| async move {
        put(&store, "c", 1).await.unwrap();
        let written: Result<(), Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    let sql = "INSERT INTO things (id, body, seal, at, flag, counter) VALUES ($1, $2, $3, $4, $5, $6)";
                    let (body, seal) = (String::from("{\"k\":\"ü\"}"), vec![0u8, 255]);
                    tx.exec(sql, params![&PoolId::new("p_1"), &body, &seal, Millis(7), true, Some("c")]).await?;
                    let nothing: Option<&str> = None;
                    tx.exec(sql, params![&ClientId::new("c1"), nothing, Value::Null, None::<i64>, 0, nothing])
                        .await?;
                    Ok(())
                })
            })
            .await;
        written.unwrap();
        let rows = store
            .read((), |(), tx| {
                Box::pin(async move {
                    let sql = "SELECT id, body, seal, at, flag, counter FROM things ORDER BY id DESC";
                    tx.query(sql, params![], |row: &Row<'_>| {
                        let seal = row.opt_bytes(2)?;
                        let moment = row.opt_millis(3)?;
                        Ok((row.text(0)?, row.opt_text(1)?, seal, moment, row.flag(4)?, row.opt_text(5)?))
                    })
                    .await
                })
            })
            .await;
        let rows: Vec<_> = rows.unwrap_or_else(|error: Error| panic!("{error}"));
        assert_eq!(rows.len(), 2);
        let body = Some("{\"k\":\"ü\"}".to_owned());
        assert_eq!(rows[0], ("p_1".into(), body, Some(vec![0, 255]), Some(Millis(7)), true, Some("c".into())));
        assert_eq!(rows[1], ("c1".into(), None, None, None, false, None));
    })
    .await;
}

#[tokio::test]
async fn every_text_number_and_byte_comes_back() {
    on_each(|store| async move {
        let texts = [
            "",
            " ",
            "\0",
            "a\0b",
            "\u{FFFE}",
            "\u{FFFE}0\0\u{FFFE}1",
            "\u{FEFF}\u{FFFF}\u{10FFFF}",
            "'\"\\%_$1",
            "İıß\r\n\t",
            "👩‍👩‍👧",
        ];
        let long = "ä".repeat(100_000);
        for (index, text) in (0..).zip(texts.into_iter().chain([long.as_str()])) {
            let numbers = [0, 1, -1, i64::MAX, i64::MIN, 1 << 53];
            let number = numbers[index % numbers.len()];
            let bytes: Vec<u8> = (0..=255).cycle().take(index * 1000).collect();
            let back = store
                .write((text.to_owned(), number, bytes.clone()), |(text, number, bytes), tx| {
                    Box::pin(async move {
                        let sql = "INSERT INTO things (id, body, at, seal) VALUES ($1, $2, $3, $4)";
                        tx.exec(sql, params![text, text, *number, bytes]).await?;
                        let sql = "SELECT id, body, at, seal FROM things WHERE id = $1 AND body = $2";
                        tx.first(sql, params![text, text], |row| {
                            Ok((row.text(0)?, row.text(1)?, row.int(2)?, row.bytes(3)?))
                        })
                        .await
                    })
                })
                .await;
            let back = back.unwrap_or_else(|error: Error| panic!("{text:.40}: {error}"));
            assert_eq!(back, Some((text.to_owned(), text.to_owned(), number, bytes)));
        }
    })
    .await;
}

/// By code points, on any machine: pages begin after a key.
#[tokio::test]
async fn keys_sort_alike_everywhere() {
    on_each(|store| async move {
        let sorted = ["", "A", "B", "a", "a b", "a-b", "aB", "ab", "b", "Ä", "ä", "ｚ", "😀"];
        for name in sorted.iter().rev() {
            put(&store, name, 1).await.unwrap();
        }
        let names = store
            .read((), |(), tx| {
                Box::pin(async move {
                    let sql = "SELECT name FROM counters WHERE name > $1 ORDER BY name";
                    tx.query(sql, params!["A"], |row| row.text(0)).await
                })
            })
            .await;
        assert_eq!(names.unwrap_or_else(|error: Error| panic!("{error}")), sorted[2..]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_body_has_its_own_outcome() {
    on_each(|store| async move {
        put(&store, "taken", 0).await.unwrap();
        let writes = (0..100).map(|index| {
            let name = if index % 10 == 3 { "taken".to_owned() } else { format!("n{index}") };
            let store = store.clone();
            tokio::spawn(async move { put(&store, &name, index).await })
        });
        for (index, write) in join_all(writes).await.into_iter().enumerate() {
            let outcome = write.unwrap();
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
async fn a_panic_leaves_nothing_and_hurts_nobody_else() {
    on_each(|store| async move {
        put(&store, "before", 1).await.unwrap();
        let panicked: Result<(), Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    counters::set(tx, "undone", 1).await?;
                    assert!(counters::value(tx, "undone").await?.is_none(), "on purpose");
                    Ok(())
                })
            })
            .await;
        assert!(matches!(&panicked, Err(Error::Engine(text)) if text.contains("panicked")), "{panicked:?}");
        // A reader's panic may reach the reader; its connection is not used again, or used with care.
        for _ in 0..20 {
            let reader = store.clone();
            let panicked = tokio::spawn(async move {
                reader.read((), |(), _| Box::pin(async move { panic!("while reading") })).await
            });
            let panicked: Result<Result<(), Error>, _> = panicked.await;
            assert!(matches!(&panicked, Err(_) | Ok(Err(Error::Engine(_)))), "{panicked:?}");
        }
        assert_eq!(value(&store, "undone").await, None);
        assert_eq!(value(&store, "before").await, Some(1));
        put(&store, "after", 1).await.unwrap();
    })
    .await;
}

/// A body reads and then writes what it has concluded; none of the others comes in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_read_still_holds_when_it_is_written() {
    on_each(|store| async move {
        put(&store, "sum", 0).await.unwrap();
        let additions = (0..60).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                store
                    .write((), |(), tx| {
                        Box::pin(async move {
                            let before = counters::value(tx, "sum").await?.unwrap();
                            counters::change(tx, "sum", before + 1).await
                        })
                    })
                    .await
            })
        });
        for added in join_all(additions).await {
            let added: Result<u64, Error> = added.unwrap();
            added.unwrap();
        }
        assert_eq!(value(&store, "sum").await, Some(60));

        // Each of two may go only if the other stays: rows that neither of them writes both.
        for round in 0..20 {
            let pair = [format!("{round}/left"), format!("{round}/right")];
            for name in &pair {
                put(&store, name, 1).await.unwrap();
            }
            let both = [(pair[0].clone(), pair[1].clone()), (pair[1].clone(), pair[0].clone())];
            let leaving = both.map(|names| {
                let store = store.clone();
                tokio::spawn(async move {
                    let left: Result<(), Refused> = store
                        .write(names, |(own, other), tx| {
                            Box::pin(async move {
                                match counters::value(tx, other).await? {
                                    Some(1) => {
                                        counters::change(tx, own, 0).await?;
                                        Ok(())
                                    }
                                    _ => Err(Refused::Gone),
                                }
                            })
                        })
                        .await;
                    left
                })
            });
            let left = join_all(leaving).await.into_iter().filter(|left| matches!(left, Ok(Ok(())))).count();
            assert_eq!(left, 1, "round {round}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_write_whose_caller_goes_away_is_done() {
    on_each(|store| async move {
        {
            let mut write = Box::pin(put(&store, "a", 1));
            // Ready at once only if it is done.
            let _ = futures_util::poll!(&mut write);
        }
        let done = async {
            while value(&store, "a").await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), done).await.expect("the body has run");
    })
    .await;
}

#[tokio::test]
async fn wrong_placeholders_are_refused() {
    on_each(|store| async move {
        let few: Result<u64, Error> = store
            .write((), |(), tx| {
                Box::pin(async move {
                    tx.exec("UPDATE counters SET value = $1 WHERE name = $2", params![1]).await
                })
            })
            .await;
        assert!(matches!(&few, Err(Error::Engine(_))), "{few:?}");
        put(&store, "a", 1).await.unwrap();
        let twice: Result<Option<i64>, Error> = store
            .read((), |(), tx| {
                Box::pin(async move {
                    let sql = "SELECT value + $1 + $2 + $1 FROM counters";
                    tx.first(sql, params![1, 10], |row| row.int(0)).await
                })
            })
            .await;
        assert_eq!(twice.unwrap(), Some(13));
    })
    .await;
}

#[tokio::test]
async fn a_closed_store_says_so_and_what_it_has_is_there_again() {
    for place in Place::each().await {
        let store = open(place.options.clone()).await.unwrap();
        let writes: Vec<_> = (0..20)
            .map(|index| {
                let store = store.clone();
                tokio::spawn(async move { put(&store, &index.to_string(), index).await })
            })
            .collect();
        tokio::task::yield_now().await;
        store.close().await;
        let mut stored = 0;
        for write in writes {
            match write.await.unwrap() {
                Ok(()) => stored += 1,
                Err(refusal) => assert!(matches!(refusal, Error::Closed), "{refusal:?}"),
            }
        }
        assert!(matches!(put(&store, "late", 1).await, Err(Error::Closed)));
        assert!(matches!(store.ping().await, Err(Error::Closed)));
        let late: Result<(), Error> =
            store.read((), |(), tx| Box::pin(async move { counters::value(tx, "0").await.map(drop) })).await;
        assert!(matches!(late, Err(Error::Closed)), "{late:?}");
        store.close().await;
        if place.lasts() {
            let store = open(place.options.clone()).await.unwrap();
            assert_eq!(count(&store).await, stored);
            store.ping().await.unwrap();
            store.close().await;
        }
        place.remove().await;
    }
}

// ---- Migrations ------------------------------------------------------------------------------

#[tokio::test]
async fn migrations_are_applied_once_and_in_order() {
    for place in Place::each_that_lasts().await {
        let store = Store::open_with_migrations(place.options.clone(), &[FIRST]).await.unwrap();
        put(&store, "a", 1).await.unwrap();
        store.close().await;
        for _ in 0..2 {
            let store = open(place.options.clone()).await.unwrap();
            let applied = store
                .read((), |(), tx| {
                    Box::pin(async move {
                        let sql = "SELECT version, name, checksum, applied_ms FROM schema_migrations \
                                   WHERE version > 0 ORDER BY version";
                        tx.query(sql, params![], |row| {
                            assert_eq!(row.text(2)?.len(), 64);
                            assert!(row.millis(3)? > Millis::default());
                            Ok((row.int(0)?, row.text(1)?))
                        })
                        .await
                    })
                })
                .await;
            let applied = applied.unwrap_or_else(|error: Error| panic!("{error}"));
            assert_eq!(applied, [(1, "counters".to_owned()), (2, "notes".to_owned())]);
            assert_eq!(count(&store).await, 1);
            store.close().await;
        }
        place.remove().await;
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    for place in Place::each_that_lasts().await {
        open(place.options.clone()).await.unwrap().close().await;
        for options in [place.options.clone(), place.tool()] {
            let older = Store::open_with_migrations(options, &[FIRST]).await;
            assert!(matches!(older, Err(Error::SchemaTooNew { found: 2, known: 1 })), "{older:?}");
            assert!(older.unwrap_err().to_string().contains("version 2"));
        }
        open(place.options.clone()).await.unwrap().close().await;
        place.remove().await;
    }
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    for place in Place::each_that_lasts().await {
        open(place.options.clone()).await.unwrap().close().await;
        let edited = Migration { sql: "CREATE TABLE counters (name TEXT)", ..FIRST };
        let opened = Store::open_with_migrations(place.options.clone(), &[edited, SECOND]).await;
        assert!(
            matches!(&opened, Err(Error::Migration(text)) if text.contains("migration 1 (counters)")),
            "{opened:?}"
        );
        place.remove().await;
    }
}

#[tokio::test]
async fn a_failed_migration_leaves_the_schema_as_it_was() {
    for place in Place::each_that_lasts().await {
        let broken =
            Migration { sql: "CREATE TABLE notes (id BIGINT); CREATE TABLE counters (id BIGINT)", ..SECOND };
        let opened = Store::open_with_migrations(place.options.clone(), &[FIRST, broken]).await;
        assert!(
            matches!(&opened, Err(Error::Migration(text)) if text.contains("already exists")),
            "{opened:?}"
        );
        open(place.options.clone()).await.unwrap().close().await;
        place.remove().await;
    }
}

/// A command beside the server reads and writes what is there, and changes no schema.
#[tokio::test]
async fn a_tool_works_beside_a_server_and_migrates_nothing() {
    for place in Place::each_that_lasts().await {
        let server = Store::open_with_migrations(place.options.clone(), &[FIRST]).await.unwrap();
        let early = open(place.tool()).await;
        assert!(matches!(early, Err(Error::SchemaTooOld { found: 1, known: 2 })), "{early:?}");
        server.close().await;
        let server = open(place.options.clone()).await.unwrap();
        put(&server, "a", 1).await.unwrap();
        let tool = open(place.tool()).await.unwrap();
        assert_eq!(value(&tool, "a").await, Some(1));
        put(&tool, "b", 2).await.unwrap();
        assert_eq!(value(&server, "b").await, Some(2));
        tool.close().await;
        put(&server, "c", 3).await.unwrap();
        server.close().await;
        place.remove().await;
    }
}
