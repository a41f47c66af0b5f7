//! A `lido` process, and the control of it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::postgres::{create_database, on_postgres};
use crate::{Answer, Inbox, PoolBuilder};

/// How long a server may take to say that it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Lines of the server's log that a failed test shows.
const LOG_LINES: usize = 60;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file in a data directory that names its database.
const DATABASE_FILE: &str = "database.url";

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Setup {
    command: &'static str,
    config: Option<String>,
    data: Option<PathBuf>,
    database: Option<String>,
    arguments: Vec<String>,
    files: Vec<(String, String)>,
    environment: Vec<(String, OsString)>,
    /// The directory of the server that this one is a further node of.
    shared: Option<Arc<TempDir>>,
}

impl Setup {
    /// A further node beside a server: started the same way, on the same database, with its master key and its
    /// public URL. The servers need PostgreSQL for that.
    pub fn node_of(lido: &Lido) -> Self {
        let first = &lido.process;
        let database = first.storage.database.clone().expect("only a PostgreSQL database is shared by nodes");
        let mut node = first.setup.clone().database(&database);
        node.data = None;
        node.shared = Some(first.setup.shared.clone().unwrap_or_else(|| Arc::clone(&first.directory)));
        let port = Url::parse(lido.base()).expect("the base is a URL").port().expect("it has a port");
        let url = first
            .setup
            .given("--public-url")
            .map_or_else(|| format!("http://localhost:{port}"), str::to_owned);
        let key = first.storage.master_key.to_str().expect("the path is UTF-8");
        node.flag("--public-url", &url).flag("--master-key-file", key)
    }

    /// `lido serve` instead of `lido dev`.
    pub fn serve(mut self) -> Self {
        self.command = "serve";
        self
    }

    /// The text of `lido.toml`.
    pub fn config(mut self, text: impl Into<String>) -> Self {
        self.config = Some(text.into());
        self
    }

    /// A data directory that outlives the process, instead of the memory. On PostgreSQL a database belongs to it.
    pub fn data(mut self, directory: &Path) -> Self {
        self.data = Some(directory.to_owned());
        self
    }

    /// A database, whatever the suite runs on.
    pub fn database(mut self, url: &str) -> Self {
        self.database = Some(url.to_owned());
        self
    }

    /// A flag and its value. The last of a name counts.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A file in the directory that the server is started in.
    pub fn file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), text.into()));
        self
    }

    /// A flag without a value.
    pub fn switch(mut self, name: &str) -> Self {
        self.arguments.push(name.to_owned());
        self
    }

    /// A variable of the server's environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The value of a flag.
    fn given(&self, name: &str) -> Option<&str> {
        let at = self.arguments.iter().rposition(|given| given == name)?;
        self.arguments.get(at + 1).map(String::as_str)
    }

    /// `directory`: where the server is started.
    fn storage(&self, directory: &Path) -> Storage {
        // A test that says where its data lies means it.
        let says = self.given("--data").is_some() || self.given("--database").is_some();
        let wants_database = self.database.is_some() || (on_postgres() && !says);
        let beside = || directory.join("data");
        let data = match (self.given("--data"), &self.data) {
            (Some(data), _) => data.into(),
            (None, Some(data)) => data.clone(),
            (None, None) if wants_database || self.given("--database").is_some() => beside(),
            (None, None) => MEMORY.into(),
        };
        let database = match &self.database {
            Some(url) => Some(url.clone()),
            None if wants_database => Some(database_of(&data)),
            None => self.given("--database").map(str::to_owned),
        };
        let master_key =
            self.given("--master-key-file").map_or_else(|| data.join("master.key"), PathBuf::from);
        Storage { data, database, master_key }
    }

    fn command(&self, directory: &Path, storage: &Storage) -> Command {
        for (name, text) in &self.files {
            std::fs::write(directory.join(name), text).expect("a temporary file is writable");
        }
        if let Some(text) = &self.config {
            std::fs::write(directory.join("lido.toml"), text).expect("a temporary file is writable");
        }
        let mut command = program();
        command.arg(self.command);
        let data = storage.data.to_str().expect("the path is UTF-8");
        let database = storage.database.as_deref().map(|url| ("--database", url));
        for (name, value) in [("--listen", "127.0.0.1:0"), ("--data", data)].into_iter().chain(database) {
            if self.given(name).is_none() {
                command.args([name, value]);
            }
        }
        command.args(&self.arguments).current_dir(directory);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the server and waits until it is ready.
    pub async fn start(self) -> Lido {
        // On a thread of its own: servers that are started together do not wait for each other.
        let process = tokio::task::spawn_blocking(|| Process::start(self)).await;
        Lido::of(Arc::new(process.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()))))
    }

    /// Starts a server that must refuse to run: its exit status and what it said.
    pub fn refused(self) -> (ExitStatus, String) {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let storage = self.storage(directory.path());
        let mut child = self.command(directory.path(), &storage).spawn().expect("the binary runs");
        let mut said = child.stderr.take().expect("standard error is piped");
        let said = std::thread::spawn(move || {
            let mut text = Vec::new();
            said.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        // It ends without a line; one that gets ready would run for ever.
        let first = lines(child.stdout.take().expect("standard output is piped")).recv_timeout(READY_WITHIN);
        if first != Err(mpsc::RecvTimeoutError::Disconnected) {
            let _ = child.kill();
        }
        let status = child.wait().expect("the process can be waited for");
        let text = said.join().expect("the reader does not panic").expect("standard error can be read");
        assert_eq!(first, Err(mpsc::RecvTimeoutError::Disconnected), "it did not refuse to run:\n{text}");
        (status, text)
    }
}

/// Where a server's data lies.
#[derive(Clone, Debug)]
struct Storage {
    /// [`MEMORY`] for what is not kept.
    data: PathBuf,
    database: Option<String>,
    master_key: PathBuf,
}

const MEMORY: &str = ":memory:";

/// The database that belongs to a data directory; it is made for a directory that has none.
fn database_of(data: &Path) -> String {
    let file = data.join(DATABASE_FILE);
    if let Ok(url) = std::fs::read_to_string(&file) {
        return url;
    }
    std::fs::create_dir_all(data).expect("a temporary directory can be made");
    let url = create_database(data);
    std::fs::write(file, &url).expect("a temporary file is writable");
    url
}

/// The binary, without what the caller's environment says of servers. It reads nothing, and is heard through pipes.
pub fn program() -> Command {
    let mut command = Command::new(binary());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("LIDO_") || name_text.starts_with("AWS_") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command
}

/// `$LIDO_BIN`, or `target/<profile>/lido` beside `target/<profile>/deps/<this test>`.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LIDO_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test knows where it is");
    let profile = test.ancestors().nth(2).expect("tests are built in target/<profile>/deps");
    let binary = profile.join("lido");
    assert!(binary.exists(), "{} is missing: cargo build -p lido", binary.display());
    binary
}

