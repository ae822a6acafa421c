//! Owns how many calls ended with which status, by method, and how long they took.
//! Promises that a method and status shows once a call of it has ended, and not before.
//! Must never look a name up while a call is counted: places are numbers by then.

use super::Histogram;
use std::{sync::OnceLock, time::Duration};

/// As many as gRPC has.
const STATUSES: usize = 17;

/// The calls by method and status.
pub struct Calls {
    methods: Vec<Method>,
    statuses: [&'static str; STATUSES],
}

struct Method {
    name: &'static str,
    by_status: [OnceLock<Box<Histogram>>; STATUSES],
}

impl Calls {
    /// None yet, of these methods and with these statuses.
    pub fn new(
        methods: impl IntoIterator<Item = &'static str>,
        statuses: [&'static str; STATUSES],
    ) -> Self {
        let method = |name| Method {
            name,
            by_status: Default::default(),
        };
        Self {
            methods: methods.into_iter().map(method).collect(),
            statuses,
        }
    }

    /// Counts a call of the method and with the status at these places.
    pub fn ended(&self, method: usize, status: usize, took: Duration) {
        let calls = &self.methods[method].by_status[status];
        calls.get_or_init(Box::default).add(took);
    }

    /// Each method and status of which calls have ended.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&'static str, &'static str, &Histogram)> {
        self.methods.iter().flat_map(|method| {
            let by_status = self.statuses.iter().zip(&method.by_status);
            by_status.filter_map(|(status, calls)| Some((method.name, *status, &**calls.get()?)))
        })
    }
}
