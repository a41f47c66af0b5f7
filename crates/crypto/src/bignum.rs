//! Arithmetic modulo the 3072-bit prime `N` of RFC 3526 (group 15, also in RFC 5054), generator 2.
//!
//! The work is done by AWS-LC's big numbers, called directly because aws-lc-rs does not offer them. Nothing
//! unsafe leaves this module: callers hold an [`Element`], which is a plain array that is always below `N`,
//! and every AWS-LC object lives in a wrapper that frees it. AWS-LC wipes memory when it frees it.
//!
//! Which function to take: [`pow_g`] and [`pow`] where the exponent is secret, [`pow_public`] only where
//! it may be known to everybody. `examples/leakage.rs` measures whether the first two keep the secret.
#![expect(unsafe_code, reason = "AWS-LC's big numbers have no safe binding; this is the audited one")]

use std::ffi::c_int;
use std::fmt;
use std::hint::black_box;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;

use aws_lc_sys as lc;
use zeroize::Zeroize;

/// Length of `N` and of every [`Element`].
pub const BYTES: usize = 384;

/// `N`, big-endian.
pub const MODULUS: [u8; BYTES] = hex(concat!(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd",
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed",
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f",
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b",
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510",
    "15728e5a8aaac42dad33170d04507a33a85521abdf1cba64ecfb850458dbef0a8aea71575d060c7db3970f85a6e1e4c7",
    "abf5ae8cdb0933d71e8c94e04a25619dcee3d2261ad2ee6bf12ffa06d98a0864d87602733ec86a64521f2b18177b200c",
    "bbe117577a615d6c770988c0bad946e208e24fa074e5ab3143db5bfce0fd108e4b82d120a93ad2caffffffffffffffff",
));

const fn hex(text: &str) -> [u8; BYTES] {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            b'a'..=b'f' => c - b'a' + 10,
            _ => panic!("not a lower-case hexadecimal digit"),
        }
    }
    let text = text.as_bytes();
    assert!(text.len() == 2 * BYTES);
    let mut out = [0; BYTES];
    let mut i = 0;
    while i < BYTES {
        out[i] = digit(text[2 * i]) << 4 | digit(text[2 * i + 1]);
        i += 1;
    }
    out
}

/// A number in `0..N`: 384 bytes, big-endian. Wiped when dropped, not printed.
#[derive(Clone)]
pub struct Element([u8; BYTES]);

impl Element {
    /// Reads an unsigned big-endian number of any width. `None` unless it is below `N`.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let significant = without_leading_zeros(bytes);
        if significant.len() > BYTES {
            return None;
        }
        let mut element = Self([0; BYTES]);
        element.0[BYTES - significant.len()..].copy_from_slice(significant);
        (element.0 < MODULUS).then_some(element)
    }

    /// Big-endian, with leading zeros.
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    pub fn is_zero(&self) -> bool {
        crate::constant_time_eq(&self.0, &[0; BYTES])
    }

    /// The generator of the group: 2.
    pub fn generator() -> Self {
        Self::small(2)
    }

    pub(crate) fn small(value: u8) -> Self {
        let mut bytes = [0; BYTES];
        bytes[BYTES - 1] = value;
        Self(bytes)
    }
}

impl PartialEq for Element {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        crate::constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for Element {}

impl Drop for Element {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Element(***)")
    }
}

pub(crate) fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// `a + b mod N`
pub fn add(a: &Element, b: &Element) -> Element {
    let (a, b, r) = (Number::from_element(a), Number::from_element(b), Number::new());
    // SAFETY: all pointers are live objects of the types that the function names; r may be written.
    succeeded(unsafe { lc::BN_mod_add_quick(r.ptr(), a.ptr(), b.ptr(), GROUP.modulus.ptr()) });
    r.to_element()
}

