use super::super::tests::{changed, holds, state};
use super::*;
use crate::model::{
    key::{KeyState, Scope},
    verified_domain::Coverage,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

fn forget(keyring: &Keyring, state: &KeyState) {
    let (denied, _) = keyring.denied_keys(Timestamp::MAX, KeyNumber::FIRST, usize::MAX);
    let key = denied.into_iter().find(|key| key.id() == state.id);
    keyring.forget(key.expect("it is denied"));
}

#[test]
fn a_forgotten_key_is_unknown_and_may_come_again() {
    let mut rng = StdRng::seed_from_u64(11);
    let keyring = Keyring::new();
    let mut states = [(); 3].map(|()| state(&mut rng));
    for state in &mut states {
        state.revoked = true;
        keyring.apply_key(state);
    }
    forget(&keyring, &states[1]);
    assert!(keyring.read().get(&states[1].digest).is_none());
    assert!(holds(&keyring, &states[0]) && holds(&keyring, &states[2]));
    assert_eq!((keyring.key_count(), keyring.read().keys().count()), (2, 2));
    keyring.apply_key(&states[1]);
    assert!(states.iter().all(|state| holds(&keyring, state)));
}

#[test]
fn only_a_key_that_is_revoked_or_expired_can_be_forgotten() {
    let mut rng = StdRng::seed_from_u64(12);
    let keyring = Keyring::new();
    let now = Timestamp::from_micros(1_800_000_000_000_000).expect("in range");
    let later = Timestamp::from_micros(now.as_micros() + 1);
    for (revoked, expire_time, expected) in [
        (false, None, 0),
        (false, later, 0),
        (false, Some(now), 1),
        (true, later, 2),
    ] {
        keyring.apply_key(&KeyState {
            expire_time,
            revoked,
            ..state(&mut rng)
        });
        let (denied, _) = keyring.denied_keys(now, KeyNumber::FIRST, usize::MAX);
        assert_eq!(denied.len(), expected);
    }
}

/// Changes, uses and questions go on meanwhile.
#[test]
fn a_keyring_that_is_compacted_holds_the_same_as_before_and_loses_no_use() {
    let mut rng = StdRng::seed_from_u64(13);
    let keyring = Keyring::new();
    let mut states: Vec<_> = (0..6000).map(|_| state(&mut rng)).collect();
    let gone = states.split_off(3000);
    for state in states.iter().chain(&gone) {
        keyring.apply_key(&KeyState {
            revoked: true,
            ..state.clone()
        });
    }
    for number in 0..2000 {
        keyring.apply_domain(&domain_state(number));
    }
    let suspended = AccountState {
        account_id: AccountId::from_stored("suspended".to_owned()),
        suspended: true,
    };
    keyring.apply_account(&suspended);
    let (denied, _) = keyring.denied_keys(Timestamp::MAX, KeyNumber::FIRST, usize::MAX);
    let gone_ids: HashSet<_> = gone.iter().map(|state| state.id).collect();
    let forgettable = denied
        .into_iter()
        .filter(|key| gone_ids.contains(&key.id()));
    forgettable.for_each(|key| keyring.forget(key));
    assert!(keyring.has_garbage());
    let noon = Timestamp::from_micros(1_800_000_000_000_000).expect("in range");
    let is_over = AtomicBool::new(false);
    let digests: Vec<_> = states.iter().map(|state| state.digest).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                for digest in &digests {
                    let (key, keys) = keyring.at_one_moment(|keys| Some(keys.get(digest)?.place()));
                    keys.note_use(key.expect("it is held"), noon);
                }
            }
        });
        scope.spawn(|| {
            for _ in 0..5 {
                keyring.compact();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        for _ in 0..5 {
            for state in &mut states {
                *state = changed(&mut rng, state);
                keyring.apply_key(state);
            }
        }
    });
    assert!(states.iter().all(|state| holds(&keyring, state)));
    assert!(
        gone.iter()
            .all(|state| keyring.read().get(&state.digest).is_none())
    );
    assert_eq!(keyring.key_count(), states.len());
    assert_eq!(keyring.read().verified_domain_count(), 2000);
    assert_eq!(keyring.suspended_accounts(), [suspended.account_id]);
    let (uses, _) = keyring.unstored_uses(KeyNumber::FIRST, usize::MAX);
    assert_eq!(uses.len(), states.len());
}

fn domain_state(number: usize) -> DomainState {
    DomainState {
        account_id: AccountId::from_stored(format!("account-{}", number % 7)),
        domain: Domain::from_stored(format!("n{number}.example")),
        coverage: Coverage::Domain,
    }
}

/// How many bytes of memory what this makes takes.
fn bytes(make: impl FnOnce() -> Keyring) -> u64 {
    let mut keyring = None;
    let measured = allocation_counter::measure(|| keyring = Some(make()));
    drop(keyring);
    measured.bytes_current.try_into().expect("it takes some")
}

fn load(states: &[KeyState]) -> Keyring {
    let keyring = Keyring::new();
    for state in states {
        keyring.apply_key(state);
    }
    keyring
}

fn assert_as_after_a_load(bytes: u64, loaded: u64) {
    assert!(bytes <= loaded + loaded / 10, "{bytes}, {loaded}");
}

#[test]
fn after_keys_were_forgotten_the_keyring_takes_what_a_fresh_load_takes() {
    let mut rng = StdRng::seed_from_u64(14);
    let mut numbered = |number: usize, kept: bool| KeyState {
        account_id: AccountId::from_stored(format!("account-{}", number / 10)),
        scope: Scope::from_domain(Some(Domain::from_stored(format!("d{number}.example")))),
        expire_time: None,
        revoked: !kept,
        ..state(&mut rng)
    };
    let states: Vec<_> = (0..60_000)
        .map(|number| numbered(number, number % 3 == 0))
        .collect();
    let kept: Vec<_> = states
        .iter()
        .filter(|state| !state.revoked)
        .cloned()
        .collect();
    let after = bytes(|| {
        let keyring = load(&states);
        let (denied, next) = keyring.denied_keys(Timestamp::MAX, KeyNumber::FIRST, usize::MAX);
        assert_eq!((denied.len(), next.is_none()), (40_000, true));
        for key in denied {
            keyring.forget(key);
        }
        assert!(keyring.has_garbage());
        keyring.compact();
        assert!(!keyring.has_garbage());
        keyring
    });
    assert_as_after_a_load(after, bytes(|| load(&kept)));
}

/// Each change is to a name that was never there before.
#[test]
fn after_many_changes_the_keyring_takes_what_a_fresh_load_takes() {
    let mut rng = StdRng::seed_from_u64(15);
    let states: Vec<_> = (0..20_000).map(|_| state(&mut rng)).collect();
    let mut last_change = vec![0; states.len()];
    let changed = |at: usize, number: usize| KeyState {
        scope: Scope::from_domain(Some(Domain::from_stored(format!("new-{number}.example")))),
        ..states[at].clone()
    };
    let after = bytes(|| {
        let keyring = load(&states);
        for number in 0..200_000 {
            let at = rng.random_range(0..states.len());
            last_change[at] = number;
            keyring.apply_key(&changed(at, number));
            if number % 10_000 == 0 && keyring.has_garbage() {
                keyring.compact();
            }
        }
        keyring.compact();
        keyring
    });
    let states: Vec<_> = (0..states.len())
        .map(|at| changed(at, last_change[at]))
        .collect();
    assert_as_after_a_load(after, bytes(|| load(&states)));
}
