//! Signing keys and master keys.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Child;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use lido_domain::Random;
use lido_tests::{Lido, PASSWORD, Setup, SystemRandom, Tokens, create_database, on_postgres, program};
use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn every_node_has_the_same_keys_and_the_same_issuer() {
    let Some(nodes) = Nodes::start(Lido::setup(), 3).await else { return };
    // Two are made ahead: the last of these pools have none when their keys are first needed.
    let mut pools = Vec::new();
    for _ in 0..4 {
        pools.push(nodes.all[0].pool().app_client().await);
    }
    let app = &pools[3];
    app.user("ana").create().await;
    let keys = |node: &Lido| {
        let (node, path) = (node.clone(), format!("/{}/.well-known/jwks.json", app.pool.id));
        async move { node.get(&path).await }
    };
    let twelve = || nodes.all.iter().cycle().take(12);
    let sign_in = async |node: &Lido| app.at(node).sign_in("ana", PASSWORD).await;
    let (sets, sign_ins) = tokio::join!(join_all(twelve().map(keys)), join_all(twelve().map(sign_in)));
    assert_eq!(sets[0]["keys"].as_array().unwrap().len(), 2);
    assert!(sets.iter().all(|set| *set == sets[0]), "{sets:?}");
    let ids: BTreeSet<&str> =
        sets[0]["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    for answer in &sign_ins {
        let tokens = Tokens::of(nodes.next(), answer);
        for token in [&tokens.access, &tokens.id] {
            assert!(ids.contains(lido_tests::header(token)["kid"].as_str().unwrap()));
        }
        tokens.get_user().await.ok();
    }
    let first = format!("{}/{}", public_url(&nodes.all[0]), app.pool.id);
    for node in &nodes.all {
        let configuration = node.get(&format!("/{}/.well-known/openid-configuration", app.pool.id)).await;
        assert_eq!(configuration["issuer"], first);
        let tokens = app.at(node).tokens("ana", PASSWORD).await;
        assert_eq!(lido_tests::claims(&tokens.access)["iss"], first);
    }
    nodes.failed_nowhere_inside();
}

fn public_url(node: &Lido) -> String {
    node.base().replace("127.0.0.1", "localhost")
}

fn write_key(file: &Path) {
    let mut key = [0; 32];
    SystemRandom.fill(&mut key);
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).unwrap();
    std::io::Write::write_all(&mut out, STANDARD.encode(key).as_bytes()).unwrap();
}

#[tokio::test]
async fn a_node_needs_the_master_key_of_the_others() {
    let Some(nodes) = Nodes::start(Lido::setup(), 1).await else { return };
    let directory = TempDir::new().unwrap();
    let other = directory.path().join("other.key");
    write_key(&other);
    let with = |file: &Path| Setup::node_of(&nodes.all[0]).flag("--master-key-file", file.to_str().unwrap());
    let (status, text) = with(&other).refused();
    assert!(!status.success() && text.contains("is not the one"), "{text}");
    assert_eq!(text.trim().lines().count(), 1, "{text}");
    let missing = directory.path().join("missing.key");
    let (status, text) = with(&missing).refused();
    assert!(!status.success() && text.contains("is missing"), "{text}");
    assert!(!missing.exists(), "a refusal makes no key");
}

/// Starts a node with a database and a key of its choice.
fn spawn(database: &str, key: &Path) -> Child {
    let data = key.with_extension("data");
    program()
        .args(["dev", "--listen", "127.0.0.1:0", "--database", database, "--data", data.to_str().unwrap()])
        .args(["--master-key-file", key.to_str().unwrap()])
        .spawn()
        .expect("the binary runs")
}

/// Waits until it is ready and ends it then, or until it refuses to start: what it said.
fn outcome(mut child: Child) -> Result<(), String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = lines.map_while(Result::ok).any(|line| line.starts_with("ready "));
    if is_ready {
        child.kill().unwrap();
        child.wait().unwrap();
        return Ok(());
    }
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(!child.wait().unwrap().success());
    Err(text)
}

#[tokio::test]
async fn nodes_that_start_at_once_on_an_empty_database_agree_on_its_key() {
    if !on_postgres() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name);
    let start = |keys: &[&str]| {
        let database = create_database(directory.path());
        let children: Vec<Child> = keys.iter().map(|key| spawn(&database, &path(key))).collect();
        children.into_iter().map(outcome).collect::<Vec<_>>()
    };
    // The file that does not exist yet is made once.
    for outcome in start(&["shared.key", "shared.key", "shared.key"]) {
        outcome.expect("every node starts");
    }
    write_key(&path("a.key"));
    write_key(&path("b.key"));
    let outcomes = start(&["a.key", "b.key"]);
    let refusals: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(refusals.len(), 1, "{outcomes:?}");
    let last = refusals[0].trim().lines().last().unwrap();
    assert!(last.contains("master_key_file") && last.contains("is not the one"), "{refusals:?}");
}
