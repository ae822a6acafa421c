//! Runs each fuzz target for a short time on nearly valid inputs.

use crate::support::mutation::{mutated, seeds};
use rand::{SeedableRng, rngs::StdRng};
use std::{
    panic::catch_unwind,
    time::{Duration, Instant},
};

#[path = "../../fuzz/src/lib.rs"]
mod checks;

/// The time for each target. Use cargo-fuzz for longer runs.
const LENGTH: Duration = Duration::from_secs(1);

#[test]
fn every_fuzz_target_holds_for_mutated_seeds() {
    let seed = rand::random();
    println!("seed {seed}");
    for (target, check) in checks::TARGETS {
        let seeds = seeds(target);
        for bytes in &seeds {
            assert_holds(target, check, bytes);
        }
        let mut random = StdRng::seed_from_u64(seed);
        let (started, mut count) = (Instant::now(), 0);
        while started.elapsed() < LENGTH {
            assert_holds(target, check, &mutated(&seeds, &mut random));
            count += 1;
        }
        println!("{target}: {count} inputs");
    }
}

fn assert_holds(target: &str, check: fn(&[u8]), bytes: &[u8]) {
    let held = catch_unwind(|| check(bytes));
    assert!(
        held.is_ok(),
        "{target} fails for b\"{}\"",
        bytes.escape_ascii()
    );
}