/// `a - b mod N`
pub fn sub(a: &Element, b: &Element) -> Element {
    let (a, b, r) = (Number::from_element(a), Number::from_element(b), Number::new());
    // SAFETY: as in `add`.
    succeeded(unsafe { lc::BN_mod_sub_quick(r.ptr(), a.ptr(), b.ptr(), GROUP.modulus.ptr()) });
    r.to_element()
}

/// `a * b mod N`
pub fn mul(a: &Element, b: &Element) -> Element {
    let scratch = Scratch::new();
    let (a, b) = (Number::from_element(a), Number::from_element(b));
    // a·R times b over R leaves a·b: one conversion is enough.
    GROUP.enter(&a, &scratch);
    GROUP.multiply(&a, &b, &scratch);
    a.to_element()
}

/// `base ^ exponent mod N` for a secret exponent (unsigned big-endian). The time taken depends on the length
/// of the slice, not on its content: AWS-LC's fixed-window exponentiation, which touches every table entry.
pub fn pow(base: &Element, exponent: &[u8]) -> Element {
    let scratch = Scratch::new();
    let (base, exponent, r) = (Number::from_element(base), Number::from_bytes(exponent), Number::new());
    // SAFETY: all pointers are live; base < N by the type; the context belongs to the modulus passed with it.
    succeeded(unsafe {
        lc::BN_mod_exp_mont_consttime(
            r.ptr(),
            base.ptr(),
            exponent.ptr(),
            GROUP.modulus.ptr(),
            scratch.0.as_ptr(),
            GROUP.montgomery.as_ptr(),
        )
    });
    r.to_element()
}

/// `base ^ exponent mod N` where the exponent is public, like the `u` of SRP: the time taken shows it. The
/// base may be secret.
pub fn pow_public(base: &Element, exponent: &[u8]) -> Element {
    let scratch = Scratch::new();
    let (base, exponent, r) = (Number::from_element(base), Number::from_bytes(exponent), Number::new());
    // SAFETY: as in `pow`.
    succeeded(unsafe {
        lc::BN_mod_exp_mont(
            r.ptr(),
            base.ptr(),
            exponent.ptr(),
            GROUP.modulus.ptr(),
            scratch.0.as_ptr(),
            GROUP.montgomery.as_ptr(),
        )
    });
    r.to_element()
}

/// `2 ^ exponent mod N` for a secret exponent of 256 bits (big-endian), by a table of the generator's powers:
/// 63 multiplications and no squaring. The first call builds the table, which takes a few milliseconds; see
/// [`prepare`].
pub fn pow_g(exponent: &[u8; 32]) -> Element {
    let scratch = Scratch::new();
    let (result, factor) = (Number::new(), Number::new());
    let mut selected = [0; BYTES];
    for (window, row) in GENERATOR_POWERS.iter().enumerate() {
        let byte = exponent[31 - window / 2];
        let digit = if window % 2 == 0 { byte & 0x0f } else { byte >> 4 };
        select(row, digit, &mut selected);
        if window == 0 {
            result.set_little_endian(&selected);
        } else {
            factor.set_little_endian(&selected);
            GROUP.multiply(&result, &factor, &scratch);
        }
    }
    selected.zeroize();
    GROUP.leave(&result, &scratch);
    result.to_element()
}

/// `a + b * c` as whole numbers, not modulo anything: the exponent of the client's half of SRP.
pub(crate) fn multiply_add(a: &[u8], b: &[u8], c: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new();
    let (a, b, c, r) = (Number::from_bytes(a), Number::from_bytes(b), Number::from_bytes(c), Number::new());
    // SAFETY: all pointers are live; BN_mul and BN_add allow the result to be an operand or a fresh number.
    unsafe {
        succeeded(lc::BN_mul(r.ptr(), b.ptr(), c.ptr(), scratch.0.as_ptr()));
        succeeded(lc::BN_add(r.ptr(), r.ptr(), a.ptr()));
    }
    r.to_bytes()
}

