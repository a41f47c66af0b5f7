//! Who is calling, proven. An operation receives the proof that its class asks for as a value, so it
//! cannot forget to ask.

use std::sync::Arc;

use async_trait::async_trait;
use lido_domain::{PoolId, User};
use lido_wire::{OperationFacts, Resource};
use serde_json::Value;

use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::pool::{Client, Pool};
use crate::{Class, Request, Signer, tokens};

/// A proof of who is calling.
#[async_trait]
pub trait Caller: Send + Sized {
    const CLASS: Class;

    /// What is checked before the model's constraints, so that a stranger learns nothing from them.
    fn admit(_facts: &'static OperationFacts, _cx: &Cx, _request: &Request) -> Result<()> {
        Ok(())
    }

    async fn prove(cx: &Cx, request: &Request) -> Result<Self>;
}

/// What operations want to know of a request beside its input.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub user_agent: String,
    /// Where new pools are made.
    pub region: String,
}

impl Origin {
    fn of(cx: &Cx, request: &Request) -> Self {
        let region = request.region.clone().unwrap_or_else(|| cx.settings.region.clone());
        Self { user_agent: request.user_agent.clone(), region }
    }
}

/// A principal of the account, allowed by its policy.
#[derive(Debug)]
pub struct Iam {
    pub origin: Origin,
}

impl Iam {
    /// The pool that the input names.
    pub async fn pool(&self, cx: &Cx, id: &str) -> Result<Arc<Pool>> {
        cx.pool(id).await
    }
}

/// The ARN that a request to an IAM operation is authorized on: its user pool, or `*`.
fn resource(facts: &OperationFacts, cx: &Cx, body: &Value) -> String {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    match facts.resource {
        Resource::UserPool => cx.settings.pool_arn(&PoolId::new(text("UserPoolId"))),
        Resource::Arn => text("ResourceArn").to_owned(),
        Resource::Any => "*".to_owned(),
    }
}

/// Signature and policy, before anything else is looked at.
pub(crate) fn admit_iam(facts: &'static OperationFacts, cx: &Cx, request: &Request) -> Result<()> {
    match &request.signer {
        Signer::Administrator => Ok(()),
        Signer::Nobody => Err(fault::missing_authentication_token().into()),
        Signer::Principal(principal) => {
            let action = format!("cognito-idp:{}", facts.name);
            principal.allows(&action, &resource(facts, cx, &request.body)).map_err(Into::into)
        }
    }
}

#[async_trait]
impl Caller for Iam {
    const CLASS: Class = Class::Iam;

    fn admit(facts: &'static OperationFacts, cx: &Cx, request: &Request) -> Result<()> {
        admit_iam(facts, cx, request)
    }

    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        Ok(Self { origin: Origin::of(cx, request) })
    }
}

/// The scope that an access token needs for the account operations.
pub const ACCOUNT_SCOPE: &str = "aws.cognito.signin.user.admin";

/// A signed-in user: an access token that is whole, current, not revoked, and has the account scope.
#[derive(Debug)]
pub struct SignedIn {
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    pub user: User,
    pub origin: Origin,
}

#[async_trait]
impl Caller for SignedIn {
    const CLASS: Class = Class::SignedIn;

    /// Source: the order of checks of token-authorized operations; each text is in [`fault`].
    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        let token = request.body.get("AccessToken").and_then(Value::as_str).unwrap_or_default();
        let claims = tokens::verify::access_token(cx, token).await?;
        let has_scope = claims.scopes.iter().any(|scope| scope == ACCOUNT_SCOPE);
        // A deleted user's sign-ins are gone with it: that is told apart from a revoked one.
        let Some(user) = claims.user else {
            // The tokens of app clients belong to no user, and lack the scope.
            let fault = if has_scope { fault::user_not_found() } else { fault::access_token_scopes() };
            return Err(fault.into());
        };
        if !claims.stands.unwrap_or(claims.issued.0 > user.signed_out.0) {
            return Err(fault::access_token_revoked().into());
        }
        if !has_scope {
            return Err(fault::access_token_scopes().into());
        }
        if !user.enabled {
            return Err(fault::user_disabled().into());
        }
        Ok(Self { pool: claims.pool, client: claims.client, user, origin: Origin::of(cx, request) })
    }
}

