//! What the service model says, in Rust: inputs and outputs, the constraints on them, error codes and
//! the facts of each operation. Nearly all of it is generated; `generated` is never edited.
//!
//! Not in here: behaviour, HTTP, the codes of the request framework (`SerializationException` and the
//! like), and limits that depend on a user pool.
//!
//! Start with [`Api`], which ties an operation (`ops::SignUp`) to its input, output and facts; a request
//! goes through [`validate`](validate()) and then `Api::parse`. Types are named as in the model
//! (`types::UserPoolType`), their members in snake case. To change something, patch the model
//! (`model/patches.json`) or the generator, and run `cargo run -p lido-codegen`.

mod api;
mod generated;
mod validate;
mod values;

pub use api::{Api, OperationFacts, Page, Resource, operation};
pub use generated::errors::ErrorCode;
pub use generated::operations::OPERATIONS;
pub use generated::{operations as ops, shapes, types};
pub use validate::{Invalid, Kind, Member, Pattern, Shape, validate};
pub use values::{Blob, Sensitive, Timestamp, UnknownValue};

#[cfg(test)]
mod tests;
