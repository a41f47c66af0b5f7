//! Passwords: the pool's policy, the sealed SRP verifier they are kept as, their history.

use lido_crypto::keys::Purpose;
use lido_crypto::srp::Verifier;
use lido_domain::{Millis, PoolId, Secret, Sub, User, UserStatus};
use lido_wire::types::{PasswordPolicyType, UserPoolTierType};
use serde::{Deserialize, Serialize};

use crate::cx::Cx;
use crate::fault::{self, Error, Fault, Result};
use crate::pool::Pool;

const SYMBOLS: &str = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+- ";

/// Longest password. Source: PasswordType.
const LONGEST: usize = 256;

/// The first rule of the policy that the password breaks: length, then the classes in this order.
pub fn violation(policy: &PasswordPolicyType, password: &str) -> Option<&'static str> {
    let least = usize::try_from(policy.minimum_length.unwrap_or(8)).unwrap_or(8);
    let has = |class: fn(char) -> bool| password.chars().any(class);
    if password.chars().count() < least {
        Some("Password not long enough")
    } else if policy.require_uppercase == Some(true) && !has(|c| c.is_ascii_uppercase()) {
        Some("Password must have uppercase characters")
    } else if policy.require_lowercase == Some(true) && !has(|c| c.is_ascii_lowercase()) {
        Some("Password must have lowercase characters")
    } else if policy.require_numbers == Some(true) && !has(|c| c.is_ascii_digit()) {
        Some("Password must have numeric characters")
    } else if policy.require_symbols == Some(true) && !has(|c| SYMBOLS.contains(c)) {
        Some("Password must have symbol characters")
    } else {
        None
    }
}

/// Refuses a password that breaks the pool's policy. `worded`: how the operation words it.
pub fn check_policy(pool: &Pool, password: &str, worded: fn(&str) -> Fault) -> Result<()> {
    // In a challenge's responses the model does not bound it.
    if password.encode_utf16().count() > LONGEST {
        return Err(fault::password_too_long(LONGEST).into());
    }
    match violation(&pool.password_policy(), password) {
        Some(reason) => Err(worded(reason).into()),
        None => Ok(()),
    }
}

/// A temporary password that any policy takes: every class, at least the pool's length.
pub fn generate(cx: &Cx, pool: &Pool) -> Secret<String> {
    let least = usize::try_from(pool.password_policy().minimum_length.unwrap_or(8)).unwrap_or(8);
    let classes: [&[u8]; 4] =
        [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnopqrstuvwxyz", b"23456789", b"!@#%*-_=+?"];
    let rest = least.max(12) - classes.len();
    let mut characters: Vec<char> =
        classes.iter().flat_map(|class| cx.random_text(class, 1).chars().collect::<Vec<_>>()).collect();
    characters.extend(cx.random_text(&classes.concat(), rest).chars());
    // Fisher–Yates, so that the first four do not tell their classes.
    for last in (1..characters.len()).rev() {
        let mut bytes = [0_u8; 4];
        cx.random.fill(&mut bytes);
        characters.swap(last, u32::from_be_bytes(bytes) as usize % (last + 1));
    }
    Secret::new(characters.into_iter().collect())
}

fn context<'a>(pool: &'a PoolId, sub: &'a Sub) -> [&'a [u8]; 2] {
    [pool.as_str().as_bytes(), sub.as_str().as_bytes()]
}

/// The verifier behind its sealed form.
pub fn open(cx: &Cx, user: &User, sealed: &[u8]) -> Result<Verifier> {
    let plain = cx
        .keyring
        .open(Purpose::PasswordVerifier, &context(&user.pool, &user.sub), sealed)
        .map_err(Error::internal)?;
    Verifier::from_bytes(&plain).ok_or_else(|| Error::internal("a stored password verifier is not readable"))
}

fn seal(cx: &Cx, user: &User, verifier: &Verifier) -> Vec<u8> {
    let context = context(&user.pool, &user.sub);
    cx.keyring.seal(Purpose::PasswordVerifier, &context, &verifier.to_bytes(), &*cx.random)
}

