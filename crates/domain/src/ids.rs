//! Distinct identifiers are distinct types, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

identifier! {
    /// A user pool: `{region}_{alphanumerics}`, at most 55 characters.
    PoolId
}
identifier! {
    /// An app client: 1 to 128 characters of `[\w+]`.
    ClientId
}
identifier! {
    /// A user's immutable subject, shaped as a UUID, unique in its pool.
    Sub
}

impl PoolId {
    /// The region part, before the last `_`.
    pub fn region(&self) -> &str {
        self.0.rsplit_once('_').map_or("", |(region, _)| region)
    }

    /// The pool name that SRP hashes: the part after the `_`.
    pub fn srp_name(&self) -> &str {
        self.0.rsplit_once('_').map_or(self.0.as_str(), |(_, name)| name)
    }
}
