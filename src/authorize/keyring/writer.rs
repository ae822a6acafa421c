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
    /// The one record to which the index does not lead. The next change fills it.
    pub(super) spare_record: u32,
}
