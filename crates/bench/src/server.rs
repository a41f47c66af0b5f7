//! Processes that are started for the measurement and end with it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a start may take.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The server promises to end within 5 s.
const STOPPED_WITHIN: Duration = Duration::from_secs(8);

/// A child that has said where it listens. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    /// Of its `ready` line.
    pub(crate) url: String,
    /// From before it was spawned until that line was read.
    pub(crate) ready_after: Duration,
}

/// Where a server keeps its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    /// Nowhere.
    Memory,
    Directory(&'a Path),
    /// `keys`: the directory of its master key.
    Database {
        url: &'a str,
        keys: &'a Path,
    },
}

/// Starts `lido dev` on a free port, with its defaults and nothing of this process's configuration.
/// `directory`: where it runs. `log`: where its log goes; nowhere if absent.
pub(crate) fn lido(binary: &Path, place: Place<'_>, directory: &Path, log: Option<&Path>) -> Result<Server> {
    let log = match log {
        Some(path) => Stdio::from(File::create(path).with_context(|| path.display().to_string())?),
        None => Stdio::null(),
    };
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LIDO_") {
            command.env_remove(name);
        }
    }
    let data = match place {
        Place::Memory => Path::new(":memory:"),
        Place::Directory(data) => data,
        Place::Database { url, keys } => {
            // Not as an argument: everybody on the machine could read its password.
            command.env("LIDO_DATABASE", url);
            keys
        }
    };
    command.args(["dev", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    command.current_dir(directory).stderr(log);
    Server::spawn(command)
}

/// Starts the echo server, which is in this program.
pub(crate) fn echo(own: &Path) -> Result<Server> {
    let mut command = Command::new(own);
    command.arg("echo").stderr(Stdio::inherit());
    Server::spawn(command)
}

impl Server {
    fn spawn(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut server = Self { child, url: String::new(), ready_after: Duration::ZERO };
        let (sender, ready) = mpsc::channel();
        std::thread::spawn(move || {
            // To the end, so that the child never waits for a reader.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("ready ") {
                    let _ = sender.send((url.to_owned(), Instant::now()));
                }
            }
        });
        match ready.recv_timeout(READY_WITHIN) {
            Ok((url, at)) => {
                (server.url, server.ready_after) = (url, at - began);
                Ok(server)
            }
            Err(RecvTimeoutError::Timeout) => bail!("{name} is not ready after {READY_WITHIN:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = server.child.wait()?;
                bail!("{name} ended before it was ready ({status}); its log (--log FILE) says why")
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as a service manager does, and waits for that.
    ///
    /// Errors: it does not end in time, or with a failure.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.wait(STOPPED_WITHIN)?.context("the server does not end when it is asked to")?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn wait(&mut self, most: Duration) -> Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            match self.child.try_wait()? {
                None if began.elapsed() < most => std::thread::sleep(Duration::from_millis(2)),
                outcome => return Ok(outcome),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
