//! The tests, one file for each capability.

mod admin_users;
mod app_clients;
mod attribute_verification;
mod attributes;
mod backup;
mod client_secrets;
mod concurrency;
mod control;
mod crash;
mod custom_message;
mod database;
mod durability;
mod enumeration;
mod faults;
mod groups;
mod isolation;
mod key_rotation;
mod list_users;
mod lockout;
mod machine_tokens;
mod messages;
mod mfa;
mod nodes;
mod passwords;
mod recovery;
mod rotation;
mod serve;
mod sign_in;
mod sign_out;
mod sign_up;
mod srp;
mod tags;
mod tokens;
mod transfer;
mod triggers;
mod user_pools;
mod wire;

use lido_tests::Answer;

/// An error's code and message.
type Refusal = (&'static str, &'static str);

const CODE_MISMATCH: Refusal =
    ("CodeMismatchException", "Invalid verification code provided, please try again.");
const CODE_EXPIRED: Refusal = ("ExpiredCodeException", "Invalid code provided, please request a code again.");
const ATTEMPT_LIMIT: Refusal =
    ("LimitExceededException", "Attempt limit exceeded, please try after some time.");
const DELIVERY_FAILED: Refusal =
    ("CodeDeliveryFailureException", "Invalid email provided/Unable to send the email");

const USER_NOT_FOUND: Refusal = ("UserNotFoundException", "User does not exist.");
const COMBINATION_NOT_FOUND: Refusal = ("UserNotFoundException", "Username/client id combination not found.");
const USER_DISABLED: Refusal = ("NotAuthorizedException", "User is disabled.");
const NOT_CONFIRMED: Refusal = ("UserNotConfirmedException", "User is not confirmed.");
const RESET_REQUIRED: Refusal = ("PasswordResetRequiredException", "Password reset required for the user");

const WRONG_CREDENTIALS: Refusal = ("NotAuthorizedException", "Incorrect username or password.");
const LOCKED_OUT: Refusal = ("NotAuthorizedException", "Password attempts exceeded");
const INVALID_SESSION: Refusal = ("NotAuthorizedException", "Invalid session for the user.");
const SESSION_EXPIRED: Refusal =
    ("NotAuthorizedException", "Invalid session for the user, session is expired.");
const SESSION_USED: Refusal =
    ("NotAuthorizedException", "Invalid session for the user, session can only be used once.");

const INVALID_ACCESS_TOKEN: Refusal = ("NotAuthorizedException", "Invalid Access Token");
const ACCESS_TOKEN_SIGNATURE: Refusal =
    ("NotAuthorizedException", "Could not verify signature for Access Token");
const ACCESS_TOKEN_EXPIRED: Refusal = ("NotAuthorizedException", "Access Token has expired");
const ACCESS_TOKEN_REVOKED: Refusal = ("NotAuthorizedException", "Access Token has been revoked");
const ACCESS_TOKEN_SCOPES: Refusal = ("NotAuthorizedException", "Access Token does not have required scopes");
const INVALID_REFRESH_TOKEN: Refusal = ("NotAuthorizedException", "Invalid Refresh Token");
const REFRESH_TOKEN_EXPIRED: Refusal = ("NotAuthorizedException", "Refresh Token has expired");
const REFRESH_TOKEN_REVOKED: Refusal = ("NotAuthorizedException", "Refresh Token has been revoked");

const UNAUTHORIZED_WRITE: Refusal =
    ("NotAuthorizedException", "A client attempted to write unauthorized attribute");

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// Asserts that an answer is this error.
#[track_caller]
fn refused(answer: &Answer, (code, message): Refusal) {
    answer.fails(code, message);
}

/// A code of the same form that is another one.
fn another_code(code: &str) -> &'static str {
    if code == "123456" { "654321" } else { "123456" }
}

/// The text with the character at `index` exchanged for another one of base64.
fn altered(text: &str, index: usize) -> String {
    let other = if text[index..].starts_with('A') { "B" } else { "A" };
    format!("{}{other}{}", &text[..index], &text[index + 1..])
}
