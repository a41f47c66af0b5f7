//! The second factor: which one is due, the challenges that ask for it, and its first registration in a sign-in.
//!
//! A code that was sent is bound to the session that it was sent in; a software token's code is good once. A wrong
//! one leaves the session as it is and counts towards the lockout as a wrong password does.

use std::collections::{BTreeMap, BTreeSet};

use lido_crypto::keys::Purpose as KeyPurpose;
use lido_crypto::totp;
use lido_domain::{Medium, MfaFactor, User, UserStatus};
use lido_store::codes::{self as stored_codes, Attempt, Redeemed};
use lido_store::{limits, users};
use lido_wire::ErrorCode;
use lido_wire::types::{AttributeType, ChallengeNameType, UserPoolMfaType};
use serde_json::json;
use tracing::warn;

use crate::attributes::{self, Writer};
use crate::auth::finish::{self, Change, Once, Proof, SecondFactor};
use crate::auth::session::{self, Awaits, Resumed, Session, Setup, VerifiedToken};
use crate::auth::{Entrance, Parameters, Step};
use crate::codes::{self, Counted, Purpose};
use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::messages::{self, Address, Kind, Letter, Prepared, mask};
use crate::ops::recovery;
use crate::pool::{Pool, is_verified};
use crate::tokens::issue::Source;

// ---- Which factor is due ---------------------------------------------------------------------

/// What a user has to do after the first factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Factor(MfaFactor),
    /// One of several, as the user likes.
    Select(Vec<MfaFactor>),
    /// None is usable: one of these has to be set up.
    Setup(Vec<MfaFactor>),
}

/// What the decision rests on.
#[derive(Clone, Debug)]
struct Situation {
    mode: UserPoolMfaType,
    /// What the pool has.
    available: BTreeSet<MfaFactor>,
    /// What the user has turned on.
    enabled: BTreeSet<MfaFactor>,
    preferred: Option<MfaFactor>,
    /// What the user has a registration or an address for.
    possible: BTreeSet<MfaFactor>,
    /// The factor whose address is the user's only one and the first that the pool recovers passwords by.
    recovers: Option<MfaFactor>,
}

impl Situation {
    fn of(pool: &Pool, user: &User) -> Self {
        let possible = MfaFactor::ALL.into_iter().filter(|factor| has(user, *factor)).collect();
        let addresses: Vec<MfaFactor> = MfaFactor::ALL
            .into_iter()
            .filter(|factor| factor.address().is_some() && has(user, *factor))
            .collect();
        let recovers = match (&addresses[..], recovery::primary_address(pool)) {
            ([only], Some(first)) if only.address() == Some(first) => Some(*only),
            _ => None,
        };
        Self {
            mode: pool.settings.mfa_configuration.unwrap_or(UserPoolMfaType::Off),
            available: pool.mfa_factors(),
            enabled: user.mfa.enabled.clone(),
            preferred: user.mfa.preferred,
            possible,
            recovers,
        }
    }

    /// The factors that the user may be asked for.
    ///
    /// Where the pool leaves MFA to the user, that is what the user has turned on; where it requires MFA, whatever
    /// the user can do, but for an address that is needed to recover the password.
    // Differs: what the user has turned on is asked for even if its address recovers the password. Left out, it
    // would be a factor that is on and not asked for; recovery by that address is refused instead.
    fn usable(&self) -> BTreeSet<MfaFactor> {
        let is_usable = |factor: &MfaFactor| match self.mode {
            UserPoolMfaType::Off => false,
            UserPoolMfaType::Optional => self.enabled.contains(factor),
            UserPoolMfaType::On => self.enabled.contains(factor) || self.recovers != Some(*factor),
        };
        self.available.intersection(&self.possible).copied().filter(is_usable).collect()
    }

