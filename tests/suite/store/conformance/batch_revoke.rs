//! The rules for revoking many keys at once in every store.

use super::{
    accounts, all_of, changes_since, create, create_as, create_many, domain, labels, list,
    on_every_store, revoke,
};
use crate::support::{
    caller, new_key,
    server::audit_command::records,
    stores::{Stores, is_revoked},
};
use keyservice::{
    model::{
        account::Accounts,
        key::{KeyId, Reason, Scope, Status, filter::KeyFilter},
        time::Timestamp,
    },
    store::{
        BatchRevocation, Committed, KeyTarget, NewKey, Position, Selected, Selection, StillAllowed,
    },
};
use std::collections::HashSet;

on_every_store![
    the_keys_that_a_filter_selects_are_revoked_with_the_reason_and_no_others,
    given_keys_are_found_by_id_or_digest_within_the_given_accounts,
    each_revocation_is_a_change_of_its_own_in_the_feed,
    a_batch_without_a_key_waits_for_the_last_write,
    a_batch_is_in_the_history_of_every_key_and_on_record_once,
    a_batch_that_revokes_nothing_is_on_record_once,
    a_batch_that_fails_in_its_middle_revokes_no_key_and_leaves_no_record,
];

async fn the_keys_that_a_filter_selects_are_revoked_with_the_reason_and_no_others(stores: &Stores) {
    create_many(stores, "globex", 1).await;
    let plain = create_as(stores, "plain", |_| {}).await;
    let labelled = create_as(stores, "labelled", |new| new.key.labels = labels("a=1 b=2")).await;
    let scoped = create_as(stores, "scoped", |new| {
        new.key.scope = Scope::Domain(domain("example.com"));
    })
    .await;
    let now = Timestamp::now();
    let of_acme = || all_of("acme").filter;
    let all = [&plain, &labelled, &scoped];
    for (filter, expected) in [
        (of_acme(), &all[..]),
        (with_labels("a=1"), &[&labelled]),
        (with_labels("a=1 b=2"), &[&labelled]),
        (with_labels("a=1 b=3"), &[]),
        (
            KeyFilter {
                domain: Some(domain("example.com")),
                ..of_acme()
            },
            &[&scoped],
        ),
        (
            KeyFilter {
                created_before: Some(scoped.key.create_time),
                ..of_acme()
            },
            &all[..2],
        ),
        (
            KeyFilter {
                domain: Some(domain("example.com")),
                ..with_labels("a=1")
            },
            &[],
        ),
    ] {
        let selected = unrevoked(stores, filter.clone()).await;
        assert_eq!(sorted(selected), ids(expected), "{filter:?}");
    }

    let first = revoke(stores, KeyTarget::Id(plain.key.id)).await.0;
    let selected = unrevoked(stores, of_acme()).await;
    assert_eq!(sorted(selected.clone()), ids(&all[1..]));
    // One was revoked since.
    let again = [selected, vec![plain.key.id]].concat();
    let (revoked, _) = batch_revoke(stores, again, now).await.into_parts();
    assert_eq!(revoked, 2);
    for key in list(&stores.second, &all_of("acme")).await {
        if key.id == plain.key.id {
            assert_eq!(key, first);
        } else {
            assert_eq!(
                (key.revoke_time, key.status(now)),
                (Some(now), Status::Revoked)
            );
            assert_eq!(key.revoke_reason, Some(reason()));
        }
    }
    assert_eq!(
        list(&stores.second, &all_of("globex")).await[0].revoke_time,
        None
    );
}

async fn given_keys_are_found_by_id_or_digest_within_the_given_accounts(stores: &Stores) {
    let own = create_many(stores, "acme", 3).await;
    let others = create_many(stores, "globex", 1).await.remove(0);
    let (_, unknown) = new_key("acme", "never stored");
    revoke(stores, KeyTarget::Id(own[2].key.id)).await;
    let keys = vec![
        KeyTarget::Digest(unknown.digest),
        KeyTarget::Id(own[0].key.id),
        KeyTarget::Digest(own[1].digest),
        KeyTarget::Id(others.key.id),
        KeyTarget::Digest(own[0].digest),
        KeyTarget::Digest(own[2].digest),
        KeyTarget::Id(unknown.key.id),
        KeyTarget::Id(own[0].key.id),
        KeyTarget::Digest(unknown.digest),
    ];
    for (accounts, not_found) in [
        (accounts(&["acme"]), vec![0, 3, 6, 8]),
        (accounts(&["acme", "globex"]), vec![0, 6, 8]),
        (Accounts::All, vec![0, 6, 8]),
        (accounts(&[]), (0..9).collect()),
    ] {
        let selected = select(stores, keys.clone(), accounts).await;
        let found: &[&NewKey] = match not_found.len() {
            3 => &[&own[0], &own[1], &others],
            4 => &[&own[0], &own[1]],
            _ => &[],
        };
        assert_eq!(sorted(selected.key_ids), ids(found));
        assert_eq!(selected.already_revoked, usize::from(!found.is_empty()));
        assert_eq!(selected.not_found, not_found);
    }
}

async fn each_revocation_is_a_change_of_its_own_in_the_feed(stores: &Stores) {
    let own = create_many(stores, "acme", 3).await;
    let (before, _) = stores.load().await;
    let ids = own.iter().map(|new| new.key.id).collect();
    let committed = batch_revoke(stores, ids, Timestamp::now()).await;
    let changes = changes_since(stores, before, 10).await;
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| is_revoked(&change.state)));
    let revisions = changes
        .iter()
        .map(|change| change.position.revision.number());
    let next = before.revision.number() + 1;
    assert_eq!(revisions.collect::<Vec<_>>(), [next, next + 1, next + 2]);
    assert_eq!(changes[2].position, committed.position());
    // Later writes go on from there.
    let created = create_as(stores, "later", |_| {}).await;
    revoke(stores, KeyTarget::Id(created.key.id)).await;
}

