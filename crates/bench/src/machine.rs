//! The machine, and what processes use of it.

use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

use anyhow::{Context, Result};
use lido_domain::{Clock, Millis, Random};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// What the figures are worth only together with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    /// That this process may use.
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn describe() -> Self {
        let field = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            text.lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned()))
        };
        let kibibytes = field("/proc/meminfo", "MemTotal").and_then(|text| number(&text)).unwrap_or_default();
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes * 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

/// The first word, if it is a number.
fn number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// A process, by its id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// What a process holds of the memory, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// Everything, pages of the mapped database file included.
    pub(crate) resident: u64,
    /// Without pages of files, which the system takes back when it needs them.
    pub(crate) anonymous: u64,
}

impl Process {
    /// CPU time of all its threads so far, in steps of the system's tick (10 ms).
    pub(crate) fn cpu(self) -> Result<Duration> {
        Ok(time(self.stat()?.own))
    }

    fn stat(self) -> Result<Stat> {
        let path = format!("/proc/{}/stat", self.0);
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        Stat::parse(&stat).context(path)
    }

    pub(crate) fn memory(self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.0);
        let status = fs::read_to_string(&path).with_context(|| path.clone())?;
        let bytes = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            value
                .and_then(number)
                .map(|kibibytes| kibibytes * 1024)
                .with_context(|| format!("{path}: {name}"))
        };
        Ok(Memory { resident: bytes("VmRSS:")?, anonymous: bytes("RssAnon:")? })
    }
}

/// What counts of `/proc/<pid>/stat`. Times are user and system time together, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: u64,
    /// Of its children that have ended.
    ended: u64,
}

impl Stat {
    fn parse(stat: &str) -> Option<Self> {
        // The second field, the name in parentheses, may hold anything; behind it comes the third.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(14)? + ticks(15)?,
            ended: ticks(16)? + ticks(17)?,
        })
    }
}

fn time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The processes of a PostgreSQL cluster: one that listens, and its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    postmaster: Process,
}

impl Cluster {
    /// The one that the process `backend` belongs to. None when that is no process of this machine that has
    /// `database` in its title, as every backend has the name of its database: the cluster is elsewhere then, and
    /// somebody else may have the number.
    pub(crate) fn of(backend: u32, database: &str) -> Option<Self> {
        let title = fs::read(format!("/proc/{backend}/cmdline")).ok()?;
        let title = String::from_utf8_lossy(&title);
        let is_one = title.split([' ', '\0']).any(|word| word == database);
        let postmaster = Process(Process(backend).stat().ok()?.parent);
        is_one.then_some(Self { postmaster })
    }

    /// CPU time of all of them so far, those that have ended included.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let postmaster = self.postmaster.stat()?;
        let mut ticks = postmaster.own + postmaster.ended;
        for entry in fs::read_dir("/proc").context("/proc")? {
            let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // An error means that it has just ended.
            if let Ok(stat) = Process(id).stat()
                && stat.parent == self.postmaster.0
            {
                ticks += stat.own;
            }
        }
        Ok(time(ticks))
    }
}

/// Whose CPU time counts; absent where the processes are not known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    pub(crate) server: Option<Process>,
    pub(crate) database: Option<Cluster>,
}

/// CPU time that was used in a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) server: Option<Duration>,
    pub(crate) database: Option<Duration>,
    /// This process, the load generator.
    pub(crate) client: Duration,
}

/// A while that goes on.
#[derive(Debug)]
pub(crate) struct Metered {
    meter: Meter,
    before: Cpu,
    own: OwnCpu,
}

impl Meter {
    fn read(self) -> Result<Cpu> {
        Ok(Cpu {
            server: self.server.map(Process::cpu).transpose()?,
            database: self.database.map(Cluster::cpu).transpose()?,
            client: Duration::ZERO,
        })
    }

    pub(crate) fn start(self) -> Result<Metered> {
        let before = self.read()?;
        Ok(Metered { meter: self, before, own: OwnCpu::now() })
    }
}

impl Metered {
    pub(crate) fn elapsed(self) -> Result<Cpu> {
        // First this one: reading /proc costs time as well.
        let client = self.own.elapsed();
        let now = self.meter.read()?;
        let between = |now: Option<Duration>, before: Option<Duration>| Some(now?.saturating_sub(before?));
        Ok(Cpu {
            server: between(now.server, self.before.server),
            database: between(now.database, self.before.database),
            client,
        })
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Self) {
        let sum = |one: Option<Duration>, other: Option<Duration>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.server = sum(self.server, other.server);
        self.database = sum(self.database, other.database);
        self.client += other.client;
    }
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// CPU time of this process since a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnCpu(Duration);

impl OwnCpu {
    pub(crate) fn now() -> Self {
        Self(clock(ClockId::ProcessCPUTime))
    }

    pub(crate) fn elapsed(self) -> Duration {
        clock(ClockId::ProcessCPUTime).saturating_sub(self.0)
    }
}

/// CPU time of the calling thread so far.
pub(crate) fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Clock and generator of the system: this program has no context to ask.
#[derive(Debug)]
pub(crate) struct System;

impl Clock for System {
    fn now(&self) -> Millis {
        Millis(i64::try_from(clock(ClockId::Realtime).as_millis()).unwrap_or(i64::MAX))
    }
}

impl Random for System {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "this is the port")]
        aws_lc_rs::rand::fill(bytes).expect("the system gives randomness");
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    System.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 812 0 0 0 31 11 5 6 20 0 9 0 100 5 6";
        assert_eq!(Stat::parse(stat), Some(Stat { parent: 1, own: 42, ended: 11 }));
        assert_eq!(Stat::parse("7 (lido"), None);
        assert_eq!(Stat::parse("7 (lido) S 1"), None);
    }

    #[test]
    fn a_cluster_is_known_by_the_title_of_a_backend() {
        assert!(Cluster::of(std::process::id(), "no_such_database").is_none());
        let title = fs::read_to_string("/proc/self/cmdline").unwrap();
        let program = title.split('\0').next().unwrap();
        // Whoever started the test has this process among its children.
        let cluster = Cluster::of(std::process::id(), program).unwrap();
        let own = Process(std::process::id()).cpu().unwrap();
        assert!(cluster.cpu().unwrap() >= own);
    }

    #[test]
    fn what_is_not_known_is_not_counted() {
        let meter = Meter { server: Some(Process(std::process::id())), database: None };
        let mut cpu = meter.start().unwrap().elapsed().unwrap();
        cpu += Cpu { server: Some(Duration::from_secs(1)), database: None, client: Duration::from_secs(2) };
        assert!(cpu.server.unwrap() >= Duration::from_secs(1) && cpu.client >= Duration::from_secs(2));
        assert!(cpu.database.is_none());
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let process = Process(std::process::id());
        let memory = process.memory().unwrap();
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0);
        assert!(process.cpu().is_ok());
        assert!(System.now().seconds() > 1_700_000_000);
    }
}
