//! The master key, the keys that it wraps, and everything derived from them.
//!
//! An operator keeps one secret outside the database, the master key. It seals nothing but other keys: random
//! *data keys*, which seal everything else, and one random *digest root*. These lie beside the data, wrapped. So
//! the master key can be replaced without touching data, and the data be sealed anew while it is in use. The
//! digest root is made once: what is looked up by a digest would be lost with it.
//!
//! Each [`Purpose`] gets a key of its own by HKDF, so that a value made for one purpose is worthless for another.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_domain::{Random, Secret};
use zeroize::{Zeroize, Zeroizing};

use crate::seal::{self, KeyId, SealError};

/// Names the derivation as a whole; a change of scheme would get another.
const SCHEME: &[u8] = b"lido key ring 1";

/// 32 random bytes, which wrap the keys that everything else is derived from.
#[derive(Clone, Debug)]
pub struct MasterKey(Secret<[u8; 32]>);

/// 32 random bytes that a master key wraps: a data key or the digest root.
pub type KeyBytes = Secret<[u8; 32]>;

/// New key bytes.
pub fn random_key(random: &dyn Random) -> KeyBytes {
    let mut bytes = [0; 32];
    random.fill(&mut bytes);
    let key = Secret::new(bytes);
    bytes.zeroize();
    key
}

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
        Self(random_key(random))
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

    /// Tells master keys apart. It may be stored beside the data: it reveals nothing of the key.
    pub fn fingerprint(&self) -> [u8; 16] {
        let mut fingerprint = [0; 16];
        expand(&extract(&self.0), &[b"fingerprint"], &mut fingerprint);
        fingerprint
    }

    /// Seals another key for storage; [`unwrap`](Self::unwrap) takes the same name.
    pub fn wrap(&self, name: &str, key: &KeyBytes, random: &dyn Random) -> Vec<u8> {
        let (id, wrapping) = self.wrapping();
        seal::seal(id, &wrapping, &[name.as_bytes()], key.expose(), random)
    }

    /// Errors: it was not wrapped by this master key under this name.
    pub fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<KeyBytes, SealError> {
        let (_, wrapping) = self.wrapping();
        let plain = Zeroizing::new(seal::open(&wrapping, &[name.as_bytes()], wrapped)?);
        Ok(Secret::new(plain.as_slice().try_into().map_err(|_| SealError)?))
    }

    /// The key that wraps, and what stands for it in the header of wrapped keys.
    fn wrapping(&self) -> (KeyId, hmac::Key) {
        let id = *self.fingerprint().first_chunk().expect("a fingerprint is longer than an id");
        (KeyId(id), derive_key(&extract(&self.0), &[b"wrap"]))
    }

    /// A ring of one data key and a digest root that are derived from this key alone: for sealed data that is
    /// not kept in a database.
    pub fn keyring(&self) -> KeyRing {
        let root = extract(&self.0);
        let mut id = [0; 8];
        expand(&root, &[b"data key id"], &mut id);
        let derived = |label: &[u8]| {
            let mut bytes = [0; 32];
            expand(&root, &[label], &mut bytes);
            let key = Secret::new(bytes);
            bytes.zeroize();
            key
        };
        let key = Arc::new(DataKey::new(KeyId(id), &derived(b"data key")));
        KeyRing::of(self.clone(), &derived(b"digest root"), DataKeys { current: key.clone(), all: vec![key] })
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

/// A data key as it is stored.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    pub id: KeyId,
    /// What [`MasterKey::wrap`] made under the name of the id.
    pub wrapped: Vec<u8>,
}

/// The keys in use. Clones share them, so that new data keys reach all holders. Never printed.
#[derive(Clone)]
pub struct KeyRing(Arc<Ring>);

struct Ring {
    master: MasterKey,
    fingerprint: [u8; 16],
    digests: PurposeKeys,
    data: RwLock<DataKeys>,
}

struct DataKeys {
    /// What new values are sealed with.
    current: Arc<DataKey>,
    /// What values can be opened with: a handful at most.
    all: Vec<Arc<DataKey>>,
}

struct DataKey {
    id: KeyId,
    keys: PurposeKeys,
}

/// In the order of [`Purpose::ALL`], which is that of declaration.
type PurposeKeys = [hmac::Key; Purpose::ALL.len()];

impl DataKey {
    fn new(id: KeyId, key: &KeyBytes) -> Self {
        Self { id, keys: purpose_keys(key, b"seal") }
    }
}

