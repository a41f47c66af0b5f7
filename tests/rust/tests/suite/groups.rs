//! Groups: create, describe, update, delete, list; members; the claims that come of them.

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD, Pool, claims};
use serde_json::{Value, json};

use super::*;

const NOT_FOUND: Refusal = ("ResourceNotFoundException", "Group not found.");

async fn app() -> App {
    Lido::shared().await.pool().app_client().await
}

async fn group(pool: &Pool, name: &str, members: Value) -> Value {
    let body = lido_tests::merged(json!({ "GroupName": name }), members);
    pool.call("CreateGroup", body).await.ok()["Group"].clone()
}

async fn join(pool: &Pool, username: &str, name: &str) {
    let answer = pool.admin("AdminAddUserToGroup", username, json!({ "GroupName": name })).await;
    answer.ok();
    assert_eq!(answer.text, "", "an operation without output has an empty body");
}

fn names(list: &Value, member: &str) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one[member].as_str().unwrap().to_owned()).collect()
}

fn role(name: &str) -> String {
    format!("arn:aws:iam::000000000000:role/{name}")
}

#[tokio::test]
async fn a_group_is_made_read_changed_and_removed() {
    let pool = app().await.pool;
    let created =
        group(&pool, "admins", json!({ "Description": "d", "RoleArn": role("a"), "Precedence": 0 })).await;
    assert_eq!(
        created,
        json!({
            "GroupName": "admins", "UserPoolId": pool.id, "Description": "d", "RoleArn": role("a"), "Precedence": 0,
            "CreationDate": created["CreationDate"], "LastModifiedDate": created["CreationDate"],
        })
    );
    let named = json!({ "GroupName": "admins" });
    assert_eq!(pool.call("GetGroup", named.clone()).await.ok(), json!({ "Group": created }));
    // What is left out stays.
    let change = lido_tests::merged(named.clone(), json!({ "Precedence": 3 }));
    let updated = pool.call("UpdateGroup", change).await.ok()["Group"].clone();
    assert_eq!((&updated["Precedence"], &updated["Description"]), (&json!(3), &json!("d")));
    assert_eq!(
        (&updated["RoleArn"], &updated["CreationDate"]),
        (&json!(role("a")), &created["CreationDate"])
    );
    let again = pool.call("CreateGroup", named.clone()).await;
    again.fails("GroupExistsException", "A group with the name already exists.");
    let answer = pool.call("DeleteGroup", named.clone()).await;
    answer.ok();
    assert_eq!(answer.text, "");
    for operation in ["GetGroup", "UpdateGroup", "DeleteGroup", "ListUsersInGroup"] {
        refused(&pool.call(operation, named.clone()).await, NOT_FOUND);
    }
    let small = group(&pool, "admins", json!({})).await;
    let members: Vec<&String> = small.as_object().unwrap().keys().collect();
    assert_eq!(members, ["CreationDate", "GroupName", "LastModifiedDate", "UserPoolId"]);
}

#[tokio::test]
async fn groups_and_users_must_be_there() {
    let app = app().await;
    app.user("ana").create().await;
    group(&app.pool, "admins", json!({})).await;
    for operation in ["AdminAddUserToGroup", "AdminRemoveUserFromGroup"] {
        refused(&app.pool.admin(operation, "ana", json!({ "GroupName": "none" })).await, NOT_FOUND);
        refused(&app.pool.admin(operation, "nobody", json!({ "GroupName": "admins" })).await, USER_NOT_FOUND);
    }
    refused(&app.pool.admin("AdminListGroupsForUser", "nobody", json!({})).await, USER_NOT_FOUND);
    let elsewhere = self::app().await.pool;
    refused(&elsewhere.call("GetGroup", json!({ "GroupName": "admins" })).await, NOT_FOUND);
    let negative = app.pool.call("CreateGroup", json!({ "GroupName": "x", "Precedence": -1 })).await;
    negative.is_invalid(
        "1 validation error detected: Value '-1' at 'precedence' failed to satisfy constraint: \
         Member must have value greater than or equal to 0",
    );
}

