//! Decides for how long a server that drains waits for a connection.
//! Promises to wait for calls that the server works on, and for answers that their client takes.
//! Must never wait for a client that takes nothing: it would make each shutdown last as long as it may.

use std::time::Duration;

/// How often it is asked. The last bytes of an answer are written within this time, once HTTP/2 has them.
pub(in crate::net::admission) const STEP: Duration = Duration::from_millis(200);

/// How long a client may take nothing of the answers that it has asked for. It needs one round trip. The end of
/// a stream has as long.
const UNTAKEN_LIMIT: Duration = Duration::from_secs(2);

/// What the server waits for on a connection. Calls of strangers, watches and late calls are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net::admission) struct Awaited {
    /// Calls without an answer.
    pub(in crate::net::admission) work: usize,
    /// Calls whose answer HTTP/2 has not asked for to its end.
    pub(in crate::net::admission) answers: usize,
    /// Answers to admin calls of which HTTP/2 still has a part.
    pub(in crate::net::admission) held_answers: usize,
    /// Parts of such answers that were taken so far. So this changes while a client takes them.
    pub(in crate::net::admission) taken_parts: usize,
}

impl Awaited {
    /// Whether all that is waited for is that answers are taken.
    pub(in crate::net::admission) fn is_untaken(&self) -> bool {
        self.work == 0 && (self.answers > 0 || self.held_answers > 0)
    }
}

/// How long a connection stays while this does not change. `None` if it stays until it does.
pub(in crate::net::admission) fn patience(awaited: &Awaited) -> Option<Duration> {
    if awaited.work > 0 {
        None
    } else if awaited.is_untaken() {
        Some(UNTAKEN_LIMIT)
    } else {
        Some(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_drains_waits_for_work_and_not_for_who_takes_nothing() {
        let nothing = Awaited {
            work: 0,
            answers: 0,
            held_answers: 0,
            taken_parts: 7,
        };
        assert_eq!(patience(&nothing), Some(STEP));
        let answers = Awaited {
            answers: 1,
            ..nothing
        };
        let held = Awaited {
            held_answers: 1,
            ..nothing
        };
        assert_eq!(patience(&answers), Some(UNTAKEN_LIMIT));
        assert_eq!(patience(&held), Some(UNTAKEN_LIMIT));
        assert_eq!(patience(&Awaited { work: 1, ..answers }), None);
    }
}
