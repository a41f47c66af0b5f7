//! Choices that a seed repeats.

use std::time::Duration;

use lido_domain::Random;
use lido_tests::SystemRandom;

/// Choices that repeat with their seed.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// The seed that was asked for, or another one each time; the test's output names it.
    pub(super) fn cast() -> Self {
        let seed = std::env::var("LIDO_TEST_CRASH_SEED")
            .ok()
            .map(|text| text.parse().expect("the seed is a number"));
        let seed = seed.unwrap_or_else(|| {
            let mut bytes = [0; 4];
            SystemRandom.fill(&mut bytes);
            u32::from_le_bytes(bytes).into()
        });
        println!("LIDO_TEST_CRASH_SEED={seed}");
        Self(seed)
    }

    /// Dice of its own for each of many.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    pub(super) fn millis(&mut self, bound: usize) -> Duration {
        Duration::from_micros(u64::try_from(self.below(bound * 1000)).unwrap())
    }
}
