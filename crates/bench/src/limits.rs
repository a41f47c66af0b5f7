//! The primitives that workloads are made of, each measured alone: what nobody can do without.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lido_crypto::bignum;
use lido_crypto::jws::{self, SigningKey, VerifyingKey};
use lido_crypto::srp::{self, Verifier, client};
use lido_domain::{Clock, Millis};
use lido_store::{Options, Store, sessions};
use serde::Serialize;
use serde_json::json;
use tokio_postgres::{Client, Statement};

use crate::database::Database;
use crate::drive::{self, Endpoint, Stop, connect, drive};
use crate::machine::{Meter, Process, System, random, thread_cpu};
use crate::server::{self, Server};

/// How long each of the primitives is measured in a slice: crypto, and what has clients.
const ALONE: Duration = Duration::from_millis(80);
const DRIVEN: Duration = Duration::from_millis(700);

/// Bytes of the echoed request: a call that carries an access token is about as long.
const ECHOED: usize = 1200;

/// The cost of each primitive, in microseconds of CPU time, at one moment of the run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Slice {
    /// RS256 over the claims of an ID token, RSA-2048.
    pub(crate) sign: f64,
    /// Its verification alone, without taking the token apart.
    pub(crate) verify: f64,
    /// `g^x`: a password becomes a verifier, or is compared with one.
    pub(crate) power: f64,
    /// `B = k*v + g^b`.
    pub(crate) srp_start: f64,
    /// `S = (A * v^u)^b` and the session key.
    pub(crate) srp_finish: f64,
    /// A request to the echo server: CPU of that server.
    pub(crate) http: f64,
    /// The same: CPU of the client, and requests per second with all clients.
    pub(crate) http_client: f64,
    pub(crate) http_per_second: f64,
    /// A durable commit of one row, with all clients writing at once: CPU of whoever asks, and of the database
    /// where that has processes of its own.
    pub(crate) commit: f64,
    pub(crate) commits_per_second: f64,
    /// How long a writer waits for it, in milliseconds.
    pub(crate) commit_p50_ms: f64,
    /// One row by its key, likewise. It is in no limit.
    pub(crate) read: f64,
    pub(crate) reads_per_second: f64,
}

/// What is needed to measure.
#[derive(Debug)]
pub(crate) struct Primitives {
    crypto: Crypto,
    echo: Server,
    rows: Rows,
    clients: u16,
}

/// Where a row is written durably, or read.
#[derive(Debug)]
enum Rows {
    /// Through the store: as many writers as there are clients share its syncs.
    Embedded(Store),
    /// With nothing in between: as many connections as a server would have, one statement at a time on each.
    Postgres { database: Arc<Database>, connections: Vec<Connection> },
}

/// A connection to PostgreSQL.
#[derive(Debug)]
struct Connection {
    client: Client,
    insert: Statement,
    select: Statement,
}

#[derive(Debug)]
struct Crypto {
    key: SigningKey,
    claims: serde_json::Value,
    token: String,
    verifying: VerifyingKey,
    verifier: Verifier,
    client: client::Client,
}

impl Primitives {
    /// `own`: this program. `directory`: on the disk that the server's data is on, if it is in no `database`.
    pub(crate) async fn start(
        own: &Path,
        directory: &Path,
        database: Option<&Arc<Database>>,
        clients: u16,
    ) -> Result<Self> {
        let rows = match database {
            None => Rows::embedded(directory).await?,
            Some(database) => Rows::postgres(database, clients).await?,
        };
        Ok(Self { crypto: Crypto::new()?, echo: server::echo(own)?, rows, clients })
    }

