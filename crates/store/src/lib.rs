//! The only SQL of Lido: one file for each kind of record, one text for every engine.
//!
//! A record file holds functions over [`Tx`]: statements and row mapping, no decisions. The engine
//! ([`engine`]) runs them: reads in a snapshot, writes in a group that shares one fsync. Nothing
//! here knows Cognito's rules or seals anything: secrets arrive sealed or hashed.
//!
//! Start with [`users`] for the way a record file reads, and [`engine`] for `Store::read` and
//! `Store::write`.

pub mod bounded;
pub mod clients;
pub mod codes;
pub mod data_keys;
pub mod engine;
mod error;
pub mod groups;
pub mod installation;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod pools;
pub mod sealed;
pub mod search;
pub mod sessions;
pub mod transfer;
pub mod users;

pub use engine::{Address, Location, Options, Role, Row, Store, Tx, Value, backup};
pub use error::Error;

/// What every function over [`Tx`] returns.
pub type Result<T> = std::result::Result<T, Error>;
