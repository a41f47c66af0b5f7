//! The benchmark: drives a running server, and measures beside each workload what it could cost at least.
//!
//! The limit of a workload is what the cryptography, the durable commits and bare HTTP in it cost on this
//! machine, measured in the same run, in a short slice right before the workload:
//!
//! ```text
//! limit [µs]    = Σ crypto parts + requests × CPU of an HTTP echo server + commits × CPU of a one-row commit
//! ceiling [1/s] = min( cores × 10⁶ / (limit + CPU of the load generator per operation), commits/s ÷ commits )
//! ```
//!
//! Crypto parts are CPU time of one thread calling `lido-crypto`; a commit is one row through `lido-store` on
//! the same disk, by as many concurrent writers as the workload has clients, or a bare INSERT into the same
//! PostgreSQL over as many connections as a server would have; the echo server is hyper alone, driven by the same
//! client. Reads, JSON, checks and logs have no part in the limit: they are what the server
//! adds. The generator runs on the same cores, so its own cost, measured too, is taken off what the cores
//! have to give; for USER_SRP_AUTH it is large, as the client's half of SRP is. CPU of the server against the
//! limit is the robust ratio, throughput against the ceiling also shows idling and waiting.
//!
//! Not in here: anything that the server does, and tests. Start with [`run`]; the workloads and what each
//! consists of are in [`workloads`], the primitives in [`limits`], the comparison of a small pool with a large one
//! in [`flat`].

mod database;
mod drive;
mod echo;
mod fill;
mod flat;
mod limits;
mod machine;
mod prepare;
mod report;
mod server;
mod startup;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, Parser, Subcommand};
use lido_store::Location;
use tokio::signal::unix::{SignalKind, signal};

use crate::database::Database;
use crate::drive::{Endpoint, Stop, connect, drive};
use crate::limits::Primitives;
use crate::machine::{Cpu, Machine, Meter, Process};
use crate::prepare::{Filling, World};
use crate::report::{Line, Pool, Report};
use crate::server::{Place, Server};
use crate::workloads::Workload;

/// Measures a Lido server against the limits of its machine.
#[derive(Debug, Parser)]
#[command(name = "lido-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The HTTP echo server that the benchmark starts for itself.
    #[command(hide = true)]
    Echo,
}

#[derive(Debug, Args)]
struct Options {
    /// A running `lido dev` to drive; without it a server of its own is started on a new data directory
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Process id of the server at --url, for its CPU time and memory
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,

    /// Measures on PostgreSQL instead of the embedded store: on an empty database of its own in the cluster of this
    /// URL, whose other databases should rest meanwhile
    #[arg(long, value_name = "URL", conflicts_with = "url")]
    database: Option<String>,

    /// Compares a pool of 1 000 users with one of --users, instead of everything else
    #[arg(long, conflicts_with = "url")]
    flat: bool,

    /// The server's binary [default: `lido` beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,

    /// Where data directories are made, on the disk to be measured [default: beside this program]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Where the server's log goes [default: /dev/null]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// How long each workload is measured, in each pool
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Concurrent clients, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,

    /// Users in the pool [default: 100000, with --flat 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    users: Option<u32>,

    /// Only what has this in its name, in any case: a workload, or `startup`; can be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Starts that the start-up figures are the median of
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    starts: u16,

    /// Print JSON to standard output, and the Markdown to standard error
    #[arg(long)]
    json: bool,
}

impl Options {
    fn users(&self) -> u32 {
        self.users.unwrap_or(if self.flat { flat::LARGE } else { 100_000 })
    }

    fn selects(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        self.only.is_empty() || self.only.iter().any(|only| name.contains(&only.to_lowercase()))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Some(Command::Echo) => echo::serve().map(|()| true),
        None => measure(&cli.options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lido-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there was no error in any workload.
fn measure(options: &Options) -> Result<bool> {
    // One thread drives all connections: the cheapest client. What computes for long goes to other threads.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let database = match &options.database {
            Some(url) => Some(Arc::new(Database::create(url).await?)),
            None => None,
        };
        // Ending early also ends the servers and removes their data: both are dropped with the future.
        let report = tokio::select! {
            report = run(options, database.as_ref()) => report,
            signal = interrupted() => Err(anyhow!("ended by {}", signal?)),
        };
        match database {
            Some(database) => {
                let removed = database.remove().await;
                report.and_then(|report| removed.map(|()| report))
            }
            None => report,
        }
    })?;
    let markdown = report.markdown();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        eprint!("{markdown}");
    } else {
        print!("{markdown}");
    }
    let lines = report.lines.iter().map(|line| (line.workload, line.errors, &line.first_error));
    let flat = report.flat.iter().map(|flat| (flat.workload, flat.errors, &flat.first_error));
    let mut is_clean = true;
    for (workload, errors, first) in lines.chain(flat).filter(|(_, errors, _)| *errors > 0) {
        is_clean = false;
        let first = first.as_deref().unwrap_or_default();
        eprintln!("lido-bench: {workload}: {errors} errors, the first: {first}");
    }
    Ok(is_clean)
}

async fn interrupted() -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

