use std::collections::HashSet;
use std::slice::from_ref;

use lido_crypto::constant_time_eq;
use lido_crypto::keys::{DIGEST_ROOT, KeyError, KeyRing, MasterKey, Purpose, WrappedKey, random_key};
use lido_crypto::seal::{KeyId, NotAKeyId, OVERHEAD, SealError};

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

/// A data key, wrapped by each of these master keys.
fn data_key<const N: usize>(masters: [&MasterKey; N]) -> (KeyId, [WrappedKey; N]) {
    let (id, key) = (KeyId::generate(&SystemRandom), random_key(&SystemRandom));
    let name = id.to_string();
    (id, masters.map(|master| WrappedKey { id, wrapped: master.wrap(&name, &key, &SystemRandom) }))
}

#[test]
fn another_master_key_opens_what_it_wraps_too() {
    let [old, new] = [(); 2].map(|()| MasterKey::generate(&SystemRandom));
    let root = random_key(&SystemRandom);
    let [old_root, new_root] = [&old, &new].map(|master| master.wrap(DIGEST_ROOT, &root, &SystemRandom));
    let (id, [old_copy, new_copy]) = data_key([&old, &new]);
    let before = KeyRing::unwrap(old.clone(), &old_root, from_ref(&old_copy), id).unwrap();
    let after = KeyRing::unwrap(new.clone(), &new_root, from_ref(&new_copy), id).unwrap();
    let sealed = before.seal(Purpose::Session, &[b"pool"], b"plain", &SystemRandom);
    assert_eq!(after.open(Purpose::Session, &[b"pool"], &sealed).unwrap(), b"plain");
    assert_eq!(before.digest(Purpose::Code, &[b"abc"]), after.digest(Purpose::Code, &[b"abc"]));
    assert_eq!((before.fingerprint(), after.fingerprint()), (old.fingerprint(), new.fingerprint()));

    // Neither takes what the other has wrapped, or what was wrapped under another name.
    let of = |master: &MasterKey, root: &[u8], copy: &WrappedKey| {
        KeyRing::unwrap(master.clone(), root, from_ref(copy), id).map(drop)
    };
    assert_eq!(of(&new, &old_root, &new_copy), Err(SealError));
    assert_eq!(of(&new, &new_root, &old_copy), Err(SealError));
    assert_eq!(of(&new, &new_copy.wrapped, &new_copy), Err(SealError));
    assert_eq!(of(&new, &new_root, &WrappedKey { id, wrapped: new_root.clone() }), Err(SealError));
}

#[test]
fn data_keys_change_under_all_who_hold_the_ring() {
    let master = MasterKey::generate(&SystemRandom);
    let root = master.wrap(DIGEST_ROOT, &random_key(&SystemRandom), &SystemRandom);
    let (first, [first_copy]) = data_key([&master]);
    let (second, [second_copy]) = data_key([&master]);
    let both = [first_copy.clone(), second_copy.clone()];
    let keys = KeyRing::unwrap(master, &root, &[first_copy], first).unwrap();
    let holder = keys.clone();
    let seal = || holder.seal(Purpose::Session, &[], b"plain", &SystemRandom);
    let open = |sealed: &[u8]| holder.open(Purpose::Session, &[], sealed).is_ok();
    let digest = holder.digest(Purpose::Code, &[b"abc"]);

    let old = seal();
    assert_eq!((KeyRing::key_of(&old), holder.current()), (Some(first), first));
    // Known, not yet used; then used; then the only one.
    keys.replace(&both, first).unwrap();
    assert_eq!(KeyRing::key_of(&seal()), Some(first));
    keys.replace(&both, second).unwrap();
    let new = seal();
    assert_eq!(KeyRing::key_of(&new), Some(second));
    assert!(open(&old) && open(&new));
    keys.replace(&both[1..], second).unwrap();
    assert!(!open(&old) && open(&new));
    assert_eq!(holder.digest(Purpose::Code, &[b"abc"]), digest);

    // What cannot be used changes nothing.
    assert_eq!(keys.replace(&both[1..], first), Err(SealError));
    let broken = WrappedKey { id: first, wrapped: both[1].wrapped.clone() };
    assert_eq!(keys.replace(&[broken, second_copy], second), Err(SealError));
    assert!(!open(&old) && open(&new));
}

#[test]
fn a_key_id_survives_its_text() {
    let id = KeyId::generate(&SystemRandom);
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "0", "00112233445566778", "001122334455667g", "+011223344556677", "001122334455667A"] {
        assert_eq!(text.parse::<KeyId>(), Err(NotAKeyId), "{text}");
    }
    assert_eq!(KeyRing::key_of(&[1; 8]), None);
    assert_eq!(KeyRing::key_of(&[2; 60]), None);
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// A change here makes every existing installation unreadable. The values were computed independently, from
/// the description of the formats alone.
#[test]
fn the_derivation_is_fixed() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let master = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    assert_eq!(hex(&master.fingerprint()), FINGERPRINT);
    let open = |keys: &KeyRing, sealed: &str| {
        keys.open(Purpose::PasswordVerifier, &[b"pool", b"ana"], &bytes(sealed)).unwrap()
    };

    let id: KeyId = "0011223344556677".parse().unwrap();
    let data = [WrappedKey { id, wrapped: bytes(WRAPPED) }];
    let keys = KeyRing::unwrap(master.clone(), &bytes(WRAPPED_ROOT), &data, id).unwrap();
    assert_eq!(hex(&keys.digest(Purpose::Code, &[b"abc"])), DIGEST);
    assert_eq!(open(&keys, SEALED), b"plain");

    let own = master.keyring();
    assert_eq!(hex(&own.digest(Purpose::Code, &[b"abc"])), OWN_DIGEST);
    assert_eq!(open(&own, OWN_SEALED), b"plain");
}

const FINGERPRINT: &str = "6f1085ac5de96b0de9c4d7831f1b9dbd";
const WRAPPED: &str = "016f1085ac5de96b0d000102030405060708090a0b6465666768696a6b6c6d6e6f180bb73e8bc3e72d4d16b290\
                       89e45a4985b80bb16060e495df38bdaff59d121a2be2a2b17c08ec2adfb4597705590d5e";
const WRAPPED_ROOT: &str = "016f1085ac5de96b0d000102030405060708090a0b6465666768696a6b6c6d6e6f786bd75eeba3874d2d76d2\
                            f0e9843a29e5d86bd1000084f5bf58ddcf95fd727a9331155fba5a7e378d0180c9d763104b";
const DIGEST: &str = "977c8cb27b5e956c98f65c6023c16a6caa56be84d05642e2a03cff7f8e16c276";
const SEALED: &str = "010011223344556677000102030405060708090a0b6465666768696a6b6c6d6e6ffa15f9b4c62c4abff8eb22f25107\
                      920a169c359ea9";
const OWN_DIGEST: &str = "9b335949ac74bc0f21e236aba9b15ca322ab30895f91ad4efe7d7158c728008b";
const OWN_SEALED: &str = "01cd7120ff7f32a72a000102030405060708090a0b6465666768696a6b6c6d6e6f3a0f750a887616a4ac0d2345\
                          596ce2ce50a655e749";

#[test]
fn equality_is_equality() {
    assert!(constant_time_eq(b"", b""));
    assert!(constant_time_eq(b"abc", b"abc"));
    assert!(!constant_time_eq(b"abc", b"abd"));
    assert!(!constant_time_eq(b"abc", b"ab"));
}
