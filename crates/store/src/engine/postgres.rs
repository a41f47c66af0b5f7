//! PostgreSQL, and engines that speak its protocol: a pool of connections, each write body a serializable
//! transaction that is rerun when the database asks for it.
//!
//! Nothing here is assumed of the database but transactions, unique keys and foreign keys: no LISTEN, no advisory
//! locks, no sequences, no SKIP LOCKED. Settings that only PostgreSQL knows are tried, and left out elsewhere.
//!
//! A read sees, statement by statement, at least what was committed before it began; a [`snapshot`](Database::snapshot)
//! is consistent as a whole. Beginning and ending a transaction would cost a read as much as its statement.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    Hook, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use futures_util::future::{BoxFuture, FutureExt, join};
use futures_util::{TryStreamExt, pin_mut};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Statement;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;

use super::migrate::{self, Applied, Dialect, Migration};
use super::{Options, Role, Row, Tx, Value};
use crate::Error;

const DIALECT: Dialect = Dialect { bytes: "BYTEA", collation: "COLLATE \"C\"" };

/// Connections of one process unless the URL says `connections=N`.
const CONNECTIONS: usize = 16;
const MOST_CONNECTIONS: usize = 1000;

/// How long a new connection may take, and how long a body waits for one of the pool.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const WAIT_WITHIN: Duration = Duration::from_secs(10);
/// After this long without an answer a connection is dead, and its statements fail.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// A body is rerun, when the database asks for it, at most this often and for this long.
const ATTEMPTS: u32 = 100;
const RERUN_WITHIN: Duration = Duration::from_secs(20);
/// For each connection, where the engine knows them. Every statement of Lido has its index; on small tables, or
/// before the first ANALYZE, a planner may prefer to scan, which is slow later and locks more than it must:
/// a serializable scan conflicts with every write to its table.
const SETTINGS: [&str; 7] = [
    "SET enable_seqscan = off",
    "SET plan_cache_mode = force_generic_plan",
    // No page of users is worth starting processes or a compiler for, whatever the planner guesses of it.
    "SET max_parallel_workers_per_gather = 0",
    "SET jit = off",
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '60s'",
];

const WRITE: &str = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE";
/// Needs the rights of every other write, and changes nothing.
const TRY_WRITE: &str = "BEGIN READ WRITE; \
     UPDATE schema_migrations SET applied_ms = applied_ms WHERE version < 0; ROLLBACK";
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

// ---- The address ------------------------------------------------------------------------------

/// Where a database is and how it is spoken to. Its `Debug` has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    config: tokio_postgres::Config,
    tls: Tls,
    connections: usize,
}

