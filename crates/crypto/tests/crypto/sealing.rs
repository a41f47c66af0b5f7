use std::collections::HashSet;

use lido_crypto::constant_time_eq;
use lido_crypto::keys::{KeyError, KeyRing, MasterKey, Purpose};
use lido_crypto::seal::{OVERHEAD, SealError};

use crate::SystemRandom;

fn keyring() -> KeyRing {
    MasterKey::generate(&SystemRandom).keyring()
}

fn parts(text: &str) -> Vec<&[u8]> {
    text.split('|').map(str::as_bytes).collect()
}

#[test]
fn what_was_sealed_is_opened() {
    let keys = keyring();
    for plain in [&b""[..], b"x", &[7; 5000]] {
        for purpose in Purpose::ALL {
            let sealed = keys.seal(purpose, &[b"pool", b"ana"], plain, &SystemRandom);
            assert_eq!(sealed.len(), plain.len() + OVERHEAD);
            assert_eq!(keys.open(purpose, &[b"pool", b"ana"], &sealed).unwrap(), plain);
        }
    }
}

#[test]
fn nothing_else_is_opened() {
    let keys = keyring();
    let sealed = keys.seal(Purpose::Session, &[b"pool", b"ana"], b"plain", &SystemRandom);
    let refused = |context: &[&[u8]], sealed: &[u8]| {
        assert_eq!(keys.open(Purpose::Session, context, sealed), Err(SealError));
    };
    refused(&[], &sealed);
    for context in ["pool", "poolana", "poola|na", "ana|pool", "pool|ana|"] {
        refused(&parts(context), &sealed);
    }
    for length in 0..sealed.len() {
        refused(&[b"pool", b"ana"], &sealed[..length]);
    }
    refused(&[b"pool", b"ana"], &[&sealed[..], &[0]].concat());
    for place in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[place] ^= 1 << bit;
            refused(&[b"pool", b"ana"], &changed);
        }
    }
    for purpose in Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Session) {
        assert_eq!(keys.open(purpose, &[b"pool", b"ana"], &sealed), Err(SealError));
    }
    assert_eq!(keyring().open(Purpose::Session, &[b"pool", b"ana"], &sealed), Err(SealError));
}

#[test]
fn the_same_text_is_sealed_differently_each_time() {
    let keys = keyring();
    let all: HashSet<_> =
        (0..100).map(|_| keys.seal(Purpose::Session, &[], b"plain", &SystemRandom)).collect();
    assert_eq!(all.len(), 100);
}

#[test]
fn digests_differ_by_purpose_key_and_division_into_parts() {
    let keys = keyring();
    let mut seen = HashSet::new();
    assert!(seen.insert(keys.digest(Purpose::Code, &[])));
    for text in ["", "|", "ab|c", "a|bc", "abc", "abc|", "|abc", "\0\0\0\0\0\0\0\0"] {
        let digest = keys.digest(Purpose::Code, &parts(text));
        assert_eq!(digest, keys.clone().digest(Purpose::Code, &parts(text)));
        assert!(seen.insert(digest), "{text}");
    }
    for purpose in Purpose::ALL.into_iter().filter(|purpose| *purpose != Purpose::Code) {
        assert!(seen.insert(keys.digest(purpose, &[b"abc"])));
    }
    assert!(seen.insert(keyring().digest(Purpose::Code, &[b"abc"])));
}

#[test]
fn a_master_key_survives_its_text() {
    let key = MasterKey::generate(&SystemRandom);
    let text = key.to_base64();
    assert_eq!(text.expose().len(), 44);
    let read = MasterKey::from_base64(&format!("  {}\n", text.expose())).unwrap();
    assert_eq!(read.keyring().fingerprint(), key.keyring().fingerprint());
    assert_eq!(
        read.keyring().digest(Purpose::Code, &[b"abc"]),
        key.keyring().digest(Purpose::Code, &[b"abc"])
    );
    assert_ne!(key.keyring().fingerprint(), keyring().fingerprint());
    assert_eq!(MasterKey::from_base64("no key").unwrap_err(), KeyError::NotBase64);
    assert_eq!(MasterKey::from_base64("").unwrap_err(), KeyError::Length(0));
    assert_eq!(MasterKey::from_base64("AAAA").unwrap_err(), KeyError::Length(3));
    assert_eq!(format!("{key:?} {:?}", key.keyring()), "MasterKey(***) KeyRing(***)");
}

/// A change here makes every existing data directory unreadable. The values were computed independently, from
/// the description of the formats alone.
#[test]
fn the_derivation_is_fixed() {
    let keys = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap().keyring();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&keys.fingerprint()), FINGERPRINT);
    assert_eq!(hex(&keys.digest(Purpose::Code, &[b"abc"])), DIGEST);
    let sealed: Vec<u8> =
        (0..SEALED.len()).step_by(2).map(|i| u8::from_str_radix(&SEALED[i..i + 2], 16).unwrap()).collect();
    assert_eq!(keys.open(Purpose::PasswordVerifier, &[b"pool", b"ana"], &sealed).unwrap(), b"plain");
}

const FINGERPRINT: &str = "6f1085ac5de96b0de9c4d7831f1b9dbd";
const DIGEST: &str = "0de13f5a6c75c4a7610f2857f1de29ce4e9eac5d2c778f686cfa6f450c705bf2";
const SEALED: &str =
    "01000102030405060708090a0b6465666768696a6b6c6d6e6fc697c539fdfea12a0c561679881a8b6ca8ec4498c4";

#[test]
fn equality_is_equality() {
    assert!(constant_time_eq(b"", b""));
    assert!(constant_time_eq(b"abc", b"abc"));
    assert!(!constant_time_eq(b"abc", b"abd"));
    assert!(!constant_time_eq(b"abc", b"ab"));
}
