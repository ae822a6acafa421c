//! Every key in the memory of this process, found by the digest of its token.
//!
//! Promises that a look-up takes no lock, allocates nothing, and sees every change whose `apply`
//! has returned. Must never forget a key or undo a revocation: the keyring is complete, and not a
//! cache.

mod index;
mod interner;
mod record;
mod table;
mod writer;

use crate::model::{
    key::{KeyId, KeyState, Status},
    time::Timestamp,
    token::TokenDigest,
};
use arc_swap::{ArcSwap, Guard};
use record::Record;
use std::{
    fmt,
    sync::{Arc, Mutex},
};
use table::Table;
use writer::Writer;

/// Every key, in memory.
///
/// Readers and the writer share one table. A record in it is filled before it is published, and
/// after that only its revoked bit changes. So a reader needs no lock. If a part of the table must
/// grow, the writer replaces the table by one that shares all other parts.
pub struct Keyring {
    table: ArcSwap<Table>,
    writer: Mutex<Writer>,
}

impl Keyring {
    pub(crate) fn new() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::default()),
            writer: Mutex::default(),
        }
    }

    /// Adds a key, or revokes a key that is here already. The order of calls does not matter,
    /// because a key is first absent, then held, then revoked, and never goes back.
    ///
    /// # Panics
    /// The keyring panics at more than 2^31 keys, which would take 200 GB.
    pub fn apply(&self, state: &KeyState) {
        let mut writer = self
            .writer
            .lock()
            .expect("a panic in apply has left the keyring unknown");
        let table = self.table.load();
        if let Some(record) = table.find(&state.digest) {
            if state.revoked {
                record.revoke();
            }
            return;
        }
        let grown = table.with_room_for_one_more(&writer);
        let table = grown.as_ref().unwrap_or(&table);
        let account = writer
            .accounts
            .intern(state.account_id.as_str(), &table.accounts);
        let domain = state
            .scope
            .domain()
            .map(|domain| writer.domains.intern(domain, &table.domains));
        table.insert(state, account, domain);
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
        }
    }

    /// Replaces all keys by those of another keyring, because the store's history has changed and
    /// some keys may be gone.
    ///
    /// No lease may hold meanwhile, because the changes of concurrent `apply` calls may be lost.
    pub(crate) fn replace_with(&self, other: Self) {
        let mut writer = self
            .writer
            .lock()
            .expect("a panic in apply has left the keyring unknown");
        *writer = other
            .writer
            .into_inner()
            .expect("a panic in apply has left the keyring unknown");
        self.table.store(other.table.into_inner());
    }

    /// Gives access to the keys. Drop the guard soon, because it keeps memory from being freed.
    pub(crate) fn read(&self) -> ReadGuard {
        ReadGuard(self.table.load())
    }

    /// How many keys there are, including revoked and expired ones.
    pub(crate) fn len(&self) -> usize {
        self.table.load().len()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

/// Access to the keys that the keyring had when it was read.
pub(crate) struct ReadGuard(Guard<Arc<Table>>);

impl ReadGuard {
    /// The key whose token has this digest. A key that was added after the guard was taken may be
    /// missing.
    pub(crate) fn get(&self, digest: &TokenDigest) -> Option<KeyRef<'_>> {
        self.key(self.0.find(digest)?)
    }

    /// Every key with the digest of its token, in no particular order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (TokenDigest, KeyRef<'_>)> {
        let records = self.0.records();
        records.filter_map(|record| Some((record.digest(), self.key(record)?)))
    }

    fn key(&self, record: &Record) -> Option<KeyRef<'_>> {
        let validity = record.validity();
        Some(KeyRef {
            id: record.key_id(),
            account_id: self.0.accounts.get(record.account())?,
            domain: match record.domain() {
                None => None,
                Some(number) => Some(self.0.domains.get(number)?),
            },
            expire_time: validity.expire_time,
            revoked: validity.revoked,
        })
    }
}

/// The state of a key, with texts that the keyring owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRef<'a> {
    pub(crate) id: KeyId,
    pub(crate) account_id: &'a str,
    /// The key may be used for this domain only. `None` means that it may be used for all domains.
    pub(crate) domain: Option<&'a str>,
    /// When the key stops working. `None` means never.
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) revoked: bool,
}

impl KeyRef<'_> {
    pub(crate) fn status(&self, now: Timestamp) -> Status {
        Status::at(now, self.revoked, self.expire_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{account::AccountId, domain::Domain, key::Scope};
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicUsize, Ordering},
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
            key.id == state.id
                && key.account_id == state.account_id.as_str()
                && key.domain == state.scope.domain()
                && key.expire_time == state.expire_time
                && key.revoked == state.revoked
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
            keyring.apply(&new);
            model.insert(new.digest, new);
        }
        assert_eq!(keyring.len(), model.len());
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
                keyring.apply(state);
            }
        }
        keyring.replace_with(other);
        assert!(keyring.read().get(&mine.digest).is_none());
        assert!(holds(&keyring, &both) && holds(&keyring, &its));
        let listed: Vec<_> = keyring.read().keys().map(|(digest, _)| digest).collect();
        assert_eq!(listed, [both.digest, its.digest]);
        keyring.apply(&mine);
        assert!(holds(&keyring, &mine) && keyring.len() == 3);
    }

    #[test]
    fn a_revoked_key_stays_revoked_in_whatever_order_changes_come() {
        let keyring = Keyring::new();
        let mut state = state(&mut StdRng::seed_from_u64(1));
        for revoked in [false, true, false, true] {
            state.revoked = revoked;
            keyring.apply(&state);
        }
        state.revoked = true;
        assert!(holds(&keyring, &state));
        assert_eq!(keyring.len(), 1);
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
                keyring.apply(state);
                applied.fetch_add(1, Ordering::Release);
            }
        });
    }
}
