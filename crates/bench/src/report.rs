//! What was measured, as Markdown for `docs/performance.md` and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::drive::Tally;
use crate::limits::Slice;
use crate::machine::{Machine, Memory};
use crate::startup::Starts;
use crate::workloads::Workload;

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) users: u32,
    pub(crate) clients: u16,
    pub(crate) seconds: u64,
    pub(crate) lines: Vec<Line>,
    /// Of the limits, one before each of the lines.
    pub(crate) slices: Vec<Slice>,
    pub(crate) starts: Vec<Starts>,
    /// Of the server.
    pub(crate) binary_bytes: Option<u64>,
}

/// A workload and its limit.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) workload: &'static str,
    pub(crate) operations: usize,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU of the server per operation, in microseconds; absent where its process is not known.
    pub(crate) server_us: Option<f64>,
    /// CPU of the load generator per operation, in microseconds.
    pub(crate) client_us: f64,
    /// What the limit is made of.
    pub(crate) parts: String,
    /// CPU that the parts cost, in microseconds.
    pub(crate) limit_us: f64,
    pub(crate) ceiling_per_second: f64,
    /// Of the server, after the workload.
    pub(crate) memory: Option<Memory>,
}

impl Line {
    pub(crate) fn new(
        workload: Workload,
        mut tally: Tally,
        server: Option<Duration>,
        client: Duration,
        memory: Option<Memory>,
        slice: &Slice,
        cores: usize,
    ) -> Self {
        let operations = tally.operations();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let parts = workload.parts();
        let (limit_us, client_us) = (parts.limit(slice), each(client));
        let by_cpu = cores as f64 * 1e6 / (limit_us + client_us);
        let by_disk = match parts.commits {
            0 => f64::INFINITY,
            commits => slice.commits_per_second / f64::from(commits),
        };
        let [p50_ms, p99_ms] = tally.quantiles([0.5, 0.99]);
        Self {
            workload: workload.name(),
            operations,
            errors: tally.errors,
            per_second: tally.per_second(),
            p50_ms,
            p99_ms,
            server_us: server.map(each),
            client_us,
            parts: parts.describe(),
            limit_us,
            ceiling_per_second: by_cpu.min(by_disk),
            memory,
            first_error: tally.first_error,
        }
    }
}

/// A primitive in the table of limits: its name, and where it stands in a slice.
type Primitive = (&'static str, fn(&Slice) -> f64);

const PRIMITIVES: [Primitive; 11] = [
    ("RSA-2048 signature (RS256), µs", |slice| slice.sign),
    ("its verification, µs", |slice| slice.verify),
    ("g^x, µs", |slice| slice.power),
    ("SRP, first half: B = kv + g^b, µs", |slice| slice.srp_start),
    ("SRP, second half: S = (A v^u)^b, µs", |slice| slice.srp_finish),
    ("HTTP echo, server, µs", |slice| slice.http),
    ("HTTP echo, client, µs", |slice| slice.http_client),
    ("HTTP echo, 1/s", |slice| slice.http_per_second),
    ("durable commit of one row, µs", |slice| slice.commit),
    ("durable commits, 1/s", |slice| slice.commits_per_second),
    ("durable commit, p50, ms", |slice| slice.commit_p50_ms),
];

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.heading();
        if !self.lines.is_empty() {
            text += &self.workloads();
            text += &self.limits();
        }
        if !self.starts.is_empty() {
            text += &self.starts();
        }
        text
    }

    fn heading(&self) -> String {
        let Machine { cpu, cores, memory_bytes, kernel } = &self.machine;
        let gibibytes = *memory_bytes as f64 / f64::from(1 << 30);
        format!(
            "{cores} × {cpu}, {gibibytes:.0} GiB of memory, Linux {kernel}; {} users, {} clients, {} s for each \
             workload.\n\n",
            self.users, self.clients, self.seconds
        )
    }

    fn workloads(&self) -> String {
        let mut text = table(&[
            "workload",
            "1/s",
            "p50 ms",
            "p99 ms",
            "server µs",
            "client µs",
            "limit µs",
            "server ÷ limit",
            "ceiling 1/s",
            "ceiling ÷ measured",
            "RSS MB (anonymous)",
            "errors",
            "the limit's parts",
        ]);
        for line in &self.lines {
            let absent = || "–".to_owned();
            let memory = |memory: &Memory| {
                format!("{:.0} ({:.0})", megabytes(memory.resident), megabytes(memory.anonymous))
            };
            row(
                &mut text,
                &[
                    line.workload.to_owned(),
                    significant(line.per_second),
                    significant(line.p50_ms),
                    significant(line.p99_ms),
                    line.server_us.map_or_else(absent, significant),
                    significant(line.client_us),
                    significant(line.limit_us),
                    line.server_us.map_or_else(absent, |server| format!("{:.2}", server / line.limit_us)),
                    significant(line.ceiling_per_second),
                    format!("{:.2}", line.ceiling_per_second / line.per_second),
                    line.memory.as_ref().map_or_else(absent, memory),
                    line.errors.to_string(),
                    line.parts.clone(),
                ],
            );
        }
        text + "\nlimit = Σ CPU of its parts; ceiling = min(cores × 10⁶ ÷ (limit + client), commits/s ÷ commits). \
                Microseconds are CPU time per operation.\n\n"
    }

    fn limits(&self) -> String {
        let mut text = table(&["alone, in the same run", "least", "median", "most"]);
        for (name, of) in PRIMITIVES {
            let mut values: Vec<f64> = self.slices.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            let columns = [values[0], values[values.len() / 2], values[values.len() - 1]];
            let [least, median, most] = columns.map(significant);
            row(&mut text, &[name.to_owned(), least, median, most]);
        }
        text + "\n"
    }

    fn starts(&self) -> String {
        let mut text =
            table(&["start to ready", "median ms", "fastest ms", "slowest ms", "idle RSS MB (anonymous)"]);
        for starts in &self.starts {
            row(
                &mut text,
                &[
                    format!("{}, {} starts", starts.data, starts.count),
                    significant(starts.median_ms),
                    significant(starts.fastest_ms),
                    significant(starts.slowest_ms),
                    format!(
                        "{:.1} ({:.1})",
                        megabytes(starts.idle.resident),
                        megabytes(starts.idle.anonymous)
                    ),
                ],
            );
        }
        if let Some(bytes) = self.binary_bytes {
            let _ = writeln!(text, "\nThe binary has {:.1} MB.", megabytes(bytes));
        }
        text
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The head of a table: the first column on the left, the others on the right.
fn table(columns: &[&str]) -> String {
    let mut text = String::new();
    row(&mut text, columns);
    text + "|---" + &"|---:".repeat(columns.len() - 1) + "|\n"
}

fn row(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        text.push_str("| ");
        text.push_str(cell.as_ref());
        text.push(' ');
    }
    text.push_str("|\n");
}

/// Three significant digits, more where the number has them before its point.
fn significant(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value.round() as i64),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size > 0.0 => format!("{value:.2}"),
        _ => "0".to_owned(),
    }
}

/// With a space between thousands.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = [1234567.0, 999.6, 99.94, 12.34, 1.234, 0.5, 0.0].map(significant);
        assert_eq!(shown, ["1 234 567", "1 000", "99.9", "12.3", "1.23", "0.50", "0"]);
    }

    #[test]
    fn a_table_has_as_many_rules_as_columns() {
        let mut text = table(&["a", "b"]);
        row(&mut text, &["1", "2"]);
        assert_eq!(text, "| a | b |\n|---|---:|\n| 1 | 2 |\n");
    }
}
