//! GetClientToken: tokens of an application itself.

use lido_tests::{Answer, App, Functions, Lido, Pool, Reply, claims, header};
use serde_json::{Value, json};

use super::*;

async fn machine(pool: &Pool) -> App {
    pool.client().with(json!({ "ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH"] })).secret().create().await
}

async fn token(app: &App, members: Value) -> Answer {
    let body = json!({ "ClientId": app.id, "Secret": app.secret });
    app.lido.call("GetClientToken", lido_tests::merged(body, members)).await
}

#[tokio::test]
async fn an_application_gets_an_access_token_of_its_own() {
    let lido = Lido::shared().await;
    let app = machine(&lido.pool().create().await).await;
    let answer = token(&app, json!({})).await.ok();
    assert_eq!(answer.as_object().unwrap().len(), 1);
    let result = answer["ClientAuthenticationResult"].as_object().unwrap().clone();
    assert_eq!(result.keys().collect::<Vec<_>>(), ["AccessToken", "ExpiresIn", "TokenType"]);
    assert_eq!((&result["ExpiresIn"], &result["TokenType"]), (&json!(3600), &json!("Bearer")));
    let token = result["AccessToken"].as_str().unwrap();
    let said = claims(token);
    let names: Vec<&String> = said.as_object().unwrap().keys().collect();
    let expected =
        ["auth_time", "client_id", "exp", "iat", "iss", "jti", "scope", "sub", "token_use", "version"];
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!((said["sub"].as_str(), said["client_id"].as_str()), (Some(&*app.id), Some(&*app.id)));
    assert_eq!(
        (&said["token_use"], &said["version"], &said["scope"]),
        (&json!("access"), &json!(2), &json!(""))
    );
    assert_eq!(said["auth_time"], said["iat"]);
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), HOUR);
    assert!(said["iss"].as_str().unwrap().ends_with(&app.pool.id));

    // Signed with the key of access tokens.
    let people = app.pool.app_client().await;
    let (_, tokens) = people.user("ana").signed_in().await;
    assert_eq!(header(token), header(&tokens.access));
    let again = token_of(&app).await;
    assert_ne!(claims(&again)["jti"], said["jti"]);
}

async fn token_of(app: &App) -> String {
    let answer = token(app, json!({})).await.ok();
    answer["ClientAuthenticationResult"]["AccessToken"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_is_no_user_s() {
    let lido = Lido::shared().await;
    let app = machine(&lido.pool().create().await).await;
    let token = token_of(&app).await;
    for (operation, members) in [
        ("GetUser", json!({})),
        ("DeleteUser", json!({})),
        ("GlobalSignOut", json!({})),
        ("UpdateUserAttributes", json!({ "UserAttributes": [] })),
        ("GetUserAttributeVerificationCode", json!({ "AttributeName": "email" })),
    ] {
        let body = lido_tests::merged(json!({ "AccessToken": token }), members);
        refused(&lido.call(operation, body).await, ACCESS_TOKEN_SCOPES);
    }
    refused(
        &lido.call("GetUser", json!({ "AccessToken": altered(&token, token.len() - 5) })).await,
        ACCESS_TOKEN_SIGNATURE,
    );
    let body = json!({ "ClientId": app.id, "RefreshToken": token, "ClientSecret": app.secret });
    refused(&lido.call("GetTokensFromRefreshToken", body).await, INVALID_REFRESH_TOKEN);
    app.revoke(&token).await.fails_with("UnsupportedTokenTypeException");
    // And no user signs in through such a client.
    for flow in ["USER_PASSWORD_AUTH", "USER_SRP_AUTH", "REFRESH_TOKEN_AUTH"] {
        let parameters = json!({ "USERNAME": "ana", "PASSWORD": "x", "SRP_A": "1", "REFRESH_TOKEN": "x" });
        app.initiate(flow, parameters).await.fails_with("InvalidParameterException");
    }
}

#[tokio::test]
async fn the_client_needs_the_flow_and_its_secret() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let app = machine(&pool).await;
    let wrong = |app: &App| format!("Unable to verify secret for client {}", app.id);
    token(&app, json!({ "Secret": "x".repeat(52) })).await.is_not_authorized(&wrong(&app));
    for secret in [json!(null), json!("short"), json!("")] {
        let message = token(&app, json!({ "Secret": secret })).await.fails_with("InvalidParameterException");
        assert!(message.contains("Value at 'secret'"), "{message}");
    }
    token(&app, json!({ "ClientId": "unknown" }))
        .await
        .fails("ResourceNotFoundException", "User pool client unknown does not exist.");
    let public = pool.app_client().await;
    token(&public, json!({ "Secret": "x".repeat(52) })).await.is_not_authorized(&wrong(&public));
    let people = pool.client().secret().create().await;
    token(&people, json!({})).await.is_invalid("CLIENT_TOKEN_AUTH flow not enabled for this client");

    for members in [
        json!({ "ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH"] }),
        json!({ "ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH"], "GenerateSecret": true }),
    ] {
        let body = lido_tests::merged(json!({ "ClientName": "c" }), members);
        pool.call("CreateUserPoolClient", body).await.fails_with("InvalidParameterException");
    }

    // Either of two secrets, as long as it is there.
    let added = json!({ "ClientId": app.id, "ClientSecret": "another_secret_of_the_client" });
    pool.call("AddUserPoolClientSecret", added).await.ok();
    token(&app, json!({})).await.ok();
    token(&app, json!({ "Secret": "another_secret_of_the_client" })).await.ok();
    let listed = pool.call("ListUserPoolClientSecrets", json!({ "ClientId": app.id })).await.ok();
    let first = json!({ "ClientId": app.id, "ClientSecretId": listed["ClientSecrets"][0]["ClientSecretId"] });
    pool.call("DeleteUserPoolClientSecret", first).await.ok_empty();
    token(&app, json!({})).await.is_not_authorized(&wrong(&app));
    token(&app, json!({ "Secret": "another_secret_of_the_client" })).await.ok();
}

