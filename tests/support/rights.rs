//! Rights that a test gives to a caller of the store, and takes away.

use keyservice::store::{StillAllowed, Watch};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

pub struct Rights {
    are_given: Arc<AtomicBool>,
    changes: watch::Sender<()>,
    /// The writes that have begun since the last change.
    writes: Arc<Mutex<TaskTracker>>,
    before: Mutex<TaskTracker>,
}

impl Rights {
    pub fn given() -> Self {
        Self {
            are_given: Arc::new(AtomicBool::new(true)),
            changes: watch::Sender::new(()),
            writes: Arc::default(),
            before: Mutex::default(),
        }
    }

    pub fn still_allowed(&self) -> StillAllowed {
        let (are_given, changes) = (self.are_given.clone(), self.changes.clone());
        let writes = self.writes.clone();
        StillAllowed::so_long_as_watched(
            move || are_given.load(Relaxed),
            move || Watch {
                changes: changes.subscribe(),
                token: writes.lock().expect("whole").token(),
            },
        )
    }

    pub fn give(&self) {
        self.change(true);
    }

    pub fn take(&self) {
        self.change(false);
    }

    fn change(&self, are_given: bool) {
        self.are_given.store(are_given, Relaxed);
        let before = std::mem::take(&mut *self.writes.lock().expect("whole"));
        before.close();
        *self.before.lock().expect("whole") = before;
        self.changes.send_replace(());
    }

    /// Waits for the writes that began before the last change.
    pub async fn wait_until_unused(&self) {
        let before = self.before.lock().expect("whole").clone();
        before.wait().await;
    }
}
