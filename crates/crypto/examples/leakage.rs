//! Looks for secrets in the time that operations on them take, in the manner of dudect: two classes of secrets,
//! one fixed and one random, are measured in random order, and Welch's t tells whether the mean times differ.
//!
//! ```sh
//! cargo run --release -p lido-crypto --example leakage [measurements]
//! ```
//!
//! |t| above 4.5 is suspicious, above 10 a leak. Noise of the machine can hide a leak but hardly make one up, so
//! run it on a quiet machine, and more than once. The last lines measure operations that are known to leak: a
//! run in which they do not stand out has shown nothing.

use std::hint::black_box;
use std::time::Instant;

use lido_crypto::bignum::{self, Element};
use lido_crypto::srp::Verifier;
use lido_domain::Random;

#[derive(Debug)]
struct SystemRandom;

impl Random for SystemRandom {
    #[expect(clippy::disallowed_methods, reason = "this program has no context to ask")]
    fn fill(&self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the system gives randomness");
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom.fill(&mut bytes);
    bytes
}

/// Mean and variance by Welford's method.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn error(&self) -> f64 {
        self.squares / (self.count - 1.0) / self.count
    }
}

/// Welch's t of the times below the limit.
fn welch(times: &[(bool, f64)], limit: f64) -> (f64, [Moments; 2]) {
    let mut classes = [Moments::default(), Moments::default()];
    for (class, time) in times.iter().filter(|(_, time)| *time <= limit) {
        classes[usize::from(*class)].add(*time);
    }
    let [fixed, random] = &classes;
    ((fixed.mean - random.mean) / (fixed.error() + random.error()).sqrt(), classes)
}

/// Times `run` on inputs that `input` makes beforehand: fixed for `false`, random for `true`. Both are cloned into
/// fresh memory, so that only their values tell the classes apart.
fn measure<T>(name: &str, measurements: usize, input: impl Fn(bool) -> T, run: impl Fn(&T)) {
    const BATCH: usize = 500;
    for _ in 0..BATCH.min(measurements) {
        run(&input(true));
    }
    let mut times = Vec::with_capacity(measurements + BATCH);
    while times.len() < measurements {
        let batch: Vec<(bool, T)> = random::<BATCH>()
            .map(|byte| byte & 1 == 1)
            .into_iter()
            .map(|class| (class, input(class)))
            .collect();
        for (class, value) in &batch {
            let start = Instant::now();
            run(black_box(value));
            times.push((*class, start.elapsed().as_nanos() as f64));
        }
    }
    let mut sorted: Vec<f64> = times.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    // Interruptions make a long tail; cutting it at several places keeps one choice from deciding.
    let at = |percent: usize| welch(&times, sorted[(sorted.len() - 1) * percent / 100]);
    let (_, [fixed, random]) = at(90);
    let mut line = format!("{name:<46} {:>8.0} {:>8.0} ns", fixed.mean, random.mean);
    for percent in [50, 75, 90, 95, 99, 100] {
        line += &format!(" {:>8.2}", at(percent).0);
    }
    println!("{line}");
}

fn main() {
    let measurements = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let start = Instant::now();
    bignum::prepare();
    println!("table of the generator's powers built in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    println!(
        "{measurements} measurements; mean of both classes; t of the fastest 50, 75, 90, 95, 99 and 100 percent"
    );

    let base = Element::from_bytes(&random::<380>()).expect("3040 bits are below N");
    let few_bits = |class: bool| {
        if class {
            return random();
        }
        let mut exponent = [0; 32];
        exponent[31] = 3;
        exponent
    };
    let one_random = random::<32>();
    let random_or_chosen = |class: bool| if class { random() } else { one_random };

    measure("g^x, x = 3 or random", measurements, few_bits, |x| {
        black_box(bignum::pow_g(x));
    });
    measure("g^x, x fixed or random", measurements, random_or_chosen, |x| {
        black_box(bignum::pow_g(x));
    });
    measure("base^x, x = 3 or random", measurements, few_bits, |x| {
        black_box(bignum::pow(&base, x));
    });
    measure("base^x, x fixed or random", measurements, random_or_chosen, |x| {
        black_box(bignum::pow(&base, x));
    });
    measure(
        "fixed or random base^x",
        measurements,
        |class| {
            let mut bytes = random::<384>();
            bytes[0] &= 0x7f;
            if class { Element::from_bytes(&bytes).expect("below N") } else { base.clone() }
        },
        |base| {
            black_box(bignum::pow(base, &one_random));
        },
    );

    let verifier = Verifier::derive("Pool1", "ana", "Correct-Horse7!", random());
    measure(
        "verifier, right or random password",
        measurements,
        |class| {
            let wrong = random::<8>().iter().map(|byte| format!("{:x}", byte | 0x10)).collect::<String>();
            if class { wrong[..15].to_owned() } else { "Correct-Horse7!".to_owned() }
        },
        |password| {
            black_box(verifier.matches("Pool1", "ana", password));
        },
    );
    let stored = random::<384>();
    measure(
        "comparison, difference at the end or start",
        measurements,
        |class| {
            let mut other = stored;
            other[if class { 0 } else { 383 }] ^= 1;
            other
        },
        |other| {
            for _ in 0..50 {
                black_box(lido_crypto::constant_time_eq(black_box(&stored), black_box(other)));
            }
        },
    );

    println!("known to leak:");
    measure("public base^x, x = 3 or random", measurements / 10, few_bits, |x| {
        black_box(bignum::pow_public(&base, x));
    });
    measure("public base^x, x fixed or random", measurements / 10, random_or_chosen, |x| {
        black_box(bignum::pow_public(&base, x));
    });
    measure(
        "plain comparison, difference at end or start",
        measurements / 10,
        |class| {
            let mut other = stored;
            other[if class { 0 } else { 383 }] ^= 1;
            other
        },
        |other| {
            for _ in 0..50 {
                black_box(black_box(&stored) == black_box(other));
            }
        },
    );
}
