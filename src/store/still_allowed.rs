//! Whether a caller may still make a write that waits for others.

use super::StoreError;
use std::{fmt, future::pending, sync::Arc};
use tokio::sync::watch;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Asked before a write is made, and again whenever callers change while it waits at the store: its caller may
/// have lost its rights since it was asked for.
#[derive(Clone)]
pub struct StillAllowed(Option<Arc<Asked>>);

struct Asked {
    is_allowed: Box<dyn Fn() -> bool + Send + Sync>,
    /// None if nobody tells of changes.
    watch: Option<Box<dyn Fn() -> Watch + Send + Sync>>,
}

/// Connects a write at the store with those who take rights away.
pub struct Watch {
    /// Told after each change of rights.
    pub changes: watch::Receiver<()>,
    /// Lets them wait until the writes that began before a change have ended.
    pub token: TaskTrackerToken,
}

impl StillAllowed {
    /// As long as this says so.
    #[must_use]
    pub fn so_long_as(is_allowed: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(Asked {
            is_allowed: Box::new(is_allowed),
            watch: None,
        })))
    }

    /// The same, and a write that is at the store when this changes is broken off, if it still waits there.
    #[must_use]
    pub fn so_long_as_watched(
        is_allowed: impl Fn() -> bool + Send + Sync + 'static,
        watch: impl Fn() -> Watch + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(Asked {
            is_allowed: Box::new(is_allowed),
            watch: Some(Box::new(watch)),
        })))
    }

    /// Whoever asks has no caller, or one that cannot lose its rights.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// Whether it is.
    #[must_use]
    pub fn now(&self) -> bool {
        self.0.as_ref().is_none_or(|asked| (asked.is_allowed)())
    }

    /// Begins a write, if it is still allowed. This is the last thing before the write is made.
    pub(super) fn begin(&self) -> Result<Begun, StoreError> {
        // First, so that no change is missed after the question.
        let watch = self.watch();
        if self.now() {
            let still_allowed = self.clone();
            Ok(Begun {
                still_allowed,
                watch,
            })
        } else {
            Err(StoreError::Disallowed)
        }
    }

    fn watch(&self) -> Option<Watch> {
        let watch = self.0.as_ref()?.watch.as_ref()?;
        Some(watch())
    }
}

impl fmt::Debug for StillAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StillAllowed")
    }
}

/// A write that is being made. Kept until it has ended.
pub(super) struct Begun {
    still_allowed: StillAllowed,
    watch: Option<Watch>,
}

impl Begun {
    /// Returns when the caller has lost its rights. The write still counts as one that began before that.
    pub(super) async fn rights_lost(&mut self) {
        while let Some(watch) = &mut self.watch
            && watch.changes.changed().await.is_ok()
        {
            let watch = self.still_allowed.watch();
            if !self.still_allowed.now() {
                return;
            }
            self.watch = watch;
        }
        pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::{
        pin::pin,
        sync::atomic::{AtomicBool, Ordering::Relaxed},
    };
    use tokio_util::task::TaskTracker;

    #[test]
    fn a_write_is_told_of_the_change_that_takes_its_rights_and_holds_up_whoever_waits_for_it() {
        let (is_allowed, changes) = (Arc::new(AtomicBool::new(true)), watch::Sender::new(()));
        let (asked, told, writes) = (is_allowed.clone(), changes.clone(), TaskTracker::new());
        let counted = writes.clone();
        let still_allowed = StillAllowed::so_long_as_watched(
            move || asked.load(Relaxed),
            move || Watch {
                changes: told.subscribe(),
                token: counted.token(),
            },
        );
        let mut begun = still_allowed.begin().expect("allowed");
        {
            let mut lost = pin!(begun.rights_lost());
            assert!(lost.as_mut().now_or_never().is_none());
            for _ in 0..2 {
                changes.send_replace(());
                let lost = lost.as_mut().now_or_never();
                assert!(lost.is_none(), "another caller's");
            }
            is_allowed.store(false, Relaxed);
            changes.send_replace(());
            assert!(lost.now_or_never().is_some());
        }
        assert_eq!(writes.len(), 1);
        drop(begun);
        assert!(writes.is_empty());
        assert!(matches!(
            still_allowed.begin().err(),
            Some(StoreError::Disallowed)
        ));
    }
}
