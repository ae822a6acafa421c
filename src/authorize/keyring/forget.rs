//! Keys that the store has no more leave memory, and the memory that they took is given back.
//!
//! A forgotten key's slot and record stay where they are, because readers may be there. When there are many,
//! the keyring is copied, which leaves them behind, with the names and accounts that nothing refers to any
//! more. So memory is what a fresh load takes. The copy is made in small steps, between which changes are
//! applied to both, and readers notice nothing of it.
//!
//! Must never give a number to another key: a reader may still note a use under it.

#[cfg(test)]
mod tests;

use super::{KeyNumber, Keyring, StoredKey, Writer};
use crate::{
    model::{
        account::{AccountId, AccountState},
        domain::Domain,
        key::KeyId,
        time::Timestamp,
        verified_domain::DomainState,
    },
    system_calls,
};
use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

/// A part of the keyring that is garbage is given back when it is more than one in so many.
const GARBAGE_PART: usize = 16;

/// Less garbage is not worth a copy.
const MIN_GARBAGE: usize = 1000;

/// How many keys or domains are copied while changes wait: less than a millisecond.
const STEP_LEN: u16 = 500;

/// How long the last readers of what was copied are waited for at a time.
const READERS_PAUSE: Duration = Duration::from_millis(1);

/// A key that is denied for good, or until somebody prolongs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeniedKey {
    number: u32,
    id: KeyId,
}

impl DeniedKey {
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }
}

impl Keyring {
    /// Keys that are revoked, or expired by this time: at most `limit`, with numbers from `from` on. Gives
    /// the number from which to go on, if there are more keys.
    pub(crate) fn denied_keys(
        &self,
        now: Timestamp,
        from: KeyNumber,
        limit: usize,
    ) -> (Vec<DeniedKey>, Option<KeyNumber>) {
        self.page(from, limit, |key| {
            let held = key.record.held();
            let is_expired = held.expire_time.is_some_and(|time| time <= now);
            (held.is_revoked || is_expired).then_some(DeniedKey {
                number: key.number,
                id: held.id,
            })
        })
    }

    /// Forgets a key that the store has no more. Its token is unknown from now on.
    pub(crate) fn forget(&self, denied: DeniedKey) {
        let mut writer = self.begin_change();
        let table = self.table.load();
        let mut found = table.keys([denied.number]);
        // Everything may have been replaced since the key was found.
        let Some(key) = found.find(|key| key.record.held().id == denied.id) else {
            return;
        };
        if let Some(copy) = &writer.copy {
            copy.forget_digest(key);
        }
        table.forget(key);
        writer.forgotten += 1;
        self.count_change();
    }

    /// Forgets the key that another keyring holds there.
    fn forget_digest(&self, of: StoredKey<'_>) {
        let digest = of.record.digest();
        let number = self.table.load().find_number(&digest);
        if let Some(number) = number {
            let id = of.record.held().id;
            self.forget(DeniedKey { number, id });
        }
    }

    /// Whether there is so much garbage that it is worth to give it back.
    #[must_use]
    pub fn has_garbage(&self) -> bool {
        let writer = self.writer();
        let garbage = writer.forgotten + writer.lost_names;
        let held = self.table.load().len() + writer.domains;
        garbage > MIN_GARBAGE && garbage > held / GARBAGE_PART
    }

    /// Gives back the memory of all that was forgotten. Takes long, on the thread of the caller, and holds
    /// up changes for less than a millisecond at a time.
    pub fn compact(&self) {
        let copy = Arc::new(Self::new());
        self.writer().copy = Some(copy.clone());
        if self.copy_keys(&copy).is_some()
            && self.copy_domains(&copy).is_some()
            && self.copy_accounts(&copy).is_some()
        {
            self.move_to(copy);
        }
        system_calls::give_back_free_memory();
    }

    /// Keeps changes away, unless everything was replaced since the copy was begun.
    fn copying(&self, copy: &Arc<Self>) -> Option<MutexGuard<'_, Writer>> {
        let writer = self.begin_change();
        let is_wanted = writer
            .copy
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(held, copy));
        is_wanted.then_some(writer)
    }

    fn copy_keys(&self, copy: &Arc<Self>) -> Option<()> {
        let mut next = 1;
        loop {
            let _nothing_is_applied = self.copying(copy)?;
            let keys = self.read();
            let end = *keys.0.numbers().end();
            if next > end {
                return Some(());
            }
            let last = end.min(next + u32::from(STEP_LEN) - 1);
            for key in keys.0.keys(next..=last) {
                let digest = key.record.digest();
                let state = keys.key(key.number, key.record)?.to_state(digest);
                copy.apply_key(&state);
            }
            next = last + 1;
        }
    }

    fn copy_domains(&self, copy: &Arc<Self>) -> Option<()> {
        let domains = self.table.load().domains.clone();
        let mut domains = domains.iter();
        loop {
            let _nothing_is_applied = self.copying(copy)?;
            let table = self.table.load();
            let mut copied = 0;
            for (account, domain) in domains.by_ref().take(usize::from(STEP_LEN)) {
                copied += 1;
                let name = table.names.get(domain.number())?;
                // The table may have grown since, and then what was changed is only there.
                let held = table.domains.find(account, &table.domains.seek(name))?;
                copy.apply_domain(&DomainState {
                    account_id: AccountId::from_stored(table.account_ids.get(account)?.to_owned()),
                    domain: Domain::from_stored(name.to_owned()),
                    coverage: held.coverage(),
                });
            }
            if copied == 0 {
                return Some(());
            }
        }
    }

    fn copy_accounts(&self, copy: &Arc<Self>) -> Option<()> {
        // There are few.
        let nothing_is_applied = self.copying(copy)?;
        for account_id in self.suspended_of(&nothing_is_applied) {
            copy.apply_account(&AccountState {
                account_id,
                suspended: true,
            });
        }
        Some(())
    }

    /// Puts the finished copy in the place of what it was made of.
    fn move_to(&self, copy: Arc<Self>) {
        let Some(mut writer) = self.copying(&copy) else {
            return;
        };
        writer.copy = None;
        let copy = Arc::into_inner(copy).expect("the writer held the only other reference");
        *writer = copy.writer.into_inner().expect(super::UNBROKEN);
        let before = self.table.swap(copy.table.into_inner());
        self.count_change();
        drop(writer);
        // A reader of the old table may still note a use there. None can come to it any more.
        while Arc::strong_count(&before) > 1 || before.shares_uses() {
            std::thread::sleep(READERS_PAUSE);
        }
        let keys = self.read();
        for key in before.keys(before.numbers()) {
            let number = keys.0.find_number(&key.record.digest());
            if let Some(last_use) = number.and_then(|number| keys.0.last_use(number)) {
                last_use.merge(key.last_use);
            }
        }
    }
}