impl SignedIn {
    /// The operations that act on a settled account refuse one that is not.
    pub fn require_settled(&self) -> Result<()> {
        match self.user.status {
            lido_domain::UserStatus::Unconfirmed => Err(fault::user_not_confirmed().into()),
            lido_domain::UserStatus::ResetRequired => Err(fault::password_reset_required().into()),
            _ => Ok(()),
        }
    }
}

/// An application that names its client; where the client has a secret, the operation checks the hash
/// with [`PublicClient::check_secret_hash`], since the user name is part of it.
#[derive(Debug)]
pub struct PublicClient {
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    pub origin: Origin,
}

#[async_trait]
impl Caller for PublicClient {
    const CLASS: Class = Class::AppClient;

    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        let id = request.body.get("ClientId").and_then(Value::as_str).unwrap_or_default();
        let (pool, client) = cx.client_by_id(id).await?;
        Ok(Self { pool, client, origin: Origin::of(cx, request) })
    }
}

impl PublicClient {
    /// `sent`: SecretHash or SECRET_HASH. `names`: the name as sent, and the names it stands for.
    pub fn check_secret_hash(&self, sent: Option<&str>, names: &[&str]) -> Result<()> {
        self.client.check_secret_hash(sent, names)
    }
}

/// An application that answers a challenge: it names its client, and the session is in the input.
#[derive(Debug)]
pub struct ChallengeAnswer(pub PublicClient);

#[async_trait]
impl Caller for ChallengeAnswer {
    const CLASS: Class = Class::Session;

    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        Ok(Self(PublicClient::prove(cx, request).await?))
    }
}

/// A signed-in user, or one who is to set up a second factor: the session of that challenge is in the input.
#[derive(Debug)]
pub enum TokenOrSession {
    SignedIn(Box<SignedIn>),
    Session,
}

#[async_trait]
impl Caller for TokenOrSession {
    const CLASS: Class = Class::TokenOrSession;

    /// Errors: [`fault::access_token_or_session`], those of [`SignedIn::prove`].
    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        let is_given = |name: &str| request.body.get(name).is_some_and(Value::is_string);
        match (is_given("AccessToken"), is_given("Session")) {
            (true, false) => Ok(Self::SignedIn(Box::new(SignedIn::prove(cx, request).await?))),
            (false, true) => Ok(Self::Session),
            _ => Err(fault::access_token_or_session().into()),
        }
    }
}

/// An application that holds a refresh token: the token, the client and its secret are in the input.
#[derive(Debug)]
pub struct RefreshTokenHolder;

#[async_trait]
impl Caller for RefreshTokenHolder {
    const CLASS: Class = Class::RefreshToken;

    async fn prove(_cx: &Cx, _request: &Request) -> Result<Self> {
        Ok(Self)
    }
}

/// An application that shows its client's secret, and acts for nobody but itself.
#[derive(Debug)]
pub struct ClientWithSecret {
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
}

#[async_trait]
impl Caller for ClientWithSecret {
    const CLASS: Class = Class::ClientSecret;

    /// Errors: [`fault::client_not_found`], [`fault::client_secret_wrong`].
    async fn prove(cx: &Cx, request: &Request) -> Result<Self> {
        let text = |name: &str| request.body.get(name).and_then(Value::as_str).unwrap_or_default();
        let id = text("ClientId");
        let (pool, client) = cx.client_by_id(id).await?;
        // The secret is required: a client without one never passes.
        if !client.holds_secret(Some(text("Secret"))) {
            return Err(fault::client_secret_wrong(id).into());
        }
        Ok(Self { pool, client })
    }
}
