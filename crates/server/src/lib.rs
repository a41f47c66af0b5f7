//! HTTP, and nothing but HTTP: sockets, the AWS JSON protocol, signatures, the issuer's documents,
//! health, metrics and the development control API.
//!
//! Not in here: what an operation does (`lido-idp`), SQL, and how settings are read (the binary).
//!
//! Start with [`serve`](serve::serve), which owns the listeners, and `App::respond` in [`app`], which
//! sends a request to its room: `api.rs` for `POST /`, `issuer.rs` for `/.well-known/`, `control.rs` for
//! `/_lido/`. Signatures are verified in [`sigv4`].

mod api;
pub mod app;
mod control;
pub mod dev_clock;
mod issuer;
mod metrics;
mod origin;
pub mod serve;
pub mod sigv4;
mod timestamp;

pub use app::{Access, App};
pub use dev_clock::DevClock;
pub use serve::{Listeners, serve};
