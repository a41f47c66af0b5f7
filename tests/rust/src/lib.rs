//! Black-box tests: a running `lido`, spoken to as a user's program would.
//!
//! This crate is the harness, `tests/suite/` are the tests, one file for each capability. [`Lido`] is a
//! server process of its own, or one that the tests share; [`Pool`], [`App`], [`User`] and [`Tokens`] are
//! what a test makes in it; [`Answer`] is what it asserts on, always whole. [`Functions`] and
//! [`MailServer`] are the other ends of triggers and of e-mail.
//!
//! Servers keep their data in memory, in a directory where a test needs that, or, all of them, in databases of
//! their own where `LIDO_TEST_POSTGRES` is set: `python3 tests/postgres.py cargo test -p lido-tests`.
//!
//! Not in here: real SDKs, which are the neighbouring folders. The binary is `$LIDO_BIN`, or the `lido` beside
//! the test executable's directory: `cargo build -p lido` comes first. Nothing sleeps: tests move the
//! server's clock or wait for its inbox.

mod answer;
mod app;
mod functions;
mod inbox;
mod mail_server;
mod postgres;
mod process;
mod tokens;

pub use answer::Answer;
pub use app::{App, ClientBuilder, PASSWORD, Pool, PoolBuilder, User, UserBuilder, attributes, pairs};
pub use functions::{Functions, Invocation, Reply};
pub use inbox::Inbox;
pub use mail_server::{Mail, MailServer};
pub use postgres::{
    PostgresServer, administrator, certificates, connections, create_database, execute, on_postgres,
    with_database,
};
pub use process::{Clock, Lido, Setup, program};
pub use tokens::{Tokens, claims, header};

use serde_json::Value;

/// The members of `extra` laid over those of `base`.
pub fn merged(mut base: Value, extra: Value) -> Value {
    let members = base.as_object_mut().expect("the base is an object");
    members.extend(extra.as_object().expect("the extra is an object").clone());
    base
}

/// Randomness for a client's half of a protocol, from the system.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl lido_domain::Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        use std::io::Read;
        std::fs::File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(bytes))
            .expect("the system has randomness");
    }
}
