//! What is counted, in the text format of Prometheus.
//!
//! Labels are bounded: operations are those of the model, codes those that Lido can answer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds of the duration histogram, in seconds.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// The operation of requests that name none, or one that the model does not know.
pub(crate) const NO_OPERATION: &str = "unknown";

/// The code of requests that were served.
pub(crate) const SUCCESS: &str = "OK";

#[derive(Debug)]
pub(crate) struct Metrics {
    started: Instant,
    operations: Mutex<BTreeMap<&'static str, Operation>>,
}

#[derive(Debug, Default)]
struct Operation {
    codes: BTreeMap<&'static str, u64>,
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

/// Messages in the outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbox {
    pub(crate) waiting: i64,
    pub(crate) dead: i64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), operations: Mutex::default() }
    }

    pub(crate) fn count(&self, operation: &'static str, code: &'static str, duration: Duration) {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let operation = operations.entry(operation).or_default();
        *operation.codes.entry(code).or_default() += 1;
        operation.count += 1;
        operation.sum += duration;
        for (bound, bucket) in BUCKETS.iter().zip(&mut operation.buckets) {
            *bucket += u64::from(duration.as_secs_f64() <= *bound);
        }
    }

    /// `outbox`: absent where the store does not answer.
    pub(crate) fn render(&self, outbox: Option<Outbox>, in_flight: usize) -> String {
        let mut page = Page::default();
        page.family("lido_build_info", "gauge", "The version that runs.");
        page.line("lido_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.family("lido_uptime_seconds", "gauge", "Time since the start.");
        page.line("lido_uptime_seconds", &[], self.started.elapsed().as_secs_f64());
        page.family("lido_requests_in_flight", "gauge", "Requests that are being answered.");
        page.line("lido_requests_in_flight", &[], in_flight);
        if let Some(outbox) = outbox {
            page.family(
                "lido_outbox_messages",
                "gauge",
                "Messages that wait for their transport, or were given up.",
            );
            page.line("lido_outbox_messages", &[("state", "waiting")], outbox.waiting);
            page.line("lido_outbox_messages", &[("state", "dead")], outbox.dead);
        }

        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        page.family("lido_requests_total", "counter", "API requests by operation and code of the answer.");
        for (name, operation) in &*operations {
            for (code, count) in &operation.codes {
                page.line("lido_requests_total", &[("operation", name), ("code", code)], count);
            }
        }
        page.family(
            "lido_request_duration_seconds",
            "histogram",
            "Time from a request's head to its answer.",
        );
        for (name, operation) in &*operations {
            for (bound, count) in BUCKETS.iter().zip(operation.buckets) {
                let labels = [("operation", *name), ("le", &bound.to_string())];
                page.line("lido_request_duration_seconds_bucket", &labels, count);
            }
            let labels = [("operation", *name), ("le", "+Inf")];
            page.line("lido_request_duration_seconds_bucket", &labels, operation.count);
            page.line("lido_request_duration_seconds_sum", &labels[..1], operation.sum.as_secs_f64());
            page.line("lido_request_duration_seconds_count", &labels[..1], operation.count);
        }
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string can be written to");
    }

    /// The values of labels need no escaping: they are names of the model, codes and numbers.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "{name}{labels} {value}").expect("a string can be written to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_and_code() {
        let metrics = Metrics::new();
        metrics.count("SignUp", SUCCESS, Duration::from_millis(2));
        metrics.count("SignUp", SUCCESS, Duration::from_millis(2));
        metrics.count("SignUp", "UsernameExistsException", Duration::from_secs(3));
        let page = metrics.render(Some(Outbox { waiting: 2, dead: 1 }), 0);
        for line in [
            r#"lido_requests_total{operation="SignUp",code="OK"} 2"#,
            r#"lido_requests_total{operation="SignUp",code="UsernameExistsException"} 1"#,
            r#"lido_request_duration_seconds_bucket{operation="SignUp",le="0.001"} 0"#,
            r#"lido_request_duration_seconds_bucket{operation="SignUp",le="0.0025"} 2"#,
            r#"lido_request_duration_seconds_bucket{operation="SignUp",le="+Inf"} 3"#,
            r#"lido_request_duration_seconds_sum{operation="SignUp"} 3.004"#,
            r#"lido_request_duration_seconds_count{operation="SignUp"} 3"#,
            r#"lido_outbox_messages{state="dead"} 1"#,
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }
}
