//! PostgreSQL: an empty database of the benchmark's own on a cluster that is running, and plain connections to it.
//!
//! These connections speak without TLS, and so does the server that is measured: what both cost is then the
//! database's work and nothing else.

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, NoTls};
use url::Url;

use crate::machine::{Cluster, random};

/// What the pool of a server holds unless its URL says `connections=N`.
const CONNECTIONS: u16 = 16;

/// A database that was made for this run.
#[derive(Debug)]
pub(crate) struct Database {
    name: String,
    /// Of this database, for the server.
    url: String,
    /// Of the database that the URL names, from which this one was made.
    administrator: Config,
    own: Config,
    /// Of a server's pool.
    connections: u16,
    /// What the database says of itself: `15.14`.
    pub(crate) version: String,
    /// Its processes; absent when they are not on this machine.
    pub(crate) cluster: Option<Cluster>,
}

impl Database {
    /// Makes one with a random name on the cluster of `url`, which names any other database of it.
    ///
    /// Errors: the URL asks for TLS, or the cluster is on another machine and the URL does not say
    /// `sslmode=disable`; whoever it names may not make databases.
    pub(crate) async fn create(url: &str) -> Result<Self> {
        let name = format!("lido_bench_{:016x}", u64::from_be_bytes(random()));
        let mut database = Self::address(url, &name)?;
        let administrator = connect(&database.administrator).await?;
        administrator
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
            .await
            .context("--database: an empty database cannot be made")?;
        if let Err(error) = database.describe().await {
            let _ = database.remove().await;
            return Err(error);
        }
        Ok(database)
    }

    fn address(url: &str, name: &str) -> Result<Self> {
        let mut url = Url::parse(url).context("--database is not a URL")?;
        ensure!(
            ["postgres", "postgresql"].contains(&url.scheme()),
            "--database: a URL like postgres://user:password@host:5432/postgres is expected"
        );
        let parameters: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let value =
            |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let has_said_so = match value("sslmode") {
            None => false,
            Some("disable") => true,
            Some(_) => {
                bail!("--database: the benchmark speaks without TLS; only sslmode=disable is possible")
            }
        };
        let connections = match value("connections") {
            None => CONNECTIONS,
            Some(count) => count.parse().context("--database: connections is a number")?,
        };
        let set = |url: &mut Url, connections: Option<&str>| {
            let others = parameters.iter().filter(|(key, _)| key != "sslmode" && key != "connections");
            let mut query = url.query_pairs_mut();
            query.clear().extend_pairs(others).append_pair("sslmode", "disable");
            if let Some(connections) = connections {
                query.append_pair("connections", connections);
            }
        };
        let pool = value("connections");
        set(&mut url, None);
        let administrator: Config = url.as_str().parse().context("--database")?;
        let is_here = administrator.get_hosts().iter().all(is_local);
        ensure!(
            is_here || has_said_so,
            "--database: the benchmark speaks without TLS; for another machine the URL has to say sslmode=disable"
        );
        let mut own = administrator.clone();
        own.dbname(name).application_name("lido-bench");
        url.set_path(name);
        set(&mut url, pool);
        Ok(Self {
            name: name.to_owned(),
            url: url.into(),
            administrator,
            own,
            connections: connections.max(1),
            version: String::new(),
            cluster: None,
        })
    }

    async fn describe(&mut self) -> Result<()> {
        let client = self.connect().await?;
        let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
        // Distributions append their own number in parentheses.
        self.version = version.split_whitespace().next().unwrap_or_default().to_owned();
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        self.cluster = Cluster::of(u32::try_from(backend).unwrap_or_default(), &self.name);
        if self.cluster.is_none() {
            eprintln!("the database's processes are not on this machine: their CPU time is not counted");
        }
        Ok(())
    }

    /// What `lido --database` and the store take.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// As many connections as `clients` can use at once in a server.
    pub(crate) fn shared_by(&self, clients: u16) -> u16 {
        clients.min(self.connections)
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        connect(&self.own).await
    }

    /// Does at once what the database would do in the minutes after users were loaded: looks at what is in the
    /// tables, and writes back what is only in its log.
    pub(crate) async fn settle(&self) -> Result<()> {
        let client = self.connect().await?;
        for table in ["users", "user_names", "user_search"] {
            // Engines that only speak the protocol have ANALYZE alone.
            if client.batch_execute(&format!("VACUUM (ANALYZE) {table}")).await.is_err() {
                client.batch_execute(&format!("ANALYZE {table}")).await?;
            }
        }
        // Not everybody may ask for one; then it comes when it comes.
        let _ = client.batch_execute("CHECKPOINT").await;
        Ok(())
    }

    /// Drops it, whoever is connected.
    pub(crate) async fn remove(&self) -> Result<()> {
        let client = connect(&self.administrator).await?;
        client
            .batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name))
            .await
            .with_context(|| format!("the database {} cannot be removed", self.name))
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

async fn connect(config: &Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await.context("the database cannot be reached")?;
    // Its errors reach whoever waits for an answer.
    tokio::spawn(connection);
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_gets_the_url_of_the_new_database() {
        let database = |url| Database::address(url, "fresh").unwrap();
        assert_eq!(
            database("postgres://u:p@127.0.0.1:5499/postgres").url(),
            "postgres://u:p@127.0.0.1:5499/fresh?sslmode=disable"
        );
        let other = database("postgres://u@db.example.com/x?connections=4&sslmode=disable&connect_timeout=3");
        assert_eq!(
            other.url(),
            "postgres://u@db.example.com/fresh?connect_timeout=3&sslmode=disable&connections=4"
        );
        assert_eq!(other.administrator.get_dbname(), Some("x"));
        assert_eq!((other.shared_by(2), other.shared_by(32)), (2, 4));
        assert_eq!(database("postgres://u@localhost/x").shared_by(1024), CONNECTIONS);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for url in [
            "mysql://u@localhost/x",
            "localhost",
            "postgres://u@db.example.com/x",
            "postgres://u@localhost/x?sslmode=require",
            "postgres://u@localhost/x?connections=many",
        ] {
            assert!(Database::address(url, "fresh").is_err(), "{url}");
        }
    }
}
