//! What one port serves beside the API: inbox, clock, reset, health, metrics.

use http::Method;
use lido_tests::{App, Lido, PASSWORD};
use serde_json::{Value, json};

use super::*;

const PHONE_NUMBER: &str = "+15550001234";

fn ids(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["id"].as_str().unwrap()).collect()
}

async fn status(lido: &Lido, method: Method, path: &str, body: &str) -> u16 {
    lido.request(method, path).body(body.to_owned()).send().await.unwrap().status().as_u16()
}

async fn two_users(lido: &Lido) -> App {
    let app = lido.pool().verify_email().verify_phone_number().app_client().await;
    app.sign_up_with("ana", PASSWORD, json!({ "email": "ana@example.com" })).await.ok();
    app.sign_up_with("bo", PASSWORD, json!({ "phone_number": PHONE_NUMBER })).await.ok();
    app
}

#[tokio::test]
async fn the_inbox_lists_and_filters_messages() {
    let lido = Lido::shared().await;
    let app = two_users(&lido).await;
    let other = two_users(&lido).await;
    app.resend("ana").await.ok();
    let inbox = app.inbox();
    let all = inbox.messages(&[]).await;
    assert_eq!(all.len(), 3);
    let mut sorted = ids(&all);
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(ids(&all), sorted, "newest first");
    assert_eq!(all[0]["source"], "CustomMessage_ResendCode");
    for (filter, count) in [
        (("username", "ana"), 2),
        (("username", "bo"), 1),
        (("username", "nobody"), 0),
        (("destination", "ana@example.com"), 2),
        (("destination", PHONE_NUMBER), 1),
        (("medium", "EMAIL"), 2),
        (("medium", "SMS"), 1),
    ] {
        assert_eq!(inbox.messages(&[filter]).await.len(), count, "{filter:?}");
    }
    assert_eq!(inbox.messages(&[("medium", "EMAIL"), ("username", "bo")]).await, Vec::<Value>::new());
    let newer = inbox.messages(&[("after", all[1]["id"].as_str().unwrap())]).await;
    assert_eq!(ids(&newer), ids(&all[..1]));
    assert_eq!(other.inbox().messages(&[]).await.len(), 2);

    let message = all.iter().find(|message| message["medium"] == "SMS").unwrap();
    let names: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "body",
            "clientId",
            "code",
            "createdAt",
            "destination",
            "id",
            "medium",
            "source",
            "userPoolId",
            "username"
        ]
    );
    assert!(all[0]["subject"].is_string(), "an e-mail has a subject");
    let now = lido.clock().now().await;
    let created = message["createdAt"].as_i64().expect("seconds");
    assert!((now - 60..=now).contains(&created));
}

#[tokio::test]
async fn a_reader_waits_for_what_is_new() {
    let lido = Lido::shared().await;
    let app = two_users(&lido).await;
    let inbox = app.inbox();
    let before = inbox.messages(&[]).await;
    // Nothing new: the time passes, and what was there before does not count.
    assert_eq!(inbox.messages(&[("wait", "0.05")]).await, Vec::<Value>::new());
    // What came after the named message counts, at once.
    let first = before.last().unwrap()["id"].as_str().unwrap();
    let found = inbox.messages(&[("wait", "30"), ("after", first)]).await;
    assert_eq!(ids(&found), ids(&before[..1]));
    // What does not match does not wake the reader; what does, does.
    let newest = before[0]["id"].as_str().unwrap().to_owned();
    let filter = [("wait", "30"), ("after", newest.as_str()), ("username", "ana")];
    let (found, ()) = tokio::join!(inbox.messages(&filter), async {
        app.resend("bo").await.ok();
        app.resend("ana").await.ok();
    });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["username"], "ana");
}

