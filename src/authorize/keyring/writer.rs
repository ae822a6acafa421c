//! What only the one writer of the keyring needs.

use super::interner::Interner;

/// The texts that records refer to by number.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) accounts: Interner,
    pub(super) domains: Interner,
}
