//! An operation as a type, and what the model says of it.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::generated::errors::ErrorCode;
use crate::generated::operations::OPERATIONS;
use crate::validate::{Shape, settle};

/// An operation of the model, implemented by a unit type each in [`ops`](crate::ops).
pub trait Api: Send + Sync + 'static {
    type Input: DeserializeOwned + Send + fmt::Debug;
    type Output: Serialize + Send + fmt::Debug;

    const FACTS: &'static OperationFacts;

    /// The typed input. Expects a value that [`validate`](crate::validate()) has passed: an error here is a
    /// fault of the tables, not of the client.
    fn parse(value: Value) -> Result<Self::Input, serde_json::Error>;

    /// The body of the response; empty for an operation without output.
    fn render(output: &Self::Output) -> Vec<u8>;
}

/// What the model says of an operation.
pub struct OperationFacts {
    pub name: &'static str,
    /// Called without an AWS signature.
    pub unsigned: bool,
    pub readonly: bool,
    pub idempotent: bool,
    pub input: &'static Shape,
    /// Without one the response has an empty body.
    pub has_output: bool,
    /// The errors it declares.
    pub errors: &'static [ErrorCode],
    /// How it is paged, where the model has a paginator for it.
    pub page: Option<Page>,
    pub resource: Resource,
}

impl fmt::Debug for OperationFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperationFacts").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Names of the members that page an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The token in the input.
    pub input: &'static str,
    /// The token in the output.
    pub output: &'static str,
    /// The list in the output.
    pub items: &'static str,
    /// The size of a page, in the input.
    pub limit: &'static str,
}

/// Which resource an IAM policy names for the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The user pool in the input's `UserPoolId`.
    UserPool,
    /// The input's `ResourceArn`.
    Arn,
    /// The input names neither: `*`, or what its other members lead to.
    Any,
}

/// The facts of the operation called `name`, as in `X-Amz-Target` after the dot.
pub fn operation(name: &str) -> Option<&'static OperationFacts> {
    OPERATIONS.binary_search_by_key(&name, |facts| facts.name).ok().map(|index| OPERATIONS[index])
}

/// Implements [`Api`] with functions that are not generic, so that serde's code is built in this crate.
macro_rules! api {
    ($operation:ident, $facts:ident, $input:ident, ()) => {
        $crate::api::api!(@ $operation, $facts, $input, (), |_| Vec::new());
    };
    ($operation:ident, $facts:ident, $input:ident, $output:ident) => {
        $crate::api::api!(@ $operation, $facts, $input, $output, $crate::api::body);
    };
    (@ $operation:ident, $facts:ident, $input:ident, $output:ty, $body:expr) => {
        impl $crate::Api for $operation {
            type Input = $input;
            type Output = $output;

            const FACTS: &'static $crate::OperationFacts = &$facts;

            fn parse(value: ::serde_json::Value) -> Result<$input, ::serde_json::Error> {
                $crate::api::input(value, $facts.input)
            }

            fn render(output: &$output) -> Vec<u8> {
                let body: fn(&$output) -> Vec<u8> = $body;
                body(output)
            }
        }
    };
}
pub(crate) use api;

pub(crate) fn input<T: DeserializeOwned>(mut value: Value, shape: &Shape) -> Result<T, serde_json::Error> {
    settle(shape, &mut value);
    serde_json::from_value(value)
}

pub(crate) fn body<T: Serialize>(output: &T) -> Vec<u8> {
    serde_json::to_vec(output).expect("outputs have only string keys, and nothing in them fails to serialise")
}
