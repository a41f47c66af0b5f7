//! ID, access and refresh tokens: claims, issue, verification, revocation.
//!
//! Source of the claims: the user pool token reference; RS256 by the pool's two keys.

pub mod groups;
pub mod issue;
pub mod keys;
pub mod machine;
pub mod refresh;
pub mod rotate;
pub mod verify;
