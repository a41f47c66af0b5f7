//! The master key and everything derived from it.
//!
//! An operator keeps one secret outside the database. Each [`Purpose`] gets two keys of its own by HKDF, one
//! for sealing and one for digests, so that a value made for one purpose is worthless for another.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_domain::{Random, Secret};
use zeroize::{Zeroize, Zeroizing};

use crate::seal::{self, SealError};

/// Names the derivation as a whole; a change of scheme would get another.
const SCHEME: &[u8] = b"lido key ring 1";

/// 32 random bytes, from which every other key is derived.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<[u8; 32]>);

/// Why a text is not a master key. It does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the master key is not base64")]
    NotBase64,
    #[error("the master key has {0} bytes instead of 32")]
    Length(usize),
}

impl MasterKey {
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        let key = Self(Secret::new(bytes));
        bytes.zeroize();
        key
    }

    /// Standard base64 of 32 bytes; white space around it, as a key file has, is ignored.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyError::NotBase64)?);
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeyError::Length(bytes.len()))?;
        Ok(Self(Secret::new(key)))
    }

    /// The form that [`from_base64`](Self::from_base64) reads: 44 characters.
    pub fn to_base64(&self) -> Secret<String> {
        Secret::new(STANDARD.encode(self.0.expose()))
    }

    /// Derives all keys; takes some ten microseconds.
    pub fn keyring(&self) -> KeyRing {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SCHEME).extract(self.0.expose());
        let keys = Purpose::ALL.map(|purpose| Keys {
            seal: derive_key(&root, &[b"seal", purpose.label().as_bytes()]),
            digest: derive_key(&root, &[b"digest", purpose.label().as_bytes()]),
        });
        let mut fingerprint = [0; 16];
        expand(&root, &[b"fingerprint"], &mut fingerprint);
        KeyRing(Arc::new(Derived { keys, fingerprint }))
    }
}

/// What a value is sealed or digested for. The label is part of the key derivation and so of the stored format:
/// it must never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Salt and SRP verifier of a password, and the history of earlier ones.
    PasswordVerifier,
    /// SRP verifier of a remembered device.
    DeviceVerifier,
    /// RSA key that signs a pool's tokens.
    PrivateKey,
    /// Secret of an app client.
    ClientSecret,
    /// Secret of an external identity provider, or of a function that Lido calls.
    ProviderSecret,
    /// TOTP seed of a user.
    TotpSecret,
    /// Body of an undelivered message.
    Message,
    /// `Session` of a challenge, and states of the hosted pages.
    Session,
    /// `SECRET_BLOCK` of an SRP exchange.
    SecretBlock,
    /// Confirmation, reset and one-time codes.
    Code,
    RefreshToken,
    /// Codes of the authorization code grant.
    AuthorizationCode,
    /// Cookies of the hosted pages and of the console.
    Cookie,
    /// What is shown of users that do not exist: the same name must always get the same.
    SimulatedUser,
    /// Marks of one-time values that have been used.
    Redeemed,
    /// Tokens of paged lists.
    PageToken,
    /// Values that only look random but must repeat for the same input, such as a device group key.
    Identifier,
}

impl Purpose {
    pub const ALL: [Self; 17] = [
        Self::PasswordVerifier,
        Self::DeviceVerifier,
        Self::PrivateKey,
        Self::ClientSecret,
        Self::ProviderSecret,
        Self::TotpSecret,
        Self::Message,
        Self::Session,
        Self::SecretBlock,
        Self::Code,
        Self::RefreshToken,
        Self::AuthorizationCode,
        Self::Cookie,
        Self::SimulatedUser,
        Self::Redeemed,
        Self::PageToken,
        Self::Identifier,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::PasswordVerifier => "password verifier",
            Self::DeviceVerifier => "device verifier",
            Self::PrivateKey => "private key",
            Self::ClientSecret => "client secret",
            Self::ProviderSecret => "provider secret",
            Self::TotpSecret => "totp secret",
            Self::Message => "message",
            Self::Session => "session",
            Self::SecretBlock => "secret block",
            Self::Code => "code",
            Self::RefreshToken => "refresh token",
            Self::AuthorizationCode => "authorization code",
            Self::Cookie => "cookie",
            Self::SimulatedUser => "simulated user",
            Self::Redeemed => "redeemed",
            Self::PageToken => "page token",
            Self::Identifier => "identifier",
        }
    }
}

/// The keys derived from a [`MasterKey`]. Cheap to clone, never printed.
#[derive(Clone)]
pub struct KeyRing(Arc<Derived>);

struct Derived {
    /// In the order of [`Purpose::ALL`], which is that of declaration.
    keys: [Keys; Purpose::ALL.len()],
    fingerprint: [u8; 16],
}

struct Keys {
    seal: hmac::Key,
    digest: hmac::Key,
}

impl KeyRing {
    /// Encrypts and authenticates `plain`. The parts of `context` are authenticated but not contained: opening
    /// takes the same list. The result is [`seal::OVERHEAD`] bytes longer than `plain`; its format is described
    /// at [`seal`].
    pub fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8], random: &dyn Random) -> Vec<u8> {
        seal::seal(&self.keys(purpose).seal, context, plain, random)
    }

    /// The plain text of what [`seal`](Self::seal) made with the same key, purpose and context.
    pub fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        seal::open(&self.keys(purpose).seal, context, sealed)
    }

    /// HMAC-SHA256 of the parts under the purpose's key. Each part counts with its length: `["ab", "c"]` and
    /// `["a", "bc"]` differ.
    pub fn digest(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.keys(purpose).digest);
        for (length, part) in seal::framed(parts) {
            mac.update(&length);
            mac.update(part);
        }
        mac.sign().as_ref().try_into().expect("an HMAC-SHA256 has 32 bytes")
    }

    /// Tells whether stored data belongs to this key. It may be stored beside them: it reveals nothing of it.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.0.fingerprint
    }

    fn keys(&self, purpose: Purpose) -> &Keys {
        &self.0.keys[purpose as usize]
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(***)")
    }
}

fn derive_key(root: &hkdf::Prk, label: &[&[u8]]) -> hmac::Key {
    let mut bytes = Zeroizing::new([0; 32]);
    expand(root, label, bytes.as_mut_slice());
    hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice())
}

/// HKDF-Expand; the parts of the label are framed, so that no two labels read the same.
fn expand(root: &hkdf::Prk, label: &[&[u8]], out: &mut [u8]) {
    let info: Vec<u8> = seal::framed(label).flat_map(|(length, part)| [&length[..], part].concat()).collect();
    root.expand(&[&info], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA256 gives up to 8160 bytes");
}

/// The length of an HKDF output.
pub(crate) struct Length(pub(crate) usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_its_place_and_its_label() {
        for (index, purpose) in Purpose::ALL.into_iter().enumerate() {
            assert_eq!(purpose as usize, index);
            assert!(Purpose::ALL[..index].iter().all(|other| other.label() != purpose.label()));
        }
    }
}