#[tokio::test]
async fn scopes_are_those_that_the_client_may_have() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let standard = json!({
        "ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH"],
        "AllowedOAuthScopes": ["openid", "aws.cognito.signin.user.admin"],
    });
    let app = pool.client().with(standard).secret().create().await;
    // The scopes of users are none of an application's.
    assert_eq!(claims(&token_of(&app).await)["scope"], "");
    for scopes in [json!(["openid"]), json!(["aws.cognito.signin.user.admin"]), json!(["rs/read", "openid"])]
    {
        let names: Vec<&str> = scopes.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let text = format!("Invalid scope requested: {}", names.join(" "));
        token(&app, json!({ "Scopes": scopes })).await.is_invalid(&text);
    }
    token(&app, json!({ "Scopes": [] })).await.ok();
    for scopes in [json!(vec!["a"; 51]), json!([""]), json!(["with blank"]), json!(["x".repeat(257)])] {
        token(&app, json!({ "Scopes": scopes })).await.fails_with("InvalidParameterException");
    }
    let answer = token(&app, json!({ "Scopes": "openid" })).await;
    assert_eq!(answer.code(), Some("SerializationException"));
}

#[tokio::test]
async fn it_lives_as_long_as_the_client_s_access_tokens() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let members = json!({
        "ExplicitAuthFlows": ["ALLOW_CLIENT_TOKEN_AUTH"],
        "AccessTokenValidity": 5, "TokenValidityUnits": { "AccessToken": "minutes" },
    });
    let app = pool.client().with(members).secret().create().await;
    let answer = token(&app, json!({})).await.ok();
    assert_eq!(answer["ClientAuthenticationResult"]["ExpiresIn"], 300);
    let token = token_of(&app).await;
    lido.clock().advance(290).await;
    refused(&lido.call("GetUser", json!({ "AccessToken": token })).await, ACCESS_TOKEN_SCOPES);
    lido.clock().advance(12).await;
    refused(&lido.call("GetUser", json!({ "AccessToken": token })).await, ACCESS_TOKEN_EXPIRED);
}

#[tokio::test]
async fn a_function_that_knows_such_tokens_shapes_them() {
    let functions = Functions::start().await;
    let lido = Lido::setup().config(functions.config(&["tokens"])).start().await;
    let config = |version: &str| {
        let arn = Functions::arn("tokens");
        json!({ "LambdaConfig": { "PreTokenGenerationConfig": { "LambdaArn": arn, "LambdaVersion": version } } })
    };
    functions.on("tokens", |event| {
        Reply::Respond(json!({ "claimsAndScopeOverrideDetails": { "accessTokenGeneration": {
            "claimsToAddOrOverride": { "seen": event["request"], "sub": "somebody", "client_id": "else" },
            "scopesToAdd": ["rs/read"],
        } } }))
    });
    let app = machine(&lido.pool().with(config("V3_0")).create().await).await;
    let answer = token(&app, json!({ "ClientMetadata": { "from": "a job" } })).await.ok();
    let said = claims(answer["ClientAuthenticationResult"]["AccessToken"].as_str().unwrap());
    assert_eq!(said["scope"], "rs/read");
    assert_eq!((said["sub"].as_str(), said["client_id"].as_str()), (Some(&*app.id), Some(&*app.id)));
    assert_eq!(said["seen"]["clientMetadata"], json!({ "from": "a job" }));
    assert_eq!(said["seen"]["scopes"], json!([]));
    let event = functions.invocations().pop().unwrap().event;
    assert_eq!(event["triggerSource"], "TokenGeneration_ClientCredentials");
    assert_eq!(event["version"], "3");
    assert_eq!(event["callerContext"]["clientId"], *app.id);

    functions.on("tokens", |_| Reply::Respond(json!("nonsense")));
    token(&app, json!({})).await.is_invalid("Unrecognizable lambda output");

    // Earlier versions know nothing of them.
    functions.invocations();
    let app = machine(&lido.pool().with(config("V2_0")).create().await).await;
    token(&app, json!({})).await.ok();
    assert_eq!(functions.invocations().len(), 0);
}