/// Builds the modulus context and the table of [`pow_g`] now, so that no request has to wait for them. Meant
/// for a background thread after start.
pub fn prepare() {
    LazyLock::force(&GENERATOR_POWERS);
}

/// The sixteen candidates for one digit of the exponent, in Montgomery form, little-endian.
type Row = [[u8; BYTES]; 16];

/// `GENERATOR_POWERS[i][d]` is `2 ^ (d * 16^i)`: one row for each hexadecimal digit of a 256-bit exponent,
/// 384 KiB in all.
static GENERATOR_POWERS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let scratch = Scratch::new();
    let one = Number::from_element(&Element::small(1));
    GROUP.enter(&one, &scratch);
    let one = one.to_little_endian();
    let base = Number::from_element(&Element::generator());
    GROUP.enter(&base, &scratch);

    let mut rows = Vec::with_capacity(64);
    for _ in 0..64 {
        let mut row: Row = [[0; BYTES]; 16];
        let power = Number::new();
        power.set_little_endian(&one);
        for entry in &mut row {
            *entry = power.to_little_endian();
            GROUP.multiply(&power, &base, &scratch);
        }
        // The sixteenth product is the base of the next row.
        base.set_little_endian(&power.to_little_endian());
        rows.push(row);
    }
    rows
});

/// Copies `row[digit]` to `out` by reading all sixteen entries in order: neither a branch nor an address
/// depends on the digit.
fn select(row: &Row, digit: u8, out: &mut [u8; BYTES]) {
    out.fill(0);
    for (index, entry) in (0u8..).zip(row) {
        // 0xff for the entry wanted, else 0: only 0 - 1 has its top bit set, as both are below 16. The black
        // box keeps the compiler from turning the mask back into a branch.
        let mask = black_box(((index ^ digit).wrapping_sub(1) >> 7).wrapping_neg());
        for (out, byte) in out.iter_mut().zip(entry) {
            *out |= byte & mask;
        }
    }
}

/// AWS-LC reports failure as 0. With operands of the right shape, which the types here guarantee, memory is
/// all that it can lack, and that is where Rust aborts as well.
fn succeeded(code: c_int) {
    assert!(code == 1, "AWS-LC had no memory for a big number");
}

fn allocated<T>(ptr: *mut T) -> NonNull<T> {
    NonNull::new(ptr).expect("AWS-LC had no memory for a big number")
}

/// An owned, unshared `BIGNUM`. Its methods write through `&self`, which is sound because the type is neither
/// `Send` nor `Sync` and no reference into the number is ever made; the modulus is the one that is shared, and
/// nothing writes to it.
struct Number(NonNull<lc::BIGNUM>);

impl Number {
    fn new() -> Self {
        // SAFETY: no arguments; null is checked.
        Self(allocated(unsafe { lc::BN_new() }))
    }

    /// Unsigned big-endian. Leading zeros count towards the width, so that the width of a secret shows nothing.
    fn from_bytes(bytes: &[u8]) -> Self {
        // SAFETY: reads exactly the slice; a null result pointer asks for a new number; null is checked.
        Self(allocated(unsafe { lc::BN_bin2bn(bytes.as_ptr(), bytes.len(), ptr::null_mut()) }))
    }

    fn from_element(element: &Element) -> Self {
        Self::from_bytes(&element.0)
    }

    fn set_little_endian(&self, bytes: &[u8; BYTES]) {
        // SAFETY: reads exactly the array; the number is live and is resized by the callee.
        allocated(unsafe { lc::BN_le2bn(bytes.as_ptr(), BYTES, self.ptr()) });
    }

    fn to_little_endian(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        // SAFETY: writes exactly the array, or fails where the number is wider.
        succeeded(unsafe { lc::BN_bn2le_padded(out.as_mut_ptr(), BYTES, self.ptr()) });
        out
    }

