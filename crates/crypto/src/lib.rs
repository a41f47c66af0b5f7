//! The mathematics of sign-in: SRP and password verifiers, sealing of stored secrets, keyed hashes,
//! signed tokens, the secret hash of app clients, time-based codes.
//!
//! Everything here is a pure function or an immutable value: no clock, no network, no SQL, no global
//! randomness (callers pass a [`Random`](lido_domain::Random)). The algorithms themselves come from AWS-LC;
//! what is written here is the protocol around them. Whether a password is acceptable, what a token claims,
//! and where a sealed value is kept is decided elsewhere.
//!
//! Start with [`keys`] for what protects data at rest, [`srp`] for how a password is proven, [`jws`] for
//! tokens. [`bignum`] holds the only `unsafe` code of the project, behind a safe type.

pub mod bignum;
pub mod jws;
pub mod keys;
pub mod seal;
pub mod secret_hash;
pub mod srp;
pub mod totp;

pub use seal::constant_time_eq;
