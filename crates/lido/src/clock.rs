//! The time that the server goes by: the system's, which is not believed when it goes back.
//!
//! Whatever expires does so by this clock, so that a code, a session or a token that has expired stays
//! expired when somebody sets the system's clock back. Within a process the time never runs backwards; the
//! database remembers, to the minute and at every orderly end, how far it had come.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lido_domain::{Clock, Millis};
use lido_store::{Error, Store, installation};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

/// From this distance on, milliseconds, one of two times is plainly wrong.
const FAR: i64 = 24 * 60 * 60 * 1000;
/// A step back that nobody needs to hear of, milliseconds: the system's clock is corrected now and then.
const SMALL: i64 = 1_000;

/// The name under which the database keeps how far the time had come: milliseconds, eight bytes, the highest
/// first, so that later is greater.
const MARK: &str = "clock";
const MARK_EVERY: Duration = Duration::from_secs(60);

/// The system's time, as far as it does not run backwards.
pub(crate) struct SteadyClock {
    system: Arc<dyn Clock>,
    began: Instant,
    steady: Mutex<Steady>,
}

impl SteadyClock {
    /// Goes on from the time that `store` remembers, where the system's is earlier.
    ///
    /// `accept`: take the system's time as it is.
    ///
    /// Errors: the two are more than a day apart; the store cannot be read.
    pub(crate) async fn resume(system: Arc<dyn Clock>, store: &Store, accept: bool) -> Result<Self> {
        let found = store
            .read((), |(), tx| Box::pin(async move { installation::get(tx, MARK).await }))
            .await
            .map_err(|error: Error| anyhow::Error::new(error).context("data"))?;
        let mark = found
            .map(|bytes| bytes.try_into().map(|bytes| Millis(i64::from_be_bytes(bytes))))
            .transpose()
            .ok()
            .context("data: the time of the latest use is not readable")?
            .unwrap_or_default();
        let now = system.now();
        let behind = mark.0.saturating_sub(now.0);
        let steady = if accept {
            Steady::new(now, now)
        } else if behind > FAR {
            bail!(
                "clock: the system's clock is {} behind the time at which this data was last in use: set it right. \
                 If that time was the wrong one, start once with --accept-clock",
                span(behind)
            );
        } else {
            if behind > SMALL {
                warn!(
                    behind_ms = behind,
                    "the system's clock is {} behind the time at which this data was last in use; until it has \
                     caught up, time goes at half its pace",
                    span(behind)
                );
            }
            Steady::new(now, now.max(mark))
        };
        Ok(Self { system, began: Instant::now(), steady: Mutex::new(steady) })
    }
}

impl fmt::Debug for SteadyClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SteadyClock").field("steady", &self.steady).finish_non_exhaustive()
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Millis {
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        // Both are read under the lock: who comes later has the later ones.
        let (now, step) = steady.follow(self.system.now(), self.began.elapsed());
        drop(steady);
        match step {
            None => {}
            Some(Step::Back(by)) => warn!(
                by_ms = by,
                "the system's clock went back by {}; until it has caught up, time goes at half its pace",
                span(by)
            ),
            Some(Step::CaughtUp) => info!("the system's clock has caught up"),
            Some(Step::Believed(by)) => error!(
                by_ms = by,
                "the system's clock went back by {}, to where it should be: what was done meanwhile bears a wrong time",
                span(by)
            ),
        }
        now
    }
}

/// What the time has come to, and how it goes on.
#[derive(Debug)]
struct Steady {
    /// The system's time when the process began.
    first: Millis,
    /// The latest time that was told.
    told: Millis,
    /// How long the process had run when `told` became the time.
    at: Duration,
    behind: bool,
}

/// Something that an operator should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The system's clock is this much behind, milliseconds, and is not followed.
    Back(i64),
    CaughtUp,
    /// It went back by this much and is followed: it had been wrong before.
    Believed(i64),
}

impl Steady {
    fn new(system: Millis, told: Millis) -> Self {
        Self { first: system, told, at: Duration::ZERO, behind: told.0 - system.0 > SMALL }
    }

