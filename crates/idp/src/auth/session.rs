//! `Session`: the state of a sign-in between two requests, sealed and in the client's hands. It is good
//! for one pool and client, until it expires, and once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lido_crypto::keys::Purpose;
use lido_domain::{Millis, Sub, User};
use serde::{Deserialize, Serialize};

use crate::auth::Entrance;
use crate::auth::finish::Once;
use crate::cx::Cx;
use crate::fault::{self, Result};

/// What a session says once it is open.
#[derive(Debug, Serialize, Deserialize)]
pub struct Session {
    id: String,
    pub sub: Sub,
    pub expires: Millis,
    pub awaits: Awaits,
    /// When the password that was proven was set, and the last sign-out before it.
    password_set: Millis,
    signed_out: Millis,
}

/// The challenge that a session waits to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Awaits {
    NewPasswordRequired,
}

fn context(entrance: &Entrance) -> [&[u8]; 2] {
    [entrance.pool.record.id.as_str().as_bytes(), entrance.client.record.id.as_str().as_bytes()]
}

/// A new session, at the beginning of its validity.
pub(super) fn seal(cx: &Cx, entrance: &Entrance, user: &User, awaits: Awaits) -> String {
    let session = Session {
        id: cx.uuid(),
        sub: user.sub.clone(),
        expires: cx.now() + entrance.client.session_validity(),
        awaits,
        password_set: user.password_set,
        signed_out: user.signed_out,
    };
    let plain = serde_json::to_vec(&session).expect("a session is always JSON");
    URL_SAFE_NO_PAD.encode(cx.keyring.seal(Purpose::Session, &context(entrance), &plain, &*cx.random))
}

/// Opens a session of this pool and client that awaits `awaits`.
///
/// Errors: [`fault::invalid_session`], [`fault::session_expired`]. That it is used once is up to the write
/// that acts on it: [`Session::once`].
pub(super) fn open(cx: &Cx, entrance: &Entrance, sealed: Option<&str>, awaits: Awaits) -> Result<Session> {
    let session: Session = sealed
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .and_then(|bytes| cx.keyring.open(Purpose::Session, &context(entrance), &bytes).ok())
        .and_then(|plain| serde_json::from_slice(&plain).ok())
        .ok_or_else(fault::invalid_session)?;
    if session.awaits != awaits {
        return Err(fault::invalid_session().into());
    }
    if session.expires <= cx.now() {
        return Err(fault::session_expired().into());
    }
    Ok(session)
}

impl Session {
    /// Whether the user still has the password that began the session, and was not signed out since.
    pub(super) fn is_of(&self, user: &User) -> bool {
        self.password_set == user.password_set && self.signed_out == user.signed_out
    }
    /// What is redeemed when the session is answered.
    pub(super) fn once(&self, cx: &Cx) -> Once {
        Once {
            digest: cx.keyring.digest(Purpose::Redeemed, &[b"session", self.id.as_bytes()]),
            expires: self.expires,
        }
    }
}
