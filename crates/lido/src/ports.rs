//! The system's clock and generator, behind the ports that everything else asks.

use std::time::{SystemTime, UNIX_EPOCH};

use lido_domain::{Clock, Millis, Random};

/// The real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        #[expect(clippy::disallowed_methods, reason = "this is the port")]
        let now = SystemTime::now();
        // A clock before 1970 is a broken one; everything then counts from 1970.
        Millis::default() + now.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The cryptographic generator of AWS-LC, seeded by the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "this is the port")]
        aws_lc_rs::rand::fill(bytes)
            .expect("the generator fails only where the system has no randomness at all");
    }
}
