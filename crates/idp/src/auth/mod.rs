//! Sign-in as a state machine: a flow begins it, challenges continue it, tokens end it.
//!
//! The state between two requests travels with the client, sealed ([`session`], and the SECRET_BLOCK of
//! [`srp`]); the store only keeps what was redeemed. A new flow or challenge is a file here and a line in
//! [`begin`] or [`answer`].

mod finish;
mod lockout;
pub(crate) mod mfa;
pub(crate) mod migration;
mod new_password;
mod password;
pub mod session;
mod srp;
mod subject;

pub(crate) use subject::ghost;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lido_wire::Sensitive;
use lido_wire::types::{AuthFlowType, AuthenticationResultType, ChallengeNameType, ExplicitAuthFlowsType};

use crate::cx::Cx;
use crate::fault::{self, Result};
use crate::pool::{Client, Pool};
use crate::tokens::refresh;

/// Where a sign-in comes in: the pool, the client, and by which kind of operation.
#[derive(Clone, Debug)]
pub struct Entrance {
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    /// AdminInitiateAuth, AdminRespondToAuthChallenge.
    pub by_admin: bool,
    /// ClientMetadata of the request that begins a sign-in: for PreAuthentication and UserMigration alone.
    pub validation_data: Option<BTreeMap<String, String>>,
    /// ClientMetadata of the request that answers a challenge: for every other trigger.
    pub metadata: Option<BTreeMap<String, String>>,
}

/// AuthParameters or ChallengeResponses.
#[derive(Debug)]
pub struct Parameters(pub BTreeMap<String, Sensitive>);

impl Parameters {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// Errors: [`fault::missing_parameter`].
    pub fn require(&self, name: &str) -> Result<&str> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| fault::missing_parameter(name).into())
    }
}

/// What a step of a sign-in leads to.
pub enum Step {
    Challenge { name: ChallengeNameType, parameters: BTreeMap<String, String>, session: Option<String> },
    Tokens(AuthenticationResultType),
}

impl fmt::Debug for Step {
    /// Without parameters and session: they carry the state of the sign-in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge { name, .. } => f.debug_tuple("Challenge").field(name).finish(),
            Self::Tokens(_) => f.write_str("Tokens"),
        }
    }
}

/// InitiateAuth and AdminInitiateAuth.
pub async fn begin(cx: &Cx, entrance: &Entrance, flow: AuthFlowType, parameters: Parameters) -> Result<Step> {
    match (flow, entrance.by_admin) {
        (AuthFlowType::UserSrpAuth, _) => srp::begin(cx, entrance, &parameters).await,
        (AuthFlowType::UserPasswordAuth, false)
        | (AuthFlowType::AdminUserPasswordAuth | AuthFlowType::AdminNoSrpAuth, true) => {
            password::begin(cx, entrance, flow, &parameters).await
        }
        (AuthFlowType::RefreshToken | AuthFlowType::RefreshTokenAuth, _) => {
            let token = parameters.require("REFRESH_TOKEN")?;
            require_flow(&entrance.client, flow, ExplicitAuthFlowsType::AllowRefreshTokenAuth)?;
            let hash = parameters.get("SECRET_HASH");
            refresh::refresh(cx, &entrance.pool, &entrance.client, token, hash).await.map(Step::Tokens)
        }
        (AuthFlowType::CustomAuth, _) => {
            parameters.require("USERNAME")?;
            require_flow(&entrance.client, flow, ExplicitAuthFlowsType::AllowCustomAuth)?;
            let defined = entrance.pool.lambda().is_some_and(|lambda| lambda.define_auth_challenge.is_some());
            Err(if defined {
                fault::feature_not_implemented("CUSTOM_AUTH")
            } else {
                fault::custom_auth_not_configured()
            }
            .into())
        }
        (AuthFlowType::UserAuth, _) => {
            parameters.require("USERNAME")?;
            require_flow(&entrance.client, flow, ExplicitAuthFlowsType::AllowUserAuth)?;
            Err(fault::feature_not_implemented("USER_AUTH").into())
        }
        (AuthFlowType::UserPasswordAuth, true)
        | (AuthFlowType::AdminUserPasswordAuth | AuthFlowType::AdminNoSrpAuth, false) => {
            Err(fault::initiate_auth_not_supported().into())
        }
    }
}

/// RespondToAuthChallenge and AdminRespondToAuthChallenge.
pub async fn answer(
    cx: &Cx,
    entrance: &Entrance,
    challenge: ChallengeNameType,
    session: Option<&str>,
    responses: Parameters,
) -> Result<Step> {
    match challenge {
        ChallengeNameType::PasswordVerifier => srp::answer(cx, entrance, &responses).await,
        ChallengeNameType::NewPasswordRequired => {
            new_password::answer(cx, entrance, session, &responses).await
        }
        ChallengeNameType::SmsMfa
        | ChallengeNameType::EmailOtp
        | ChallengeNameType::SoftwareTokenMfa
        | ChallengeNameType::SelectMfaType
        | ChallengeNameType::MfaSetup => mfa::answer(cx, entrance, challenge, session, &responses).await,
        other => Err(fault::feature_not_implemented(&format!("the challenge {other}")).into()),
    }
}

/// Errors: [`fault::flow_not_enabled`].
fn require_flow(client: &Client, flow: AuthFlowType, allowed_by: ExplicitAuthFlowsType) -> Result<()> {
    if client.allows(allowed_by) { Ok(()) } else { Err(fault::flow_not_enabled(flow.as_str()).into()) }
}
