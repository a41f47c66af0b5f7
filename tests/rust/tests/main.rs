//! One binary for all of it: linking is what costs.

#![expect(clippy::unwrap_used, reason = "in a test, and what it calls, a panic is the failure")]

mod suite;
