//! Sealing: AES-256-GCM for what is stored or handed to a client and must come back untouched. The keys and
//! the entry points are in [`keys`](crate::keys); here is the format.
//!
//! ```text
//! version (1) | key id (8) | salt (12) | nonce (12) | ciphertext | tag (16)
//! ```
//!
//! The key id says which data key it was, so that values of an earlier one can be told and opened. Every message
//! has a key of its own, HMAC-SHA256 of the salt under the purpose's key. A key that sealed with random 96-bit
//! nonces alone should be changed after 2^32 messages; sessions and secret blocks of a busy server would reach
//! that within months, and with the salt they never do.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hmac};
use lido_domain::Random;

const VERSION: u8 = 1;
const ID_LEN: usize = 8;
const SALT_LEN: usize = 12;
const HEADER_LEN: usize = 1 + ID_LEN + SALT_LEN + NONCE_LEN;

/// What [`KeyRing::seal`](crate::keys::KeyRing::seal) adds to the length of the plain text.
pub const OVERHEAD: usize = HEADER_LEN + 16;

/// Names a data key. Random, not secret. As text: 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub(crate) [u8; ID_LEN]);

impl KeyId {
    pub fn generate(random: &dyn Random) -> Self {
        let mut id = [0; ID_LEN];
        random.fill(&mut id);
        Self(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that names no data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a data key")]
pub struct NotAKeyId;

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 2 * ID_LEN || !text.bytes().all(is_digit) {
            return Err(NotAKeyId);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| NotAKeyId)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Something was not sealed with this key for this purpose and context, or has been changed since. On purpose
/// there is no telling which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed value is not authentic")]
pub struct SealError;

/// Whether two byte strings are equal, in a time that depends on their lengths alone.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// Each part behind its length, so that no two lists of parts read the same.
pub(crate) fn framed<'a>(parts: &'a [&'a [u8]]) -> impl Iterator<Item = ([u8; 8], &'a [u8])> {
    parts.iter().map(|part| ((part.len() as u64).to_be_bytes(), *part))
}

fn additional_data(id: KeyId, context: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&id.0);
    for (length, part) in framed(context) {
        out.extend_from_slice(&length);
        out.extend_from_slice(part);
    }
    out
}

fn message_key(key: &hmac::Key, salt: &[u8]) -> LessSafeKey {
    let tag = hmac::sign(key, salt);
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, tag.as_ref()).expect("an HMAC-SHA256 has 32 bytes"))
}

/// The data key that a value says it was sealed with. Nothing is verified.
pub(crate) fn key_id(sealed: &[u8]) -> Option<KeyId> {
    let (&version, rest) = sealed.split_first()?;
    let id = rest.first_chunk()?;
    (version == VERSION).then_some(KeyId(*id))
}

pub(crate) fn seal(
    id: KeyId,
    key: &hmac::Key,
    context: &[&[u8]],
    plain: &[u8],
    random: &dyn Random,
) -> Vec<u8> {
    let mut salt = [0; SALT_LEN];
    random.fill(&mut salt);
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce);

    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.push(VERSION);
    out.extend_from_slice(&id.0);
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = message_key(key, &salt)
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(additional_data(id, context)),
            &mut out[HEADER_LEN..],
        )
        .expect("AES-GCM refuses only texts of 64 GiB");
    out.extend_from_slice(tag.as_ref());
    out
}

/// Opens what [`seal`] made; `key` is that of the value's [`key_id`].
pub(crate) fn open(key: &hmac::Key, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let id = key_id(sealed).ok_or(SealError)?;
    let rest = &sealed[1 + ID_LEN..];
    let (salt, rest) = rest.split_at_checked(SALT_LEN).ok_or(SealError)?;
    let (nonce, cipher) = rest.split_at_checked(NONCE_LEN).ok_or(SealError)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError)?;
    let mut text = cipher.to_vec();
    let length = message_key(key, salt)
        .open_in_place(nonce, Aad::from(additional_data(id, context)), &mut text)
        .map_err(|_| SealError)?
        .len();
    text.truncate(length);
    Ok(text)
}
