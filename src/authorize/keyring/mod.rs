//! Owns this process's copy of every key's state, looked up by digest.
//! Promises that a look-up takes no lock, allocates nothing and sees all that `apply` returned from.
//! Must never forget a key or un-revoke one: it is complete, not a cache.

mod index;
mod names;
mod record;
mod table;

use crate::model::{
    key::{KeyId, KeyState, Status},
    time::Timestamp,
    token::TokenDigest,
};
use arc_swap::{ArcSwap, Guard};
use names::Numbers;
use record::Record;
use std::{
    fmt,
    sync::{Arc, Mutex},
};
use table::Table;

/// Every key's state, in memory.
///
/// Readers and the writer share one [`Table`]. A record in it is written before it is published
/// and then changes only by its revoked bit, so a reader needs no lock; where something must grow,
/// the writer swaps in a table that shares the parts that did not.
pub struct Keyring {
    table: ArcSwap<Table>,
    writer: Mutex<Writer>,
}

/// What only the writer needs: the numbers of the names that records refer to.
#[derive(Default)]
struct Writer {
    accounts: Numbers,
    domains: Numbers,
}

impl Keyring {
    /// An empty keyring.
    #[must_use]
    pub fn new() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::default()),
            writer: Mutex::default(),
        }
    }

    /// Adds a key, or revokes one that is held already. Any order of calls leads to the same
    /// keyring: a key's state only ever goes from absent to held to revoked.
    ///
    /// # Panics
    /// Past 2^31 keys, which would be 200 GB of them.
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
            .number(state.account_id.as_str(), &table.accounts);
        let domain = state
            .scope
            .domain()
            .map(|domain| writer.domains.number(domain, &table.domains));
        table.insert(state, account, domain);
        if let Some(grown) = grown {
            self.table.store(Arc::new(grown));
        }
    }

    /// Takes over what another keyring holds, and forgets all that it held itself.
    ///
    /// For a store whose history has changed: keys may have vanished from it. Nobody may rely on
    /// this keyring meanwhile, since `apply` calls of that time may be forgotten.
    pub fn replace_with(&self, other: Self) {
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

    /// The keyring as it is now, for look-ups that belong together.
    #[must_use]
    pub fn read(&self) -> View {
        View(self.table.load())
    }

    /// How many keys it holds, revoked and expired ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.load().len()
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.len())
    }
}

/// What a reader holds while it looks keys up. Short-lived: it keeps memory from being freed.
pub struct View(Guard<Arc<Table>>);

impl View {
    /// The key whose token has this digest; none too where it was added since this view was read.
    #[must_use]
    pub fn find(&self, digest: &TokenDigest) -> Option<HeldKey<'_>> {
        self.held(self.0.find(digest)?)
    }

    /// Every key, with its token's digest, in no order.
    pub fn keys(&self) -> impl Iterator<Item = (TokenDigest, HeldKey<'_>)> {
        let records = self.0.records();
        records.filter_map(|record| Some((record.digest(), self.held(record)?)))
    }

    fn held(&self, record: &Record) -> Option<HeldKey<'_>> {
        let validity = record.validity();
        Some(HeldKey {
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

/// A key's state as the keyring holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey<'a> {
    /// Its public name.
    pub id: KeyId,
    /// Its owner.
    pub account_id: &'a str,
    /// The one domain it is restricted to.
    pub domain: Option<&'a str>,
    /// From when on it is refused; never if none.
    pub expire_time: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl HeldKey<'_> {
    /// Its status at a time.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
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
        let view = keyring.read();
        view.find(&state.digest).is_some_and(|held| {
            held.id == state.id
                && held.account_id == state.account_id.as_str()
                && held.domain == state.scope.domain()
                && held.expire_time == state.expire_time
                && held.revoked == state.revoked
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
                // A digest's leading bytes choose its place: crowd some of them together.
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
            assert!(keyring.read().find(&state(&mut rng).digest).is_none());
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
        assert!(keyring.read().find(&mine.digest).is_none());
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
                        // The one that is being applied is held wholly or not at all.
                        if let Some(next) = states.get(count) {
                            let held = keyring.read().find(&next.digest).is_some();
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
