//! What was measured, as Markdown for `docs/performance.md` and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::drive::Tally;
use crate::flat::{Flat, TOLERANCE};
use crate::limits::Slice;
use crate::machine::{Cpu, Machine, Memory};
use crate::prepare::World;
use crate::startup::Starts;
use crate::workloads::Workload;

/// A run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// What keeps the data, by name and version.
    pub(crate) engine: String,
    /// The pools and how they were made, the largest last.
    pub(crate) pools: Vec<Pool>,
    pub(crate) clients: u16,
    pub(crate) seconds: u64,
    pub(crate) lines: Vec<Line>,
    /// Of the limits, one before each of the lines.
    pub(crate) slices: Vec<Slice>,
    /// The workloads in a small pool and a large one.
    pub(crate) flat: Vec<Flat>,
    pub(crate) starts: Vec<Starts>,
    /// Of the server.
    pub(crate) binary_bytes: Option<u64>,
}

/// A pool that workloads run in.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Pool {
    pub(crate) users: usize,
    /// How long it took to make the users.
    pub(crate) filled_s: f64,
}

impl Pool {
    pub(crate) fn of(world: &World) -> Self {
        Self { users: world.users, filled_s: world.filled_in.as_secs_f64() }
    }
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
    /// The same of the database, where that has processes of its own, on this machine.
    pub(crate) database_us: Option<f64>,
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
        cpu: Cpu,
        memory: Option<Memory>,
        slice: &Slice,
        cores: usize,
    ) -> Self {
        let operations = tally.operations();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let parts = workload.parts();
        let (limit_us, client_us) = (parts.limit(slice), each(cpu.client));
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
            server_us: cpu.server.map(each),
            database_us: cpu.database.map(each),
            client_us,
            parts: parts.describe(),
            limit_us,
            ceiling_per_second: by_cpu.min(by_disk),
            memory,
            first_error: tally.first_error,
        }
    }

    /// CPU of server and database by what the parts cost.
    fn cpu_ratio(&self) -> Option<f64> {
        Some((self.server_us? + self.database_us.unwrap_or_default()) / self.limit_us)
    }
}

