//! Codes of authenticator apps: RFC 6238 with SHA-1, steps of 30 seconds and 6 digits, which is what every such
//! app makes; and base32, in which they are given their seed.

use aws_lc_rs::hmac;
use lido_domain::{Millis, Random, Secret};
use zeroize::Zeroizing;

use crate::constant_time_eq;

/// Bytes of a seed: 52 characters of base32.
pub const SEED_BYTES: usize = 32;

/// Seconds for which a code is shown.
pub const STEP_SECONDS: i64 = 30;

const DIGITS: usize = 6;

/// What the user's app and the server share.
pub type Seed = Secret<[u8; SEED_BYTES]>;

pub fn new_seed(random: &dyn Random) -> Seed {
    let mut bytes = Zeroizing::new([0; SEED_BYTES]);
    random.fill(&mut *bytes);
    Secret::new(*bytes)
}

/// The time step of a moment.
pub fn step_at(now: Millis) -> i64 {
    now.seconds().div_euclid(STEP_SECONDS)
}

/// The code of a step. `seed` may have any length. Source: RFC 6238 §4, RFC 4226 §5.3.
pub fn code(seed: &[u8], step: i64) -> String {
    let value = truncated(seed, step) % 1_000_000;
    format!("{value:0DIGITS$}")
}

/// The dynamic truncation: 31 bits.
fn truncated(seed: &[u8], step: i64) -> u32 {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes[bytes.len() - 1] & 0xf);
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_be_bytes(word) & 0x7fff_ffff
}

/// The step that `sent` is the code of: the present one, the one before or the one after, as clocks differ.
/// The time it takes tells nothing of the codes.
pub fn matching_step(seed: &[u8], sent: &str, now: Millis) -> Option<i64> {
    let present = step_at(now);
    let mut found = None;
    for step in [present - 1, present + 1, present] {
        if constant_time_eq(code(seed, step).as_bytes(), sent.as_bytes()) {
            found = Some(step);
        }
    }
    found
}

/// RFC 4648 §6, without padding: what authenticator apps take.
pub fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    bytes
        .chunks(5)
        .flat_map(|chunk| {
            let mut group = [0; 8];
            group[3..3 + chunk.len()].copy_from_slice(chunk);
            let bits = u64::from_be_bytes(group);
            let characters = (chunk.len() * 8).div_ceil(5);
            (0..characters).map(move |index| {
                char::from(ALPHABET[usize::try_from(bits >> (35 - 5 * index) & 31).unwrap_or_default()])
            })
        })
        .collect()
}
