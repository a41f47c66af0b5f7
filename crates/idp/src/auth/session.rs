//! `Session`: the state of a sign-in between two requests, sealed and in the client's hands. It is good
//! for one pool and client, until it expires, and once.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lido_crypto::keys::Purpose;
use lido_domain::{MfaFactor, Millis, Sub, User};
use lido_store::{limits, sessions, users};
use lido_wire::ErrorCode;
use lido_wire::types::ChallengeNameType;
use serde::{Deserialize, Serialize};

use crate::auth::finish::Once;
use crate::auth::{Entrance, Parameters};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::Address;
use crate::tokens::issue::Source;

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
    /// Whether the user has chosen that password on the way.
    new_password: bool,
}

/// The challenge that a session waits to be answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Awaits {
    NewPasswordRequired,
    /// One of these second factors.
    SelectMfaType(Vec<MfaFactor>),
    SoftwareTokenMfa,
    /// A code that was sent to this phone number.
    SmsMfa(String),
    /// A code that was sent to this address.
    EmailOtp {
        address: String,
        /// It is to become the user's, and a factor.
        is_new: bool,
    },
    MfaSetup(Setup),
}

/// How far a user has come with a first second factor.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Setup {
    /// What can be set up.
    pub choices: Vec<MfaFactor>,
    /// Of the software token that was handed out.
    pub seed: Option<Vec<u8>>,
    pub verified: Option<VerifiedToken>,
}

impl fmt::Debug for Setup {
    /// Without the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("choices", &self.choices).finish_non_exhaustive()
    }
}

/// That the user's app makes the codes of the seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifiedToken {
    /// The time step of the code that showed it.
    pub step: i64,
    pub name: Option<String>,
}

impl Awaits {
    pub(super) fn challenge(&self) -> ChallengeNameType {
        match self {
            Self::NewPasswordRequired => ChallengeNameType::NewPasswordRequired,
            Self::SelectMfaType(_) => ChallengeNameType::SelectMfaType,
            Self::SoftwareTokenMfa => ChallengeNameType::SoftwareTokenMfa,
            Self::SmsMfa(_) => ChallengeNameType::SmsMfa,
            Self::EmailOtp { .. } => ChallengeNameType::EmailOtp,
            Self::MfaSetup(_) => ChallengeNameType::MfaSetup,
        }
    }
}

fn context(entrance: &Entrance) -> [&[u8]; 2] {
    [entrance.pool.record.id.as_str().as_bytes(), entrance.client.record.id.as_str().as_bytes()]
}

impl Session {
    /// A new session, at the beginning of its validity.
    pub(super) fn new(cx: &Cx, entrance: &Entrance, user: &User, awaits: Awaits) -> Self {
        Self {
            id: cx.uuid(),
            sub: user.sub.clone(),
            expires: cx.now() + entrance.client.session_validity(),
            awaits,
            password_set: user.password_set,
            signed_out: user.signed_out,
            new_password: false,
        }
    }

    /// The same, of a sign-in whose tokens are issued for this reason.
    pub(super) fn from(self, source: Source) -> Self {
        Self { new_password: source == Source::NewPasswordChallenge, ..self }
    }

    /// Why the sign-in's tokens are issued.
    pub(super) fn source(&self) -> Source {
        if self.new_password { Source::NewPasswordChallenge } else { Source::Authentication }
    }

    /// What a code of this session proves: nothing in another one.
    pub(super) fn code_target(&self, address: &Address) -> String {
        format!("{} {}", self.id, address.target())
    }

    /// Whether the user still has the password that began the session, and was not signed out since.
    fn is_of(&self, user: &User) -> bool {
        self.password_set == user.password_set && self.signed_out == user.signed_out
    }

    /// What is redeemed when the session is answered.
    fn once(&self, cx: &Cx) -> Once {
        Once {
            digest: cx.keyring.digest(Purpose::Redeemed, &[b"session", self.id.as_bytes()]),
            expires: self.expires,
            used: fault::session_used,
        }
    }
}

/// As the client holds it: the client's id, since some operations are called with the session alone, and what is
/// sealed for that client.
pub(super) fn seal(cx: &Cx, entrance: &Entrance, session: &Session) -> String {
    let plain = serde_json::to_vec(session).expect("a session is always JSON");
    let sealed = cx.keyring.seal(Purpose::Session, &context(entrance), &plain, &*cx.random);
    let client = entrance.client.record.id.as_str().as_bytes();
    let length = u8::try_from(client.len()).expect("a client id has at most 128 characters");
    URL_SAFE_NO_PAD.encode([&[length], client, &sealed].concat())
}

