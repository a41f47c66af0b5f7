//! Texts in keys of indexes. An attribute may have 2,048 characters; PostgreSQL's B-trees take keys of some 2,700
//! bytes, and a key that long helps nobody.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// Bytes of a text that a key holds. More than a user name of 128 characters can have.
pub const LONGEST: usize = 600;
/// Of a longer one that must stay unique: this much, and its digest.
const DISTINCT: usize = 400;

/// At most `at` bytes, whole characters.
fn cut(text: &str, at: usize) -> &str {
    let end = (0..=at.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// The beginning of a text: what sorts and is searched by prefix.
pub fn prefix(text: &str) -> &str {
    cut(text, LONGEST)
}

/// Stands for a text where only equality counts: itself, or its beginning and its SHA-256 when it is long.
pub(crate) fn distinct(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let mut key = cut(text, DISTINCT).to_owned();
    // Not in any name that a person gives.
    key.push('\u{1}');
    key.extend(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")));
    Cow::Owned(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_stay_distinct() {
        let short = "é".repeat(LONGEST / 2);
        assert_eq!((prefix(&short), &*distinct(&short)), (&*short, &*short));
        let long = "€".repeat(LONGEST);
        let other = format!("{long}x");
        assert!(prefix(&long).len() <= LONGEST && long.starts_with(prefix(&long)));
        assert_eq!(prefix(&long), prefix(&other));
        assert_ne!(distinct(&long), distinct(&other));
        assert!(distinct(&long).len() <= LONGEST);
    }
}
