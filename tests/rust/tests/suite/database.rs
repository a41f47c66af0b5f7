//! PostgreSQL as a server meets it: refusals at the start, TLS, an outage, and several nodes at once.
//!
//! Most of it needs `LIDO_TEST_POSTGRES`, and is passed over without.

use std::time::Duration;

use futures_util::future::join_all;
use lido_tests::{
    Lido, PASSWORD, PostgresServer, Setup, administrator, certificates, create_database, execute,
    on_postgres, with_database,
};
use reqwest::Url;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A password that no output may show.
const HIDDEN: &str = "hunter2hunter2";

/// The real server, as little as it starts with.
fn serve() -> Setup {
    Lido::setup().serve().config("[iam]\nenforce = false\n").flag("--management", "127.0.0.1:0")
}

/// Asserts that both servers refuse to start on the database: a single sentence that names the setting, and
/// `says` in it. The log may have lines of its own.
#[track_caller]
fn refuses(url: &str, says: &str) {
    refuses_with(&|setup| setup, url, says);
}

/// The same for servers that are set up further.
#[track_caller]
fn refuses_with(further: &dyn Fn(Setup) -> Setup, url: &str, says: &str) {
    for setup in [serve(), Lido::setup()] {
        let (status, text) = further(setup).database(url).refused();
        assert!(!status.success(), "{text}");
        let sentences: Vec<&str> = text.lines().filter(|line| !is_of_the_log(line)).collect();
        assert_eq!(sentences.len(), 1, "{text}");
        assert!(sentences[0].starts_with("lido: database: "), "{text}");
        assert!(sentences[0].contains(says), "{says} is not in: {text}");
        let password = Url::parse(url).ok().and_then(|url| url.password().map(str::to_owned));
        for hidden in [HIDDEN, password.as_deref().unwrap_or(HIDDEN)] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
}

/// Whether a line of standard error begins with a time and a level.
fn is_of_the_log(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|time| time.ends_with('Z'))
        && words.next().is_some_and(|level| ["ERROR", "WARN", "INFO"].contains(&level))
}

/// `url` with a user and a password.
fn as_user(url: &str, user: &str, password: &str) -> String {
    let mut url = Url::parse(url).unwrap();
    url.set_username(user).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

/// A server on an empty database; the directory keeps its master key, and the database itself.
async fn started() -> (TempDir, String, Lido) {
    let data = TempDir::new().unwrap();
    let url = create_database(data.path());
    let lido = Lido::setup().data(data.path()).database(&url).start().await;
    (data, url, lido)
}

#[test]
fn a_wrong_url_is_refused() {
    for (url, says) in [
        (format!("mysql://lido:{HIDDEN}@localhost/lido"), "postgres://"),
        (format!("postgres://lido:{HIDDEN}@localhost:many/lido"), "port"),
        (format!("lido:{HIDDEN}@localhost"), "postgres://"),
        (HIDDEN.to_owned(), "postgres://"),
        (format!("postgres://lido:{HIDDEN}@localhost/lido?sslmode=perhaps"), "sslmode"),
        (format!("postgres://lido:{HIDDEN}@localhost/lido?connections=0"), "connections"),
        (
            format!("postgres://lido:{HIDDEN}@localhost/lido?sslmode=verify-full&sslrootcert=/none.pem"),
            "/none.pem",
        ),
    ] {
        refuses(&url, says);
    }
}

#[test]
fn a_database_that_cannot_be_reached_is_refused() {
    // Nobody listens at a port that was just let go.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    refuses(&format!("postgres://lido:{HIDDEN}@127.0.0.1:{free}/lido"), "reached");
    refuses(&format!("postgres://lido:{HIDDEN}@no-such-host.invalid/lido"), "reached");
}

#[test]
fn who_is_not_let_in_is_refused() {
    let Some(url) = administrator() else { return };
    refuses(&as_user(&url, "lido", HIDDEN), "password");
    refuses(&as_user(&url, "no_such_role", HIDDEN), "password");
    refuses(&with_database(&url, "no_such_database"), "no_such_database");
}

#[tokio::test]
async fn a_newer_schema_is_refused_until_it_is_gone() {
    if !on_postgres() {
        return;
    }
    let (data, url, lido) = started().await;
    assert!(lido.terminate().success());
    let newer =
        "INSERT INTO schema_migrations (version, name, checksum, applied_ms) VALUES (9999, 'new', 'x', 1)";
    execute(&url, newer).await;
    refuses(&url, "9999");
    execute(&url, "DELETE FROM schema_migrations WHERE version = 9999").await;
    Lido::setup().data(data.path()).database(&url).start().await;
}

#[tokio::test]
async fn a_half_finished_migration_is_refused() {
    if !on_postgres() {
        return;
    }
    let (_data, url, lido) = started().await;
    assert!(lido.terminate().success());
    execute(
        &url,
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)",
    )
    .await;
    refuses(&url, "half finished");
    execute(&url, "UPDATE schema_migrations SET checksum = 'another' WHERE version = 1").await;
    refuses(&url, "migration 1");
}