/// A primitive in the table of limits: its name, and where it stands in a slice.
type Primitive = (&'static str, fn(&Slice) -> f64);

const PRIMITIVES: [Primitive; 13] = [
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
    ("one row by its key (in no limit), µs", |slice| slice.read),
    ("rows by their key, 1/s", |slice| slice.reads_per_second),
];

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.heading();
        if !self.lines.is_empty() {
            text += &self.workloads();
            text += &self.limits();
        }
        if !self.flat.is_empty() {
            text += &self.flat();
        }
        if !self.starts.is_empty() {
            text += &self.starts();
        }
        text
    }

    fn heading(&self) -> String {
        let Machine { cpu, cores, memory_bytes, kernel } = &self.machine;
        let gibibytes = *memory_bytes as f64 / f64::from(1 << 30);
        let mut text =
            format!("{cores} × {cpu}, {gibibytes:.0} GiB of memory, Linux {kernel}; {}", self.engine);
        for Pool { users, filled_s } in &self.pools {
            let _ = write!(text, "; {} users, made in {filled_s:.1} s", counted(*users));
        }
        if !self.pools.is_empty() {
            let _ = write!(text, "; {} clients, {} s for each workload", self.clients, self.seconds);
        }
        text + ".\n\n"
    }

    fn workloads(&self) -> String {
        let has_database = self.lines.iter().any(|line| line.database_us.is_some());
        let first = format!("workload on {}", self.engine);
        let mut columns = vec![first.as_str(), "1/s", "p50 ms", "p99 ms", "server µs"];
        if has_database {
            columns.push("database µs");
        }
        columns.extend([
            "client µs",
            "limit µs",
            if has_database { "(server + database) ÷ limit" } else { "server ÷ limit" },
            "ceiling 1/s",
            "ceiling ÷ measured",
            "RSS MB (anonymous)",
            "errors",
            "the limit's parts",
        ]);
        let mut text = table(&columns);
        for line in &self.lines {
            let memory = |memory: &Memory| {
                format!("{:.0} ({:.0})", megabytes(memory.resident), megabytes(memory.anonymous))
            };
            let mut cells = vec![
                line.workload.to_owned(),
                significant(line.per_second),
                significant(line.p50_ms),
                significant(line.p99_ms),
                or_absent(line.server_us, significant),
            ];
            if has_database {
                cells.push(or_absent(line.database_us, significant));
            }
            cells.extend([
                significant(line.client_us),
                significant(line.limit_us),
                or_absent(line.cpu_ratio(), ratio),
                significant(line.ceiling_per_second),
                ratio(line.ceiling_per_second / line.per_second),
                or_absent(line.memory.as_ref(), memory),
                line.errors.to_string(),
                line.parts.clone(),
            ]);
            row(&mut text, &cells);
        }
        text + "\nlimit = Σ CPU of its parts; ceiling = min(cores × 10⁶ ÷ (limit + client), commits/s ÷ commits). \
                Microseconds are CPU time per operation.\n\n"
    }

    fn flat(&self) -> String {
        let has_database = self.flat.iter().any(|flat| flat.large.database_us.is_some());
        let [small, large] = match self.pools[..] {
            [small, .., large] => [small, large].map(|pool| counted(pool.users)),
            _ => ["small", "large"].map(str::to_owned),
        };
        let cpu = if has_database { "server + database µs" } else { "server µs" };
        let mut columns = vec![format!("workload on {}", self.engine)];
        for name in ["1/s", "p50 ms", "p99 ms", cpu] {
            columns.extend([&small, &large].map(|users| format!("{name}: {users} users")));
        }
        columns.extend(["1/s: ratio", "of single turns", "µs: ratio"].map(str::to_owned));
        columns.extend([format!("within ±{:.0} %", TOLERANCE * 100.0), "errors".to_owned()]);
        let mut text = table(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        for flat in &self.flat {
            let mut cells = vec![flat.workload.to_owned()];
            let sides = [&flat.small, &flat.large];
            cells.extend(sides.map(|side| significant(side.per_second)));
            cells.extend(sides.map(|side| significant(side.p50_ms)));
            cells.extend(sides.map(|side| significant(side.p99_ms)));
            cells.extend(sides.map(|side| {
                let cpu = side.server_us.map(|server| server + side.database_us.unwrap_or_default());
                or_absent(cpu, significant)
            }));
            let [least, most] = flat.turns.map(ratio);
            cells.extend([
                ratio(flat.ratio),
                format!("{least}–{most}"),
                or_absent(flat.cpu_ratio, ratio),
                if flat.is_flat() { "yes" } else { "no" }.to_owned(),
                flat.errors.to_string(),
            ]);
            row(&mut text, &cells);
        }
        text + "\nRatios are those of the large pool to the small one.\n\n"
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

/// A figure, or what stands for one that is not known.
fn or_absent<T>(value: Option<T>, shown: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), shown)
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn counted(users: usize) -> String {
    grouped(i64::try_from(users).unwrap_or(i64::MAX))
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
    use crate::flat::Side;

    #[test]
    fn numbers_have_three_digits_that_count() {
        let shown = [1234567.0, 999.6, 99.94, 12.34, 1.234, 0.5, 0.0].map(significant);
        assert_eq!(shown, ["1 234 567", "1 000", "99.9", "12.3", "1.23", "0.50", "0"]);
    }

    fn report(database_us: Option<f64>) -> Report {
        let side = |per_second| Side {
            operations: 10,
            per_second,
            p50_ms: 1.0,
            p99_ms: 2.0,
            server_us: Some(100.0),
            database_us,
        };
        Report {
            machine: Machine { cpu: "a CPU".into(), cores: 2, memory_bytes: 1 << 30, kernel: "6".into() },
            engine: "an engine".into(),
            pools: [1_000, 2_000].map(|users| Pool { users, filled_s: 1.5 }).to_vec(),
            clients: 32,
            seconds: 5,
            lines: vec![Line {
                workload: "GetUser",
                operations: 10,
                errors: 0,
                first_error: None,
                per_second: 500.0,
                p50_ms: 1.0,
                p99_ms: 2.0,
                server_us: Some(100.0),
                database_us,
                client_us: 10.0,
                parts: "HTTP".into(),
                limit_us: 50.0,
                ceiling_per_second: 1_000.0,
                memory: None,
            }],
            slices: Vec::new(),
            flat: vec![Flat {
                workload: "GetUser",
                small: side(1_000.0),
                large: side(790.0),
                ratio: 0.79,
                turns: [0.7, 0.9],
                cpu_ratio: Some(1.0),
                errors: 0,
                first_error: None,
            }],
            starts: Vec::new(),
            binary_bytes: None,
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for database_us in [None, Some(50.0)] {
            let report = report(database_us);
            for text in [report.workloads(), report.flat()] {
                let widths: Vec<usize> = text
                    .lines()
                    .filter(|line| line.starts_with('|'))
                    .map(|line| line.matches('|').count())
                    .collect();
                assert_eq!(widths.len(), 3);
                assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
            }
        }
    }

    #[test]
    fn the_database_has_its_share() {
        assert!(
            report(None).workloads().contains("| GetUser | 500 | 1.00 | 2.00 | 100 | 10.0 | 50.0 | 2.00 |")
        );
        let both = report(Some(50.0));
        assert!(
            both.workloads().contains("| GetUser | 500 | 1.00 | 2.00 | 100 | 50.0 | 10.0 | 50.0 | 3.00 |")
        );
        assert!(both.flat().contains("| 150 | 150 | 0.79 | 0.70–0.90 | 1.00 | no | 0 |"), "{}", both.flat());
        assert!(both.heading().contains("; an engine; 1 000 users, made in 1.5 s; 2 000 users"));
    }

    #[test]
    fn a_table_has_as_many_rules_as_columns() {
        let mut text = table(&["a", "b"]);
        row(&mut text, &["1", "2"]);
        assert_eq!(text, "| a | b |\n|---|---:|\n| 1 | 2 |\n");
    }
}
