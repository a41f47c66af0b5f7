//! Codes that users receive and type: made, hashed, redeemed.

use std::time::Duration;

use lido_crypto::keys::Purpose as KeyPurpose;
use lido_domain::{Millis, PoolId, Secret, Sub, User};
use lido_store::Tx;
use lido_store::codes::{self, Attempt, Code, Redeemed};

use crate::auth::ghost;
use crate::caller::PublicClient;
use crate::cx::Cx;
use crate::fault::{self, Fault, Result};
use crate::messages::Address;
use crate::pool::Pool;

/// What a code is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    SignUp,
    ForgotPassword,
    VerifyEmail,
    VerifyPhoneNumber,
    /// A second factor, or a first one, in one session of a sign-in.
    SignInByEmail,
    SignInBySms,
}

impl Purpose {
    /// The purpose of signing in by a code to `email` or `phone_number`.
    pub fn signing_in(attribute: &str) -> Self {
        if attribute == "email" { Self::SignInByEmail } else { Self::SignInBySms }
    }

    /// The purpose of verifying `email` or `phone_number`.
    pub fn verifying(attribute: &str) -> Self {
        if attribute == "email" { Self::VerifyEmail } else { Self::VerifyPhoneNumber }
    }

    /// As stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::ForgotPassword => "forgot_password",
            Self::VerifyEmail => "verify:email",
            Self::VerifyPhoneNumber => "verify:phone_number",
            Self::SignInByEmail => "sign_in:email",
            Self::SignInBySms => "sign_in:phone_number",
        }
    }

    /// Source: quotas, validity of codes. That of a sign-in ends with its session, this is the longest.
    fn validity(self) -> Duration {
        match self {
            Self::SignInByEmail | Self::SignInBySms => Millis::minutes(15),
            Self::ForgotPassword => Millis::hours(1),
            Self::SignUp | Self::VerifyEmail | Self::VerifyPhoneNumber => Millis::hours(24),
        }
    }

    /// Wrong attempts that a code survives: the service's attempts per hour, which bound a guess to
    /// 15 in a million for each code that was sent.
    fn max_attempts(self) -> i64 {
        match self {
            Self::ForgotPassword => 10,
            Self::SignUp
            | Self::VerifyEmail
            | Self::VerifyPhoneNumber
            | Self::SignInByEmail
            | Self::SignInBySms => 15,
        }
    }
}

/// A new code, and its record for the store.
#[derive(Clone, Debug)]
pub struct NewCode {
    pub text: Secret<String>,
    pub record: Code,
}

/// Six decimal digits, bound to the user, the purpose and the address they are sent to.
pub fn new(cx: &Cx, pool: &PoolId, sub: &Sub, purpose: Purpose, address: &Address) -> NewCode {
    let text = cx.random_text(b"0123456789", 6);
    let record = Code {
        purpose: purpose.as_str().to_owned(),
        digest: digest(cx, pool, sub, purpose, &text),
        target: address.target(),
        expires: cx.now() + purpose.validity(),
    };
    NewCode { text: Secret::new(text), record }
}

fn digest(cx: &Cx, pool: &PoolId, sub: &Sub, purpose: Purpose, text: &str) -> [u8; 32] {
    let parts = [pool.as_str(), sub.as_str(), purpose.as_str(), text];
    cx.keyring.digest(KeyPurpose::Code, &parts.map(str::as_bytes))
}

/// An attempt to redeem `text`, for [`redeem`].
pub fn attempt(cx: &Cx, pool: &PoolId, sub: &Sub, purpose: Purpose, target: String, text: &str) -> Attempt {
    Attempt {
        purpose: purpose.as_str().to_owned(),
        digest: digest(cx, pool, sub, purpose, text),
        target,
        now: cx.now(),
        max_attempts: purpose.max_attempts(),
    }
}

/// Completes an attempt whose code went to whichever address was due at the time: it must still be the
/// user's. Without such a code the attempt finds none.
pub async fn aim(tx: &mut Tx, user: &User, attempt: &mut Attempt) -> lido_store::Result<()> {
    let target = codes::target(tx, &user.pool, &user.sub, &attempt.purpose, attempt.now).await?;
    let is_current = |target: &String| {
        target
            .split_once('=')
            .is_some_and(|(name, value)| user.attributes.get(name).is_some_and(|now| now == value))
    };
    attempt.target = target.filter(is_current).unwrap_or_default();
    Ok(())
}

