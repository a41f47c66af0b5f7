//! USER_SRP_AUTH: SRP-6a over the 3072-bit group, as client libraries speak it.
//!
//! The server's half travels in SECRET_BLOCK, sealed, since some clients send no Session; it proves a
//! password at most once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::keys::Purpose;
use lido_crypto::srp::{self, PublicA, PublicB};
use lido_domain::{Millis, Secret, Sub};
use lido_wire::types::{AuthFlowType, ChallengeNameType, ExplicitAuthFlowsType};
use serde::{Deserialize, Serialize};

use crate::auth::finish::{self, Once};
use crate::auth::subject::Subject;
use crate::auth::{Entrance, Parameters, Step, lockout, require_flow};
use crate::cx::Cx;
use crate::fault::{self, Result};

/// What SECRET_BLOCK holds. Its length must not tell whether there is a user.
#[derive(Serialize, Deserialize)]
struct Block {
    /// What failures are counted for: the user's sub, or as many characters for a name that nobody has.
    subject: String,
    /// 1 for a user, 0 for nobody.
    is_user: u8,
    identity: String,
    expires: Millis,
    a: Vec<u8>,
    b: [u8; 32],
    b_public: Vec<u8>,
}

/// How far a TIMESTAMP may be off. Source: the reply is expected within seconds; the service's window is
/// not known.
const TIMESTAMP_WINDOW_SECONDS: i64 = 5 * 60;

fn context(entrance: &Entrance) -> [&[u8]; 2] {
    [entrance.pool.record.id.as_str().as_bytes(), entrance.client.record.id.as_str().as_bytes()]
}

/// InitiateAuth: answers SRP_A with the PASSWORD_VERIFIER challenge.
pub(super) async fn begin(cx: &Cx, entrance: &Entrance, parameters: &Parameters) -> Result<Step> {
    let name = parameters.require("USERNAME")?;
    let sent_a = parameters.require("SRP_A")?;
    require_flow(&entrance.client, AuthFlowType::UserSrpAuth, ExplicitAuthFlowsType::AllowUserSrpAuth)?;
    let a = srp::parse_a(sent_a).map_err(|_| fault::invalid_srp_a())?;
    let subject = Subject::look(cx, entrance, name, parameters.get("SECRET_HASH")).await?;
    let subject = subject.admit(cx, entrance, name).await?;

    let verifier = subject.verifier(cx, &entrance.pool)?;
    let salt = verifier.salt_hex();
    let random = cx.random.clone();
    let start = cx.crypto.run(move || srp::start(&verifier, &*random)).await?;
    let block = Block {
        subject: subject.lockout,
        is_user: u8::from(subject.user.is_some()),
        identity: subject.identity.clone(),
        expires: cx.now() + entrance.client.session_validity(),
        a: a.to_bytes().to_vec(),
        b: *start.b.expose(),
        b_public: start.public.to_bytes().to_vec(),
    };
    let plain = serde_json::to_vec(&block).expect("a block is always JSON");
    let sealed = cx.keyring.seal(Purpose::SecretBlock, &context(entrance), &plain, &*cx.random);
    let parameters = [
        ("USER_ID_FOR_SRP", subject.identity.clone()),
        ("USERNAME", subject.identity),
        ("SALT", salt),
        ("SRP_B", start.public_hex()),
        ("SECRET_BLOCK", STANDARD.encode(sealed)),
    ];
    Ok(Step::Challenge {
        name: ChallengeNameType::PasswordVerifier,
        parameters: parameters.map(|(name, value)| (name.to_owned(), value)).into(),
        session: None,
    })
}

/// RespondToAuthChallenge PASSWORD_VERIFIER.
pub(super) async fn answer(cx: &Cx, entrance: &Entrance, responses: &Parameters) -> Result<Step> {
    let name = responses.require("USERNAME")?;
    let claim = responses.require("PASSWORD_CLAIM_SIGNATURE")?.to_owned();
    let sent_block = responses.require("PASSWORD_CLAIM_SECRET_BLOCK")?;
    let timestamp = responses.require("TIMESTAMP")?.to_owned();
    let sealed = STANDARD.decode(sent_block).map_err(|_| fault::wrong_credentials())?;
    let block: Block = cx
        .keyring
        .open(Purpose::SecretBlock, &context(entrance), &sealed)
        .ok()
        .and_then(|plain| serde_json::from_slice(&plain).ok())
        .ok_or_else(fault::wrong_credentials)?;
    entrance.client.check_secret_hash(responses.get("SECRET_HASH"), &[name, &block.identity])?;
    if block.expires <= cx.now() || !is_timely(cx, &timestamp) {
        return Err(fault::wrong_credentials().into());
    }
    let pool = &entrance.pool;
    let sub = (block.is_user == 1).then(|| Sub::new(block.subject.as_str()));
    let subject = Subject::resume(cx, pool, sub.as_ref(), block.identity.clone(), block.subject).await?;
    if name != block.identity && !names(cx, entrance, name, &subject).await? {
        return Err(fault::wrong_credentials().into());
    }
    subject.require_unlocked()?;

    let verifier = subject.verifier(cx, pool)?;
    let a = PublicA::from_bytes(&block.a).ok_or_else(fault::wrong_credentials)?;
    let b_public = PublicB::from_bytes(&block.b_public).ok_or_else(fault::wrong_credentials)?;
    let b = Secret::new(block.b);
    let (group, identity) = (pool.record.id.srp_name().to_owned(), block.identity);
    let once = Once {
        digest: cx.keyring.digest(Purpose::Redeemed, &[b"secret block", &sealed]),
        expires: block.expires,
        used: fault::wrong_credentials,
    };
    let right = cx
        .crypto
        .run(move || {
            srp::session_key(&a, &b, &b_public, &verifier).is_some_and(|key| {
                srp::claim_matches(key.expose(), &group, &identity, &sealed, &timestamp, &claim)
            })
        })
        .await?;
    match (right, subject.user.as_ref()) {
        (true, Some(user)) => finish::first_factor_proven(cx, entrance, user, Some(once)).await,
        _ => Err(lockout::failure(cx, pool, &subject).await?),
    }
}

/// Clients stamp with their own clock. Development mode moves the server's, so it does not compare.
fn is_timely(cx: &Cx, timestamp: &str) -> bool {
    let Some(stamped) = srp::parse_timestamp(timestamp) else { return false };
    cx.settings.development || (stamped - cx.now().seconds()).abs() <= TIMESTAMP_WINDOW_SECONDS
}

/// Whether another name that was sent, an alias, is of the user whom the exchange began with.
async fn names(cx: &Cx, entrance: &Entrance, name: &str, subject: &Subject) -> Result<bool> {
    let named = cx.find_user(&entrance.pool, name).await?;
    Ok(match (&named, &subject.user) {
        (Some(named), Some(user)) => named.sub == user.sub,
        // A simulated exchange goes on with the name it began with.
        (None, None) => true,
        _ => false,
    })
}
