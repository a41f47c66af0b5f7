//! Commands that work on the data beside a server, one file for each kind.

pub(crate) mod backup;
pub(crate) mod keys;
pub(crate) mod transfer;
