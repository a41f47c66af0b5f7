//! Access tokens as proof of a signed-in user. What needs the store (revocation, the user) is read here, in
//! the one read that the token costs, and judged by the caller.

use std::sync::Arc;

use lido_crypto::jws;
use lido_domain::records::TokenUse;
use lido_domain::{Millis, Sub, User};
use lido_store::sessions;
use lido_wire::ErrorCode;
use serde_json::Value;

use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::keys;

/// What a whole and current access token says.
#[derive(Debug)]
pub struct AccessClaims {
    pub pool: Arc<Pool>,
    pub client: Arc<Client>,
    /// `None` when the user has been deleted.
    pub user: Option<User>,
    /// Whether the sign-in that the token names still stands; `None` for a token that names none.
    pub stands: Option<bool>,
    pub scopes: Vec<String>,
    /// The claim `iat`.
    pub issued: Millis,
}

/// Checks form, pool, key, signature, use and expiry, in this order. Source: what token-authorized
/// operations check; each failure has its own text.
pub async fn access_token(cx: &Cx, text: &str) -> Result<AccessClaims> {
    let invalid = || Error::from(fault::invalid_access_token());
    let token = jws::parse(text).map_err(|_| invalid())?;
    let claim = |name: &str| token.claims.get(name).and_then(Value::as_str);
    let number = |name: &str| token.claims.get(name).and_then(Value::as_i64);

    // The issuer ends with the pool's id in every form but a fixed one, where the client tells the pool.
    let issuer = claim("iss").ok_or_else(invalid)?;
    let client_id = claim("client_id").ok_or_else(invalid)?;
    let sub = claim("sub").unwrap_or_default();
    let origin_jti = claim("origin_jti").map(str::to_owned);
    // By claims that are not believed yet: nothing of it is used before the signature has been verified.
    let found = cx
        .client_and((Sub::new(sub), origin_jti), client_id, |(sub, origin_jti), client, tx| {
            Box::pin(async move {
                let origin_jti = origin_jti.as_deref();
                let found = sessions::standing(tx, client, origin_jti.unwrap_or_default(), sub).await?;
                Ok(found.map(|found| (found.revisions, (origin_jti.map(|_| found.stands), found.user))))
            })
        })
        .await;
    let (pool, client, (stands, user)) = match found {
        Ok(found) => found,
        // No such client. A store that sheds load says so, and nothing of the token.
        Err(Error::Fault(fault)) if fault.is(ErrorCode::ResourceNotFound) => return Err(invalid()),
        Err(other) => return Err(other),
    };
    if pool.issuer(&cx.settings) != issuer {
        return Err(invalid());
    }
    let keys = keys::of(cx, &pool).await?;
    // An ID token of this pool is whole, but not an access token.
    let key = keys.find(&token.header.kid, cx.now()).filter(|key| key.token_use == TokenUse::Access);
    if !key.ok_or_else(invalid)?.verifying.verify(&token) {
        return Err(fault::access_token_signature().into());
    }
    if claim("token_use") != Some("access") {
        return Err(invalid());
    }
    let expires = number("exp").ok_or_else(invalid)?;
    if expires <= cx.now().seconds() {
        return Err(fault::access_token_expired().into());
    }
    claim("sub").ok_or_else(invalid)?;
    Ok(AccessClaims {
        user,
        stands,
        scopes: claim("scope").unwrap_or_default().split(' ').map(str::to_owned).collect(),
        issued: Millis::from_seconds(number("iat").ok_or_else(invalid)?),
        pool,
        client,
    })
}
