//! Tokens of applications themselves: an access token that no user stands behind.

use std::collections::BTreeMap;

use lido_wire::types::ClientAuthenticationResultType;
use serde_json::{Map, Value};

use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::keys;
use crate::triggers::pre_token_generation;

/// An access token with the custom scopes that are asked for and the client may have; with all of them, when none is
/// asked for. It has no session: nothing revokes it.
///
/// Errors: [`fault::scopes_not_allowed`] when none is left of those that are asked for; those of
/// [`pre_token_generation::for_machine`].
pub async fn token(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    requested: Option<&[String]>,
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<ClientAuthenticationResultType> {
    let scopes = granted(client.custom_scopes(), requested)?;
    let keys = keys::of(cx, pool).await?;
    let changes = pre_token_generation::for_machine(cx, pool, client, &scopes, metadata).await?;
    let mut claims = claims(cx, pool, client, &scopes);
    changes.apply_to_access_token(&mut claims);
    let key = keys.access.clone();
    let token = cx.crypto.run(move || key.sign(&claims)).await?.map_err(Error::internal)?;
    Ok(ClientAuthenticationResultType {
        access_token: Some(token.into()),
        expires_in: Some(i32::try_from(client.access_token_validity().as_secs()).unwrap_or(i32::MAX)),
        token_type: Some("Bearer".to_owned()),
    })
}

/// Source: the requested ones of those that are allowed; without a request, all.
fn granted<'c>(allowed: impl Iterator<Item = &'c str>, requested: Option<&[String]>) -> Result<Vec<&'c str>> {
    let requested = requested.unwrap_or_default();
    let is_meant = |scope: &&str| requested.is_empty() || requested.iter().any(|other| other == scope);
    let scopes: Vec<&str> = allowed.filter(is_meant).collect();
    if scopes.is_empty() && !requested.is_empty() {
        return Err(fault::scopes_not_allowed(requested).into());
    }
    Ok(scopes)
}

/// Source: claims of tokens for the client credentials grant. The subject is the client.
fn claims(cx: &Cx, pool: &Pool, client: &Client, scopes: &[&str]) -> Map<String, Value> {
    let now = cx.now();
    let id = client.record.id.as_str();
    let mut claims = Map::new();
    claims.insert("sub".into(), id.into());
    claims.insert("token_use".into(), "access".into());
    claims.insert("scope".into(), scopes.join(" ").into());
    claims.insert("auth_time".into(), now.seconds().into());
    claims.insert("iss".into(), pool.issuer(&cx.settings).into());
    claims.insert("exp".into(), (now + client.access_token_validity()).seconds().into());
    claims.insert("iat".into(), now.seconds().into());
    claims.insert("version".into(), 2.into());
    claims.insert("jti".into(), cx.uuid().into());
    claims.insert("client_id".into(), id.into());
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_those_that_are_both_asked_for_and_allowed() {
        let granted = |allowed: &[&'static str], requested: Option<&[&str]>| {
            let requested =
                requested.map(|scopes| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>());
            granted(allowed.iter().copied(), requested.as_deref()).ok()
        };
        let allowed = ["rs/read", "rs/write"];
        for all in [None, Some(&[][..])] {
            assert_eq!(granted(&allowed, all), Some(allowed.to_vec()));
            assert_eq!(granted(&[], all), Some(vec![]));
        }
        assert_eq!(granted(&allowed, Some(&["rs/write", "rs/write", "rs/delete"])), Some(vec!["rs/write"]));
        assert_eq!(granted(&allowed, Some(&["rs/delete"])), None);
        assert_eq!(granted(&[], Some(&["rs/read"])), None);
    }
}