    /// Measures all of them once, in some three seconds.
    pub(crate) async fn slice(&mut self) -> Result<Slice> {
        let http = self.http().await?;
        let commit = self.rows.commit(self.clients).await?;
        let read = self.rows.read(self.clients).await?;
        let crypto = &self.crypto;
        let start = srp::start(&crypto.verifier, &System);
        let token = jws::parse(&crypto.token).context("an own token")?;
        ensure!(crypto.verifying.verify(&token), "an own token is not verified");
        Ok(Slice {
            sign: alone(|| crypto.key.sign(&crypto.claims)),
            verify: alone(|| crypto.verifying.verify(&token)),
            power: alone(|| bignum::pow_g(&random())),
            srp_start: alone(|| srp::start(&crypto.verifier, &System)),
            srp_finish: alone(|| {
                srp::session_key(crypto.client.public(), &start.b, &start.public, &crypto.verifier)
            }),
            http: http.others,
            http_client: http.own,
            http_per_second: http.per_second,
            commit: commit.own + commit.others,
            commits_per_second: commit.per_second,
            commit_p50_ms: commit.p50_ms,
            read: read.own + read.others,
            reads_per_second: read.per_second,
        })
    }

    async fn http(&self) -> Result<Driven> {
        let body = Bytes::from(vec![b'x'; ECHOED]);
        // Anew each time: the server closes connections that rest.
        let mut connections = connect(&Endpoint::parse(&self.echo.url)?, self.clients).await?;
        let echo = Meter { server: Some(Process(self.echo.id())), database: None };
        Driven::measure(echo, &mut connections, async |connection, _| {
            Ok(connection.post("Echo", body.clone()).await?.took)
        })
        .await
    }
}

/// The row that is read. Written rows have random keys.
const KNOWN: [u8; 32] = [0; 32];

fn expires() -> Millis {
    System.now() + Duration::from_secs(3600)
}

impl Rows {
    async fn embedded(directory: &Path) -> Result<Self> {
        let store = Store::open(Options::directory(directory.join("commits"))).await?;
        redeem(&store, KNOWN).await?;
        Ok(Self::Embedded(store))
    }

    async fn postgres(database: &Arc<Database>, clients: u16) -> Result<Self> {
        let client = database.connect().await?;
        // As the table `redeemed` is, of which the store would write a row.
        client
            .batch_execute(
                "CREATE TABLE lido_bench_rows (digest BYTEA NOT NULL PRIMARY KEY, expires_ms BIGINT NOT NULL); \
                 CREATE INDEX lido_bench_rows_by_expiry ON lido_bench_rows (expires_ms)",
            )
            .await?;
        let mut connections = Vec::new();
        for _ in 0..database.shared_by(clients) {
            connections.push(Connection::new(database.connect().await?).await?);
        }
        connections[0].insert(KNOWN).await?;
        Ok(Self::Postgres { database: database.clone(), connections })
    }

    async fn commit(&mut self, clients: u16) -> Result<Driven> {
        match self {
            Self::Embedded(store) => {
                let mut writers = vec![(); clients.into()];
                Driven::measure(Meter::default(), &mut writers, async |(), _| {
                    let began = Instant::now();
                    redeem(store, random()).await?;
                    Ok(began.elapsed())
                })
                .await
            }
            Self::Postgres { database, connections } => {
                Driven::measure(cluster(database), connections, async |connection, _| {
                    let began = Instant::now();
                    connection.insert(random()).await?;
                    Ok(began.elapsed())
                })
                .await
            }
        }
    }

    async fn read(&mut self, clients: u16) -> Result<Driven> {
        match self {
            Self::Embedded(store) => {
                let mut readers = vec![(); clients.into()];
                Driven::measure(Meter::default(), &mut readers, async |(), _| {
                    let began = Instant::now();
                    let found = store
                        .read(KNOWN, |digest, tx| {
                            Box::pin(async move { sessions::is_redeemed(tx, digest).await })
                        })
                        .await?;
                    ensure!(found, "a row is gone");
                    // A read is ready at once; the others should have their turn.
                    tokio::task::yield_now().await;
                    Ok(began.elapsed())
                })
                .await
            }
            Self::Postgres { database, connections } => {
                Driven::measure(cluster(database), connections, async |connection, _| {
                    let began = Instant::now();
                    connection.client.query_one(&connection.select, &[&&KNOWN[..]]).await?;
                    Ok(began.elapsed())
                })
                .await
            }
        }
    }
}

