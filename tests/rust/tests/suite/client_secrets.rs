//! AddUserPoolClientSecret, ListUserPoolClientSecrets, DeleteUserPoolClientSecret, and what a second secret is good for.

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, PASSWORD, Setup, on_postgres};
use serde_json::{Value, json};
use tempfile::TempDir;

const GIVEN: &str = "given_secret_of_the_operator";
const LAST: &str = "The last secret of an app client cannot be deleted.";

async fn app() -> App {
    Lido::shared().await.pool().create().await.client().secret().create().await
}

/// Calls an operation about the client.
async fn call(app: &App, operation: &str, members: Value) -> Answer {
    app.pool.call(operation, lido_tests::merged(json!({ "ClientId": app.id }), members)).await
}

async fn add(app: &App, members: Value) -> Value {
    call(app, "AddUserPoolClientSecret", members).await.ok()["ClientSecretDescriptor"].clone()
}

async fn list(app: &App) -> Vec<Value> {
    let answer = call(app, "ListUserPoolClientSecrets", json!({})).await.ok();
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    answer["ClientSecrets"].as_array().unwrap().clone()
}

async fn delete(app: &App, id: &Value) -> Answer {
    call(app, "DeleteUserPoolClientSecret", json!({ "ClientSecretId": id })).await
}

/// The client, known by another secret.
fn by(app: &App, secret: &str) -> App {
    App { secret: Some(secret.to_owned()), ..app.clone() }
}

/// Whether a secret passes wherever one is asked for.
async fn works(app: &App) {
    app.sign_up("nobody", "short").await.fails_with("InvalidPasswordException");
    let tokens = app.tokens("ana", PASSWORD).await;
    tokens.get_user().await.ok();
    app.srp_sign_in("ana", PASSWORD).await.ok();
    let sub = tokens.get_user().await.ok()["Username"].clone();
    let hash =
        lido_crypto::secret_hash::secret_hash(sub.as_str().unwrap(), &app.id, app.secret.as_deref().unwrap());
    let parameters = json!({ "REFRESH_TOKEN": tokens.refresh, "SECRET_HASH": hash });
    app.initiate("REFRESH_TOKEN_AUTH", parameters).await.ok();
    let body = json!({ "ClientId": app.id, "RefreshToken": tokens.refresh, "ClientSecret": app.secret });
    app.lido.call("GetTokensFromRefreshToken", body).await.ok();
    app.revoke(&tokens.refresh).await.ok_empty();
}

/// Whether it passes nowhere.
async fn fails(app: &App) {
    let wrong = format!("Unable to verify secret hash for client {}", app.id);
    app.sign_up("nobody", PASSWORD).await.is_not_authorized(&wrong);
    app.sign_in("ana", PASSWORD).await.is_not_authorized(&wrong);
    app.forgot("ana").await.is_not_authorized(&wrong);
    app.revoke("any").await.fails_with("UnauthorizedException");
    let body = json!({ "ClientId": app.id, "RefreshToken": "any", "ClientSecret": app.secret });
    let wrong = format!("Unable to verify secret for client {}", app.id);
    app.lido.call("GetTokensFromRefreshToken", body).await.is_not_authorized(&wrong);
}

#[tokio::test]
async fn either_of_two_secrets_is_right() {
    let app = app().await;
    app.user("ana").create().await;
    let [first] = &list(&app).await[..] else { panic!("a client begins with one secret") };
    let added = add(&app, json!({})).await;
    let value = added["ClientSecretValue"].as_str().unwrap();
    assert!(
        value.len() == 52 && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    );
    let secrets = list(&app).await;
    assert_eq!(secrets.len(), 2);
    assert_eq!(secrets[0], *first);
    for secret in &secrets {
        let names: Vec<&String> = secret.as_object().unwrap().keys().collect();
        assert_eq!(names, ["ClientSecretCreateDate", "ClientSecretId"]);
        let id = secret["ClientSecretId"].as_str().unwrap();
        let (client, made) = id.split_once("--").unwrap();
        assert_eq!(client, app.id);
        let made: f64 = made.parse().unwrap();
        assert!((made / 1000. - secret["ClientSecretCreateDate"].as_f64().unwrap()).abs() < 0.01);
    }
    assert_eq!(secrets[1]["ClientSecretId"], added["ClientSecretId"]);
    let second = by(&app, value);
    works(&app).await;
    works(&second).await;
    fails(&by(&app, GIVEN)).await;

    // The settings change, the secrets stay, and the older one is shown.
    let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
    let update = call(&app, "UpdateUserPoolClient", json!({ "ExplicitAuthFlows": flows })).await.ok();
    assert_eq!(update["UserPoolClient"]["ClientSecret"].as_str(), app.secret.as_deref());
    works(&app).await;
    works(&second).await;

    delete(&app, &first["ClientSecretId"]).await.ok_empty();
    fails(&app).await;
    works(&second).await;
    let described = call(&app, "DescribeUserPoolClient", json!({})).await.ok();
    assert_eq!(described["UserPoolClient"]["ClientSecret"], value);
    assert_eq!(list(&app).await, secrets[1..]);
    delete(&app, &added["ClientSecretId"]).await.is_invalid(LAST);
    works(&second).await;
}