struct Process {
    child: Mutex<Child>,
    base: String,
    management: String,
    log: Arc<Mutex<VecDeque<String>>>,
    setup: Setup,
    storage: Storage,
    /// Where it was started.
    directory: Arc<TempDir>,
}

impl Process {
    fn start(setup: Setup) -> Self {
        let directory = Arc::new(TempDir::new().expect("a temporary directory can be made"));
        let storage = setup.storage(directory.path());
        let mut child = setup.command(directory.path(), &storage).spawn().expect("the binary runs");
        let log = Arc::new(Mutex::new(VecDeque::new()));
        collect(child.stderr.take().expect("standard error is piped"), log.clone());
        let lines = lines(child.stdout.take().expect("standard output is piped"));
        let mut management = None;
        let base = loop {
            match lines.recv_timeout(READY_WITHIN) {
                Ok(line) => {
                    if let Some(address) = line.strip_prefix("management ") {
                        management = Some(address.to_owned());
                    }
                    if let Some(address) = line.strip_prefix("ready ") {
                        break address.to_owned();
                    }
                }
                Err(_) => {
                    let _ = child.kill();
                    let status = child.wait();
                    let log: Vec<String> = lock(&log).iter().cloned().collect();
                    panic!("lido did not get ready ({status:?}):\n{}", log.join("\n"));
                }
            }
        };
        let management = management.unwrap_or_else(|| base.clone());
        Self { child: Mutex::new(child), base, management, log, setup, storage, directory }
    }

    fn log(&self) -> String {
        lock(&self.log).iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn collect(source: impl Read + Send + 'static, log: Arc<Mutex<VecDeque<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            let mut log = lock(&log);
            if log.len() == LOG_LINES {
                log.pop_front();
            }
            log.push_back(line);
        }
    });
}

fn lines(source: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            // Read on when nobody listens any more: a full pipe would stop the server.
            let _ = sender.send(line);
        }
    });
    lines
}

/// A running server. Clones speak to the same one; the last of them ends it.
#[derive(Clone)]
pub struct Lido {
    process: Arc<Process>,
    http: reqwest::Client,
}

thread_local! {
    static LOG_SHOWN: Cell<bool> = const { Cell::new(false) };
}

impl fmt::Debug for Lido {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lido").field("base", &self.process.base).finish_non_exhaustive()
    }
}

impl Drop for Lido {
    fn drop(&mut self) {
        // A test has its own thread, and clones of the server.
        if std::thread::panicking() && !LOG_SHOWN.replace(true) {
            eprintln!("---- the log of lido ----\n{}\n----", self.process.log());
        }
    }
}

/// A server for tests that leave the clock alone and keep to their own pools.
static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());

impl Lido {
    pub fn setup() -> Setup {
        Setup {
            command: "dev",
            config: None,
            data: None,
            database: None,
            arguments: Vec::new(),
            files: Vec::new(),
            environment: Vec::new(),
            shared: None,
        }
    }

    /// A server of the test's own, its store in memory or, where the suite runs on PostgreSQL, in a database.
    pub async fn start() -> Self {
        Self::setup().start().await
    }

