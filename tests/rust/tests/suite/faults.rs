//! A disk that is full, fails or is read-only, power cuts, and a clock that jumps: `tests/faults/faults.c`
//! stands between the server and its files. The embedded database alone has files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use lido_tests::{Answer, App, Lido, PASSWORD, Pool, Setup, Tokens, on_postgres};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// How long anything may take before it counts as hanging.
const WITHIN: Duration = Duration::from_secs(20);

const FULL: &str = "store: the disk of the database is full";
const READ_ONLY: &str = "store: the database is read-only";
const UNWRITABLE: &str = "store: the disk of the database fails: it cannot be written (SQLite 778)";
const UNSYNCED: &str =
    "store: the disk of the database fails: it does not confirm what was written (SQLite 1034)";

/// A data directory on a disk that fails as it is told.
struct Disk {
    directory: TempDir,
}

impl Disk {
    /// `None` where there are no files that could fail.
    fn new() -> Option<Self> {
        if on_postgres() {
            return None;
        }
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("platters")).unwrap();
        let disk = Self { directory };
        disk.heal();
        Some(disk)
    }

    /// Builds the library that stands in between, once for all tests of the process.
    fn library() -> &'static Path {
        static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
        let (_, library) = LIBRARY.get_or_init(|| {
            let directory = TempDir::new().unwrap();
            let library = directory.path().join("faults.so");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../faults/faults.c");
            let built = Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
                .args([&library, &source])
                .status();
            assert!(built.expect("there is a C compiler").success());
            (directory, library)
        });
        library
    }

    fn path(&self, name: &str) -> PathBuf {
        // As the system spells it: what is behind a descriptor is recognised by its path.
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn setup(&self) -> Setup {
        Lido::setup()
            .data(&self.data())
            .flag("--public-url", "http://localhost:5436")
            .env("LD_PRELOAD", Self::library())
            .env("LIDO_FAULTS", self.path("control"))
            .env("LIDO_FAULTS_DATA", self.data())
            .env("LIDO_FAULTS_DISK", self.path("platters"))
    }

    async fn start(&self) -> Lido {
        self.setup().start().await
    }

    /// `skip` calls go well, then `times` fail, or all for 0. `place`: `any`, `db`, `wal`, `shm`.
    fn inject(&self, kind: &str, place: &str, skip: usize, times: usize) {
        self.order(&format!("{kind} {place} {skip} {times} 0"));
    }

    fn heal(&self) {
        self.inject("none", "any", 0, 0);
    }

    /// Sets the system's clock ahead of the real one, for a server that runs or is started.
    fn shift_clock(&self, seconds: i64) {
        self.order(&format!("none any 0 0 {}", seconds * 1000));
    }

    fn order(&self, line: &str) {
        let draft = self.path("draft");
        std::fs::write(&draft, line).unwrap();
        std::fs::rename(draft, self.path("control")).unwrap();
    }

    /// How many calls have failed so far.
    fn fired(&self) -> usize {
        std::fs::read_to_string(self.path("control.fired")).map_or(0, |lines| lines.lines().count())
    }

    /// Leaves of the files of a dead server what a power cut leaves.
    fn cut_power(&self) {
        for name in ["lido.db", "lido.db-wal", "lido.db-shm"] {
            let (file, image) = (self.data().join(name), self.path("platters").join(name));
            let _ = std::fs::remove_file(&file);
            if image.exists() {
                std::fs::copy(image, file).unwrap();
            }
        }
    }

    /// Length of the write-ahead log in pages, with their headers.
    fn log_pages(&self) -> u64 {
        std::fs::metadata(self.data().join("lido.db-wal")).map_or(0, |log| log.len() / 4120)
    }

    /// What is new in the log's header whenever the log starts over.
    fn log_salt(&self) -> Option<[u8; 8]> {
        let mut header = [0; 24];
        File::open(self.data().join("lido.db-wal")).ok()?.read_exact(&mut header).ok()?;
        header[16..].try_into().ok()
    }

    /// Has another program look at the database as it is now, until it is told to end.
    fn snapshot(&self) -> Snapshot {
        let script = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1])\n\
            db.execute('BEGIN')\n\
            db.execute('SELECT count(*) FROM users').fetchall()\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(self.data().join("lido.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is Python");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Snapshot(child)
    }

    /// Asks SQLite whether the file is whole.
    fn is_whole(&self) {
        let script = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1])\n\
            assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n\
            assert db.execute('PRAGMA foreign_key_check').fetchall() == []\n";
        let status = Command::new("python3").args(["-c", script]).arg(self.data().join("lido.db")).status();
        assert!(status.expect("there is Python").success());
    }
}

