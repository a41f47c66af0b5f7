//! Codes of authenticator apps, by the vectors of their RFCs.

use lido_crypto::totp::{self, base32, code, matching_step, step_at};
use lido_domain::Millis;

use crate::SystemRandom;

const SEED: &[u8] = b"12345678901234567890";

fn at(seconds: i64) -> Millis {
    Millis(seconds * 1000)
}

/// RFC 6238, appendix B, SHA-1; its codes have eight digits, ours are their last six.
#[test]
fn codes_are_those_of_the_rfc() {
    for (seconds, expected) in [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ] {
        assert_eq!(code(SEED, step_at(at(seconds))), expected[2..], "{seconds}");
    }
}

/// RFC 4226, appendix D.
#[test]
fn counters_are_those_of_the_rfc() {
    let expected =
        ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
    for (counter, expected) in (0..).zip(expected) {
        assert_eq!(code(SEED, counter), expected);
    }
}

#[test]
fn the_steps_beside_the_present_one_are_taken() {
    let now = at(1_111_111_111);
    let present = step_at(now);
    for step in present - 1..=present + 1 {
        assert_eq!(matching_step(SEED, &code(SEED, step), now), Some(step));
    }
    for step in [present - 2, present + 2] {
        assert_eq!(matching_step(SEED, &code(SEED, step), now), None);
    }
    for bad in ["", "05047", "0050471", "abcdef", "٠٥٠٤٧١"] {
        assert_eq!(matching_step(SEED, bad, now), None, "{bad}");
    }
}

#[test]
fn a_step_is_thirty_seconds() {
    assert_eq!((step_at(at(0)), step_at(at(29)), step_at(at(30))), (0, 0, 1));
    assert_eq!(step_at(at(-1)), -1);
}

/// RFC 4648 §10, its padding left out.
#[test]
fn base32_is_that_of_the_rfc() {
    for (bytes, text) in [
        ("", ""),
        ("f", "MY"),
        ("fo", "MZXQ"),
        ("foo", "MZXW6"),
        ("foob", "MZXW6YQ"),
        ("fooba", "MZXW6YTB"),
        ("foobar", "MZXW6YTBOI"),
    ] {
        assert_eq!(base32(bytes.as_bytes()), text);
    }
    assert_eq!(base32(&[0xff; 5]), "77777777");
}

#[test]
fn a_seed_has_52_characters_and_is_random() {
    let (one, other) = (totp::new_seed(&SystemRandom), totp::new_seed(&SystemRandom));
    assert_eq!(base32(one.expose()).len(), 52);
    assert_ne!(one.expose(), other.expose());
}
