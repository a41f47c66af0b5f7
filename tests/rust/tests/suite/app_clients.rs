//! CreateUserPoolClient, DescribeUserPoolClient, UpdateUserPoolClient, DeleteUserPoolClient,
//! ListUserPoolClients.

use lido_tests::{Lido, PASSWORD, Pool, claims};
use serde_json::{Value, json};

use super::*;

async fn pool() -> Pool {
    Lido::shared().await.pool().create().await
}

async fn create(pool: &Pool, members: Value) -> lido_tests::Answer {
    pool.call("CreateUserPoolClient", lido_tests::merged(json!({ "ClientName": "c" }), members)).await
}

/// Without the members that differ from client to client.
fn settings(client: &Value) -> Value {
    let mut client = client.clone();
    let members = client.as_object_mut().unwrap();
    for name in ["ClientId", "UserPoolId", "CreationDate", "LastModifiedDate"] {
        assert!(members.remove(name).is_some(), "{name}");
    }
    client
}

fn defaults() -> Value {
    json!({
        "ClientName": "c", "RefreshTokenValidity": 30, "TokenValidityUnits": {},
        "AllowedOAuthFlowsUserPoolClient": false, "EnableTokenRevocation": true,
        "EnablePropagateAdditionalUserContextData": false, "AuthSessionValidity": 3,
    })
}

#[tokio::test]
async fn the_smallest_client_has_the_service_s_defaults() {
    let pool = pool().await;
    let created = create(&pool, json!({})).await.ok()["UserPoolClient"].clone();
    let id = created["ClientId"].as_str().unwrap();
    assert!(
        id.len() == 26 && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()),
        "{id}"
    );
    assert_eq!(created["UserPoolId"], pool.id);
    assert_eq!(settings(&created), defaults());
    let described =
        pool.call("DescribeUserPoolClient", json!({ "ClientId": id })).await.ok()["UserPoolClient"].clone();
    let mut shown = settings(&described);
    // A newer member, shown by Describe alone.
    if let Some(kind) = shown.as_object_mut().unwrap().remove("ClientType") {
        assert_eq!(kind, "REGULAR");
    }
    assert_eq!(shown, defaults());
}

