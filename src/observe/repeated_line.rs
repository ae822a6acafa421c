//! A log line, or a span, that whatever comes from outside may repeat at will.
//!
//! Promises a few such lines at once, so that different errors are seen, and a bound on their number for
//! any length of time. Each later line says how many were left out before it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many lines one period may have.
const LINES: u32 = 10;

/// The length of a period, which begins with its first line.
const PERIOD: Duration = Duration::from_secs(10);

/// One kind of line. It is a static beside the place that writes the line.
pub(crate) struct RepeatedLine(Mutex<State>);

struct State {
    /// None before the first line.
    period_start: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl RepeatedLine {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(State {
            period_start: None,
            lines: 0,
            left_out: 0,
        }))
    }

    /// Whether the line may be written now, and how many were left out since the last one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        // The state is whole at any time: nothing that is done under the lock can panic half way.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |start| now.saturating_duration_since(start) >= PERIOD;
        if state.period_start.is_none_or(is_over) {
            state.period_start = Some(now);
            state.lines = 0;
        }
        if state.lines == LINES {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_written_in_each_period_and_the_others_are_counted() {
        let (line, start) = (RepeatedLine::new(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(line.admit(start), Some(0));
        }
        for _ in 0..1000 {
            assert_eq!(line.admit(start + PERIOD / 2), None);
        }
        assert_eq!(line.admit(start + PERIOD), Some(1000));
        assert_eq!(line.admit(start + PERIOD), Some(0));
        assert_eq!(
            line.admit(start),
            Some(0),
            "a clock that stands still is no trouble"
        );
    }
}
