//! Keys are replaced while a server works with them, and nobody notices.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lido_tests::{App, Lido, PASSWORD, Pool, Setup, Tokens, header, on_postgres, program};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// How long servers are given to notice a change: here none is on another machine.
const SETTLE: &str = "5s";

async fn start(data: &Path, master_key: &Path) -> Lido {
    // The issuer must not change with the port.
    Lido::setup()
        .data(data)
        .flag("--public-url", "http://localhost:5436")
        .flag("--master-key-file", text(master_key))
        .start()
        .await
}

fn refused_start(data: &Path, master_key: &Path) -> String {
    let (status, said) = Lido::setup().data(data).flag("--master-key-file", text(master_key)).refused();
    assert!(!status.success());
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn rotate(lido: &Lido, arguments: &[&str]) -> Command {
    let mut command = program();
    command.args(["keys", "rotate"]).args(arguments).args(lido.storage_flags());
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What a command said that must succeed.
async fn done(command: Command) -> String {
    let output = output(command).await;
    let [out, log] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{out}\n{log}");
    out
}

/// Why a command refused.
async fn refusal(command: Command) -> String {
    let output = output(command).await;
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Runs a command and kills it when its log says this.
async fn killed_at(mut command: Command, moment: &'static str) {
    let killed = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let reached = log.lines().map_while(Result::ok).any(|line| line.contains(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        reached
    });
    assert!(killed.await.unwrap(), "the command did not come to: {moment}");
}

/// The same application, on a server that was started anew.
fn moved(app: &App, lido: &Lido) -> App {
    let pool = Pool { lido: lido.clone(), ..app.pool.clone() };
    App { lido: lido.clone(), pool, ..app.clone() }
}

fn refresh_parameters(app: &App, name: &str, tokens: &Tokens) -> Value {
    let hash = lido_crypto::secret_hash::secret_hash(name, &app.id, app.secret.as_deref().unwrap());
    json!({ "REFRESH_TOKEN": tokens.refresh, "SECRET_HASH": hash })
}

/// One user who does everything that needs a key, again and again, now at one node and then at another.
async fn work(apps: &[App], index: usize, stop: &AtomicBool, rounds: &AtomicUsize) {
    let name = format!("user{index}");
    let mut password = PASSWORD.to_owned();
    let tokens = apps[0].tokens(&name, &password).await;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let [app, other] = [round, round + 1].map(|turn| &apps[turn % apps.len()]);
        srp_across(app, other, &name, &password).await;
        app.initiate("REFRESH_TOKEN_AUTH", refresh_parameters(app, &name, &tokens)).await.ok();
        let [tokens_here, tokens_there] =
            [app, other].map(|app| Tokens { lido: app.lido.clone(), ..tokens.clone() });
        tokens_here.request_code("email").await.ok();
        let code = other.inbox().code_for(&format!("{name}@example.com")).await;
        tokens_there.verify("email", &code).await.ok_empty();
        password = format!("{PASSWORD}-{round}");
        let change = json!({ "Password": password, "Permanent": true });
        app.pool.admin("AdminSetUserPassword", &name, change).await.ok_empty();
        other.tokens(&name, &password).await;
        if index == 0 {
            let flows = ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"];
            let name = format!("client {round}");
            let change = json!({ "ClientId": app.id, "ClientName": name, "ExplicitAuthFlows": flows });
            app.pool.call("UpdateUserPoolClient", change).await.ok();
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

/// A sign-in that is begun at one node and ended at another.
async fn srp_across(app: &App, other: &App, name: &str, password: &str) {
    let (exchange, challenge) = app.srp_begin(name).await;
    let challenge = challenge.ok();
    let timestamp = app.timestamp().await;
    let responses = app.srp_responses(&exchange, &challenge["ChallengeParameters"], password, &timestamp);
    let answer = other.respond("PASSWORD_VERIFIER", challenge["Session"].as_str(), responses).await;
    Tokens::of(&other.lido, &answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_key_is_replaced_under_load() {
    const WORKERS: usize = 4;
    let data = TempDir::new().unwrap();
    let (old, new) = (data.path().join("master.key"), data.path().join("master.key.new"));
    let lido = start(data.path(), &old).await;
    let policy = json!({ "Policies": { "PasswordPolicy": {
        "MinimumLength": 8, "PasswordHistorySize": 2, "TemporaryPasswordValidityDays": 7 } } });
    let app = lido.pool().with(policy).verify_email().create().await.client().secret().create().await;
    let (_, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    app.user("ben").email("ben@example.com").create().await;
    for index in 0..WORKERS {
        app.user(&format!("user{index}")).email(&format!("user{index}@example.com")).create().await;
    }
    tokens.request_code("email").await.ok();
    let code = app.inbox().code_for("ana@example.com").await;
    let (exchange, challenge) = app.srp_begin("ben").await;

    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut apps = vec![app.clone()];
    if on_postgres() {
        apps.push(moved(&app, &Setup::node_of(&lido).start().await));
    }
    let load = futures_util::future::join_all((0..WORKERS).map(|index| work(&apps, index, &stop, &rounds)));
    let rotation = async {
        let said = done(rotate(&lido, &["master", "--settle", SETTLE])).await;
        let during = rounds.swap(0, Ordering::Relaxed);
        // And a while with the new key alone.
        while rounds.load(Ordering::Relaxed) < WORKERS {
            tokio::task::yield_now().await;
        }
        stop.store(true, Ordering::Relaxed);
        (said, during)
    };
    let (_, (said, during)) = tokio::join!(load, rotation);
    assert!(said.starts_with("Sealed ") && said.contains("--finish"), "{said}");
    assert!(during > WORKERS, "{during} rounds");

    // What was begun before goes on.
    let challenge = challenge.ok();
    let parameters = &challenge["ChallengeParameters"];
    let responses = app.srp_responses(&exchange, parameters, PASSWORD, &app.timestamp().await);
    Tokens::of(&lido, &app.respond("PASSWORD_VERIFIER", challenge["Session"].as_str(), responses).await);
    tokens.verify("email", &code).await.ok_empty();
    app.initiate("REFRESH_TOKEN_AUTH", refresh_parameters(&app, "ana", &tokens)).await.ok();
    refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);

    // It is too early to finish, and a second run finds nothing to do.
    let said = refusal(rotate(&lido, &["master", "--finish"])).await;
    assert!(said.contains("is the old master key"), "{said}");
    let said = done(rotate(&lido, &["master", "--settle", SETTLE])).await;
    assert!(said.starts_with("Both master keys"), "{said}");
    for app in apps {
        assert!(app.lido.terminate().success());
    }

    // With the new file; the old one is not even there.
    let away = data.path().join("old.key");
    std::fs::rename(&old, &away).unwrap();
    let lido = start(data.path(), &new).await;
    let app = moved(&app, &lido);
    let tokens = Tokens { lido: lido.clone(), ..tokens };
    tokens.get_user().await.ok();
    app.initiate("REFRESH_TOKEN_AUTH", refresh_parameters(&app, "ana", &tokens)).await.ok();
    app.tokens("ana", PASSWORD).await;
    Tokens::of(&lido, &app.srp_sign_in("ben", PASSWORD).await);
    let described = app.pool.call("DescribeUserPoolClient", json!({ "ClientId": app.id })).await.ok();
    assert_eq!(described["UserPoolClient"]["ClientSecret"].as_str(), app.secret.as_deref());
    assert_eq!(app.inbox().code_for("ana@example.com").await, code);
    done(rotate(&lido, &["master", "--finish"])).await;
    let said = refusal(rotate(&lido, &["master", "--finish"])).await;
    assert!(said.contains("nothing to finish"), "{said}");
    app.tokens("ana", PASSWORD).await;
    assert!(lido.terminate().success());

    let said = refused_start(data.path(), &away);
    assert!(said.contains("master_key_file: ") && said.contains("is not the one"), "{said}");
    let lido = start(data.path(), &new).await;
    moved(&app, &lido).tokens("ana", PASSWORD).await;
}

#[tokio::test]
async fn a_rotation_that_was_killed_goes_on() {
    let data = TempDir::new().unwrap();
    let (old, new) = (data.path().join("master.key"), data.path().join("next.key"));
    let lido = start(data.path(), &old).await;
    let app = lido.pool().create().await.client().secret().create().await;
    let (_, tokens) = app.user("ana").signed_in().await;
    let arguments = ["master", "--settle", SETTLE, "--new-master-key-file", text(&new)];
    killed_at(rotate(&lido, &arguments), "until every server knows").await;

    // From the first step on either key opens everything.
    app.tokens("ana", PASSWORD).await;
    let lido = {
        assert!(lido.terminate().success());
        start(data.path(), &new).await
    };
    let app = moved(&app, &lido);
    app.tokens("ana", PASSWORD).await;
    assert!(lido.terminate().success());
    let lido = start(data.path(), &old).await;
    let app = moved(&app, &lido);
    app.tokens("ana", PASSWORD).await;

    // Another rotation cannot begin meanwhile, nor this one be ended.
    let said = refusal(rotate(&lido, &["master", "--settle", SETTLE])).await;
    assert!(said.contains("a rotation is under way"), "{said}");
    let said = refusal(rotate(&lido, &["master", "--finish"])).await;
    assert!(said.contains("is the old master key"), "{said}");

    killed_at(rotate(&lido, &arguments), "until every server seals").await;
    app.tokens("ana", PASSWORD).await;
    let said = done(rotate(&lido, &arguments)).await;
    assert!(said.starts_with("Sealed "), "{said}");
    app.tokens("ana", PASSWORD).await;
    app.initiate("REFRESH_TOKEN_AUTH", refresh_parameters(&app, "ana", &tokens)).await.ok();
}

#[tokio::test]
async fn a_rotation_can_be_given_up() {
    let data = TempDir::new().unwrap();
    let (old, lost) = (data.path().join("master.key"), data.path().join("master.key.new"));
    let lido = start(data.path(), &old).await;
    let app = lido.pool().create().await.client().secret().create().await;
    app.user("ana").create().await;
    let said = refusal(rotate(&lido, &["master", "--abandon"])).await;
    assert!(said.contains("nothing to give up"), "{said}");
    killed_at(rotate(&lido, &["master", "--settle", SETTLE]), "until every server knows").await;
    done(rotate(&lido, &["master", "--abandon"])).await;
    app.tokens("ana", PASSWORD).await;

    // A file that exists is used, as long as it is another key.
    let said = refusal(rotate(&lido, &["master", "--new-master-key-file", text(&old)])).await;
    assert!(said.contains("is the master key already"), "{said}");
    let said = done(rotate(&lido, &["master", "--settle", SETTLE])).await;
    assert!(said.starts_with("Sealed "), "{said}");
    assert!(lido.terminate().success());
    let lido = start(data.path(), &lost).await;
    let app = moved(&app, &lido);
    app.tokens("ana", PASSWORD).await;
    done(rotate(&lido, &["master", "--finish"])).await;
    assert!(lido.terminate().success());
    assert!(refused_start(data.path(), &old).contains("is not the one"));
}

#[tokio::test]
async fn a_command_in_the_wrong_place_is_refused() {
    let data = TempDir::new().unwrap();
    let key = data.path().join("master.key");
    let lido = start(data.path(), &key).await;
    let content = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let said = refusal(rotate(&lido, &["master"])).await;
    assert!(said.contains("master_key_file: ") && said.contains("does not exist"), "{said}");
    assert!(!key.exists());
    let write = |text: &str| {
        std::fs::write(&key, text).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    let said = refusal(rotate(&lido, &["master"])).await;
    assert!(said.contains("is not the one"), "{said}");
    write(&content);
    let said = refusal(rotate(&lido, &["pool", "us-east-1_nothing"])).await;
    assert!(said.contains("us-east-1_nothing does not exist"), "{said}");
}

/// Ids of the keys in the pool's key set, in order.
async fn listed(app: &App) -> Vec<String> {
    let keys = app.lido.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await;
    let kids = keys["keys"].as_array().unwrap().iter();
    kids.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Which keys signed the ID token and the access token.
fn signed_by(tokens: &Tokens) -> [String; 2] {
    [&tokens.id, &tokens.access].map(|token| header(token)["kid"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_pool_gets_new_signing_keys_and_believes_the_old_ones_for_a_while() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path(), &data.path().join("master.key")).await;
    let app = lido
        .pool()
        .create()
        .await
        .client()
        .with(json!({ "AccessTokenValidity": 24, "IdTokenValidity": 24 }))
        .create()
        .await;
    let (_, first) = app.user("ana").signed_in().await;
    let before = listed(&app).await;
    assert_eq!(before, signed_by(&first));

    done(rotate(&lido, &["pool", &app.pool.id])).await;
    let second = app.tokens("ana", PASSWORD).await;
    let [id, access] = signed_by(&second);
    assert!(!before.contains(&id) && !before.contains(&access));
    let all = listed(&app).await;
    assert_eq!(all[..2], [id.clone(), access.clone()]);
    assert_eq!(all.len(), 4);
    assert!(before.iter().all(|kid| all.contains(kid)));
    first.get_user().await.ok();
    second.get_user().await.ok();
    // An ID token is none for this, whichever key signed it.
    let id_token = Tokens { access: first.id.clone(), ..first.clone() };
    refused(&id_token.get_user().await, INVALID_ACCESS_TOKEN);

    done(rotate(&lido, &["pool", &app.pool.id, "--use", "access"])).await;
    let third = app.tokens("ana", PASSWORD).await;
    let [same_id, other_access] = signed_by(&third);
    assert_eq!(same_id, id);
    assert_ne!(other_access, access);
    assert_eq!(listed(&app).await.len(), 5);
    for tokens in [&first, &second, &third] {
        tokens.get_user().await.ok();
    }

    // A token of the last moment lives for 24 hours.
    lido.clock().advance(DAY - 60).await;
    first.get_user().await.ok();
    lido.clock().advance(60).await;
    assert_eq!(listed(&app).await.len(), 5);
    lido.clock().advance(HOUR).await;
    assert_eq!(listed(&app).await, [id, other_access]);
    app.tokens("ana", PASSWORD).await.get_user().await.ok();
}

#[tokio::test]
async fn new_signing_keys_can_be_listed_before_they_sign() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path(), &data.path().join("master.key")).await;
    let app = lido.pool().app_client().await;
    let (_, first) = app.user("ana").signed_in().await;
    let announced = tokio::spawn(done(rotate(&lido, &["pool", &app.pool.id, "--announce", "2s"])));
    while listed(&app).await.len() < 4 {
        tokio::task::yield_now().await;
    }
    let all = listed(&app).await;
    assert_eq!(signed_by(&app.tokens("ana", PASSWORD).await), signed_by(&first));
    announced.await.unwrap();
    let second = signed_by(&app.tokens("ana", PASSWORD).await);
    assert!(second.iter().all(|kid| all[2..].contains(kid)), "{second:?} {all:?}");
    assert_eq!(listed(&app).await.len(), 4);
}

#[tokio::test]
async fn tokens_of_a_leaked_key_are_refused() {
    let data = TempDir::new().unwrap();
    let lido = start(data.path(), &data.path().join("master.key")).await;
    let app = lido.pool().app_client().await;
    let (_, first) = app.user("ana").signed_in().await;
    done(rotate(&lido, &["pool", &app.pool.id])).await;
    let second = app.tokens("ana", PASSWORD).await;
    done(rotate(&lido, &["pool", &app.pool.id, "--leaked"])).await;
    refused(&first.get_user().await, INVALID_ACCESS_TOKEN);
    refused(&second.get_user().await, INVALID_ACCESS_TOKEN);
    assert_eq!(listed(&app).await.len(), 2);
    // Who holds a refresh token goes on.
    let refreshed = app.refresh(&second.refresh).await.ok();
    let access = refreshed["AuthenticationResult"]["AccessToken"].as_str().unwrap().to_owned();
    Tokens { access, ..second }.get_user().await.ok();
}
