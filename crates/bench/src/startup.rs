//! What a start costs: time until the server is ready, and what it holds when nobody asks anything.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::machine::{Memory, Process};
use crate::server::{self, Place};

/// After the start: the stock of signing keys is filled by then.
const SETTLED: Duration = Duration::from_secs(3);

/// Starts in one kind of place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Starts {
    pub(crate) data: &'static str,
    pub(crate) count: u16,
    /// From spawn to the `ready` line, in milliseconds.
    pub(crate) median_ms: f64,
    pub(crate) fastest_ms: f64,
    pub(crate) slowest_ms: f64,
    pub(crate) idle: Memory,
}

/// On the data that the workloads left, or new data that has been started on once; and in memory, where that is
/// the alternative.
pub(crate) fn measure(binary: &Path, place: Place<'_>, directory: &Path, starts: u16) -> Result<Vec<Starts>> {
    eprintln!("starts …");
    server::lido(binary, place, directory, None)?.stop()?;
    let mut places = vec![place];
    if matches!(place, Place::Directory(_)) {
        places.push(Place::Memory);
    }
    places.into_iter().map(|place| of(binary, place, directory, starts)).collect()
}

fn of(binary: &Path, place: Place<'_>, directory: &Path, count: u16) -> Result<Starts> {
    let mut times = Vec::with_capacity(count.into());
    for _ in 0..count {
        let server = server::lido(binary, place, directory, None)?;
        times.push(server.ready_after.as_secs_f64() * 1e3);
        server.stop()?;
    }
    times.sort_by(f64::total_cmp);
    let server = server::lido(binary, place, directory, None)?;
    std::thread::sleep(SETTLED);
    let idle = Process(server.id()).memory()?;
    server.stop()?;
    let last = times.len() - 1;
    Ok(Starts {
        data: match place {
            Place::Memory => ":memory:",
            Place::Directory(_) => "existing directory",
            Place::Database { .. } => "existing database",
        },
        count,
        median_ms: times[times.len() / 2],
        fastest_ms: times[0],
        slowest_ms: times[last],
        idle,
    })
}