/// What `sslmode` asks for, in libpq's words.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tls {
    verify: Verify,
    root: Option<PathBuf>,
    /// Certificate and key of the client.
    identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    /// `prefer`, `require`: the traffic is hidden from those who only listen.
    Nothing,
    /// `verify-ca`
    Authority,
    /// `verify-full`
    AuthorityAndName,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address")
            .field("config", &self.config)
            .field("tls", &self.tls)
            .field("connections", &self.connections)
            .finish()
    }
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?…` as libpq does, with its parameters `sslmode`,
    /// `sslrootcert`, `sslcert`, `sslkey`, and `connections`, the size of the pool.
    ///
    /// Without `sslmode`, a certificate is demanded and verified unless the host is this machine.
    ///
    /// Errors: [`Error::Address`], without the password.
    pub(super) fn parse(url: &str) -> Result<Self, Error> {
        let refuse = |what: String| Error::Address(what);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut passed_on = Vec::new();
        let (mut mode, mut root, mut certificate, mut key) = (None, None, None, None);
        let mut connections = CONNECTIONS;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = url::form_urlencoded::parse(parameter.as_bytes()).next().unwrap_or_default();
            match &*name {
                "sslmode" => mode = Some(value.into_owned()),
                "sslrootcert" => root = Some(PathBuf::from(&*value)),
                "sslcert" => certificate = Some(PathBuf::from(&*value)),
                "sslkey" => key = Some(PathBuf::from(&*value)),
                "connections" => {
                    connections = value
                        .parse()
                        .ok()
                        .filter(|count| (1..=MOST_CONNECTIONS).contains(count))
                        .ok_or_else(|| {
                        refuse(format!("connections is a number from 1 to {MOST_CONNECTIONS}"))
                    })?;
                }
                _ => passed_on.push(parameter),
            }
        }
        let rest =
            if passed_on.is_empty() { base.to_owned() } else { format!("{base}?{}", passed_on.join("&")) };
        let mut config: tokio_postgres::Config = rest.parse().map_err(|failure: tokio_postgres::Error| {
            let reason =
                std::error::Error::source(&failure).map_or_else(String::new, |source| format!(": {source}"));
            refuse(format!("it is not a URL like postgres://user:password@host:5432/database{reason}"))
        })?;
        if config.get_hosts().is_empty() {
            return Err(refuse("the URL names no host".into()));
        }
        let is_local = config.get_hosts().iter().all(is_local);
        let sockets = config.get_hosts().iter().all(|host| !matches!(host, Host::Tcp(_)));
        let (ssl, verify) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            Some("prefer") => (SslMode::Prefer, Verify::Nothing),
            Some("require") => (SslMode::Require, Verify::Nothing),
            Some("verify-ca") => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::AuthorityAndName),
            None if sockets => (SslMode::Disable, Verify::Nothing),
            None if is_local && root.is_none() => (SslMode::Prefer, Verify::Nothing),
            None => (SslMode::Require, Verify::AuthorityAndName),
            Some(_) => {
                return Err(refuse(
                    "sslmode is one of disable, prefer, require, verify-ca and verify-full".into(),
                ));
            }
        };
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(refuse("sslcert and sslkey belong together".into())),
        };
        config.ssl_mode(ssl);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_WITHIN);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(DEAD_AFTER);
        }
        config.keepalives_idle(DEAD_AFTER);
        if config.get_application_name().is_none() {
            config.application_name("lido");
        }
        Ok(Self { config, tls: Tls { verify, root, identity }, connections })
    }

    fn connector(&self) -> Result<MakeRustlsConnect, Error> {
        let refuse = |what: String| Error::Address(what);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|failure| refuse(format!("TLS cannot be set up: {failure}")))?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let config = match &self.tls.identity {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|failure| refuse(format!("sslkey {}: {failure}", key.display())))?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|failure| refuse(format!("sslcert and sslkey cannot be used: {failure}")))?
            }
        };
        Ok(MakeRustlsConnect::new(config))
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, Error> {
        let refuse = |what: String| Error::Address(what);
        if self.tls.verify == Verify::Nothing {
            return Ok(Arc::new(Lenient { provider, authority: None }));
        }
        let authority: Arc<dyn ServerCertVerifier> =
            match &self.tls.root {
                Some(file) => {
                    let mut roots = RootCertStore::empty();
                    for certificate in certificates("sslrootcert", file)? {
                        roots.add(certificate).map_err(|failure| {
                            refuse(format!("sslrootcert {}: {failure}", file.display()))
                        })?;
                    }
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                        .build()
                        .map_err(|failure| refuse(format!("sslrootcert {}: {failure}", file.display())))?
                }
                None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone()).map_err(
                    |failure| refuse(format!("the system's certificates cannot be used: {failure}")),
                )?),
            };
        Ok(match self.tls.verify {
            Verify::AuthorityAndName => authority,
            Verify::Authority | Verify::Nothing => Arc::new(Lenient { provider, authority: Some(authority) }),
        })
    }
}

fn certificates(setting: &str, file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|failure| Error::Address(format!("{setting} {}: {failure}", file.display())))?;
    if chain.is_empty() {
        return Err(Error::Address(format!("{setting} {}: there is no certificate in it", file.display())));
    }
    Ok(chain)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost"
                || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Takes a certificate whose name, or whose authority, nobody asked to verify.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    /// Absent: any certificate.
    authority: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// ---- The database -----------------------------------------------------------------------------

/// A pool of connections to a migrated database.
pub(super) struct Database {
    pool: Pool,
    /// Bodies that are under way or wait for a connection.
    bodies: Arc<AtomicUsize>,
    most_bodies: usize,
    writes: TaskTracker,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("pool", &self.pool.status()).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) async fn open(
        address: &Address,
        options: &Options,
        migrations: &[Migration],
    ) -> Result<Self, Error> {
        let manager = Manager::from_config(
            address.config.clone(),
            address.connector()?,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(address.connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT_WITHIN),
                create: Some(2 * CONNECT_WITHIN),
                recycle: Some(CONNECT_WITHIN),
            })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    prepare_session(client).await;
                    Ok(())
                })
            }))
            .build()
            .map_err(|failure| Error::Engine(failure.to_string()))?;
        let database = Self {
            pool,
            bodies: Arc::default(),
            most_bodies: options.queue.max(1),
            writes: TaskTracker::new(),
        };
        database.bring_up_to_date(options.role, migrations).await?;
        if options.role == Role::Server {
            database.ping().await?;
        }
        Ok(database)
    }

    pub(super) async fn write<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        C: Send + Sync + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>> + Send + Sync + 'static,
    {
        let place = self.place()?;
        let pool = self.pool.clone();
        // In a task of its own: it goes on when the caller goes away.
        let task = self.writes.spawn(async move {
            let outcome = run(&pool, Access::Write, &captures, &body).await;
            drop(place);
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            // The runtime ends.
            Err(_) => Err(Error::Closed.into()),
        }
    }

    pub(super) async fn read<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        E: From<Error>,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
    {
        let _place = self.place()?;
        run(&self.pool, Access::Read, &captures, &body).await
    }

    pub(super) async fn snapshot<C, T, E, F>(&self, captures: C, body: F) -> Result<T, E>
    where
        E: From<Error>,
        F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
    {
        let _place = self.place()?;
        run(&self.pool, Access::Snapshot, &captures, &body).await
    }

    /// Whether a transaction that writes can be begun.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        for lost in 0.. {
            let client = connection(&self.pool).await?;
            let Err(failure) = client.batch_execute(TRY_WRITE).await else { return Ok(()) };
            // What was begun ends with the connection.
            drop(Object::take(client));
            if class(&failure) != Class::Lost || lost >= most_lost(&self.pool) {
                return Err(error(&failure));
            }
        }
        unreachable!("the loop ends by returning")
    }

    pub(super) async fn close(&self) {
        self.writes.close();
        self.writes.wait().await;
        self.pool.close();
    }

    fn place(&self) -> Result<Place, Error> {
        let place = Place(Arc::clone(&self.bodies));
        if self.bodies.fetch_add(1, Ordering::Relaxed) >= self.most_bodies {
            return Err(Error::Busy);
        }
        Ok(place)
    }
}

/// One of the bodies that the process has under way.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A setting that an engine does not know is not set there.
async fn prepare_session(client: &tokio_postgres::Client) {
    if client.batch_execute(&SETTINGS.join(";")).await.is_err() {
        for setting in SETTINGS {
            let _ = client.batch_execute(setting).await;
        }
    }
}

async fn connection(pool: &Pool) -> Result<Object, Error> {
    pool.get().await.map_err(|failure| match failure {
        PoolError::Backend(failure) => error(&failure),
        PoolError::Timeout(deadpool_postgres::TimeoutType::Wait) => Error::Busy,
        PoolError::Timeout(_) => Error::Unavailable("the database does not answer in time".into()),
        PoolError::Closed => Error::Closed,
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => Error::Engine(failure.to_string()),
    })
}

// ---- Bodies -----------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// No transaction: each statement is one.
    Read,
    Snapshot,
    Write,
}

/// Runs a body until the database takes it.
async fn run<C, T, E, F>(pool: &Pool, access: Access, captures: &C, body: &F) -> Result<T, E>
where
    E: From<Error>,
    F: for<'a> Fn(&'a C, &'a mut Tx) -> BoxFuture<'a, Result<T, E>>,
{
    let began = Instant::now();
    let mut lost = 0;
    for attempt in 0.. {
        let client = connection(pool).await?;
        let mut tx = Connection::new(client, access).into_tx();
        let caught = AssertUnwindSafe(async { body(captures, &mut tx).await }).catch_unwind().await;
        let Ok(result) = caught else {
            tracing::error!("a transaction's body panicked");
            return Err(Error::Engine("the body panicked".into()).into());
        };
        match postgres(&mut tx).end(result.is_ok()).await {
            End::Taken => return result,
            End::Failed(failure) => return if result.is_err() { result } else { Err(failure.into()) },
            End::Refused(failure) => {
                drop(tx);
                if attempt >= ATTEMPTS || began.elapsed() > RERUN_WITHIN {
                    tracing::warn!("a transaction was refused {attempt} times: {failure}");
                    return Err(Error::Busy.into());
                }
                tokio::time::sleep(pause(attempt)).await;
            }
            End::Lost(failure) => {
                lost += 1;
                if lost > most_lost(pool) {
                    return Err(failure.into());
                }
            }
        }
    }
    unreachable!("the loop ends by returning")
}

/// Connections that may be found dead in a row: all of a pool die with the database, and none of them is told before
/// it is used. A new one that cannot be made ends it sooner.
fn most_lost(pool: &Pool) -> usize {
    pool.status().max_size
}

/// A random time that grows with the attempts: whoever met at a row should not meet again.
fn pause(attempt: u32) -> Duration {
    let most = 1_u64 << (attempt + 9).min(15);
    Duration::from_micros(RandomState::new().build_hasher().finish() % most)
}

/// What the database made of a body.
enum End {
    /// What it did is committed, or there was nothing to commit.
    Taken,
    /// Nothing of it is stored, and the database asks for another try.
    Refused(Error),
    /// The connection broke before the end: nothing of it is stored.
    Lost(Error),
    /// Nothing of it is stored, unless the connection broke while it was being committed.
    Failed(Error),
}

/// What a failed statement means for the body that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Refused,
    Lost,
    Other,
}

const ASKS_FOR_ANOTHER_TRY: [SqlState; 3] =
    [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE];

fn class(failure: &tokio_postgres::Error) -> Class {
    match failure.code() {
        Some(code) if ASKS_FOR_ANOTHER_TRY.contains(code) => Class::Refused,
        Some(code) if is_outage(code) => Class::Lost,
        // The connection was given to somebody else in between, as poolers do.
        Some(code) if *code == SqlState::INVALID_SQL_STATEMENT_NAME => Class::Lost,
        Some(_) => Class::Other,
        None if is_of_the_connection(failure) => Class::Lost,
        None => Class::Other,
    }
}

/// Whether a failure that is not the database's word came from the way to it, and not from a value.
fn is_of_the_connection(failure: &tokio_postgres::Error) -> bool {
    failure.is_closed()
        || std::error::Error::source(failure).is_some_and(|source| source.is::<std::io::Error>())
}

/// The database goes down, comes up, or has no room for another connection.
fn is_outage(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(code)
}

/// The store's word for a failure of PostgreSQL.
fn error(failure: &tokio_postgres::Error) -> Error {
    let Some(database) = failure.as_db_error() else {
        let source =
            std::error::Error::source(failure).map_or_else(String::new, |source| format!(": {source}"));
        return Error::Unavailable(format!("the database cannot be reached: {failure}{source}"));
    };
    let code = database.code();
    if *code == SqlState::UNIQUE_VIOLATION || *code == SqlState::FOREIGN_KEY_VIOLATION {
        return Error::Constraint(database.message().to_owned());
    }
    if *code == SqlState::DISK_FULL {
        return Error::Full;
    }
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return Error::ReadOnly;
    }
    if is_outage(code) {
        return Error::Unavailable(format!("the database takes no work: {}", database.message()));
    }
    Error::Engine(format!("{} (SQLSTATE {})", database.message(), code.code()))
}

// ---- Connections ------------------------------------------------------------------------------

/// One connection, for one body.
pub(super) struct Connection {
    /// `None` once it was given back.
    client: Option<Object>,
    access: Access,
    /// Whether a transaction is open.
    begun: bool,
    /// The first failure of a statement, after which the transaction takes no other.
    failure: Option<(Class, Error)>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("access", &self.access).finish_non_exhaustive()
    }
}

fn postgres(tx: &mut Tx) -> &mut Connection {
    match &mut tx.inner {
        super::Connection::Postgres(connection) => connection,
        super::Connection::Sqlite(_) => unreachable!("the engine made the transaction itself"),
    }
}

impl Connection {
    fn new(client: Object, access: Access) -> Self {
        Self { client: Some(client), access, begun: false, failure: None }
    }

    fn into_tx(self) -> Tx {
        Tx { inner: super::Connection::Postgres(self) }
    }

    pub(super) async fn exec(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<u64, Error> {
        let statement = self.prepare(sql, params).await?;
        let (client, begin) = self.begin()?;
        let (begun, changed) = join(begin, client.execute_raw(&statement, params.iter().copied())).await;
        self.note(begun.and(changed))
    }

    /// At most `limit` rows.
    pub(super) async fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Value<'_>],
        limit: usize,
        row: impl Fn(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let statement = self.prepare(sql, params).await?;
        let (client, begin) = self.begin()?;
        let rows = async {
            let rows = client.query_raw(&statement, params.iter().copied()).await?;
            pin_mut!(rows);
            let mut read = Vec::new();
            while let Some(next) = rows.try_next().await? {
                if read.len() < limit {
                    read.push(next);
                }
            }
            Ok(read)
        };
        let (begun, rows) = join(begin, rows).await;
        let rows = self.note(begun.and(rows))?;
        rows.iter().map(|next| row(&Row { inner: super::Columns::Postgres(next) })).collect()
    }

    /// The statement, which each connection prepares once.
    async fn prepare(&mut self, sql: &'static str, params: &[Value<'_>]) -> Result<Statement, Error> {
        if self.access != Access::Write && !sql.starts_with("SELECT") {
            return Err(Error::Engine(format!("a read tried to change something: {sql}")));
        }
        if let Some((_, failure)) = &self.failure {
            return Err(failure.clone());
        }
        let prepared = self.client.as_ref().ok_or(Error::Closed)?.prepare_cached(sql).await;
        let statement = self.note(prepared)?;
        let expected = statement.params().len();
        if expected == params.len() {
            return Ok(statement);
        }
        let failure =
            Error::Engine(format!("{} parameters for the {expected} placeholders of: {sql}", params.len()));
        self.failure.get_or_insert((Class::Other, failure.clone()));
        Err(failure)
    }

    /// The connection, and what opens its transaction if that is still to be done: it is sent in front of the first
    /// statement, without waiting for an answer in between.
    fn begin(&mut self) -> Result<(&Object, impl Future<Output = Result<(), tokio_postgres::Error>>), Error> {
        let begin = match self.access {
            Access::Write => Some(WRITE),
            Access::Snapshot => Some(SNAPSHOT),
            Access::Read => None,
        }
        .filter(|_| !self.begun);
        self.begun = self.access != Access::Read;
        let client = self.client.as_ref().ok_or(Error::Closed)?;
        Ok((client, async move {
            match begin {
                Some(begin) => client.batch_execute(begin).await,
                None => Ok(()),
            }
        }))
    }

    fn note<T>(&mut self, outcome: Result<T, tokio_postgres::Error>) -> Result<T, Error> {
        outcome.map_err(|failure| {
            let class = class(&failure);
            let noted = match class {
                Class::Other if failure.as_db_error().is_none() => Error::Engine(failure.to_string()),
                _ => error(&failure),
            };
            self.failure.get_or_insert((class, noted.clone()));
            noted
        })
    }

    /// Ends what the body began.
    async fn end(&mut self, keep: bool) -> End {
        let Some(client) = self.client.take() else { return End::Failed(Error::Closed) };
        if let Some((class, failure)) = self.failure.take() {
            let end = match class {
                Class::Refused => End::Refused(failure),
                Class::Lost => End::Lost(failure),
                Class::Other => End::Failed(failure),
            };
            if class == Class::Lost {
                drop(Object::take(client));
            } else {
                self.roll_back(client);
            }
            return end;
        }
        if !self.begun {
            return End::Taken;
        }
        if !keep || self.access == Access::Snapshot {
            self.roll_back(client);
            return End::Taken;
        }
        match client.batch_execute("COMMIT").await {
            Ok(()) => {
                self.begun = false;
                End::Taken
            }
            Err(failure) => {
                self.begun = false;
                let noted = error(&failure);
                match class(&failure) {
                    Class::Refused => End::Refused(noted),
                    // Whether it was committed is not known: it must not be run again.
                    Class::Lost => {
                        drop(Object::take(client));
                        End::Failed(noted)
                    }
                    Class::Other => End::Failed(noted),
                }
            }
        }
    }

    /// Sends ROLLBACK without waiting for the answer: whoever gets the connection next is behind it.
    fn roll_back(&mut self, client: Object) {
        if !self.begun {
            return;
        }
        self.begun = false;
        if let Some(Err(_)) = client.batch_execute("ROLLBACK").now_or_never() {
            drop(Object::take(client));
        }
    }
}

impl Drop for Connection {
    /// A body that panicked, or whose caller went away: its transaction ends with the connection.
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && self.begun
        {
            drop(Object::take(client));
        }
    }
}

// ---- Values -----------------------------------------------------------------------------------

/// PostgreSQL's texts hold every character but U+0000. It is written as U+FFFE (no character, so in no text that
/// means anything) and a digit, as is U+FFFE itself.
const ESCAPE: char = '\u{FFFE}';

fn escaped(text: &str) -> Cow<'_, str> {
    // 0xEF begins U+FFFE, and little else.
    if !text.bytes().any(|byte| byte == 0 || byte == 0xEF) || !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => out.extend([ESCAPE, '0']),
            ESCAPE => out.extend([ESCAPE, '1']),
            other => out.push(other),
        }
    }
    Cow::Owned(out)
}

fn unescaped(text: &str) -> String {
    if !text.contains(ESCAPE) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => out.push(if characters.next() == Some('0') { '\0' } else { ESCAPE }),
            other => out.push(other),
        }
    }
    out
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        column: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(int) => match *column {
                Type::INT8 => int.to_sql(column, out),
                Type::INT4 => i32::try_from(*int)?.to_sql(column, out),
                Type::INT2 => i16::try_from(*int)?.to_sql(column, out),
                _ => Err(format!("a number was bound to a parameter of type {column}").into()),
            },
            Value::Text(text) => match *column {
                Type::TEXT | Type::VARCHAR | Type::JSON | Type::JSONB | Type::UNKNOWN => {
                    escaped(text).as_ref().to_sql(column, out)
                }
                _ => Err(format!("a text was bound to a parameter of type {column}").into()),
            },
            Value::Bytes(bytes) => match *column {
                Type::BYTEA => bytes.to_sql(column, out),
                _ => Err(format!("bytes were bound to a parameter of type {column}").into()),
            },
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn of_row<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r tokio_postgres::Row,
    column: usize,
) -> Result<Option<T>, Error> {
    row.try_get(column).map_err(Error::corrupt)
}

pub(super) fn text(row: &tokio_postgres::Row, column: usize) -> Result<Option<String>, Error> {
    Ok(of_row::<&str>(row, column)?.map(unescaped))
}

pub(super) fn int(row: &tokio_postgres::Row, column: usize) -> Result<Option<i64>, Error> {
    of_row(row, column)
}

pub(super) fn bytes(row: &tokio_postgres::Row, column: usize) -> Result<Option<Vec<u8>>, Error> {
    of_row(row, column)
}

// ---- Migrations -------------------------------------------------------------------------------

const SCHEMA_EXISTS: &str = "SELECT 1 FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_name = 'schema_migrations'";
/// The row that a process locks while it changes the schema, so that several can start at once.
const LOCK_ROW: &str = "INSERT INTO schema_migrations (version, name, checksum, applied_ms) \
     VALUES (0, 'lock', '', 0) ON CONFLICT (version) DO NOTHING";
const LOCK: &str = "SELECT version FROM schema_migrations WHERE version = 0 FOR UPDATE";

/// What a process is told that creates the first table at the same time as another.
const MET_IN_THE_CATALOGUE: [SqlState; 3] =
    [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT];

impl Database {
    async fn bring_up_to_date(&self, role: Role, migrations: &[Migration]) -> Result<(), Error> {
        let began = Instant::now();
        for attempt in 0.. {
            let client = connection(&self.pool).await?;
            let outcome = migrate(&client, role, migrations).await;
            // What is left of a transaction goes with its connection.
            drop(Object::take(client));
            match outcome {
                Ok(()) => return Ok(()),
                Err(Failed::Final(failure)) => return Err(failure),
                Err(Failed::Statement(failure)) => {
                    let met = matches!(
                        failure.code(),
                        Some(code) if MET_IN_THE_CATALOGUE.contains(code)
                    );
                    if !(met || class(&failure) == Class::Refused) || began.elapsed() > RERUN_WITHIN {
                        return Err(error(&failure));
                    }
                    tokio::time::sleep(pause(attempt)).await;
                }
            }
        }
        unreachable!("the loop ends by returning")
    }
}

enum Failed {
    Statement(tokio_postgres::Error),
    Final(Error),
}

impl From<tokio_postgres::Error> for Failed {
    fn from(failure: tokio_postgres::Error) -> Self {
        Self::Statement(failure)
    }
}

impl From<Error> for Failed {
    fn from(failure: Error) -> Self {
        Self::Final(failure)
    }
}

/// Applies what is missing, each migration in a transaction that holds the lock.
async fn migrate(client: &Object, role: Role, migrations: &[Migration]) -> Result<(), Failed> {
    let exists = client.query_opt(SCHEMA_EXISTS, &[]).await?.is_some();
    let known = if exists { applied(client).await? } else { Vec::new() };
    if role == Role::Tool {
        return Ok(migrate::require(&known, migrations)?);
    }
    // A process that may not change a schema can work with one that needs no change.
    if migrate::next(&known, migrations)?.is_none() {
        return Ok(());
    }
    if !exists {
        client.batch_execute(migrate::CREATE).await?;
    }
    client.batch_execute("SET lock_timeout = 0; SET statement_timeout = 0").await?;
    client.batch_execute(LOCK_ROW).await?;
    loop {
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        client.query(LOCK, &[]).await?;
        let Some(migration) = migrate::next(&applied(client).await?, migrations)? else {
            client.batch_execute("ROLLBACK").await?;
            return Ok(());
        };
        let Migration { version, name, .. } = *migration;
        client.batch_execute(&migration.text(DIALECT)).await.map_err(|failure| {
            if class(&failure) == Class::Refused {
                return Failed::Statement(failure);
            }
            let half_done =
                [SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_COLUMN, SqlState::DUPLICATE_OBJECT];
            Failed::Final(Error::Migration(match failure.code() {
                Some(code) if half_done.contains(code) => format!(
                    "migration {version} ({name}) is half finished: {}, but it is not recorded as applied; \
                     restore the database, or remove what the migration made",
                    error(&failure)
                ),
                _ => format!("migration {version} ({name}) failed: {}", error(&failure)),
            }))
        })?;
        let checksum = migration.checksum();
        let now = migrate::now_ms();
        client.execute(migrate::RECORD, &[&version, &name, &checksum, &now]).await?;
        client.batch_execute("COMMIT").await?;
        tracing::info!(version, name, "applied migration {version} ({name})");
    }
}

async fn applied(client: &Object) -> Result<Vec<Applied>, Failed> {
    let rows = client.query(migrate::APPLIED, &[]).await?;
    let applied: Result<Vec<Applied>, Error> =
        rows.iter().map(|row| migrate::applied(&Row { inner: super::Columns::Postgres(row) })).collect();
    Ok(applied?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives_its_escape() {
        for text in
            ["", "plain", "ünïcode €", "a\0b", "\u{FFFE}", "\u{FFFE}0\0\u{FFFE}\u{FFFE}1", "\u{FEFF}\u{FFFD}"]
        {
            let stored = escaped(text);
            assert!(!stored.contains('\0'));
            assert_eq!(unescaped(&stored), text);
        }
    }

    #[test]
    fn the_address_says_how_to_speak() {
        let mode = |url: &str| {
            let address = Address::parse(url).unwrap();
            (address.config.get_ssl_mode(), address.tls.verify)
        };
        let unverified = |ssl| (ssl, Verify::Nothing);
        for (url, expected) in [
            ("postgres://u:p@127.0.0.1/db", unverified(SslMode::Prefer)),
            ("postgres://u:p@localhost:1/db?sslmode=disable", unverified(SslMode::Disable)),
            ("postgresql://u@db.example.com/x?sslmode=require", unverified(SslMode::Require)),
            ("postgres://u@db.example.com/x", (SslMode::Require, Verify::AuthorityAndName)),
            ("postgres://u@10.0.0.1/x?sslmode=verify-ca", (SslMode::Require, Verify::Authority)),
            ("postgres://u@localhost/x?sslrootcert=%2Fca.pem", (SslMode::Require, Verify::AuthorityAndName)),
            ("postgres://u@%2Frun%2Fpostgresql/x", unverified(SslMode::Disable)),
        ] {
            assert_eq!(mode(url), expected, "{url}");
        }
        assert_eq!(Address::parse("postgres://u@localhost/x?connections=3").unwrap().connections, 3);
    }

    #[test]
    fn a_bad_address_is_refused_without_its_password() {
        for url in [
            "mysql://u:hunter2@localhost/db",
            "postgres://u:hunter2@localhost:port/db",
            "postgres://u:hunter2@localhost/db?sslmode=maybe",
            "postgres://u:hunter2@localhost/db?connections=0",
            "postgres://u:hunter2@localhost/db?sslcert=a.pem",
            "postgres://u:hunter2@localhost/db?colour=blue",
            "hunter2",
        ] {
            let refusal = Address::parse(url).unwrap_err();
            assert!(matches!(refusal, Error::Address(_)), "{url}");
            assert!(!refusal.to_string().contains("hunter2"), "{refusal}");
        }
        let address = Address::parse("postgres://u:hunter2@localhost/db").unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
    }
}
