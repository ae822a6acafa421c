use super::*;
use crate::model::key::Scope;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Once,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

pub(super) fn state(rng: &mut StdRng) -> KeyState {
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
        suspended: rng.random_bool(0.2),
    }
}

pub(super) fn holds(keyring: &Keyring, state: &KeyState) -> bool {
    let keys = keyring.read();
    keys.get(&state.digest).is_some_and(|key| {
        key.id() == state.id
            && key.account_id() == state.account_id.as_str()
            && key.domain() == state.scope.domain()
            && key.expire_time() == state.expire_time
            && key.is_revoked() == state.revoked
            && key.is_suspended() == state.suspended
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
    let listed: HashSet<_> = keyring.read().keys().map(|(digest, _)| digest).collect();
    assert_eq!(listed, HashSet::from([both.digest, its.digest]));
    keyring.apply_key(&mine);
    assert!(holds(&keyring, &mine) && keyring.key_count() == 3);
}

/// Another state of the same key.
pub(super) fn changed(rng: &mut StdRng, before: &KeyState) -> KeyState {
    KeyState {
        digest: before.digest,
        id: before.id,
        account_id: before.account_id.clone(),
        ..state(rng)
    }
}

#[test]
fn a_key_has_the_state_that_was_applied_last_however_often_it_changes() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let keyring = Keyring::new();
    let mut states: Vec<_> = (0..10_000).map(|_| state(&mut rng)).collect();
    for state in &states {
        keyring.apply_key(state);
    }
    let chunks = keyring.table.load().chunk_count();
    for _ in 0..200_000 {
        let at = rng.random_range(0..states.len());
        states[at] = changed(&mut rng, &states[at]);
        keyring.apply_key(&states[at]);
    }
    assert!(states.iter().all(|state| holds(&keyring, state)));
    assert_eq!(keyring.key_count(), states.len());
    assert_eq!(keyring.table.load().chunk_count(), chunks);
}

/// In each state of a key its expiry and its domain have the same number.
#[test]
fn a_reader_sees_a_key_as_it_was_at_one_moment_while_it_changes() {
    const CHANGES: i64 = 200_000;
    let (keyring, other) = (Keyring::new(), state(&mut StdRng::seed_from_u64(6)));
    let before = state(&mut StdRng::seed_from_u64(5));
    let numbered = |number: i64| {
        let name = format!("d{number}.example");
        KeyState {
            scope: Scope::from_domain(Some(Domain::from_stored(name))),
            expire_time: Timestamp::from_micros(number),
            revoked: number % 2 == 0,
            ..before.clone()
        }
    };
    keyring.apply_key(&numbered(0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (seen, _) = keyring.at_one_moment(|keys| {
                        let key = keys.get(&before.digest)?;
                        let domain = key.domain()?.to_owned();
                        Some((domain, key.expire_time()?, key.is_revoked()))
                    });
                    let (domain, expire_time, is_revoked) = seen.expect("it is always held");
                    let number = expire_time.as_micros();
                    assert_eq!(domain, format!("d{number}.example"));
                    assert_eq!(is_revoked, number % 2 == 0);
                }
            });
        }
        for number in 1..CHANGES {
            keyring.apply_key(&numbered(number));
            // Takes the spare record in between.
            keyring.apply_key(&other);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_account_is_suspended_with_all_its_keys_whether_it_has_some_yet_or_not() {
    let keyring = Keyring::new();
    let mut rng = StdRng::seed_from_u64(7);
    let [mine, its] = [0, 1].map(|number| KeyState {
        account_id: AccountId::from_stored(format!("account {number}")),
        ..state(&mut rng)
    });
    let is_suspended = |state: &KeyState| {
        let keys = keyring.read();
        keys.get(&state.digest)
            .map(|key| key.is_account_suspended())
    };
    let suspend = |state: &KeyState, suspended| {
        keyring.apply_account(&AccountState {
            account_id: state.account_id.clone(),
            suspended,
        });
    };
    suspend(&mine, true);
    keyring.apply_key(&mine);
    keyring.apply_key(&its);
    assert_eq!(
        (is_suspended(&mine), is_suspended(&its)),
        (Some(true), Some(false))
    );
    assert_eq!(
        keyring.suspended_accounts(),
        std::slice::from_ref(&mine.account_id)
    );
    assert_eq!(keyring.read().suspended_account_count(), 1);
    suspend(&mine, false);
    suspend(&its, true);
    assert_eq!(
        (is_suspended(&mine), is_suspended(&its)),
        (Some(false), Some(true))
    );
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
    let (seen, _) = keyring.at_one_moment(|keys| {
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

#[test]
fn the_uses_that_another_keyring_has_noted_are_taken_over() {
    let mut rng = StdRng::seed_from_u64(8);
    let [key, other] = [(); 2].map(|()| state(&mut rng));
    let [stored, used] = [1_800_000_000_000_000, 1_800_000_600_000_000]
        .map(|micros| Timestamp::from_micros(micros).expect("in range"));
    let (before, mut loaded) = (Keyring::new(), Filling::default());
    // In another order, so with other numbers.
    for (mine, its) in [(&key, &other), (&other, &key)] {
        before.apply_key(mine);
        loaded.add_key(&its.into());
    }
    loaded.set_stored(key.id, stored);
    let fresh = loaded.into_keyring();
    before.note_use(&key.digest, used);
    fresh.take_over_uses(&before);
    let (unstored, _) = fresh.unstored_uses(KeyNumber::FIRST, 10);
    let noted: Vec<_> = unstored
        .iter()
        .map(|noted| (noted.key_id(), noted.time()))
        .collect();
    assert_eq!(noted, [(key.id, used)]);
}

#[test]
fn uses_are_found_page_by_page_whichever_keys_change_meanwhile() {
    let mut rng = StdRng::seed_from_u64(9);
    let keyring = Keyring::new();
    let states: Vec<_> = (0..10_000).map(|_| state(&mut rng)).collect();
    let noon = Timestamp::from_micros(1_800_000_000_000_000).expect("in range");
    for state in &states {
        keyring.apply_key(state);
        keyring.note_use(&state.digest, noon);
    }
    let (mut next, mut found) = (Some(KeyNumber::FIRST), Vec::new());
    while let Some(from) = next {
        let (uses, after) = keyring.due_uses(noon, from, 1000);
        assert!(uses.len() <= 1000);
        for noted in &uses {
            keyring.set_stored(noted, noon);
            assert_eq!(noted.time(), noon);
        }
        found.extend(uses.iter().map(KeyUse::key_id));
        keyring.apply_key(&changed(&mut rng, &states[found.len() - 1]));
        next = after;
    }
    let expected: Vec<_> = states.iter().map(|state| state.id).collect();
    assert_eq!(found, expected);
    assert!(keyring.unstored_uses(KeyNumber::FIRST, 1).0.is_empty());
}

/// Each key is used at a time of its own.
#[test]
fn a_use_is_noted_for_its_own_key_while_keys_change_and_are_added() {
    let mut rng = StdRng::seed_from_u64(10);
    let keyring = Keyring::new();
    let used_at = |number: i64| {
        Timestamp::from_micros(1_800_000_000_000_000 + number * 60_000_000).expect("in range")
    };
    let states: Vec<_> = (0..100).map(|_| state(&mut rng)).collect();
    for state in &states {
        keyring.apply_key(state);
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    for (number, state) in (0..).zip(&states) {
                        let (key, keys) =
                            keyring.at_one_moment(|keys| Some(keys.get(&state.digest)?.place()));
                        keys.note_use(key.expect("it is held"), used_at(number));
                    }
                }
            });
        }
        for _ in 0..50_000 {
            keyring.apply_key(&changed(&mut rng, &states[0]));
            keyring.apply_key(&changed(&mut rng, &states[99]));
            keyring.apply_key(&state(&mut rng));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (uses, _) = keyring.unstored_uses(KeyNumber::FIRST, usize::MAX);
    let uses: Vec<_> = uses
        .iter()
        .map(|noted| (noted.key_id(), noted.time()))
        .collect();
    let expected = (0..)
        .zip(&states)
        .map(|(number, state)| (state.id, used_at(number)));
    assert_eq!(uses, expected.collect::<Vec<_>>());
}

impl Keyring {
    fn note_use(&self, digest: &TokenDigest, time: Timestamp) {
        let keys = self.read();
        let key = keys.get(digest).expect("it is held");
        keys.note_use(key.place(), time);
    }
}