async fn a_batch_without_a_key_waits_for_the_last_write(stores: &Stores) {
    let nothing = batch_revoke(stores, vec![], Timestamp::now()).await;
    assert_eq!(nothing.into_parts(), (0, Position::START));
    let (_, new) = new_key("acme", "a key");
    create(&stores.first, &new).await;
    let (_, last) = revoke(stores, KeyTarget::Id(new.key.id)).await;
    let again = batch_revoke(stores, vec![new.key.id], Timestamp::now()).await;
    assert_eq!(again.into_parts(), (0, last));
}

async fn a_batch_is_in_the_history_of_every_key_and_on_record_once(stores: &Stores) {
    const KEYS: usize = 300;
    let own = create_many(stores, "acme", KEYS).await;
    let ids = own.iter().map(|new| new.key.id).collect();
    let committed = batch_revoke(stores, ids, Timestamp::now()).await;
    assert_eq!(*committed.value(), KEYS as u64);
    let recorded = records_of_batches(stores, &[]);
    let of_keys = own.iter().map(|new| new.key.id.to_string());
    let of_keys: HashSet<_> = of_keys
        .map(|id| format!("tester BatchRevoke OK acme {id} 1"))
        .collect();
    assert!(of_keys.iter().all(|record| recorded.contains(record)));
    let of_call = recorded.iter().filter(|record| !of_keys.contains(*record));
    assert_eq!(
        of_call.collect::<Vec<_>>(),
        ["tester BatchRevoke OK acme - 1"]
    );
    assert_eq!(recorded.len(), KEYS + 1);
    let history = own[0].key.id.to_string();
    assert_eq!(records_of_batches(stores, &["--key", &history]).len(), 1);
}

async fn a_batch_that_revokes_nothing_is_on_record_once(stores: &Stores) {
    let unknown = new_key("acme", "never stored").1.key.id;
    let nothing = batch_revoke(stores, vec![unknown], Timestamp::now()).await;
    assert_eq!(nothing.into_parts(), (0, Position::START));
    assert_eq!(
        records_of_batches(stores, &[]),
        ["tester BatchRevoke OK acme - 1"]
    );
}

async fn a_batch_that_fails_in_its_middle_revokes_no_key_and_leaves_no_record(stores: &Stores) {
    let own = create_many(stores, "acme", 3).await;
    let (before, _) = stores.load().await;
    let ids: Vec<_> = own.iter().map(|new| new.key.id).collect();
    let second = ids[1].as_uuid();
    let (fail, mend) = match stores.cluster {
        None => (
            format!(
                "CREATE TRIGGER fail BEFORE INSERT ON audit WHEN NEW.key_id = x'{}' \
                 BEGIN SELECT raise(ABORT, 'no'); END",
                second.simple()
            ),
            "DROP TRIGGER fail",
        ),
        Some(_) => (
            format!(
                "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
                 CREATE TRIGGER fail BEFORE INSERT ON keyservice.audit FOR EACH ROW \
                 WHEN (NEW.key_id = '{second}') EXECUTE FUNCTION public.fail()"
            ),
            "DROP TRIGGER fail ON keyservice.audit",
        ),
    };
    stores.sql(&fail).await.expect("made");
    let failed = stores
        .first
        .keys
        .batch_revoke(&batch(ids.clone(), Timestamp::now()))
        .await;
    assert!(failed.is_err());
    assert_eq!(changes_since(stores, before, 10).await, []);
    for key in list(&stores.second, &all_of("acme")).await {
        assert_eq!((key.revoke_time, key.revoke_reason), (None, None));
    }
    assert_eq!(records_of_batches(stores, &[]), [""; 0]);

    stores.sql(mend).await.expect("mended");
    assert_eq!(
        *batch_revoke(stores, ids, Timestamp::now()).await.value(),
        3
    );
}

fn with_labels(text: &str) -> KeyFilter {
    KeyFilter {
        labels: labels(text),
        ..all_of("acme").filter
    }
}

fn reason() -> Reason {
    Reason::parse("the account was compromised").expect("valid")
}

fn ids(keys: &[&NewKey]) -> Vec<KeyId> {
    sorted(keys.iter().map(|new| new.key.id).collect())
}

fn sorted(mut ids: Vec<KeyId>) -> Vec<KeyId> {
    ids.sort_unstable_by_key(|id| id.as_uuid());
    ids
}

async fn unrevoked(stores: &Stores, filter: KeyFilter) -> Vec<KeyId> {
    let mut query = all_of("acme");
    query.filter = KeyFilter {
        is_unrevoked: true,
        ..filter
    };
    let keys = list(&stores.second, &query).await;
    keys.iter().map(|key| key.id).collect()
}

async fn select(stores: &Stores, targets: Vec<KeyTarget>, accounts: Accounts) -> Selected {
    let selection = Selection::new(targets, accounts);
    let selected = stores.second.keys.select(&selection).await;
    selected.expect("answered")
}

fn records_of_batches(stores: &Stores, arguments: &[&str]) -> Vec<String> {
    let mut records = records(&stores.address, arguments);
    records.retain(|record| record.contains("BatchRevoke"));
    records
}

pub(super) fn batch(key_ids: Vec<KeyId>, now: Timestamp) -> BatchRevocation {
    BatchRevocation {
        key_ids,
        filter: all_of("acme").filter,
        reason: reason(),
        now,
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

async fn batch_revoke(stores: &Stores, key_ids: Vec<KeyId>, now: Timestamp) -> Committed<u64> {
    let committed = stores.first.keys.batch_revoke(&batch(key_ids, now)).await;
    committed.expect("answered")
}
