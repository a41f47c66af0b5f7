//! PostgreSQL for the suite: a database of its own for each server, where `LIDO_TEST_POSTGRES` names an
//! administrator, and servers that a test may stop. `./test postgres` sets it, and `tests/postgres.py`.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lido_domain::Random;
use reqwest::Url;
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::SystemRandom;

const ADMINISTRATOR: &str = "LIDO_TEST_POSTGRES";
const CERTIFICATES: &str = "LIDO_TEST_POSTGRES_CERTIFICATES";
/// Names of databases that the suite made begin with this.
const PREFIX: &str = "lido_test_";
/// How long a server may take to start.
const STARTED_WITHIN: Duration = Duration::from_secs(60);

/// Whether the suite runs on PostgreSQL.
pub fn on_postgres() -> bool {
    administrator().is_some()
}

/// The URL of somebody who may make databases and roles: that of the database `postgres`.
pub fn administrator() -> Option<String> {
    std::env::var(ADMINISTRATOR).ok().filter(|url| !url.is_empty())
}

/// The directory with `root.pem`, the authority of the server's certificate, and `stranger.pem`, another one.
/// `None` where the server does not speak TLS.
pub fn certificates() -> Option<PathBuf> {
    std::env::var_os(CERTIFICATES).map(PathBuf::from)
}

/// `url` with another database.
pub fn with_database(url: &str, database: &str) -> String {
    let mut url = Url::parse(url).expect("the address of PostgreSQL is a URL");
    url.set_path(database);
    url.into()
}

/// Runs statements, separated by semicolons, in the database that `url` names.
pub async fn execute(url: &str, sql: &str) {
    let client = connect(url).await.expect("PostgreSQL can be reached");
    client.batch_execute(sql).await.unwrap_or_else(|failure| panic!("{failure:?}: {sql}"));
}

/// Makes an empty database for the server whose data is `directory`, and returns its URL. When the directory is
/// gone nobody needs the database any more: whoever makes the next one removes it.
pub fn create_database(directory: &Path) -> String {
    let administrator = administrator().expect("somebody is named who makes databases");
    let mut random = [0; 8];
    SystemRandom.fill(&mut random);
    let name = format!("{PREFIX}{:016x}", u64::from_be_bytes(random));
    let owner = directory.to_str().expect("the path is UTF-8").replace('\'', "''");
    elsewhere(async {
        let client = connect(&administrator).await.expect("PostgreSQL can be reached");
        for sql in [
            format!("CREATE DATABASE {name} TEMPLATE template0"),
            format!("COMMENT ON DATABASE {name} IS '{owner}'"),
        ] {
            client.batch_execute(&sql).await.unwrap_or_else(|failure| panic!("{failure:?}: {sql}"));
        }
        remove_orphans(&client).await;
    });
    with_database(&administrator, &name)
}

/// Removes the databases whose directory is gone. Others may be at the same one.
async fn remove_orphans(client: &Client) {
    let sql = "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname LIKE $1";
    let databases = client.query(sql, &[&format!("{PREFIX}%")]).await.expect("databases are listed");
    for row in databases {
        let (name, directory): (String, Option<String>) = (row.get(0), row.get(1));
        if directory.is_some_and(|directory| !Path::new(&directory).exists()) {
            let _ = client.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
        }
    }
}

/// How many others are connected to the database that `url` names.
pub async fn connections(url: &str) -> i64 {
    let client = connect(url).await.expect("PostgreSQL can be reached");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    client.query_one(sql, &[]).await.expect("connections are counted").get(0)
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    // What the parameters ask for is meant for Lido.
    let address = url.split('?').next().unwrap_or_default();
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Completes a future for a caller that is in a runtime already, and cannot wait there.
fn elsewhere<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(work)
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A PostgreSQL server of the test's own, which it may stop and start. Its administrator needs no password.
#[derive(Debug)]
pub struct PostgresServer {
    directory: TempDir,
    port: u16,
    owner: Option<(u32, u32)>,
    /// Whether commits are to survive the machine.
    fsync: bool,
    process: Mutex<Option<Child>>,
}

impl PostgresServer {
    /// Makes a server and waits until it answers. Its programs are those of the `PATH`.
    pub async fn start() -> Self {
        Self::make(false).await
    }

    /// The same with commits that wait for the disk.
    pub async fn start_durable() -> Self {
        Self::make(true).await
    }

    async fn make(fsync: bool) -> Self {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let owner = unprivileged();
        if let Some((user, group)) = owner {
            chown(directory.path(), Some(user), Some(group)).expect("root may give its directory away");
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a port is free").port();
        let server = Self { directory, port, owner, fsync, process: Mutex::new(None) };
        let made = server
            .program("initdb")
            .args(["-D", "data", "-U", "lido", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status()
            .expect("initdb runs");
        assert!(made.success(), "{}", server.log());
        server.resume().await;
        server
    }

    /// `postgres://lido@127.0.0.1:<port>/postgres`
    pub fn url(&self) -> String {
        format!("postgres://lido@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends the server as a crash does; its connections break.
    pub fn stop(&self) {
        self.end("-QUIT");
    }

    /// Ends its first process alone, without a word to the others, which notice that on their own.
    pub fn kill(&self) {
        self.end("-KILL");
    }

    fn end(&self, signal: &str) {
        if let Some(mut process) = self.process.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }

    /// Starts it again with the data that it has.
    pub async fn resume(&self) {
        let asked = Instant::now();
        let mut child = self.spawn();
        while let Err(failure) = connect(&self.url()).await {
            assert!(asked.elapsed() < STARTED_WITHIN, "{failure:?}\n{}", self.log());
            // It refuses to start beside processes of its last life.
            if child.try_wait().expect("the process can be asked").is_some() {
                child = self.spawn();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
    }

    fn spawn(&self) -> Child {
        let port = self.port.to_string();
        let fsync = if self.fsync { "fsync=on" } else { "fsync=off" };
        self.program("postgres")
            .args(["-D", "data", "-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", fsync])
            .args(["-c", "unix_socket_directories=", "-c", "max_connections=200"])
            .spawn()
            .expect("postgres runs")
    }

    fn program(&self, name: &str) -> Command {
        let log = File::options().create(true).append(true).open(self.directory.path().join("log"));
        let log = log.expect("a temporary file is writable");
        let mut command = Command::new(name);
        command
            .current_dir(self.directory.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log);
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The user and group that PostgreSQL runs as, which refuses to be root; `None` for a caller who is not.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata("/proc/self").expect("a process knows who it is");
    if own.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the users are listed");
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(|id| id.parse::<u32>().ok());
        Some((ids.next()??, ids.next()??))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("there is somebody other than root"))
}
