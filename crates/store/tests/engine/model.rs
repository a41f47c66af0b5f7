//! Random operations against a map: every engine answers as it does.

use std::collections::BTreeMap;

use lido_store::{Error, Store, params};

use crate::{Refused, counters, on_each};

/// xorshift64*: the same sequence for a seed, on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn name(&mut self) -> String {
        ["", "a", "A", "ab", "a\u{1}", "b", "Ä", "ä", "z", "\u{10FFFF}"][self.below(10) as usize].to_owned()
    }
}

/// One statement of a body.
#[derive(Clone, Debug)]
enum Step {
    Set(String, i64),
    SetUnlessThere(String, i64),
    Add(String, i64),
    Remove(String),
    RemoveRange(String, String),
}

type Model = BTreeMap<String, i64>;

/// The rows that a step changes in the model; `None` where it must fail.
fn expected(model: &mut Model, step: &Step) -> Option<u64> {
    match step {
        Step::Set(name, value) => match model.contains_key(name) {
            true => None,
            false => {
                model.insert(name.clone(), *value);
                Some(1)
            }
        },
        Step::SetUnlessThere(name, value) => {
            let new = !model.contains_key(name);
            model.entry(name.clone()).or_insert(*value);
            Some(new.into())
        }
        Step::Add(name, value) => Some(model.get_mut(name).map_or(0, |held| {
            *held += value;
            1
        })),
        Step::Remove(name) => Some(model.remove(name).is_some().into()),
        Step::RemoveRange(low, high) => {
            let before = model.len();
            model.retain(|name, _| name < low || name >= high);
            Some((before - model.len()) as u64)
        }
    }
}

/// Runs a body of steps; `keep` is whether it then succeeds. The rows that each step changed.
async fn run(store: &Store, steps: Vec<Step>, keep: bool) -> Result<Vec<u64>, Refused> {
    store
        .write((steps, keep), |(steps, keep), tx| {
            Box::pin(async move {
                let mut changed = Vec::new();
                for step in steps {
                    changed.push(match step {
                        Step::Set(name, value) => counters::set(tx, name, *value).await.map(|()| 1)?,
                        Step::SetUnlessThere(name, value) => {
                            let sql = "INSERT INTO counters (name, value) VALUES ($1, $2) \
                                       ON CONFLICT (name) DO NOTHING";
                            tx.exec(sql, params![name, *value]).await?
                        }
                        Step::Add(name, value) => {
                            let sql = "UPDATE counters SET value = value + $1 WHERE name = $2";
                            tx.exec(sql, params![*value, name]).await?
                        }
                        Step::Remove(name) => {
                            tx.exec("DELETE FROM counters WHERE name = $1", params![name]).await?
                        }
                        Step::RemoveRange(low, high) => {
                            let sql = "DELETE FROM counters WHERE name >= $1 AND name < $2";
                            tx.exec(sql, params![low, high]).await?
                        }
                    });
                }
                if *keep { Ok(changed) } else { Err(Refused::Gone) }
            })
        })
        .await
}

async fn stored(store: &Store) -> Vec<(String, i64)> {
    let rows: Result<_, Error> = store
        .read((), |(), tx| {
            Box::pin(async move {
                let sql = "SELECT name, value FROM counters ORDER BY name";
                tx.query(sql, params![], |row| Ok((row.text(0)?, row.int(1)?))).await
            })
        })
        .await;
    rows.unwrap()
}

#[tokio::test]
async fn random_bodies_do_what_they_do_to_a_map() {
    on_each(|store| async move {
        let mut random = Random(0x51ed_2701);
        let mut model = Model::new();
        for round in 0..400 {
            let steps: Vec<Step> = (0..1 + random.below(4))
                .map(|_| {
                    let (name, value) = (random.name(), random.below(1000) as i64 - 500);
                    match random.below(6) {
                        0 => Step::Set(name, value),
                        1 | 2 => Step::SetUnlessThere(name, value),
                        3 => Step::Add(name, value),
                        4 => Step::Remove(name),
                        _ => Step::RemoveRange(name, random.name()),
                    }
                })
                .collect();
            let keep = random.below(5) != 0;
            let mut after = model.clone();
            let changes: Option<Vec<u64>> = steps.iter().map(|step| expected(&mut after, step)).collect();
            let outcome = run(&store, steps.clone(), keep).await;
            match (changes, keep) {
                (None, _) => assert!(
                    matches!(outcome, Err(Refused::Store(Error::Constraint(_)))),
                    "{round}: {steps:?}: {outcome:?}"
                ),
                (Some(_), false) => {
                    assert!(matches!(outcome, Err(Refused::Gone)), "{round}: {steps:?}: {outcome:?}");
                }
                (Some(changes), true) => {
                    assert_eq!(outcome.unwrap(), changes, "{round}: {steps:?}");
                    model = after;
                }
            }
            let expected: Vec<(String, i64)> = model.clone().into_iter().collect();
            assert_eq!(stored(&store).await, expected, "{round}: {steps:?}");
        }
    })
    .await;
}
