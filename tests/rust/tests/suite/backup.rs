//! `lido backup` and `lido restore`: a copy taken under load is one moment of the data, and only what belongs
//! together is put into a place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use lido_tests::{App, Lido, PASSWORD, Pool, Tokens, program};
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A server with an embedded database, whatever the suite runs on.
async fn start(data: &Path) -> Lido {
    // The issuer must not change with the port.
    Lido::setup()
        .flag("--data", data.to_str().unwrap())
        .flag("--public-url", "http://localhost:5436")
        .start()
        .await
}

fn moved(app: &App, lido: &Lido) -> App {
    let pool = Pool { lido: lido.clone(), ..app.pool.clone() };
    App { lido: lido.clone(), pool, ..app.clone() }
}

/// Runs a command on a data directory.
fn run(command: &str, data: &Path, arguments: &[&str]) -> Output {
    program().arg(command).args(arguments).arg("--data").arg(data).output().unwrap()
}

/// What a command says that must succeed.
#[track_caller]
fn said(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out
}

/// What a command says that must be refused: one line.
#[track_caller]
fn refusal(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert_eq!(out, "");
    let lines: Vec<&str> = err.lines().filter(|line| line.starts_with("lido: ")).collect();
    assert_eq!(lines.len(), 1, "{err}");
    lines[0].to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names of the files in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_copy_taken_under_load_is_one_moment_and_signs_users_in() {
    const ROUNDS: usize = 3;
    let home = TempDir::new().unwrap();
    let data = home.path().join("data");
    let lido = start(&data).await;
    let app = lido.pool().verify_email().create().await.client().secret().create().await;
    let (_, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    let group = json!({ "GroupName": "crew" });
    app.pool.call("CreateGroup", group.clone()).await.ok();
    app.pool.admin("AdminAddUserToGroup", "ana", group).await.ok();
    let keys = lido.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await;

    for round in 0..ROUNDS {
        let done = AtomicBool::new(false);
        let acknowledged = Mutex::new(Vec::new());
        let writer = async |writer: usize| {
            for number in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("user-{round}-{writer}-{number}");
                // A value in two rows of each user: they must never part.
                let values = json!({ "email": format!("{name}@example.com"), "nickname": name });
                let body =
                    json!({ "MessageAction": "SUPPRESS", "UserAttributes": lido_tests::attributes(values) });
                app.pool.admin("AdminCreateUser", &name, body).await.ok();
                acknowledged.lock().unwrap().push(name);
            }
        };
        let file = home.path().join(format!("copy-{round}.db"));
        let copied = async {
            while acknowledged.lock().unwrap().len() < 40 {
                tokio::task::yield_now().await;
            }
            let before = acknowledged.lock().unwrap().clone();
            let (data, file) = (data.clone(), file.clone());
            let output =
                tokio::task::spawn_blocking(move || run("backup", &data, &[text(&file)])).await.unwrap();
            done.store(true, Ordering::Relaxed);
            (before, said(output))
        };
        let (_, (before, line)) = tokio::join!(join_all((0..8).map(&writer)), copied);
        assert!(
            line.contains("in 1 pools, schema version ") && line.contains("master key is not in it"),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

        let other = home.path().join(format!("other-{round}"));
        fs::create_dir(&other).unwrap();
        fs::copy(data.join("master.key"), other.join("master.key")).unwrap();
        said(run("restore", &other, &[text(&file)]));
        assert_eq!(names(&other), ["lido.db", "lido.lock", "master.key"]);
        let restored = start(&other).await;
        let app = moved(&app, &restored);
        for name in before {
            assert_eq!(app.pool.attributes(&name).await["nickname"], name);
            let filter = json!({ "Filter": format!("email = \"{name}@example.com\"") });
            assert_eq!(app.pool.call("ListUsers", filter).await.ok()["Users"][0]["Username"], name);
        }
        assert_eq!(restored.get(&format!("/{}/.well-known/jwks.json", app.pool.id)).await, keys);
        let again = app.tokens("ana", PASSWORD).await;
        assert_eq!(lido_tests::claims(&again.access)["sub"], lido_tests::claims(&tokens.access)["sub"]);
        assert_eq!(lido_tests::claims(&again.access)["cognito:groups"], json!(["crew"]));
        Tokens::of(&restored, &app.srp_sign_in("ana", PASSWORD).await);
        Tokens { lido: restored.clone(), ..tokens.clone() }.get_user().await.ok();
        let hash = lido_crypto::secret_hash::secret_hash("ana", &app.id, app.secret.as_deref().unwrap());
        let parameters = json!({ "REFRESH_TOKEN": tokens.refresh, "SECRET_HASH": hash });
        app.initiate("REFRESH_TOKEN_AUTH", parameters).await.ok();
    }
}

#[tokio::test]
async fn nothing_is_replaced_that_was_not_meant() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("copy.db"));
    let lido = start(&data).await;
    let app = lido.pool().app_client().await;
    app.user("ana").create().await;
    said(run("backup", &data, &[text(&file)]));
    let first = fs::read(&file).unwrap();
    app.user("ben").create().await;

    let why = refusal(run("backup", &data, &[text(&file)]));
    assert_eq!(why, format!("lido: backup: {} exists already", file.display()));
    assert_eq!(fs::read(&file).unwrap(), first);
    let second = home.path().join("second.db");
    said(run("backup", &data, &[text(&second)]));
    said(run("backup", &data, &["--force", text(&second)]));
    assert_eq!(names(home.path()), ["copy.db", "data", "second.db"]);

    let why = refusal(run("restore", &data, &["--force", text(&file)]));
    assert!(why.contains("in use by another process"), "{why}");
    assert!(lido.terminate().success());
    let why = refusal(run("restore", &data, &[text(&file)]));
    assert!(why.ends_with("lido.db exists already"), "{why}");

    let line = said(run("restore", &data, &["--force", text(&file)]));
    let kept = line.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let lido = start(&data).await;
    let app = moved(&app, &lido);
    app.tokens("ana", PASSWORD).await;
    refused(&app.sign_in("ben", PASSWORD).await, USER_NOT_FOUND);
    drop((app.clone(), lido.terminate()));

    // What was there before is a database like any other.
    said(run("restore", &data, &["--force", &kept]));
    let lido = start(&data).await;
    moved(&app, &lido).tokens("ben", PASSWORD).await;
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused_and_leaves_nothing() {
    let home = TempDir::new().unwrap();
    let (data, file) = (home.path().join("data"), home.path().join("copy.db"));
    let lido = start(&data).await;
    lido.pool().app_client().await.user("ana").create().await;
    said(run("backup", &data, &[text(&file)]));
    drop(lido);
    let stranger = home.path().join("stranger");
    drop(start(&stranger).await);

    let target = home.path().join("target");
    fs::create_dir(&target).unwrap();
    let fails = |arguments: &[&str], why: &str| {
        let refusal = refusal(run("restore", &target, arguments));
        assert!(refusal.contains(why), "{refusal}");
        let left: Vec<_> = names(&target).into_iter().filter(|name| name != "lido.lock").collect();
        assert!(left.iter().all(|name| name == "master.key"), "{left:?}");
    };
    fails(&[text(&file)], "missing");
    let other_key = stranger.join("master.key");
    fails(&[text(&file), "--master-key-file", text(&other_key)], "not the one that this data was made with");
    fs::copy(&other_key, target.join("master.key")).unwrap();
    fails(&[text(&file)], "not the one that this data was made with");
    fs::copy(data.join("master.key"), target.join("master.key")).unwrap();

    let broken = home.path().join("broken.db");
    let whole = fs::read(&file).unwrap();
    for length in [0, 100, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&broken, &whole[..length]).unwrap();
        fails(&[text(&broken)], "is no database of lido");
    }
    fs::write(&broken, "something else entirely").unwrap();
    fails(&[text(&broken)], "is no database of lido");
    fails(&[text(&home.path().join("nothing"))], "there is no such file");

    said(run("restore", &target, &[text(&file)]));
    let why = refusal(run("backup", &home.path().join("nothing"), &[text(&broken), "--force"]));
    assert!(why.contains("there is no such file"), "{why}");
    assert_eq!(fs::read(&broken).unwrap(), b"something else entirely");
}

#[test]
fn a_postgresql_database_is_left_to_its_own_tools() {
    let home = TempDir::new().unwrap();
    for (command, tool) in [("backup", "pg_dump "), ("restore", "pg_restore ")] {
        let database =
            ["file", "--database", "postgres://nobody@127.0.0.1:9/lido", "--master-key-file", "any"];
        let why = refusal(run(command, home.path(), &database));
        assert!(
            why.starts_with("lido: database: ") && why.contains(tool) && why.contains("docs/backup.md"),
            "{why}"
        );
    }
}