/// Computes the sealed verifier of a password for this user.
async fn derive(cx: &Cx, user: &User, password: &str) -> Result<Vec<u8>> {
    let mut salt = [0_u8; 16];
    cx.random.fill(&mut salt);
    let (group, identity) = (user.pool.srp_name().to_owned(), user.username.clone());
    let password = Secret::new(password.to_owned());
    let verifier =
        cx.crypto.run(move || Verifier::derive(&group, &identity, password.expose(), salt)).await?;
    Ok(seal(cx, user, &verifier))
}

/// Whether the password is the one that the verifier is of. Costs one power of g, for a simulated
/// verifier as well.
pub async fn matches(
    cx: &Cx,
    pool: &PoolId,
    identity: &str,
    verifier: Verifier,
    password: &str,
) -> Result<bool> {
    let (group, identity) = (pool.srp_name().to_owned(), identity.to_owned());
    let password = Secret::new(password.to_owned());
    cx.crypto.run(move || verifier.matches(&group, &identity, password.expose())).await
}

/// Earlier passwords of a user, newest first, each as verifier bytes.
#[derive(Default, Serialize, Deserialize)]
struct History(Vec<Vec<u8>>);

fn history(cx: &Cx, user: &User) -> Result<History> {
    let Some(sealed) = &user.password_history else { return Ok(History::default()) };
    let plain = cx
        .keyring
        .open(Purpose::PasswordVerifier, &context(&user.pool, &user.sub), sealed)
        .map_err(Error::internal)?;
    serde_json::from_slice(&plain).map_err(Error::internal)
}

/// Gives the user a new password and status, under the pool's history rule.
///
/// Errors: [`fault::password_history`] when it is among the last ones that the pool remembers.
pub async fn set(cx: &Cx, pool: &Pool, user: &mut User, password: &str, status: UserStatus) -> Result<()> {
    let remembered = usize::try_from(pool.password_policy().password_history_size.unwrap_or(0)).unwrap_or(0);
    let remembered = if pool.tier() == UserPoolTierType::Lite { 0 } else { remembered };
    if remembered > 0 {
        let mut history = history(cx, user)?;
        if let Some(sealed) = &user.password {
            history.0.insert(0, open(cx, user, sealed)?.to_bytes());
        }
        history.0.truncate(remembered);
        for bytes in &history.0 {
            let earlier = Verifier::from_bytes(bytes)
                .ok_or_else(|| Error::internal("a stored password verifier is not readable"))?;
            if matches(cx, &user.pool, &user.username, earlier, password).await? {
                return Err(fault::password_history().into());
            }
        }
        let plain = serde_json::to_vec(&history).map_err(Error::internal)?;
        let context = context(&user.pool, &user.sub);
        user.password_history =
            Some(cx.keyring.seal(Purpose::PasswordVerifier, &context, &plain, &*cx.random));
    } else {
        user.password_history = None;
    }
    user.password = Some(derive(cx, user, password).await?);
    user.password_set = cx.now();
    user.status = status;
    Ok(())
}

/// Whether a temporary password has outlived the pool's validity for them.
pub fn is_expired_temporary(pool: &Pool, user: &User, now: Millis) -> bool {
    user.status == UserStatus::ForceChangePassword
        && user.password_set + pool.temporary_password_validity() <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_broken_rule_is_named() {
        let policy = PasswordPolicyType {
            minimum_length: Some(8),
            require_uppercase: Some(true),
            require_lowercase: Some(true),
            require_numbers: Some(true),
            require_symbols: Some(true),
            ..PasswordPolicyType::default()
        };
        for (password, reason) in [
            ("aA1!", Some("Password not long enough")),
            ("aaaaaaaa", Some("Password must have uppercase characters")),
            ("AAAAAAAA", Some("Password must have lowercase characters")),
            ("AAAAaaaa", Some("Password must have numeric characters")),
            ("AAAAaaa1", Some("Password must have symbol characters")),
            ("AAAaaa1!", None),
            ("AAAaaa1é", Some("Password must have symbol characters")),
        ] {
            assert_eq!(violation(&policy, password), reason, "{password}");
        }
        assert_eq!(violation(&PasswordPolicyType::default(), "long enough"), None);
    }
}
