//! The rules for accounts in every store.

use super::{account_id, after, changes_since, create_as, on_every_store, revoke};
use crate::support::{caller, server::audit_command::records, stores::Stores};
use keyservice::{
    model::{
        account::AccountState,
        key::{Reason, Suspension},
        time::Timestamp,
    },
    store::{
        AccountSummary, Change, CountedKeys, KEY_COUNT_LEN, KeyCounts, KeyTarget, Position,
        Revision, State, StillAllowed, Store, SuspensionChange,
    },
};

on_every_store![
    an_account_is_suspended_since_the_first_time_and_until_it_is_resumed,
    an_account_that_has_nothing_is_described_so,
    an_account_is_described_by_the_numbers_of_its_keys_and_domains,
    many_keys_are_counted_in_steps,
    every_change_of_an_account_is_recorded,
];

async fn an_account_is_suspended_since_the_first_time_and_until_it_is_resumed(stores: &Stores) {
    let mut change = suspend("acme", "abuse");
    let first = Suspension {
        reason: reason("abuse"),
        time: change.now,
    };
    let position = assert_suspended(stores, &change, Some(first.clone())).await;
    change.now = after(change.now, 60);
    change.reason = Some(reason("spam"));
    let again = Suspension {
        reason: reason("spam"),
        ..first
    };
    let later = assert_suspended(stores, &change, Some(again)).await;
    assert!(later.revision > position.revision);
    change.reason = None;
    assert_suspended(stores, &change, None).await;
    assert_suspended(stores, &change, None).await;
}

/// Carries the change out, and looks at it in every way that there is.
async fn assert_suspended(
    stores: &Stores,
    change: &SuspensionChange,
    expected: Option<Suspension>,
) -> Position {
    let changed = stores.first.accounts.set_suspension(change).await;
    let (suspension, position) = changed.expect("answered").into_parts();
    assert_eq!(suspension, expected);
    let state = State::Account(AccountState {
        account_id: change.account_id.clone(),
        suspended: expected.is_some(),
    });
    let (loaded_at, loaded) = stores.load().await;
    assert_eq!(loaded_at, position);
    assert_eq!(
        loaded.into_values().collect::<Vec<_>>(),
        std::slice::from_ref(&state)
    );
    let changes = changes_since(stores, Position::START, 10).await;
    assert_eq!(changes, [Change { position, state }]);
    assert_eq!(describe(&stores.second, "acme").await.suspension, expected);
    position
}

async fn an_account_that_has_nothing_is_described_so(stores: &Stores) {
    let nothing = AccountSummary {
        suspension: None,
        domains: 0,
    };
    assert_eq!(describe(&stores.second, "acme").await, nothing);
    let no_keys = CountedKeys {
        counts: KeyCounts::default(),
        counted_to: None,
    };
    assert_eq!(count_keys(&stores.second, NOW).await, no_keys);
}

async fn an_account_is_described_by_the_numbers_of_its_keys_and_domains(stores: &Stores) {
    let now = Timestamp::now();
    for _ in 0..3 {
        create_as(stores, "active", |_| {}).await;
    }
    for _ in 0..2 {
        create_as(stores, "expired", |new| new.key.expire_time = Some(now)).await;
    }
    let revoked = create_as(stores, "revoked", |new| new.key.expire_time = Some(now)).await;
    revoke(stores, KeyTarget::Id(revoked.key.id)).await;
    stores
        .first
        .accounts
        .set_suspension(&suspend("globex", "abuse"))
        .await
        .map(drop)
        .expect("answered");
    let expected = KeyCounts {
        active: 3,
        suspended: 0,
        expired: 2,
        revoked: 1,
    };
    assert_eq!(describe(&stores.second, "acme").await.suspension, None);
    let counted = count_keys(&stores.second, NOW).await;
    assert_eq!((counted.counts, counted.counted_to), (expected, None));
}

async fn many_keys_are_counted_in_steps(stores: &Stores) {
    const LAST: u64 = 7;
    let step = KEY_COUNT_LEN.unsigned_abs();
    stores.insert_active_keys((2 * step + LAST) as usize).await;
    let (mut before, mut counts) = (NOW, Vec::new());
    loop {
        let counted = count_keys(&stores.second, before).await;
        counts.push(counted.counts.active);
        match counted.counted_to {
            Some(oldest) => before = oldest,
            None => break,
        }
    }
    assert_eq!(counts, [step, step, LAST]);
}

async fn every_change_of_an_account_is_recorded(stores: &Stores) {
    let mut change = suspend("acme", "abuse");
    for reason in [change.reason.clone(), None] {
        change.reason = reason;
        let changed = stores.first.accounts.set_suspension(&change).await;
        drop(changed.expect("answered"));
    }
    let recorded = records(&stores.address, &[]);
    let expected = ["SuspendAccount", "ResumeAccount"];
    let expected = expected.map(|method| format!("tester {method} OK acme - 1"));
    assert_eq!(recorded, expected);
}

fn reason(text: &str) -> Reason {
    Reason::parse(text).expect("a reason")
}

pub(super) fn suspend(account: &str, why: &str) -> SuspensionChange {
    SuspensionChange {
        account_id: account_id(account),
        reason: Some(reason(why)),
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

/// After every write that there is.
const NOW: Revision = Revision::from_number(i64::MAX);

async fn describe(store: &Store, account: &str) -> AccountSummary {
    let described = store.accounts.get_account(&account_id(account)).await;
    described.expect("answered")
}

async fn count_keys(store: &Store, before: Revision) -> CountedKeys {
    let (account, now) = (account_id("acme"), after(Timestamp::now(), 1));
    let counted = store.accounts.count_keys(&account, now, before).await;
    counted.expect("answered")
}
