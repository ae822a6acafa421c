//! Every key and every verified domain in the memory of this process.
//!
//! Promises that a look-up takes no lock, allocates nothing, and sees every change whose `apply`
//! has returned. Must never forget a key, nor go back to an older state: the keyring is complete, and
//! not a cache.

mod domains;
mod filling;
mod forget;
mod index;
mod interner;
mod record;
mod suspended_accounts;
mod table;
#[cfg(test)]
mod tests;
mod uses;
mod writer;

use crate::{
    model::{
        account::{AccountId, AccountState},
        domain::Domain,
        key::{KeyId, KeyState, KeyStateRef, Status},
        time::Timestamp,
        token::TokenDigest,
        verified_domain::{Coverage, DomainState},
    },
    system_calls,
};
use arc_swap::{ArcSwap, Guard};
use domains::{Entry, Sought};
pub use filling::Filling;
pub(crate) use forget::DeniedKey;
use interner::Texts;
use record::{Held, Record};
use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
            fence,
        },
    },
};
use table::{StoredKey, Table};
use uses::{Due, LastUse, Minute};
use writer::Writer;

/// At how many keys one search looks, which bounds how long it takes: some 100 µs.
const LOOK_LEN: u32 = 100_000;

/// Every key and every verified domain, in memory.
///
/// Readers and the writer share one table, without a lock. If a part of the table must grow, the writer
/// replaces the table by one that shares all other parts.
///
/// A key's new state is written to a spare record, and then one store makes the index lead there instead
/// of to the key's own record. So a reader finds the old state or the new one as a whole. Then the new
/// state is written to the key's own record, and the index leads there again: however often keys change,
/// the table does not grow. A reader that is still at a record which is written again may see a mixture,
/// and looks again (see [`Self::at_one_moment`]). A domain's coverage is one word, and changes in its
/// place.
pub struct Keyring {
    table: ArcSwap<Table>,
    /// How many changes can be seen. Each is counted after it can be seen, and before the next one begins.
    changes: AtomicU64,
    writer: Mutex<Writer>,
}

