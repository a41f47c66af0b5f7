//! Whether a workload costs the same in a small pool and in a large one: both lie in one database behind one
//! server, and take turns that are so short that a change of the machine's mood hits both alike.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::drive::{Connection, Stop, Tally, connect, drive};
use crate::machine::{Cpu, Meter};
use crate::prepare::World;
use crate::workloads::Workload;

/// Users of the small pool.
pub(crate) const SMALL: u32 = 1000;
/// Users of the large one, unless the command line says otherwise.
pub(crate) const LARGE: u32 = 1_000_000;
/// By how much the large pool may differ.
pub(crate) const TOLERANCE: f64 = 0.2;

const TURN: Duration = Duration::from_millis(500);

/// A workload in both pools.
#[derive(Debug, Serialize)]
pub(crate) struct Flat {
    pub(crate) workload: &'static str,
    pub(crate) small: Side,
    pub(crate) large: Side,
    /// Throughput of the large pool by that of the small one.
    pub(crate) ratio: f64,
    /// The least and the most of the same in two turns that followed each other.
    pub(crate) turns: [f64; 2],
    /// CPU of server and database per operation, likewise; absent where their processes are not known.
    pub(crate) cpu_ratio: Option<f64>,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

/// A workload in one of the pools.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) operations: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU per operation, in microseconds.
    pub(crate) server_us: Option<f64>,
    pub(crate) database_us: Option<f64>,
}

impl Flat {
    pub(crate) fn is_flat(&self) -> bool {
        (self.ratio - 1.0).abs() <= TOLERANCE
    }
}

/// Runs the workload for this long in each of the pools.
pub(crate) async fn compare(
    workload: Workload,
    [small, large]: [&World; 2],
    clients: u16,
    each: Duration,
    meter: Meter,
) -> Result<Flat> {
    let mut connections = connect(&small.endpoint, clients).await?;
    let (mut in_small, mut in_large) = (Turns::default(), Turns::default());
    for world in [small, large] {
        turn(workload, world, &mut connections).await;
    }
    let rounds = each.as_millis().div_ceil(TURN.as_millis());
    let mut ratios = Vec::new();
    for round in 0..rounds {
        // Whoever is first in one round is last in the next: what only goes up or down favours nobody.
        let (before, after) = if round % 2 == 0 {
            let before = in_small.take(workload, small, &mut connections, meter).await?;
            (before, in_large.take(workload, large, &mut connections, meter).await?)
        } else {
            let after = in_large.take(workload, large, &mut connections, meter).await?;
            (in_small.take(workload, small, &mut connections, meter).await?, after)
        };
        ratios.push(after / before);
        if in_small.tally.errors + in_large.tally.errors > 0 {
            break;
        }
    }
    let errors = in_small.tally.errors + in_large.tally.errors;
    let first_error = in_small.tally.first_error.clone().or(in_large.tally.first_error.clone());
    let (small, large) = (in_small.side(), in_large.side());
    ensure!(
        errors > 0 || (small.operations > 0 && large.operations > 0),
        "{}: nothing was done",
        workload.name()
    );
    ratios.sort_by(f64::total_cmp);
    let cpu = |side: &Side| Some(side.server_us? + side.database_us.unwrap_or_default());
    Ok(Flat {
        workload: workload.name(),
        ratio: large.per_second / small.per_second,
        turns: [ratios[0], ratios[ratios.len() - 1]],
        cpu_ratio: cpu(&large).zip(cpu(&small)).map(|(large, small)| large / small),
        small,
        large,
        errors,
        first_error,
    })
}

async fn turn(workload: Workload, world: &World, connections: &mut [Connection]) -> Tally {
    drive(connections, Stop::After(TURN), async |connection, _| {
        workload.run(world, connection, world.next()).await
    })
    .await
}

/// The turns of one pool so far.
#[derive(Default)]
struct Turns {
    tally: Tally,
    cpu: Cpu,
}

impl Turns {
    /// One more. Gives its operations per second.
    async fn take(
        &mut self,
        workload: Workload,
        world: &World,
        connections: &mut [Connection],
        meter: Meter,
    ) -> Result<f64> {
        let metered = meter.start()?;
        let tally = turn(workload, world, connections).await;
        self.cpu += metered.elapsed()?;
        let per_second = tally.per_second();
        self.tally.add(tally);
        Ok(per_second)
    }

    fn side(mut self) -> Side {
        let operations = self.tally.operations();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / operations.max(1) as f64;
        let [p50_ms, p99_ms] = self.tally.quantiles([0.5, 0.99]);
        Side {
            operations,
            per_second: self.tally.per_second(),
            p50_ms,
            p99_ms,
            server_us: self.cpu.server.map(each),
            database_us: self.cpu.database.map(each),
        }
    }
}
