//! Multi-factor authentication: the pool's configuration, software tokens, preferences, and every challenge.

use futures_util::future::join_all;
use lido_crypto::totp;
use lido_domain::Millis;
use lido_tests::{Answer, App, Lido, PASSWORD, Pool, Tokens, User};
use serde_json::{Value, json};

use super::*;

const PHONE: &str = "+15550001234";
const EMAIL: &str = "ana@example.com";
const ROLE: &str = "arn:aws:iam::000000000000:role/sms";

const WRONG_CODE: Refusal = ("CodeMismatchException", "Invalid code or auth state for the user.");
const WRONG_TOKEN_CODE: Refusal = ("CodeMismatchException", "Invalid code received for user");
const TOKEN_USED: Refusal = ("ExpiredCodeException", "Your software token has already been used once.");
const NOT_VERIFIED: Refusal =
    ("EnableSoftwareTokenMFAException", "Code mismatch and fail enable Software Token MFA");
/// More signatures at once than may wait.
const BUSY: Refusal = ("TooManyRequestsException", "Rate exceeded");
const NO_TOKENS: Refusal =
    ("SoftwareTokenMFANotFoundException", "Software Token MFA has not been enabled by the userPool");

/// What every second factor needs, for SetUserPoolMfaConfig.
fn factors(names: &[&str]) -> Value {
    let mut body = json!({});
    for name in names {
        match *name {
            "SMS_MFA" => {
                body["SmsMfaConfiguration"] = json!({ "SmsConfiguration": { "SnsCallerArn": ROLE } });
            }
            "EMAIL_OTP" => body["EmailMfaConfiguration"] = json!({}),
            _ => body["SoftwareTokenMfaConfiguration"] = json!({ "Enabled": true }),
        }
    }
    body
}

async fn pool(lido: &Lido, mode: &str, names: &[&str]) -> Pool {
    let pool = lido
        .pool()
        .with(json!({
            "EmailConfiguration": {
                "EmailSendingAccount": "DEVELOPER",
                "SourceArn": "arn:aws:ses:us-east-1:000000000000:identity/example.com",
            },
        }))
        .create()
        .await;
    configure(&pool, mode, names).await;
    pool
}

async fn configure(pool: &Pool, mode: &str, names: &[&str]) {
    let body = lido_tests::merged(factors(names), json!({ "MfaConfiguration": mode }));
    pool.call("SetUserPoolMfaConfig", body).await.ok();
}

async fn app(mode: &str, names: &[&str]) -> App {
    pool(&Lido::shared().await, mode, names).await.app_client().await
}

/// An authenticator app.
struct Authenticator {
    seed: Vec<u8>,
    /// The step of its first code. Later ones are made as the test needs them: the server takes the one after the
    /// present one.
    step: i64,
}

impl Authenticator {
    async fn new(lido: &Lido, secret: &Value) -> Self {
        let secret = secret.as_str().unwrap();
        assert_eq!(secret.len(), 52);
        let (mut bits, mut held, mut seed) = (0_u64, 0, Vec::new());
        for character in secret.bytes() {
            let value =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|each| *each == character).unwrap();
            bits = bits << 5 | value as u64;
            held += 5;
            if held >= 8 {
                held -= 8;
                seed.push((bits >> held & 0xff) as u8);
            }
        }
        let step = totp::step_at(Millis::from_seconds(lido.clock().now().await));
        Self { seed, step }
    }

    fn code(&self, later: i64) -> String {
        totp::code(&self.seed, self.step + later)
    }

    /// A code that is none of those which the server takes.
    fn wrong(&self) -> &'static str {
        let good: Vec<String> = (-2..=3).map(|later| self.code(later)).collect();
        ["000000", "111111", "222222", "333333", "444444", "555555", "666666"]
            .into_iter()
            .find(|code| !good.iter().any(|good| good == code))
            .unwrap()
    }
}

/// Registers a software token; its present code is used by that.
async fn register(tokens: &Tokens) -> Authenticator {
    let secret = tokens.call("AssociateSoftwareToken", json!({})).await.ok();
    assert_eq!(secret.get("Session"), None);
    let authenticator = Authenticator::new(&tokens.lido, &secret["SecretCode"]).await;
    let body = json!({ "UserCode": authenticator.code(0), "FriendlyDeviceName": "Ana's phone" });
    assert_eq!(tokens.call("VerifySoftwareToken", body).await.ok(), json!({ "Status": "SUCCESS" }));
    authenticator
}

/// A user whose preferred factor is a software token.
async fn with_token(app: &App, name: &str) -> (User, Authenticator) {
    let (user, tokens) = app.user(name).signed_in().await;
    let authenticator = register(&tokens).await;
    prefer(&user, "SoftwareTokenMfaSettings").await;
    (user, authenticator)
}

async fn prefer(user: &User, settings: &str) {
    let body = json!({ settings: { "Enabled": true, "PreferredMfa": true } });
    user.admin("AdminSetUserMFAPreference", body).await.ok_empty();
}

/// A challenge: its parameters and its session.
#[track_caller]
fn challenge(answer: &Answer, name: &str) -> (Value, String) {
    let body = answer.ok();
    assert_eq!(body["ChallengeName"], name, "{body}");
    assert_eq!(body.get("AuthenticationResult"), None);
    (body["ChallengeParameters"].clone(), body["Session"].as_str().unwrap().to_owned())
}