async fn redeem(store: &Store, digest: [u8; 32]) -> Result<()> {
    let expires = expires();
    let new = store
        .write(digest, move |digest, tx| {
            Box::pin(async move { sessions::redeem_once(tx, digest, expires).await })
        })
        .await?;
    ensure!(new, "32 random bytes came twice");
    Ok(())
}

fn cluster(database: &Database) -> Meter {
    Meter { server: None, database: database.cluster }
}

impl Connection {
    async fn new(client: Client) -> Result<Self> {
        let insert =
            client.prepare("INSERT INTO lido_bench_rows (digest, expires_ms) VALUES ($1, $2)").await?;
        let select = client.prepare("SELECT expires_ms FROM lido_bench_rows WHERE digest = $1").await?;
        Ok(Self { client, insert, select })
    }

    /// Commits one row: outside a transaction each statement is one.
    async fn insert(&self, digest: [u8; 32]) -> Result<()> {
        self.client.execute(&self.insert, &[&&digest[..], &expires().0]).await?;
        Ok(())
    }
}

/// A primitive that many clients ask for at once.
struct Driven {
    /// CPU per operation of this process, and of those that it asked.
    own: f64,
    others: f64,
    per_second: f64,
    p50_ms: f64,
}

impl Driven {
    async fn measure<R>(
        others: Meter,
        resources: &mut [R],
        operation: impl AsyncFn(&mut R, usize) -> Result<Duration>,
    ) -> Result<Self> {
        drive(resources, Stop::After(DRIVEN / 10), &operation).await.require_success()?;
        let metered = others.start()?;
        let tally = drive(resources, Stop::After(DRIVEN), &operation).await;
        let cpu = metered.elapsed()?;
        let mut tally: drive::Tally = tally.require_success()?;
        let [p50_ms] = tally.quantiles([0.5]);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / tally.operations() as f64;
        let others = cpu.server.unwrap_or_default() + cpu.database.unwrap_or_default();
        Ok(Self { own: each(cpu.client), others: each(others), per_second: tally.per_second(), p50_ms })
    }
}

impl Crypto {
    fn new() -> Result<Self> {
        bignum::prepare();
        let generated = SigningKey::generate()?;
        let key = SigningKey::from_pkcs8(generated.pkcs8.expose(), jws::new_kid(&System))?;
        let claims = json!({
            "sub": "3f1c2a4e-0d5b-4c6d-8e7f-9a0b1c2d3e4f",
            "email_verified": true,
            "iss": "http://localhost:5436/us-east-1_Example01",
            "cognito:username": "user00000000",
            "origin_jti": "6d0c2b1a-9f8e-4d7c-b6a5-948372615040",
            "aud": "1example23456789012345678",
            "event_id": "0f1e2d3c-4b5a-4968-8776-655443322110",
            "token_use": "id",
            "auth_time": 1_790_000_000,
            "exp": 1_790_003_600,
            "iat": 1_790_000_000,
            "jti": "aabbccdd-eeff-4011-a233-445566778899",
            "email": "user00000000@example.com",
        });
        Ok(Self {
            token: key.sign(&claims)?,
            verifying: VerifyingKey::from_modulus(&key.modulus_base64url())?,
            verifier: Verifier::derive("Example01", "user00000000", "Correct-Horse7!", random()),
            client: client::Client::new(&System),
            key,
            claims,
        })
    }
}

/// CPU microseconds of one call, on this thread.
fn alone<T>(run: impl Fn() -> T) -> f64 {
    black_box(run());
    let (began, before) = (Instant::now(), thread_cpu());
    let mut calls = 0_u32;
    while began.elapsed() < ALONE {
        black_box(run());
        calls += 1;
    }
    (thread_cpu() - before).as_secs_f64() * 1e6 / f64::from(calls)
}
