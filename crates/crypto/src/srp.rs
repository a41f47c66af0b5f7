//! SRP-6a as Cognito's clients speak it: the 3072-bit group of [`bignum`], SHA-256, and an HKDF
//! step for the session key. The user flow and the device flow are the same with other names: the "group name"
//! is the part of the pool id after `_` or the device group key, the "identity" the immutable user name or
//! the device key.
//!
//! ```text
//! client                                     server
//! A = g^a                   -- A -->         B = k*v + g^b            start
//!                       <-- salt, B --
//! K from (B - k*g^x)^(a + u*x)               K from (A * v^u)^b       session_key
//! HMAC(K, …)             -- claim -->        claim_matches
//! ```
//!
//! Numbers enter a hash by [`pad`], which is not the fixed width of RFC 5054.

use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_domain::{Random, Secret};
use zeroize::{Zeroize, Zeroizing};

use crate::bignum::{self, BYTES, Element, without_leading_zeros};
use crate::keys::Length;

const KEY_INFO: &[u8] = b"Caldera Derived Key";
const SALT_MAX: usize = 32;
const VERSION: u8 = 1;

/// `k = H(PAD(N) | PAD(g))`
static MULTIPLIER: LazyLock<Element> = LazyLock::new(|| {
    let hash = sha256(&[&pad(&bignum::MODULUS), &pad(Element::generator().as_bytes())]);
    Element::from_bytes(&hash).expect("256 bits are below N")
});

/// The bytes of a non-negative integer (unsigned, big-endian, any width) as they enter a hash: minimal two's
/// complement, that is without leading zeros, but with one 0x00 where the first bit would be 1. Zero is one byte.
pub fn pad(integer: &[u8]) -> Vec<u8> {
    let significant = without_leading_zeros(integer);
    let mut out = Vec::with_capacity(significant.len() + 1);
    if significant.first().is_none_or(|first| *first >= 0x80) {
        out.push(0);
    }
    out.extend_from_slice(significant);
    out
}

/// What is kept of a password: a salt and `v = g^x`. Whoever has it can guess passwords offline, so it is stored
/// sealed, and it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// An integer: big-endian without leading zeros, at most 32 bytes.
    salt: Vec<u8>,
    v: Element,
}

impl Verifier {
    /// Takes one power of g with a secret exponent, some 0.2 ms.
    pub fn derive(group_name: &str, identity: &str, password: &str, salt: [u8; 16]) -> Self {
        let x = private_exponent(group_name, identity, password, &salt);
        Self { salt: without_leading_zeros(&salt).to_vec(), v: bignum::pow_g(&x) }
    }

