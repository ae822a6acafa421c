//! A histogram of durations, to which many threads can add at the same time.
//!
//! Promises that adding a duration costs two relaxed atomic additions.
//! Must never lock or allocate, because every Authorize adds a duration.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The upper bounds of the buckets. An Authorize takes about 10 µs, a write takes a few
/// milliseconds, and a write that waits until a lease has lapsed takes some seconds.
const BOUNDS_NANOS: [u64; 19] = [
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

/// Counts durations by bucket. The last bucket has no upper bound.
#[derive(Default)]
pub struct Histogram {
    counts: [AtomicU64; BOUNDS_NANOS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram as it was read.
pub(crate) struct Snapshot {
    pub(crate) sum_seconds: f64,
    pub(crate) count: u64,
    /// The upper bound of each bucket in seconds, and how many durations fell into this bucket and
    /// no lower one.
    pub(crate) buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub(crate) fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        // This begins at the lowest bucket, because nearly all durations fall into the first ones.
        let bucket = BOUNDS_NANOS.iter().position(|bound| nanos <= *bound);
        self.counts[bucket.unwrap_or(BOUNDS_NANOS.len())].fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Relaxed) == 0)
    }

    /// The count is the sum of the buckets as they were read, so the two always agree. The sum of
    /// the durations may be a few durations ahead or behind.
    pub(crate) fn read(&self) -> Snapshot {
        let counts = self.counts.each_ref().map(|count| count.load(Relaxed));
        let bounds = BOUNDS_NANOS.iter().map(|bound| seconds(*bound));
        Snapshot {
            sum_seconds: seconds(self.sum_nanos.load(Relaxed)),
            count: counts.iter().sum(),
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

/// Converts nanoseconds to seconds. This is exact up to 100 days, and precise to some nanoseconds
/// beyond.
#[expect(clippy::cast_precision_loss, reason = "15 digits are enough")]
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
        assert!(
            (read.sum_seconds - 1.0).abs() < 1e-9,
            "{}",
            read.sum_seconds
        );
    }
}