impl Keyring {
    pub(crate) fn new() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::default()),
            changes: AtomicU64::new(0),
            writer: Mutex::default(),
        }
    }

    /// Adds a key, or replaces the state of a key that is here already. The changes of a key must be
    /// applied in the order in which they were written.
    ///
    /// # Panics
    /// The keyring panics at 2^31 keys, which would take 200 GB.
    pub fn apply_key(&self, state: &KeyState) {
        let mut writer = self.begin_change();
        if let Some(copy) = &writer.copy {
            copy.apply_key(state);
        }
        self.make_room_for_key(&writer);
        let table = self.table.load();
        let state = &KeyStateRef::from(state);
        let (account, domain) = writer.intern(state, &table);
        match table.find_number(&state.digest) {
            Some(number) => {
                let before = table.record(number).map(Record::held);
                if before.is_some_and(|before| before.domain.is_some() && before.domain != domain) {
                    writer.lost_names += 1;
                }
                table.replace_by_spare(number, state, account, domain);
                // A reader that is still at the key's own record must not take what is written there now.
                self.count_change();
                fence(Release);
                table.bring_home(number, state, account, domain);
            }
            None => table.add(state, account, domain),
        }
        self.count_change();
    }

    fn make_room_for_key(&self, writer: &Writer) {
        let grown = self.table.load().with_room_for_key(writer);
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
            // Both tables may share the index. A reader of the old one, which does not reach the texts of
            // the new state, must not take the key for one that is not there.
            self.count_change();
            fence(Release);
        }
    }

    /// Adds a domain, or changes what a domain covers that is here already. The changes of a domain must
    /// be applied in the order in which they were written.
    ///
    /// # Panics
    /// The keyring panics at 2^32 different names, which would take 200 GB.
    pub fn apply_domain(&self, state: &DomainState) {
        let mut writer = self.begin_change();
        if let Some(copy) = &writer.copy {
            copy.apply_domain(state);
        }
        let table = self.table.load();
        let grown = table.with_room_for_domain(&writer);
        let table = grown.as_ref().unwrap_or(&table);
        let account = state.account_id.as_str();
        let account = writer.account_ids.intern(account, &table.account_ids);
        let name = state.domain.as_str();
        let domains = &table.domains;
        if let Some(held) = domains.find(account, &domains.seek(name)) {
            held.set_coverage(state.coverage);
        } else {
            let number = writer.names.intern(name, &table.names);
            domains.insert(account, name, number, state.coverage);
            writer.domains += 1;
        }
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
        }
        self.count_change();
    }

    /// Suspends an account, or resumes it. The changes of an account must be applied in the order in
    /// which they were written.
    ///
    /// # Panics
    /// The keyring panics at 2^32 accounts.
    pub fn apply_account(&self, state: &AccountState) {
        let mut writer = self.begin_change();
        if let Some(copy) = &writer.copy {
            copy.apply_account(state);
        }
        let table = self.table.load();
        let grown = table.with_room_for_texts(&writer);
        let table = grown.as_ref().unwrap_or(&table);
        writer.set_account(state, table);
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
        }
        self.count_change();
    }

    /// Replaces everything by what another keyring holds, because the store's history has changed and
    /// some of it may be gone.
    ///
    /// No lease may hold meanwhile, because the changes of concurrent `apply` calls may be lost.
    pub fn replace_with(&self, other: Self) {
        let mut writer = self.begin_change();
        *writer = other.writer.into_inner().expect(UNBROKEN);
        self.table.store(other.table.into_inner());
        self.count_change();
        drop(writer);
        system_calls::give_back_free_memory();
    }

    fn begin_change(&self) -> MutexGuard<'_, Writer> {
        let writer = self.writer();
        // Whoever sees a part of this change also sees that the one before was counted.
        fence(Release);
        writer
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Release);
    }

    /// Gives what `look` finds, as it was at one moment, although keys and domains change meanwhile, and
    /// where it was found. It may look several times.
    ///
    /// Two looks at different things could otherwise see the first before two changes and the second
    /// after them: a key that is not revoked yet, and a domain that was added later.
    ///
    /// If no change is counted between the beginning and the end, at most one was seen that was not
    /// there at the beginning, because each is counted before the next can be seen. Without it the look
    /// was at the moment before that change, and with it at the moment after.
    pub(crate) fn at_one_moment<T>(&self, look: impl Fn(&ReadGuard) -> T) -> (T, ReadGuard) {
        loop {
            let before = self.changes.load(Acquire);
            let keys = self.read();
            let found = look(&keys);
            // What was seen was read before this.
            fence(Acquire);
            if self.changes.load(Acquire) == before {
                return (found, keys);
            }
        }
    }

    /// Last uses that are to be stored now: at most `limit`, of keys with numbers from `from` on. Gives the
    /// number from which to go on, if there are more keys.
    pub(crate) fn due_uses(
        &self,
        now: Timestamp,
        from: KeyNumber,
        limit: usize,
    ) -> (Vec<KeyUse>, Option<KeyNumber>) {
        let now = Minute::of(now);
        self.uses(from, limit, |last_use| last_use.due(now?))
    }

    /// The same for all uses that the store does not know.
    pub(crate) fn unstored_uses(
        &self,
        from: KeyNumber,
        limit: usize,
    ) -> (Vec<KeyUse>, Option<KeyNumber>) {
        self.uses(from, limit, LastUse::unstored)
    }

    fn uses(
        &self,
        from: KeyNumber,
        limit: usize,
        due: impl Fn(&LastUse) -> Option<Due>,
    ) -> (Vec<KeyUse>, Option<KeyNumber>) {
        self.page(from, limit, |key| {
            Some(KeyUse {
                due: due(key.last_use)?,
                number: key.number,
                key_id: key.record.held().id,
            })
        })
    }

    /// What is found of the keys with numbers from `from` on: at most `limit`, and the number from which to
    /// go on.
    fn page<T>(
        &self,
        from: KeyNumber,
        limit: usize,
        find: impl Fn(StoredKey<'_>) -> Option<T>,
    ) -> (Vec<T>, Option<KeyNumber>) {
        let keys = self.read();
        let end = *keys.0.numbers().end();
        let last = end.min(from.0.saturating_add(LOOK_LEN - 1));
        let mut found = Vec::new();
        for key in keys.0.keys(from.0..=last) {
            if found.len() == limit {
                return (found, Some(KeyNumber(key.number)));
            }
            found.extend(find(key));
        }
        (found, (last < end).then(|| KeyNumber(last + 1)))
    }

    /// Notes which use of a key the store knows.
    pub(crate) fn set_stored(&self, used: &KeyUse, stored: Timestamp) {
        let keys = self.read();
        // Everything may have been replaced meanwhile.
        let is_same = |record: &Record| record.held().id == used.key_id;
        if keys.0.record(used.number).is_some_and(is_same)
            && let Some(last_use) = keys.0.last_use(used.number)
            && let Some(stored) = Minute::of(stored)
        {
            last_use.set_stored(stored);
        }
    }

    /// Takes over the uses that another keyring has noted.
    pub(crate) fn take_over_uses(&self, from: &Self) {
        let (keys, others) = (self.read(), from.read());
        for key in others.0.keys(others.0.numbers()) {
            if let Some(minute) = key.last_use.minute()
                && let Some(number) = keys.0.find_number(&key.record.digest())
                && let Some(last_use) = keys.0.last_use(number)
            {
                last_use.note(minute);
            }
        }
    }

    /// Reads the memory of these keys, so that the processor waits for that of all at once. To look them up
    /// takes less time afterwards, and finds the same.
    pub(super) fn fetch<'a>(&self, digests: impl Iterator<Item = &'a TokenDigest>) {
        self.read().0.fetch(digests);
    }

    /// Gives access to the keys and domains. Drop the guard soon, because it keeps memory from being
    /// freed.
    pub(crate) fn read(&self) -> ReadGuard {
        ReadGuard(self.table.load())
    }

    /// The state of each domain, in no particular order. Nothing can be applied meanwhile.
    pub(crate) fn domains(&self) -> Vec<DomainState> {
        let _nothing_is_applied = self.writer();
        let table = self.table.load();
        let text = |texts: &Texts, number| Some(texts.get(number)?.to_owned());
        let state = |(account, domain): (NonZeroU32, Entry<'_>)| {
            Some(DomainState {
                account_id: AccountId::from_stored(text(&table.account_ids, account)?),
                domain: Domain::from_stored(text(&table.names, domain.number())?),
                coverage: domain.coverage(),
            })
        };
        table.domains.iter().filter_map(state).collect()
    }

    /// The accounts that are suspended, in no particular order. Nothing can be applied meanwhile.
    pub(crate) fn suspended_accounts(&self) -> Vec<AccountId> {
        self.suspended_of(&self.writer())
    }

    fn suspended_of(&self, writer: &Writer) -> Vec<AccountId> {
        let table = self.table.load();
        let numbers = (1..=u32::MAX).take(writer.account_ids.len());
        let suspended = numbers.filter_map(NonZeroU32::new);
        let suspended = suspended.filter(|&account| table.suspended_accounts.contains(account));
        let id = |account| {
            Some(AccountId::from_stored(
                table.account_ids.get(account)?.to_owned(),
            ))
        };
        suspended.filter_map(id).collect()
    }

    /// How many keys there are, including revoked and expired ones.
    pub(crate) fn key_count(&self) -> usize {
        let writer = self.writer();
        self.table.load().len() - writer.forgotten
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect(UNBROKEN)
    }
}