impl DataKeys {
    /// Unwraps what is not among `known` yet.
    fn unwrap(
        master: &MasterKey,
        stored: &[WrappedKey],
        current: KeyId,
        known: &[Arc<DataKey>],
    ) -> Result<Self, SealError> {
        let mut all = Vec::with_capacity(stored.len());
        for WrappedKey { id, wrapped } in stored {
            all.push(match known.iter().find(|key| key.id == *id) {
                Some(key) => key.clone(),
                None => Arc::new(DataKey::new(*id, &master.unwrap(&id.to_string(), wrapped)?)),
            });
        }
        let current = all.iter().find(|key| key.id == current).ok_or(SealError)?.clone();
        Ok(Self { current, all })
    }
}

impl KeyRing {
    /// The ring of an installation. `digest_root`: wrapped under the name [`DIGEST_ROOT`]; `current`: which of
    /// the data keys seals.
    ///
    /// Errors: something was not wrapped by this master key, or the current key is not there.
    pub fn unwrap(
        master: MasterKey,
        digest_root: &[u8],
        data: &[WrappedKey],
        current: KeyId,
    ) -> Result<Self, SealError> {
        let digest_root = master.unwrap(DIGEST_ROOT, digest_root)?;
        let data = DataKeys::unwrap(&master, data, current, &[])?;
        Ok(Self::of(master, &digest_root, data))
    }

    fn of(master: MasterKey, digest_root: &KeyBytes, data: DataKeys) -> Self {
        Self(Arc::new(Ring {
            fingerprint: master.fingerprint(),
            master,
            digests: purpose_keys(digest_root, b"digest"),
            data: RwLock::new(data),
        }))
    }

    /// Takes these data keys in place of those that the ring has. On an error it keeps them.
    pub fn replace(&self, data: &[WrappedKey], current: KeyId) -> Result<(), SealError> {
        let known = self.data(|data| data.all.clone());
        let data = DataKeys::unwrap(&self.0.master, data, current, &known)?;
        *self.0.data.write().unwrap_or_else(PoisonError::into_inner) = data;
        Ok(())
    }

    /// Encrypts and authenticates `plain`. The parts of `context` are authenticated but not contained: opening
    /// takes the same list. The result is [`seal::OVERHEAD`] bytes longer than `plain`; its format is described
    /// at [`seal`].
    pub fn seal(&self, purpose: Purpose, context: &[&[u8]], plain: &[u8], random: &dyn Random) -> Vec<u8> {
        let key = self.data(|data| data.current.clone());
        seal::seal(key.id, &key.keys[purpose as usize], context, plain, random)
    }

    /// The plain text of what [`seal`](Self::seal) made with one of the ring's data keys, the same purpose and
    /// context.
    pub fn open(&self, purpose: Purpose, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let id = seal::key_id(sealed).ok_or(SealError)?;
        let key = self.data(|data| data.all.iter().find(|key| key.id == id).cloned()).ok_or(SealError)?;
        seal::open(&key.keys[purpose as usize], context, sealed)
    }

    /// The data key that a value says it was sealed with; none for what is no sealed value.
    pub fn key_of(sealed: &[u8]) -> Option<KeyId> {
        seal::key_id(sealed)
    }

    /// The data key that seals.
    pub fn current(&self) -> KeyId {
        self.data(|data| data.current.id)
    }

    /// HMAC-SHA256 of the parts under the purpose's key. Each part counts with its length: `["ab", "c"]` and
    /// `["a", "bc"]` differ. The same for as long as the installation lives, whichever keys are replaced.
    pub fn digest(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = hmac::Context::with_key(&self.0.digests[purpose as usize]);
        for (length, part) in seal::framed(parts) {
            mac.update(&length);
            mac.update(part);
        }
        mac.sign().as_ref().try_into().expect("an HMAC-SHA256 has 32 bytes")
    }

    /// The key that the ring was unwrapped with.
    pub fn master(&self) -> &MasterKey {
        &self.0.master
    }

    /// That of the master key.
    pub fn fingerprint(&self) -> [u8; 16] {
        self.0.fingerprint
    }

    fn data<T>(&self, look: impl FnOnce(&DataKeys) -> T) -> T {
        look(&self.0.data.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(***)")
    }
}

/// The name under which a master key wraps the digest root.
pub const DIGEST_ROOT: &str = "digest root";

fn extract(key: &KeyBytes) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, SCHEME).extract(key.expose())
}

fn purpose_keys(key: &KeyBytes, kind: &[u8]) -> PurposeKeys {
    let root = extract(key);
    Purpose::ALL.map(|purpose| derive_key(&root, &[kind, purpose.label().as_bytes()]))
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
