//! The keys that clients know of, and which of them they ask for next.

use crate::support::faults::history::KeyNumber;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use std::sync::Arc;

/// About how many keys there are that nobody has revoked.
const ACTIVE_KEYS: usize = 300;

/// Keys that were written last, which half of all Authorizes ask for.
const RECENT_KEYS: usize = 24;

/// The keys whose Create returned.
#[derive(Default)]
pub struct Keys {
    all: Vec<Arc<KnownKey>>,
    /// Those that nobody has asked to revoke.
    active: Vec<Arc<KnownKey>>,
    /// The oldest first.
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

    pub fn created(&mut self, key: Arc<KnownKey>) {
        self.all.push(key.clone());
        self.active.push(key);
    }

    pub fn touched(&mut self, key: Arc<KnownKey>) {
        if self.recent.len() == RECENT_KEYS {
            self.recent.remove(0);
        }
        self.recent.push(key);
    }

    /// Any key, but more often one that was written a moment ago or is active.
    pub fn pick(&self, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        let picked = match random.random_range(0..4) {
            0 | 1 => self.recent.choose(random),
            2 => self.active.choose(random),
            _ => self.all.choose(random),
        };
        picked.cloned()
    }

    /// Nobody else takes it. None when there are few, so that it is time to create some.
    pub fn take_to_revoke(&mut self, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        let active = self.active.len();
        if random.random_range(0..2 * ACTIVE_KEYS) >= active {
            return None;
        }
        Some(self.active.swap_remove(random.random_range(0..active)))
    }
}