#[tokio::test]
async fn a_database_that_may_not_be_written_is_refused() {
    if !on_postgres() {
        return;
    }
    let (data, url, lido) = started().await;
    assert!(lido.terminate().success());
    let name = Url::parse(&url).unwrap().path().trim_start_matches('/').to_owned();
    let role = format!("{name}_reader");
    execute(
        &url,
        &format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{HIDDEN}'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        ),
    )
    .await;
    // It can be read, and nothing else.
    refuses_with(&|setup| setup.data(data.path()), &as_user(&url, &role, HIDDEN), "permission denied");
    // Where there is no schema yet none can be made.
    let empty = create_database(data.path());
    execute(&empty, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    refuses(&as_user(&empty, &role, HIDDEN), "permission denied");
    execute(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

// ---- TLS -------------------------------------------------------------------------------------

/// How many of the server's connections are encrypted, and how many are not.
async fn encryption(url: &str) -> (i64, i64) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT count(*) FILTER (WHERE s.ssl), count(*) FILTER (WHERE NOT s.ssl) FROM pg_stat_ssl s \
               JOIN pg_stat_activity a ON a.pid = s.pid \
               WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.application_name = 'lido'";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn traffic_is_encrypted_and_certificates_are_verified_as_asked() {
    let Some(folder) = certificates() else { return };
    let data = TempDir::new().unwrap();
    let plain = create_database(data.path());
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (root, stranger) = (file("root.pem"), file("stranger.pem"));
    let with = |parameters: &[(&str, &str)]| {
        let mut url = Url::parse(&plain).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        url.to_string()
    };
    for (parameters, encrypted) in [
        (&[("sslmode", "disable")][..], false),
        (&[("sslmode", "prefer")], true),
        (&[("sslmode", "require")], true),
        (&[("sslmode", "verify-ca"), ("sslrootcert", &root)], true),
        (&[("sslmode", "verify-full"), ("sslrootcert", &root)], true),
        // Whoever names an authority wants it asked.
        (&[("sslrootcert", &root)], true),
    ] {
        let lido = Lido::setup().data(data.path()).database(&with(parameters)).start().await;
        let (hidden, open) = encryption(&plain).await;
        assert_eq!((hidden > 0, open > 0), (encrypted, !encrypted), "{parameters:?}");
        assert!(lido.terminate().success());
    }
    for parameters in [
        &[("sslmode", "verify-full"), ("sslrootcert", stranger.as_str())][..],
        &[("sslmode", "verify-ca"), ("sslrootcert", &stranger)],
        // The system's authorities have not signed it.
        &[("sslmode", "verify-full")],
    ] {
        refuses(&with(parameters), "certificate");
    }
}

// ---- An outage -------------------------------------------------------------------------------

async fn health(lido: &Lido) -> (u16, Value) {
    let answer = lido.request(http::Method::GET, "/_lido/health/ready").send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn an_outage_is_told_and_passes() {
    if !on_postgres() {
        return;
    }
    let postgres = PostgresServer::start().await;
    let lido = Lido::setup().database(&postgres.url()).start().await;
    let app = lido.pool().verify_email().app_client().await;
    let (user, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    assert_eq!(health(&lido).await.0, 200);

    for _ in 0..2 {
        postgres.stop();
        let (read, write, health) = tokio::join!(
            tokens.get_user(),
            app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })),
            health(&lido),
        );
        for answer in [read, write] {
            answer.fails_as(500, "InternalErrorException", "Internal error.");
        }
        assert_eq!(health.0, 503);
        let reason = health.1["reason"].as_str().unwrap();
        assert!(reason.contains("database"), "{reason}");
        lido.logged("ERROR").await;
        lido.logged("the database cannot be reached").await;

        postgres.resume().await;
        let recovered = async {
            while self::health(&lido).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), recovered).await.expect("it recovers by itself");
        tokens.get_user().await.ok();
        user.tokens().await;
    }
    app.sign_up_with("bo", PASSWORD, json!({ "email": "bo@example.com" })).await.ok();
    assert!(lido.terminate().success());
}