async fn answer_token(app: &App, session: &str, name: &str, code: &str) -> Answer {
    let responses = json!({ "USERNAME": name, "SOFTWARE_TOKEN_MFA_CODE": code });
    app.respond("SOFTWARE_TOKEN_MFA", Some(session), responses).await
}

async fn answer_sms(app: &App, session: &str, name: &str, code: &str) -> Answer {
    app.respond("SMS_MFA", Some(session), json!({ "USERNAME": name, "SMS_MFA_CODE": code })).await
}

async fn answer_email(app: &App, session: &str, name: &str, code: &str) -> Answer {
    app.respond("EMAIL_OTP", Some(session), json!({ "USERNAME": name, "EMAIL_OTP_CODE": code })).await
}

fn successes(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.is_ok()).count()
}

// ---- The pool's configuration ----------------------------------------------------------------

#[tokio::test]
async fn a_configuration_is_returned_as_it_was_set() {
    let pool = pool(&Lido::shared().await, "OPTIONAL", &["SMS_MFA"]).await;
    let set = json!({
        "SmsMfaConfiguration": {
            "SmsAuthenticationMessage": "Code {####}.",
            "SmsConfiguration": { "SnsCallerArn": ROLE, "ExternalId": "x" },
        },
        "SoftwareTokenMfaConfiguration": { "Enabled": true },
        "EmailMfaConfiguration": { "Message": "Mail {####}", "Subject": "Yours" },
        "WebAuthnConfiguration": { "RelyingPartyId": "example.com", "UserVerification": "preferred" },
        "MfaConfiguration": "ON",
    });
    let answer = pool.call("SetUserPoolMfaConfig", set.clone()).await.ok();
    let mut expected = set;
    expected["SmsMfaConfiguration"]["SmsConfiguration"]["SnsRegion"] =
        pool.id.split('_').next().unwrap().into();
    assert_eq!(answer, expected);
    assert_eq!(pool.call("GetUserPoolMfaConfig", json!({})).await.ok(), expected);
    let described = pool.describe().await;
    assert_eq!(described["MfaConfiguration"], "ON");
    assert_eq!(described["SmsAuthenticationMessage"], "Code {####}.");
    assert_eq!(described["SmsConfiguration"], expected["SmsMfaConfiguration"]["SmsConfiguration"]);

    // What is left out is off.
    configure(&pool, "OFF", &[]).await;
    assert_eq!(pool.call("GetUserPoolMfaConfig", json!({})).await.ok(), json!({ "MfaConfiguration": "OFF" }));
}

#[tokio::test]
async fn a_pool_that_is_made_with_mfa_sends_codes_by_sms() {
    let lido = Lido::shared().await;
    let plain = lido.pool().create().await;
    assert_eq!(
        plain.call("GetUserPoolMfaConfig", json!({})).await.ok(),
        json!({ "MfaConfiguration": "OFF" })
    );
    let needs_sms =
        "SMS configuration and Auto verification for phone_number are required when MFA is required/optional";
    plain.call("UpdateUserPool", json!({ "MfaConfiguration": "OPTIONAL" })).await.is_invalid(needs_sms);
    let with_sms = json!({ "MfaConfiguration": "ON", "SmsConfiguration": { "SnsCallerArn": ROLE } });
    let pool = lido.pool().with(with_sms.clone()).create().await;
    let config = pool.call("GetUserPoolMfaConfig", json!({})).await.ok();
    assert_eq!(config["MfaConfiguration"], "ON");
    assert_eq!(config["SmsMfaConfiguration"]["SmsConfiguration"]["SnsCallerArn"], ROLE);
    assert_eq!(config.get("SoftwareTokenMfaConfiguration"), None);
    // An update keeps what SetUserPoolMfaConfig has set up, and without MfaConfiguration turns MFA off.
    configure(&pool, "OPTIONAL", &["SMS_MFA", "SOFTWARE_TOKEN_MFA"]).await;
    pool.call("UpdateUserPool", with_sms).await.ok();
    let config = pool.call("GetUserPoolMfaConfig", json!({})).await.ok();
    assert_eq!(config["SoftwareTokenMfaConfiguration"], json!({ "Enabled": true }));
    pool.call("UpdateUserPool", json!({})).await.ok();
    assert_eq!(pool.call("GetUserPoolMfaConfig", json!({})).await.ok(), json!({ "MfaConfiguration": "OFF" }));
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_is_refused() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let set = async |body: Value| pool.call("SetUserPoolMfaConfig", body).await;
    let token = json!({ "Enabled": true });
    let both = "Invalid MFA configuration given, can't turn off MFA and configure an MFA together.";
    set(json!({ "SoftwareTokenMfaConfiguration": token, "MfaConfiguration": "OFF" })).await.is_invalid(both);
    set(json!({ "SoftwareTokenMfaConfiguration": token })).await.is_invalid(both);
    set(json!({ "MfaConfiguration": "ON", "SoftwareTokenMfaConfiguration": { "Enabled": false } }))
        .await
        .is_invalid("Invalid MFA configuration given, at least one MFA must be configured to turn on MFA.");
    set(json!({ "MfaConfiguration": "ON", "SmsMfaConfiguration": {} })).await.is_invalid(
        "SMS configuration and Auto verification for phone_number are required when MFA is required/optional",
    );
    let email = json!({ "MfaConfiguration": "OPTIONAL", "EmailMfaConfiguration": {} });
    set(email.clone()).await.is_invalid("EmailMfaConfiguration requires the EmailSendingAccount DEVELOPER.");
    let lite = lido.pool().with(json!({ "UserPoolTier": "LITE" })).create().await;
    lite.call("SetUserPoolMfaConfig", email).await.fails_with("FeatureUnavailableInTierException");
    pool.call("SetUserPoolMfaConfig", json!({ "UserPoolId": "us-east-1_none", "MfaConfiguration": "OFF" }))
        .await
        .fails("ResourceNotFoundException", "User pool us-east-1_none does not exist.");
}