/// The client's id and the sealed part.
fn split(text: &str) -> Option<(String, Vec<u8>)> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (length, rest) = bytes.split_first()?;
    let (client, sealed) = rest.split_at_checked(usize::from(*length))?;
    Some((String::from_utf8(client.to_vec()).ok()?, sealed.to_vec()))
}

/// Opens a session of this pool and client that awaits the answer to `challenge`.
///
/// Errors: [`fault::invalid_session`], [`fault::session_expired`]. That it is used once is up to the write
/// that acts on it: [`Resumed::once`].
pub(super) fn open(
    cx: &Cx,
    entrance: &Entrance,
    sealed: Option<&str>,
    challenge: ChallengeNameType,
) -> Result<Session> {
    let session: Session = sealed
        .and_then(split)
        .filter(|(client, _)| client == entrance.client.record.id.as_str())
        .and_then(|(_, sealed)| cx.keyring.open(Purpose::Session, &context(entrance), &sealed).ok())
        .and_then(|plain| serde_json::from_slice(&plain).ok())
        .ok_or_else(fault::invalid_session)?;
    if session.awaits.challenge() != challenge {
        return Err(fault::invalid_session().into());
    }
    if session.expires <= cx.now() {
        return Err(fault::session_expired().into());
    }
    Ok(session)
}

/// Where a session comes in whose client is named by nothing else.
///
/// Errors: [`fault::invalid_session`].
pub(super) async fn entrance(cx: &Cx, sealed: &str) -> Result<Entrance> {
    let (client, _) = split(sealed).ok_or_else(fault::invalid_session)?;
    let (pool, client) = cx.client_by_id(&client).await.map_err(|error| match error {
        // A store that sheds load says so, and nothing of the session.
        Error::Fault(fault) if fault.is(ErrorCode::ResourceNotFound) => fault::invalid_session().into(),
        other => other,
    })?;
    Ok(Entrance { pool, client, by_admin: false, validation_data: None, metadata: None })
}

/// The user of a session that still stands.
#[derive(Debug)]
pub(super) struct Resumed {
    pub user: User,
    pub once: Once,
    is_locked: bool,
}

impl Resumed {
    /// Errors: [`fault::locked_out`].
    pub(super) fn require_unlocked(&self) -> Result<(), Fault> {
        if self.is_locked { Err(fault::locked_out()) } else { Ok(()) }
    }
}

/// Goes on with an open session, whose user the responses name.
///
/// Errors: [`fault::missing_parameter`], those of the secret hash, [`fault::invalid_session`],
/// [`fault::session_used`], [`fault::user_disabled`].
pub(super) async fn resume(
    cx: &Cx,
    entrance: &Entrance,
    session: &Session,
    responses: &Parameters,
) -> Result<Resumed> {
    let name = responses.require("USERNAME")?;
    let pool = &entrance.pool;
    let found = look(cx, entrance, session).await?;
    let user = &found.resumed.user;
    entrance.client.check_secret_hash(responses.get("SECRET_HASH"), &[name, &user.username])?;
    if !found.is_redeemed
        && name != user.username
        && cx.find_user(pool, name).await?.is_none_or(|other| other.sub != user.sub)
    {
        return Err(fault::invalid_session().into());
    }
    found.standing(session)
}

/// The same where the session alone tells whose it is.
pub(super) async fn resume_bearer(cx: &Cx, entrance: &Entrance, session: &Session) -> Result<Resumed> {
    look(cx, entrance, session).await?.standing(session)
}

struct Found {
    resumed: Resumed,
    is_redeemed: bool,
}

impl Found {
    fn standing(self, session: &Session) -> Result<Resumed> {
        if self.is_redeemed {
            return Err(fault::session_used().into());
        }
        if !self.resumed.user.enabled {
            return Err(fault::user_disabled().into());
        }
        if !session.is_of(&self.resumed.user) {
            return Err(fault::invalid_session().into());
        }
        Ok(self.resumed)
    }
}

async fn look(cx: &Cx, entrance: &Entrance, session: &Session) -> Result<Found> {
    let once = session.once(cx);
    let captures = (entrance.pool.record.id.clone(), session.sub.clone(), once.digest, cx.now());
    let (user, is_redeemed, locked_until) = cx
        .store
        .read(captures, |(pool, sub, digest, now), tx| {
            Box::pin(async move {
                Ok::<_, Error>((
                    users::by_sub(tx, pool, sub).await?,
                    sessions::is_redeemed(tx, digest).await?,
                    limits::locked_until(tx, pool, sub.as_str(), *now).await?,
                ))
            })
        })
        .await?;
    let user = user.ok_or_else(fault::invalid_session)?;
    Ok(Found { resumed: Resumed { user, once, is_locked: locked_until.is_some() }, is_redeemed })
}
