//! The keys that the clients know, and the choice of the key for the next call.

use crate::support::faults::history::KeyNumber;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use std::sync::Arc;

/// The approximate number of keys that are not revoked.
const ACTIVE_KEYS: usize = 300;

/// How many of the last written keys are recent. Half of all Authorizes use a recent key.
const RECENT_KEYS: usize = 24;

/// The keys whose Create returned.
#[derive(Default)]
pub struct Keys {
    all: Vec<Arc<KnownKey>>,
    /// The keys for which no Revoke was sent.
    active: Vec<Arc<KnownKey>>,
    /// Sorted by age, oldest first.
    recent: Vec<Arc<KnownKey>>,
}

pub struct KnownKey {
    pub number: KeyNumber,
    pub key_id: String,
    pub token: String,
}

impl Keys {
    pub fn all(&self) -> &[Arc<KnownKey>] {
        &self.all
    }

    pub fn add(&mut self, key: Arc<KnownKey>) {
        self.all.push(key.clone());
        self.active.push(key);
    }

    pub fn mark_recent(&mut self, key: Arc<KnownKey>) {
        if self.recent.len() == RECENT_KEYS {
            self.recent.remove(0);
        }
        self.recent.push(key);
    }

    /// A random key. Recent and active keys are more likely.
    pub fn pick(&self, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        let picked = match random.random_range(0..4) {
            0 | 1 => self.recent.choose(random),
            2 => self.active.choose(random),
            _ => self.all.choose(random),
        };
        picked.cloned()
    }

    /// Takes an active key, so that no other client takes it too. Returns `None` more often the fewer
    /// active keys there are; then the client creates a key instead.
    pub fn take_to_revoke(&mut self, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        let active = self.active.len();
        if random.random_range(0..2 * ACTIVE_KEYS) >= active {
            return None;
        }
        Some(self.active.swap_remove(random.random_range(0..active)))
    }
}
