//! `lido export` and `lido import`: users do not notice that they were moved, and a file that is not whole, or not
//! of this key, does nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lido_crypto::keys::MasterKey;
use lido_domain::Secret;
use lido_tests::{
    App, Lido, PASSWORD, Pool, SystemRandom, Tokens, administrator, claims, create_database, program,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Where data lies.
struct Place {
    data: TempDir,
    database: Option<String>,
}

impl Place {
    fn embedded() -> Self {
        Self { data: TempDir::new().unwrap(), database: None }
    }

    fn postgres() -> Self {
        let data = TempDir::new().unwrap();
        let database = Some(create_database(data.path()));
        Self { data, database }
    }

    fn flags(&self) -> Vec<String> {
        let data = self.data.path();
        let key = data.join("master.key");
        let mut flags = vec!["--data".to_owned(), text(data), "--master-key-file".into(), text(&key)];
        if let Some(url) = &self.database {
            flags.extend(["--database".into(), url.clone()]);
        }
        flags
    }

    async fn start(&self) -> Lido {
        let setup = self.flags().chunks(2).fold(Lido::setup(), |setup, flag| setup.flag(&flag[0], &flag[1]));
        // The issuer must not change with the port.
        setup.flag("--public-url", "http://localhost:5436").start().await
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut run = program();
        run.arg(command).args(arguments).args(self.flags());
        run
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command, arguments).output().unwrap()
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a command says that must succeed.
#[track_caller]
fn said(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    out
}

/// What a command says that must be refused.
#[track_caller]
fn refusal(output: Output) -> String {
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert_eq!(out, "");
    err.lines().find(|line| line.starts_with("lido: ")).unwrap_or_else(|| panic!("{err}")).to_owned()
}

/// A file to export to, and the key beside it.
struct Export {
    home: TempDir,
}

impl Export {
    fn of(place: &Place) -> Self {
        let export = Self { home: TempDir::new().unwrap() };
        export.write(place);
        export
    }

    fn write(&self, place: &Place) {
        said(place.run("export", &["--force", &self.file_text(), "--key-file", &self.key_text()]));
    }

    fn file(&self) -> PathBuf {
        self.home.path().join("export.jsonl")
    }

    fn file_text(&self) -> String {
        text(&self.file())
    }

    fn key_text(&self) -> String {
        text(&self.home.path().join("export.key"))
    }

    fn key(&self) -> MasterKey {
        MasterKey::from_base64(&fs::read_to_string(self.key_text()).unwrap()).unwrap()
    }

    fn import(&self, place: &Place) -> Output {
        place.run("import", &[&self.file_text(), "--key-file", &self.key_text()])
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes other records in place of those that are there, as the description of the format says.
    fn rewrite(&self, records: &[Value]) {
        use sha2::{Digest, Sha256};

        let mut text = String::new();
        let mut counts = serde_json::Map::new();
        for (index, record) in records.iter().enumerate() {
            text += &format!("{record}\n");
            if index > 0 {
                let count = counts.entry(record["type"].as_str().unwrap()).or_insert(json!(0));
                *count = json!(count.as_u64().unwrap() + 1);
            }
        }
        let digest: [u8; 32] = Sha256::digest(&text).into();
        let seal = self.key().wrap("export end", &Secret::new(digest), &SystemRandom);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let end = json!({ "type": "end", "counts": counts, "sha256": hex, "seal": STANDARD.encode(seal) });
        fs::write(self.file(), format!("{text}{end}\n")).unwrap();
    }
}

/// An application and everything that its users expect to find again.
struct Before {
    app: App,
    pool: Value,
    keys: Value,
    tokens: Tokens,
    revoked: Tokens,
    code: String,
    users: Vec<Value>,
}

async fn users(app: &App) -> Vec<Value> {
    let mut users = Vec::new();
    for name in ["ana", "ben", "cleo"] {
        let mut user = app.pool.user(name).await;
        let groups = app.pool.admin("AdminListGroupsForUser", name, json!({})).await.ok();
        user["groups"] = groups["Groups"].clone();
        users.push(user);
    }
    users
}

async fn jwks(lido: &Lido, pool: &str) -> Value {
    lido.get(&format!("/{pool}/.well-known/jwks.json")).await
}

impl Before {
    async fn make(lido: &Lido) -> Self {
        let tags = json!({ "UserPoolTags": { "stage": "test" } });
        let pool = lido.pool().aliases(&["email"]).verify_email().with(tags).create().await;
        let app = pool.client().secret().create().await;
        let (ana, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
        let revoked = ana.tokens().await;
        app.revoke(&revoked.refresh).await.ok_empty();
        app.user("ben")
            .verified_email("ben@example.com")
            .attribute("nickname", "\"B\\\u{2028}\n€")
            .create()
            .await;
        let cleo = app.user("cleo").create().await;
        cleo.admin("AdminDisableUser", json!({})).await.ok_empty();
        for (name, precedence) in [("crew", Some(3)), ("guests", None)] {
            let group = json!({ "GroupName": name, "Precedence": precedence, "Description": "a group" });
            pool.call("CreateGroup", group).await.ok();
            pool.admin("AdminAddUserToGroup", "ana", json!({ "GroupName": name })).await.ok();
        }
        tokens.request_code("email").await.ok();
        let code = app.inbox().code_for("ana@example.com").await;
        let keys = jwks(lido, &pool.id).await;
        let users = users(&app).await;
        Self { pool: pool.describe().await, app, keys, tokens, revoked, code, users }
    }

    fn app(&self, lido: &Lido) -> App {
        let pool = Pool { lido: lido.clone(), ..self.app.pool.clone() };
        App { lido: lido.clone(), pool, ..self.app.clone() }
    }

    /// Everything that does not depend on the digest root.
    async fn is_in(&self, lido: &Lido) -> App {
        let app = self.app(lido);
        assert_eq!(app.pool.describe().await, self.pool);
        assert_eq!(jwks(lido, &app.pool.id).await, self.keys);
        assert_eq!(users(&app).await, self.users);
        // The client's secret, an alias, the password and its SRP verifier, the sub and the groups.
        let tokens = app.tokens("ben@example.com", PASSWORD).await;
        assert_eq!(claims(&tokens.id)["nickname"], "\"B\\\u{2028}\n€");
        Tokens::of(lido, &app.srp_sign_in("ben", PASSWORD).await);
        let ana = claims(&app.tokens("ana", PASSWORD).await.access);
        assert_eq!(ana["sub"], claims(&self.tokens.access)["sub"]);
        assert_eq!(ana["iss"], claims(&self.tokens.access)["iss"]);
        assert_eq!(ana["cognito:groups"], json!(["crew", "guests"]));
        refused(&app.sign_in("cleo", PASSWORD).await, USER_DISABLED);
        let found = app.pool.call("ListUsers", json!({ "Filter": "email ^= \"ben@\"" })).await.ok();
        assert_eq!(found["Users"].as_array().unwrap().len(), 1);
        app
    }

    fn tokens(&self, lido: &Lido) -> Tokens {
        Tokens { lido: lido.clone(), ..self.tokens.clone() }
    }

    async fn refresh(&self, app: &App) -> lido_tests::Answer {
        let hash = lido_crypto::secret_hash::secret_hash("ana", &app.id, app.secret.as_deref().unwrap());
        let parameters = json!({ "REFRESH_TOKEN": self.tokens.refresh, "SECRET_HASH": hash });
        app.initiate("REFRESH_TOKEN_AUTH", parameters).await
    }

    /// What goes on without a new sign-in.
    async fn goes_on_in(&self, lido: &Lido) {
        let app = self.app(lido);
        self.tokens(lido).get_user().await.ok();
        self.refresh(&app).await.ok();
        let revoked = Tokens { lido: lido.clone(), ..self.revoked.clone() };
        refused(&revoked.get_user().await, ACCESS_TOKEN_REVOKED);
    }
}

/// Moves an installation from place to place; each is exported while its server works.
async fn moves_through(places: &[Place]) {
    let (first, others) = places.split_first().unwrap();
    let mut lido = first.start().await;
    let before = Before::make(&lido).await;
    let mut source = first;
    for place in others {
        let export = Export::of(source);
        let file = fs::read_to_string(export.file()).unwrap();
        for secret in
            ["ana@example.com:", PASSWORD, before.app.secret.as_deref().unwrap(), &before.tokens.refresh]
        {
            assert!(!file.contains(secret));
        }
        for path in [export.file_text(), export.key_text()] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let line = said(export.import(place));
        assert!(line.contains(" 3 user") && line.lines().count() == 1, "{line}");
        lido = place.start().await;
        before.is_in(&lido).await;
        before.goes_on_in(&lido).await;
        source = place;
    }
    let tokens = before.tokens(&lido);
    tokens.verify("email", &before.code).await.ok_empty();
    refused(&tokens.verify("email", &before.code).await, CODE_EXPIRED);
}

#[tokio::test]
async fn users_do_not_notice_that_they_were_moved() {
    moves_through(&[Place::embedded(), Place::embedded()]).await;
}

#[tokio::test]
async fn an_installation_moves_to_postgresql_and_back() {
    // Both engines are needed, and the suite has only the embedded one without.
    if administrator().is_some() {
        moves_through(&[Place::embedded(), Place::postgres(), Place::embedded()]).await;
    }
}

#[tokio::test]
async fn a_file_that_was_changed_or_belongs_to_another_key_does_nothing() {
    let source = Place::embedded();
    Before::make(&source.start().await).await;
    let export = Export::of(&source);
    let whole = fs::read(export.file()).unwrap();
    let target = Place::embedded();
    let fails = |why: &str| {
        let refusal = refusal(export.import(&target));
        assert!(refusal.starts_with("lido: import: ") && refusal.contains(why), "{refusal}");
        assert_eq!(fs::read_dir(target.data.path()).unwrap().count(), 0, "{refusal}");
    };

    let step = whole.len() / 40;
    for place in (0..whole.len()).step_by(step).chain([whole.len() - 2]) {
        let mut changed = whole.clone();
        // Still text, and a letter where there was one.
        changed[place] ^= if changed[place].is_ascii_alphabetic() { 0x20 } else { 1 };
        fs::write(export.file(), changed).unwrap();
        fails("");
    }
    for length in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        fs::write(export.file(), &whole[..length]).unwrap();
        fails("");
    }
    fs::write(export.file(), [&whole[..], b"\n"].concat()).unwrap();
    fails("behind the end");
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let without: Vec<_> =
        lines.iter().enumerate().filter(|(line, _)| *line != 4).map(|(_, line)| *line).collect();
    fs::write(export.file(), without.concat()).unwrap();
    fails("");

    // What only the holder of the key can have made, and is wrong all the same.
    fs::write(export.file(), &whole).unwrap();
    let records: Vec<Value> = export.lines().into_iter().filter(|line| line["type"] != "end").collect();
    let rewritten = |change: &dyn Fn(&mut Vec<Value>), why: &str| {
        let mut records = records.clone();
        change(&mut records);
        export.rewrite(&records);
        fails(why);
    };
    let find =
        |records: &[Value], kind: &str| records.iter().position(|record| record["type"] == kind).unwrap();
    rewritten(&|records| records[0]["version"] = json!(2), "version 2");
    rewritten(&|records| records[0]["format"] = json!("other"), "no export of lido");
    rewritten(&|records| records[1]["type"] = json!("castle"), "type castle");
    rewritten(&|records| records[1]["moat"] = json!(true), "moat of a pool");
    rewritten(&|records| records[1]["revision"] = json!("1"), "the revision of a pool");
    rewritten(&|records| drop(records.remove(1)), "not in the pool before it");
    rewritten(&|records| drop(records.remove(find(records, "user"))), "belongs to does not come before it");
    rewritten(
        &|records| {
            let user = find(records, "user");
            records.swap(user, user + 1);
        },
        "not in its place",
    );
    rewritten(
        &|records| {
            let user = find(records, "user");
            records[user]["password"] = records[user + 1]["password"].clone();
        },
        "the password does not open",
    );

    fs::write(export.file(), &whole).unwrap();
    fs::write(export.key_text(), MasterKey::generate(&SystemRandom).to_base64().expose()).unwrap();
    fails("written with another key");
    fs::remove_file(export.key_text()).unwrap();
    let refusal = refusal(export.import(&target));
    assert!(refusal.contains("there is no such file"), "{refusal}");
}

#[tokio::test]
async fn pools_come_to_others_once_and_without_their_sessions() {
    let source = Place::embedded();
    let before = Before::make(&source.start().await).await;
    let export = Export::of(&source);
    let target = Place::embedded();
    let lido = target.start().await;
    let (neighbour, tokens) = lido.pool().app_client().await.user("dora").signed_in().await;
    let why = refusal(export.import(&target));
    assert!(why.contains("in use by another process"), "{why}");
    drop((lido, neighbour.app.lido.terminate()));

    let line = said(export.import(&target));
    assert!(line.contains("sign-ins and codes were left out"), "{line}");
    let why = refusal(export.import(&target));
    assert_eq!(
        why,
        format!(
            "lido: import: the installation has the pool {} already: nothing was imported",
            before.app.pool.id
        )
    );
    let lido = target.start().await;
    let app = before.is_in(&lido).await;
    refused(&before.refresh(&app).await, INVALID_REFRESH_TOKEN);
    refused(&before.tokens(&lido).verify("email", &before.code).await, ACCESS_TOKEN_REVOKED);
    let neighbour = App { lido: lido.clone(), ..neighbour.app };
    neighbour.tokens("dora", PASSWORD).await;
    neighbour.refresh(&tokens.refresh).await.ok();
    Tokens { lido, ..tokens }.get_user().await.ok();
}

#[tokio::test]
async fn an_import_that_was_killed_is_run_again_or_given_up() {
    const USERS: usize = 20_000;
    let source = Place::embedded();
    let before = Before::make(&source.start().await).await;
    let export = Export::of(&source);
    // Many users without a password, in their order among the others.
    let mut records: Vec<Value> = export.lines().into_iter().filter(|line| line["type"] != "end").collect();
    let user = records.iter().position(|record| record["type"] == "user").unwrap();
    let mut template = records[user].clone();
    for member in ["password", "password_history"] {
        template.as_object_mut().unwrap().remove(member);
    }
    let many = (0..USERS).map(|number| {
        let mut user = template.clone();
        user["sub"] = json!(format!("!{number:08}"));
        user["username"] = json!(format!("many{number}"));
        user
    });
    records.splice(user..user, many.collect::<Vec<_>>());
    export.rewrite(&records);

    let target = Place::embedded();
    let log = target.data.path().join("lido.db-wal");
    let killed = || {
        let mut import = target
            .command("import", &[&export.file_text(), "--key-file", &export.key_text()])
            .spawn()
            .unwrap();
        let began = Instant::now();
        // Some batches, of a few megabytes each, are in the database.
        while fs::metadata(&log).map_or(0, |log| log.len()) < 1024 * 1024 {
            assert!(import.try_wait().unwrap().is_none(), "the import is not killed midway");
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        import.kill().unwrap();
        assert!(!import.wait().unwrap().success());
    };
    killed();
    let setup = || target.flags().chunks(2).fold(Lido::setup(), |setup, flag| setup.flag(&flag[0], &flag[1]));
    let unfinished = "an import was not completed: run it again";
    let (status, why) = setup().refused();
    assert!(status.code() == Some(1) && why.contains(unfinished), "{why}");
    let why = refusal(
        target.run("export", &[&text(&target.data.path().join("again")), "--key-file", &export.key_text()]),
    );
    assert!(why.contains(unfinished), "{why}");

    said(target.run("import", &["--abandon"]));
    let line = said(target.run("import", &["--abandon"]));
    assert!(line.contains("no import was left"), "{line}");
    let lido = target.start().await;
    assert_eq!(lido.call("ListUserPools", json!({ "MaxResults": 1 })).await.ok()["UserPools"], json!([]));
    drop(lido);

    killed();
    said(export.import(&target));
    let lido = target.start().await;
    let app = before.app(&lido);
    assert_eq!(app.pool.describe().await["EstimatedNumberOfUsers"], json!(USERS + 3));
    assert_eq!(users(&app).await, before.users);
    before.goes_on_in(&lido).await;
}

#[tokio::test]
async fn nothing_is_exported_over_a_file_or_from_nowhere() {
    let source = Place::embedded();
    drop(source.start().await);
    let export = Export::of(&source);
    let key = fs::read(export.key_text()).unwrap();
    let arguments = [&*export.file_text(), "--key-file", &export.key_text()];
    let why = refusal(source.run("export", &arguments));
    assert!(why.ends_with("export.jsonl exists already"), "{why}");
    export.write(&source);
    assert_eq!(fs::read(export.key_text()).unwrap(), key, "a key that is there is used");

    let nowhere = Place::embedded();
    let other = text(&nowhere.data.path().join("file"));
    refusal(nowhere.run("export", &[&other, "--key-file", &export.key_text()]));
    assert_eq!(fs::read_dir(nowhere.data.path()).unwrap().count(), 0);
    // An installation without pools moves too.
    said(export.import(&nowhere));
    fs::set_permissions(export.key_text(), fs::Permissions::from_mode(0o644)).unwrap();
    let why = refusal(export.import(&nowhere));
    assert!(why.contains("readable by others"), "{why}");
}
