//! Owns this replica's lease: until when it may answer from memory, by its own clock.
//! Promises that a lease ends here before any other replica takes it for lapsed.
//! Must never look at a wall clock, nor compare two machines' clocks.

use rustix::time::{ClockId, clock_gettime};
use std::{
    fmt,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};

/// A point on this machine's monotonic clock.
///
/// The clock counts the time that the machine was suspended: a lease that slept through its end
/// has ended. Its rate may be off by less than 5 % (see [`LeaseTerm`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    nanos: u64,
}

/// `CLOCK_MONOTONIC` stands still on a suspended Linux machine; elsewhere it does not.
#[cfg(target_os = "linux")]
const CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: ClockId = ClockId::Monotonic;

impl Moment {
    /// Before every other one.
    pub const EARLIEST: Self = Self { nanos: 0 };

    /// After every other one.
    pub const LATEST: Self = Self { nanos: u64::MAX };

    /// The clock's reading.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(CLOCK);
        let nanos = time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs();
        Self { nanos }
    }

    /// This much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self {
            nanos: self.nanos.saturating_add(nanos),
        }
    }

    /// From an earlier moment to this one; nothing if that one is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// How long a lease lasts, and who counts that from when.
///
/// The holder counts nine tenths of it from before it asked; whoever waits for its lapse counts
/// the whole from after it saw the renewal. So even where the holder's clock is slow by 5 % and the
/// other's fast by 5 %, the holder's end comes first: 0.9 × 1.05 < 1 ÷ 1.05.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerm(Duration);

impl LeaseTerm {
    /// A term of this length, which is kept in whole milliseconds.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self(Duration::from_millis(u64::from(Self(length).as_millis())))
    }

    /// Its whole length.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }

    /// Its length in milliseconds, as the store keeps it.
    #[must_use]
    pub fn as_millis(self) -> u32 {
        u32::try_from(self.0.as_millis()).unwrap_or(u32::MAX)
    }

    /// How long the holder may use a lease.
    #[must_use]
    pub fn usable(self) -> Duration {
        self.0 * 9 / 10
    }

    /// Until when the holder may use the lease that it began to ask for at this moment.
    #[must_use]
    pub fn usable_until(self, asked: Moment) -> Moment {
        asked.after(self.usable())
    }

    /// When the lease has lapsed for certain, for one who had read of its renewal at this moment.
    #[must_use]
    pub fn lapsed_from(self, read: Moment) -> Moment {
        read.after(self.0)
    }
}

impl fmt::Display for LeaseTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

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

    #[test]
    fn a_holders_end_comes_before_an_observers_whatever_their_clocks_do() {
        let term = LeaseTerm::new(Duration::from_secs(2));
        let moment = Moment::EARLIEST;
        let usable = term.usable_until(moment).since(moment).as_secs_f64();
        let lapsed = term.lapsed_from(moment).since(moment).as_secs_f64();
        for (holder, observer) in [(0.951, 1.049), (1.0, 1.0), (1.049, 0.951)] {
            assert!(usable / holder < lapsed / observer);
        }
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