    /// The verifier of a user that does not exist: looks like any other, costs next to nothing, is the same for
    /// the same seed, and no password belongs to it.
    pub fn simulated(seed: &[u8; 32]) -> Self {
        let mut bytes = Zeroizing::new([0; 16 + BYTES]);
        let root = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, seed);
        root.expand(&[b"simulated verifier"], Length(bytes.len()))
            .and_then(|okm| okm.fill(bytes.as_mut_slice()))
            .expect("HKDF-SHA256 gives up to 8160 bytes");
        let (salt, v) = bytes.split_at_mut(16);
        // Below N, whose first 64 bits are ones.
        v[0] &= 0x7f;
        Self {
            salt: without_leading_zeros(salt).to_vec(),
            v: Element::from_bytes(v).expect("a number of 3071 bits is below N"),
        }
    }

    /// A verifier that a client has made, as ConfirmDevice carries it. Both are unsigned integers of any width.
    ///
    /// `None` for a salt of more than 32 significant bytes or none at all, for `v` not below N, and for the
    /// `v` that prove nothing: 0, 1 and N - 1.
    pub fn from_parts(salt: &[u8], v: &[u8]) -> Option<Self> {
        let v = Element::from_bytes(v)?;
        let one = Element::small(1);
        let trivial = v.is_zero() || v == one || bignum::add(&v, &one).is_zero();
        let significant = without_leading_zeros(salt);
        (!trivial && !salt.is_empty() && significant.len() <= SALT_MAX)
            .then(|| Self { salt: significant.to_vec(), v })
    }

    /// Whether this is the verifier of that password. Takes as long as [`derive`](Self::derive), whatever the
    /// answer.
    pub fn matches(&self, group_name: &str, identity: &str, password: &str) -> bool {
        let x = private_exponent(group_name, identity, password, &self.salt);
        bignum::pow_g(&x) == self.v
    }

    /// For storage, once sealed: version, length of the salt, salt, `v`. At most 418 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u8::try_from(self.salt.len()).expect("a salt has at most 32 bytes");
        [&[VERSION, length], self.salt.as_slice(), self.v.as_bytes()].concat()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let [VERSION, length, rest @ ..] = bytes else { return None };
        let (salt, v) = rest.split_at_checked(usize::from(*length))?;
        if salt.len() > SALT_MAX || v.len() != BYTES {
            return None;
        }
        Some(Self { salt: without_leading_zeros(salt).to_vec(), v: Element::from_bytes(v)? })
    }

    /// `SALT` on the wire: lower-case hexadecimal without leading zeros. With them, client libraries would
    /// disagree on what to hash.
    pub fn salt_hex(&self) -> String {
        to_hex(&self.salt)
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

macro_rules! public_value {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Element);

        impl $name {
            /// 384 bytes, big-endian.
            pub fn to_bytes(&self) -> [u8; BYTES] {
                *self.0.as_bytes()
            }

            /// An unsigned big-endian integer; `None` for 0 and from N on.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Element::from_bytes(bytes).filter(|value| !value.is_zero()).map(Self)
            }

            /// The form on the wire: lower-case hexadecimal without leading zeros.
            pub fn to_hex(&self) -> String {
                to_hex(self.0.as_bytes())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }
    };
}

public_value! {
    /// `A`, the client's public value: in `1..N`.
    PublicA
}
public_value! {
    /// `B`, the server's public value: in `1..N`.
    PublicB
}

/// The server's first half of an exchange.
#[derive(Debug)]
pub struct ServerStart {
    pub b: Secret<[u8; 32]>,
    pub public: PublicB,
}

impl ServerStart {
    /// `SRP_B` on the wire.
    pub fn public_hex(&self) -> String {
        self.public.to_hex()
    }
}

/// Chooses `b` (256 random bits, twice the strength of the group) and gives `B = k*v + g^b`.
pub fn start(verifier: &Verifier, random: &dyn Random) -> ServerStart {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        random.fill(bytes.as_mut_slice());
        let b = Secret::new(*bytes);
        if let Some(public) = public_b(verifier, &b) {
            return ServerStart { b, public };
        }
    }
}

/// `B = k*v + g^b` for a `b` already chosen, big-endian. `None` if it is 0, where another `b` must be taken.
pub fn public_b<const L: usize>(verifier: &Verifier, b: &Secret<[u8; L]>) -> Option<PublicB> {
    let public = bignum::add(&bignum::mul(&MULTIPLIER, &verifier.v), &power_of_g(b.expose()));
    (!public.is_zero()).then_some(PublicB(public))
}

/// What is wrong with an `SRP_A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SrpError {
    #[error("not a hexadecimal number")]
    NotHex,
    /// 0 modulo N would fix the shared secret; a number from N on is not reduced, as no honest client sends it.
    #[error("not in the range 1 to N - 1")]
    OutOfRange,
}

/// Reads `SRP_A`: hexadecimal of either case, of odd or even length, with leading zeros or without.
pub fn parse_a(hex: &str) -> Result<PublicA, SrpError> {
    PublicA::from_bytes(&from_hex(hex)?).ok_or(SrpError::OutOfRange)
}

