//! A keyring while a load fills it, which nobody reads yet.
//!
//! Promises the keyring to which the same states would lead if they were applied one by one. It costs
//! less: nothing is locked, counted or shared, and the tables of keys and of domains are made when it is
//! known how many there are, so that they never have to grow.

use super::{Keyring, Minute, Table, domains::Prepared, writer::Writer};
use crate::model::{
    account::AccountState,
    key::{KeyId, KeyStateRef},
    time::Timestamp,
    verified_domain::DomainState,
};
use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::{
    hash::BuildHasher,
    sync::{Arc, Mutex, atomic::AtomicU64},
};

/// Takes what a load reads.
#[derive(Default)]
pub struct Filling {
    table: Table,
    writer: Writer,
    domains: Vec<Prepared>,
    numbers: Option<NumbersById>,
}

impl Filling {
    /// Adds a key. Of several with the same digest, which no store should have, the last one stays.
    ///
    /// # Panics
    /// The keyring panics at 2^31 keys, which would take 200 GB.
    pub fn add_key(&mut self, state: &KeyStateRef<'_>) {
        self.make_room_for_texts();
        let (account, domain) = self.writer.intern(state, &self.table);
        self.table.push(state, account, domain);
        self.numbers = None;
    }

    /// Adds a domain. Of several states of one, the last stays.
    pub fn add_domain(&mut self, state: &DomainState) {
        self.make_room_for_texts();
        let (table, writer) = (&self.table, &mut self.writer);
        let (account, name) = (state.account_id.as_str(), state.domain.as_str());
        let account = writer.account_ids.intern(account, &table.account_ids);
        let number = writer.names.intern(name, &table.names);
        let prepared = table.domains.prepare(account, name, number, state.coverage);
        self.domains.push(prepared);
    }

    /// Adds an account.
    pub fn add_account(&mut self, state: &AccountState) {
        self.make_room_for_texts();
        self.writer.set_account(state, &self.table);
    }

    /// Prepares for [`Self::set_stored`], when all keys are there. Takes long if they are many.
    #[must_use]
    pub fn with_keys_by_id(mut self) -> Self {
        self.numbers = Some(NumbersById::of(&self.table));
        self
    }

    /// Whether this is prepared for [`Self::set_stored`].
    #[must_use]
    pub fn finds_keys_by_id(&self) -> bool {
        self.numbers.is_some()
    }

    /// Notes that the store knows this use of a key, if there is such a key.
    pub fn set_stored(&mut self, key_id: KeyId, used: Timestamp) {
        let table = &self.table;
        let numbers = self.numbers.get_or_insert_with(|| NumbersById::of(table));
        let number = numbers.find(key_id, table);
        if let Some(last_use) = number.and_then(|number| table.last_use(number))
            && let Some(minute) = Minute::of(used)
        {
            last_use.set_stored(minute);
        }
    }

    /// How many keys were added.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.table.len()
    }

    /// The keyring that holds all this. Takes long if the keys are many.
    #[must_use]
    pub fn into_keyring(mut self) -> Keyring {
        let (domains, count) = self.table.domains.filled(&self.domains);
        self.table.domains = Arc::new(domains);
        self.writer.domains = count;
        self.writer.forgotten = self.table.make_index();
        Keyring {
            table: ArcSwap::from_pointee(self.table),
            changes: AtomicU64::new(0),
            writer: Mutex::new(self.writer),
        }
    }

    fn make_room_for_texts(&mut self) {
        let (accounts, names) = (self.writer.account_ids.len(), self.writer.names.len());
        self.table.account_ids.make_room(accounts);
        self.table.suspended_accounts.make_room(accounts);
        self.table.names.make_room(names);
    }
}

