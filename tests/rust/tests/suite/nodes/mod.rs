//! Several servers on one database behave as one: nothing depends on which of them is reached. These tests need
//! PostgreSQL.

mod counts;
mod flows;
mod keys;
mod messages;
mod once;
mod restarts;
mod settings;

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, Setup, on_postgres};

use super::*;

const EMAIL: &str = "ana@example.com";
const WRONG: &str = "Wrong-pass-word-1";
const NEW_PASSWORD: &str = "Brand-new-pass-2";

/// Servers that share a database.
struct Nodes {
    all: Vec<Lido>,
    turn: AtomicUsize,
}

impl Nodes {
    /// None where the suite does not run on PostgreSQL.
    async fn start(setup: Setup, count: usize) -> Option<Self> {
        if !on_postgres() {
            return None;
        }
        let first = setup.start().await;
        let mut all = vec![first.clone()];
        for _ in 1..count {
            all.push(Setup::node_of(&first).start().await);
        }
        Some(Self { all, turn: AtomicUsize::new(0) })
    }

    /// Another one each time.
    fn next(&self) -> &Lido {
        &self.all[self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len()]
    }

    /// The same application, by way of each node.
    fn each(&self, app: &App) -> Vec<App> {
        self.all.iter().map(|node| app.at(node)).collect()
    }

    async fn advance(&self, seconds: i64) {
        join_all(self.all.iter().map(async |node| node.clock().advance(seconds).await)).await;
    }

    async fn set_clocks(&self, to: f64) {
        join_all(self.all.iter().map(async |node| node.clock().set(to).await)).await;
    }

    fn failed_nowhere_inside(&self) {
        for node in &self.all {
            assert!(!node.log().contains("ERROR"), "{}", node.log());
        }
    }
}

fn succeeded(answers: &[Answer]) -> Vec<&Answer> {
    answers.iter().filter(|answer| answer.is_ok()).collect()
}

/// Asserts that one of them succeeded, and each other was refused with one of these.
#[track_caller]
fn once(answers: &[Answer], refusals: &[Refusal]) {
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        let code = answer.code().unwrap_or_default();
        match refusals.iter().find(|(_, message)| answer.body["message"] == *message) {
            Some(refusal) => refused(answer, *refusal),
            None => panic!("{}: {code} {}", answer.operation, answer.text),
        }
    }
    assert_eq!(succeeded(answers).len(), 1, "{}", answers[0].operation);
}
