//! The clock that development mode moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lido_domain::{Clock, Millis};

/// The real time and an offset. It goes on running wherever it was moved.
#[derive(Debug)]
pub struct DevClock {
    real: Arc<dyn Clock>,
    offset: AtomicI64,
}

impl DevClock {
    pub fn new(real: Arc<dyn Clock>) -> Self {
        Self { real, offset: AtomicI64::new(0) }
    }

    /// Moves by milliseconds, back if negative.
    pub fn advance(&self, by: i64) {
        // Two requests that move at once both count.
        let moved =
            self.offset.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |at| Some(at.saturating_add(by)));
        debug_assert!(moved.is_ok(), "the update always gives a value");
    }

    pub fn set(&self, to: Millis) {
        self.offset.store(to.0.saturating_sub(self.real.now().0), Ordering::SeqCst);
    }

    /// Back to the real time.
    pub fn release(&self) {
        self.offset.store(0, Ordering::SeqCst);
    }
}

impl Clock for DevClock {
    fn now(&self) -> Millis {
        Millis(self.real.now().0.saturating_add(self.offset.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Millis {
            Millis(43_200_000)
        }
    }

    #[test]
    fn the_clock_is_moved_set_and_released() {
        let clock = DevClock::new(Arc::new(Noon));
        clock.advance(1_000);
        clock.advance(-3_000);
        assert_eq!(clock.now(), Millis(43_198_000));
        clock.set(Millis(5));
        assert_eq!(clock.now(), Millis(5));
        clock.release();
        assert_eq!(clock.now(), Noon.now());
    }
}