struct Snapshot(Child);

impl Snapshot {
    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// The same application, on a server that was started anew.
fn moved(app: &App, lido: &Lido) -> App {
    let pool = Pool { lido: lido.clone(), ..app.pool.clone() };
    App { lido: lido.clone(), pool, ..app.clone() }
}

/// Status and reason of readiness.
async fn readiness(lido: &Lido) -> (u16, Option<String>) {
    let answer = lido.request(http::Method::GET, "/_lido/health/ready").send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], if status == 200 { "ready" } else { "unavailable" });
    (status, body["reason"].as_str().map(str::to_owned))
}

/// Waits until the server is ready, without any traffic but the question.
async fn ready_again(lido: &Lido) {
    let asked = async {
        while readiness(lido).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WITHIN, asked).await.expect("the server recovers by itself");
}

/// An answer that came in time, and whether it is a success. For a failure it is an internal error without
/// detail, or the request to try again that reads get while the files are opened anew.
async fn succeeded(answer: impl Future<Output = Answer>) -> bool {
    let answer = tokio::time::timeout(WITHIN, answer).await.expect("nothing hangs");
    if answer.code() == Some("TooManyRequestsException") {
        answer.fails("TooManyRequestsException", "Rate exceeded");
    } else if !answer.is_ok() {
        answer.fails_as(500, "InternalErrorException", "Internal error.");
    }
    answer.is_ok()
}

/// What the server said it had done.
#[derive(Default)]
struct Acknowledged {
    signed_up: Mutex<Vec<String>>,
    /// By user: the highest nickname that was acknowledged, and the highest that was sent.
    nicknames: Mutex<BTreeMap<String, (Option<usize>, usize)>>,
    count: AtomicUsize,
}

