//! Owns a histogram of durations that any number of threads add to at once.
//! Promises that adding takes two relaxed atomic additions.
//! Must never lock or allocate: it is on Authorize's way.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The buckets' upper bounds in nanoseconds. An Authorize takes some 10 µs, a write a few
/// milliseconds, and a write that waits for a lease to lapse some seconds.
const BOUNDS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// How many durations fell into each bucket, the one without a bound among them, and their sum.
#[derive(Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram as it was read, in seconds.
pub(crate) struct Snapshot {
    pub(crate) sum: f64,
    pub(crate) count: u64,
    /// The upper bound of each bucket, and how many fell into it and no lower one.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // From the lowest: that is where nearly all fall.
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound);
        self.counts[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Relaxed) == 0)
    }

    /// The count is of the buckets that were read, so that these always add up. The sum may be a
    /// few durations ahead or behind.
    pub(crate) fn read(&self) -> Snapshot {
        let counts = self.counts.each_ref().map(|count| count.load(Relaxed));
        let bounds = BOUNDS.iter().map(|bound| seconds(*bound));
        Snapshot {
            sum: seconds(self.sum_nanos.load(Relaxed)),
            count: counts.iter().sum(),
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

/// Exact enough for 100 days, and beyond that to some nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "nobody reads more than 15 digits"
)]
pub(crate) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_lowest_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for nanos in [0, 10_000, 10_001, 50_000, 10_000_000_000, 10_000_000_001] {
            histogram.add(Duration::from_nanos(nanos));
        }
        histogram.add(Duration::MAX);
        let read = histogram.read();
        let filled: Vec<_> = read
            .buckets
            .iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        let expected = [
            (0.000_01, 2),
            (0.000_025, 1),
            (0.000_05, 1),
            (10.0, 1),
            (f64::INFINITY, 2),
        ];
        assert!(filled.into_iter().eq(&expected), "{:?}", read.buckets);
        assert_eq!(read.count, 7);
    }

    #[test]
    fn what_threads_add_at_once_is_all_counted() {
        let histogram = Histogram::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        histogram.add(Duration::from_micros(25));
                    }
                });
            }
        });
        let read = histogram.read();
        assert_eq!(read.count, 40_000);
        assert!((read.sum - 1.0).abs() < 1e-9, "{}", read.sum);
    }
}
