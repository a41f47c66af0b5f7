//! The words of Lido: records, identifiers, value types, and the ports through which the rooms
//! that know Cognito's behaviour reach those that know a protocol.
//!
//! Not in here: HTTP, SQL, JSON shapes of the API (they are generated into `lido-wire`), and any
//! decision. Start with [`records`] for what is stored and [`ports`] for what is asked of others.

mod ids;
pub mod ports;
pub mod records;
mod secret;
mod time;

pub use ids::{ClientId, PoolId, Sub};
pub use ports::{Clock, Random, Transport, TriggerHost};
pub use records::{
    AppClient, Attributes, Group, Medium, Message, MfaFactor, MfaSettings, User, UserPool, UserStatus,
};
pub use secret::Secret;
pub use time::Millis;
