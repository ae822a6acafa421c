//! Owns how many calls ended with which status, by method, and how long they took.
//! Promises that what is awaited shows from the start, and all else once a call has ended so.
//! Must never lock, allocate or look up a name while it counts: places are numbers by then.

use super::histogram::Histogram;
use std::time::Duration;

/// As many as gRPC has.
const STATUSES: usize = 17;

/// The calls by method and status.
pub struct Calls(Vec<Method>);

struct Method {
    name: &'static str,
    by_status: [Series; STATUSES],
}

struct Series {
    status: &'static str,
    is_awaited: bool,
    calls: Histogram,
}

impl Calls {
    /// None yet, of these methods and with these statuses. Those that are awaited show from the
    /// start, so that a rate sees the first of them: it sees nothing of that with which a series
    /// begins.
    pub fn new(
        methods: impl IntoIterator<Item = &'static str>,
        statuses: [&'static str; STATUSES],
        is_awaited: impl Fn(&str, &str) -> bool,
    ) -> Self {
        let method = |name| Method {
            name,
            by_status: statuses.map(|status| Series {
                status,
                is_awaited: is_awaited(name, status),
                calls: Histogram::default(),
            }),
        };
        Self(methods.into_iter().map(method).collect())
    }

    /// Counts a call of the method and with the status at these places.
    pub fn ended(&self, method: usize, status: usize, took: Duration) {
        self.0[method].by_status[status].calls.add(took);
    }

    /// Each method and status of which calls have ended or are awaited.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        self.0.iter().flat_map(|method| {
            let by_status = method.by_status.iter();
            let seen = by_status.filter(|series| series.is_awaited || !series.calls.is_empty());
            seen.map(|series| (method.name, series.status, &series.calls))
        })
    }
}