    /// Only for results of arithmetic modulo `N`, which are below it.
    fn to_element(&self) -> Element {
        let mut out = Element([0; BYTES]);
        // SAFETY: writes exactly the array, or fails where the number is wider.
        succeeded(unsafe { lc::BN_bn2bin_padded(out.0.as_mut_ptr(), BYTES, self.ptr()) });
        out
    }

    /// Big-endian without leading zeros.
    fn to_bytes(&self) -> Vec<u8> {
        // SAFETY: reads a live number.
        let length = unsafe { lc::BN_num_bytes(self.ptr()) } as usize;
        let mut out = vec![0; length];
        // SAFETY: writes exactly the vector, or fails where the number is wider.
        succeeded(unsafe { lc::BN_bn2bin_padded(out.as_mut_ptr(), length, self.ptr()) });
        out
    }

    fn ptr(&self) -> *mut lc::BIGNUM {
        self.0.as_ptr()
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { lc::BN_clear_free(self.ptr()) }
    }
}

/// AWS-LC's pool of temporaries for the length of one calculation.
struct Scratch(NonNull<lc::BN_CTX>);

impl Scratch {
    fn new() -> Self {
        // SAFETY: no arguments; null is checked.
        Self(allocated(unsafe { lc::BN_CTX_new() }))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { lc::BN_CTX_free(self.0.as_ptr()) }
    }
}

/// `N` and what Montgomery multiplication precomputes for it.
struct Group {
    modulus: Number,
    montgomery: NonNull<lc::BN_MONT_CTX>,
}

// SAFETY: both objects are written only by `new` and never freed while shared; AWS-LC takes them as pointers to
// const in every call made here, and its const functions may run on many threads.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

static GROUP: LazyLock<Group> = LazyLock::new(Group::new);

impl Group {
    fn new() -> Self {
        // Selects the processor's instructions; a static build may not have run it yet.
        aws_lc_rs::init();
        let scratch = Scratch::new();
        let modulus = Number::from_bytes(&MODULUS);
        // SAFETY: both arguments are live; the context copies the modulus; null is checked.
        let montgomery =
            allocated(unsafe { lc::BN_MONT_CTX_new_for_modulus(modulus.ptr(), scratch.0.as_ptr()) });
        Self { modulus, montgomery }
    }

    /// `a *= b / R`. Both must be below `N`.
    fn multiply(&self, a: &Number, b: &Number, scratch: &Scratch) {
        // SAFETY: all pointers are live; the result may be an operand.
        succeeded(unsafe {
            lc::BN_mod_mul_montgomery(a.ptr(), a.ptr(), b.ptr(), self.montgomery.as_ptr(), scratch.0.as_ptr())
        });
    }

    /// `a *= R`: into Montgomery form.
    fn enter(&self, a: &Number, scratch: &Scratch) {
        // SAFETY: as in `multiply`.
        succeeded(unsafe {
            lc::BN_to_montgomery(a.ptr(), a.ptr(), self.montgomery.as_ptr(), scratch.0.as_ptr())
        });
    }

    /// `a /= R`: out of Montgomery form.
    fn leave(&self, a: &Number, scratch: &Scratch) {
        // SAFETY: as in `multiply`.
        succeeded(unsafe {
            lc::BN_from_montgomery(a.ptr(), a.ptr(), self.montgomery.as_ptr(), scratch.0.as_ptr())
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { lc::BN_MONT_CTX_free(self.montgomery.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_selects_every_digit() {
        let row: Row = std::array::from_fn(|i| [i as u8 ^ 0xa5; BYTES]);
        for digit in 0..16 {
            let mut out = [0xff; BYTES];
            select(&row, digit, &mut out);
            assert_eq!(out, row[usize::from(digit)]);
        }
    }

    #[test]
    fn whole_numbers_are_multiplied_and_added() {
        assert_eq!(multiply_add(&[0xff], &[0xff, 0xff], &[0x02, 0]), [0x01, 0xff, 0xfe, 0xff]);
        assert_eq!(multiply_add(&[], &[], &[]), [0u8; 0]);
    }
}