    /// The server that tests share which leave its clock alone and keep to their own pools.
    pub async fn shared() -> Self {
        let mut shared = lock(&SHARED);
        let process = shared.upgrade().unwrap_or_else(|| Arc::new(Process::start(Self::setup())));
        *shared = Arc::downgrade(&process);
        Self::of(process)
    }

    fn of(process: Arc<Process>) -> Self {
        // A client belongs to the runtime of its test. Certificates are not asked for: everything is local.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(120))
            .build()
            .expect("a client can be made");
        Self { process, http }
    }

    /// `http://127.0.0.1:…`
    pub fn base(&self) -> &str {
        &self.process.base
    }

    /// Base of the management address.
    pub fn management(&self) -> &str {
        &self.process.management
    }

    /// The flags that another command of the binary needs to work on the same data. Data in memory has none.
    pub fn storage_flags(&self) -> Vec<String> {
        let Storage { data, database, master_key } = &self.process.storage;
        assert!(database.is_some() || data != Path::new(MEMORY), "nobody else reaches data in memory");
        let text = |path: &Path| path.to_str().expect("the path is UTF-8").to_owned();
        let mut flags = vec!["--data".into(), text(data), "--master-key-file".into(), text(master_key)];
        if let Some(url) = database {
            flags.extend(["--database".into(), url.clone()]);
        }
        flags
    }

    /// The URL of the server's database; `None` for an embedded one.
    pub fn database(&self) -> Option<&str> {
        self.process.storage.database.as_deref()
    }

    /// What the server wrote to its log lately.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until the server has written `text` to its log: another thread reads it, in its own time.
    pub async fn logged(&self, text: &str) {
        let written = async {
            while !self.log().contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(10), written).await;
        assert!(outcome.is_ok(), "the log does not say {text}");
    }

    /// Calls an operation, unsigned.
    pub async fn call(&self, operation: &str, body: Value) -> Answer {
        self.send(operation, body.to_string()).await
    }

    /// The same with any body.
    pub async fn send(&self, operation: &str, body: impl Into<Vec<u8>>) -> Answer {
        let target = format!("AWSCognitoIdentityProviderService.{operation}");
        self.post(
            operation,
            &[("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &target)],
            body,
        )
        .await
    }

    /// `POST /` with these headers alone.
    pub async fn post(&self, name: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Answer {
        let mut request = self.http.post(format!("{}/", self.base())).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(name, request.send().await.expect("the server answers")).await
    }

    /// Calls an operation, or says why there was no answer.
    pub async fn try_call(&self, operation: &str, body: Value) -> Result<Answer, reqwest::Error> {
        let request = self
            .http
            .post(format!("{}/", self.base()))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("AWSCognitoIdentityProviderService.{operation}"))
            .body(body.to_string());
        Answer::try_read(operation, request.send().await?).await
    }

    /// Any request at all, to a path with its query.
    pub fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base()))
    }

    /// Sends what [`Lido::request`] began, wherever it was led to.
    pub async fn execute(&self, request: reqwest::Request) -> reqwest::Response {
        self.http.execute(request).await.expect("the server answers")
    }

    /// `GET` of a path that answers JSON.
    pub async fn get(&self, path: &str) -> Value {
        let response = self.request(http::Method::GET, path).send().await.expect("the server answers");
        assert_eq!(response.status(), 200, "GET {path}");
        response.json().await.expect("the answer is JSON")
    }

    /// `POST` of JSON to a path beside the API.
    pub async fn control(&self, path: &str, body: &Value) -> Value {
        let request = self.request(http::Method::POST, path).json(body);
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200, "POST {path} {body}");
        response.json().await.expect("the answer is JSON")
    }

    /// A pool to be made, as small as the service makes one.
    pub fn pool(&self) -> PoolBuilder {
        PoolBuilder::new(self.clone())
    }

    /// The messages of all pools.
    pub fn inbox(&self) -> Inbox {
        Inbox::new(self.clone(), String::new())
    }

    pub fn clock(&self) -> Clock {
        Clock(self.clone())
    }

    /// Ends the process as a power cut would.
    pub fn kill(&self) {
        let mut child = lock(&self.process.child);
        child.kill().expect("the process can be killed");
        child.wait().expect("the process can be waited for");
    }

    /// Asks the process to end and waits for that.
    pub fn terminate(&self) -> ExitStatus {
        let mut child = lock(&self.process.child);
        let status = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
        assert!(status.success(), "the process takes a signal");
        child.wait().expect("the process can be waited for")
    }
}

/// The server's clock.
#[derive(Debug)]
pub struct Clock(Lido);

impl Clock {
    /// Seconds since 1970.
    pub async fn now(&self) -> i64 {
        self.0.get("/_lido/clock").await["now"].as_i64().expect("the clock shows a number")
    }

    /// Moves the clock. It goes on running, so that a test keeps its distance from boundaries.
    pub async fn advance(&self, seconds: i64) {
        self.0.control("/_lido/clock", &json!({ "advanceSeconds": seconds })).await;
    }

    /// Sets the clock to a moment in seconds since 1970, from which it runs on.
    pub async fn set(&self, to: f64) {
        self.0.control("/_lido/clock", &json!({ "set": to })).await;
    }
}
