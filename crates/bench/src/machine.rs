//! The machine, and what processes use of it.

use std::fs;
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
        let path = format!("/proc/{}/stat", self.0);
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        let ticks = ticks(&stat).context(path)?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
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

/// User and system time of `/proc/<pid>/stat`: the 14th and 15th field.
fn ticks(stat: &str) -> Option<u64> {
    // The second field, the name in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
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
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 812 0 0 0 31 11 0 0 20 0 9 0 100 5 6";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (lido"), None);
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
