//! Every key and every verified domain in the memory of this process.
//!
//! Promises that a look-up takes no lock, allocates nothing, and sees every change whose `apply`
//! has returned. Must never forget a key or undo a revocation: the keyring is complete, and not a
//! cache.

mod domains;
mod index;
mod interner;
mod record;
mod table;
mod writer;

use crate::model::{
    account::AccountId,
    domain::Domain,
    key::{KeyId, KeyState, Status},
    time::Timestamp,
    token::TokenDigest,
    verified_domain::{Coverage, DomainState},
};
use arc_swap::{ArcSwap, Guard};
use domains::{Entry, Sought};
use interner::Texts;
use record::{Record, Validity};
use std::{
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Release},
        },
    },
};
use table::Table;
use writer::Writer;

/// Every key and every verified domain, in memory.
///
/// Readers and the writer share one table. What is in it is filled before it is published, and after
/// that only a key's revoked bit and a domain's coverage change. So a reader needs no lock. If a part
/// of the table must grow, the writer replaces the table by one that shares all other parts.
pub struct Keyring {
    table: ArcSwap<Table>,
    /// How many changes were applied. Each is counted after it can be seen, and before the next one
    /// begins.
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

    /// Adds a key, or revokes a key that is here already. The order of calls does not matter,
    /// because a key is first absent, then held, then revoked, and never goes back.
    ///
    /// # Panics
    /// The keyring panics at more than 2^31 keys, which would take 200 GB.
    pub fn apply_key(&self, state: &KeyState) {
        let mut writer = self.writer();
        let table = self.table.load();
        if let Some(record) = table.find(&state.digest) {
            if state.revoked {
                record.revoke();
                self.count_change();
            }
            return;
        }
        let grown = table.with_room_for_key(&writer);
        let table = grown.as_ref().unwrap_or(&table);
        let account = state.account_id.as_str();
        let account = writer.account_ids.intern(account, &table.account_ids);
        let domain = state.scope.domain();
        let domain = domain.map(|name| writer.names.intern(name, &table.names));
        table.insert(state, account, domain);
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
        }
        self.count_change();
    }

    /// Adds a domain, or changes what a domain covers that is here already. Unlike a key's, the
    /// changes of a domain must be applied in the order in which they were written.
    ///
    /// # Panics
    /// The keyring panics at 2^32 different names, which would take 200 GB.
    pub fn apply_domain(&self, state: &DomainState) {
        let mut writer = self.writer();
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

    /// Replaces everything by what another keyring holds, because the store's history has changed and
    /// some of it may be gone.
    ///
    /// No lease may hold meanwhile, because the changes of concurrent `apply` calls may be lost.
    pub(crate) fn replace_with(&self, other: Self) {
        let mut writer = self.writer();
        *writer = other.writer.into_inner().expect(UNBROKEN);
        self.table.store(other.table.into_inner());
        self.count_change();
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Release);
    }

    /// Gives what `look` finds, as it was at one moment, although keys and domains change meanwhile. It
    /// may look several times.
    ///
    /// Two looks at different things could otherwise see the first before two changes and the second
    /// after them: a key that is not revoked yet, and a domain that was added later.
    ///
    /// If no change is counted between the beginning and the end, at most one was seen that was not
    /// there at the beginning, because each is counted before the next can be seen. Without it the look
    /// was at the moment before that change, and with it at the moment after.
    pub(crate) fn at_one_moment<T>(&self, look: impl Fn(&ReadGuard) -> T) -> T {
        loop {
            let before = self.changes.load(Acquire);
            let found = look(&self.read());
            // What can change is read with `Acquire`, so this is read after it.
            if self.changes.load(Acquire) == before {
                return found;
            }
        }
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

    /// How many keys there are, including revoked and expired ones.
    pub(crate) fn key_count(&self) -> usize {
        self.table.load().len()
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
        self.key(self.0.find(digest)?)
    }

    /// Begins to look for a domain. Done before [`Self::get`], it lets the processor fetch the domain
    /// and the key at once.
    pub(crate) fn seek(&self, domain: &Domain) -> SoughtDomain<'_> {
        SoughtDomain(self.0.domains.seek(domain.as_str()))
    }

    /// Every key with the digest of its token, in no particular order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (TokenDigest, KeyRef<'_>)> {
        let records = self.0.records();
        records.filter_map(|record| Some((record.digest(), self.key(record)?)))
    }

    /// How many domains are verified. One that several accounts have counts for each of them.
    pub(crate) fn verified_domain_count(&self) -> usize {
        let domains = self.0.domains.iter();
        domains
            .filter(|(_, domain)| domain.coverage() != Coverage::Removed)
            .count()
    }

    fn key<'a>(&'a self, record: &'a Record) -> Option<KeyRef<'a>> {
        let table = &self.0;
        let names = record.domain();
        let is_complete = table.account_ids.reach(record.account())
            && names.is_none_or(|number| table.names.reach(number));
        is_complete.then(|| KeyRef {
            table,
            record,
            validity: record.validity(),
        })
    }
}

