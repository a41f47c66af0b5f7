//! RevokeToken, GlobalSignOut, AdminUserGlobalSignOut: one sign-in ends, or all of a user's.

use lido_domain::{Millis, PoolId, Sub};
use lido_store::{Tx, sessions, users};
use lido_wire::ErrorCode;
use lido_wire::ops::{AdminUserGlobalSignOut, GlobalSignOut, RevokeToken};

use crate::Operation;
use crate::caller::{Iam, RefreshTokenHolder, SignedIn};
use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::tokens::refresh;

/// Ends every sign-in of the user: refresh tokens, and the access tokens that descend from them.
pub(crate) async fn everywhere(tx: &mut Tx, pool: &PoolId, sub: &Sub, now: Millis) -> lido_store::Result<()> {
    sessions::revoke_all(tx, pool, sub, now).await?;
    users::sign_out(tx, pool, sub, now).await
}

async fn sign_out(cx: &Cx, pool: PoolId, sub: Sub) -> Result<()> {
    cx.store
        .write((pool, sub, cx.now()), |(pool, sub, now), tx| {
            Box::pin(async move { Ok::<_, Error>(everywhere(tx, pool, sub, *now).await?) })
        })
        .await
}

impl Operation for GlobalSignOut {
    type Caller = SignedIn;

    async fn run(cx: &Cx, caller: SignedIn, _input: Self::Input) -> Result<Self::Output> {
        sign_out(cx, caller.user.pool, caller.user.sub).await?;
        Ok(Self::Output::default())
    }
}

impl Operation for AdminUserGlobalSignOut {
    type Caller = Iam;

    async fn run(cx: &Cx, caller: Iam, input: Self::Input) -> Result<Self::Output> {
        let pool = caller.pool(cx, &input.user_pool_id).await?;
        let user = cx.user(&pool, &input.username).await?;
        sign_out(cx, user.pool, user.sub).await?;
        Ok(Self::Output::default())
    }
}

/// Revokes a refresh token of this client and every token that descends from it. Doing it again, or for
/// a token that is unknown, is success. `RevokeAssociatedSessions` has no effect: it is about the sign-in at hosted
/// pages that a token came from, and no token comes from one.
///
/// Errors: [`fault::unauthorized_client`], [`fault::revocation_not_enabled`],
/// [`fault::unsupported_token_type`].
impl Operation for RevokeToken {
    type Caller = RefreshTokenHolder;

    async fn run(cx: &Cx, _caller: RefreshTokenHolder, input: Self::Input) -> Result<Self::Output> {
        let (pool, client) = match cx.client_by_id(&input.client_id).await {
            Ok(found) => found,
            Err(Error::Fault(fault)) if fault.is(ErrorCode::ResourceNotFound) => {
                return Err(fault::unauthorized_client().into());
            }
            Err(other) => return Err(other),
        };
        if !client.holds_secret(input.client_secret.as_deref()) {
            return Err(fault::unauthorized_client().into());
        }
        if !client.revokes_tokens() {
            return Err(fault::revocation_not_enabled().into());
        }
        if lido_crypto::jws::parse(&input.token).is_ok() {
            return Err(fault::unsupported_token_type().into());
        }
        refresh::revoke(cx, &pool, &client, &input.token).await?;
        Ok(Self::Output::default())
    }
}
