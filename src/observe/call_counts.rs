//! Counts the calls that have ended, by method and status, and how long they took.
//!
//! Must never lock, allocate or look up a name while it counts. So methods and statuses are numbers
//! then.

use super::histogram::Histogram;
use std::time::Duration;

/// gRPC has this many status codes.
const STATUSES: usize = 17;

/// The calls by method and status.
pub struct Calls(Vec<Method>);

struct Method {
    name: &'static str,
    by_status: [Series; STATUSES],
}

struct Series {
    status: &'static str,
    is_shown_at_zero: bool,
    calls: Histogram,
}

impl Calls {
    /// Begins at zero for each of these methods and statuses.
    ///
    /// A series usually appears with its first call, and a rate over the series does not see that
    /// call. So a series for which `is_shown_at_zero` holds appears from the start.
    #[expect(
        clippy::large_types_passed_by_value,
        reason = "it is called once, at the start"
    )]
    pub fn new(
        methods: impl IntoIterator<Item = &'static str>,
        statuses: [&'static str; STATUSES],
        is_shown_at_zero: impl Fn(&str, &str) -> bool,
    ) -> Self {
        let method = |name| Method {
            name,
            by_status: statuses.map(|status| Series {
                status,
                is_shown_at_zero: is_shown_at_zero(name, status),
                calls: Histogram::default(),
            }),
        };
        Self(methods.into_iter().map(method).collect())
    }

    /// Counts a call by the index of its method and that of its status, in the order in which
    /// [`Calls::new`] got them.
    pub fn count(&self, method: usize, status: usize, took: Duration) {
        self.0[method].by_status[status].calls.add(took);
    }

    /// Each method and status that is to be shown, with the durations of its calls.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        self.0.iter().flat_map(|method| {
            let by_status = method.by_status.iter();
            let shown =
                by_status.filter(|series| series.is_shown_at_zero || !series.calls.is_empty());
            shown.map(|series| (method.name, series.status, &series.calls))
        })
    }
}
