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
//! the same disk, by as many concurrent writers as the workload has clients; the echo server is hyper alone,
//! driven by the same client. Reads, JSON, checks and logs have no part in the limit: they are what the server
//! adds. The generator runs on the same cores, so its own cost, measured too, is taken off what the cores
//! have to give; for USER_SRP_AUTH it is large, as the client's half of SRP is. CPU of the server against the
//! limit is the robust ratio, throughput against the ceiling also shows idling and waiting.
//!
//! Not in here: anything that the server does, and tests. Start with [`run`]; the workloads and what each
//! consists of are in [`workloads`], the primitives in [`limits`].

mod drive;
mod echo;
mod limits;
mod machine;
mod prepare;
mod report;
mod server;
mod startup;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::drive::{Endpoint, Stop, connect, drive};
use crate::limits::Primitives;
use crate::machine::{Machine, OwnCpu, Process};
use crate::prepare::World;
use crate::report::{Line, Report};
use crate::server::Server;
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

    /// The server's binary [default: `lido` beside this program]
    #[arg(long, value_name = "FILE")]
    server: Option<PathBuf>,

    /// Where data directories are made, on the disk to be measured [default: beside this program]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Where the server's log goes [default: /dev/null]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,

    /// How long each workload is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,

    /// Concurrent clients, each with a connection of its own
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    clients: u16,

    /// Users in the pool
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(16..=10_000_000))]
    users: u32,

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
        // Ending early also ends the servers and removes their data: both are dropped with the future.
        tokio::select! {
            report = run(options) => report,
            signal = interrupted() => bail!("ended by {}", signal?),
        }
    })?;
    let markdown = report.markdown();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        eprint!("{markdown}");
    } else {
        print!("{markdown}");
    }
    for line in report.lines.iter().filter(|line| line.errors > 0) {
        let first = line.first_error.as_deref().unwrap_or_default();
        eprintln!("lido-bench: {}: {} errors, the first: {first}", line.workload, line.errors);
    }
    Ok(report.lines.iter().all(|line| line.errors == 0))
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
async fn run(options: &Options) -> Result<Report> {
    let selected: Vec<Workload> =
        Workload::ALL.into_iter().filter(|workload| options.selects(workload.name())).collect();
    let measures_starts = options.url.is_none() && options.selects("startup");
    if selected.is_empty() && !measures_starts {
        let names = Workload::ALL.map(Workload::name).join(", ");
        bail!("--only selects nothing; there are {names} and startup");
    }
    let own = std::env::current_exe().context("the path of this program")?;
    let beside = own.parent().context("this program has no directory")?;
    let binary = options.server.clone().unwrap_or_else(|| beside.join("lido"));
    let scratch = tempfile::Builder::new()
        .prefix("lido-bench-")
        .tempdir_in(options.scratch.as_deref().unwrap_or(beside))
        .context("the scratch directory")?;
    let data = scratch.path().join("data");

    let mut report = Report {
        machine: Machine::describe(),
        users: options.users,
        clients: options.clients,
        seconds: options.seconds,
        slices: Vec::new(),
        lines: Vec::new(),
        starts: Vec::new(),
        binary_bytes: None,
    };
    if !selected.is_empty() {
        let started = match &options.url {
            Some(_) => None,
            None => Some(server::lido(&binary, Some(&data), scratch.path(), options.log.as_deref())?),
        };
        let endpoint = match (&options.url, &started) {
            (Some(url), _) => Endpoint::parse(url)?,
            (None, Some(server)) => Endpoint::parse(&server.url)?,
            (None, None) => bail!("there is no server"),
        };
        let process = started.as_ref().map(Server::id).or(options.pid).map(Process);
        let primitives = Primitives::start(&own, scratch.path(), options.clients).await?;
        let world = World::prepare(endpoint, options.users, options.clients, &selected).await?;
        for workload in selected {
            eprintln!("{} …", workload.name());
            let slice = primitives.slice().await?;
            let line = one(workload, &world, options, process, &slice, report.machine.cores).await?;
            eprintln!("  {:.0}/s, limit {:.0}/s", line.per_second, line.ceiling_per_second);
            report.slices.push(slice);
            report.lines.push(line);
        }
        match started {
            Some(server) => server.stop()?,
            None => world.remove().await?,
        }
    }
    if measures_starts {
        report.starts = startup::measure(&binary, &data, scratch.path(), options.starts)?;
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
    process: Option<Process>,
    slice: &limits::Slice,
    cores: usize,
) -> Result<Line> {
    let seconds = Duration::from_secs(options.seconds);
    let mut connections = connect(&world.endpoint, options.clients).await?;
    let mut tally = drive::Tally::default();
    let (mut server_cpu, mut client_cpu) = (Duration::ZERO, Duration::ZERO);
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
        let before = process.map(|process| process.cpu()).transpose()?;
        let own = OwnCpu::now();
        let round = drive(&mut connections, stop, async |connection, operation| {
            let index = if workload.uses_up_codes() { operation } else { world.next() };
            workload.run(world, connection, index).await
        })
        .await;
        client_cpu += own.elapsed();
        if let (Some(process), Some(before)) = (process, before) {
            server_cpu += process.cpu()?.saturating_sub(before);
        }
        tally.add(round);
        if tally.errors > 0 || !workload.uses_up_codes() || tally.elapsed >= seconds {
            break;
        }
    }
    let memory = process.map(|process| process.memory()).transpose()?;
    ensure!(tally.errors > 0 || tally.operations() > 0, "{}: nothing was done", workload.name());
    Ok(Line::new(workload, tally, process.map(|_| server_cpu), client_cpu, memory, slice, cores))
}
