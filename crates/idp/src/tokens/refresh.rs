//! Refresh tokens at work: new tokens, and revocation.

use lido_domain::records::TokenSession;
use lido_domain::{User, UserStatus};
use lido_store::{sessions, users};
use lido_wire::types::AuthenticationResultType;

use crate::cx::Cx;
use crate::fault::{self, Error, Result};
use crate::pool::{Client, Pool};
use crate::tokens::issue;

/// The session of a refresh token that belongs to this client, and its user.
pub async fn session(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    token: &str,
) -> Result<(TokenSession, Option<User>)> {
    let digest = issue::refresh_digest(cx, token);
    let found = cx
        .store
        .read(digest, |digest, tx| {
            Box::pin(async move {
                let Some(session) = sessions::by_digest(tx, digest).await? else { return Ok(None) };
                let user = users::by_sub(tx, &session.pool, &session.sub).await?;
                Ok::<_, Error>(Some((session, user)))
            })
        })
        .await?;
    match found {
        Some((session, user)) if session.pool == pool.record.id && session.client == client.record.id => {
            Ok((session, user))
        }
        _ => Err(fault::invalid_refresh_token().into()),
    }
}

/// REFRESH_TOKEN_AUTH: new ID and access tokens of the same session. Attributes are read anew;
/// `auth_time` and `origin_jti` are carried over.
///
/// Errors in order: [`fault::invalid_refresh_token`], [`fault::refresh_token_expired`],
/// [`fault::refresh_token_revoked`], the user's state.
pub async fn refresh(
    cx: &Cx,
    pool: &Pool,
    client: &Client,
    token: &str,
    secret_hash: Option<&str>,
) -> Result<AuthenticationResultType> {
    let (session, user) = session(cx, pool, client, token).await?;
    let now = cx.now();
    if session.expires <= now {
        return Err(fault::refresh_token_expired().into());
    }
    if session.revoked {
        return Err(fault::refresh_token_revoked().into());
    }
    let Some(user) = user else {
        let fault = if client.tells_user_existence() {
            fault::user_not_found()
        } else {
            fault::invalid_refresh_token()
        };
        return Err(fault.into());
    };
    check_secret_hash(client, &user, secret_hash)?;
    if !user.enabled {
        return Err(fault::user_disabled().into());
    }
    if user.status == UserStatus::ResetRequired {
        return Err(fault::password_reset_required().into());
    }
    issue::tokens(cx, pool, client, &user, &session, now).await
}

/// There is no user name in the request: the hash is over the user name or the sub.
fn check_secret_hash(client: &Client, user: &User, sent: Option<&str>) -> Result<()> {
    let names = [user.username.as_str(), user.sub.as_str()];
    client.check_secret_hash(sent, &names).map_err(|error| match error {
        Error::Fault(fault)
            if sent.is_some() && fault == fault::secret_hash_wrong(client.record.id.as_str()) =>
        {
            fault::secret_hash_wrong_for_refresh(client.record.id.as_str()).into()
        }
        other => other,
    })
}
