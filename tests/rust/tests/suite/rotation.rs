//! GetTokensFromRefreshToken, and refresh tokens that are exchanged for others.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use lido_tests::{Answer, App, Functions, Lido, Pool, Reply, Setup, Tokens, claims, on_postgres, program};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

const REUSED: Refusal = ("RefreshTokenReuseException", "Refresh token has been invalidated");
const MINUTE: i64 = 60;

/// A client that rotates refresh tokens.
async fn rotating(pool: &Pool, grace: i64) -> App {
    rotating_with(pool, grace, json!({})).await
}

async fn rotating_with(pool: &Pool, grace: i64, members: Value) -> App {
    let client = pool.client().with(json!({
        "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_ADMIN_USER_PASSWORD_AUTH"],
        "RefreshTokenRotation": { "Feature": "ENABLED", "RetryGracePeriodSeconds": grace },
    }));
    client.with(members).create().await
}

async fn app(grace: i64) -> App {
    rotating(&Lido::shared().await.pool().create().await, grace).await
}

/// GetTokensFromRefreshToken, with the client's secret if it has one.
async fn exchange(app: &App, token: &str) -> Answer {
    let mut body = json!({ "ClientId": app.id, "RefreshToken": token });
    if let Some(secret) = &app.secret {
        body["ClientSecret"] = secret.as_str().into();
    }
    app.lido.call("GetTokensFromRefreshToken", body).await
}

/// The three tokens of an exchange that succeeds.
async fn exchanged(app: &App, token: &str) -> Tokens {
    Tokens::of(&app.lido, &exchange(app, token).await)
}

async fn is_revoked(app: &App, tokens: &Tokens) {
    refused(&exchange(app, &tokens.refresh).await, REFRESH_TOKEN_REVOKED);
    refused(&tokens.get_user().await, ACCESS_TOKEN_REVOKED);
}

#[tokio::test]
async fn each_refresh_gives_another_refresh_token() {
    let app = app(0).await;
    let (_, first) = app.user("ana").verified_email("ana@example.com").signed_in().await;
    let mut before = first.clone();
    let mut seen = BTreeSet::from([first.refresh.clone()]);
    for _ in 0..4 {
        let answer = exchange(&app, &before.refresh).await;
        let result = answer.ok()["AuthenticationResult"].clone();
        let names: Vec<&String> = result.as_object().unwrap().keys().collect();
        assert_eq!(names, ["AccessToken", "ExpiresIn", "IdToken", "RefreshToken", "TokenType"]);
        assert_eq!((&result["ExpiresIn"], &result["TokenType"]), (&json!(3600), &json!("Bearer")));
        assert_eq!(answer.body.as_object().unwrap().len(), 1);
        let next = Tokens::of(&app.lido, &answer);
        assert!(seen.insert(next.refresh.clone()));
        assert!(next.refresh.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte)));
        for (old, new) in [(&first.access, &next.access), (&first.id, &next.id)] {
            let (old, new) = (claims(old), claims(new));
            for kept in ["origin_jti", "auth_time", "sub", "scope", "cognito:username", "email"] {
                assert_eq!(old[kept], new[kept], "{kept}");
            }
            assert_ne!(old["jti"], new["jti"]);
        }
        refused(&exchange(&app, &before.refresh).await, REUSED);
        next.get_user().await.ok();
        before = next;
    }
    first.get_user().await.ok();
}

#[tokio::test]
async fn without_rotation_the_refresh_token_stays() {
    let pool = Lido::shared().await.pool().create().await;
    for members in [
        json!({}),
        json!({ "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"] }),
        json!({ "RefreshTokenRotation": { "Feature": "DISABLED", "RetryGracePeriodSeconds": 30 } }),
    ] {
        let app = pool.client().with(members).create().await;
        let (_, tokens) = app.user(&app.id).signed_in().await;
        for _ in 0..2 {
            let result = exchange(&app, &tokens.refresh).await.ok()["AuthenticationResult"].clone();
            assert_eq!(result.get("RefreshToken"), None);
            let renewed = Tokens { access: result["AccessToken"].as_str().unwrap().into(), ..tokens.clone() };
            renewed.get_user().await.ok();
            assert_eq!(claims(&renewed.access)["origin_jti"], claims(&tokens.access)["origin_jti"]);
        }
    }
}

