//! SRP and the secret hash by recorded vectors.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::bignum::{self, BYTES, MODULUS};
use lido_crypto::secret_hash::{secret_hash, secret_hash_matches};
use lido_crypto::srp::{self, PublicA, PublicB, SrpError, Verifier, client};
use lido_domain::Secret;
use serde_json::Value;

use crate::{SystemRandom, random};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/srp_vectors.json")).unwrap()
}

fn text<'a>(vector: &'a Value, member: &str) -> &'a str {
    vector[member].as_str().unwrap_or_else(|| panic!("{member}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let even = format!("{}{hex}", if hex.len() % 2 == 1 { "0" } else { "" });
    (0..even.len()).step_by(2).map(|i| u8::from_str_radix(&even[i..i + 2], 16).unwrap()).collect()
}

fn exchanges(vectors: &Value) -> Vec<&Value> {
    ["user_srp", "device_srp"].into_iter().flat_map(|flow| vectors[flow].as_array().unwrap()).collect()
}

fn salt(vector: &Value) -> [u8; 16] {
    let salt = bytes(text(vector, "salt_wire"));
    let mut out = [0; 16];
    out[16 - salt.len()..].copy_from_slice(&salt);
    out
}

fn verifier(vector: &Value) -> Verifier {
    Verifier::derive(
        text(vector, "identity_prefix"),
        text(vector, "username"),
        text(vector, "password"),
        salt(vector),
    )
}

/// The vectors' `b` has 64 or 128 bytes, the server's own has 32.
fn server_half(vector: &Value, verifier: &Verifier) -> (PublicB, Secret<[u8; 16]>) {
    fn run<const L: usize>(vector: &Value, verifier: &Verifier, b: [u8; L]) -> (PublicB, Secret<[u8; 16]>) {
        let b = Secret::new(b);
        let public = srp::public_b(verifier, &b).unwrap();
        let a = srp::parse_a(text(vector, "A_wire")).unwrap();
        let key = srp::session_key(&a, &b, &public, verifier).unwrap();
        (public, key)
    }
    let b = bytes(text(vector, "b"));
    match b.len() {
        64 => run::<64>(vector, verifier, b.try_into().unwrap()),
        128 => run::<128>(vector, verifier, b.try_into().unwrap()),
        other => panic!("{other} bytes"),
    }
}

#[test]
fn the_group_is_the_recorded_one() {
    let group = &vectors()["group"];
    assert_eq!(bytes(text(group, "N")), MODULUS);
    assert_eq!(srp::pad(&MODULUS), bytes(text(group, "N_padded")));
}

#[test]
fn numbers_are_padded_as_recorded() {
    for example in vectors()["pad_examples"].as_array().unwrap() {
        let number = bytes(text(example, "int_hex"));
        assert_eq!(srp::pad(&number), bytes(text(example, "padded")), "{example}");
        assert_eq!(srp::pad(&[&[0, 0], number.as_slice()].concat()), bytes(text(example, "padded")));
    }
    assert_eq!(srp::pad(&[]), [0]);
}

#[test]
fn verifiers_are_as_recorded() {
    for vector in exchanges(&vectors()) {
        let verifier = verifier(vector);
        assert_eq!(verifier.salt_hex(), text(vector, "salt_wire"));
        let stored = verifier.to_bytes();
        assert_eq!(stored[stored.len() - BYTES..], bytes(text(vector, "v")), "{}", vector["name"]);
        let read = Verifier::from_bytes(&stored).unwrap();
        let (prefix, name, password) =
            (text(vector, "identity_prefix"), text(vector, "username"), text(vector, "password"));
        assert!(read == verifier);
        assert!(read.matches(prefix, name, password));
        assert!(!read.matches(prefix, name, "another"));
        assert!(!read.matches(prefix, "another", password));
        assert!(!read.matches("another", name, password));
    }
}

#[test]
fn a_device_is_confirmed_as_recorded() {
    let vectors = vectors();
    for vector in vectors["device_srp"].as_array().unwrap() {
        let config = &vector["confirm_device"]["DeviceSecretVerifierConfig"];
        let salt = STANDARD.decode(text(config, "Salt")).unwrap();
        let v = STANDARD.decode(text(config, "PasswordVerifier")).unwrap();
        let sent = Verifier::from_parts(&salt, &v).unwrap();
        assert!(sent == verifier(vector));
        assert_eq!(sent.salt_hex(), text(vector, "salt_wire"));
    }
}

#[test]
fn exchanges_run_as_recorded_on_both_sides() {
    for vector in exchanges(&vectors()) {
        let (prefix, name) = (text(vector, "identity_prefix"), text(vector, "username"));
        let verifier = verifier(vector);
        let (public, key) = server_half(vector, &verifier);
        assert_eq!(public.to_hex(), text(vector, "B_wire"), "{}", vector["name"]);
        assert_eq!(key.expose().as_slice(), bytes(text(vector, "hkdf_key")), "{}", vector["name"]);

        let client = client::Client::with_secret(bytes(text(vector, "a")));
        assert_eq!(client.public_hex(), text(vector, "A_wire"));
        let theirs = client
            .session_key(prefix, name, text(vector, "password"), &verifier.salt_hex(), &public.to_hex())
            .unwrap();
        assert_eq!(theirs.expose(), key.expose());

        let block = STANDARD.decode(text(vector, "secret_block_base64")).unwrap();
        let (timestamp, claim) = (text(vector, "timestamp"), text(vector, "signature_base64"));
        assert_eq!(client::claim(key.expose(), prefix, name, &block, timestamp), claim);
        assert!(srp::claim_matches(key.expose(), prefix, name, &block, timestamp, claim));
        assert!(!srp::claim_matches(key.expose(), prefix, name, &block[1..], timestamp, claim));
        assert!(!srp::claim_matches(key.expose(), prefix, "another", &block, timestamp, claim));
        assert!(!srp::claim_matches(key.expose(), "another", name, &block, timestamp, claim));
        assert!(!srp::claim_matches(key.expose(), prefix, name, &block, "Tue Mar 3", claim));
        assert!(!srp::claim_matches(&[0; 16], prefix, name, &block, timestamp, claim));
        for wrong in ["", "=", "AAAA", &claim[..claim.len() - 4], "not base64!"] {
            assert!(!srp::claim_matches(key.expose(), prefix, name, &block, timestamp, wrong));
        }
    }
}

#[test]
fn a_new_exchange_agrees_only_with_the_right_password() {
    for _ in 0..8 {
        let verifier = Verifier::derive("Pool1", "ana", "right", random());
        let client = client::Client::new(&SystemRandom);
        let server = srp::start(&verifier, &SystemRandom);
        let a = srp::parse_a(&client.public_hex()).unwrap();
        // The server keeps the values as bytes between the two requests.
        let a = PublicA::from_bytes(&a.to_bytes()).unwrap();
        let b = PublicB::from_bytes(&server.public.to_bytes()).unwrap();
        let ours = srp::session_key(&a, &server.b, &b, &verifier).unwrap();
        let key = |password| {
            let (salt, public) = (verifier.salt_hex(), server.public_hex());
            client.session_key("Pool1", "ana", password, &salt, &public).unwrap()
        };
        assert_eq!(ours.expose(), key("right").expose());
        assert_ne!(ours.expose(), key("wrong").expose());
        assert_eq!(format!("{verifier:?}"), "Verifier(***)");
        assert!(format!("{server:?}").contains("b: ***"));
    }
}

#[test]
fn salts_with_leading_zeros_work_and_are_sent_without() {
    let mut salt = random::<16>();
    for (zeros, first, hex_digits) in [(1, 0x0f, 29), (3, 0xf0, 26), (15, 0x01, 1)] {
        salt[..zeros].fill(0);
        salt[zeros] = first;
        let verifier = Verifier::derive("Pool1", "ana", "right", salt);
        assert_eq!(verifier.salt_hex().len(), hex_digits);
        assert!(Verifier::from_bytes(&verifier.to_bytes()).unwrap().matches("Pool1", "ana", "right"));
        let client = client::Client::new(&SystemRandom);
        let server = srp::start(&verifier, &SystemRandom);
        let ours = srp::session_key(client.public(), &server.b, &server.public, &verifier).unwrap();
        let theirs =
            client.session_key("Pool1", "ana", "right", &verifier.salt_hex(), &server.public_hex()).unwrap();
        assert_eq!(ours.expose(), theirs.expose());
    }
    let zero = Verifier::derive("Pool1", "ana", "right", [0; 16]);
    assert_eq!(zero.salt_hex(), "0");
    assert!(Verifier::from_bytes(&zero.to_bytes()).unwrap() == zero);
}

fn hex(number: &[u8]) -> String {
    number.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_bad_public_value_is_refused() {
    let n = hex(&MODULUS);
    for (bad, why) in [
        ("", SrpError::NotHex),
        ("0x12", SrpError::NotHex),
        ("12 34", SrpError::NotHex),
        ("-1", SrpError::NotHex),
        ("+1", SrpError::NotHex),
        ("ab\u{ff11}", SrpError::NotHex),
        ("g", SrpError::NotHex),
        ("0", SrpError::OutOfRange),
        ("000000", SrpError::OutOfRange),
        (&n, SrpError::OutOfRange),
        (&n.to_uppercase(), SrpError::OutOfRange),
        (&format!("00{n}"), SrpError::OutOfRange),
        (&twice_the_modulus(), SrpError::OutOfRange),
        (&"f".repeat(768), SrpError::OutOfRange),
        (&"1".repeat(769), SrpError::OutOfRange),
        (&"1".repeat(100_000), SrpError::OutOfRange),
        (&"z".repeat(100_000), SrpError::OutOfRange),
    ] {
        assert_eq!(srp::parse_a(bad).unwrap_err(), why, "{bad:.20}");
    }
}

fn twice_the_modulus() -> String {
    let mut carry = 0;
    let mut digits: Vec<u8> = MODULUS
        .iter()
        .rev()
        .map(|byte| {
            let doubled = u16::from(*byte) * 2 + carry;
            carry = doubled >> 8;
            doubled as u8
        })
        .collect();
    digits.push(carry as u8);
    digits.reverse();
    hex(&digits)
}

#[test]
fn a_public_value_is_read_in_every_spelling() {
    for good in ["abc", "ABC", "0abc", "00000abc", "aBc"] {
        assert_eq!(srp::parse_a(good).unwrap().to_hex(), "abc");
    }
    let mut largest = MODULUS;
    largest[BYTES - 1] -= 1;
    assert_eq!(srp::parse_a(&hex(&largest)).unwrap().to_bytes(), largest);
}

#[test]
fn bad_verifiers_are_refused() {
    let good = Verifier::derive("Pool1", "ana", "right", random()).to_bytes();
    let v = &good[good.len() - BYTES..];
    let mut minus_one = MODULUS;
    minus_one[BYTES - 1] -= 1;
    assert!(Verifier::from_parts(&[1; 16], v).is_some());
    assert!(Verifier::from_parts(&[1; 32], v).is_some());
    assert!(Verifier::from_parts(&[&[0; 8][..], &[1; 32]].concat(), &[&[0], v].concat()).is_some());
    assert!(Verifier::from_parts(&[1; 33], v).is_none());
    assert!(Verifier::from_parts(&[], v).is_none());
    for trivial in [&[][..], &[0], &[0, 1], &MODULUS, &minus_one, &[0xff; 400]] {
        assert!(Verifier::from_parts(&[1; 16], trivial).is_none());
    }
    assert!(Verifier::from_bytes(&[]).is_none());
    assert!(Verifier::from_bytes(&good[..good.len() - 1]).is_none());
    assert!(Verifier::from_bytes(&[&good[..], &[0]].concat()).is_none());
    assert!(Verifier::from_bytes(&[&[9], &good[1..]].concat()).is_none());
}

#[test]
fn a_simulated_verifier_is_stable_and_works() {
    let one = Verifier::simulated(&[1; 32]);
    assert!(one == Verifier::simulated(&[1; 32]));
    assert!(one != Verifier::simulated(&[2; 32]));
    assert!(Verifier::from_bytes(&one.to_bytes()).unwrap() == one);
    let client = client::Client::new(&SystemRandom);
    let server = srp::start(&one, &SystemRandom);
    assert!(srp::session_key(client.public(), &server.b, &server.public, &one).is_some());
}

#[test]
fn b_is_chosen_again_while_the_public_value_is_zero() {
    /// Gives 0x01…01 first and anything then.
    #[derive(Debug)]
    struct Scripted(std::sync::atomic::AtomicBool);
    impl lido_domain::Random for Scripted {
        fn fill(&self, bytes: &mut [u8]) {
            if self.0.swap(true, std::sync::atomic::Ordering::Relaxed) {
                SystemRandom.fill(bytes);
            } else {
                bytes.fill(1);
            }
        }
    }
    // k*v = -(g^b): v = -(g^b) / k, with 1/k = k^(N-2).
    let k = bignum::Element::from_bytes(&bytes(text(&vectors()["group"], "k"))).unwrap();
    let mut exponent = MODULUS;
    exponent[BYTES - 1] -= 2;
    let zero = bignum::Element::from_bytes(&[]).unwrap();
    let v = bignum::mul(&bignum::sub(&zero, &bignum::pow_g(&[1; 32])), &bignum::pow_public(&k, &exponent));
    let verifier = Verifier::from_parts(&[1; 16], v.as_bytes()).unwrap();
    assert!(srp::public_b(&verifier, &Secret::new([1; 32])).is_none());
    let start = srp::start(&verifier, &Scripted(false.into()));
    assert_ne!(start.b.expose(), &[1; 32]);
}

#[test]
fn timestamps_are_read() {
    for vector in exchanges(&vectors()) {
        assert!(srp::parse_timestamp(text(vector, "timestamp")).is_some());
    }
    for (text, seconds) in [
        ("Thu Jan 1 00:00:00 UTC 1970", 0),
        ("Thu Jan 01 00:00:00 UTC 1970", 0),
        ("Tue Mar 3 04:05:06 UTC 2026", 1_772_510_706),
        ("Sun Nov 22 18:30:00 UTC 2026", 1_795_372_200),
        ("Thu Feb 29 23:59:59 UTC 2024", 1_709_251_199),
        ("Fri Dec 31 23:59:59 UTC 1999", 946_684_799),
        ("Tue Feb 29 12:00:00 UTC 2000", 951_825_600),
    ] {
        assert_eq!(srp::parse_timestamp(text), Some(seconds), "{text}");
    }
    for moment in (0..5_000_000_000).step_by(86_399 * 13) {
        assert_eq!(srp::parse_timestamp(&client::format_timestamp(moment)), Some(moment));
    }
    assert_eq!(client::format_timestamp(1_772_510_706), "Tue Mar 3 04:05:06 UTC 2026");
}

#[test]
fn other_timestamps_are_refused() {
    for bad in [
        "",
        "2026-03-03T04:05:06Z",
        "Tue Mar 3 04:05:06 UTC",
        "Tue Mar 3 04:05:06 UTC 2026 ",
        "Tue  Mar 3 04:05:06 UTC 2026",
        "Tue Mar 3 04:05:06 GMT 2026",
        "Die Mar 3 04:05:06 UTC 2026",
        "Tue Mär 3 04:05:06 UTC 2026",
        "tue mar 3 04:05:06 utc 2026",
        "Tue Mar 0 04:05:06 UTC 2026",
        "Tue Mar 32 04:05:06 UTC 2026",
        "Sat Feb 29 04:05:06 UTC 2025",
        "Thu Feb 29 04:05:06 UTC 1900",
        "Tue Mar 003 04:05:06 UTC 2026",
        "Tue Mar +3 04:05:06 UTC 2026",
        "Tue Mar 3 4:05:06 UTC 2026",
        "Tue Mar 3 24:00:00 UTC 2026",
        "Tue Mar 3 04:60:06 UTC 2026",
        "Tue Mar 3 04:05:60 UTC 2026",
        "Tue Mar 3 04:05 UTC 2026",
        "Tue Mar 3 04:05:06:07 UTC 2026",
        "Tue Mar 3 04:05:06 UTC 26",
        "Tue Mar 3 04:05:06 UTC 20261",
    ] {
        assert_eq!(srp::parse_timestamp(bad), None, "{bad}");
    }
}

#[test]
fn secret_hashes_are_as_recorded() {
    for vector in vectors()["secret_hash"].as_array().unwrap() {
        let [name, id, secret] =
            ["username", "client_id", "client_secret"].map(|member| text(vector, member));
        let hash = text(vector, "secret_hash");
        assert_eq!(secret_hash(name, id, secret), hash);
        assert!(secret_hash_matches(name, id, secret, hash));
        assert!(!secret_hash_matches("another", id, secret, hash));
        assert!(!secret_hash_matches(name, "another", secret, hash));
        assert!(!secret_hash_matches(name, id, "another", hash));
        for wrong in ["", "AAAA", "not base64!", &hash[..40]] {
            assert!(!secret_hash_matches(name, id, secret, wrong));
        }
    }
}
