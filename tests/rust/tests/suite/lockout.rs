//! Lockouts after wrong passwords.

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, PASSWORD, Tokens};
use serde_json::json;

use super::*;

const WRONG: &str = "Wrong-pass-word-1";
/// Seconds after the end of a lock: a lock begins when the failure is counted, not when it is sent.
const MARGIN: f64 = 10.0;

/// A server whose clock stands where each attempt wants it.
struct Bench {
    app: App,
    now: f64,
}

impl Bench {
    async fn new() -> Self {
        let lido = Lido::start().await;
        let app = lido.pool().app_client().await;
        app.user("ana").create().await;
        let now = lido.clock().now().await as f64;
        Self { app, now }
    }

    /// Signs in `after` seconds from the present moment of the bench.
    async fn sign_in(&self, after: f64, password: &str) -> Answer {
        self.app.lido.clock().set(self.now + after).await;
        self.app.sign_in("ana", password).await
    }

    /// Fails `times`, each as soon as the lock of the one before is over.
    async fn fail(&mut self, from: u32, times: u32) {
        for n in from..from + times {
            refused(&self.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
            self.now += seconds(n) + MARGIN;
        }
    }
}

/// The lock after the n-th failure.
fn seconds(n: u32) -> f64 {
    if n < 5 { 0.0 } else { f64::from(2_u32.pow(n - 5).min(900)) }
}

#[tokio::test]
async fn each_failure_past_the_fourth_doubles_the_lock() {
    let mut bench = Bench::new().await;
    for n in 1..=20 {
        refused(&bench.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
        let lock = seconds(n);
        if lock > 0.0 {
            // While locked nothing counts, and nothing makes it longer.
            refused(&bench.sign_in(0.1, PASSWORD).await, LOCKED_OUT);
            refused(&bench.sign_in(lock / 2.0, WRONG).await, LOCKED_OUT);
            refused(&bench.sign_in(lock - 0.5, PASSWORD).await, LOCKED_OUT);
        }
        bench.now += lock + MARGIN;
    }
    // After the longest lock the memory begins with its end.
    bench.now += 15.0 * 60.0;
    bench.fail(1, 4).await;
    bench.sign_in(0.0, PASSWORD).await.ok();
}

#[tokio::test]
async fn the_longest_lock_is_a_quarter_of_an_hour() {
    let mut bench = Bench::new().await;
    bench.fail(1, 14).await;
    refused(&bench.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
    refused(&bench.sign_in(899.0, PASSWORD).await, LOCKED_OUT);
    bench.sign_in(900.0 + MARGIN, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_sign_in_forgets_the_failures() {
    let mut bench = Bench::new().await;
    for _ in 0..3 {
        bench.fail(1, 4).await;
        bench.sign_in(0.0, PASSWORD).await.ok();
    }
    bench.fail(1, 9).await;
    bench.sign_in(0.0, PASSWORD).await.ok();
    bench.fail(1, 4).await;
    refused(&bench.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
    refused(&bench.sign_in(0.1, PASSWORD).await, LOCKED_OUT);
}

#[tokio::test]
async fn a_quarter_of_an_hour_forgets_them_too() {
    let mut bench = Bench::new().await;
    bench.fail(1, 8).await;
    bench.now += 15.0 * 60.0;
    bench.fail(1, 4).await;
    refused(&bench.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
    refused(&bench.sign_in(0.1, PASSWORD).await, LOCKED_OUT);
    bench.sign_in(1.0 + MARGIN, PASSWORD).await.ok();
}

#[tokio::test]
async fn every_way_to_prove_a_password_counts_and_is_locked() {
    let mut bench = Bench::new().await;
    let parameters = |password: &str| json!({ "USERNAME": "ana", "PASSWORD": password });
    let lido = bench.app.lido.clone();
    for _ in 0..2 {
        lido.clock().set(bench.now).await;
        refused(&bench.app.srp_sign_in("ana", WRONG).await, WRONG_CREDENTIALS);
        let answer = bench.app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters(WRONG)).await;
        refused(&answer, WRONG_CREDENTIALS);
    }
    bench.now += 1.0;
    bench.fail(5, 4).await;
    // Sixteen seconds.
    refused(&bench.sign_in(0.0, WRONG).await, WRONG_CREDENTIALS);
    let (_, answer) = bench.app.srp_begin("ana").await;
    refused(&answer, LOCKED_OUT);
    let answer = bench.app.admin_initiate("ADMIN_USER_PASSWORD_AUTH", parameters(PASSWORD)).await;
    refused(&answer, LOCKED_OUT);
    let other = bench.app.pool.app_client().await;
    refused(&other.sign_in("ana", PASSWORD).await, LOCKED_OUT);
    // Other users are not locked.
    bench.app.user("bo").create().await;
    bench.app.tokens("bo", PASSWORD).await;
}

#[tokio::test]
async fn a_proof_that_began_before_the_lock_does_not_pass_it() {
    let mut bench = Bench::new().await;
    let app = bench.app.clone();
    let (exchange, challenge) = app.srp_begin("ana").await;
    bench.fail(1, 9).await;
    app.lido.clock().set(bench.now).await;
    refused(&app.sign_in("ana", WRONG).await, WRONG_CREDENTIALS);
    let parameters = challenge.ok()["ChallengeParameters"].clone();
    let responses = app.srp_responses(&exchange, &parameters, PASSWORD, &app.timestamp().await);
    refused(&app.respond("PASSWORD_VERIFIER", None, responses.clone()).await, LOCKED_OUT);
    app.lido.clock().set(bench.now + seconds(10) + MARGIN).await;
    // Outside of the lock it is as good as before.
    Tokens::of(&app.lido, &app.respond("PASSWORD_VERIFIER", None, responses).await);
}

#[tokio::test]
async fn guesses_at_once_find_the_lock() {
    let mut bench = Bench::new().await;
    // Beyond the short locks, so that none ends during the burst.
    bench.fail(1, 11).await;
    bench.app.lido.clock().set(bench.now).await;
    let app = &bench.app;
    let answers = join_all((0..200).map(|_| app.sign_in("ana", WRONG))).await;
    let wrong = answers.iter().filter(|answer| answer.body["message"] == WRONG_CREDENTIALS.1).count();
    let locked = answers.iter().filter(|answer| answer.body["message"] == LOCKED_OUT.1).count();
    assert_eq!((wrong, locked), (1, 199), "one guess, and the lock");
    // A right one among them does not get through.
    let passwords = (0..100).map(|index| if index % 10 == 0 { PASSWORD } else { WRONG });
    let answers = join_all(passwords.map(|password| app.sign_in("ana", password))).await;
    for answer in &answers {
        refused(answer, LOCKED_OUT);
    }
}

#[tokio::test]
async fn five_guesses_at_once_are_all_there_are() {
    let bench = Bench::new().await;
    let app = &bench.app;
    let answers = join_all((0..200).map(|_| app.sign_in("ana", WRONG))).await;
    let wrong = answers.iter().filter(|answer| answer.body["message"] == WRONG_CREDENTIALS.1).count();
    let locked = answers.iter().filter(|answer| answer.body["message"] == LOCKED_OUT.1).count();
    assert_eq!(wrong + locked, 200);
    // The first lock lasts a second: on a slow machine it may end before the burst does.
    assert!((5..=8).contains(&wrong), "{wrong}");
}

#[tokio::test]
async fn who_does_not_exist_is_locked_out_alike() {
    let lido = Lido::start().await;
    let app = lido.pool().create().await.client().discreet().create().await;
    app.user("ana").create().await;
    let start = lido.clock().now().await as f64;
    for name in ["ana", "nobody"] {
        for _ in 0..5 {
            lido.clock().set(start).await;
            refused(&app.sign_in(name, WRONG).await, WRONG_CREDENTIALS);
        }
        lido.clock().set(start).await;
        refused(&app.sign_in(name, WRONG).await, LOCKED_OUT);
    }
}