/// Everything in order: the server, its users, each workload after a slice of the limits, starts.
async fn run(options: &Options, database: Option<&Arc<Database>>) -> Result<Report> {
    let all: &[Workload] = if options.flat { &Workload::FLAT } else { &Workload::ALL };
    let selected: Vec<Workload> =
        all.iter().copied().filter(|workload| options.selects(workload.name())).collect();
    let measures_starts = options.url.is_none() && !options.flat && options.selects("startup");
    if selected.is_empty() && !measures_starts {
        let names = all.iter().map(|workload| workload.name()).collect::<Vec<_>>().join(", ");
        bail!("--only selects nothing; there are {names} and, without --flat, startup");
    }
    let own = std::env::current_exe().context("the path of this program")?;
    let beside = own.parent().context("this program has no directory")?;
    let binary = options.server.clone().unwrap_or_else(|| beside.join("lido"));
    let scratch = tempfile::Builder::new()
        .prefix("lido-bench-")
        .tempdir_in(options.scratch.as_deref().unwrap_or(beside))
        .context("the scratch directory")?;
    let data = scratch.path().join("data");
    let (place, location) = match database {
        Some(database) => {
            (Place::Database { url: database.url(), keys: &data }, Location::postgres(database.url())?)
        }
        None => (Place::Directory(&data), Location::Directory(data.clone())),
    };

    let mut report = Report {
        machine: Machine::describe(),
        engine: match (database, &options.url) {
            (Some(database), _) => format!("PostgreSQL {}", database.version),
            (None, Some(_)) => "a running server".to_owned(),
            (None, None) => "SQLite".to_owned(),
        },
        pools: Vec::new(),
        clients: options.clients,
        seconds: options.seconds,
        slices: Vec::new(),
        lines: Vec::new(),
        flat: Vec::new(),
        starts: Vec::new(),
        binary_bytes: None,
    };
    if !selected.is_empty() {
        let started = match &options.url {
            Some(_) => None,
            None => Some(server::lido(&binary, place, scratch.path(), options.log.as_deref())?),
        };
        let endpoint = match (&options.url, &started) {
            (Some(url), _) => Endpoint::parse(url)?,
            (None, Some(server)) => Endpoint::parse(&server.url)?,
            (None, None) => bail!("there is no server"),
        };
        let meter = Meter {
            server: started.as_ref().map(Server::id).or(options.pid).map(Process),
            database: database.and_then(|database| database.cluster),
        };
        let filling = match started {
            Some(_) => Filling::Store { location, database: database.cloned() },
            None => Filling::Api,
        };
        let clients = options.clients;
        if options.flat {
            let small = World::prepare(endpoint.clone(), flat::SMALL, &filling, clients, &selected).await?;
            let large = World::prepare(endpoint, options.users(), &filling, clients, &selected).await?;
            report.pools = [&small, &large].map(Pool::of).to_vec();
            let each = Duration::from_secs(options.seconds);
            for workload in selected {
                eprintln!("{} …", workload.name());
                let flat = flat::compare(workload, [&small, &large], clients, each, meter).await?;
                eprintln!("  {:.0}/s and {:.0}/s", flat.small.per_second, flat.large.per_second);
                report.flat.push(flat);
            }
        } else {
            let mut primitives = Primitives::start(&own, scratch.path(), database, clients).await?;
            let world = World::prepare(endpoint, options.users(), &filling, clients, &selected).await?;
            report.pools = vec![Pool::of(&world)];
            for workload in selected {
                eprintln!("{} …", workload.name());
                let slice = primitives.slice().await?;
                let line = one(workload, &world, options, meter, &slice, report.machine.cores).await?;
                eprintln!("  {:.0}/s, limit {:.0}/s", line.per_second, line.ceiling_per_second);
                report.slices.push(slice);
                report.lines.push(line);
            }
            if started.is_none() {
                world.remove().await?;
            }
        }
        if let Some(server) = started {
            server.stop()?;
        }
    }
    if measures_starts {
        report.starts = startup::measure(&binary, place, scratch.path(), options.starts)?;
        report.binary_bytes = Some(std::fs::metadata(&binary).context("the server's binary")?.len());
    }
    Ok(report)
}

/// How long a workload runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

async fn one(
    workload: Workload,
    world: &World,
    options: &Options,
    meter: Meter,
    slice: &limits::Slice,
    cores: usize,
) -> Result<Line> {
    let seconds = Duration::from_secs(options.seconds);
    let mut connections = connect(&world.endpoint, options.clients).await?;
    let mut tally = drive::Tally::default();
    let mut cpu = Cpu::default();
    if !workload.uses_up_codes() {
        drive(&mut connections, Stop::After(WARM_UP), async |connection, _| {
            workload.run(world, connection, world.next()).await
        })
        .await;
    }
    loop {
        let stop = if workload.uses_up_codes() {
            world.fetch_codes(options.clients).await?;
            // Fetching takes a while, and the server closes connections that rest.
            connections = connect(&world.endpoint, options.clients).await?;
            Stop::Operations(world.active.len())
        } else {
            Stop::After(seconds)
        };
        let metered = meter.start()?;
        let round = drive(&mut connections, stop, async |connection, operation| {
            let index = if workload.uses_up_codes() { operation } else { world.next() };
            workload.run(world, connection, index).await
        })
        .await;
        cpu += metered.elapsed()?;
        tally.add(round);
        if tally.errors > 0 || !workload.uses_up_codes() || tally.elapsed >= seconds {
            break;
        }
    }
    let memory = meter.server.map(Process::memory).transpose()?;
    ensure!(tally.errors > 0 || tally.operations() > 0, "{}: nothing was done", workload.name());
    Ok(Line::new(workload, tally, cpu, memory, slice, cores))
}
