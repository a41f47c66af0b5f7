//! InitiateAuth, RespondToAuthChallenge and their Admin twins: four doors to one state machine.

use std::collections::BTreeMap;

use lido_wire::Sensitive;
use lido_wire::ops::{AdminInitiateAuth, AdminRespondToAuthChallenge, InitiateAuth, RespondToAuthChallenge};
use lido_wire::types::{
    AdminInitiateAuthResponse, AdminRespondToAuthChallengeResponse, InitiateAuthResponse,
    RespondToAuthChallengeResponse,
};

use crate::auth::{self, Entrance, Parameters, Step};
use crate::caller::{ChallengeAnswer, Iam, PublicClient};
use crate::cx::Cx;
use crate::fault::Result;
use crate::{Operation, pool};

/// Makes the answer of one of the four operations: they differ in nothing but their type.
macro_rules! response {
    ($step:expr, $type:ident) => {
        match $step {
            Step::Challenge { name, parameters, session } => $type {
                challenge_name: Some(name),
                challenge_parameters: Some(parameters),
                session: session.map(Sensitive::from),
                ..$type::default()
            },
            // The parameters are sent as an empty object, not left out.
            Step::Tokens(tokens) => $type {
                authentication_result: Some(tokens),
                challenge_parameters: Some(BTreeMap::new()),
                ..$type::default()
            },
        }
    };
}

impl Operation for InitiateAuth {
    type Caller = PublicClient;

    async fn run(cx: &Cx, caller: PublicClient, input: Self::Input) -> Result<Self::Output> {
        let entrance = Entrance {
            pool: caller.pool,
            client: caller.client,
            by_admin: false,
            validation_data: input.client_metadata,
            metadata: None,
        };
        let parameters = Parameters(input.auth_parameters.unwrap_or_default());
        let step = auth::begin(cx, &entrance, input.auth_flow, parameters).await?;
        Ok(response!(step, InitiateAuthResponse))
    }
}

impl Operation for AdminInitiateAuth {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let client = cx.client(&pool, &input.client_id).await?;
        let entrance =
            Entrance { pool, client, by_admin: true, validation_data: input.client_metadata, metadata: None };
        let parameters = Parameters(input.auth_parameters.unwrap_or_default());
        let step = auth::begin(cx, &entrance, input.auth_flow, parameters).await?;
        Ok(response!(step, AdminInitiateAuthResponse))
    }
}

impl Operation for RespondToAuthChallenge {
    type Caller = ChallengeAnswer;

    async fn run(
        cx: &Cx,
        ChallengeAnswer(caller): ChallengeAnswer,
        input: Self::Input,
    ) -> Result<Self::Output> {
        let entrance = Entrance {
            pool: caller.pool,
            client: caller.client,
            by_admin: false,
            validation_data: None,
            metadata: input.client_metadata,
        };
        let responses = Parameters(input.challenge_responses.unwrap_or_default());
        let session = input.session.as_deref();
        let step = auth::answer(cx, &entrance, input.challenge_name, session, responses).await?;
        Ok(response!(step, RespondToAuthChallengeResponse))
    }
}

impl Operation for AdminRespondToAuthChallenge {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool: std::sync::Arc<pool::Pool> = caller.pool(cx, &input.user_pool_id).await?;
        let client = cx.client(&pool, &input.client_id).await?;
        let entrance =
            Entrance { pool, client, by_admin: true, validation_data: None, metadata: input.client_metadata };
        let responses = Parameters(input.challenge_responses.unwrap_or_default());
        let session = input.session.as_deref();
        let step = auth::answer(cx, &entrance, input.challenge_name, session, responses).await?;
        Ok(response!(step, AdminRespondToAuthChallengeResponse))
    }
}