// ---- Software tokens -------------------------------------------------------------------------

#[tokio::test]
async fn a_software_token_is_registered_preferred_and_asked_for() {
    let app = app("OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await;
    let (user, tokens) = app.user("ana").signed_in().await;
    let not_yet = json!({ "SoftwareTokenMfaSettings": { "Enabled": true } });
    let no_config = "User does not have delivery config set to turn on SOFTWARE_TOKEN_MFA";
    tokens.call("SetUserMFAPreference", not_yet.clone()).await.is_invalid(no_config);
    let authenticator = register(&tokens).await;
    // Verified is not turned on.
    assert_eq!(app.pool.user("ana").await.get("UserMFASettingList"), None);
    let again = user.tokens().await;
    let prefer = json!({ "SoftwareTokenMfaSettings": { "Enabled": true, "PreferredMfa": true } });
    again.call("SetUserMFAPreference", prefer).await.ok_empty();
    for shown in [app.pool.user("ana").await, again.get_user().await.ok()] {
        assert_eq!(shown["UserMFASettingList"], json!(["SOFTWARE_TOKEN_MFA"]));
        assert_eq!(shown["PreferredMfaSetting"], "SOFTWARE_TOKEN_MFA");
        assert_eq!(shown.get("MFAOptions"), None);
    }
    let expected = json!({
        "Username": "ana", "PreferredMfaSetting": "SOFTWARE_TOKEN_MFA",
        "UserMFASettingList": ["SOFTWARE_TOKEN_MFA"],
        "ConfiguredUserAuthFactors": ["PASSWORD", "SOFTWARE_TOKEN"],
    });
    assert_eq!(again.call("GetUserAuthFactors", json!({})).await.ok(), expected);
    assert_eq!(user.admin("AdminGetUserAuthFactors", json!({})).await.ok(), expected);

    let (parameters, session) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    assert_eq!(parameters, json!({ "USER_ID_FOR_SRP": "ana", "FRIENDLY_DEVICE_NAME": "Ana's phone" }));
    // The code that verified it is used up.
    refused(&answer_token(&app, &session, "ana", &authenticator.code(0)).await, TOKEN_USED);
    refused(&answer_token(&app, &session, "ana", authenticator.wrong()).await, WRONG_TOKEN_CODE);
    let answer = answer_token(&app, &session, "ana", &authenticator.code(1)).await;
    assert_eq!(answer.ok()["ChallengeParameters"], json!({}));
    Tokens::of(&app.lido, &answer).get_user().await.ok();
    refused(&answer_token(&app, &session, "ana", &authenticator.code(1)).await, SESSION_USED);
}

#[tokio::test]
async fn a_wrong_code_registers_nothing() {
    let app = app("OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let verify = async |code: &str| tokens.call("VerifySoftwareToken", json!({ "UserCode": code })).await;
    refused(&verify("123456").await, NOT_VERIFIED);
    let first = tokens.call("AssociateSoftwareToken", json!({})).await.ok();
    let first = Authenticator::new(&app.lido, &first["SecretCode"]).await;
    let second = tokens.call("AssociateSoftwareToken", json!({})).await.ok();
    let second = Authenticator::new(&app.lido, &second["SecretCode"]).await;
    refused(&verify(second.wrong()).await, NOT_VERIFIED);
    refused(&verify(&first.code(0)).await, NOT_VERIFIED);
    verify(&second.code(0)).await.ok();
    refused(&verify(&second.code(1)).await, NOT_VERIFIED);

    let both = "Either AccessToken or Session is required, not both.";
    app.lido.call("AssociateSoftwareToken", json!({})).await.is_invalid(both);
    let session = json!({ "Session": "x".repeat(40) });
    tokens.call("AssociateSoftwareToken", session.clone()).await.is_invalid(both);
    refused(&app.lido.call("AssociateSoftwareToken", session).await, INVALID_SESSION);
    let body = json!({ "AccessToken": "a.b.c" });
    refused(&app.lido.call("AssociateSoftwareToken", body).await, INVALID_ACCESS_TOKEN);
    configure(&app.pool, "OFF", &[]).await;
    refused(&tokens.call("AssociateSoftwareToken", json!({})).await, NO_TOKENS);
    refused(&verify("123456").await, NO_TOKENS);
}

#[tokio::test]
async fn a_code_is_good_for_a_minute_and_a_half_and_once() {
    let lido = Lido::start().await;
    let app = pool(&lido, "OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await.app_client().await;
    let (user, authenticator) = with_token(&app, "ana").await;
    let session = async || challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA").1;
    let at = async |step: i64| lido.clock().set((30 * (authenticator.step + step)) as f64).await;
    at(10).await;
    for later in [8, 12] {
        let session = session().await;
        refused(&answer_token(&app, &session, "ana", &authenticator.code(later)).await, WRONG_TOKEN_CODE);
    }
    for later in [9, 10, 11] {
        let session = session().await;
        answer_token(&app, &session, "ana", &authenticator.code(later)).await.ok();
        refused(&answer_token(&app, &session, "ana", &authenticator.code(later)).await, SESSION_USED);
    }
    // None before one that was used, in whichever session.
    at(11).await;
    for later in [10, 11] {
        let session = session().await;
        refused(&answer_token(&app, &session, "ana", &authenticator.code(later)).await, TOKEN_USED);
    }
}

#[tokio::test]
async fn five_wrong_codes_lock_the_user_out() {
    let lido = Lido::start().await;
    let app = pool(&lido, "OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await.app_client().await;
    let (user, authenticator) = with_token(&app, "ana").await;
    let now = (30 * authenticator.step + 40) as f64;
    lido.clock().set(now).await;
    let (_, session) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    let (_, other) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    for _ in 0..5 {
        lido.clock().set(now).await;
        refused(&answer_token(&app, &session, "ana", authenticator.wrong()).await, WRONG_TOKEN_CODE);
    }
    lido.clock().set(now).await;
    refused(&answer_token(&app, &session, "ana", &authenticator.code(1)).await, LOCKED_OUT);
    lido.clock().set(now).await;
    refused(&answer_token(&app, &other, "ana", &authenticator.code(1)).await, LOCKED_OUT);
    lido.clock().set(now).await;
    refused(&user.sign_in().await, LOCKED_OUT);
    lido.clock().set(now + 10.0).await;
    answer_token(&app, &session, "ana", &authenticator.code(1)).await.ok();
}

#[tokio::test]
async fn guesses_at_once_find_the_lock() {
    let lido = Lido::start().await;
    let app = pool(&lido, "OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await.app_client().await;
    let (user, authenticator) = with_token(&app, "ana").await;
    let (_, session) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    let guesses = (0..100).map(|_| answer_token(&app, &session, "ana", authenticator.wrong()));
    let answers = join_all(guesses).await;
    let wrong = answers.iter().filter(|answer| answer.code() == Some(WRONG_TOKEN_CODE.0)).count();
    let locked = answers.iter().filter(|answer| answer.body["message"] == LOCKED_OUT.1).count();
    assert_eq!(wrong + locked, 100);
    // The first lock lasts a second: on a slow machine it may end before the burst does.
    assert!((5..=8).contains(&wrong), "{wrong}");
}

#[tokio::test]
async fn one_code_signs_in_once_in_however_many_sessions() {
    let lido = Lido::start().await;
    let app = pool(&lido, "OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await.app_client().await;
    let (user, authenticator) = with_token(&app, "ana").await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA").1);
    }
    let code = authenticator.code(1);
    let attempts = (0..100).map(|index| answer_token(&app, &sessions[index % 10], "ana", &code));
    let answers = join_all(attempts).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        match answer.code() {
            Some("ExpiredCodeException") => refused(answer, TOKEN_USED),
            Some("TooManyRequestsException") => refused(answer, BUSY),
            _ => refused(answer, SESSION_USED),
        }
    }
    assert!(!lido.log().contains("ERROR"), "{}", lido.log());
}

#[tokio::test]
async fn an_administrator_takes_the_token_away() {
    let app = app("OPTIONAL", &["SOFTWARE_TOKEN_MFA"]).await;
    let (user, authenticator) = with_token(&app, "ana").await;
    let (_, session) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    user.admin("AdminDeleteSoftwareToken", json!({})).await.ok_empty();
    user.admin("AdminDeleteSoftwareToken", json!({})).await.ok_empty();
    refused(&answer_token(&app, &session, "ana", &authenticator.code(1)).await, INVALID_SESSION);
    let shown = app.pool.user("ana").await;
    assert_eq!((shown.get("UserMFASettingList"), shown.get("PreferredMfaSetting")), (None, None));
    register(&user.tokens().await).await;
    refused(&app.pool.admin("AdminDeleteSoftwareToken", "nobody", json!({})).await, USER_NOT_FOUND);
    app.sign_up("bo", PASSWORD).await.ok();
    refused(&app.pool.admin("AdminDeleteSoftwareToken", "bo", json!({})).await, NOT_CONFIRMED);
}

// ---- Codes that are sent ---------------------------------------------------------------------

#[tokio::test]
async fn a_code_by_sms_signs_in_once_and_verifies_the_number() {
    let app = app("ON", &["SMS_MFA"]).await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let (parameters, session) = challenge(&user.sign_in().await, "SMS_MFA");
    assert_eq!(
        parameters,
        json!({
            "CODE_DELIVERY_DELIVERY_MEDIUM": "SMS", "CODE_DELIVERY_DESTINATION": "+*******1234",
            "USER_ID_FOR_SRP": "ana",
        })
    );
    let message = app.inbox().newest_for(PHONE).await;
    let code = message["code"].as_str().unwrap().to_owned();
    assert_eq!(code.len(), 6);
    assert_eq!(message["body"], format!("Your authentication code is {code}. "));
    assert_eq!(message["source"], "CustomMessage_Authentication");
    for _ in 0..3 {
        refused(&answer_sms(&app, &session, "ana", another_code(&code)).await, WRONG_CODE);
    }
    Tokens::of(&app.lido, &answer_sms(&app, &session, "ana", &code).await).get_user().await.ok();
    assert_eq!(user.attribute("phone_number_verified").await.as_deref(), Some("true"));
    refused(&answer_sms(&app, &session, "ana", &code).await, SESSION_USED);
}

#[tokio::test]
async fn a_code_is_good_in_its_session_alone() {
    let lido = Lido::start().await;
    let app = pool(&lido, "ON", &["SMS_MFA"]).await.app_client().await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let (_, first) = challenge(&user.sign_in().await, "SMS_MFA");
    let first_code = app.inbox().code_for(PHONE).await;
    let (_, second) = challenge(&user.sign_in().await, "SMS_MFA");
    let newest = app.inbox().messages(&[("destination", PHONE)]).await;
    let second_code = newest[0]["code"].as_str().unwrap().to_owned();
    refused(&answer_sms(&app, &first, "ana", &second_code).await, WRONG_CODE);
    refused(&answer_sms(&app, &first, "ana", &first_code).await, WRONG_CODE);

    // Of this client, this user, this challenge, this time.
    let other = app.pool.app_client().await;
    refused(&answer_sms(&other, &second, "ana", &second_code).await, INVALID_SESSION);
    let bo = app.user("bo").phone_number("+15550005678").email("bo@example.com").create().await;
    refused(&answer_sms(&app, &second, "bo", &second_code).await, INVALID_SESSION);
    refused(&answer_sms(&app, &second, "nobody", &second_code).await, INVALID_SESSION);
    refused(&answer_email(&app, &second, "ana", &second_code).await, INVALID_SESSION);
    refused(&answer_token(&app, &second, "ana", &second_code).await, INVALID_SESSION);
    let (_, of_bo) = challenge(&bo.sign_in().await, "SMS_MFA");
    refused(&answer_sms(&app, &of_bo, "bo", &second_code).await, WRONG_CODE);
    refused(&answer_sms(&app, &altered(&second, 60), "ana", &second_code).await, INVALID_SESSION);
    app.respond("SMS_MFA", Some(&second), json!({ "USERNAME": "ana" }))
        .await
        .is_invalid("Missing required parameter SMS_MFA_CODE");
    app.respond("SMS_MFA", Some(&second), json!({ "SMS_MFA_CODE": second_code }))
        .await
        .is_invalid("Missing required parameter USERNAME");
    refused(
        &app.respond("SMS_MFA", None, json!({ "USERNAME": "ana", "SMS_MFA_CODE": second_code })).await,
        INVALID_SESSION,
    );
    lido.clock().advance(181).await;
    refused(&answer_sms(&app, &second, "ana", &second_code).await, SESSION_EXPIRED);
}

#[tokio::test]
async fn one_code_by_sms_is_taken_once() {
    let lido = Lido::start().await;
    let app = pool(&lido, "ON", &["SMS_MFA"]).await.app_client().await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let (_, session) = challenge(&user.sign_in().await, "SMS_MFA");
    let code = app.inbox().code_for(PHONE).await;
    let answers = join_all((0..100).map(|_| answer_sms(&app, &session, "ana", &code))).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        match answer.code() {
            Some("NotAuthorizedException") => refused(answer, SESSION_USED),
            // Looked at between the two.
            Some("CodeMismatchException") => refused(answer, WRONG_CODE),
            Some("TooManyRequestsException") => refused(answer, BUSY),
            _ => panic!("{}", answer.text),
        }
    }
    assert!(!lido.log().contains("ERROR"), "{}", lido.log());
}

#[tokio::test]
async fn a_changed_password_or_number_voids_what_was_begun() {
    let app = app("ON", &["SMS_MFA"]).await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let (_, session) = challenge(&user.sign_in().await, "SMS_MFA");
    let code = app.inbox().code_for(PHONE).await;
    app.pool.update("ana", json!({ "phone_number": "+15550009999" })).await.ok();
    refused(&answer_sms(&app, &session, "ana", &code).await, WRONG_CODE);
    app.pool.update("ana", json!({ "phone_number": PHONE })).await.ok();
    let (_, session) = challenge(&user.sign_in().await, "SMS_MFA");
    user.admin("AdminDisableUser", json!({})).await.ok();
    refused(&answer_sms(&app, &session, "ana", "123456").await, USER_DISABLED);
    user.admin("AdminEnableUser", json!({})).await.ok();
    refused(&answer_sms(&app, &session, "ana", "123456").await, INVALID_SESSION);
    let (_, session) = challenge(&user.sign_in().await, "SMS_MFA");
    let password = json!({ "Password": "Another-horse-8", "Permanent": true });
    user.admin("AdminSetUserPassword", password).await.ok();
    refused(&answer_sms(&app, &session, "ana", "123456").await, INVALID_SESSION);
    user.admin("AdminDeleteUser", json!({})).await.ok();
    refused(&answer_sms(&app, &session, "ana", "123456").await, INVALID_SESSION);
}

#[tokio::test]
async fn a_code_by_email_signs_in() {
    let app = app("OPTIONAL", &["EMAIL_OTP", "SOFTWARE_TOKEN_MFA"]).await;
    let user = app.user("ana").email(EMAIL).phone_number(PHONE).create().await;
    Tokens::of(&app.lido, &user.sign_in().await);
    prefer(&user, "EmailMfaSettings").await;
    let (parameters, session) = challenge(&user.sign_in().await, "EMAIL_OTP");
    assert_eq!(
        parameters,
        json!({
            "CODE_DELIVERY_DELIVERY_MEDIUM": "EMAIL", "CODE_DELIVERY_DESTINATION": "a***@e***",
            "USER_ID_FOR_SRP": "ana",
        })
    );
    let message = app.inbox().newest_for(EMAIL).await;
    let code = message["code"].as_str().unwrap();
    assert_eq!(message["subject"], "Your authentication code");
    assert_eq!(message["body"], format!("Your authentication code is {code}"));
    refused(&answer_email(&app, &session, "ana", another_code(code)).await, WRONG_CODE);
    Tokens::of(&app.lido, &answer_email(&app, &session, "ana", code).await);
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));

    let texts = json!({
        "MfaConfiguration": "OPTIONAL",
        "EmailMfaConfiguration": { "Message": "<b>{####}</b>", "Subject": "Yours" },
    });
    app.pool.call("SetUserPoolMfaConfig", texts).await.ok();
    app.inbox().clear().await;
    challenge(&user.sign_in().await, "EMAIL_OTP");
    let message = app.inbox().newest_for(EMAIL).await;
    assert_eq!(message["subject"], "Yours");
    assert_eq!(message["body"], format!("<b>{}</b>", message["code"].as_str().unwrap()));
}

// ---- Which factor ----------------------------------------------------------------------------

#[tokio::test]
async fn a_user_with_several_factors_chooses() {
    let app = app("OPTIONAL", &["SMS_MFA", "EMAIL_OTP", "SOFTWARE_TOKEN_MFA"]).await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let both = json!({ "SMSMfaSettings": { "Enabled": true }, "EmailMfaSettings": { "Enabled": true } });
    user.admin("AdminSetUserMFAPreference", both).await.ok_empty();
    let (parameters, session) = challenge(&user.sign_in().await, "SELECT_MFA_TYPE");
    assert_eq!(
        parameters,
        json!({ "USER_ID_FOR_SRP": "ana", "MFAS_CAN_CHOOSE": r#"["SMS_MFA","EMAIL_OTP"]"# })
    );
    let choose = async |session: &str, answer: &str| {
        app.respond("SELECT_MFA_TYPE", Some(session), json!({ "USERNAME": "ana", "ANSWER": answer })).await
    };
    for bad in ["SOFTWARE_TOKEN_MFA", "sms", "PASSWORD"] {
        choose(&session, bad)
            .await
            .is_invalid("The answer is not one of the MFA factors that can be chosen.");
    }
    let (_, next) = challenge(&choose(&session, "EMAIL_OTP").await, "EMAIL_OTP");
    refused(&choose(&session, "EMAIL_OTP").await, SESSION_USED);
    let code = app.inbox().code_for(EMAIL).await;
    Tokens::of(&app.lido, &answer_email(&app, &next, "ana", &code).await);
}

#[tokio::test]
async fn preferences_follow_their_rules() {
    let app = app("OPTIONAL", &["SMS_MFA", "EMAIL_OTP", "SOFTWARE_TOKEN_MFA"]).await;
    let (user, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    let set = async |body: Value| tokens.call("SetUserMFAPreference", body).await;
    let on = json!({ "Enabled": true });
    let preferred = json!({ "Enabled": true, "PreferredMfa": true });
    set(json!({ "SMSMfaSettings": on }))
        .await
        .is_invalid("User does not have delivery config set to turn on SMS_MFA");
    app.pool.update("ana", json!({ "phone_number": PHONE })).await.ok();
    set(json!({ "SMSMfaSettings": preferred, "EmailMfaSettings": preferred }))
        .await
        .is_invalid("Only one MFA factor can be preferred.");
    for body in [json!({ "Enabled": false, "PreferredMfa": true }), json!({ "PreferredMfa": true })] {
        set(json!({ "SMSMfaSettings": body })).await.is_invalid("SMS_MFA must be enabled to be preferred.");
    }
    set(json!({ "SMSMfaSettings": preferred, "EmailMfaSettings": on })).await.ok_empty();
    let shown = app.pool.user("ana").await;
    assert_eq!(shown["UserMFASettingList"], json!(["SMS_MFA", "EMAIL_OTP"]));
    assert_eq!(shown["PreferredMfaSetting"], "SMS_MFA");
    assert_eq!(shown["MFAOptions"], json!([{ "DeliveryMedium": "SMS", "AttributeName": "phone_number" }]));
    set(json!({ "EmailMfaSettings": preferred })).await.ok_empty();
    assert_eq!(app.pool.user("ana").await["PreferredMfaSetting"], "EMAIL_OTP");
    set(json!({ "EmailMfaSettings": { "Enabled": false } })).await.ok_empty();
    let shown = app.pool.user("ana").await;
    assert_eq!(shown["UserMFASettingList"], json!(["SMS_MFA"]));
    assert_eq!(shown.get("PreferredMfaSetting"), None);
    set(json!({})).await.ok_empty();

    // The older operations know SMS alone.
    let options = json!([{ "DeliveryMedium": "SMS", "AttributeName": "phone_number" }]);
    tokens.call("SetUserSettings", json!({ "MFAOptions": [] })).await.ok_empty();
    assert_eq!(app.pool.user("ana").await.get("UserMFASettingList"), None);
    user.admin("AdminSetUserSettings", json!({ "MFAOptions": options })).await.ok_empty();
    assert_eq!(app.pool.user("ana").await["UserMFASettingList"], json!(["SMS_MFA"]));
    let email = json!([{ "DeliveryMedium": "EMAIL", "AttributeName": "email" }]);
    user.admin("AdminSetUserSettings", json!({ "MFAOptions": email }))
        .await
        .is_invalid("MFAOptions takes only the DeliveryMedium SMS with the AttributeName phone_number.");
    let passkey = json!({ "WebAuthnMfaSettings": { "Enabled": true } });
    set(passkey).await.fails_as(
        501,
        "NotImplementedException",
        "Lido does not implement WebAuthnMfaSettings yet.",
    );
    // Where MFA is required nothing can be turned off.
    configure(&app.pool, "ON", &["SMS_MFA"]).await;
    set(json!({ "SMSMfaSettings": { "Enabled": false } })).await.ok_empty();
    assert_eq!(app.pool.user("ana").await["UserMFASettingList"], json!(["SMS_MFA"]));
    refused(&app.pool.admin("AdminSetUserMFAPreference", "nobody", json!({})).await, USER_NOT_FOUND);
}

#[tokio::test]
async fn a_factor_goes_with_its_address() {
    let app = app("OPTIONAL", &["SMS_MFA"]).await;
    let user = app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    prefer(&user, "SMSMfaSettings").await;
    challenge(&user.sign_in().await, "SMS_MFA");
    let names = json!({ "UserAttributeNames": ["phone_number"] });
    user.admin("AdminDeleteUserAttributes", names).await.ok();
    assert_eq!(app.pool.user("ana").await.get("UserMFASettingList"), None);
    Tokens::of(&app.lido, &user.sign_in().await);
}

#[tokio::test]
async fn a_factor_recovers_no_password() {
    let app = app("OPTIONAL", &["EMAIL_OTP"]).await;
    let user = app.user("ana").verified_email(EMAIL).verified_phone_number(PHONE).create().await;
    let details = app.forgot("ana").await.ok()["CodeDeliveryDetails"].clone();
    assert_eq!(details["DeliveryMedium"], "EMAIL");
    prefer(&user, "EmailMfaSettings").await;
    let details = app.forgot("ana").await.ok()["CodeDeliveryDetails"].clone();
    assert_eq!(details["DeliveryMedium"], "SMS");
    let bo = app.user("bo").verified_email("bo@example.com").create().await;
    prefer(&bo, "EmailMfaSettings").await;
    let no_channel =
        "Cannot reset password for the user as there is no registered/verified email or phone_number";
    app.forgot("bo").await.is_invalid(no_channel);
    bo.admin("AdminResetUserPassword", json!({})).await.is_invalid(no_channel);
    challenge(&bo.sign_in().await, "EMAIL_OTP");
}

// ---- Setting up in a sign-in -----------------------------------------------------------------

#[tokio::test]
async fn a_software_token_is_set_up_in_a_sign_in() {
    let app = app("ON", &["SOFTWARE_TOKEN_MFA"]).await;
    let user = app.user("ana").create().await;
    let (parameters, session) = challenge(&user.sign_in().await, "MFA_SETUP");
    assert_eq!(
        parameters,
        json!({ "USER_ID_FOR_SRP": "ana", "MFAS_CAN_SETUP": r#"["SOFTWARE_TOKEN_MFA"]"# })
    );
    let finish =
        async |session: &str| app.respond("MFA_SETUP", Some(session), json!({ "USERNAME": "ana" })).await;
    finish(&session).await.is_invalid("No MFA factor has been set up in this session.");
    let with = |session: &str| json!({ "Session": session });
    let verify = async |session: &str, code: &str| {
        let body = json!({ "Session": session, "UserCode": code, "FriendlyDeviceName": "phone" });
        app.lido.call("VerifySoftwareToken", body).await
    };
    refused(&verify(&session, "123456").await, NOT_VERIFIED);
    let associated = app.lido.call("AssociateSoftwareToken", with(&session)).await.ok();
    refused(&app.lido.call("AssociateSoftwareToken", with(&session)).await, SESSION_USED);
    let authenticator = Authenticator::new(&app.lido, &associated["SecretCode"]).await;
    let session = associated["Session"].as_str().unwrap();
    refused(&verify(session, authenticator.wrong()).await, NOT_VERIFIED);
    let verified = verify(session, &authenticator.code(0)).await.ok();
    assert_eq!(verified["Status"], "SUCCESS");
    refused(&verify(session, &authenticator.code(0)).await, SESSION_USED);
    assert_eq!(app.pool.user("ana").await.get("UserMFASettingList"), None, "not before the answer");

    let session = verified["Session"].as_str().unwrap();
    let answers = join_all((0..20).map(|_| finish(session))).await;
    assert_eq!(successes(&answers), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        match answer.body["message"] == SESSION_USED.1 {
            true => refused(answer, SESSION_USED),
            false => refused(answer, INVALID_SESSION),
        }
    }
    assert_eq!(app.pool.user("ana").await["UserMFASettingList"], json!(["SOFTWARE_TOKEN_MFA"]));
    let (parameters, session) = challenge(&user.sign_in().await, "SOFTWARE_TOKEN_MFA");
    assert_eq!(parameters["FRIENDLY_DEVICE_NAME"], "phone");
    refused(&answer_token(&app, &session, "ana", &authenticator.code(0)).await, TOKEN_USED);
    Tokens::of(&app.lido, &answer_token(&app, &session, "ana", &authenticator.code(1)).await);
}

#[tokio::test]
async fn an_enrolment_that_came_too_late_signs_nobody_in() {
    let app = app("ON", &["SOFTWARE_TOKEN_MFA"]).await;
    let user = app.user("ana").create().await;
    let enrolled = async || {
        let (_, session) = challenge(&user.sign_in().await, "MFA_SETUP");
        let associated = app.lido.call("AssociateSoftwareToken", json!({ "Session": session })).await.ok();
        let authenticator = Authenticator::new(&app.lido, &associated["SecretCode"]).await;
        let body = json!({ "Session": associated["Session"], "UserCode": authenticator.code(0) });
        app.lido.call("VerifySoftwareToken", body).await.ok()["Session"].as_str().unwrap().to_owned()
    };
    let (one, other) = (enrolled().await, enrolled().await);
    let (_, third) = challenge(&user.sign_in().await, "MFA_SETUP");
    app.respond("MFA_SETUP", Some(&one), json!({ "USERNAME": "ana" })).await.ok();
    refused(&app.respond("MFA_SETUP", Some(&other), json!({ "USERNAME": "ana" })).await, INVALID_SESSION);
    let body = json!({ "Session": third });
    refused(&app.lido.call("AssociateSoftwareToken", body).await, INVALID_SESSION);
}

#[tokio::test]
async fn an_email_address_is_set_up_in_a_sign_in() {
    let app = app("ON", &["EMAIL_OTP", "SOFTWARE_TOKEN_MFA"]).await;
    let user = app.user("ana").create().await;
    let (parameters, session) = challenge(&user.sign_in().await, "MFA_SETUP");
    assert_eq!(parameters["MFAS_CAN_SETUP"], r#"["EMAIL_OTP","SOFTWARE_TOKEN_MFA"]"#);
    let set_up = async |key: &str, email: &str| {
        app.respond("MFA_SETUP", Some(&session), json!({ "USERNAME": "ana", key: email })).await
    };
    set_up("EMAIL", "nobody").await.is_invalid("Invalid email address format.");
    let (parameters, next) = challenge(&set_up("email", EMAIL).await, "EMAIL_OTP");
    assert_eq!(parameters["CODE_DELIVERY_DESTINATION"], "a***@e***");
    refused(&set_up("EMAIL", EMAIL).await, SESSION_USED);
    assert_eq!(user.attribute("email").await, None);
    let code = app.inbox().code_for(EMAIL).await;
    refused(&answer_email(&app, &next, "ana", another_code(&code)).await, WRONG_CODE);
    Tokens::of(&app.lido, &answer_email(&app, &next, "ana", &code).await);
    assert_eq!(user.attribute("email").await.as_deref(), Some(EMAIL));
    assert_eq!(user.attribute("email_verified").await.as_deref(), Some("true"));
    challenge(&user.sign_in().await, "EMAIL_OTP");
}

#[tokio::test]
async fn who_can_set_up_nothing_is_refused() {
    let app = app("ON", &["SMS_MFA"]).await;
    let user = app.user("ana").create().await;
    let refused = "User has no MFA factor that this user pool accepts, and none can be set up.";
    user.sign_in().await.is_invalid(refused);
    // Nothing is told before the password is right.
    super::refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
}

// ---- Every flow ------------------------------------------------------------------------------

#[tokio::test]
async fn every_flow_asks_for_the_second_factor() {
    let pool = pool(&Lido::shared().await, "ON", &["SMS_MFA"]).await;
    let app = pool.client().secret().create().await;
    app.user("ana").phone_number(PHONE).email(EMAIL).create().await;
    let newest = async || {
        let messages = app.inbox().messages(&[("destination", PHONE)]).await;
        messages[0]["code"].as_str().unwrap().to_owned()
    };
    let (_, session) = challenge(&app.srp_sign_in("ana", PASSWORD).await, "SMS_MFA");
    Tokens::of(&app.lido, &answer_sms(&app, &session, "ana", &newest().await).await);
    let parameters = json!({ "USERNAME": "ana", "PASSWORD": PASSWORD });
    let answer = app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters).await;
    let (_, session) = challenge(&answer, "SMS_MFA");
    let responses = json!({ "USERNAME": "ana", "SMS_MFA_CODE": newest().await });
    Tokens::of(&app.lido, &app.admin_respond("SMS_MFA", Some(&session), responses).await);
    let (_, session) = challenge(&app.sign_in("ana", PASSWORD).await, "SMS_MFA");
    let hash = json!({ "USERNAME": "ana", "SMS_MFA_CODE": newest().await, "SECRET_HASH": "d3Jvbmc=" });
    app.respond("SMS_MFA", Some(&session), hash)
        .await
        .is_not_authorized(&format!("Unable to verify secret hash for client {}", app.id));
    Tokens::of(&app.lido, &answer_sms(&app, &session, "ana", &newest().await).await);
}

#[tokio::test]
async fn a_new_password_is_followed_by_the_second_factor() {
    let app = app("ON", &["SMS_MFA", "SOFTWARE_TOKEN_MFA"]).await;
    let create = json!({
        "MessageAction": "SUPPRESS", "TemporaryPassword": "Temporary-pass-1",
        "UserAttributes": lido_tests::attributes(json!({ "phone_number": PHONE, "email": EMAIL })),
    });
    app.pool.admin("AdminCreateUser", "ana", create).await.ok();
    let (_, session) = challenge(&app.sign_in("ana", "Temporary-pass-1").await, "NEW_PASSWORD_REQUIRED");
    let responses = json!({ "USERNAME": "ana", "NEW_PASSWORD": PASSWORD });
    let answer = app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses.clone()).await;
    let (_, next) = challenge(&answer, "SMS_MFA");
    assert_eq!(app.pool.status("ana").await, "CONFIRMED");
    refused(&app.respond("NEW_PASSWORD_REQUIRED", Some(&session), responses).await, SESSION_USED);
    let code = app.inbox().code_for(PHONE).await;
    Tokens::of(&app.lido, &answer_sms(&app, &next, "ana", &code).await);
}