/// A server that starts while the database is down says so at once, and does not hang.
#[tokio::test]
async fn a_database_that_is_down_is_refused() {
    if !on_postgres() {
        return;
    }
    let postgres = PostgresServer::start().await;
    postgres.stop();
    refuses(&postgres.url(), "reached");
}

// ---- Nodes -----------------------------------------------------------------------------------

#[tokio::test]
async fn nodes_that_start_at_once_on_an_empty_database_all_get_ready() {
    if !on_postgres() {
        return;
    }
    for count in [2, 5] {
        let data = TempDir::new().unwrap();
        let url = create_database(data.path());
        let key = data.path().join("master.key");
        let nodes = join_all((0..count).map(|_| {
            Lido::setup()
                .database(&url)
                .flag("--master-key-file", key.to_str().unwrap())
                .flag("--public-url", "http://localhost:5436")
                .start()
        }))
        .await;
        let app = nodes[0].pool().app_client().await;
        for node in &nodes {
            let pools = node.call("ListUserPools", json!({ "MaxResults": 60 })).await.ok();
            assert_eq!(pools["UserPools"][0]["Id"], app.pool.id);
        }
        // One key for all: what one node seals another one opens.
        app.user("ana").email("ana@example.com").signed_in().await;
        for node in &nodes {
            let body = json!({
                "ClientId": app.id, "AuthFlow": "USER_PASSWORD_AUTH",
                "AuthParameters": { "USERNAME": "ana", "PASSWORD": PASSWORD },
            });
            node.call("InitiateAuth", body).await.ok();
        }
        for node in &nodes {
            assert!(!node.log().contains("ERROR"), "{}", node.log());
            assert!(node.terminate().success());
        }
    }
}

#[tokio::test]
async fn a_further_node_serves_the_same() {
    if !on_postgres() {
        return;
    }
    let lido = Lido::start().await;
    let app = lido.pool().app_client().await;
    let (_, tokens) = app.user("ana").email("ana@example.com").signed_in().await;
    let node = Setup::node_of(&lido).start().await;
    let path = format!("/{}/.well-known/openid-configuration", app.pool.id);
    assert_eq!(node.get(&path).await, lido.get(&path).await);
    node.call("GetUser", json!({ "AccessToken": tokens.access })).await.ok();
    // It outlives the first.
    drop(node.clone());
    lido.kill();
    node.call("GetUser", json!({ "AccessToken": tokens.access })).await.ok();
    Setup::node_of(&node).start().await.call("GetUser", json!({ "AccessToken": tokens.access })).await.ok();
}