    /// None where tokens are due. Errors: [`fault::no_second_factor`].
    fn due(&self) -> Result<Option<Due>, Fault> {
        let usable = self.usable();
        let only_optional = self.mode != UserPoolMfaType::On;
        if let Some(preferred) = self.preferred.filter(|preferred| usable.contains(preferred)) {
            return Ok(Some(Due::Factor(preferred)));
        }
        let mut factors = usable.into_iter();
        match (factors.next(), factors.next()) {
            (Some(only), None) => Ok(Some(Due::Factor(only))),
            (Some(_), Some(_)) => Ok(Some(Due::Select(self.usable().into_iter().collect()))),
            (None, _) if only_optional => Ok(None),
            (None, _) => {
                // A phone number cannot be set up in a sign-in. Source: MFA_SETUP.
                let can_be_set_up =
                    |factor: &MfaFactor| *factor != MfaFactor::SmsMfa && !self.possible.contains(factor);
                let choices: Vec<_> = self.available.iter().copied().filter(can_be_set_up).collect();
                if choices.is_empty() {
                    Err(fault::no_second_factor())
                } else {
                    Ok(Some(Due::Setup(choices)))
                }
            }
        }
    }
}

/// Whether the user has what the factor needs.
pub(crate) fn has(user: &User, factor: MfaFactor) -> bool {
    match factor.address() {
        Some(attribute) => user.attributes.get(attribute).is_some_and(|value| !value.is_empty()),
        None => user.totp_secret.is_some(),
    }
}

/// What is due after the first factor; None for tokens. Errors: [`fault::no_second_factor`].
pub(super) fn due(pool: &Pool, user: &User) -> Result<Option<Due>> {
    Ok(Situation::of(pool, user).due()?)
}

/// Whether codes for a sign-in go to `attribute`: then it recovers no password. Source: AccountRecoverySetting.
pub(crate) fn signs_in_by(pool: &Pool, user: &User, attribute: &str) -> bool {
    let situation = Situation::of(pool, user);
    let usable = situation.usable();
    let by_it = |factor: &MfaFactor| factor.address() == Some(attribute);
    let only = usable.len() == 1;
    usable.iter().any(|factor| by_it(factor) && (only || situation.enabled.contains(factor)))
}

// ---- Asking for it ---------------------------------------------------------------------------

/// Asks for what is due, in one write with what led here.
///
/// Errors: what `once` says, [`fault::locked_out`], those of the CustomMessage trigger,
/// [`fault::too_many_requests`] past the hourly count.
pub(super) async fn challenge(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    once: Option<Once>,
    source: Source,
    due: Due,
) -> Result<Step> {
    let new = |awaits| Session::new(cx, entrance, user, awaits).from(source);
    let (session, more) = match due {
        Due::Factor(MfaFactor::SoftwareTokenMfa) => {
            let name = user.mfa.token_name.as_ref().map(|name| ("FRIENDLY_DEVICE_NAME", name.clone()));
            (new(Awaits::SoftwareTokenMfa), name)
        }
        Due::Factor(MfaFactor::SmsMfa) => {
            let address =
                Address::of(&user.attributes, "phone_number").ok_or_else(fault::no_second_factor)?;
            let session = new(Awaits::SmsMfa(address.value.clone()));
            return send(cx, entrance, user, once, session, address).await;
        }
        Due::Factor(MfaFactor::EmailOtp) => {
            let address = Address::of(&user.attributes, "email").ok_or_else(fault::no_second_factor)?;
            let session = new(Awaits::EmailOtp { address: address.value.clone(), is_new: false });
            return send(cx, entrance, user, once, session, address).await;
        }
        Due::Select(factors) => {
            let listed = ("MFAS_CAN_CHOOSE", json!(factors).to_string());
            (new(Awaits::SelectMfaType(factors)), Some(listed))
        }
        Due::Setup(choices) => {
            let listed = ("MFAS_CAN_SETUP", json!(choices).to_string());
            (new(Awaits::MfaSetup(Setup { choices, ..Setup::default() })), Some(listed))
        }
    };
    go_on(cx, user, once, None).await?;
    Ok(step(cx, entrance, user, &session, more))
}