#[tokio::test]
async fn a_secret_is_generated_or_given() {
    let pool = pool().await;
    let generated = create(&pool, json!({ "GenerateSecret": true })).await.ok()["UserPoolClient"].clone();
    let secret = generated["ClientSecret"].as_str().unwrap();
    assert!((51..=52).contains(&secret.len()), "{secret}");
    assert!(secret.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{secret}");
    let given = "abcdefghijklmnopqrstuvwx";
    let client = create(&pool, json!({ "ClientSecret": given })).await.ok()["UserPoolClient"].clone();
    assert_eq!(client["ClientSecret"], given);
    let body = json!({ "ClientId": client["ClientId"] });
    assert_eq!(
        pool.call("DescribeUserPoolClient", body.clone()).await.ok()["UserPoolClient"]["ClientSecret"],
        given
    );
    assert_eq!(pool.call("UpdateUserPoolClient", body).await.ok()["UserPoolClient"]["ClientSecret"], given);
    let both = json!({ "GenerateSecret": true, "ClientSecret": given });
    create(&pool, both).await.is_invalid("GenerateSecret and ClientSecret exclude each other.");
    let short =
        create(&pool, json!({ "ClientSecret": "short" })).await.fails_with("InvalidParameterException");
    assert!(!short.contains("short'"), "{short}");
}

#[tokio::test]
async fn units_are_completed() {
    let pool = pool().await;
    let units = json!({ "TokenValidityUnits": { "AccessToken": "minutes" }, "AccessTokenValidity": 10 });
    let client = create(&pool, units).await.ok()["UserPoolClient"].clone();
    let completed = json!({ "AccessToken": "minutes", "IdToken": "hours", "RefreshToken": "days" });
    assert_eq!((&client["TokenValidityUnits"], &client["AccessTokenValidity"]), (&completed, &json!(10)));
    let nought = create(&pool, json!({ "RefreshTokenValidity": 0 })).await.ok();
    assert_eq!(nought["UserPoolClient"]["RefreshTokenValidity"], 30);
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused() {
    let pool = pool().await;
    let flows = |flows: &[&str]| json!({ "ExplicitAuthFlows": flows });
    for (members, message) in [
        (json!({ "AccessTokenValidity": 25 }), "Invalid range for token validity."),
        (
            json!({ "IdTokenValidity": 4, "TokenValidityUnits": { "IdToken": "minutes" } }),
            "Invalid range for token validity.",
        ),
        (json!({ "RefreshTokenValidity": 3651 }), "Invalid range for token validity."),
        (
            json!({ "RefreshTokenValidity": 1, "TokenValidityUnits": { "RefreshToken": "minutes" } }),
            "Invalid range for token validity.",
        ),
        (
            json!({ "RefreshTokenValidity": 1, "AccessTokenValidity": 2, "TokenValidityUnits": { "RefreshToken": "hours" } }),
            "AccessTokenValidity and IdTokenValidity cannot be longer than RefreshTokenValidity.",
        ),
        (
            json!({ "EnablePropagateAdditionalUserContextData": true }),
            "EnablePropagateAdditionalUserContextData needs an app client with a secret.",
        ),
        (
            flows(&["ADMIN_NO_SRP_AUTH", "ALLOW_USER_SRP_AUTH"]),
            "ExplicitAuthFlows cannot mix values with the prefix ALLOW_ and values without it.",
        ),
        (
            lido_tests::merged(
                flows(&["ALLOW_REFRESH_TOKEN_AUTH"]),
                json!({ "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": 0 } }),
            ),
            "RefreshTokenRotation cannot be enabled together with ALLOW_REFRESH_TOKEN_AUTH.",
        ),
        (json!({ "AllowedOAuthFlows": ["code"] }), "AllowedOAuthScopes are required with AllowedOAuthFlows."),
        (
            json!({ "CallbackURLs": ["https://a.example"], "DefaultRedirectURI": "https://b.example" }),
            "DefaultRedirectURI must be one of the CallbackURLs.",
        ),
        (
            json!({ "ReadAttributes": ["custom:none"] }),
            "Invalid read attributes specified while creating a client",
        ),
        (
            json!({ "WriteAttributes": ["custom:none"] }),
            "Invalid write attributes specified while creating a client",
        ),
        (
            json!({ "WriteAttributes": ["email_verified"] }),
            "Invalid write attributes specified while creating a client",
        ),
    ] {
        create(&pool, members.clone()).await.is_invalid(message);
    }
    let provider = create(&pool, json!({ "SupportedIdentityProviders": ["COGNITO", "Google"] })).await;
    provider.is_invalid(&format!("The provider Google does not exist for User Pool {}.", pool.id));
    create(&pool, json!({ "SupportedIdentityProviders": ["COGNITO"] })).await.ok();
    let oauth = |members: Value| lido_tests::merged(json!({ "AllowedOAuthScopes": ["openid"] }), members);
    create(&pool, oauth(json!({ "AllowedOAuthFlows": ["client_credentials"] }))).await.fails(
        "InvalidOAuthFlowException",
        "client_credentials flow can not be selected if client does not have a client secret.",
    );
    create(
        &pool,
        oauth(json!({ "AllowedOAuthFlows": ["client_credentials", "code"], "GenerateSecret": true })),
    )
    .await
    .fails(
        "InvalidOAuthFlowException",
        "client_credentials flow can not be selected along with code flow or implicit flow.",
    );
    create(&pool, json!({ "AllowedOAuthFlowsUserPoolClient": true })).await.fails(
        "InvalidOAuthFlowException",
        "AllowedOAuthFlows and AllowedOAuthScopes are required if user pool client is allowed to use OAuth flows.",
    );
    let scope =
        create(&pool, json!({ "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["none/read"] })).await;
    scope.fails("ScopeDoesNotExistException", "Invalid scope requested: none/read");
    for url in [
        "http://example.com",
        "https://a.example/#part",
        "example.com",
        "/path",
        "http://localhost@evil.example",
    ] {
        assert_eq!(create(&pool, json!({ "CallbackURLs": [url] })).await.status, 400, "{url}");
    }
    for url in ["https://a.example/x?y", "http://localhost:3000", "http://127.0.0.1/cb", "myapp://signin"] {
        create(&pool, json!({ "CallbackURLs": [url] })).await.ok();
    }
}

#[tokio::test]
async fn a_client_can_write_what_every_user_must_have() {
    let lido = Lido::shared().await;
    let pool = lido.pool().with(json!({ "Schema": [{ "Name": "name", "Required": true }] })).create().await;
    let bad = create(&pool, json!({ "WriteAttributes": ["email"] })).await;
    bad.is_invalid("Invalid write attributes specified while creating a client");
    create(&pool, json!({ "WriteAttributes": ["email", "name"] })).await.ok();
    create(&pool, json!({ "WriteAttributes": ["oidc:profile"] })).await.ok();
}

#[tokio::test]
async fn an_update_replaces_what_it_leaves_out() {
    let pool = pool().await;
    let members = json!({
        "GenerateSecret": true, "RefreshTokenValidity": 5, "AccessTokenValidity": 2, "IdTokenValidity": 3,
        "ReadAttributes": ["email"], "WriteAttributes": ["email"], "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"],
        "CallbackURLs": ["https://a.example"], "LogoutURLs": ["https://a.example"],
        "DefaultRedirectURI": "https://a.example", "AllowedOAuthFlows": ["code"], "AllowedOAuthScopes": ["openid"],
        "AllowedOAuthFlowsUserPoolClient": true, "PreventUserExistenceErrors": "ENABLED",
        "EnableTokenRevocation": false, "AuthSessionValidity": 9, "SupportedIdentityProviders": ["COGNITO"],
    });
    let client = create(&pool, members.clone()).await.ok()["UserPoolClient"].clone();
    for (name, value) in members.as_object().unwrap().iter().filter(|(name, _)| *name != "GenerateSecret") {
        assert_eq!(client[name], *value, "{name}");
    }
    let body = json!({ "ClientId": client["ClientId"] });
    let updated = pool.call("UpdateUserPoolClient", body.clone()).await.ok()["UserPoolClient"].clone();
    let expected = lido_tests::merged(defaults(), json!({ "ClientSecret": client["ClientSecret"] }));
    assert_eq!(settings(&updated), expected);
    let named = lido_tests::merged(body, json!({ "ClientName": "new" }));
    assert_eq!(pool.call("UpdateUserPoolClient", named).await.ok()["UserPoolClient"]["ClientName"], "new");
}

#[tokio::test]
async fn an_update_holds_at_once() {
    let pool = pool().await;
    let app = pool.app_client().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let flows = json!({ "ClientId": app.id, "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"] });
    pool.call("UpdateUserPoolClient", flows).await.ok();
    let closed = app.sign_in("ana", PASSWORD).await;
    closed.is_invalid("USER_PASSWORD_AUTH flow not enabled for this client");
    let closed = app.refresh(&tokens.refresh).await;
    closed.is_invalid("REFRESH_TOKEN_AUTH flow not enabled for this client");
}

#[tokio::test]
async fn clients_are_found_in_their_pool_alone() {
    let (one, two) = (pool().await, pool().await);
    let app = one.app_client().await;
    for operation in ["DescribeUserPoolClient", "UpdateUserPoolClient", "DeleteUserPoolClient"] {
        let missing = format!("User pool client {} does not exist.", app.id);
        let body = json!({ "ClientId": app.id });
        two.call(operation, body).await.fails("ResourceNotFoundException", &missing);
        let missing = "User pool client unknown does not exist.";
        one.call(operation, json!({ "ClientId": "unknown" }))
            .await
            .fails("ResourceNotFoundException", missing);
    }
    one.call("DescribeUserPoolClient", json!({ "ClientId": app.id })).await.ok();
}

#[tokio::test]
async fn a_deleted_client_ends_its_sign_ins() {
    let pool = pool().await;
    let (one, two) = (pool.app_client().await, pool.app_client().await);
    let (_, tokens) = one.user("ana").signed_in().await;
    let others = two.tokens("ana", PASSWORD).await;
    let answer = pool.call("DeleteUserPoolClient", json!({ "ClientId": one.id })).await;
    answer.ok();
    assert_eq!(answer.text, "");
    let missing = format!("User pool client {} does not exist.", one.id);
    one.sign_in("ana", PASSWORD).await.fails("ResourceNotFoundException", &missing);
    one.refresh(&tokens.refresh).await.fails("ResourceNotFoundException", &missing);
    refused(&tokens.get_user().await, INVALID_ACCESS_TOKEN);
    others.get_user().await.ok();
}

#[tokio::test]
async fn clients_are_listed_in_pages() {
    let pool = pool().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(pool.app_client().await.id);
    }
    let (mut listed, mut body) = (Vec::new(), json!({ "MaxResults": 2 }));
    loop {
        let page = pool.call("ListUserPoolClients", body).await.ok();
        for client in page["UserPoolClients"].as_array().unwrap() {
            let names: Vec<&String> = client.as_object().unwrap().keys().collect();
            assert_eq!(names, ["ClientId", "ClientName", "UserPoolId"]);
            listed.push(client["ClientId"].as_str().unwrap().to_owned());
        }
        match page.get("NextToken") {
            Some(token) => body = json!({ "MaxResults": 2, "NextToken": token }),
            None => break,
        }
    }
    made.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, made);
    let first = pool.call("ListUserPoolClients", json!({ "MaxResults": 1 })).await.ok();
    let elsewhere = self::pool().await;
    let foreign = json!({ "MaxResults": 1, "NextToken": first["NextToken"] });
    elsewhere.call("ListUserPoolClients", foreign).await.is_invalid("Invalid pagination token.");
    assert_eq!(elsewhere.call("ListUserPoolClients", json!({})).await.ok(), json!({ "UserPoolClients": [] }));
}

#[tokio::test]
async fn validities_are_those_of_the_tokens() {
    let pool = pool().await;
    let app = pool.client().with(json!({
        "AccessTokenValidity": 10, "IdTokenValidity": 1200,
        "TokenValidityUnits": { "AccessToken": "minutes", "IdToken": "seconds" },
    }));
    let app = app.create().await;
    app.user("ana").create().await;
    let answer = app.sign_in("ana", PASSWORD).await.ok();
    assert_eq!(answer["AuthenticationResult"]["ExpiresIn"], 600);
    let span = |token: &str| {
        let claims = claims(answer["AuthenticationResult"][token].as_str().unwrap());
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    assert_eq!((span("AccessToken"), span("IdToken")), (600, 1200));
}
