//! Every operation against an independent implementation, on random numbers and at the edges.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U256, U1024, U3072};
use lido_crypto::bignum::{self, BYTES, Element, MODULUS};

use crate::random;

fn params() -> FixedMontyParams<{ U3072::LIMBS }> {
    FixedMontyParams::new(Odd::new(U3072::from_be_slice(&MODULUS)).unwrap())
}

fn form(element: &Element) -> FixedMontyForm<{ U3072::LIMBS }> {
    FixedMontyForm::new(&U3072::from_be_slice(element.as_bytes()), &params())
}

fn assert_same(element: &Element, expected: FixedMontyForm<{ U3072::LIMBS }>) {
    assert_eq!(U3072::from_be_slice(element.as_bytes()), expected.retrieve());
}

fn minus(small: u8) -> Element {
    let mut bytes = MODULUS;
    bytes[BYTES - 1] -= small;
    Element::from_bytes(&bytes).unwrap()
}

/// 0, 1, 2, a single high bit, N - 2, N - 1, and random numbers.
fn elements() -> Vec<Element> {
    let mut high = [0; BYTES];
    high[0] = 0x80;
    let mut all: Vec<Element> =
        [&[0][..], &[1], &[2], &high].into_iter().map(|bytes| Element::from_bytes(bytes).unwrap()).collect();
    all.extend([minus(2), minus(1)]);
    all.extend((0..4).map(|_| {
        let mut bytes = random::<BYTES>();
        bytes[0] &= 0x7f;
        Element::from_bytes(&bytes).unwrap()
    }));
    all
}

/// Zero, one, single digits in every place, all ones, and random numbers.
fn exponents() -> Vec<[u8; 32]> {
    let mut all = vec![[0; 32], [0xff; 32], [0x11; 32], [0xf0; 32]];
    for place in 0..64 {
        let mut exponent = [0; 32];
        exponent[31 - place / 2] = if place % 2 == 0 { 1 + (place % 15) as u8 } else { 0x10 };
        all.push(exponent);
    }
    all.extend((0..16).map(|_| random::<32>()));
    all
}

#[test]
fn sums_differences_and_products_agree() {
    for a in &elements() {
        for b in &elements() {
            assert_same(&bignum::add(a, b), form(a) + form(b));
            assert_same(&bignum::sub(a, b), form(a) - form(b));
            assert_same(&bignum::mul(a, b), form(a) * form(b));
        }
    }
}

#[test]
fn powers_of_the_generator_agree() {
    let g = Element::generator();
    for exponent in exponents() {
        let power = bignum::pow_g(&exponent);
        assert_same(&power, form(&g).pow(&U256::from_be_slice(&exponent)));
        assert!(power == bignum::pow(&g, &exponent));
    }
}

#[test]
fn powers_of_any_base_agree() {
    for base in &elements() {
        for exponent in exponents().iter().step_by(7) {
            let expected = form(base).pow(&U256::from_be_slice(exponent));
            assert_same(&bignum::pow(base, exponent), expected);
            assert_same(&bignum::pow_public(base, exponent), expected);
        }
    }
}

#[test]
fn exponents_may_have_any_length() {
    let base = minus(5);
    let long = random::<128>();
    let expected = form(&base).pow(&U1024::from_be_slice(&long));
    assert_same(&bignum::pow(&base, &long), expected);
    assert_same(&bignum::pow_public(&base, &long), expected);
    for empty in [&[][..], &[0], &[0; 40]] {
        assert_eq!(bignum::pow(&base, empty), Element::from_bytes(&[1]).unwrap());
        assert_eq!(bignum::pow_public(&base, empty), Element::from_bytes(&[1]).unwrap());
    }
    assert_eq!(bignum::pow(&base, &[0, 0, 1]), base);
}

#[test]
fn only_numbers_below_the_modulus_are_elements() {
    assert!(Element::from_bytes(&MODULUS).is_none());
    assert!(Element::from_bytes(&[0xff; BYTES]).is_none());
    assert!(Element::from_bytes(&[1; BYTES + 1]).is_none());
    assert!(Element::from_bytes(&[]).unwrap().is_zero());
    assert_eq!(Element::from_bytes(&[&[0; 9], minus(1).as_bytes().as_slice()].concat()).unwrap(), minus(1));
}

#[test]
fn the_table_is_shared_between_threads() {
    let exponent = random::<32>();
    let expected = bignum::pow(&Element::generator(), &exponent);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                bignum::prepare();
                assert!(bignum::pow_g(&exponent) == expected);
                assert!(bignum::mul(&expected, &expected) == bignum::pow_public(&expected, &[2]));
            });
        }
    });
}

#[test]
fn an_element_is_not_printed() {
    assert_eq!(format!("{:?}", Element::generator()), "Element(***)");
}