#[tokio::test]
async fn membership_can_be_given_and_taken_twice() {
    let app = app().await;
    app.user("ana").create().await;
    app.user("bo").create().await;
    group(&app.pool, "admins", json!({})).await;
    let members = async || {
        let listed = app.pool.call("ListUsersInGroup", json!({ "GroupName": "admins" })).await.ok();
        let mut names = names(&listed["Users"], "Username");
        names.sort_unstable();
        names
    };
    for name in ["ana", "bo", "ana"] {
        join(&app.pool, name, "admins").await;
    }
    assert_eq!(members().await, ["ana", "bo"]);
    for _ in 0..2 {
        let answer =
            app.pool.admin("AdminRemoveUserFromGroup", "ana", json!({ "GroupName": "admins" })).await;
        answer.ok();
        assert_eq!(answer.text, "");
    }
    assert_eq!(members().await, ["bo"]);
    // Neither a deleted user nor a deleted group leaves anything.
    app.pool.admin("AdminDeleteUser", "bo", json!({})).await.ok();
    assert_eq!(members().await, Vec::<String>::new());
    join(&app.pool, "ana", "admins").await;
    app.pool.call("DeleteGroup", json!({ "GroupName": "admins" })).await.ok();
    let groups = app.pool.admin("AdminListGroupsForUser", "ana", json!({})).await.ok();
    assert_eq!(groups, json!({ "Groups": [] }));
    group(&app.pool, "admins", json!({})).await;
    assert_eq!(members().await, Vec::<String>::new());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let app = app().await;
    app.user("ana").create().await;
    for index in 0..5 {
        let name = format!("group{index}");
        group(&app.pool, &name, json!({})).await;
        join(&app.pool, "ana", &name).await;
        app.user(&format!("user{index}")).create().await;
        join(&app.pool, &format!("user{index}"), "group0").await;
    }
    for (operation, body, list, member, count) in [
        ("ListGroups", json!({}), "Groups", "GroupName", 5),
        ("AdminListGroupsForUser", json!({ "Username": "ana" }), "Groups", "GroupName", 5),
        ("ListUsersInGroup", json!({ "GroupName": "group0" }), "Users", "Username", 6),
    ] {
        let (mut seen, mut request) = (Vec::new(), lido_tests::merged(body.clone(), json!({ "Limit": 2 })));
        loop {
            let page = app.pool.call(operation, request.clone()).await.ok();
            assert!(page[list].as_array().unwrap().len() <= 2);
            seen.extend(names(&page[list], member));
            match page.get("NextToken") {
                Some(token) => request["NextToken"] = token.clone(),
                None => break,
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "{operation}");
        for all in [json!({}), json!({ "Limit": 0 }), json!({ "Limit": 60 })] {
            let page = app.pool.call(operation, lido_tests::merged(body.clone(), all)).await.ok();
            assert_eq!(page[list].as_array().unwrap().len(), count, "{operation}");
        }
        let foreign = lido_tests::merged(body, json!({ "NextToken": "x" }));
        app.pool.call(operation, foreign).await.is_invalid("Invalid pagination token.");
    }
}

#[tokio::test]
async fn groups_and_roles_are_claims() {
    let app = app().await;
    let (_, before) = app.user("ana").signed_in().await;
    for (name, members) in [
        ("none", json!({})),
        ("third", json!({ "Precedence": 3, "RoleArn": role("c") })),
        ("first", json!({ "Precedence": 1, "RoleArn": role("a") })),
        ("second", json!({ "Precedence": 2 })),
    ] {
        group(&app.pool, name, members).await;
        join(&app.pool, "ana", name).await;
    }
    assert_eq!(claims(&before.access).get("cognito:groups"), None);
    let tokens = app.tokens("ana", PASSWORD).await;
    let (access, id) = (claims(&tokens.access), claims(&tokens.id));
    let all = json!(["first", "second", "third", "none"]);
    assert_eq!((&access["cognito:groups"], &id["cognito:groups"]), (&all, &all));
    assert_eq!((access.get("cognito:roles"), access.get("cognito:preferred_role")), (None, None));
    let mut roles = names_of(&id["cognito:roles"]);
    roles.sort_unstable();
    assert_eq!(roles, [role("a"), role("c")]);
    assert_eq!(id["cognito:preferred_role"], role("a"));
    // A refresh reads them anew.
    app.pool.admin("AdminRemoveUserFromGroup", "ana", json!({ "GroupName": "first" })).await.ok();
    let refreshed = app.refresh(&before.refresh).await.ok();
    let id = claims(refreshed["AuthenticationResult"]["IdToken"].as_str().unwrap());
    assert_eq!(id["cognito:groups"], json!(["second", "third", "none"]));
    assert_eq!(id.get("cognito:preferred_role"), None, "the best group has no role");
}

fn names_of(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_tie_of_roles_is_settled_only_by_the_same_role() {
    let app = app().await;
    for (name, one, two, preferred) in [("ana", "a", "a", Some(role("a"))), ("bo", "a", "b", None)] {
        app.user(name).create().await;
        for (suffix, arn) in [("one", one), ("two", two)] {
            let group_name = format!("{name}-{suffix}");
            group(&app.pool, &group_name, json!({ "Precedence": 1, "RoleArn": role(arn) })).await;
            join(&app.pool, name, &group_name).await;
        }
        let id = claims(&app.tokens(name, PASSWORD).await.id);
        assert_eq!(id["cognito:preferred_role"].as_str(), preferred.as_deref(), "{name}");
    }
}

#[tokio::test]
async fn a_user_is_in_at_most_a_hundred_groups() {
    let app = app().await;
    app.user("ana").create().await;
    for index in 0..101 {
        group(&app.pool, &format!("g{index}"), json!({})).await;
    }
    let answers = join_all((0..101).map(|index| {
        app.pool.admin("AdminAddUserToGroup", "ana", json!({ "GroupName": format!("g{index}") }))
    }))
    .await;
    let refused: Vec<_> = answers.iter().filter(|answer| !answer.is_ok()).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].status, 400, "{}", refused[0].text);
}