/// The numbers of keys by their ids. They take 5 to 10 bytes a key, only while they are needed.
struct NumbersById {
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl NumbersById {
    fn of(table: &Table) -> Self {
        let hasher = DefaultHashBuilder::default();
        let mut numbers = HashTable::with_capacity(table.len());
        for key in table.keys(table.numbers()) {
            let hash = hasher.hash_one(Some(key.record.key_id()));
            numbers.insert_unique(hash, key.number, |&number| {
                hasher.hash_one(id_of(number, table))
            });
        }
        Self { numbers, hasher }
    }

    fn find(&self, key_id: KeyId, table: &Table) -> Option<u32> {
        let hash = self.hasher.hash_one(Some(key_id));
        let is_same = |&number: &u32| id_of(number, table) == Some(key_id);
        self.numbers.find(hash, is_same).copied()
    }
}

fn id_of(number: u32, table: &Table) -> Option<KeyId> {
    Some(table.record(number)?.key_id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authorize::keyring::{
            KeyNumber,
            tests::{changed, holds, state},
        },
        model::{
            account::AccountId, domain::Domain, key::KeyState, token::TokenDigest,
            verified_domain::Coverage,
        },
    };
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use std::collections::HashMap;

    fn filled(states: &[KeyState]) -> Filling {
        let mut filling = Filling::default();
        for state in states {
            filling.add_key(&state.into());
        }
        filling
    }

    #[test]
    fn it_holds_every_key_that_was_added_and_then_changes_and_grows_as_any_other() {
        let seed = rand::random();
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        // Around a size at which the index, a chunk of records and one of texts are full.
        for count in [0, 1, 511, 512, 16_382, 16_383, 16_384, 16_385, 40_000] {
            let mut states: Vec<_> = (0..count).map(|_| state(&mut rng)).collect();
            let keyring = filled(&states).into_keyring();
            assert_eq!(keyring.key_count(), count);
            assert!(states.iter().all(|state| holds(&keyring, state)), "{count}");
            for _ in 0..=2 * count {
                states.push(state(&mut rng));
                keyring.apply_key(&states[states.len() - 1]);
                let at = rng.random_range(0..states.len());
                states[at] = changed(&mut rng, &states[at]);
                keyring.apply_key(&states[at]);
            }
            assert_eq!(keyring.key_count(), states.len());
            assert!(states.iter().all(|state| holds(&keyring, state)), "{count}");
            assert!(keyring.read().get(&state(&mut rng).digest).is_none());
        }
    }

    #[test]
    fn of_several_keys_with_one_digest_the_last_stays() {
        let mut rng = StdRng::seed_from_u64(20);
        let states: Vec<_> = (0..10_000)
            .map(|_| {
                let mut digest = [0; 32];
                digest[7] = rng.random();
                KeyState {
                    digest: TokenDigest::from_bytes(digest),
                    ..state(&mut rng)
                }
            })
            .collect();
        let last: HashMap<_, _> = states.iter().map(|state| (state.digest, state)).collect();
        let keyring = filled(&states).into_keyring();
        assert_eq!(keyring.key_count(), last.len());
        assert!(last.values().all(|state| holds(&keyring, state)));
        assert_eq!(keyring.read().keys().count(), last.len());
        let [again, other] = [changed(&mut rng, &states[0]), state(&mut rng)];
        for applied in [&again, &other] {
            keyring.apply_key(applied);
            assert!(holds(&keyring, applied));
        }
    }

    #[test]
    fn it_holds_the_domains_and_accounts_that_were_added() {
        let (mut filling, keyring) = (Filling::default(), Keyring::new());
        // Each domain of the first 3000 comes again, and most of them with another coverage.
        for number in 0..9000 {
            let account_id = AccountId::from_stored(format!("account-{}", number % 2000));
            let domain = DomainState {
                account_id: account_id.clone(),
                domain: Domain::from_stored(format!("d{}.example", number % 1500)),
                coverage: [Coverage::Removed, Coverage::Domain][number / 700 % 2],
            };
            let account = AccountState {
                account_id,
                suspended: number % 3 == 0,
            };
            filling.add_domain(&domain);
            filling.add_account(&account);
            keyring.apply_domain(&domain);
            keyring.apply_account(&account);
        }
        let filled = filling.into_keyring();
        let domains = |keyring: &Keyring| {
            let states = keyring.domains().into_iter();
            let states = states.map(|state| ((state.account_id, state.domain), state.coverage));
            states.collect::<HashMap<_, _>>()
        };
        assert_eq!(domains(&filled), domains(&keyring));
        assert_eq!(filled.suspended_accounts(), keyring.suspended_accounts());
        assert!(!filled.suspended_accounts().is_empty());
    }

    #[test]
    fn a_use_is_noted_for_the_key_with_its_id_and_for_no_other() {
        let mut rng = StdRng::seed_from_u64(21);
        let states: Vec<_> = (0..10_000).map(|_| state(&mut rng)).collect();
        let used_at = |number: usize| {
            let minutes = i64::try_from(number).expect("small") * 60_000_000;
            Timestamp::from_micros(1_800_000_000_000_000 + minutes).expect("in range")
        };
        let mut filling = filled(&states);
        filling.set_stored(state(&mut rng).id, used_at(0));
        for (number, used) in states.iter().enumerate().step_by(2).rev() {
            filling.set_stored(used.id, used_at(number));
        }
        let keyring = filling.into_keyring();
        let noted = |number: usize| {
            let keys = keyring.read();
            let key = keys.get(&states[number].digest).expect("it is held");
            key.place().last_use
        };
        for number in 0..states.len() {
            let expected =
                (number % 2 == 0).then(|| Minute::of(used_at(number)).expect("in range"));
            assert_eq!(noted(number), expected, "{number}");
        }
        assert!(keyring.unstored_uses(KeyNumber::FIRST, 1).0.is_empty());
    }
}