    /// The time, from what the system says and how long the process has run.
    ///
    /// Behind the time that was told already, time goes on at half its pace: locks end and codes expire, and
    /// the system's clock catches up. One that was far ahead for a while is not waited for: the process knows
    /// by how long it has run which of the two is wrong.
    fn follow(&mut self, system: Millis, run: Duration) -> (Millis, Option<Step>) {
        let behind = self.told.0.saturating_sub(system.0);
        if behind <= 0 {
            let step = std::mem::take(&mut self.behind).then_some(Step::CaughtUp);
            (self.told, self.at) = (system, run);
            return (system, step);
        }
        if behind > FAR && (self.first + run).0.abs_diff(system.0) < FAR.unsigned_abs() {
            self.behind = false;
            (self.told, self.at) = (system, run);
            return (system, Some(Step::Believed(behind)));
        }
        let step = (!self.behind && behind > SMALL).then_some(Step::Back(behind));
        self.behind |= step.is_some();
        let half = run.saturating_sub(self.at).as_millis() / 2;
        let half = Duration::from_millis(u64::try_from(half).unwrap_or(u64::MAX));
        self.told = self.told + half;
        self.at += 2 * half;
        (self.told, step)
    }
}

/// Milliseconds in the largest units that matter.
fn span(millis: i64) -> String {
    let seconds = millis / 1000;
    match (seconds / 86_400, seconds / 3_600, seconds / 60) {
        (days @ 2.., _, _) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (_, _, minutes @ 2..) => format!("{minutes} minutes"),
        _ => format!("{seconds} seconds"),
    }
}

/// Writes down, again and again, how far the time has come.
#[derive(Debug)]
pub(crate) struct Mark {
    store: Store,
    clock: Arc<dyn Clock>,
    keeper: JoinHandle<()>,
}

impl Mark {
    pub(crate) fn keep(store: Store, clock: Arc<dyn Clock>) -> Self {
        let (kept, time) = (store.clone(), Arc::clone(&clock));
        let keeper = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(MARK_EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                put(&kept, &*time).await;
            }
        });
        Self { store, clock, keeper }
    }

    /// Writes it down a last time.
    pub(crate) async fn stop(self) {
        self.keeper.abort();
        put(&self.store, &*self.clock).await;
    }
}

