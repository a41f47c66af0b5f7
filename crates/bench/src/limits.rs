//! The primitives that workloads are made of, each measured alone: what nobody can do without.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lido_crypto::bignum;
use lido_crypto::jws::{self, SigningKey, VerifyingKey};
use lido_crypto::srp::{self, Verifier, client};
use lido_domain::Clock;
use lido_store::{Options, Store, sessions};
use serde::Serialize;
use serde_json::json;

use crate::drive::{self, Endpoint, Stop, connect, drive};
use crate::machine::{OwnCpu, Process, System, random, thread_cpu};
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
    /// A durable commit of one row, with all clients writing at once.
    pub(crate) commit: f64,
    pub(crate) commits_per_second: f64,
    /// How long a writer waits for it, in milliseconds.
    pub(crate) commit_p50_ms: f64,
}

/// What is needed to measure.
#[derive(Debug)]
pub(crate) struct Primitives {
    crypto: Crypto,
    echo: Server,
    store: Store,
    clients: u16,
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
    /// `own`: this program. `directory`: on the disk that the server's data is on.
    pub(crate) async fn start(own: &Path, directory: &Path, clients: u16) -> Result<Self> {
        let store = Store::open(Options::directory(directory.join("commits"))).await?;
        Ok(Self { crypto: Crypto::new()?, echo: server::echo(own)?, store, clients })
    }

    /// Measures all of them once, in some two seconds.
    pub(crate) async fn slice(&self) -> Result<Slice> {
        let crypto = &self.crypto;
        let start = srp::start(&crypto.verifier, &System);
        let token = jws::parse(&crypto.token).context("an own token")?;
        ensure!(crypto.verifying.verify(&token), "an own token is not verified");
        let http = self.http().await?;
        let commit = self.commit().await?;
        Ok(Slice {
            sign: alone(|| crypto.key.sign(&crypto.claims)),
            verify: alone(|| crypto.verifying.verify(&token)),
            power: alone(|| bignum::pow_g(&random())),
            srp_start: alone(|| srp::start(&crypto.verifier, &System)),
            srp_finish: alone(|| {
                srp::session_key(crypto.client.public(), &start.b, &start.public, &crypto.verifier)
            }),
            http: http.server,
            http_client: http.own,
            http_per_second: http.per_second,
            commit: commit.own,
            commits_per_second: commit.per_second,
            commit_p50_ms: commit.p50_ms,
        })
    }

    async fn http(&self) -> Result<Driven> {
        let body = Bytes::from(vec![b'x'; ECHOED]);
        // Anew each time: the server closes connections that rest.
        let mut connections = connect(&Endpoint::parse(&self.echo.url)?, self.clients).await?;
        Driven::measure(Some(Process(self.echo.id())), &mut connections, async |connection, _| {
            Ok(connection.post("Echo", body.clone()).await?.took)
        })
        .await
    }

    async fn commit(&self) -> Result<Driven> {
        let expires = System.now() + Duration::from_secs(3600);
        let mut writers = vec![(); self.clients.into()];
        Driven::measure(None, &mut writers, async |(), _| {
            let began = Instant::now();
            let new = self
                .store
                .write(random::<32>(), move |digest, tx| {
                    Box::pin(async move { sessions::redeem_once(tx, digest, expires).await })
                })
                .await?;
            ensure!(new, "32 random bytes came twice");
            Ok(began.elapsed())
        })
        .await
    }
}

/// A primitive that many clients ask for at once.
struct Driven {
    /// CPU per operation of the process that was asked, and of this one.
    server: f64,
    own: f64,
    per_second: f64,
    p50_ms: f64,
}

impl Driven {
    async fn measure<R>(
        server: Option<Process>,
        resources: &mut [R],
        operation: impl AsyncFn(&mut R, usize) -> Result<Duration>,
    ) -> Result<Self> {
        drive(resources, Stop::After(DRIVEN / 10), &operation).await.require_success()?;
        let before = server.map(Process::cpu).transpose()?;
        let own = OwnCpu::now();
        let tally = drive(resources, Stop::After(DRIVEN), &operation).await;
        let own = own.elapsed();
        let server = match (server, before) {
            (Some(server), Some(before)) => server.cpu()?.saturating_sub(before),
            _ => Duration::ZERO,
        };
        let mut tally: drive::Tally = tally.require_success()?;
        let [p50_ms] = tally.quantiles([0.5]);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / tally.operations() as f64;
        Ok(Self { server: each(server), own: each(own), per_second: tally.per_second(), p50_ms })
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
