//! A function as a process that speaks the Lambda Runtime API.
//!
//! A [`Supervisor`] keeps the processes of one function: started on demand, kept warm, one invocation
//! at a time in each, ended when a time limit passes. A [`Process`] is one of them with its listener.

use std::collections::VecDeque;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::Bytes;
use lido_domain::Clock;
use lido_domain::ports::InvokeError;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::runtime_api::{self, Job, Phase, Runtime};
use super::{Failure, answer, function_error, name_of, region_of, unreachable};

/// How long a process may take until it first asks for an invocation: Lambda's limit of the init phase.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// Idle processes beyond [`KEPT_IDLE`] are ended after this time without work.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
const KEPT_IDLE: usize = 2;

/// The pause before a process is started again that failed to start, doubled with every failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A longer line of a function's output is logged in pieces.
const LOG_LINE: u64 = 16 * 1024;

/// Lido's own settings, among them secrets: not for functions.
const OWN_VARIABLES: &str = "LIDO_";

/// The processes of one function.
#[derive(Debug)]
pub(super) struct Supervisor {
    arn: String,
    argv: Vec<String>,
    cwd: Option<PathBuf>,
    limit: Duration,
    clock: Arc<dyn Clock>,
    /// As many processes may work at once; more callers wait.
    slots: Semaphore,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Without work; the most recently used last.
    idle: VecDeque<(Arc<Process>, Instant)>,
    /// Every process that may still be running.
    live: Vec<Arc<Process>>,
    failures: Failures,
    closed: bool,
}

/// Starts that failed in a row.
#[derive(Debug, Default)]
struct Failures {
    count: u32,
    not_before: Option<Instant>,
}

impl Failures {
    /// When the next process may start. A start under suspicion keeps others waiting as well.
    fn next_start(&mut self) -> Instant {
        let now = Instant::now();
        let at = self.not_before.map_or(now, |moment| moment.max(now));
        self.not_before = (self.count > 0).then(|| at + self.pause());
        at
    }

    fn add(&mut self) {
        self.count += 1;
        self.not_before = Some(Instant::now() + self.pause());
    }

    fn pause(&self) -> Duration {
        (FIRST_PAUSE * 2_u32.saturating_pow(self.count.saturating_sub(1))).min(LONGEST_PAUSE)
    }
}

