//! Failures and counts of an hour add up.

use futures_util::future::join_all;
use lido_tests::{Lido, PASSWORD};

use super::*;

/// The lock after the n-th failure. Seconds.
fn lock(failure: u32) -> f64 {
    if failure < 5 { 0.0 } else { f64::from(2_u32.pow(failure - 5).min(900)) }
}

#[tokio::test]
async fn failures_add_up_over_the_nodes() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    let app = nodes.all[0].pool().app_client().await;
    let apps = nodes.each(&app);
    app.user("ana").create().await;
    let mut now = nodes.all[0].clock().now().await as f64;
    for failure in 1..=11 {
        nodes.set_clocks(now).await;
        refused(&app.at(nodes.next()).sign_in("ana", WRONG).await, WRONG_CREDENTIALS);
        let lock = lock(failure);
        for moment in [0.1, lock - 0.5] {
            if moment >= 0.0 && lock > 0.0 {
                nodes.set_clocks(now + moment).await;
                for app in &apps {
                    refused(&app.sign_in("ana", PASSWORD).await, LOCKED_OUT);
                }
            }
        }
        // A lock begins when the failure is counted, not when it is sent.
        now += lock + 5.0;
    }
    // The twelfth locks for two minutes: all guesses but one find that.
    nodes.set_clocks(now).await;
    let answers = join_all(apps.iter().cycle().take(120).map(|app| app.sign_in("ana", WRONG))).await;
    let told = |message: &str| answers.iter().filter(|answer| answer.body["message"] == message).count();
    assert_eq!((told(WRONG_CREDENTIALS.1), told(LOCKED_OUT.1)), (1, 119));
    for app in &apps {
        refused(&app.sign_in("ana", PASSWORD).await, LOCKED_OUT);
        refused(&app.srp_begin("ana").await.1, LOCKED_OUT);
    }
    nodes.set_clocks(now + lock(12) + 5.0).await;
    app.at(nodes.next()).tokens("ana", PASSWORD).await;
    // A sign-in on one node is forgiveness on all.
    for _ in 0..4 {
        refused(&app.at(nodes.next()).sign_in("ana", WRONG).await, WRONG_CREDENTIALS);
    }
    app.at(nodes.next()).tokens("ana", PASSWORD).await;
    nodes.failed_nowhere_inside();
}

#[tokio::test]
async fn counts_of_an_hour_add_up_over_the_nodes() {
    let Some(nodes) = Nodes::start(Lido::setup().flag("--limits", "cognito"), 3).await else { return };
    let app = nodes.all[0].pool().app_client().await;
    let (_, tokens) = app.user("ana").email(EMAIL).signed_in().await;
    for _ in 0..5 {
        tokens.at(nodes.next()).request_code("email").await.ok();
    }
    for node in &nodes.all {
        refused(&tokens.at(node).request_code("email").await, ATTEMPT_LIMIT);
    }
    let (_, tokens) = app.user("bo").email("bo@example.com").signed_in().await;
    let request = async |node: &Lido| tokens.at(node).request_code("email").await;
    let answers = join_all(nodes.all.iter().cycle().take(60).map(request)).await;
    assert_eq!(succeeded(&answers).len(), 5);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        refused(answer, ATTEMPT_LIMIT);
    }
    nodes.advance(3600).await;
    let tokens = app.tokens("bo", PASSWORD).await;
    tokens.at(nodes.next()).request_code("email").await.ok();
    nodes.failed_nowhere_inside();
}