const UNBROKEN: &str = "a panic in apply has left the keyring unknown";

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.key_count())
    }
}

/// Access to the keys and domains that the keyring had when it was read.
pub(crate) struct ReadGuard(Guard<Arc<Table>>);

impl ReadGuard {
    /// The key whose token has this digest. A key that was added after the guard was taken may be
    /// missing.
    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<KeyRef<'_>> {
        let number = self.0.find_number(digest)?;
        self.key(self.0.own_number(number), self.0.record(number)?)
    }

    /// Notes that the key that was found in this place was granted.
    pub(crate) fn note_use(&self, place: KeyPlace, now: Timestamp) {
        let Some(minute) = Minute::of(now) else {
            return;
        };
        if place.last_use < Some(minute)
            && let Some(last_use) = self.0.last_use(place.number)
        {
            last_use.note(minute);
        }
    }

    /// Begins to look for a domain. Done before [`Self::get`], it lets the processor fetch the domain
    /// and the key at once.
    pub(crate) fn seek(&self, domain: &Domain) -> SoughtDomain<'_> {
        SoughtDomain(self.0.domains.seek(domain.as_str()))
    }

    /// Every key with the digest of its token, in no particular order. One that changes meanwhile may be
    /// a mixture of both states.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (TokenDigest, KeyRef<'_>)> {
        let keys = self.0.keys(self.0.numbers());
        keys.filter_map(|key| Some((key.record.digest(), self.key(key.number, key.record)?)))
    }

    /// How many domains are verified. One that several accounts have counts for each of them.
    pub(crate) fn verified_domain_count(&self) -> usize {
        let domains = self.0.domains.iter();
        domains
            .filter(|(_, domain)| domain.coverage() != Coverage::Removed)
            .count()
    }

    pub(crate) fn suspended_account_count(&self) -> usize {
        self.0.suspended_accounts.count()
    }

    fn key<'a>(&'a self, number: u32, record: &Record) -> Option<KeyRef<'a>> {
        let (table, held) = (&self.0, record.held());
        let is_complete = table.account_ids.reach(held.account)
            && held.domain.is_none_or(|number| table.names.reach(number));
        // Read now, so that the processor fetches it together with the record.
        let last_use = table.last_use(number).and_then(LastUse::minute);
        is_complete.then(|| KeyRef {
            place: KeyPlace { number, last_use },
            table,
            held,
        })
    }
}