#[tokio::test]
async fn rotation_and_its_flow_exclude_each_other() {
    let pool = Lido::shared().await.pool().create().await;
    let text = "RefreshTokenRotation cannot be enabled together with ALLOW_REFRESH_TOKEN_AUTH.";
    let body = json!({
        "ClientName": "c", "RefreshTokenRotation": { "Feature": "ENABLED" },
        "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    });
    pool.call("CreateUserPoolClient", body.clone()).await.is_invalid(text);
    let app = rotating(&pool, 0).await;
    let update = lido_tests::merged(body, json!({ "ClientId": app.id }));
    pool.call("UpdateUserPoolClient", update).await.is_invalid(text);
    for seconds in [-1, 61] {
        let rotation = json!({ "Feature": "ENABLED", "RetryGracePeriodSeconds": seconds });
        let body = json!({ "ClientName": "c", "RefreshTokenRotation": rotation });
        pool.call("CreateUserPoolClient", body).await.fails_with("InvalidParameterException");
    }

    let (_, tokens) = app.user("ana").signed_in().await;
    let refusal = "REFRESH_TOKEN_AUTH flow not enabled for this client";
    app.refresh(&tokens.refresh).await.is_invalid(refusal);
    let parameters = json!({ "REFRESH_TOKEN": tokens.refresh });
    app.admin_initiate("REFRESH_TOKEN_AUTH", parameters).await.is_invalid(refusal);
    exchange(&app, &tokens.refresh).await.ok();
    // Flows that are not named mean the default ones, but for this one.
    let default = pool.client().with(json!({
        "ExplicitAuthFlows": null, "RefreshTokenRotation": { "Feature": "ENABLED" },
    }));
    default.create().await.refresh("any").await.is_invalid(refusal);
}

#[tokio::test]
async fn a_rotated_token_expires_when_the_first_would_have() {
    let lido = Lido::start().await;
    let validity = json!({ "RefreshTokenValidity": 60, "TokenValidityUnits": { "RefreshToken": "minutes" } });
    let app = rotating_with(&lido.pool().create().await, 0, validity).await;
    let (_, first) = app.user("ana").signed_in().await;
    lido.clock().advance(40 * MINUTE).await;
    let second = exchanged(&app, &first.refresh).await;
    lido.clock().advance(19 * MINUTE).await;
    let third = exchanged(&app, &second.refresh).await;
    lido.clock().advance(MINUTE).await;
    refused(&exchange(&app, &third.refresh).await, REFRESH_TOKEN_EXPIRED);
    refused(&exchange(&app, &first.refresh).await, REFRESH_TOKEN_EXPIRED);
    third.get_user().await.ok();
}

#[tokio::test]
async fn a_token_can_be_exchanged_again_within_the_grace_period() {
    let lido = Lido::start().await;
    let app = rotating(&lido.pool().create().await, 30).await;
    let (_, first) = app.user("ana").signed_in().await;
    let one = exchanged(&app, &first.refresh).await;
    lido.clock().advance(20).await;
    let two = exchanged(&app, &first.refresh).await;
    assert_ne!(one.refresh, two.refresh);
    // From the first exchange on, not from the latest.
    lido.clock().advance(15).await;
    refused(&exchange(&app, &first.refresh).await, REUSED);
    // Both go on, and have the grace period themselves.
    for tokens in [&one, &two] {
        let next = exchanged(&app, &tokens.refresh).await;
        exchanged(&app, &tokens.refresh).await;
        exchanged(&app, &next.refresh).await.get_user().await.ok();
    }
}

#[tokio::test]
async fn a_token_that_is_used_again_late_revokes_its_family() {
    let lido = Lido::start().await;
    let app = rotating(&lido.pool().create().await, 0).await;
    // A first token, a later one, and one that the server has forgotten by then.
    for (generation, wait, forgotten) in [(0, 61, false), (2, 61, false), (2, 15 * MINUTE, true)] {
        let user = app.user(&format!("ana{generation}{wait}")).create().await;
        let (mut chain, other) = (vec![user.tokens().await], user.tokens().await);
        for _ in 0..=generation + 1 {
            chain.push(exchanged(&app, &chain.last().unwrap().refresh).await);
        }
        // At once it is taken for a repetition, which harms nobody.
        refused(&exchange(&app, &chain[generation].refresh).await, REUSED);
        lido.clock().advance(wait).await;
        let latest = exchanged(&app, &chain.last().unwrap().refresh).await;
        if forgotten {
            lido.clock().advance(MINUTE).await;
        }
        latest.get_user().await.ok();
        refused(&exchange(&app, &chain[generation].refresh).await, REUSED);
        is_revoked(&app, &latest).await;
        for tokens in &chain {
            is_revoked(&app, tokens).await;
        }
        exchanged(&app, &other.refresh).await.get_user().await.ok();
        user.tokens().await.get_user().await.ok();
    }
}

/// The one that was answered. Each other was refused as used before, or never came so far: more at once than can be
/// signed for are shed.
#[track_caller]
fn one_of(answers: &[Answer]) -> &Answer {
    for answer in answers.iter().filter(|answer| !answer.is_ok()) {
        match answer.code() {
            Some("TooManyRequestsException") => answer.fails("TooManyRequestsException", "Rate exceeded"),
            _ => refused(answer, REUSED),
        }
    }
    let won: Vec<&Answer> = answers.iter().filter(|answer| answer.is_ok()).collect();
    assert_eq!(won.len(), 1);
    won[0]
}

#[tokio::test]
async fn a_token_is_exchanged_once_whoever_asks_at_the_same_time() {
    let app = app(0).await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let answers = join_all((0..200).map(|_| exchange(&app, &tokens.refresh))).await;
    let second = Tokens::of(&app.lido, one_of(&answers));
    let answers = join_all((0..200).map(|_| exchange(&app, &second.refresh))).await;
    let third = Tokens::of(&app.lido, one_of(&answers));
    third.get_user().await.ok();
    assert!(!app.lido.log().contains("ERROR"), "{}", app.lido.log());
}

#[tokio::test]
async fn repetitions_at_the_same_time_are_all_answered_within_the_grace_period() {
    let app = app(60).await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let answers = join_all((0..24).map(|_| exchange(&app, &tokens.refresh))).await;
    let next: BTreeSet<String> = answers.iter().map(|answer| Tokens::of(&app.lido, answer).refresh).collect();
    assert_eq!(next.len(), 24);
    for answer in join_all(next.iter().map(|token| exchange(&app, token))).await {
        answer.ok();
    }
}

#[tokio::test]
async fn nodes_agree_on_what_was_exchanged() {
    if !on_postgres() {
        return;
    }
    let first = Lido::start().await;
    let nodes = [first.clone(), Setup::node_of(&first).start().await, Setup::node_of(&first).start().await];
    let app = rotating(&first.pool().create().await, 0).await;
    let apps: Vec<App> = nodes.iter().map(|node| app.at(node)).collect();
    let (_, mut tokens) = app.user("ana").signed_in().await;
    for _ in 0..3 {
        let everywhere = apps.iter().cycle().take(120);
        let answers = join_all(everywhere.map(|app| exchange(app, &tokens.refresh))).await;
        tokens = Tokens::of(&first, one_of(&answers));
        for node in &nodes {
            tokens.at(node).get_user().await.ok();
        }
    }
    apps[1].revoke(&tokens.refresh).await.ok_empty();
    for app in &apps {
        refused(&exchange(app, &tokens.refresh).await, REFRESH_TOKEN_REVOKED);
    }
    for node in &nodes {
        assert!(!node.log().contains("ERROR"), "{}", node.log());
    }
}

#[tokio::test]
async fn rotation_outlives_a_restart() {
    let data = TempDir::new().unwrap();
    let lido = Lido::setup().data(data.path()).start().await;
    let app = rotating(&lido.pool().create().await, 0).await;
    let (_, first) = app.user("ana").signed_in().await;
    let second = exchanged(&app, &first.refresh).await;
    lido.kill();
    let lido = Lido::setup().data(data.path()).start().await;
    let app = app.at(&lido);
    refused(&exchange(&app, &first.refresh).await, REUSED);
    exchanged(&app, &second.refresh).await;
    refused(&exchange(&app, &second.refresh).await, REUSED);
}

/// Runs a command of the binary that must succeed.
fn run(command: &str, arguments: &[&str], flags: &[String]) {
    let output = program().arg(command).args(arguments).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn families_and_second_secrets_move_with_an_export() {
    let [from, to, home] = [0; 3].map(|_| TempDir::new().unwrap());
    let setup = || Lido::setup().flag("--public-url", "http://localhost:5436");
    let lido = setup().data(from.path()).start().await;
    let app = rotating_with(&lido.pool().create().await, 0, json!({ "GenerateSecret": true })).await;
    let other = "another_secret_of_the_client";
    let added = json!({ "ClientId": app.id, "ClientSecret": other });
    app.pool.call("AddUserPoolClientSecret", added).await.ok();
    let listed = app.pool.call("ListUserPoolClientSecrets", json!({ "ClientId": app.id })).await.ok();
    let (_, first) = app.user("ana").signed_in().await;
    let second = exchanged(&app, &first.refresh).await;
    let third = exchanged(&app, &second.refresh).await;

    let file = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let arguments = [&*file("export"), "--key-file", &file("key")];
    run("export", &arguments, &lido.storage_flags());
    let data = to.path().to_str().unwrap().to_owned();
    let key = to.path().join("master.key").to_str().unwrap().to_owned();
    let flags = ["--data".into(), data.clone(), "--master-key-file".into(), key];
    run("import", &arguments, &flags);

    let lido = setup().flag("--data", &data).start().await;
    let app = app.at(&lido);
    assert_eq!(app.pool.call("ListUserPoolClientSecrets", json!({ "ClientId": app.id })).await.ok(), listed);
    for dead in [&first, &second] {
        refused(&exchange(&app, &dead.refresh).await, REUSED);
    }
    let fourth = exchanged(&app, &third.refresh).await;
    exchanged(&App { secret: Some(other.into()), ..app }, &fourth.refresh).await.get_user().await.ok();
}

#[tokio::test]
async fn every_state_of_the_user_has_its_answer() {
    let app = app(0).await;
    let signed_in = async |name: &str| {
        let (user, first) = app.user(name).signed_in().await;
        (user, exchanged(&app, &first.refresh).await)
    };
    let (user, tokens) = signed_in("disabled").await;
    user.admin("AdminDisableUser", json!({})).await.ok_empty();
    refused(&exchange(&app, &tokens.refresh).await, REFRESH_TOKEN_REVOKED);
    user.admin("AdminEnableUser", json!({})).await.ok_empty();
    refused(&exchange(&app, &tokens.refresh).await, REFRESH_TOKEN_REVOKED);

    let (user, tokens) = signed_in("signed-out").await;
    user.admin("AdminUserGlobalSignOut", json!({})).await.ok_empty();
    is_revoked(&app, &tokens).await;
    let (_, tokens) = signed_in("left").await;
    tokens.call("GlobalSignOut", json!({})).await.ok_empty();
    is_revoked(&app, &tokens).await;

    let (user, tokens) = signed_in("deleted").await;
    user.admin("AdminDeleteUser", json!({})).await.ok();
    refused(&exchange(&app, &tokens.refresh).await, INVALID_REFRESH_TOKEN);
    // Not the new one's, either.
    app.user("deleted").create().await;
    refused(&exchange(&app, &tokens.refresh).await, INVALID_REFRESH_TOKEN);

    let (user, tokens) = {
        let (user, first) = app.user("reset").verified_email("r@example.com").signed_in().await;
        (user, exchanged(&app, &first.refresh).await)
    };
    user.admin("AdminResetUserPassword", json!({})).await.ok_empty();
    let answer = exchange(&app, &tokens.refresh).await;
    assert_eq!(answer.code(), Some("NotAuthorizedException"), "{}", answer.text);
}

#[tokio::test]
async fn a_token_is_for_its_client_and_pool() {
    let lido = Lido::shared().await;
    let pool = lido.pool().create().await;
    let app = rotating(&pool, 0).await;
    let sibling = rotating(&pool, 0).await;
    let stranger = rotating(&lido.pool().create().await, 0).await;
    let (_, first) = app.user("ana").signed_in().await;
    stranger.user("ana").create().await;
    let second = exchanged(&app, &first.refresh).await;
    for other in [&sibling, &stranger] {
        for tokens in [&first, &second] {
            refused(&exchange(other, &tokens.refresh).await, INVALID_REFRESH_TOKEN);
            other.revoke(&tokens.refresh).await.ok_empty();
        }
    }
    let third = exchanged(&app, &second.refresh).await;
    pool.call("DeleteUserPoolClient", json!({ "ClientId": app.id })).await.ok();
    let missing = format!("User pool client {} does not exist.", app.id);
    exchange(&app, &third.refresh).await.fails("ResourceNotFoundException", &missing);
    refused(&exchange(&sibling, &third.refresh).await, INVALID_REFRESH_TOKEN);
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused() {
    let app = app(0).await;
    let (user, first) = app.user("ana").signed_in().await;
    let other = user.tokens().await;
    let (second, other) = (exchanged(&app, &first.refresh).await, exchanged(&app, &other.refresh).await);
    let (family, rest) = second.refresh.split_once('.').unwrap();
    let other_family = other.refresh.split_once('.').unwrap().0;
    let mut wrong = vec![
        "unknown".to_owned(),
        second.access.clone(),
        second.id.clone(),
        format!("{other_family}.{rest}"),
        format!("{family}."),
        format!("{family}.{rest}{rest}"),
        format!("{family}.{rest}="),
        format!(".{rest}"),
        rest.to_owned(),
        family.to_owned(),
        "A".repeat(4000),
        first.refresh.to_lowercase(),
    ];
    wrong.extend([0, 10, 37, 50, 80, 99].map(|index| altered(&second.refresh, index)));
    for token in wrong {
        refused(&exchange(&app, &token).await, INVALID_REFRESH_TOKEN);
    }
    let call = async |body: Value| app.lido.call("GetTokensFromRefreshToken", body).await;
    for token in [json!(""), json!("with blank"), json!(null)] {
        let answer = call(json!({ "ClientId": app.id, "RefreshToken": token })).await;
        let message = answer.fails_with("InvalidParameterException");
        assert!(message.contains("Value at 'refreshToken'"), "{message}");
    }
    let answer = call(json!({ "ClientId": app.id, "RefreshToken": 1 })).await;
    assert_eq!(answer.code(), Some("SerializationException"));
    call(json!({ "RefreshToken": second.refresh })).await.fails_with("InvalidParameterException");
    let unknown = json!({ "ClientId": "unknown", "RefreshToken": second.refresh });
    call(unknown).await.fails("ResourceNotFoundException", "User pool client unknown does not exist.");
    // None of this has harmed it.
    exchanged(&app, &second.refresh).await;
}

#[tokio::test]
async fn the_client_shows_its_secret() {
    let pool = Lido::shared().await.pool().create().await;
    let app = rotating_with(&pool, 0, json!({ "GenerateSecret": true })).await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let text = format!("Unable to verify secret for client {}", app.id);
    let call = async |secret: Option<&str>| {
        let secret = secret.map(str::to_owned);
        exchange(&App { secret, ..app.clone() }, &tokens.refresh).await
    };
    call(None).await.is_not_authorized(&text);
    call(Some(&"x".repeat(52))).await.is_not_authorized(&text);
    call(Some("short")).await.fails_with("InvalidParameterException");
    call(app.secret.as_deref()).await.ok();
    let public = rotating(&pool, 0).await;
    let surplus = App { secret: Some("x".repeat(24)), ..public.clone() };
    let text = format!("Unable to verify secret for client {}", public.id);
    exchange(&surplus, "any").await.is_not_authorized(&text);
}

#[tokio::test]
async fn any_token_of_a_family_revokes_it() {
    let app = app(0).await;
    let user = app.user("ana").create().await;
    for which in 0..3 {
        let first = user.tokens().await;
        let second = exchanged(&app, &first.refresh).await;
        let third = exchanged(&app, &second.refresh).await;
        let other = user.tokens().await;
        let token = [&first, &second, &third][which].refresh.as_str();
        for associated in [json!("NONE"), json!("LINKED"), json!(null)] {
            let body = json!({ "ClientId": app.id, "Token": token, "RevokeAssociatedSessions": associated });
            app.lido.call("RevokeToken", body).await.ok_empty();
        }
        for tokens in [&first, &second, &third] {
            is_revoked(&app, tokens).await;
        }
        exchanged(&app, &other.refresh).await.get_user().await.ok();
    }
    let body = json!({ "ClientId": app.id, "Token": "x", "RevokeAssociatedSessions": "SOME" });
    app.lido.call("RevokeToken", body).await.fails_with("InvalidParameterException");
}

#[tokio::test]
async fn rotation_names_sign_ins_without_revocation() {
    let pool = Lido::shared().await.pool().create().await;
    let app = rotating_with(&pool, 0, json!({ "EnableTokenRevocation": false })).await;
    let (_, first) = app.user("ana").signed_in().await;
    let second = exchanged(&app, &first.refresh).await;
    for token in [&first.access, &first.id, &second.access, &second.id] {
        let claims = claims(token);
        assert!(claims["origin_jti"].is_string() && claims["jti"].is_string(), "{claims}");
    }
    app.revoke(&second.refresh).await.fails_with("UnsupportedOperationException");
    second.call("GlobalSignOut", json!({})).await.ok_empty();
    is_revoked(&app, &second).await;
}

#[tokio::test]
async fn a_client_begins_and_ends_to_rotate() {
    let lido = Lido::start().await;
    let pool = lido.pool().create().await;
    let app = pool.app_client().await;
    let update = async |members: Value| {
        pool.call("UpdateUserPoolClient", lido_tests::merged(json!({ "ClientId": app.id }), members))
            .await
            .ok();
    };
    let on = json!({
        "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH"], "RefreshTokenRotation": { "Feature": "ENABLED" },
    });
    let off = json!({ "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"] });
    let (user, first) = app.user("ana").signed_in().await;
    let untouched = user.tokens().await;
    app.refresh(&first.refresh).await.ok();
    update(on.clone()).await;
    let second = exchanged(&app, &first.refresh).await;
    let third = exchanged(&app, &second.refresh).await;

    update(off).await;
    for _ in 0..2 {
        let answer = exchange(&app, &third.refresh).await.ok();
        assert_eq!(answer["AuthenticationResult"].get("RefreshToken"), None);
        app.refresh(&third.refresh).await.ok();
        app.refresh(&untouched.refresh).await.ok();
    }
    for dead in [&first, &second] {
        refused(&app.refresh(&dead.refresh).await, REFRESH_TOKEN_REVOKED);
        refused(&exchange(&app, &dead.refresh).await, REUSED);
    }
    app.refresh(&third.refresh).await.ok();
    lido.clock().advance(61).await;
    refused(&app.refresh(&second.refresh).await, REFRESH_TOKEN_REVOKED);
    refused(&app.refresh(&third.refresh).await, REFRESH_TOKEN_REVOKED);
    update(on).await;
    exchanged(&app, &untouched.refresh).await;
}

#[tokio::test]
async fn the_function_is_told_of_a_refresh() {
    let functions = Functions::start().await;
    let lido = Lido::setup().config(functions.config(&["tokens"])).start().await;
    let lambda = json!({ "PreTokenGeneration": Functions::arn("tokens") });
    let pool = lido.pool().with(json!({ "LambdaConfig": lambda })).create().await;
    let app = rotating(&pool, 0).await;
    functions.on("tokens", |event| {
        let source = event["triggerSource"].clone();
        let add = json!({ "source": source, "from": event["request"]["clientMetadata"]["from"].as_str().unwrap_or("") });
        Reply::Respond(json!({ "claimsOverrideDetails": { "claimsToAddOrOverride": add } }))
    });
    let (_, first) = app.user("ana").signed_in().await;
    let body = json!({
        "ClientId": app.id, "RefreshToken": first.refresh, "ClientMetadata": { "from": "the client" },
    });
    let second = Tokens::of(&lido, &lido.call("GetTokensFromRefreshToken", body).await);
    let id = claims(&second.id);
    assert_eq!((&id["source"], &id["from"]), (&json!("TokenGeneration_RefreshTokens"), &json!("the client")));

    // A function that fails leaves the token as it is.
    functions.on("tokens", |_| Reply::Respond(json!("nonsense")));
    exchange(&app, &second.refresh).await.fails_with("InvalidLambdaResponseException");
    functions.on("tokens", |_| Reply::Respond(json!({})));
    exchanged(&app, &second.refresh).await;
}
