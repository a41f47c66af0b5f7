//! ListUsers.

use lido_tests::{App, Lido};
use serde_json::{Value, json};

use super::*;

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn add(app: &App, username: &str, values: Value) {
    let body = json!({ "MessageAction": "SUPPRESS", "UserAttributes": lido_tests::attributes(values) });
    app.pool.admin("AdminCreateUser", username, body).await.ok();
}

fn names(answer: &Value) -> Vec<&str> {
    answer["Users"].as_array().unwrap().iter().map(|user| user["Username"].as_str().unwrap()).collect()
}

async fn found(app: &App, filter: &str) -> Vec<String> {
    let answer = app.pool.call("ListUsers", json!({ "Filter": filter })).await.ok();
    names(&answer).into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn users_are_listed_whole() {
    let app = app().await;
    assert_eq!(app.pool.call("ListUsers", json!({})).await.ok(), json!({ "Users": [] }));
    add(&app, "ana", json!({ "email": "ana@example.com" })).await;
    let listed = app.pool.call("ListUsers", json!({})).await.ok();
    let user = app.pool.user("ana").await;
    assert_eq!(
        listed,
        json!({ "Users": [{
            "Username": "ana", "Attributes": user["UserAttributes"], "Enabled": true,
            "UserStatus": "FORCE_CHANGE_PASSWORD", "UserCreateDate": user["UserCreateDate"],
            "UserLastModifiedDate": user["UserLastModifiedDate"],
        }] })
    );
}

#[tokio::test]
async fn users_are_found_by_one_attribute() {
    let app = app().await;
    add(&app, "ana", json!({ "email": "ana@example.com", "given_name": "Ana", "name": "Ana \"A\" S\\un" }))
        .await;
    add(
        &app,
        "Anton",
        json!({ "email": "Anton@Example.com", "family_name": "Sun", "phone_number": "+15550001" }),
    )
    .await;
    add(&app, "bo", json!({ "preferred_username": "king", "phone_number": "+15550002" })).await;
    app.pool
        .admin("AdminSetUserPassword", "bo", json!({ "Password": "Correct-horse-7", "Permanent": true }))
        .await
        .ok();
    app.pool.admin("AdminDisableUser", "bo", json!({})).await.ok();
    let sub = app.pool.attributes("bo").await["sub"].clone();
    let all = ["Anton", "ana", "bo"];
    for (filter, expected) in [
        ("", all.to_vec()),
        ("   ", all.to_vec()),
        (r#"username = "ana""#, vec!["ana"]),
        (r#"username = "ANA""#, vec![]),
        (r#"username ^= "an""#, vec!["ana"]),
        (r#"username ^= """#, all.to_vec()),
        (r#"email = "ANA@example.com""#, vec!["ana"]),
        (r#"email="anton@example.com""#, vec!["Anton"]),
        (r#"email ^= "an""#, vec!["Anton", "ana"]),
        (r#"phone_number ^= "+1555""#, vec!["Anton", "bo"]),
        (r#"given_name = "ana""#, vec!["ana"]),
        (r#"family_name="sun""#, vec!["Anton"]),
        (r#"preferred_username = "King""#, vec!["bo"]),
        (r#"name = "Ana \"A\" S\\un""#, vec!["ana"]),
        (r#"status = "Disabled""#, vec!["bo"]),
        (r#"status = "Enabled""#, vec!["Anton", "ana"]),
        (r#"status = "disabled""#, vec![]),
        (r#"cognito:user_status = "confirmed""#, vec!["bo"]),
        (r#"cognito:user_status = "FORCE_CHANGE_PASSWORD""#, vec!["Anton", "ana"]),
        (&format!(r#"sub = "{sub}""#), vec!["bo"]),
        (r#"name = "nobody""#, vec![]),
    ] {
        let mut found = found(&app, filter).await;
        found.sort_unstable();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn other_filters_are_refused() {
    let app = app().await;
    for filter in [
        "nonsense",
        "email",
        "email =",
        "email = ana",
        r#"email == "x""#,
        r#"email = "x" and name = "y""#,
        r#"= "x""#,
        r#"email = "x"#,
        r#"email > "x""#,
    ] {
        let answer = app.pool.call("ListUsers", json!({ "Filter": filter })).await;
        answer.is_invalid("Error while parsing filter");
    }
    for name in ["custom:x", "nickname", "unknown", "enabled"] {
        let answer = app.pool.call("ListUsers", json!({ "Filter": format!(r#"{name} = "x""#) })).await;
        answer.is_invalid(&format!("Invalid search attribute: {name}"));
    }
    let long = format!(r#"name = "{}""#, "x".repeat(256));
    app.pool.call("ListUsers", json!({ "Filter": long })).await.fails_with("InvalidParameterException");
}

#[tokio::test]
async fn only_the_wanted_attributes_are_listed() {
    let app = app().await;
    add(&app, "ana", json!({ "email": "ana@example.com", "name": "Ana" })).await;
    add(&app, "bo", json!({ "name": "Bo" })).await;
    let listed = app
        .pool
        .call("ListUsers", json!({ "AttributesToGet": ["email"], "Filter": "name ^= \"a\"" }))
        .await
        .ok();
    let expected = json!([{ "Name": "email", "Value": "ana@example.com" }]);
    assert_eq!(listed["Users"][0]["Attributes"], expected);
    let all = app.pool.call("ListUsers", json!({ "AttributesToGet": null })).await.ok();
    assert_eq!(all["Users"].as_array().unwrap().len(), 2);
    let unknown = app.pool.call("ListUsers", json!({ "AttributesToGet": ["custom:x"] })).await;
    unknown.is_invalid("One or more requested attributes do not exist.");
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    for index in 0..65 {
        add(&app, &format!("user{index:02}"), json!({ "name": format!("n{}", index % 2) })).await;
    }
    for (filter, limit, sizes) in [
        ("", None, vec![60, 5]),
        ("", Some(0), vec![60, 5]),
        ("", Some(25), vec![25, 25, 15]),
        (r#"username ^= "user0""#, Some(5), vec![5, 5]),
        (r#"name = "n0""#, Some(11), vec![11, 11, 11]),
        (r#"username ^= "user""#, Some(60), vec![60, 5]),
    ] {
        let mut body = json!({ "Filter": filter });
        if let Some(limit) = limit {
            body["Limit"] = json!(limit);
        }
        let (mut seen, mut pages) = (Vec::new(), Vec::new());
        loop {
            let page = app.pool.call("ListUsers", body.clone()).await.ok();
            pages.push(names(&page).len());
            seen.extend(names(&page).into_iter().map(str::to_owned));
            match page.get("PaginationToken") {
                Some(token) => body["PaginationToken"] = token.clone(),
                None => break,
            }
        }
        assert_eq!(pages, sizes, "{filter}");
        if filter.starts_with("username") {
            assert!(seen.is_sorted(), "sorted by the attribute of the filter");
        }
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "nobody is listed twice");
    }
    // A token is for its filter and pool, and for an hour.
    let first = app.pool.call("ListUsers", json!({ "Limit": 5 })).await.ok();
    let token = &first["PaginationToken"];
    let other = json!({ "Limit": 5, "PaginationToken": token, "Filter": "name = \"n0\"" });
    app.pool.call("ListUsers", other).await.is_invalid("Invalid pagination token.");
    let elsewhere = lido.pool().create().await;
    let body = json!({ "Limit": 5, "PaginationToken": token });
    elsewhere.call("ListUsers", body.clone()).await.is_invalid("Invalid pagination token.");
    app.pool.call("ListUsers", body.clone()).await.ok();
    lido.clock().advance(HOUR).await;
    app.pool.call("ListUsers", body).await.is_invalid("Invalid pagination token.");
}

#[tokio::test]
async fn names_are_searched_as_the_pool_tells_them_apart() {
    let lido = Lido::shared().await;
    let folding =
        lido.pool().with(json!({ "UsernameConfiguration": { "CaseSensitive": false } })).app_client().await;
    add(&folding, "Ana", json!({})).await;
    assert_eq!(found(&folding, r#"username = "ANA""#).await.len(), 1);
    let generated = lido.pool().sign_in_by(&["email"]).app_client().await;
    add(&generated, "ana@example.com", json!({})).await;
    assert_eq!(found(&generated, r#"username = "ana@example.com""#).await.len(), 0, "the name is generated");
    assert_eq!(found(&generated, r#"email = "ana@example.com""#).await.len(), 1);
}

#[tokio::test]
async fn values_longer_than_an_index_key_are_told_apart() {
    let app = app().await;
    // 5,000 bytes and more, alike for the first 600.
    let begin = "€".repeat(205);
    let [first, second] = ["a", "b"].map(|end| format!("{begin}{}{end}", "漢".repeat(1600)));
    add(&app, "first", json!({ "name": first })).await;
    add(&app, "second", json!({ "name": second })).await;
    add(&app, "third", json!({ "name": begin })).await;
    assert_eq!(found(&app, &format!("name = \"{begin}\"")).await, ["third"]);
    let prefix = |length| format!("name ^= \"{begin}{}\"", "漢".repeat(length));
    assert_eq!(found(&app, &prefix(0)).await.len(), 3);
    let both = found(&app, &prefix(1)).await;
    assert!(both.len() == 2 && !both.contains(&"third".to_owned()), "{both:?}");
    assert!(app.pool.admin("AdminDeleteUser", "first", json!({})).await.is_ok());
    assert_eq!(found(&app, &prefix(1)).await, ["second"]);
    let changed = json!({ "UserAttributes": [{ "Name": "name", "Value": "short" }] });
    app.pool.admin("AdminUpdateUserAttributes", "second", changed).await.ok_empty();
    assert_eq!(found(&app, &prefix(0)).await, ["third"]);
}
