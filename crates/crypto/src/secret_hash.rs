//! The proof that an app client knows its secret.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// base64(HMAC-SHA256(key = secret, `username | client_id`)), all UTF-8. `username` is what stands in the same
/// request.
pub fn secret_hash(username: &str, client_id: &str, client_secret: &str) -> String {
    STANDARD.encode(hmac::sign(&key(client_secret), &message(username, client_id)))
}

/// Whether `claimed` is that hash; compared in constant time.
pub fn secret_hash_matches(username: &str, client_id: &str, client_secret: &str, claimed: &str) -> bool {
    STANDARD.decode(claimed).is_ok_and(|claimed| {
        hmac::verify(&key(client_secret), &message(username, client_id), &claimed).is_ok()
    })
}

fn key(client_secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, client_secret.as_bytes())
}

fn message(username: &str, client_id: &str) -> Vec<u8> {
    [username.as_bytes(), client_id.as_bytes()].concat()
}
