//! What only the one writer of the keyring needs.

use super::interner::Interner;

/// The texts that records refer to by number, and how many domains there are.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) account_ids: Interner,
    /// The names of domains.
    pub(super) names: Interner,
    /// How many domains the table has.
    pub(super) domains: usize,
}
