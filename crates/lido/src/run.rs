//! Puts the server together, runs it, and takes it apart.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lido_domain::Clock;
use lido_idp::cx::{Channel, Delivery, Parts};
use lido_idp::seed::{self, Seed};
use lido_idp::{Cx, Settings, background, transfer};
use lido_outbound::Functions;
use lido_server::sigv4::Verifier;
use lido_server::{Access, App, DevClock, Listeners};
use lido_store::{Location, Options, Role, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::clock::{Mark, SteadyClock};
use crate::config::checked::Transport;
use crate::config::{Config, Mode};
use crate::master_key;
use crate::playground;
use crate::ports::{SystemClock, SystemRandom};

/// Signing keys that are made ahead: enough for two new pools at once.
const KEY_STOCK: usize = 4;

/// How long requests in flight may take after the server was asked to end.
const GRACE: Duration = Duration::from_millis(3_500);
/// How long everything may take then.
const END_WITHIN: Duration = Duration::from_millis(4_500);
/// What of it is kept for functions and the store, whatever messages are on their way.
const LAST_STEPS: Duration = Duration::from_millis(500);

/// Runs a server until it is asked to end. `accept_clock`: the system's time counts, however far it is behind.
pub(crate) async fn run(config: Config, accept_clock: bool) -> Result<()> {
    let stop = Stop::listen()?;
    let (api, address) = bind("listen", config.listen).await?;
    let management = match config.management {
        Some(management) => Some(bind("management", management).await?),
        None => None,
    };
    let management_address = management.as_ref().map(|(_, address)| *address);

    let store = open(&config.storage.location).await?;
    if let Err(unfinished) = transfer::require_finished(&store).await {
        store.close().await;
        return Err(unfinished).context("data");
    }
    let random = Arc::new(SystemRandom);
    let keyring =
        master_key::keyring(&store, config.storage.master_key_file.as_deref(), &*random, config.mode).await;
    let keyring = match keyring {
        Ok(keyring) => keyring,
        Err(refusal) => {
            store.close().await;
            return Err(refusal);
        }
    };
    let real_clock: Arc<dyn Clock> =
        match SteadyClock::resume(Arc::new(SystemClock), &store, accept_clock).await {
            Ok(clock) => Arc::new(clock),
            Err(refusal) => {
                store.close().await;
                return Err(refusal);
            }
        };
    let mark = Mark::keep(store.clone(), Arc::clone(&real_clock));

    let dev_clock = (config.mode == Mode::Dev).then(|| Arc::new(DevClock::new(Arc::clone(&real_clock))));
    let clock: Arc<dyn Clock> = match &dev_clock {
        Some(dev_clock) => dev_clock.clone(),
        None => Arc::clone(&real_clock),
    };
    let functions = Arc::new(Functions::new(
        config.functions,
        config.default_function,
        config.aws,
        Arc::clone(&real_clock),
    ));
    let cx = Cx::new(Parts {
        settings: Settings {
            public_url: config.public_url.unwrap_or_else(|| format!("http://localhost:{}", address.port())),
            issuer: config.issuer,
            region: config.region,
            account: config.account,
            development: config.mode == Mode::Dev,
            limit_counts: config.limits,
        },
        store: store.clone(),
        clock,
        random,
        keyring,
        functions: functions.clone(),
        delivery: Delivery {
            email: channel(config.email),
            sms: channel(config.sms),
            inbox: config.mode == Mode::Dev,
            answer_within: config.answer_within,
            retry: config.retry,
        },
        key_stock: KEY_STOCK,
    });
    if let Some(file) = &config.seed {
        apply_seed(&cx, file).await?;
    }
    let access = match config.access_keys {
        // Signers have real clocks, wherever development has moved Lido's own.
        Some(keys) => Access::Enforced(Verifier::new(keys, real_clock)),
        None => Access::Open,
    };
    if config.mode == Mode::Dev && !address.ip().is_loopback() {
        warn!("anyone who reaches {address} is the administrator of this development server");
    }

    let api_url = format!("http://{address}");
    let management_url =
        management_address.map_or_else(|| api_url.clone(), |address| format!("http://{address}"));
    let playground = match config.playground {
        true => playground::prepare(&cx, &api_url, &management_url).await?,
        false => String::new(),
    };
    let background = background::spawn(Arc::clone(&cx));
    let app = Arc::new(App::new(cx, access, dev_clock));
    let listeners = Listeners { api, management: management.map(|(listener, _)| listener) };

    // Connections are taken from here on: the system has queued what came since the sockets were bound.
    announce(management_address, &api_url, &playground)?;
    info!("lido {} is ready at {api_url}", config.mode.as_str());

    let (asked, end) = tokio::sync::oneshot::channel();
    let stopped = async move {
        stop.wait().await;
        // The receiver lives as long as the server.
        let _ = asked.send(Instant::now() + END_WITHIN);
    };
    lido_server::serve(app, listeners, stopped, GRACE).await;
    let deadline = end.await.unwrap_or_else(|_| Instant::now() + END_WITHIN);
    let tidy = async {
        if timeout_at(deadline - LAST_STEPS, background.stop()).await.is_err() {
            warn!("the background was not waited for; a message that was just taken may be sent again");
        }
        functions.shutdown().await;
        mark.stop().await;
        store.close().await;
    };
    if timeout_at(deadline, tidy).await.is_err() {
        warn!("the end came before everything was done; nothing acknowledged is lost");
    }
    Ok(())
}

/// The first lines on standard output are a contract: scripts wait for them.
fn announce(management: Option<SocketAddr>, api_url: &str, playground: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut say = || -> std::io::Result<()> {
        if let Some(management) = management {
            writeln!(out, "management http://{management}")?;
        }
        writeln!(out, "ready {api_url}")?;
        out.write_all(playground.as_bytes())?;
        out.flush()
    };
    say().context("standard output")
}

async fn bind(setting: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok::<_, std::io::Error>((listener, address))
    };
    bound.await.with_context(|| format!("{setting}: {address}"))
}

async fn open(location: &Location) -> Result<Store> {
    let setting = match location {
        Location::Memory => "data",
        Location::Directory(directory) => {
            let place = || format!("data: {} is not writable", directory.display());
            master_key::create_directory(directory).with_context(place)?;
            let probe = directory.join(format!(".lido-{}", std::process::id()));
            fs::write(&probe, b"").with_context(place)?;
            fs::remove_file(&probe).with_context(place)?;
            "data"
        }
        Location::Postgres(_) => "database",
    };
    Store::open(Options::at(location.clone(), Role::Server)).await.context(setting)
}

fn channel(transport: Transport) -> Channel {
    match transport {
        Transport::Inbox => Channel::Inbox,
        Transport::None => Channel::None,
        Transport::Smtp(smtp) => Channel::Transport(smtp),
    }
}

/// Applies a seed file: YAML by its ending, else JSON.
async fn apply_seed(cx: &Cx, file: &Path) -> Result<()> {
    let place = || format!("seed: {}", file.display());
    let text = fs::read_to_string(file).with_context(place)?;
    let is_yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let seed: Seed = if is_yaml {
        serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("{error}")).with_context(place)?
    } else {
        serde_json::from_str(&text).with_context(place)?
    };
    let summary = seed::apply(cx, seed).await.with_context(place)?;
    info!(
        pools = summary.pools_created,
        clients = summary.clients_created,
        users = summary.users_created,
        left_alone = summary.left_alone,
        "applied {}",
        file.display()
    );
    Ok(())
}

/// SIGTERM and Ctrl-C, heard from the moment it is made.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        info!("ending: no new requests are taken");
    }
}
