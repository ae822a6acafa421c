//! What only the one writer of the keyring needs.

use super::interner::Interner;
use std::num::NonZeroU32;

/// The texts that records refer to by number, and which domains there are.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) account_ids: Interner,
    /// The names of domains.
    pub(super) names: Interner,
    /// The account and the name of each domain in the table, which itself cannot list them.
    pub(super) registered: Vec<(NonZeroU32, NonZeroU32)>,
}

impl Writer {
    /// Grows by an eighth, since there may be millions.
    pub(super) fn register(&mut self, account: NonZeroU32, name: NonZeroU32) {
        let registered = &mut self.registered;
        if registered.len() == registered.capacity() {
            registered.reserve_exact(registered.len() / 8 + 64);
        }
        registered.push((account, name));
    }
}
