//! The binary from outside: what it prints, what it refuses, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PRINCIPAL: &str = r#"
[[iam.principals]]
arn = "arn:aws:iam::123456789012:user/deploy"
access_key_id = "AKIAEXAMPLE"
secret_access_key = "s3cret-key"
policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cognito-idp:*","Resource":"*"}]}'
"#;

fn lido() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lido"));
    let inherited = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        ["LIDO_", "AWS_", "RUST_LOG"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
    });
    inherited.for_each(|name| {
        command.env_remove(name);
    });
    command.stdin(Stdio::null());
    command
}

/// A server on free ports; ended with the test.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    /// `host:port`
    management: Option<String>,
    api: String,
}

impl Server {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let mut first = line();
        let management = first.strip_prefix("management http://").map(str::to_owned);
        if management.is_some() {
            first = line();
        }
        let api = first.strip_prefix("ready http://").unwrap_or_else(|| panic!("{first:?}")).to_owned();
        Self { child, out, management, api }
    }

    fn dev(arguments: &[&str]) -> Self {
        Self::start(lido().args(["dev", "--listen", "127.0.0.1:0"]).args(arguments))
    }

    fn terminate(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(5), "the server did not end within 5 s");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn get(&self, path: &str) -> Answer {
        request(&self.api, "GET", path, &[], b"")
    }

    /// Calls the API; `headers` come on top of the protocol's.
    fn call(&self, operation: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        let mut all = vec![("Content-Type", "application/x-amz-json-1.1"), ("X-Amz-Target", target.as_str())];
        all.extend_from_slice(headers);
        request(&self.api, "POST", "/", &all, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn request(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// What a start that is refused says, after its exit code has been looked at.
fn refusal(command: &mut Command) -> String {
    let Output { status, stderr, stdout } = command.output().unwrap();
    let text = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{text}");
    assert!(stdout.is_empty());
    assert_eq!(text.trim_end().lines().filter(|line| line.starts_with("lido: ")).count(), 1, "{text}");
    text
}

fn serve(directory: &Path, config: &str) -> Command {
    let file = directory.join("lido.toml");
    fs::write(&file, config).unwrap();
    let mut command = lido();
    command.args(["serve", "--listen", "127.0.0.1:0", "--management", "127.0.0.1:0", "--config"]).arg(file);
    command.arg("--data").arg(directory.join("data"));
    command
}

#[test]
fn dev_is_ready_and_ends_on_sigterm() {
    let mut server = Server::dev(&["--data", ":memory:"]);
    assert!(server.management.is_none());
    assert_eq!(server.get("/_lido/health/live").status, 200);
    let ready = server.get("/_lido/health/ready");
    assert_eq!((ready.status, ready.json()), (200, json!({ "status": "ready" })));
    let health = lido().args(["health", "--url", &format!("http://{}", server.api)]).output().unwrap();
    assert!(health.status.success());

    assert_eq!(server.terminate().code(), Some(0));
    let health = lido().args(["health", "--url", &format!("http://{}", server.api)]).output().unwrap();
    assert_eq!(health.status.code(), Some(1));
}

#[test]
fn the_end_waits_neither_for_silent_connections_nor_for_those_who_wait_for_a_message() {
    let mut server = Server::dev(&["--data", ":memory:"]);
    let _silent = TcpStream::connect(&server.api).unwrap();
    let api = server.api.clone();
    let waiting = thread::spawn(move || request(&api, "GET", "/_lido/messages?wait=60", &[], b""));
    while !server.get("/_lido/metrics").body.contains("lido_requests_in_flight 2") {
        thread::sleep(Duration::from_millis(10));
    }
    let start = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(waiting.join().unwrap().json(), json!({ "messages": [] }));
}

#[test]
fn the_protocols_own_errors_are_the_services() {
    let server = Server::dev(&["--data", ":memory:"]);
    let unknown = server.call("Frobnicate", &[], b"{}");
    assert_eq!((unknown.status, unknown.body.as_str()), (400, r#"{"__type":"UnknownOperationException"}"#));
    assert_eq!(unknown.header("x-amzn-errortype"), Some("UnknownOperationException:"));
    assert_eq!(unknown.header("content-type"), Some("application/x-amz-json-1.1"));
    assert_eq!(unknown.header("x-amzn-requestid").map(str::len), Some(36));
    assert_eq!(unknown.header("access-control-allow-origin"), Some("*"));
    assert!(unknown.header("date").is_some());

    let list = server.call("SignUp", &[], b"[]");
    assert_eq!(
        (list.status, list.body.as_str()),
        (400, r#"{"__type":"SerializationException","Message":"Expected map or null"}"#)
    );
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert_eq!(server.call("SignUp", &[], &deep).json()["__type"], "SerializationException");

    let large = server.call("SignUp", &[], &vec![b' '; 2 * 1024 * 1024]);
    assert_eq!(large.status, 413);
    assert_eq!(large.json()["__type"], "RequestEntityTooLargeException");

    let plain = request(&server.api, "POST", "/", &[("Content-Type", "text/plain")], b"{}");
    assert_eq!(plain.json()["__type"], "UnknownOperationException");

    let preflight =
        request(&server.api, "OPTIONS", "/", &[("Access-Control-Request-Headers", "x-amz-target")], b"");
    assert_eq!((preflight.status, preflight.body.as_str()), (200, ""));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-amz-target"));
    assert_eq!(preflight.header("access-control-max-age"), Some("172800"));
}

#[test]
fn everything_else_is_not_found_in_json() {
    let server = Server::dev(&["--data", ":memory:"]);
    for path in ["/", "/nothing", "/_lido/console/", "/us-east-1_None/.well-known/jwks.json"] {
        let answer = server.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
}

#[test]
fn the_clock_is_moved_and_released() {
    let server = Server::dev(&["--data", ":memory:"]);
    let clock = |method: &str, body: &str| request(&server.api, method, "/_lido/clock", &[], body.as_bytes());
    let now = |answer: Answer| answer.json()["now"].as_i64().unwrap();
    let real = now(clock("GET", ""));
    let moved = now(clock("POST", r#"{"advanceSeconds": 3600}"#));
    assert!((3600..3605).contains(&(moved - real)));
    assert!((1_000_000_000..1_000_000_005).contains(&now(clock("POST", r#"{"set": 1000000000}"#))));
    assert!((0..5).contains(&(now(clock("DELETE", "")) - real)));
    for body in ["", "{}", r#"{"set": "noon"}"#, r#"{"set": 1e300}"#] {
        let answer = clock("POST", body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].is_string());
    }
}

#[test]
fn the_inbox_and_reset_answer() {
    let server = Server::dev(&["--data", ":memory:"]);
    let control =
        |method: &str, path: &str, body: &str| request(&server.api, method, path, &[], body.as_bytes());
    assert_eq!(server.get("/_lido/messages").json(), json!({ "messages": [] }));
    assert_eq!(control("DELETE", "/_lido/messages", "").status, 200);
    assert_eq!(server.get("/_lido/messages?medium=PIGEON").status, 400);
    assert_eq!(server.get("/_lido/messages?wait=soon").status, 400);
    assert_eq!(control("POST", "/_lido/reset", "").status, 200);
    assert_eq!(control("POST", "/_lido/reset", r#"{"userPoolId":"us-east-1_None"}"#).status, 404);
    assert_eq!(control("POST", "/_lido/reset", r#"{"pool":"x"}"#).status, 400);
    assert_eq!(control("PUT", "/_lido/reset", "").status, 405);
}

#[test]
fn a_web_page_of_another_host_is_no_administrator() {
    let server = Server::dev(&["--data", ":memory:"]);
    let control = |origin: &str, method: &str, path: &str| {
        request(&server.api, method, path, &[("Origin", origin)], b"").status
    };
    for (method, path) in [
        ("GET", "/_lido/messages"),
        ("DELETE", "/_lido/messages"),
        ("GET", "/_lido/clock"),
        ("DELETE", "/_lido/clock"),
        ("POST", "/_lido/reset"),
    ] {
        assert_eq!(control("http://localhost:3000", method, path), 200, "{method} {path}");
        assert_eq!(control("https://example.com", method, path), 403, "{method} {path}");
    }
    let refused = request(&server.api, "POST", "/_lido/reset", &[("Origin", "null")], b"");
    assert!(refused.json()["error"].is_string());

    let list = |origin: &str| server.call("ListUserPools", &[("Origin", origin)], br#"{"MaxResults": 1}"#);
    assert_eq!(list("http://app.localhost:3000").status, 200);
    assert_eq!(list("https://example.com").json()["__type"], "MissingAuthenticationTokenException");
    // What browsers call stays open to every page.
    let user = server.call("GetUser", &[("Origin", "https://example.com")], br#"{"AccessToken": "a"}"#);
    assert_eq!(user.json()["__type"], "NotAuthorizedException");
}

#[test]
fn the_real_server_has_no_development_paths_and_asks_for_signatures() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&mut serve(directory.path(), PRINCIPAL));
    let management = server.management.clone().unwrap();
    for path in ["/_lido/messages", "/_lido/clock", "/_lido/reset", "/_lido/console/"] {
        assert_eq!(server.get(path).status, 404, "{path}");
        assert_eq!(request(&management, "GET", path, &[], b"").status, 404, "{path}");
    }
    assert_eq!(server.get("/_lido/metrics").status, 404);
    let metrics = request(&management, "GET", "/_lido/metrics", &[], b"");
    assert!(metrics.body.contains("lido_build_info{version="));
    assert_eq!(request(&management, "GET", "/_lido/health/ready", &[], b"").status, 200);
    assert_eq!(request(&management, "POST", "/", &[], b"{}").status, 404);

    let unsigned = server.call("ListUserPools", &[], br#"{"MaxResults":10}"#);
    assert_eq!(
        (unsigned.status, unsigned.body.as_str()),
        (400, r#"{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}"#)
    );
    // Nothing of a body is told to a stranger.
    assert_eq!(
        server.call("ListUserPools", &[], b"[").json()["__type"],
        "MissingAuthenticationTokenException"
    );
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIAOTHER/20300101/us-east-1/cognito-idp/aws4_request, \
                         SignedHeaders=host;x-amz-date, Signature=00";
    let headers = [("Authorization", authorization), ("X-Amz-Date", "20300101T000000Z")];
    let foreign = server.call("ListUserPools", &headers, b"{}");
    assert_eq!(foreign.json()["__type"], "UnrecognizedClientException");
    assert_eq!(
        foreign.header("x-amzn-errormessage"),
        Some("The security token included in the request is invalid.")
    );
    // What browsers call without credentials does not look at the header at all.
    let sign_up = server.call("SignUp", &[("Authorization", "nonsense")], b"{}");
    assert_eq!(sign_up.json()["__type"], "InvalidParameterException");
}

#[test]
fn unsafe_configurations_are_refused_with_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let with = |config: &str, arguments: &[&str]| refusal(serve(directory, config).args(arguments));
    assert!(with("", &[]).contains("iam.principals: "));
    assert!(with(&format!("{PRINCIPAL}\n[iam2]"), &[]).contains("lido.toml line 8: unknown field `iam2`"));
    assert!(with(PRINCIPAL, &["--playground"]).contains("playground: "));
    assert!(with(PRINCIPAL, &["--data", ":memory:"]).contains("data: "));
    assert!(with(PRINCIPAL, &["--limits", "some"]).contains("limits: "));
    assert!(with(PRINCIPAL, &["--public-url", "http://id.example.com"]).contains("public_url: "));
    assert!(with("[iam]\nenforce = false", &["--listen", "0.0.0.0:0"]).contains("iam.enforce: "));
    assert!(with(PRINCIPAL, &["--data", "/proc/lido"]).contains("data: /proc/lido is not writable"));
    assert!(with(PRINCIPAL, &["--database", "postgres://localhost/lido"]).contains("database: "));
    assert!(!directory.join("data").exists(), "a refusal leaves nothing behind");
}

#[test]
fn data_and_key_belong_together() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let key = directory.join("data/master.key");
    let start = || Server::start(&mut serve(directory, PRINCIPAL)).terminate();
    assert_eq!(start().code(), Some(0));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(start().code(), Some(0));

    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&mut serve(directory, PRINCIPAL)).contains("master_key_file: "));
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();

    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    assert!(refusal(&mut serve(directory, PRINCIPAL)).contains("missing"));
    assert!(!key.exists());

    fs::write(&key, "A".repeat(43) + "=").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert!(refusal(&mut serve(directory, PRINCIPAL)).contains("not the one"));

    fs::write(&key, kept).unwrap();
    assert_eq!(start().code(), Some(0));
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let _first = Server::start(&mut serve(directory.path(), PRINCIPAL));
    assert!(refusal(&mut serve(directory.path(), PRINCIPAL)).contains("in use"));
}

#[test]
fn the_configuration_is_checked_and_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lido.toml");
    fs::write(&file, format!("region = \"eu-north-1\"\naccount = \"111111111111\"\n{PRINCIPAL}")).unwrap();
    let config = |command: &str| {
        let mut lido = lido();
        lido.args(["config", command, "--config"]).arg(&file);
        lido
    };
    assert!(config("check").status().unwrap().success());
    assert!(config("check").args(["--for", "serve"]).status().unwrap().success());

    let printed =
        config("print").args(["--region", "eu-west-1"]).env("LIDO_ACCOUNT", "222222222222").output().unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(!printed.contains("s3cret-key") && printed.contains("secret_access_key = \"***\""), "{printed}");
    assert!(printed.contains("region = \"eu-west-1\""), "{printed}");
    assert!(printed.contains("account = \"222222222222\""), "{printed}");

    fs::write(&file, "regoin = \"eu-north-1\"").unwrap();
    assert!(refusal(&mut config("check")).contains("line 1: unknown field `regoin`"));
    assert!(refusal(&mut config("print")).contains("regoin"));
}

#[test]
fn a_seed_is_applied_and_named_when_it_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let seed = directory.path().join("seed.yaml");
    fs::write(&seed, "UserPools:\n  - Id: us-east-1_Seeded01\n    PoolName: seeded\n").unwrap();
    let server = Server::dev(&["--data", ":memory:", "--seed", seed.to_str().unwrap()]);
    let keys = server.get("/us-east-1_Seeded01/.well-known/jwks.json");
    assert_eq!((keys.status, keys.json()["keys"].as_array().unwrap().len()), (200, 2));
    assert_eq!(keys.header("access-control-allow-origin"), Some("*"));
    let discovery = server.get("/us-east-1_Seeded01/.well-known/openid-configuration").json();
    let port = server.api.rsplit_once(':').unwrap().1;
    let issuer = format!("http://localhost:{port}/us-east-1_Seeded01");
    assert_eq!(discovery["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(discovery["issuer"], issuer);

    fs::write(&seed, "UserPools: 5").unwrap();
    let mut command = lido();
    command.args(["dev", "--listen", "127.0.0.1:0", "--data", ":memory:", "--seed"]).arg(&seed);
    assert!(refusal(&mut command).contains("seed: "));
}

#[test]
fn the_playground_is_explained_after_the_ready_line_and_outlives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut server = Server::dev(&["--playground", "--data", directory.path().to_str().unwrap()]);
        let mut text = String::new();
        while !text.contains("verifyUserAttribute") {
            assert!(server.out.read_line(&mut text).unwrap() > 0, "{text}");
        }
        assert!(text.contains("us-east-1_Playgrnd1") && text.contains(&server.api), "{text}");
        assert_eq!(server.terminate().code(), Some(0));
    }
}
