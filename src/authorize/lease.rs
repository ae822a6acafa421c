//! Owns this replica's lease: until when it may answer from memory, by its own clock.
//! Promises that a lease ends here before any other replica takes it for lapsed.
//! Must never look at a wall clock, nor compare two machines' clocks.

use crate::model::time::Moment;
use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// A lease without end is looked at this often; the runtime's timers take no longer ones.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Whether this replica may answer from memory. Shared by Authorize, which looks, and the
/// follower, which extends it.
#[derive(Debug)]
pub struct Lease {
    deadline_nanos: AtomicU64,
    changed: Notify,
}

/// This replica may not answer from memory: its keyring may lack others' writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLease {
    /// None was granted, or it was given up: the keys are being loaded.
    #[error("this replica is still loading its keys")]
    NotYet,
    /// It was not renewed in time.
    #[error("this replica's lease has lapsed")]
    Lapsed,
}

impl NoLease {
    /// For programs: in the details of a status, and in metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotYet => "KEYRING_LOADING",
            Self::Lapsed => "LEASE_LAPSED",
        }
    }
}

impl Lease {
    /// No lease yet.
    #[must_use]
    pub fn none() -> Self {
        Self {
            deadline_nanos: AtomicU64::new(Moment::EARLIEST.nanos),
            changed: Notify::new(),
        }
    }

    /// Looks at the keyring, and gives what it saw if this lease held all the while.
    pub fn covering<T>(&self, look: impl FnOnce() -> T) -> Result<T, NoLease> {
        // A lease that is granted meanwhile certifies what the keyring holds by then, and the look
        // may have come before that. So the deadline is read first, and the clock last.
        let deadline = self.deadline();
        let seen = look();
        // Neither the compiler nor the processor may take the look at the clock before the look at
        // the keyring: a pause between the two must count against the lease.
        std::sync::atomic::fence(Ordering::Acquire);
        Self::check(deadline).map(|()| seen)
    }

    /// Whether a lease with this deadline holds now.
    fn check(deadline: Moment) -> Result<(), NoLease> {
        if Moment::now() < deadline {
            Ok(())
        } else if deadline == Moment::EARLIEST {
            Err(NoLease::NotYet)
        } else {
            Err(NoLease::Lapsed)
        }
    }

    /// Its end, which may lie in the past.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        Moment {
            nanos: self.deadline_nanos.load(Ordering::Acquire),
        }
    }

    /// Extends it. Only when the keyring holds everything that was committed when it was granted.
    pub fn extend(&self, deadline: Moment) {
        self.deadline_nanos
            .fetch_max(deadline.nanos, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Ends it at once.
    pub fn give_up(&self) {
        self.deadline_nanos
            .store(Moment::EARLIEST.nanos, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until it holds, if it does not.
    pub async fn holding(&self) {
        loop {
            // Listens before it looks, so as to miss no change in between.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Self::check(self.deadline()).is_ok() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until it does not hold. Comes late by as long as the machine was suspended, so it
    /// serves for telling people, and [`Lease::covering`] for deciding.
    pub async fn lapsed(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Self::check(self.deadline()).is_err() {
                return;
            }
            let remaining = self.deadline().since(Moment::now());
            let _ = timeout(remaining.min(MAX_SLEEP), changed).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lease: &Lease) -> Result<(), NoLease> {
        lease.covering(|| ())
    }

    #[test]
    fn a_lease_holds_until_its_deadline_and_not_beyond() {
        let lease = Lease::none();
        assert_eq!(check(&lease), Err(NoLease::NotYet));
        lease.extend(Moment::now());
        assert_eq!(check(&lease), Err(NoLease::Lapsed));
        lease.extend(Moment::now().after(Duration::from_secs(60)));
        assert_eq!(check(&lease), Ok(()));
        lease.give_up();
        assert_eq!(check(&lease), Err(NoLease::NotYet));
    }

    #[test]
    fn a_lease_covers_no_look_during_which_it_ended() {
        let lease = Lease::none();
        let soon = Duration::from_millis(20);
        lease.extend(Moment::now().after(soon));
        let seen = lease.covering(|| std::thread::sleep(soon));
        assert_eq!(seen, Err(NoLease::Lapsed));
    }

    #[test]
    fn a_lease_covers_no_look_during_which_it_was_granted() {
        let lease = Lease::none();
        let granted = || lease.extend(Moment::LATEST);
        assert_eq!(lease.covering(granted), Err(NoLease::NotYet));
        assert_eq!(check(&lease), Ok(()));
    }

    #[test]
    fn an_older_grant_never_shortens_a_lease() {
        let lease = Lease::none();
        let (soon, late) = (Duration::from_secs(1), Duration::from_secs(60));
        lease.extend(Moment::EARLIEST.after(late));
        lease.extend(Moment::EARLIEST.after(soon));
        assert_eq!(lease.deadline(), Moment::EARLIEST.after(late));
    }

    #[tokio::test]
    async fn who_waits_for_a_lease_learns_of_its_grant_and_of_its_end() {
        let lease = Lease::none();
        lease.lapsed().await;
        let (waited, ()) = tokio::join!(lease.holding(), async {
            lease.extend(Moment::now().after(Duration::from_millis(20)));
        });
        let () = waited;
        lease.lapsed().await;
        assert_eq!(check(&lease), Err(NoLease::Lapsed));
    }
}