/// The server's second half: the session key from `S = (A * v^u)^b`. Some 1.3 ms. `None` if `u` is 0, which has
/// to be refused.
pub fn session_key<const L: usize>(
    a: &PublicA,
    b: &Secret<[u8; L]>,
    b_public: &PublicB,
    verifier: &Verifier,
) -> Option<Secret<[u8; 16]>> {
    let u = scrambler(a, b_public)?;
    // u is a hash of what went over the wire, so its power need not hide it.
    let base = bignum::mul(&a.0, &bignum::pow_public(&verifier.v, &u));
    Some(derive_session_key(&u, &bignum::pow(&base, b.expose())))
}

/// Whether `claimed_base64` is the MAC, under the session key, of the group name, the identity, the bytes of the
/// secret block and the timestamp exactly as sent. Compared in constant time.
pub fn claim_matches(
    key: &[u8; 16],
    group_name: &str,
    identity: &str,
    secret_block: &[u8],
    timestamp: &str,
    claimed_base64: &str,
) -> bool {
    STANDARD.decode(claimed_base64).is_ok_and(|claimed| {
        let message = claim_message(group_name, identity, secret_block, timestamp);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &message, &claimed).is_ok()
    })
}

fn claim_message(group_name: &str, identity: &str, secret_block: &[u8], timestamp: &str) -> Vec<u8> {
    [group_name.as_bytes(), identity.as_bytes(), secret_block, timestamp.as_bytes()].concat()
}

/// `x = H(PAD(salt) | H(group | identity | ":" | password))`, big-endian.
fn private_exponent(group_name: &str, identity: &str, password: &str, salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let inner =
        Zeroizing::new(sha256(&[group_name.as_bytes(), identity.as_bytes(), b":", password.as_bytes()]));
    Zeroizing::new(sha256(&[&pad(salt), inner.as_slice()]))
}

/// `u = H(PAD(A) | PAD(B))`; `None` if it is 0.
fn scrambler(a: &PublicA, b: &PublicB) -> Option<[u8; 32]> {
    let u = sha256(&[&pad(a.0.as_bytes()), &pad(b.0.as_bytes())]);
    (u != [0; 32]).then_some(u)
}

/// 16 bytes of HKDF-SHA256 with salt `PAD(u)`, which has 1 to 33 bytes, over `PAD(S)`.
fn derive_session_key(u: &[u8; 32], s: &Element) -> Secret<[u8; 16]> {
    let secret = Zeroizing::new(pad(s.as_bytes()));
    let mut key = Zeroizing::new([0; 16]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &pad(u))
        .extract(&secret)
        .expand(&[KEY_INFO], Length(16))
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    Secret::new(*key)
}