#[tokio::test]
async fn the_newer_secret_can_be_taken_back() {
    let app = app().await;
    app.user("ana").create().await;
    let before = list(&app).await;
    let added = add(&app, json!({ "ClientSecret": GIVEN })).await;
    assert_eq!(added.get("ClientSecretValue"), None, "what the caller knows is not repeated");
    works(&by(&app, GIVEN)).await;
    delete(&app, &added["ClientSecretId"]).await.ok_empty();
    fails(&by(&app, GIVEN)).await;
    works(&app).await;
    assert_eq!(list(&app).await, before);
    let again = add(&app, json!({ "ClientSecret": GIVEN })).await;
    assert_ne!(again["ClientSecretId"], before[0]["ClientSecretId"]);
    works(&by(&app, GIVEN)).await;
}

#[tokio::test]
async fn there_are_never_more_than_two_and_never_none() {
    let app = app().await;
    let limit = "Client secrets cannot exceed limit of 2 secrets.";
    let answers = join_all((0..20).map(|_| call(&app, "AddUserPoolClientSecret", json!({})))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        answer.fails("LimitExceededException", limit);
    }
    call(&app, "AddUserPoolClientSecret", json!({ "ClientSecret": GIVEN }))
        .await
        .fails("LimitExceededException", limit);
    let secrets = list(&app).await;
    let ids = secrets.iter().cycle().take(20).map(|secret| delete(&app, &secret["ClientSecretId"]));
    let answers = join_all(ids).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        if answer.code() == Some("ResourceNotFoundException") {
            answer.fails_with("ResourceNotFoundException");
        } else {
            answer.is_invalid(LAST);
        }
    }
    assert_eq!(list(&app).await.len(), 1);
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let app = app().await;
    let public = app.pool.app_client().await;
    let without = "Secrets cannot be added to an app client that was created without one.";
    for members in [json!({}), json!({ "ClientSecret": GIVEN })] {
        call(&public, "AddUserPoolClientSecret", members).await.is_invalid(without);
    }
    assert_eq!(list(&public).await, [] as [Value; 0]);
    let first = list(&app).await[0]["ClientSecretId"].clone();
    let unknown = |id: &str| format!("Client secret {id} does not exist.");
    for (client, id) in [(&public, first.as_str().unwrap()), (&app, "x"), (&app, app.id.as_str())] {
        delete(client, &json!(id)).await.fails("ResourceNotFoundException", &unknown(id));
    }
    delete(&app, &first).await.is_invalid(LAST);
    for secret in ["short", "with a blank and long enough", &"x".repeat(65), ""] {
        call(&app, "AddUserPoolClientSecret", json!({ "ClientSecret": secret }))
            .await
            .fails_with("InvalidParameterException");
    }
    for id in [json!(""), json!("x".repeat(129)), json!(null)] {
        delete(&app, &id).await.fails_with("InvalidParameterException");
    }
    call(&app, "ListUserPoolClientSecrets", json!({ "NextToken": "x" }))
        .await
        .is_invalid("Invalid pagination token.");

    let other = app.lido.pool().create().await;
    for operation in ["AddUserPoolClientSecret", "ListUserPoolClientSecrets", "DeleteUserPoolClientSecret"] {
        let members = |client: &str| json!({ "ClientId": client, "ClientSecretId": first });
        let missing = |client: &str| format!("User pool client {client} does not exist.");
        other.call(operation, members(&app.id)).await.fails("ResourceNotFoundException", &missing(&app.id));
        app.pool
            .call(operation, members("unknown"))
            .await
            .fails("ResourceNotFoundException", &missing("unknown"));
        let pool = json!({ "UserPoolId": "us-east-1_None", "ClientId": app.id, "ClientSecretId": first });
        app.lido
            .call(operation, pool)
            .await
            .fails("ResourceNotFoundException", "User pool us-east-1_None does not exist.");
    }
    assert_eq!(list(&app).await.len(), 1);
}

#[tokio::test]
async fn every_node_knows_at_once() {
    if !on_postgres() {
        return;
    }
    let lido = Lido::start().await;
    let node = Setup::node_of(&lido).start().await;
    let app = lido.pool().create().await.client().secret().create().await;
    app.user("ana").create().await;
    let there = app.at(&node);
    works(&there).await;
    let first = list(&app).await[0]["ClientSecretId"].clone();
    add(&app, json!({ "ClientSecret": GIVEN })).await;
    works(&by(&there, GIVEN)).await;
    delete(&app, &first).await.ok_empty();
    fails(&there).await;
    works(&by(&there, GIVEN)).await;
}

#[tokio::test]
async fn both_secrets_outlive_a_restart() {
    let data = TempDir::new().unwrap();
    let lido = Lido::setup().data(data.path()).start().await;
    let app = lido.pool().create().await.client().secret().create().await;
    app.user("ana").create().await;
    add(&app, json!({ "ClientSecret": GIVEN })).await;
    let secrets = list(&app).await;
    lido.kill();
    let lido = Lido::setup().data(data.path()).start().await;
    let app = app.at(&lido);
    works(&app).await;
    works(&by(&app, GIVEN)).await;
    assert_eq!(list(&app).await, secrets);
}
