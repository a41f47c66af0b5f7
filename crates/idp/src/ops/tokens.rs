//! GetTokensFromRefreshToken, GetClientToken: tokens for who holds a refresh token, or a client's secret.

use lido_wire::ErrorCode;
use lido_wire::ops::{GetClientToken, GetTokensFromRefreshToken};
use lido_wire::types::{ExplicitAuthFlowsType, GetClientTokenResponse, GetTokensFromRefreshTokenResponse};

use crate::Operation;
use crate::caller::{ClientWithSecret, RefreshTokenHolder};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::tokens::{machine, refresh};

/// New tokens of a sign-in, whether its client rotates refresh tokens or not. The flow of REFRESH_TOKEN_AUTH need not
/// be allowed: rotation excludes it.
///
/// Errors: [`fault::client_not_found`], [`fault::client_secret_wrong`], those of [`refresh::exchange`].
impl Operation for GetTokensFromRefreshToken {
    type Caller = RefreshTokenHolder;

    async fn run(cx: &Cx, _caller: RefreshTokenHolder, input: Self::Input) -> Result<Self::Output> {
        let (pool, client) = cx.client_by_id(&input.client_id).await?;
        if !client.holds_secret(input.client_secret.as_deref()) {
            return Err(fault::client_secret_wrong(&input.client_id).into());
        }
        let metadata = input.client_metadata.as_ref();
        let tokens = refresh::exchange(cx, &pool, &client, &input.refresh_token, metadata).await?;
        Ok(GetTokensFromRefreshTokenResponse { authentication_result: Some(tokens) })
    }
}

/// A token of the application itself.
///
/// Errors: those of the caller's proof; [`fault::flow_not_enabled`]; those of [`machine::token`].
impl Operation for GetClientToken {
    type Caller = ClientWithSecret;

    async fn run(cx: &Cx, caller: ClientWithSecret, input: Self::Input) -> Result<Self::Output> {
        let ClientWithSecret { pool, client } = caller;
        if !client.allows(ExplicitAuthFlowsType::AllowClientTokenAuth) {
            return Err(fault::flow_not_enabled("CLIENT_TOKEN_AUTH").into());
        }
        let metadata = input.client_metadata.as_ref();
        let token =
            machine::token(cx, &pool, &client, input.scopes.as_deref(), metadata).await.map_err(declared)?;
        Ok(GetClientTokenResponse { client_authentication_result: Some(token) })
    }
}

/// The operation has no code for a function that fails.
fn declared(error: Error) -> Error {
    const OF_FUNCTIONS: [ErrorCode; 3] =
        [ErrorCode::UserLambdaValidation, ErrorCode::UnexpectedLambda, ErrorCode::InvalidLambdaResponse];
    match error {
        Error::Fault(fault) if OF_FUNCTIONS.iter().any(|code| fault.is(*code)) => {
            fault::invalid_parameter(fault.message.unwrap_or_default()).into()
        }
        other => other,
    }
}