/// A failure is a warning: the store tells on its own account that it takes no writes.
async fn put(store: &Store, clock: &dyn Clock) {
    let now = clock.now();
    // A mark that far ahead of a clock that was accepted is the wrong one.
    let bytes = [now, Millis(now.0.saturating_add(FAR))].map(|moment| moment.0.to_be_bytes());
    let done: Result<(), Error> = store
        .write(bytes, |[now, far], tx| Box::pin(async move { installation::raise(tx, MARK, now, far).await }))
        .await;
    if let Err(failure) = done {
        warn!("the time could not be written down: {failure}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use lido_store::Options;

    use super::*;

    const HOUR: i64 = 60 * 60 * 1000;

    fn after(millis: i64) -> Duration {
        Duration::from_millis(millis.unsigned_abs())
    }

    #[test]
    fn time_never_runs_backwards() {
        let mut steady = Steady::new(Millis(0), Millis(0));
        assert_eq!(steady.follow(Millis(2 * HOUR), after(10)), (Millis(2 * HOUR), None));
        // Back by an hour: half the pace, whoever asks how often.
        let (now, step) = steady.follow(Millis(HOUR), after(10));
        assert_eq!((now, step), (Millis(2 * HOUR), Some(Step::Back(HOUR))));
        for run in 11..=1_010 {
            let (now, step) = steady.follow(Millis(HOUR + run - 10), after(run));
            assert_eq!((now, step), (Millis(2 * HOUR + (run - 10) / 2), None), "{run}");
        }
        // Two hours later it has caught up, and is followed again.
        let caught_up = Millis(3 * HOUR);
        assert_eq!(steady.follow(caught_up, after(2 * HOUR + 10)), (caught_up, Some(Step::CaughtUp)));
        assert_eq!(steady.follow(Millis(3 * HOUR + 7), after(2 * HOUR + 17)), (Millis(3 * HOUR + 7), None));
    }

    #[test]
    fn small_corrections_are_not_worth_a_word() {
        let mut steady = Steady::new(Millis(HOUR), Millis(HOUR));
        assert_eq!(steady.follow(Millis(HOUR - SMALL), after(0)), (Millis(HOUR), None));
        assert_eq!(steady.follow(Millis(HOUR + 1), after(SMALL + 1)), (Millis(HOUR + 1), None));
    }

    #[test]
    fn a_clock_that_was_far_ahead_is_not_waited_for() {
        let (start, years) = (100 * FAR, 3_650 * FAR);
        let mut steady = Steady::new(Millis(start), Millis(start));
        assert_eq!(steady.follow(Millis(start + years), after(1_000)).0, Millis(start + years));
        let back = Millis(start + 2_000);
        assert_eq!(steady.follow(back, after(2_000)), (back, Some(Step::Believed(years - 2_000))));
        assert_eq!(steady.follow(Millis(start + 2_001), after(2_001)), (Millis(start + 2_001), None));
    }

    #[test]
    fn a_clock_that_falls_far_behind_is_not_followed() {
        let start = 10_000 * FAR;
        let mut steady = Steady::new(Millis(start), Millis(start));
        let (now, step) = steady.follow(Millis(0), after(4_000));
        assert_eq!((now, step), (Millis(start + 2_000), Some(Step::Back(start))));
        assert_eq!(steady.follow(Millis(2_000), after(6_000)), (Millis(start + 3_000), None));
    }

    #[test]
    fn spans_are_told_in_one_unit() {
        let told = [90_000, 130_000, 3 * HOUR, 47 * HOUR, 3_650 * FAR].map(span);
        assert_eq!(told, ["90 seconds", "2 minutes", "3 hours", "47 hours", "3650 days"]);
    }

    /// What a test says the system's time is.
    #[derive(Debug, Default)]
    struct Set(AtomicI64);

    impl Clock for Set {
        fn now(&self) -> Millis {
            Millis(self.0.load(Ordering::Relaxed))
        }
    }

    async fn resume(store: &Store, system: i64, accept: bool) -> Result<Arc<dyn Clock>> {
        let system = Arc::new(Set(AtomicI64::new(system)));
        Ok(Arc::new(SteadyClock::resume(system, store, accept).await?))
    }

    /// Runs a server's life from one moment to another.
    async fn live(store: &Store, clock: Arc<dyn Clock>) {
        Mark::keep(store.clone(), clock).stop().await;
    }

    #[tokio::test]
    async fn a_restart_goes_on_from_the_time_before() {
        let store = Store::open(Options::memory()).await.unwrap();
        let noon = 1_000 * FAR;
        live(&store, resume(&store, noon, false).await.unwrap()).await;
        let held = resume(&store, noon - FAR, false).await.unwrap();
        let ahead = held.now().0 - noon;
        assert!((0..HOUR).contains(&ahead), "{ahead}");
        live(&store, held).await;
        assert_eq!(resume(&store, noon + HOUR, false).await.unwrap().now(), Millis(noon + HOUR));

        let refusal = resume(&store, noon - 3 * FAR, false).await.unwrap_err().to_string();
        assert!(refusal.starts_with("clock: the system's clock is 3 days behind"), "{refusal}");
        assert!(refusal.ends_with("start once with --accept-clock"), "{refusal}");
        let accepted = resume(&store, noon - 3 * FAR, true).await.unwrap();
        assert_eq!(accepted.now(), Millis(noon - 3 * FAR));
        live(&store, accepted).await;
        // Once is enough.
        let next = noon - 3 * FAR + HOUR;
        assert_eq!(resume(&store, next, false).await.unwrap().now(), Millis(next));
    }
}
