//! The scalars of the wire that Rust has no type for.

use std::fmt;
use std::ops::Deref;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A string the model marks sensitive: a password, a token, a user name. `Debug` prints `***`.
#[derive(Clone, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Deref for Sensitive {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Sensitive {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Sensitive {
    fn from(text: String) -> Self {
        Sensitive(text)
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Self {
        Sensitive(text.to_string())
    }
}

impl From<Sensitive> for String {
    fn from(text: Sensitive) -> Self {
        text.0
    }
}

impl PartialEq<str> for Sensitive {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Sensitive {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// A point in time: milliseconds since 1970, UTC. On the wire a JSON number of seconds, with the
/// milliseconds as its fraction (`1684427979.201`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    pub const fn millis(self) -> i64 {
        self.0
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1000 == 0 {
            serializer.serialize_i64(self.0 / 1000)
        } else {
            // The shortest text that reads back as this double has three decimals at most, until past the year 200000.
            serializer.serialize_f64(self.0 as f64 / 1000.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `as` saturates, so that a number beyond all time stays there.
        let seconds = f64::deserialize(deserializer)?;
        Ok(Timestamp((seconds * 1000.0).round() as i64))
    }
}

/// Bytes; base64 on the wire. `Debug` prints the length only.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Blob(Vec<u8>);

impl Blob {
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// The bytes that `text` encodes, if it is base64 in the standard alphabet, padded.
    pub(crate) fn decode(text: &str) -> Option<Blob> {
        STANDARD.decode(text).ok().map(Blob)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Blob(bytes)
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text { expected: "base64", read: Blob::decode })
    }
}

/// A string that is not a value of the enum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownValue {
    /// The enum's name.
    pub of: &'static str,
}

impl fmt::Display for UnknownValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a value of {}", self.of)
    }
}

impl std::error::Error for UnknownValue {}

/// Reads a value from a string. One visitor for all string enums keeps this crate quick to build.
pub(crate) struct Text<T> {
    pub(crate) expected: &'static str,
    pub(crate) read: fn(&str) -> Option<T>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.read)(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// What every string enum has, from its `ALL` and `as_str`.
macro_rules! string_enum {
    ($name:ident) => {
        impl $name {
            /// The value that the wire spells `text`.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::UnknownValue;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownValue> {
                Self::parse(text).ok_or($crate::UnknownValue { of: stringify!($name) })
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = $crate::values::Text { expected: stringify!($name), read: Self::parse };
                deserializer.deserialize_str(text)
            }
        }
    };
}
pub(crate) use string_enum;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_timestamp_is_a_number_of_seconds_and_reads_back_exactly() {
        for (millis, text) in [
            (1_684_427_979_201, "1684427979.201"),
            (1_700_000_000_000, "1700000000"),
            (1_700_000_000_010, "1700000000.01"),
            (1, "0.001"),
            (0, "0"),
            (-1, "-0.001"),
        ] {
            let written = serde_json::to_string(&Timestamp::from_millis(millis)).unwrap();
            assert_eq!(written, text);
            assert_eq!(serde_json::from_str::<Timestamp>(&written).unwrap().millis(), millis);
        }
        for millis in (1_684_427_979_000..1_684_427_980_000).chain(253_402_300_799_000..253_402_300_800_000) {
            let time = Timestamp::from_millis(millis);
            let written = serde_json::to_string(&time).unwrap();
            assert!(written.split('.').nth(1).is_none_or(|fraction| fraction.len() <= 3), "{written}");
            assert_eq!(serde_json::from_str::<Timestamp>(&written).unwrap(), time);
        }
        assert_eq!(serde_json::from_str::<Timestamp>("1700000000.0").unwrap().millis(), 1_700_000_000_000);
    }

    #[test]
    fn a_sensitive_string_is_plain_on_the_wire_and_hidden_in_debug() {
        let password = Sensitive::from("hunter2");
        assert_eq!(serde_json::to_value(&password).unwrap(), json!("hunter2"));
        assert_eq!(serde_json::from_value::<Sensitive>(json!("hunter2")).unwrap(), "hunter2");
        assert_eq!(format!("{password:?} {:?}", Some(&password)), "*** Some(***)");
    }

    #[test]
    fn a_blob_is_base64() {
        let blob = Blob::from(vec![0, 255, 16]);
        assert_eq!(serde_json::to_value(&blob).unwrap(), json!("AP8Q"));
        assert_eq!(serde_json::from_value::<Blob>(json!("AP8Q")).unwrap(), blob);
        assert!(serde_json::from_value::<Blob>(json!("not base64")).is_err());
        assert_eq!(format!("{blob:?}"), "Blob(3 bytes)");
    }
}
