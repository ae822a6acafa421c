//! What only the one writer of the keyring needs.

use super::{Keyring, interner::Interner, table::Table};
use crate::model::{account::AccountState, key::KeyStateRef};
use std::{num::NonZeroU32, sync::Arc};

/// The texts that records refer to by number, and how many domains there are.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) account_ids: Interner,
    /// The names of domains.
    pub(super) names: Interner,
    /// How many domains the table has.
    pub(super) domains: usize,
    /// How many keys were forgotten, whose records are still there.
    pub(super) forgotten: usize,
    /// How many names may have lost the last key that refers to them.
    pub(super) lost_names: usize,
    /// The keyring that is to take this one's place. Each change goes to both.
    pub(super) copy: Option<Arc<Keyring>>,
}

impl Writer {
    /// The numbers of a key's account and of its only domain. There must be room for one more of each.
    pub(super) fn intern(
        &mut self,
        state: &KeyStateRef<'_>,
        table: &Table,
    ) -> (NonZeroU32, Option<NonZeroU32>) {
        let account = self
            .account_ids
            .intern(state.account_id, &table.account_ids);
        let domain = state.domain;
        let domain = domain.map(|name| self.names.intern(name, &table.names));
        (account, domain)
    }

    /// Suspends an account, or resumes it. There must be room.
    pub(super) fn set_account(&mut self, state: &AccountState, table: &Table) {
        let account = state.account_id.as_str();
        let account = self.account_ids.intern(account, &table.account_ids);
        table.suspended_accounts.set(account, state.suspended);
    }
}