/// A key that was found. The keyring owns its texts. Its expiry and its revocation are as they were when it
/// was found.
#[derive(Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    table: &'a Table,
    record: &'a Record,
    validity: Validity,
}

/// A domain that is looked for, whichever account has it.
#[derive(Clone, Copy)]
pub(crate) struct SoughtDomain<'a>(Sought<'a>);

/// Stands for a domain's name: two of one keyring are equal if the names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(NonZeroU32);

impl<'a> KeyRef<'a> {
    pub(crate) fn id(&self) -> KeyId {
        self.record.key_id()
    }

    pub(crate) fn account_id(&self) -> &'a str {
        let text = self.table.account_ids.get(self.record.account());
        text.expect("a key is found only where its texts can be reached")
    }

    /// The only domain that the key may be used for. `None` means that it has no such restriction.
    pub(crate) fn domain(&self) -> Option<&'a str> {
        let text = self.table.names.get(self.record.domain()?);
        Some(text.expect("a key is found only where its texts can be reached"))
    }

    /// The same as [`Self::domain`], without a look at its text.
    pub(crate) fn domain_name(&self) -> Option<Name> {
        self.record.domain().map(Name)
    }

    /// When the key stops working. `None` means never.
    pub(crate) fn expire_time(&self) -> Option<Timestamp> {
        self.validity.expire_time
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.validity.revoked
    }

    pub(crate) fn status(&self, now: Timestamp) -> Status {
        Status::at(now, self.validity.revoked, self.validity.expire_time)
    }

    /// Finds a domain that is verified, by itself, for the key's account.
    pub(crate) fn verified_domain(&self, domain: &SoughtDomain<'_>) -> Option<Name> {
        let held = self.table.domains.find(self.record.account(), &domain.0)?;
        (held.coverage() != Coverage::Removed).then(|| Name(held.number()))
    }

    /// Whether a name above this domain is verified for the key's account, with its subdomains.
    pub(crate) fn is_verified_by_parent(&self, domain: &Domain) -> bool {
        let (account, domains) = (self.record.account(), &self.table.domains);
        domain.parents().any(|parent| {
            let held = domains.find(account, &domains.seek(parent));
            held.is_some_and(|held| held.coverage() == Coverage::DomainAndSubdomains)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::Scope;
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
    use std::{
        collections::HashMap,
        sync::{
            Once,
            atomic::{AtomicUsize, Ordering},
        },
    };

    fn state(rng: &mut StdRng) -> KeyState {
        let mut digest = [0; 32];
        rng.fill_bytes(&mut digest);
        let domain = (rng.random_bool(0.5))
            .then(|| Domain::from_stored(format!("d{}.example", rng.random_range(0..50))));
        KeyState {
            digest: TokenDigest::from_bytes(digest),
            id: KeyId::from_uuid(uuid::Uuid::from_u128(rng.random())),
            account_id: AccountId::from_stored(format!("account-{}", rng.random_range(0..500))),
            scope: Scope::from_domain(domain),
            expire_time: rng
                .random_bool(0.3)
                .then(|| Timestamp::from_micros(rng.random_range(0..1 << 50)).expect("in range")),
            revoked: rng.random_bool(0.2),
        }
    }

    fn holds(keyring: &Keyring, state: &KeyState) -> bool {
        let keys = keyring.read();
        keys.get(&state.digest).is_some_and(|key| {
            key.id() == state.id
                && key.account_id() == state.account_id.as_str()
                && key.domain() == state.scope.domain()
                && key.expire_time() == state.expire_time
                && key.is_revoked() == state.revoked
        })
    }

    #[test]
    fn it_answers_as_a_map_would_however_far_it_grows() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let keyring = Keyring::new();
        let mut model = HashMap::new();
        for step in 0..50_000 {
            let mut new = state(&mut rng);
            if step % 7 == 0 {
                // The first bytes of a digest choose its slot. Let some digests collide there.
                let mut digest = *new.digest.as_bytes();
                digest[..3].fill(0);
                new.digest = TokenDigest::from_bytes(digest);
            }
            keyring.apply_key(&new);
            model.insert(new.digest, new);
        }
        assert_eq!(keyring.key_count(), model.len());
        assert!(model.values().all(|state| holds(&keyring, state)));
        for _ in 0..10_000 {
            assert!(keyring.read().get(&state(&mut rng).digest).is_none());
        }
    }

    #[test]
    fn it_lists_what_it_holds_and_takes_over_what_another_holds() {
        let mut rng = StdRng::seed_from_u64(3);
        let (keyring, other) = (Keyring::new(), Keyring::new());
        let [mine, both, its] = [(); 3].map(|()| state(&mut rng));
        for (keyring, states) in [(&keyring, [&mine, &both]), (&other, [&both, &its])] {
            for state in states {
                keyring.apply_key(state);
            }
        }
        keyring.replace_with(other);
        assert!(keyring.read().get(&mine.digest).is_none());
        assert!(holds(&keyring, &both) && holds(&keyring, &its));
        let listed: Vec<_> = keyring.read().keys().map(|(digest, _)| digest).collect();
        assert_eq!(listed, [both.digest, its.digest]);
        keyring.apply_key(&mine);
        assert!(holds(&keyring, &mine) && keyring.key_count() == 3);
    }

    #[test]
    fn a_revoked_key_stays_revoked_in_whatever_order_changes_come() {
        let keyring = Keyring::new();
        let mut state = state(&mut StdRng::seed_from_u64(1));
        for revoked in [false, true, false, true] {
            state.revoked = revoked;
            keyring.apply_key(&state);
        }
        state.revoked = true;
        assert!(holds(&keyring, &state));
        assert_eq!(keyring.key_count(), 1);
    }

    #[test]
    fn a_look_between_whose_parts_two_changes_come_is_repeated() {
        let keyring = Keyring::new();
        let mut key = state(&mut StdRng::seed_from_u64(4));
        key.revoked = false;
        keyring.apply_key(&key);
        key.revoked = true;
        let domain = DomainState {
            account_id: key.account_id.clone(),
            domain: Domain::from_stored("example.com".to_owned()),
            coverage: Coverage::Domain,
        };
        let changes = Once::new();
        let seen = keyring.at_one_moment(|keys| {
            let sought = keys.seek(&domain.domain);
            let found = keys.get(&key.digest).expect("it is held");
            changes.call_once(|| {
                keyring.apply_key(&key);
                keyring.apply_domain(&domain);
            });
            let is_verified = found.verified_domain(&sought).is_some();
            (found.is_revoked(), is_verified)
        });
        assert_eq!(seen, (true, true));
    }

    #[test]
    fn readers_see_every_key_that_was_applied_while_the_keyring_grows_under_them() {
        const KEYS: usize = 100_000;
        let keyring = Keyring::new();
        let mut rng = StdRng::seed_from_u64(2);
        let states: Vec<_> = (0..KEYS).map(|_| state(&mut rng)).collect();
        let applied = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for reader in 0..3 {
                let (keyring, states, applied) = (&keyring, &states, &applied);
                scope.spawn(move || {
                    let mut rng = StdRng::seed_from_u64(reader);
                    loop {
                        let count = applied.load(Ordering::Acquire);
                        if count > 0 {
                            assert!(holds(keyring, &states[rng.random_range(0..count)]));
                            assert!(holds(keyring, &states[count - 1]));
                        }
                        // The key that is being applied must be there completely or not at all.
                        if let Some(next) = states.get(count) {
                            let held = keyring.read().get(&next.digest).is_some();
                            assert!(!held || holds(keyring, next));
                        }
                        if count == KEYS {
                            break;
                        }
                    }
                });
            }
            for state in &states {
                keyring.apply_key(state);
                applied.fetch_add(1, Ordering::Release);
            }
        });
    }
}
