//! Tokens of paged lists: where the next page begins, for the same question only.
//!
//! A token is base64url of a sealed JSON. It can be neither read nor made by a client, and its scope
//! (operation, pool, filter) is authenticated with it: a token of another list is as foreign as a random text.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lido_crypto::keys::{KeyRing, Purpose};
use lido_domain::{Millis, Random};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cx::Cx;
use crate::fault::{self, Result};

/// How long a token can be used. Source: ListUsers, PaginationToken.
const VALIDITY: Duration = Duration::from_secs(60 * 60);

#[derive(Serialize, Deserialize)]
struct Page<T> {
    position: T,
    issued: Millis,
}

/// A token for the page after `position`.
///
/// `scope`: the operation's name and everything of the input that decides what is listed, but not the
/// size of a page.
pub fn encode<T: Serialize>(cx: &Cx, scope: &[&str], position: &T) -> String {
    sealed(&cx.keyring, &*cx.random, cx.now(), scope, position)
}

/// The position in a token that was made with the same scope.
///
/// Errors: [`fault::invalid_pagination_token`] for every other text, and for a token that is too old.
pub fn decode<T: DeserializeOwned>(cx: &Cx, scope: &[&str], token: &str) -> Result<T> {
    opened(&cx.keyring, cx.now(), scope, token).ok_or_else(|| fault::invalid_pagination_token().into())
}

fn sealed<T: Serialize>(
    keyring: &KeyRing,
    random: &dyn Random,
    now: Millis,
    scope: &[&str],
    position: &T,
) -> String {
    let plain = serde_json::to_vec(&Page { position, issued: now }).expect("a position has only string keys");
    URL_SAFE_NO_PAD.encode(keyring.seal(Purpose::PageToken, &bytes(scope), &plain, random))
}

fn opened<T: DeserializeOwned>(keyring: &KeyRing, now: Millis, scope: &[&str], token: &str) -> Option<T> {
    let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
    let plain = keyring.open(Purpose::PageToken, &bytes(scope), &sealed).ok()?;
    let page: Page<T> = serde_json::from_slice(&plain).ok()?;
    (now < page.issued + VALIDITY).then_some(page.position)
}

fn bytes<'a>(scope: &[&'a str]) -> Vec<&'a [u8]> {
    scope.iter().map(|part| part.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use lido_crypto::keys::MasterKey;

    use super::*;

    #[derive(Debug)]
    struct Sevens;

    impl Random for Sevens {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_token_holds_for_its_list_and_an_hour() {
        let keyring = MasterKey::generate(&Sevens).keyring();
        let start = Millis(1_700_000_000_000);
        let token = sealed(&keyring, &Sevens, start, &["ListUsers", "pool"], &("ana", 3));
        let open = |now: Millis, scope: &[&str], token: &str| -> Option<(String, i64)> {
            opened(&keyring, now, scope, token)
        };
        let position = Some(("ana".to_owned(), 3));
        assert_eq!(open(start, &["ListUsers", "pool"], &token), position);
        assert_eq!(open(Millis(start.0 + 3_599_999), &["ListUsers", "pool"], &token), position);
        assert_eq!(open(Millis(start.0 + 3_600_000), &["ListUsers", "pool"], &token), None);
        assert_eq!(open(start, &["ListUsers", "other"], &token), None);
        assert_eq!(open(start, &["ListUsersp", "ool"], &token), None);
        assert_eq!(open(start, &["ListUsers", "pool"], "not a token"), None);
        assert_eq!(open(start, &["ListUsers", "pool"], &token[1..]), None);
    }
}