/// A key as it was when it was found. The keyring owns its texts.
#[derive(Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    place: KeyPlace,
    table: &'a Table,
    held: Held,
}

/// A domain that is looked for, whichever account has it.
#[derive(Clone, Copy)]
pub(crate) struct SoughtDomain<'a>(Sought<'a>);

/// Stands for a domain's name: two of one keyring are equal if the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(NonZeroU32);

/// Where a key was found, in the memory of one [`ReadGuard`], and its last use at that time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyPlace {
    number: u32,
    last_use: Option<Minute>,
}

/// Where a search goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyNumber(u32);

impl KeyNumber {
    pub(crate) const FIRST: Self = Self(1);
}

/// A key's last use, as far as this process knows.
#[derive(Debug, Clone)]
pub(crate) struct KeyUse {
    number: u32,
    key_id: KeyId,
    due: Due,
}

impl KeyUse {
    pub(crate) fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Not later than the use, and at most a minute earlier.
    pub(crate) fn time(&self) -> Timestamp {
        self.due.minute.start()
    }

    /// It need not be stored if the store knows a use since then.
    pub(crate) fn unless_since(&self) -> Timestamp {
        self.due.unless_since.start()
    }
}

impl<'a> KeyRef<'a> {
    pub(crate) fn place(&self) -> KeyPlace {
        self.place
    }

    pub(crate) fn id(&self) -> KeyId {
        self.held.id
    }

    pub(crate) fn account_id(&self) -> &'a str {
        let text = self.table.account_ids.get(self.held.account);
        text.expect("a key is found only where its texts can be reached")
    }

    /// The only domain that the key may be used for. `None` means that it has no such restriction.
    pub(crate) fn domain(&self) -> Option<&'a str> {
        let text = self.table.names.get(self.held.domain?);
        Some(text.expect("a key is found only where its texts can be reached"))
    }

    /// The same as [`Self::domain`], without a look at its text.
    pub(crate) fn domain_name(&self) -> Option<Name> {
        self.held.domain.map(Name)
    }

    /// When the key stops working. `None` means never.
    pub(crate) fn expire_time(&self) -> Option<Timestamp> {
        self.held.expire_time
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.held.is_revoked
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.held.is_suspended
    }

    pub(crate) fn is_account_suspended(&self) -> bool {
        self.table.suspended_accounts.contains(self.held.account)
    }

    /// The same as a value.
    pub(crate) fn to_state(self, digest: TokenDigest) -> KeyState {
        let state = KeyStateRef {
            digest,
            id: self.id(),
            account_id: self.account_id(),
            domain: self.domain(),
            expire_time: self.expire_time(),
            revoked: self.is_revoked(),
            suspended: self.is_suspended(),
        };
        state.into()
    }

    pub(crate) fn status(&self, now: Timestamp) -> Status {
        let held = &self.held;
        Status::at(now, held.is_revoked, held.is_suspended, held.expire_time)
    }

    /// Finds a domain that is verified, by itself, for the key's account.
    pub(crate) fn verified_domain(&self, domain: &SoughtDomain<'_>) -> Option<Name> {
        let held = self.table.domains.find(self.held.account, &domain.0)?;
        (held.coverage() != Coverage::Removed).then(|| Name(held.number()))
    }

    /// Whether a name above this domain is verified for the key's account, with its subdomains.
    pub(crate) fn is_verified_by_parent(&self, domain: &Domain) -> bool {
        let (account, domains) = (self.held.account, &self.table.domains);
        domain.parents().any(|parent| {
            let held = domains.find(account, &domains.seek(parent));
            held.is_some_and(|held| held.coverage() == Coverage::DomainAndSubdomains)
        })
    }
}