#[tokio::test]
async fn bad_questions_to_the_inbox_are_refused() {
    let lido = Lido::shared().await;
    for query in ["wait=soon", "wait=-1", "medium=FAX", "unknown=1"] {
        let path = format!("/_lido/messages?{query}");
        assert_eq!(status(&lido, Method::GET, &path, "").await, 400, "{query}");
    }
    for body in
        ["", "{}", r#"{"advanceSeconds":1,"set":2}"#, r#"{"set":"noon"}"#, r#"{"advanceSeconds":1e300}"#]
    {
        assert_eq!(status(&lido, Method::POST, "/_lido/clock", body).await, 400, "{body}");
    }
    assert_eq!(status(&lido, Method::POST, "/_lido/reset", r#"{"pool":"x"}"#).await, 400);
    assert_eq!(
        status(&lido, Method::POST, "/_lido/reset", r#"{"userPoolId":"us-east-1_unknown"}"#).await,
        404
    );
    assert_eq!(status(&lido, Method::PUT, "/_lido/clock", "").await, 405);
    assert_eq!(status(&lido, Method::GET, "/nothing", "").await, 404);
}

#[tokio::test]
async fn the_inbox_is_emptied() {
    let lido = Lido::start().await;
    let app = two_users(&lido).await;
    let code = app.inbox().code_for("ana@example.com").await;
    lido.inbox().clear().await;
    assert_eq!(lido.inbox().messages(&[]).await, Vec::<Value>::new());
    app.confirm("ana", &code).await.ok_empty();
}

#[tokio::test]
async fn the_clock_is_moved_and_let_go() {
    let lido = Lido::start().await;
    let real = lido.clock().now().await;
    lido.clock().advance(1000).await;
    lido.clock().advance(-400).await;
    assert!((600..660).contains(&(lido.clock().now().await - real)));
    let set = lido.control("/_lido/clock", &json!({ "set": 4_102_444_800_i64 })).await;
    assert_eq!(set, json!({ "now": 4_102_444_800_i64 }));
    let pool = lido.pool().create().await;
    let created = pool.describe().await["CreationDate"].as_f64().unwrap();
    assert!((4_102_444_800.0..4_102_444_860.0).contains(&created), "{created}");
    let released = lido.request(Method::DELETE, "/_lido/clock").send().await.unwrap();
    assert_eq!(released.status(), 200);
    assert!((0..60).contains(&(lido.clock().now().await - real)));
}

#[tokio::test]
async fn a_reset_removes_a_pool_or_everything() {
    let lido = Lido::start().await;
    let (one, two) = (two_users(&lido).await, two_users(&lido).await);
    one.pool.call("UpdateUserPool", json!({ "DeletionProtection": "ACTIVE" })).await.ok_empty();
    lido.control("/_lido/reset", &json!({ "userPoolId": one.pool.id })).await;
    let gone = format!("User pool {} does not exist.", one.pool.id);
    one.pool.call("DescribeUserPool", json!({})).await.fails("ResourceNotFoundException", &gone);
    let gone = format!("User pool client {} does not exist.", one.id);
    one.sign_in("ana", PASSWORD).await.fails("ResourceNotFoundException", &gone);
    two.pool.user("ana").await;
    lido.control("/_lido/reset", &json!({})).await;
    let pools = lido.call("ListUserPools", json!({ "MaxResults": 60 })).await.ok();
    assert_eq!(pools, json!({ "UserPools": [] }));
    assert_eq!(lido.inbox().messages(&[]).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_tag_fixes_a_pool_s_id() {
    let lido = Lido::start().await;
    for (tag, id) in [("lido:id", "us-east-1_Fixed01"), ("_custom_id_", "local_1")] {
        let pool = lido.pool().with(json!({ "UserPoolTags": { tag: id } })).create().await;
        assert_eq!(pool.id, id);
        let again =
            lido.call("CreateUserPool", json!({ "PoolName": "p", "UserPoolTags": { tag: id } })).await;
        again.is_invalid(&format!("User pool {id} already exists."));
        pool.call("DeleteUserPool", json!({})).await.ok();
        lido.pool().with(json!({ "UserPoolTags": { tag: id } })).create().await;
    }
    let bad = json!({ "PoolName": "p", "UserPoolTags": { "lido:id": "no id" } });
    lido.call("CreateUserPool", bad).await.fails_with("InvalidParameterException");
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let lido = Lido::shared().await;
    assert_eq!(lido.get("/_lido/health/live").await, json!({ "status": "live" }));
    assert_eq!(lido.get("/_lido/health/ready").await, json!({ "status": "ready" }));
    lido.call("ListUserPools", json!({ "MaxResults": 1 })).await.ok();
    let metrics = lido.request(Method::GET, "/_lido/metrics").send().await.unwrap();
    assert_eq!(metrics.status(), 200);
    let text = metrics.text().await.unwrap();
    assert!(text.lines().any(|line| line.contains("ListUserPools") && !line.starts_with('#')), "{text}");
}

#[tokio::test]
async fn a_signal_ends_the_server_in_order() {
    let lido = Lido::start().await;
    two_users(&lido).await;
    assert!(lido.terminate().success(), "{}", lido.log());
}

#[tokio::test]
async fn the_seed_is_there_and_its_users_sign_in() {
    let seed = json!({ "UserPools": [{
        "Id": "us-east-1_Example01", "PoolName": "app", "AutoVerifiedAttributes": ["email"],
        "Clients": [{
            "ClientId": "1example23456789", "ClientName": "web", "ClientSecret": "a-secret-of-twenty-four".replace('-', "x") + "xx",
            "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"],
        }],
        "Users": [{
            "Username": "ana", "Sub": "00000000-0000-4000-8000-000000000001", "Password": PASSWORD,
            "UserAttributes": { "email": "ana@example.com", "email_verified": "true" },
        }],
    }] });
    let lido = Lido::setup().file("seed.json", seed.to_string()).flag("--seed", "seed.json").start().await;
    let client = lido
        .call(
            "DescribeUserPoolClient",
            json!({ "UserPoolId": "us-east-1_Example01", "ClientId": "1example23456789" }),
        )
        .await
        .ok()["UserPoolClient"]
        .clone();
    let secret = client["ClientSecret"].as_str().unwrap();
    let hash = lido_crypto::secret_hash::secret_hash("ana", "1example23456789", secret);
    let body = json!({
        "ClientId": "1example23456789", "AuthFlow": "USER_PASSWORD_AUTH",
        "AuthParameters": { "USERNAME": "ana", "PASSWORD": PASSWORD, "SECRET_HASH": hash },
    });
    let answer = lido.call("InitiateAuth", body).await;
    let tokens = lido_tests::Tokens::of(&lido, &answer);
    assert_eq!(lido_tests::claims(&tokens.access)["sub"], "00000000-0000-4000-8000-000000000001");
    let user = tokens.get_user().await.ok();
    assert_eq!(lido_tests::pairs(&user["UserAttributes"])["email_verified"], "true");
    refused(
        &lido.call("AdminGetUser", json!({ "UserPoolId": "us-east-1_Example01", "Username": "bo" })).await,
        USER_NOT_FOUND,
    );
}
