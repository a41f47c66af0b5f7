//! The outbox of several nodes: each message is sent once, also when its node dies.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use lido_tests::{Lido, MailServer, PASSWORD, Setup};
use serde_json::json;

use super::*;

/// Longer than the lease of a message. Seconds.
const LEASE_IS_OVER: i64 = 121;

fn mailing(server: &MailServer) -> Setup {
    let retry = ["\"1s\""; 20].join(", ");
    Lido::setup()
        .config(format!("[delivery]\nanswer_within = \"200ms\"\nretry = [{retry}]\n{}", server.config()))
}

/// Waits until so many messages are in the outbox: what a mail server has taken is there until that is recorded.
async fn outbox_has(node: &Lido, waiting: usize) {
    let line = format!("lido_outbox_messages{{state=\"waiting\"}} {waiting}\n");
    let began = Instant::now();
    loop {
        let page =
            node.request(http::Method::GET, "/_lido/metrics").send().await.unwrap().text().await.unwrap();
        if page.contains(&line) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_message_of_a_dead_node_is_sent_by_another_and_once() {
    let server = MailServer::start().await;
    let Some(nodes) = Nodes::start(mailing(&server), 2).await else { return };
    let [first, second] = &nodes.all[..] else { unreachable!("there are two") };
    let app = first.pool().verify_email().app_client().await;
    // It dies while the mail server is about to answer.
    server.hold(true);
    app.sign_up_with("ana", PASSWORD, json!({ "email": EMAIL })).await.ok();
    server.named(1).await;
    first.kill();
    server.hold(false);
    let app = app.at(second);
    // The lease is not over: nobody else has it.
    app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await.ok();
    assert_eq!(server.wait_for(1).await[0].to, "bo@example.com");
    outbox_has(second, 1).await;
    second.clock().advance(LEASE_IS_OVER).await;
    let mails = server.wait_for(2).await;
    assert_eq!(mails[1].to, EMAIL);
    outbox_has(second, 0).await;
    let code = app.inbox().code_for(EMAIL).await;
    assert!(mails[1].data.contains(&code));
    app.confirm("ana", &code).await.ok_empty();

    // Another one dies before it has tried again.
    server.refuse(Some("451 try again later"));
    let third = Setup::node_of(second).start().await;
    app.at(&third).sign_up_with("cy", PASSWORD, json!({ "email": "cy@example.com" })).await.ok();
    third.kill();
    server.refuse(None);
    second.clock().advance(LEASE_IS_OVER).await;
    assert_eq!(server.wait_for(3).await[2].to, "cy@example.com");
    outbox_has(second, 0).await;
    second.clock().advance(LEASE_IS_OVER).await;
    outbox_has(second, 0).await;
    assert_eq!(server.mails().len(), 3);
}

#[tokio::test]
async fn each_message_is_sent_once_by_three_nodes() {
    const MESSAGES: usize = 100;
    let server = MailServer::start().await;
    let Some(nodes) = Nodes::start(mailing(&server), 3).await else { return };
    let app = nodes.all[0].pool().verify_email().app_client().await;
    server.refuse(Some("451 try again later"));
    let sign_up = async |index: usize| {
        let email = json!({ "email": format!("user{index}@example.com") });
        app.at(nodes.next()).sign_up_with(&format!("user{index}"), PASSWORD, email).await.ok();
    };
    for begin in (0..MESSAGES).step_by(20) {
        join_all((begin..begin + 20).map(sign_up)).await;
    }
    assert!(server.mails().is_empty());
    server.refuse(None);
    // Past the time of the next attempt, and within the lease of those that are under way.
    nodes.advance(10).await;
    server.wait_for(MESSAGES).await;
    outbox_has(&nodes.all[0], 0).await;
    let mails = server.mails();
    let to: BTreeSet<&str> = mails.iter().map(|mail| mail.to.as_str()).collect();
    assert_eq!((to.len(), mails.len()), (MESSAGES, MESSAGES));
    nodes.failed_nowhere_inside();
}
