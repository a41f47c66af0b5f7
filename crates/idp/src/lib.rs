//! What Lido *does*: the operations of the user pools API, and everything they share.
//!
//! A request arrives as a [`Request`] (the JSON body and who signed it) and leaves as bytes or an
//! [`Error`]; HTTP is in `lido-server`, SQL in `lido-store`, SMTP and functions in `lido-outbound`.
//!
//! Start with [`ops::OPERATIONS`], the table of everything that can be called; then read one
//! operation (`ops/tags.rs` is the shortest file) and [`dispatch`], the way every one of them runs.
//! Errors are in [`fault`], who is calling in [`caller`].

pub mod attributes;
pub mod auth;
pub mod background;
pub mod caller;
pub mod codes;
pub mod crypto_pool;
pub mod cx;
pub mod data_keys;
pub mod fault;
pub mod inbox;
pub mod messages;
pub mod ops;
pub mod paging;
pub mod passwords;
pub mod policy;
pub mod pool;
pub mod sealed;
pub mod seed;
pub mod tokens;
pub mod transfer;
pub mod triggers;

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use lido_wire::{Api, OperationFacts};
use serde_json::Value;

pub use crate::caller::Caller;
pub use crate::cx::{Cx, Settings};
pub use crate::fault::{Error, Fault, Result};

/// A request to the API, after HTTP.
pub struct Request {
    /// `x-amzn-RequestId` of the answer.
    pub id: String,
    /// The body, a JSON map.
    pub body: Value,
    pub signer: Signer,
    /// The region of the credential scope, if the request has one.
    pub region: Option<String>,
    pub source: Option<IpAddr>,
    pub user_agent: String,
}

impl std::fmt::Debug for Request {
    /// Without the body, which holds passwords and tokens.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("id", &self.id).field("signer", &self.signer).finish_non_exhaustive()
    }
}

/// Who signed a request, as far as that was checked.
#[derive(Clone, Debug)]
pub enum Signer {
    /// Nobody: the operations that IAM authorizes refuse it.
    Nobody,
    /// Enforcement is off: anyone is the account's administrator.
    Administrator,
    /// A configured principal whose signature is right.
    Principal(Arc<policy::Principal>),
}

/// The behaviour of an operation; what the model knows of it is in `lido_wire`.
pub trait Operation: Api {
    /// The proof that this operation asks for.
    type Caller: Caller;

    fn run(
        cx: &Cx,
        caller: Self::Caller,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output>> + Send;
}

type Erased = for<'a> fn(&'a Cx, &'a Request) -> BoxFuture<'a, Result<Vec<u8>>>;

/// One line of the table of operations.
pub struct Route {
    pub facts: &'static OperationFacts,
    /// How the caller proves who it is, for the page a reviewer reads.
    pub class: Class,
    run: Option<Erased>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route").field("name", &self.facts.name).field("class", &self.class).finish()
    }
}

/// The proof that an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Iam,
    SignedIn,
    AppClient,
    Session,
    TokenOrSession,
    RefreshToken,
    ClientSecret,
    /// Without behaviour so far.
    NotBuilt,
}

impl Route {
    pub const fn of<O: Operation>() -> Self {
        Self { facts: O::FACTS, class: O::Caller::CLASS, run: Some(erased::<O>) }
    }

    pub const fn not_built(facts: &'static OperationFacts) -> Self {
        Self { facts, class: Class::NotBuilt, run: None }
    }

    pub fn is_built(&self) -> bool {
        self.run.is_some()
    }

    /// Whether a signature is not looked at: the model says so of most such operations, and the documentation of the
    /// one that an app client calls with its secret.
    pub fn needs_no_signature(&self) -> bool {
        self.facts.unsigned || self.class == Class::ClientSecret
    }
}

fn erased<'a, O: Operation>(cx: &'a Cx, request: &'a Request) -> BoxFuture<'a, Result<Vec<u8>>> {
    Box::pin(async move {
        O::Caller::admit(O::FACTS, cx, request)?;
        check(O::FACTS, &request.body)?;
        let caller = O::Caller::prove(cx, request).await.map_err(|error| declared(O::FACTS, error))?;
        let input = O::parse(request.body.clone()).map_err(Error::internal)?;
        let output = O::run(cx, caller, input).await?;
        Ok(O::render(&output))
    })
}

/// GlobalSignOut does not know UserNotFoundException: to it the token of a deleted user is a revoked one.
fn declared(facts: &OperationFacts, error: Error) -> Error {
    let user_not_found = lido_wire::ErrorCode::UserNotFound;
    match error {
        Error::Fault(fault) if fault.is(user_not_found) && !facts.errors.contains(&user_not_found) => {
            fault::access_token_revoked().into()
        }
        other => other,
    }
}

/// The model's constraints on the body, worded as the service words them.
fn check(facts: &'static OperationFacts, body: &Value) -> Result<()> {
    match lido_wire::validate(facts.input, body) {
        Ok(()) => Ok(()),
        Err(lido_wire::Invalid::Serialization { message }) => Err(fault::serialization(message).into()),
        Err(invalid) => Err(fault::invalid_parameter(invalid.to_string()).into()),
    }
}

/// How often an operation is run when what it read changes under it.
const ATTEMPTS: usize = 8;

/// Runs one request: proof, constraints, behaviour. The body of the answer, or why there is none.
pub async fn dispatch(cx: &Cx, route: &Route, request: &Request) -> Result<Vec<u8>> {
    let Some(run) = route.run else {
        if !route.facts.unsigned {
            caller::admit_iam(route.facts, cx, request)?;
        }
        return Err(fault::not_implemented(route.facts.name).into());
    };
    let declares = |code: &str| route.facts.errors.iter().any(|declared| declared.as_str() == code);
    for _ in 0..ATTEMPTS {
        match run(cx, request).await {
            Err(Error::Conflict) => {}
            Err(Error::Fault(fault))
                if fault.is(lido_wire::ErrorCode::TooManyRequests) && !declares(fault.code) =>
            {
                return Err(again(route.facts));
            }
            Err(Error::Fault(fault)) => {
                debug_assert!(
                    fault::is_framework(fault.code) || declares(fault.code),
                    "{} does not declare {}",
                    route.facts.name,
                    fault.code
                );
                return Err(Error::Fault(fault));
            }
            answer => return answer,
        }
    }
    Err(again(route.facts))
}

/// What tells the caller to come again, as far as the operation knows such an error.
fn again(facts: &OperationFacts) -> Error {
    let declared = facts.errors.contains(&lido_wire::ErrorCode::ConcurrentModification);
    if declared { fault::concurrent_modification() } else { fault::too_many_requests() }.into()
}

/// The route of an operation by its name.
pub fn route(name: &str) -> Option<&'static Route> {
    static BY_NAME: std::sync::LazyLock<std::collections::HashMap<&'static str, &'static Route>> =
        std::sync::LazyLock::new(|| ops::routes().iter().map(|route| (route.facts.name, route)).collect());
    BY_NAME.get(name).copied()
}