impl Supervisor {
    pub(super) fn new(
        arn: &str,
        argv: Vec<String>,
        cwd: Option<PathBuf>,
        limit: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            arn: arn.to_owned(),
            argv,
            cwd,
            limit,
            clock,
            slots: Semaphore::new(2 * cores),
            pool: Mutex::default(),
        }
    }

    /// One attempt. It goes to its end even if the caller goes away, as it does in Lambda.
    pub(super) async fn invoke(self: &Arc<Self>, arn: &str, event: Bytes) -> Result<Value, Failure> {
        let (supervisor, arn) = (Arc::clone(self), arn.to_owned());
        tokio::spawn(async move { supervisor.attempt(&arn, event).await })
            .await
            .unwrap_or_else(|_| Err(Failure::Final(unreachable("ServiceException"))))
    }

    /// Ends every process; [`Self::stopped`] waits for it.
    pub(super) fn stop(&self) {
        let mut pool = self.pool();
        pool.closed = true;
        pool.idle.clear();
        for process in &pool.live {
            process.stop();
        }
    }

    pub(super) async fn stopped(&self) {
        let live = std::mem::take(&mut self.pool().live);
        for process in live {
            process.exited().await;
        }
    }

    /// The time limit runs while the caller waits for a free process, and again while the function works;
    /// between them a process that has to be started has its own limit.
    async fn attempt(self: &Arc<Self>, arn: &str, event: Bytes) -> Result<Value, Failure> {
        let Ok(Ok(_slot)) = timeout(self.limit, self.slots.acquire()).await else {
            warn!(function.arn = %self.arn, "no process of {} became free in time", self.arn);
            return Err(Failure::Again(InvokeError::Timeout));
        };
        loop {
            let (process, warm) = match self.idle() {
                Some(process) => (process, true),
                None => (self.start().await?, false),
            };
            let request_id = Uuid::new_v4().to_string();
            let run = process.run(&request_id, arn, event.clone(), self.limit, self.clock.as_ref()).await;
            return match run {
                Run::Answer(body) => {
                    self.park(process);
                    answer(&body)
                }
                Run::Error(message) => {
                    self.park(process);
                    Err(function_error(message))
                }
                // Nothing has seen the event: a warm process ended between two invocations.
                Run::Exited { taken: false, .. } if warm => continue,
                Run::Exited { reason, .. } => {
                    let message = format!("RequestId: {request_id} Error: {reason}");
                    warn!(function.arn = %self.arn, "{} ended during an invocation: {reason}", self.arn);
                    Err(function_error(message))
                }
                Run::TimedOut => {
                    let limit = self.limit.as_secs_f64();
                    warn!(function.arn = %self.arn, "{} timed out after {limit:.2} seconds", self.arn);
                    Err(Failure::Again(InvokeError::Timeout))
                }
            };
        }
    }

    /// The process that was used last, if one is without work.
    fn idle(&self) -> Option<Arc<Process>> {
        let mut pool = self.pool();
        while let Some((process, _)) = pool.idle.pop_back() {
            if process.has_exited().is_none() {
                return Some(process);
            }
        }
        None
    }

    /// Takes a process back for the next invocation.
    fn park(self: &Arc<Self>, process: Arc<Process>) {
        let mut pool = self.pool();
        if pool.closed || process.has_exited().is_some() {
            return;
        }
        pool.idle.push_back((process, Instant::now()));
        if pool.idle.len() > KEPT_IDLE {
            let supervisor = Arc::downgrade(self);
            tokio::spawn(async move {
                sleep(IDLE_LIMIT).await;
                if let Some(supervisor) = supervisor.upgrade() {
                    supervisor.trim();
                }
            });
        }
    }

    fn trim(&self) {
        let mut pool = self.pool();
        while pool.idle.len() > KEPT_IDLE
            && let Some((process, since)) = pool.idle.front()
            && since.elapsed() >= IDLE_LIMIT
        {
            process.stop();
            pool.idle.pop_front();
        }
    }

    /// A new process that has asked for its first invocation.
    async fn start(&self) -> Result<Arc<Process>, Failure> {
        let at = self.pool().failures.next_start();
        if at.duration_since(Instant::now()) > self.limit.max(LONGEST_PAUSE) {
            return Err(Failure::Final(InvokeError::Timeout));
        }
        sleep_until(at).await;
        let started = self.started().await;
        let mut pool = self.pool();
        match &started {
            Ok(_) => pool.failures = Failures::default(),
            Err(_) => pool.failures.add(),
        }
        started
    }

    async fn started(&self) -> Result<Arc<Process>, Failure> {
        let process = self.spawn().await.map_err(|error| {
            let program = self.argv.first().map_or("", String::as_str);
            warn!(
                function.arn = %self.arn, cwd = ?self.cwd, %error,
                "{program} cannot be started for {}", self.arn
            );
            let request_id = Uuid::new_v4();
            function_error(format!("RequestId: {request_id} Error: fork/exec {program}: {}", plain(&error)))
        })?;
        {
            let mut pool = self.pool();
            if pool.closed {
                process.stop();
                return Err(Failure::Final(unreachable("ServiceException")));
            }
            pool.live.retain(|process| process.has_exited().is_none());
            pool.live.push(Arc::clone(&process));
        }
        match process.ready().await {
            Ok(()) => Ok(process),
            Err(failure) => {
                process.stop();
                warn!(function.arn = %self.arn, ?failure, "{} did not start", self.arn);
                Err(failure)
            }
        }
    }

    async fn spawn(&self) -> io::Result<Arc<Process>> {
        let (listener, address) = runtime_api::listen().await?;
        let mut child = self.command(&address.to_string())?.spawn()?;
        let pid = child.id().unwrap_or_default();
        debug!(function.arn = %self.arn, pid, "started a process for {}", self.arn);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(log_lines(self.arn.clone(), output));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(log_lines(self.arn.clone(), output));
        }
        let (job_sender, job_receiver) = mpsc::channel(1);
        let runtime = Arc::new(Runtime::new(job_receiver));
        let (stop_sender, stop) = watch::channel(false);
        let (exit_sender, exit) = watch::channel(None);
        let api = runtime_api::serve(listener, Arc::clone(&runtime));
        tokio::spawn(watch_over(child, Group::new(pid), stop, exit_sender, api));
        Ok(Arc::new(Process { runtime, jobs: job_sender, stop: stop_sender, exit }))
    }

    fn command(&self, api: &str) -> io::Result<Command> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"));
        };
        let root = match &self.cwd {
            Some(cwd) => std::path::absolute(cwd)?,
            None => env::current_dir()?,
        };
        let program = match Path::new(program) {
            path if path.is_relative() && program.contains('/') => root.join(path),
            path => path.to_owned(),
        };
        let (name, region) = (name_of(&self.arn), region_of(&self.arn).unwrap_or("us-east-1"));
        let mut command = Command::new(program);
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(variable);
            }
        }
        command
            .args(arguments)
            .current_dir(&root)
            .env("AWS_LAMBDA_RUNTIME_API", api)
            // Runtime clients take the handler as their last argument; the variable repeats it.
            .env("_HANDLER", self.argv.last().map_or("", String::as_str))
            .env("LAMBDA_TASK_ROOT", &root)
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", format!("[$LATEST]{}", Uuid::new_v4().simple()))
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_REGION", region)
            .env("AWS_DEFAULT_REGION", region)
            .env("TZ", ":UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process of a function. Dropping the last handle ends it.
#[derive(Debug)]
struct Process {
    runtime: Arc<Runtime>,
    jobs: mpsc::Sender<Job>,
    stop: watch::Sender<bool>,
    /// Why it ended, in Lambda's words.
    exit: watch::Receiver<Option<String>>,
}

/// How an invocation ended.
#[derive(Debug)]
enum Run {
    Answer(Bytes),
    Error(String),
    /// The process is gone; `taken`: it had received the event.
    Exited {
        reason: String,
        taken: bool,
    },
    /// The process has been told to end.
    TimedOut,
}

impl Process {
    async fn run(
        &self,
        request_id: &str,
        arn: &str,
        event: Bytes,
        limit: Duration,
        clock: &dyn Clock,
    ) -> Run {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            request_id: request_id.to_owned(),
            arn: arn.to_owned(),
            event,
            deadline: clock.now() + limit,
            trace_id: trace_id(clock),
            reply,
        };
        // The channel has room for the one job that a process may have.
        if self.jobs.try_send(job).is_err() {
            self.stop();
        }
        tokio::select! {
            biased;
            Ok(reply) = answer => match reply {
                Ok(body) => Run::Answer(body),
                Err(message) => Run::Error(message),
            },
            reason = self.exited() => Run::Exited { reason, taken: self.runtime.abandon(request_id) },
            () = sleep(limit) => {
                self.runtime.abandon(request_id);
                self.stop();
                Run::TimedOut
            }
        }
    }

    /// Waits until the process asks for its first invocation.
    async fn ready(&self) -> Result<(), Failure> {
        let mut phase = self.runtime.phase();
        tokio::select! {
            biased;
            Ok(phase) = phase.wait_for(|phase| *phase != Phase::Starting) => match &*phase {
                Phase::Failed(message) => Err(function_error(message)),
                _ => Ok(()),
            },
            reason = self.exited() => {
                Err(function_error(format!("RequestId: {} Error: {reason}", Uuid::new_v4())))
            }
            // Not tried again: another start would take as long.
            () = sleep(INIT_LIMIT) => Err(Failure::Final(InvokeError::Timeout)),
        }
    }

    fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn has_exited(&self) -> Option<String> {
        self.exit.borrow().clone()
    }

    async fn exited(&self) -> String {
        let mut exit = self.exit.clone();
        // The sender goes away only with the runtime that carries everything else.
        exit.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }
}

