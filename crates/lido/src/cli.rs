//! The commands of the binary.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::commands::{backup, keys, transfer};
use crate::config::{self, Config, Layer, LogFormat, Mode, Storage};
use crate::run;

/// A self-hosted server that speaks Amazon Cognito user pools.
#[derive(Debug, Parser)]
#[command(name = "lido", version, about, args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The development server: works offline at once, keeps messages in an inbox, has a movable clock.
    Dev(Start),
    /// The real server: signatures, limits and delivery are real.
    Serve(Start),
    /// Ends with 0 when the server at the URL is ready.
    Health {
        /// Base URL of the server or of its management address.
        #[arg(long, env = "LIDO_HEALTH_URL", value_name = "URL", default_value = "http://127.0.0.1:5436")]
        url: String,
    },
    /// Looks at the configuration without starting.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Writes a consistent copy of the embedded database to a file, while a server works with it.
    Backup(backup::Backup),
    /// Makes a data directory from what `lido backup` wrote.
    Restore(backup::Restore),
    /// Writes everything in a form that any engine takes.
    Export(transfer::Export),
    /// Reads what `lido export` wrote.
    Import(transfer::Import),
    /// Changes keys while servers work with them.
    #[command(subcommand)]
    Keys(keys::Keys),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Validates the effective configuration.
    Check(Inspection),
    /// Prints the effective configuration as TOML, secrets masked.
    Print(Inspection),
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    settings: Settings,
    /// Believe the system's clock, once, though it is far behind the time of the data's latest use.
    #[arg(long)]
    accept_clock: bool,
}

#[derive(Debug, Args)]
struct Inspection {
    /// The command that the configuration is meant for; it decides about defaults and what is allowed.
    #[arg(long = "for", value_name = "COMMAND", value_enum, default_value_t = Mode::Dev)]
    mode: Mode,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Configuration file; `lido.toml` if there is one.
    #[arg(long, env = "LIDO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Layer,
}

impl Settings {
    fn load(self, mode: Mode) -> Result<Layer> {
        config::load(self.config, self.flags, std::env::vars_os(), mode)
    }

    fn check(self, mode: Mode) -> Result<Config> {
        Config::check(self.load(mode)?, mode)
    }

    /// What a command beside the server needs of them. Logs go to standard error from here on.
    pub(crate) fn storage(self) -> Result<Storage> {
        start_logging(LogFormat::Text)?;
        Storage::check(&self.load(Mode::Serve)?, Mode::Serve)
    }
}

pub(crate) fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Dev(start) => serve(start, Mode::Dev),
        Command::Serve(start) => serve(start, Mode::Serve),
        Command::Health { url } => health(&url),
        Command::Config(ConfigCommand::Check(Inspection { mode, settings })) => {
            settings.check(mode)?;
            println!("the configuration is valid for lido {}", mode.as_str());
            Ok(())
        }
        Command::Config(ConfigCommand::Print(Inspection { mode, settings })) => {
            let layer = settings.load(mode)?;
            print!("{}", toml::to_string(&layer).context("the configuration cannot be written as TOML")?);
            Config::check(layer, mode).map(drop)
        }
        Command::Backup(command) => block_on(command.run()),
        Command::Restore(command) => block_on(command.run()),
        Command::Export(command) => block_on(command.run()),
        Command::Import(command) => block_on(command.run()),
        Command::Keys(command) => block_on(command.run()),
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

fn serve(start: Start, mode: Mode) -> Result<()> {
    let config = start.settings.check(mode)?;
    start_logging(config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(run::run(config, start.accept_clock));
    // What still runs after the time that is given to everything that ends is left behind.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

/// Logs go to standard error; the level comes from `LIDO_LOG` or `RUST_LOG`.
fn start_logging(format: LogFormat) -> Result<()> {
    let variable =
        |name| std::env::var(name).ok().filter(|value| !value.is_empty()).map(|value| (name, value));
    let filter = match variable("LIDO_LOG").or_else(|| variable("RUST_LOG")) {
        Some((name, value)) => EnvFilter::try_new(value).context(name)?,
        None => EnvFilter::new("info"),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().with_span_list(false).init(),
    }
    // In the form of every other line, and with the request that it belongs to.
    std::panic::set_hook(Box::new(|panic| tracing::error!(panic = %panic, "{panic}")));
    Ok(())
}

fn health(url: &str) -> Result<()> {
    let url = format!("{}/_lido/health/ready", url.trim_end_matches('/'));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(&url).send().await.context("the server cannot be reached")?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        if !status.is_success() {
            bail!("the server is not ready: {status} {text}");
        }
        println!("{text}");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