fn step(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    session: &Session,
    more: impl IntoIterator<Item = (&'static str, String)>,
) -> Step {
    let mut parameters = BTreeMap::from([("USER_ID_FOR_SRP".to_owned(), user.username.clone())]);
    parameters.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Step::Challenge {
        name: session.awaits.challenge(),
        parameters,
        session: Some(session::seal(cx, entrance, session)),
    }
}

/// Sends a code that is good in this session alone.
async fn send(
    cx: &Cx,
    entrance: &Entrance,
    user: &User,
    once: Option<Once>,
    session: Session,
    address: Address,
) -> Result<Step> {
    let medium = address.medium();
    let counted = if medium == Medium::Email { Counted::EmailMfa } else { Counted::SmsMfa };
    codes::count(cx, &user.pool, &user.sub, counted).await.map_err(|error| match error {
        // Sign-in does not know LimitExceededException.
        Error::Fault(fault) if fault.is(ErrorCode::LimitExceeded) => fault::too_many_requests().into(),
        other => other,
    })?;
    let mut code = codes::new(cx, &user.pool, &user.sub, Purpose::signing_in(address.attribute), &address);
    code.record.target = session.code_target(&address);
    code.record.expires = session.expires;
    let delivered_to = [
        ("CODE_DELIVERY_DELIVERY_MEDIUM", medium.as_str().to_owned()),
        ("CODE_DELIVERY_DESTINATION", mask::destination(medium, &address.value)),
    ];
    let letter = Letter {
        pool: &entrance.pool,
        client: Some(&entrance.client),
        user,
        kind: Kind::Authentication,
        address,
        secret: &code.text,
        code: Some(code.record),
        metadata: entrance.metadata.as_ref(),
    };
    let message = messages::prepare(cx, letter).await?;
    go_on(cx, user, once, Some(message.clone())).await?;
    match message.deliver(cx).await {
        // Sign-in does not know CodeDeliveryFailureException.
        Err(Error::Fault(fault)) => warn!(fault.code, "a code for a sign-in was not delivered"),
        outcome => drop(outcome?),
    }
    Ok(step(cx, entrance, user, &session, delivered_to))
}

/// Redeems what led here, and queues the code if there is one.
async fn go_on(cx: &Cx, user: &User, once: Option<Once>, message: Option<Prepared>) -> Result<()> {
    let captures = (user.pool.clone(), user.sub.clone(), once, cx.now(), message);
    cx.store
        .write(captures, |(pool, sub, once, now, message), tx| {
            Box::pin(async move {
                finish::redeem_unlocked(tx, pool, sub, once.as_ref(), *now).await?;
                if let Some(message) = message {
                    message.post(tx).await?;
                }
                Ok(())
            })
        })
        .await
}

// ---- Answers ---------------------------------------------------------------------------------

/// RespondToAuthChallenge with one of the challenges of this file.
pub(super) async fn answer(
    cx: &Cx,
    entrance: &Entrance,
    challenge: ChallengeNameType,
    sealed: Option<&str>,
    responses: &Parameters,
) -> Result<Step> {
    responses.require("USERNAME")?;
    let wanted = match challenge {
        ChallengeNameType::SmsMfa => Some("SMS_MFA_CODE"),
        ChallengeNameType::EmailOtp => Some("EMAIL_OTP_CODE"),
        ChallengeNameType::SoftwareTokenMfa => Some("SOFTWARE_TOKEN_MFA_CODE"),
        ChallengeNameType::SelectMfaType => Some("ANSWER"),
        _ => None,
    };
    let sent = wanted.map(|name| responses.require(name)).transpose()?.unwrap_or_default();
    let session = session::open(cx, entrance, sealed, challenge)?;
    let resumed = session::resume(cx, entrance, &session, responses).await?;
    resumed.require_unlocked()?;
    if resumed.user.status != UserStatus::Confirmed {
        return Err(fault::invalid_session().into());
    }
    match &session.awaits {
        Awaits::SmsMfa(number) => {
            let address = Address::phone_number(number);
            answer_code(cx, entrance, &session, resumed, address, false, sent).await
        }
        Awaits::EmailOtp { address, is_new } => {
            let address = Address::email(address);
            answer_code(cx, entrance, &session, resumed, address, *is_new, sent).await
        }
        Awaits::SoftwareTokenMfa => answer_software_token(cx, entrance, &session, resumed, sent).await,
        Awaits::SelectMfaType(factors) => select(cx, entrance, &session, resumed, factors, sent).await,
        Awaits::MfaSetup(setup) => answer_setup(cx, entrance, &session, resumed, setup, responses).await,
        Awaits::NewPasswordRequired => Err(fault::invalid_session().into()),
    }
}

/// Redeems a code that was sent. The address it arrived at is verified by it.
///
/// Errors: [`fault::code_or_auth_state_mismatch`], [`fault::locked_out`], those of [`finish::complete`].
async fn answer_code(
    cx: &Cx,
    entrance: &Entrance,
    session: &Session,
    resumed: Resumed,
    address: Address,
    is_new: bool,
    sent: &str,
) -> Result<Step> {
    let user = resumed.user;
    if is_new {
        require_setup(entrance, &user, MfaFactor::EmailOtp)?;
    }
    let purpose = Purpose::signing_in(address.attribute);
    let attempt = codes::attempt(cx, &user.pool, &user.sub, purpose, session.code_target(&address), sent);
    let right = cx
        .store
        .read((user.clone(), attempt.clone()), |(user, attempt), tx| {
            Box::pin(async move {
                Ok::<_, Error>(stored_codes::would_redeem(tx, &user.pool, &user.sub, attempt).await?)
            })
        })
        .await?;
    // A code to an address that the user has no longer proves nothing.
    let is_current = is_new || user.attributes.get(address.attribute) == Some(&address.value);
    if !right || !is_current {
        let attempt = is_current.then_some(attempt);
        return Err(wrong(cx, &user, attempt, fault::code_or_auth_state_mismatch()).await?);
    }
    let second = SecondFactor::Code { attempt, address: (!is_new).then(|| address.clone()) };
    let change = if is_new {
        Some(Change::NewEmail(address))
    } else if is_verified(&user.attributes, address.attribute) {
        None
    } else {
        Some(Change::Verified(address))
    };
    let proof = Proof { once: Some(resumed.once), second: Some(second), change };
    finish::complete(cx, entrance, &user, proof, session.source()).await
}

/// Errors: [`fault::software_token_mismatch`], [`fault::software_token_used`], [`fault::locked_out`].
async fn answer_software_token(
    cx: &Cx,
    entrance: &Entrance,
    session: &Session,
    resumed: Resumed,
    sent: &str,
) -> Result<Step> {
    let user = resumed.user;
    // Removed since the challenge was given.
    let Some(sealed) = &user.totp_secret else { return Err(fault::invalid_session().into()) };
    let seed = open_seed(cx, &user, sealed)?;
    let Some(step) = totp::matching_step(&seed, sent, cx.now()) else {
        return Err(wrong(cx, &user, None, fault::software_token_mismatch()).await?);
    };
    let last = cx
        .store
        .read(user.clone(), |user, tx| {
            Box::pin(async move { Ok::<_, Error>(users::totp_step(tx, &user.pool, &user.sub).await?) })
        })
        .await?;
    if last.is_none_or(|last| step <= last) {
        return Err(fault::software_token_used().into());
    }
    let second = Some(SecondFactor::Step(step));
    let proof = Proof { once: Some(resumed.once), second, change: None };
    finish::complete(cx, entrance, &user, proof, session.source()).await
}

/// Errors: [`fault::mfa_type_not_offered`].
async fn select(
    cx: &Cx,
    entrance: &Entrance,
    session: &Session,
    resumed: Resumed,
    offered: &[MfaFactor],
    answer: &str,
) -> Result<Step> {
    let factor = MfaFactor::parse(answer)
        .filter(|factor| offered.contains(factor))
        .ok_or_else(fault::mfa_type_not_offered)?;
    let user = resumed.user;
    if !Situation::of(&entrance.pool, &user).usable().contains(&factor) {
        return Err(fault::invalid_session().into());
    }
    challenge(cx, entrance, &user, Some(resumed.once), session.source(), Due::Factor(factor)).await
}

/// Registers the software token that was verified in this session, or sends a code to a first e-mail address.
///
/// Errors: [`fault::nothing_set_up`], [`fault::invalid_email_format`], [`fault::unauthorized_attribute_write`].
async fn answer_setup(
    cx: &Cx,
    entrance: &Entrance,
    session: &Session,
    resumed: Resumed,
    setup: &Setup,
    responses: &Parameters,
) -> Result<Step> {
    let user = resumed.user;
    if let (Some(seed), Some(verified)) = (&setup.seed, &setup.verified) {
        require_setup(entrance, &user, MfaFactor::SoftwareTokenMfa)?;
        let change =
            Change::SoftwareToken { sealed: seal_seed(cx, &user, seed), name: verified.name.clone() };
        let proof = Proof {
            once: Some(resumed.once),
            second: Some(SecondFactor::Registered(verified.step)),
            change: Some(change),
        };
        return finish::complete(cx, entrance, &user, proof, session.source()).await;
    }
    // Clients write EMAIL, documentation email.
    let Some(email) = responses.get("EMAIL").or_else(|| responses.get("email")) else {
        return Err(fault::nothing_set_up().into());
    };
    if !setup.choices.contains(&MfaFactor::EmailOtp) {
        return Err(fault::mfa_type_not_offered().into());
    }
    require_setup(entrance, &user, MfaFactor::EmailOtp)?;
    let sent = [AttributeType { name: "email".to_owned(), value: Some(email.into()) }];
    let change = attributes::for_update(&entrance.pool, Writer::Client(&entrance.client), &sent)?;
    let email = change.set.get("email").ok_or_else(fault::invalid_email_format)?;
    let awaits = Awaits::EmailOtp { address: email.clone(), is_new: true };
    let next = Session::new(cx, entrance, &user, awaits).from(session.source());
    send(cx, entrance, &user, Some(resumed.once), next, Address::email(email.as_str())).await
}

/// Refuses to set up a factor once the user has one: then that one is due. Errors: [`fault::invalid_session`].
fn require_setup(entrance: &Entrance, user: &User, factor: MfaFactor) -> Result<()> {
    match due(&entrance.pool, user)? {
        Some(Due::Setup(choices)) if choices.contains(&factor) => Ok(()),
        _ => Err(fault::invalid_session().into()),
    }
}

/// Counts a wrong answer like a wrong password, and for the code that it was not. Returns what the caller is told:
/// `told`, or [`fault::locked_out`] when others had locked the user meanwhile.
async fn wrong(cx: &Cx, user: &User, attempt: Option<Attempt>, told: Fault) -> Result<Error> {
    let captures = (user.pool.clone(), user.sub.clone(), attempt, cx.now());
    let counted = cx
        .store
        .write(captures, |(pool, sub, attempt, now), tx| {
            Box::pin(async move {
                if !limits::count_failure(tx, pool, sub.as_str(), *now).await? {
                    return Ok(false);
                }
                if let Some(attempt) = attempt
                    && stored_codes::redeem(tx, pool, sub, attempt).await? == Redeemed::Right
                {
                    // Right by now: run again.
                    return Err(Error::Conflict);
                }
                Ok(true)
            })
        })
        .await?;
    Ok(if counted { told } else { fault::locked_out() }.into())
}

// ---- Software tokens -------------------------------------------------------------------------

fn seed_context(user: &User) -> [&[u8]; 2] {
    [user.pool.as_str().as_bytes(), user.sub.as_str().as_bytes()]
}

/// A seed as it is stored with its user.
pub(crate) fn seal_seed(cx: &Cx, user: &User, seed: &[u8]) -> Vec<u8> {
    cx.keyring.seal(KeyPurpose::TotpSecret, &seed_context(user), seed, &*cx.random)
}

pub(crate) fn open_seed(cx: &Cx, user: &User, sealed: &[u8]) -> Result<Vec<u8>> {
    cx.keyring.open(KeyPurpose::TotpSecret, &seed_context(user), sealed).map_err(Error::internal)
}

/// A session of MFA_SETUP in which a software token may be set up.
struct Enrolment {
    entrance: Entrance,
    session: Session,
    setup: Setup,
    resumed: Resumed,
}

/// Errors: [`fault::invalid_session`], [`fault::session_expired`], [`fault::session_used`],
/// [`fault::software_token_not_enabled`].
async fn enrolment(cx: &Cx, sealed: &str) -> Result<Enrolment> {
    let entrance = session::entrance(cx, sealed).await?;
    let session = session::open(cx, &entrance, Some(sealed), ChallengeNameType::MfaSetup)?;
    let Awaits::MfaSetup(setup) = &session.awaits else { return Err(fault::invalid_session().into()) };
    let setup = setup.clone();
    let resumed = session::resume_bearer(cx, &entrance, &session).await?;
    if !setup.choices.contains(&MfaFactor::SoftwareTokenMfa)
        || !entrance.pool.mfa_factors().contains(&MfaFactor::SoftwareTokenMfa)
    {
        return Err(fault::software_token_not_enabled().into());
    }
    require_setup(&entrance, &resumed.user, MfaFactor::SoftwareTokenMfa)?;
    Ok(Enrolment { entrance, session, setup, resumed })
}

impl Enrolment {
    /// The session that takes the place of this one.
    async fn go_on(self, cx: &Cx, setup: Setup) -> Result<String> {
        let user = &self.resumed.user;
        let source = self.session.source();
        let next = Session::new(cx, &self.entrance, user, Awaits::MfaSetup(setup)).from(source);
        go_on(cx, user, Some(self.resumed.once), None).await?;
        Ok(session::seal(cx, &self.entrance, &next))
    }
}

/// AssociateSoftwareToken in a sign-in: the seed travels in the session until it is registered. Returns it as apps
/// take it, and the next session.
pub(crate) async fn associate(cx: &Cx, sealed: &str) -> Result<(String, String)> {
    let enrolment = enrolment(cx, sealed).await?;
    let seed = totp::new_seed(&*cx.random);
    let setup = Setup {
        choices: enrolment.setup.choices.clone(),
        seed: Some(seed.expose().to_vec()),
        verified: None,
    };
    Ok((totp::base32(seed.expose()), enrolment.go_on(cx, setup).await?))
}

/// VerifySoftwareToken in a sign-in. Returns the next session.
///
/// Errors: [`fault::software_token_not_verified`]; the session stays good.
pub(crate) async fn verify(cx: &Cx, sealed: &str, code: &str, name: Option<String>) -> Result<String> {
    let enrolment = enrolment(cx, sealed).await?;
    let seed = enrolment.setup.seed.as_ref().ok_or_else(fault::software_token_not_verified)?;
    let step = totp::matching_step(seed, code, cx.now()).ok_or_else(fault::software_token_not_verified)?;
    let setup = Setup { verified: Some(VerifiedToken { step, name }), ..enrolment.setup.clone() };
    enrolment.go_on(cx, setup).await
}

#[cfg(test)]
mod tests;