/// A process and what it started, ended together when this is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn new(pid: u32) -> Self {
        Self(i32::try_from(pid).ok().and_then(Pid::from_raw))
    }

    fn kill(&self) {
        if let Some(leader) = self.0 {
            // Fails when nobody is left, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Serves the Runtime API to `child` until it ends or is to end, and says why it ended.
async fn watch_over(
    mut child: Child,
    group: Group,
    mut stop: watch::Receiver<bool>,
    exit: watch::Sender<Option<String>>,
    api: impl Future<Output = ()>,
) {
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        // Also when the last handle of the process is gone.
        _ = stop.wait_for(|stop| *stop) => None,
        () = api => None,
    };
    let status = match ended {
        Some(status) => status,
        None => {
            group.kill();
            child.wait().await
        }
    };
    // What the process left behind would hold its output open.
    drop(group);
    exit.send_replace(Some(status.map_or_else(|error| error.to_string(), |status| exit_reason(&status))));
}

/// `Runtime exited with error: exit status 1`, as Lambda words it.
fn exit_reason(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(signal)) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
        (None, None) => "Runtime exited with error".to_owned(),
    }
}

/// The numbers are the same on every Unix, the words those of Lambda's runtime.
fn signal_name(signal: i32) -> String {
    match signal {
        6 => "aborted".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}

/// An error of the operating system without Rust's `(os error 2)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// An X-Ray trace header that is sampled out: nobody collects it.
fn trace_id(clock: &dyn Clock) -> String {
    let random = Uuid::new_v4().simple().to_string();
    let parent = Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{};Parent={};Sampled=0", clock.now().seconds(), &random[..24], &parent[..16])
}

async fn log_lines(arn: String, output: impl AsyncRead + Unpin) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LOG_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                info!(target: "lido::function", { function.arn = %arn }, "{}", text.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_worded_as_lambda_does() {
        use std::os::unix::process::ExitStatusExt;
        let reason = |raw| exit_reason(&ExitStatus::from_raw(raw));
        assert_eq!(reason(129 << 8), "Runtime exited with error: exit status 129");
        assert_eq!(reason(9), "Runtime exited with error: signal: killed");
        assert_eq!(reason(0), "Runtime exited without providing a reason");
    }

    #[tokio::test]
    async fn output_is_logged_line_by_line_under_the_function_s_name() {
        let sink = tempfile::NamedTempFile::new().unwrap();
        let file = sink.reopen().unwrap();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(Mutex::new(file));
        let guard = tracing::subscriber::set_default(subscriber.finish());
        log_lines("arn:x".to_owned(), &b"one\r\ntwo \xff\nlast"[..]).await;
        drop(guard);
        let logged = std::fs::read_to_string(sink.path()).unwrap();
        let expected = ["one", "two \u{fffd}", "last"]
            .map(|line| format!(" INFO lido::function: {line} function.arn=arn:x\n"))
            .concat();
        assert_eq!(logged, expected);
    }

    #[test]
    fn the_pause_grows_to_its_limit() {
        let mut failures = Failures::default();
        assert!(failures.next_start() <= Instant::now());
        assert!(failures.not_before.is_none(), "nobody waits while nothing has failed");
        for _ in 0..40 {
            failures.add();
        }
        assert_eq!(failures.pause(), LONGEST_PAUSE);
    }
}