/// Takes the code, or says why not. The refusal is a value and not an error: the write that counted
/// the attempt must be committed.
pub async fn redeem(
    tx: &mut Tx,
    pool: &PoolId,
    sub: &Sub,
    attempt: &Attempt,
) -> lido_store::Result<Result<(), Fault>> {
    Ok(match codes::redeem(tx, pool, sub, attempt).await? {
        Redeemed::Right => Ok(()),
        Redeemed::Wrong => Err(fault::code_mismatch()),
        Redeemed::Exhausted => Err(fault::attempt_limit_exceeded()),
        Redeemed::Absent => Err(fault::expired_code()),
    })
}

/// What is counted for a user each hour. Source: quotas, attempt and resend limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    GetUserAttributeVerificationCode,
    VerifyUserAttribute,
    ResendConfirmationCode,
    ConfirmSignUp,
    /// ForgotPassword and ConfirmForgotPassword together.
    ForgotPassword,
    ChangePassword,
    /// Codes of sign-ins that are sent by e-mail.
    EmailMfa,
    /// The same by SMS. Each costs money: who knows one password must not be able to send any number.
    SmsMfa,
}

impl Counted {
    fn most(self) -> i64 {
        match self {
            Self::GetUserAttributeVerificationCode | Self::ResendConfirmationCode | Self::ChangePassword => 5,
            Self::VerifyUserAttribute | Self::ConfirmSignUp => 15,
            Self::ForgotPassword => 10,
            Self::EmailMfa | Self::SmsMfa => 20,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::GetUserAttributeVerificationCode => "verification_code",
            Self::VerifyUserAttribute => "verify_attribute",
            Self::ResendConfirmationCode => "resend_code",
            Self::ConfirmSignUp => "confirm_sign_up",
            Self::ForgotPassword => "forgot_password",
            Self::ChangePassword => "change_password",
            Self::EmailMfa => "email_mfa",
            Self::SmsMfa => "sms_mfa",
        }
    }
}

/// Counts an action of the user where counts are limited; past the limit it is refused, before any
/// function runs or message is written. The count stands even if the action then fails.
pub async fn count(cx: &Cx, pool: &PoolId, sub: &Sub, counted: Counted) -> Result<()> {
    count_subject(cx, pool, sub.as_str(), counted).await
}

/// The same for a public operation about the user whom `name` names.
///
/// Where the client may not tell who exists, this counts before anything else is looked at, and for a name
/// that nobody has as well: else the limit would tell. Where it may, it does nothing, and [`count`] counts
/// once it is known that there is something to count.
pub async fn count_discreetly(
    cx: &Cx,
    caller: &PublicClient,
    name: &str,
    user: Option<&User>,
    counted: Counted,
) -> Result<()> {
    if caller.client.tells_user_existence() {
        return Ok(());
    }
    let subject = user.map_or_else(|| ghost(cx, &caller.pool, name), |user| user.sub.to_string());
    count_subject(cx, &caller.pool.record.id, &subject, counted).await
}

/// One durable write, as there is for a user: where the client may not tell who exists, neither does the time
/// that an answer takes.
pub async fn as_for_a_user(cx: &Cx, pool: &Pool, name: &str) -> Result<()> {
    let captures = (pool.record.id.clone(), ghost(cx, pool, name), cx.now());
    cx.store
        .write(captures, |(pool, subject, now), tx| {
            Box::pin(async move {
                lido_store::limits::count_hourly(tx, pool, subject, "nobody", i64::MAX, *now).await?;
                Ok::<_, crate::Error>(())
            })
        })
        .await
}

async fn count_subject(cx: &Cx, pool: &PoolId, subject: &str, counted: Counted) -> Result<()> {
    if !cx.settings.limit_counts {
        return Ok(());
    }
    let within = cx
        .store
        .write((pool.clone(), subject.to_owned(), cx.now()), move |(pool, subject, now), tx| {
            Box::pin(async move {
                let (action, most) = (counted.as_str(), counted.most());
                Ok::<_, crate::Error>(
                    lido_store::limits::count_hourly(tx, pool, subject, action, most, *now).await?,
                )
            })
        })
        .await?;
    if within { Ok(()) } else { Err(fault::attempt_limit_exceeded().into()) }
}