/// By the table where the exponent fits it.
fn power_of_g(exponent: &[u8]) -> Element {
    match exponent.try_into() {
        Ok(exponent) => bignum::pow_g(exponent),
        Err(_) => bignum::pow(&Element::generator(), exponent),
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = digest::Context::new(&SHA256);
    for part in parts {
        hash.update(part);
    }
    hash.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

/// Of an integer: without leading zeros, `0` for zero.
fn to_hex(integer: &[u8]) -> String {
    let digits: String = integer.iter().map(|byte| format!("{byte:02x}")).collect();
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        significant => significant.to_owned(),
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, SrpError> {
    // The number must not be longer than N; a client may have padded it with some zeros.
    if text.len() > 2 * BYTES + 16 {
        return Err(SrpError::OutOfRange);
    }
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| !digits.is_empty()).ok_or(SrpError::NotHex)?;
    // From the right, because an odd number of digits lacks one on the left.
    let mut bytes: Vec<u8> =
        digits.rchunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.reverse();
    Ok(bytes)
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads a claim's `TIMESTAMP`, `Tue Mar 3 04:05:06 UTC 2026`: English names, the day with or without a leading
/// zero. Gives seconds since the Unix epoch. The name of the weekday need not fit the date.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    let (weekday, month, day, time, zone, year) = (word()?, word()?, word()?, word()?, word()?, word()?);
    if word().is_some() || zone != "UTC" || !DAYS.contains(&weekday) {
        return None;
    }
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let day = number(day, 1..=2)?;
    let year = number(year, 4..=4)?;
    let mut time = time.split(':');
    let mut part = || time.next().and_then(|part| number(part, 2..=2));
    let (hour, minute, second) = (part()?, part()?, part()?);
    if time.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let days = days_from_civil(year, month, day);
    (day >= 1 && days < days_from_civil(next_year, next_month, 1))
        .then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// A decimal number of so many digits, without a sign.
fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<i64> {
    (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Days since 1970-01-01 of a date in the Gregorian calendar. Years are counted from March, so that the leap day
/// is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let month = (month + 9) % 12;
    // 153 days in every five months from March on; 719 468 days from 0000-03-01 to 1970-01-01.
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468
}

/// The client's half, as an app does it. The server has no use for it: it is here for tests and measurements.
pub mod client {
    use super::*;

    /// A client in the middle of an exchange.
    pub struct Client {
        a: Zeroizing<Vec<u8>>,
        public: PublicA,
    }

    impl Client {
        /// With a new `a` of 256 random bits.
        pub fn new(random: &dyn Random) -> Self {
            let mut a = vec![0; 32];
            random.fill(&mut a);
            Self::with_secret(a)
        }

        /// With a given `a`, big-endian, of any length.
        pub fn with_secret(a: Vec<u8>) -> Self {
            let public = PublicA(power_of_g(&a));
            Self { a: Zeroizing::new(a), public }
        }

        pub fn public(&self) -> &PublicA {
            &self.public
        }

        /// `SRP_A` on the wire.
        pub fn public_hex(&self) -> String {
            self.public.to_hex()
        }

        /// The session key from `S = (B - k*g^x)^(a + u*x)`, given `SALT` and `SRP_B` as the server sent them.
        /// `None` if they are not such values or `u` is 0.
        pub fn session_key(
            &self,
            group_name: &str,
            identity: &str,
            password: &str,
            salt_hex: &str,
            b_hex: &str,
        ) -> Option<Secret<[u8; 16]>> {
            let b = PublicB::from_bytes(&from_hex(b_hex).ok()?)?;
            let u = scrambler(&self.public, &b)?;
            let x = private_exponent(group_name, identity, password, &from_hex(salt_hex).ok()?);
            let base = bignum::sub(&b.0, &bignum::mul(&MULTIPLIER, &bignum::pow_g(&x)));
            let exponent = Zeroizing::new(bignum::multiply_add(&self.a, &u, x.as_slice()));
            Some(derive_session_key(&u, &bignum::pow(&base, &exponent)))
        }
    }

    impl fmt::Debug for Client {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Client").field("public", &self.public).finish_non_exhaustive()
        }
    }

    /// `PASSWORD_CLAIM_SIGNATURE`.
    pub fn claim(
        key: &[u8; 16],
        group_name: &str,
        identity: &str,
        secret_block: &[u8],
        timestamp: &str,
    ) -> String {
        let message = claim_message(group_name, identity, secret_block, timestamp);
        STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &message))
    }

    /// `TIMESTAMP` of a moment in seconds since the Unix epoch, which it must not precede.
    pub fn format_timestamp(seconds: i64) -> String {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // As if every year had 366 days, which can only be too early.
        let mut year = 1970 + days.div_euclid(366);
        while days_from_civil(year + 1, 1, 1) <= days {
            year += 1;
        }
        let month = (2..=12).take_while(|month| days_from_civil(year, *month, 1) <= days).last().unwrap_or(1);
        let day = days - days_from_civil(year, month, 1) + 1;
        // 1970-01-01 was a Thursday, number 3.
        let weekday = DAYS[usize::try_from((days + 3).rem_euclid(7)).expect("0 to 6")];
        let month = MONTHS[usize::try_from(month - 1).expect("0 to 11")];
        format!(
            "{weekday} {month} {day} {:02}:{:02}:{:02} UTC {year:04}",
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    }
}
