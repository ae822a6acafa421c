//! This replica's lease: until when it may answer from memory, by its own clock.
//!
//! Promises that the lease ends here before any other replica considers it lapsed.
//! Must never read a wall clock or compare the clocks of two machines.

use crate::model::time::Moment;
use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use strum::{EnumCount, IntoStaticStr, VariantArray};
use tokio::{sync::Notify, time::timeout};

/// How long one wait for the end of a lease may be. The runtime's timers cannot wait forever.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// Whether this replica may answer from memory. Authorize reads it, and the follower extends it.
#[derive(Debug)]
pub struct Lease {
    deadline_nanos: AtomicU64,
    changed: Notify,
}

/// This replica may not answer from memory, because its keyring may lack writes of other replicas.
///
/// A status's details and the metrics spell it `KEYRING_LOADING` or `LEASE_LAPSED`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray, thiserror::Error,
)]
pub enum NoLease {
    /// No lease was granted, or it was given up: the keys are being loaded.
    #[error("this replica is still loading its keys")]
    #[strum(serialize = "KEYRING_LOADING")]
    NotYet,
    /// The lease was not renewed in time.
    #[error("this replica's lease has lapsed")]
    #[strum(serialize = "LEASE_LAPSED")]
    Lapsed,
}

impl Lease {
    pub(crate) fn none() -> Self {
        Self {
            deadline_nanos: AtomicU64::new(Moment::EARLIEST.nanos),
            changed: Notify::new(),
        }
    }

    /// Reads from the keyring, and returns what was read if this lease held during the whole read.
    pub(crate) fn covering<T>(&self, read: impl FnOnce() -> T) -> Result<T, NoLease> {
        // A lease that is granted during the read certifies what the keyring holds by then, but the
        // read may have come before that. So the deadline is read first, and the clock last.
        let deadline = self.deadline();
        let answer = read();
        // Neither the compiler nor the processor may move the read of the clock before the read of
        // the keyring: a pause between the two must count against the lease.
        std::sync::atomic::fence(Ordering::Acquire);
        Self::check(deadline).map(|()| answer)
    }

    /// Returns whether a lease with this deadline holds now.
    fn check(deadline: Moment) -> Result<(), NoLease> {
        if Moment::now() < deadline {
            Ok(())
        } else if deadline == Moment::EARLIEST {
            Err(NoLease::NotYet)
        } else {
            Err(NoLease::Lapsed)
        }
    }

    /// When the lease ends, which may lie in the past.
    pub(crate) fn deadline(&self) -> Moment {
        Moment {
            nanos: self.deadline_nanos.load(Ordering::Acquire),
        }
    }

    /// Extends the lease. The keyring must hold every write that was committed when it was granted.
    pub fn extend(&self, deadline: Moment) {
        self.deadline_nanos
            .fetch_max(deadline.nanos, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Ends the lease now, as if it had not been renewed.
    pub(crate) fn end(&self) {
        self.deadline_nanos
            .fetch_min(Moment::now().nanos, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Takes the lease back to before the first load, because all keys must be loaded again.
    pub(crate) fn give_up(&self) {
        self.deadline_nanos
            .store(Moment::EARLIEST.nanos, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Waits until the lease holds. May be dropped at any time.
    pub(crate) async fn wait_until_held(&self) {
        loop {
            // Subscribes before it checks, so that it misses no change in between.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if Self::check(self.deadline()).is_ok() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the lease does not hold. May be dropped at any time.
    ///
    /// If the machine is suspended meanwhile, this returns late. So use it only to report a lapse,
    /// and [`Lease::covering`] to decide.
    pub(crate) async fn wait_until_lapsed(&self) {
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
        lease.end();
        assert_eq!(check(&lease), Err(NoLease::Lapsed));
        lease.give_up();
        lease.end();
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
    async fn a_waiting_task_learns_of_the_grant_of_a_lease_and_of_its_end() {
        let lease = Lease::none();
        lease.wait_until_lapsed().await;
        let (waited, ()) = tokio::join!(lease.wait_until_held(), async {
            lease.extend(Moment::now().after(Duration::from_millis(20)));
        });
        let () = waited;
        lease.wait_until_lapsed().await;
        assert_eq!(check(&lease), Err(NoLease::Lapsed));
    }
}