impl Acknowledged {
    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    async fn sign_up(&self, app: &App, name: &str) -> bool {
        let email = json!({ "email": format!("{name}@example.com") });
        let done = succeeded(app.sign_up_with(name, PASSWORD, email)).await;
        if done {
            self.signed_up.lock().unwrap().push(name.to_owned());
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        done
    }

    /// Sets the user's nickname to the next number, and fills some pages with it.
    async fn update(&self, app: &App, name: &str) -> bool {
        let next = {
            let mut nicknames = self.nicknames.lock().unwrap();
            let (_, sent) = nicknames.entry(name.to_owned()).or_default();
            *sent += 1;
            *sent
        };
        let values = json!({ "nickname": next.to_string(), "profile": "x".repeat(2_000) });
        let done = succeeded(app.pool.update(name, values)).await;
        if done {
            self.nicknames.lock().unwrap().get_mut(name).unwrap().0 = Some(next);
            self.count.fetch_add(1, Ordering::SeqCst);
        }
        done
    }

    /// Asserts that all of it is there, and nothing by halves.
    async fn is_there(&self, app: &App) {
        let mut found = BTreeMap::new();
        let mut page = json!({});
        loop {
            let answer = app.pool.call("ListUsers", page).await.ok();
            for user in answer["Users"].as_array().unwrap() {
                let values = lido_tests::pairs(&user["Attributes"]);
                found.insert(user["Username"].as_str().unwrap().to_owned(), values);
            }
            match answer["PaginationToken"].as_str() {
                Some(token) => page = json!({ "PaginationToken": token }),
                None => break,
            }
        }
        // Also those whose answer was an error: they are there as a whole or not at all.
        for (name, values) in &found {
            assert_eq!(&app.pool.attributes(name).await, values);
            let filter = json!({ "Filter": format!("email = \"{}\"", values["email"]) });
            let users = app.pool.call("ListUsers", filter).await.ok();
            assert_eq!(users["Users"].as_array().unwrap().len(), 1, "{name}");
            assert_eq!(users["Users"][0]["Username"], **name);
        }
        for name in self.signed_up.lock().unwrap().iter() {
            assert!(found.contains_key(name), "{name} was acknowledged");
        }
        for (name, (acknowledged, sent)) in self.nicknames.lock().unwrap().iter() {
            let stored: Option<usize> = found[name].get("nickname").map(|value| value.parse().unwrap());
            assert!(
                *acknowledged <= stored && stored <= Some(*sent),
                "{name}: {acknowledged:?} was acknowledged, {stored:?} is stored, {sent} was sent"
            );
        }
    }
}

const USERS: usize = 3;

/// A pool with a client, some users, and the tokens of one of them.
async fn prepare(lido: &Lido) -> (App, Tokens) {
    let app = lido.pool().verify_email().app_client().await;
    for index in 0..USERS {
        let name = format!("user{index}");
        app.user(&name).verified_email(&format!("{name}@example.com")).create().await;
    }
    let tokens = app.tokens("user0", PASSWORD).await;
    (app, tokens)
}

/// Writes of every kind at once. Whether all went well.
async fn one_round(app: &App, tokens: &Tokens, said: &Acknowledged, name: &str) -> bool {
    let updates = async {
        let users = (0..USERS).map(|index| format!("user{index}"));
        let updates = users.map(|user| async move { said.update(app, &user).await });
        join_all(updates).await.into_iter().all(|done| done)
    };
    let (signed_up, updated, code) =
        tokio::join!(said.sign_up(app, name), updates, succeeded(tokens.request_code("email")));
    signed_up && updated && code
}

/// Starts the server on a disk that works, and asserts that it keeps its word.
async fn holds(disk: &Disk, app: &App, said: &Acknowledged) {
    disk.heal();
    let lido = disk.start().await;
    let app = moved(app, &lido);
    said.is_there(&app).await;
    let (name, code) = ("afterwards", "afterwards@example.com");
    assert!(said.sign_up(&app, name).await);
    app.confirm(name, &app.inbox().code_for(code).await).await.ok_empty();
    app.tokens(name, PASSWORD).await;
    assert!(lido.terminate().success());
    disk.is_whole();
}

/// Walks through the calls of a round: each fails once, in a server that goes on.
async fn every_call_may_fail(kind: &str) {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let (app, tokens) = prepare(&lido).await;
    let said = Acknowledged::default();
    let mut failures = 0;
    for skip in 0.. {
        assert!(skip < 1_000, "a round has an end");
        let before = disk.fired();
        disk.inject(kind, "any", skip, 1);
        let all_done = one_round(&app, &tokens, &said, &format!("walker{skip}")).await;
        disk.heal();
        if disk.fired() == before {
            assert!(all_done, "without a fault there is no failure");
            break;
        }
        failures += usize::from(!all_done);
        // Everything goes on at once or, where the disk was in doubt, soon.
        let recovered = async {
            let mut attempt = 0;
            while !one_round(&app, &tokens, &said, &format!("follower{skip}x{attempt}")).await {
                attempt += 1;
            }
        };
        tokio::time::timeout(WITHIN, recovered).await.expect("the server recovers by itself");
    }
    assert!(failures > 0, "{kind}: some round was hit");
    said.is_there(&app).await;
    ready_again(&lido).await;
    lido.kill();
    holds(&disk, &app, &said).await;
}

#[tokio::test]
async fn every_write_may_find_no_space() {
    every_call_may_fail("enospc").await;
}

#[tokio::test]
async fn every_write_may_fail() {
    every_call_may_fail("eio-write").await;
}

#[tokio::test]
async fn every_write_may_be_cut_short() {
    every_call_may_fail("short").await;
}

#[tokio::test]
async fn every_sync_may_fail() {
    every_call_may_fail("eio-sync").await;
}

/// Fails every call while clients go on, and heals.
async fn a_disk_fails_for_a_while(kind: &str, reason: &str) {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let (app, tokens) = prepare(&lido).await;
    let said = Acknowledged::default();
    assert!(one_round(&app, &tokens, &said, "before").await);
    assert_eq!(readiness(&lido).await, (200, None));

    for round in 0..2 {
        disk.inject(kind, "any", 0, 0);
        assert!(!one_round(&app, &tokens, &said, &format!("during{round}")).await);
        // A read-only file is known as such when it is opened anew.
        assert_eq!(readiness(&lido).await, (503, Some(reason.to_owned())));
        let answers = (0..8).map(|index| {
            let (app, said) = (&app, &said);
            async move { said.sign_up(app, &format!("during{round}x{index}")).await }
        });
        assert_eq!(join_all(answers).await, [false; 8]);
        said.is_there(&app).await;
        app.pool.describe().await;
        assert_eq!(lido.get("/_lido/health/live").await, json!({ "status": "live" }));
        assert_eq!(readiness(&lido).await, (503, Some(reason.to_owned())));

        disk.heal();
        ready_again(&lido).await;
        assert!(one_round(&app, &tokens, &said, &format!("after{round}")).await);
        assert_eq!(readiness(&lido).await, (200, None));
    }
    lido.kill();
    holds(&disk, &app, &said).await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_recovered_from() {
    a_disk_fails_for_a_while("enospc", FULL).await;
}

#[tokio::test]
async fn short_writes_are_said_and_recovered_from() {
    a_disk_fails_for_a_while("short", FULL).await;
}

#[tokio::test]
async fn a_disk_that_does_not_write_is_said_and_recovered_from() {
    a_disk_fails_for_a_while("eio-write", UNWRITABLE).await;
}

#[tokio::test]
async fn a_disk_that_does_not_sync_is_said_and_recovered_from() {
    a_disk_fails_for_a_while("eio-sync", UNSYNCED).await;
}

#[tokio::test]
async fn a_read_only_file_system_is_said_and_recovered_from() {
    a_disk_fails_for_a_while("read-only", READ_ONLY).await;
}

/// Writes at full speed until `end`.
async fn load(app: &App, said: &Acknowledged, label: &str, end: &AtomicBool) {
    let tasks = (0..8).map(|task| async move {
        for index in 0.. {
            if end.load(Ordering::SeqCst) {
                return;
            }
            match task {
                0..USERS => said.update(app, &format!("user{task}")).await,
                // Enough rows for passes that copy different pages.
                _ => said.sign_up(app, &format!("{label}x{task}x{index}")).await,
            };
        }
    });
    join_all(tasks).await;
}

/// Waits for a condition on the files.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The system drops what a sync should have written, and calls later ones a success.
#[tokio::test]
async fn a_failed_sync_of_the_log_loses_nothing_with_the_power() {
    let Some(disk) = Disk::new() else { return };
    let mut lido = disk.start().await;
    let (mut app, _) = prepare(&lido).await;
    let said = Acknowledged::default();
    for round in 0..3 {
        let (end, label) = (AtomicBool::new(false), format!("round{round}"));
        let story = async {
            let fired = disk.fired();
            disk.inject("eio-sync", "wal", round, 1);
            until(|| disk.fired() > fired).await;
            disk.heal();
            let enough = said.count() + 20 * (round + 1);
            until(|| said.count() >= enough).await;
            end.store(true, Ordering::SeqCst);
        };
        tokio::join!(load(&app, &said, &label, &end), story);
        lido.kill();
        disk.cut_power();
        lido = disk.start().await;
        app = moved(&app, &lido);
        said.is_there(&app).await;
    }
    lido.kill();
    holds(&disk, &app, &said).await;
}

/// The next process is shown what is not on disk.
#[tokio::test]
async fn a_failed_sync_of_the_log_loses_nothing_with_the_process_and_the_power() {
    let Some(disk) = Disk::new() else { return };
    let mut lido = disk.start().await;
    let (mut app, _) = prepare(&lido).await;
    let said = Acknowledged::default();
    for round in 0..5 {
        let (end, label) = (AtomicBool::new(false), format!("round{round}"));
        let story = async {
            let enough = said.count() + 10;
            until(|| said.count() >= enough).await;
            let fired = disk.fired();
            disk.inject("eio-sync", "wal", 0, 0);
            until(|| disk.fired() > fired).await;
            lido.kill();
            end.store(true, Ordering::SeqCst);
        };
        tokio::select! {
            () = load(&app, &said, &label, &end) => {}
            () = story => {}
        }
        disk.heal();
        lido = disk.start().await;
        app = moved(&app, &lido);
        assert!(said.update(&app, "user0").await);
        assert!(said.sign_up(&app, &format!("survivor{round}")).await);
        lido.kill();
        disk.cut_power();
        lido = disk.start().await;
        app = moved(&app, &lido);
        said.is_there(&app).await;
    }
    lido.kill();
    holds(&disk, &app, &said).await;
}

/// SQLite copies the log in several passes, and syncs the database after the last of them.
#[tokio::test]
async fn a_failed_sync_of_the_database_loses_nothing_with_the_power() {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let (app, _) = prepare(&lido).await;
    let said = Acknowledged::default();
    let end = AtomicBool::new(false);
    let story = async {
        // A snapshot holds up the first pass, so that it ends without a sync.
        until(|| disk.log_pages() > 600).await;
        let snapshot = disk.snapshot();
        until(|| disk.log_pages() > 1_400).await;
        snapshot.end();
        let fired = disk.fired();
        disk.inject("eio-sync", "db", 0, 1);
        until(|| disk.fired() > fired).await;
        disk.heal();
        // What was copied is gone from the log when it starts over.
        let before = disk.log_salt();
        until(|| disk.log_salt().is_some_and(|salt| Some(salt) != before)).await;
        let enough = said.count() + 20;
        until(|| said.count() >= enough).await;
        end.store(true, Ordering::SeqCst);
    };
    tokio::join!(load(&app, &said, "load", &end), story);
    lido.kill();
    disk.cut_power();
    holds(&disk, &app, &said).await;
}

#[tokio::test]
async fn a_power_cut_loses_nothing() {
    let Some(disk) = Disk::new() else { return };
    let mut lido = disk.start().await;
    let (mut app, _) = prepare(&lido).await;
    let said = Acknowledged::default();
    for round in 0..5 {
        let end = AtomicBool::new(false);
        let story = async {
            let enough = said.count() + 30 * (round + 1);
            until(|| said.count() >= enough).await;
            end.store(true, Ordering::SeqCst);
        };
        let label = format!("round{round}");
        tokio::join!(load(&app, &said, &label, &end), story);
        lido.kill();
        disk.cut_power();
        lido = disk.start().await;
        app = moved(&app, &lido);
        said.is_there(&app).await;
    }
    lido.kill();
    holds(&disk, &app, &said).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_at_the_start_is_said() {
    let Some(disk) = Disk::new() else { return };
    let refusal = |kind: &str, place: &str| {
        disk.inject(kind, place, 0, 0);
        let (status, text) = disk.setup().refused();
        assert_eq!(status.code(), Some(1), "{text}");
        text.lines().last().unwrap().to_owned()
    };
    std::fs::create_dir(disk.data()).unwrap();
    let data = disk.data();
    let not_writable = format!("lido: data: {} is not writable: Read-only file system", data.display());
    assert!(refusal("read-only", "any").starts_with(&not_writable));
    assert_eq!(refusal("enospc", "any"), "lido: data: the disk of the database is full");
    assert!(
        refusal("eio-write", "any").starts_with("lido: data: the disk of the database fails: it cannot be ")
    );
    assert_eq!(refusal("read-only", "db"), "lido: data: the database is read-only");

    // The same where there is data already, which a crash has left in the log.
    disk.heal();
    let lido = disk.start().await;
    let (app, _) = prepare(&lido).await;
    lido.kill();
    assert!(refusal("read-only", "any").starts_with(&not_writable));
    assert_eq!(refusal("read-only", "db"), "lido: data: the database is read-only");
    assert!(refusal("eio-write", "wal").starts_with("lido: data: "));
    assert!(refusal("eio-sync", "any").starts_with("lido: data: "));
    holds(&disk, &app, &Acknowledged::default()).await;
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_read_until_there_is_space() {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let (app, _) = prepare(&lido).await;
    let said = Acknowledged::default();
    assert!(said.update(&app, "user0").await);
    lido.kill();
    // A log without an index cannot be read at all: that much space has to be there.
    disk.inject("enospc", "db", 0, 0);
    let lido = disk.start().await;
    let app = moved(&app, &lido);
    assert_eq!(readiness(&lido).await, (503, Some(FULL.to_owned())));
    said.is_there(&app).await;
    assert!(!said.update(&app, "user0").await);
    disk.heal();
    ready_again(&lido).await;
    assert!(said.update(&app, "user0").await);
    lido.kill();
    holds(&disk, &app, &said).await;
}

// ---- The clock -------------------------------------------------------------------------------

/// A clock that is set back after things have expired, while the server runs and while it does not.
#[tokio::test]
async fn what_has_expired_stays_so_when_the_clock_is_set_back() {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let pool = lido.pool().verify_email().create().await;
    let app = pool.client().with(json!({
        "RefreshTokenValidity": 1, "AccessTokenValidity": 1,
        "TokenValidityUnits": { "RefreshToken": "hours", "AccessToken": "hours" },
    }));
    let app = app.create().await;
    let (_, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    app.forgot("ana").await;
    let body = json!({ "MessageAction": "SUPPRESS", "TemporaryPassword": PASSWORD });
    pool.admin("AdminCreateUser", "new", body).await.ok();
    let challenge = app.sign_in("new", PASSWORD).await.ok();
    app.sign_up("bob@example.com", PASSWORD).await.ok();
    let code = app.inbox().code_for("bob@example.com").await;

    let expired = async |app: &App| {
        let tokens = Tokens { lido: app.lido.clone(), ..tokens.clone() };
        refused(&tokens.get_user().await, ACCESS_TOKEN_EXPIRED);
        refused(&app.refresh(&tokens.refresh).await, REFRESH_TOKEN_EXPIRED);
        let responses = json!({ "USERNAME": "new", "NEW_PASSWORD": "Another-pass-word-1" });
        let session = challenge["Session"].as_str();
        refused(&app.respond("NEW_PASSWORD_REQUIRED", session, responses).await, SESSION_EXPIRED);
        refused(&app.confirm("bob@example.com", &code).await, CODE_EXPIRED);
    };
    let moment = lido.clock().now().await;
    let (late, back) = (25 * HOUR, 11 * HOUR + HOUR / 2);
    disk.shift_clock(late);
    expired(&app).await;
    disk.shift_clock(back);
    lido.logged("the system's clock went back by 13 hours").await;
    expired(&app).await;
    let now = lido.clock().now().await - moment;
    assert!((late..late + HOUR).contains(&now), "{now}");
    assert!(lido.terminate().success());

    let lido = disk.start().await;
    lido.logged("the system's clock is 13 hours behind").await;
    expired(&moved(&app, &lido)).await;
    // What is made now works, and expires in its time.
    let app = moved(&app, &lido);
    app.tokens("ana", PASSWORD).await.get_user().await.ok();
    lido.kill();

    // Far behind, somebody has to say which of the two times is right.
    disk.shift_clock(late - 3 * DAY - HOUR);
    let (status, text) = disk.setup().refused();
    assert!(!status.success());
    assert!(text.contains("lido: clock: the system's clock is 3 days behind"), "{text}");
    let lido = disk.setup().switch("--accept-clock").start().await;
    let now = lido.clock().now().await - moment - (late - 3 * DAY - HOUR);
    assert!((0..HOUR).contains(&now), "{now}");
    // The right time is remembered from here on.
    assert!(lido.terminate().success());
    let lido = disk.start().await;
    assert!(lido.clock().now().await < moment);
}

#[tokio::test]
async fn a_lock_neither_ends_nor_returns_when_the_clock_is_set_back() {
    let Some(disk) = Disk::new() else { return };
    let lido = disk.start().await;
    let app = lido.pool().app_client().await;
    app.user("ana").create().await;
    for _ in 0..9 {
        lido.clock().advance(14 * 60).await;
        refused(&app.sign_in("ana", "Wrong-pass-word-1").await, WRONG_CREDENTIALS);
    }
    // The ninth failure in a row locks for 16 seconds.
    refused(&app.sign_in("ana", PASSWORD).await, LOCKED_OUT);
    disk.shift_clock(-HOUR);
    refused(&app.sign_in("ana", PASSWORD).await, LOCKED_OUT);
    lido.clock().advance(17).await;
    disk.shift_clock(-2 * HOUR);
    app.tokens("ana", PASSWORD).await;
}
