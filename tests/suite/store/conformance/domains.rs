//! The rules for verified domains in every store.

use super::{account_id, after, changes_since, create, domain, on_every_store, revoke};
use crate::support::{
    caller, new_key,
    server::audit_command::{audit_output, records},
    stores::{Stores, Subject},
};
use keyservice::{
    model::{
        key::Scope,
        time::Timestamp,
        verified_domain::{Coverage, DomainState, VerifiedDomain},
    },
    store::{
        ActiveKeys, AddedDomain, COUNT_LEN, Change, CreateOutcome, DomainAddition, DomainQuery,
        DomainRemoval, KeyTarget, LISTED_COUNT_LEN, NewKey, Position, State, StillAllowed, Store,
    },
};
use serde_json::Value;

on_every_store![
    a_domain_is_stored_with_every_field,
    adding_a_domain_again_changes_only_whether_subdomains_are_included,
    a_domain_that_was_removed_can_be_added_again_and_keeps_its_create_time,
    only_a_domain_that_the_account_has_had_can_be_removed,
    the_names_below_a_domain_are_removed_and_nothing_is_given_back,
    an_addition_tells_whether_another_account_has_the_domain,
    domains_are_listed_in_alphabetical_order_with_their_active_keys,
    only_the_newest_keys_of_a_domain_are_counted,
    a_removal_names_the_nearest_domain_above_that_verifies_the_name,
    a_key_that_must_be_verified_is_stored_only_for_a_verified_domain,
    keys_and_domains_change_in_one_order,
    every_write_of_a_domain_is_recorded,
    a_record_tells_whether_a_domain_was_widened_or_narrowed,
];

async fn a_domain_is_stored_with_every_field(stores: &Stores) {
    let addition = addition("acme", "example.com", true);
    let (added, position) = add(&stores.first, &addition).await;
    let expected = VerifiedDomain {
        account_id: account_id("acme"),
        domain: domain("example.com"),
        include_subdomains: true,
        create_time: addition.now,
        verify_time: addition.now,
    };
    let is_shared = false;
    assert_eq!(
        added,
        AddedDomain {
            domain: expected.clone(),
            is_shared
        }
    );
    let listed = list(&stores.second, "acme").await;
    assert_eq!(listed, [(expected, 0)]);

    let state = state("acme", "example.com", Coverage::DomainAndSubdomains);
    let (loaded_at, loaded) = stores.load().await;
    assert_eq!((loaded_at, loaded.len()), (position, 1));
    assert_eq!(loaded[&Subject::of(&state)], state);
    let change = Change { position, state };
    assert_eq!(changes_since(stores, Position::START, 10).await, [change]);
}

async fn adding_a_domain_again_changes_only_whether_subdomains_are_included(stores: &Stores) {
    let first = addition("acme", "example.com", false);
    let (added, position) = add(&stores.first, &first).await;
    let mut later = DomainAddition {
        now: after(first.now, 60),
        ..first
    };
    let again = add(&stores.second, &later).await;
    assert_eq!(again, (added.clone(), position), "nothing has changed");

    later.include_subdomains = true;
    let (widened, at) = add(&stores.first, &later).await;
    assert!(at.revision > position.revision);
    let expected = VerifiedDomain {
        include_subdomains: true,
        ..added.domain
    };
    assert_eq!(widened.domain, expected);
    let state = state("acme", "example.com", Coverage::DomainAndSubdomains);
    let changes = changes_since(stores, position, 10).await;
    assert_eq!(
        changes,
        [Change {
            position: at,
            state
        }]
    );
}

async fn a_domain_that_was_removed_can_be_added_again_and_keeps_its_create_time(stores: &Stores) {
    let first = addition("acme", "example.com", true);
    let (added, _) = add(&stores.first, &first).await;
    let removed_at = remove(&stores.first, "acme", "example.com").await;
    let again = remove(&stores.second, "acme", "example.com").await;
    assert_eq!(again, removed_at, "a removed domain stays as it is");
    assert_eq!(list(&stores.second, "acme").await, []);
    let removed = state("acme", "example.com", Coverage::Removed);
    assert_eq!(stores.load().await.1[&Subject::of(&removed)], removed);

    let later = DomainAddition {
        now: after(first.now, 60),
        ..first
    };
    let (back, back_at) = add(&stores.first, &later).await;
    assert!(removed_at.is_some_and(|removed| removed.revision < back_at.revision));
    let expected = VerifiedDomain {
        verify_time: later.now,
        ..added.domain
    };
    assert_eq!(back.domain, expected);
}

async fn only_a_domain_that_the_account_has_had_can_be_removed(stores: &Stores) {
    add(&stores.first, &addition("acme", "example.com", true)).await;
    for (account, name) in [
        ("globex", "example.com"),
        ("acme", "mail.example.com"),
        ("acme", "com"),
    ] {
        assert_eq!(remove(&stores.first, account, name).await, None);
    }
    assert_eq!(list(&stores.first, "acme").await.len(), 1);
}

async fn the_names_below_a_domain_are_removed_and_nothing_is_given_back(stores: &Stores) {
    let remove_subdomains = async |name| {
        let removal = removal("acme", name);
        let removed = stores.first.domains.remove_subdomains(&removal).await;
        removed.expect("answered").map(|removed| removed.position())
    };
    add(&stores.first, &addition("acme", "example.com", true)).await;
    let at = remove_subdomains("example.com").await.expect("removed");
    let narrowed = state("acme", "example.com", Coverage::Domain);
    let (loaded_at, loaded) = stores.load().await;
    assert_eq!(
        (loaded_at, &loaded[&Subject::of(&narrowed)]),
        (at, &narrowed)
    );

    add(&stores.first, &addition("acme", "gone.example", true)).await;
    remove(&stores.first, "acme", "gone.example").await;
    let before = stores.load().await;
    for name in ["example.com", "gone.example", "never.example"] {
        assert_eq!(remove_subdomains(name).await, None, "{name}");
    }
    assert_eq!(stores.load().await, before);
}

async fn an_addition_tells_whether_another_account_has_the_domain(stores: &Stores) {
    let is_shared = async |account| {
        let addition = addition(account, "example.com", false);
        add(&stores.first, &addition).await.0.is_shared
    };
    assert!(!is_shared("acme").await);
    assert!(!is_shared("acme").await, "its own does not count");
    assert!(is_shared("globex").await);
    assert!(is_shared("acme").await);
    remove(&stores.first, "globex", "example.com").await;
    assert!(!is_shared("acme").await);
}

async fn domains_are_listed_in_alphabetical_order_with_their_active_keys(stores: &Stores) {
    for name in [
        "b.example",
        "a.example",
        "xn--bcher-kva.example",
        "mail.a.example",
    ] {
        add(&stores.first, &addition("acme", name, false)).await;
    }
    add(&stores.first, &addition("globex", "0.example", false)).await;
    let now = Timestamp::now();
    let [_, _, revoked, expired, of_globex] = [
        create_for(stores, "acme", "a.example").await,
        create_for(stores, "acme", "a.example").await,
        create_for(stores, "acme", "a.example").await,
        create_with(stores, "acme", "a.example", |new| {
            new.key.expire_time = Some(after(now, 10));
        })
        .await,
        create_for(stores, "globex", "a.example").await,
    ];
    revoke(stores, KeyTarget::Id(revoked.key.id)).await;

    let names_and_keys = async |after: Option<&str>, limit, now| {
        let query = DomainQuery {
            account_id: account_id("acme"),
            after: after.map(domain),
            limit,
            now,
        };
        let listed = stores.first.domains.list_domains(&query).await;
        let listed = listed.expect("listed").into_iter();
        let pairs = listed.map(|it| (it.domain.domain.to_string(), exactly(it.active_keys)));
        pairs.collect::<Vec<_>>()
    };
    let pair = |name: &str, keys| (name.to_owned(), keys);
    let all = [
        pair("a.example", 3),
        pair("b.example", 0),
        pair("mail.a.example", 0),
        pair("xn--bcher-kva.example", 0),
    ];
    assert_eq!(names_and_keys(None, 10, now).await, all);
    assert_eq!(names_and_keys(Some("a.example"), 2, now).await, all[1..3]);
    assert_eq!(names_and_keys(Some("aa.example"), 1, now).await, all[1..2]);
    let later = after(now, 10);
    assert_eq!(names_and_keys(None, 1, later).await, [pair("a.example", 2)]);

    let count = async |account, now| {
        let (account, name) = (account_id(account), domain("a.example"));
        let domains = &stores.second.domains;
        let counted = domains.count_active_keys(&account, &name, now).await;
        exactly(counted.expect("counted"))
    };
    assert_eq!(count("acme", now).await, 3);
    assert_eq!(count("acme", later).await, 2);
    assert_eq!(count("globex", now).await, 1);
    drop((expired, of_globex));
}

/// Otherwise the time that a count takes would have no bound.
async fn only_the_newest_keys_of_a_domain_are_counted(stores: &Stores) {
    add(&stores.first, &addition("acme", "a.example", false)).await;
    let query = DomainQuery {
        account_id: account_id("acme"),
        after: None,
        limit: 10,
        now: Timestamp::now(),
    };
    let counts = async || {
        let (domains, name) = (&stores.first.domains, domain("a.example"));
        let counted = domains.count_active_keys(&query.account_id, &name, query.now);
        let listed = domains.list_domains(&query).await.expect("listed");
        [listed[0].active_keys, counted.await.expect("counted")]
    };
    let count = |count: usize, is_minimum| ActiveKeys {
        count: count as u64,
        is_minimum,
    };
    let insert = async |count| stores.insert_active_keys_for("'a.example'", count).await;
    insert(LISTED_COUNT_LEN).await;
    assert_eq!(counts().await, [count(LISTED_COUNT_LEN, false); 2]);
    insert(COUNT_LEN - LISTED_COUNT_LEN).await;
    let listed = count(LISTED_COUNT_LEN, true);
    assert_eq!(counts().await, [listed, count(COUNT_LEN, false)]);
    insert(2).await;
    assert_eq!(counts().await, [listed, count(COUNT_LEN, true)]);
    let keys = stores.keys_table();
    let revoke_all_but_the_oldest = format!(
        "UPDATE {keys} SET revoke_time = create_time \
         WHERE create_revision > (SELECT min(create_revision) FROM {keys})"
    );
    let revoked = stores
        .sql_without_triggers(&revoke_all_but_the_oldest)
        .await;
    revoked.expect("revoked");
    assert_eq!(counts().await, [count(0, true); 2]);
}

async fn a_removal_names_the_nearest_domain_above_that_verifies_the_name(stores: &Stores) {
    let still_verified_by = async |name| {
        let removal = removal("acme", name);
        let removed = stores.first.domains.remove_domain(&removal).await;
        let removed = removed.expect("answered").expect("it was added");
        let (removed, _) = removed.into_parts();
        removed.still_verified_by.map(|by| by.to_string())
    };
    let name = "a.b.example.com";
    add(&stores.first, &addition("acme", name, false)).await;
    for (account, above, include_subdomains) in [
        ("acme", "b.example.com", false),
        ("globex", "b.example.com", true),
        ("acme", "x.example.com", true),
        ("acme", "y.a.b.example.com", true),
    ] {
        add(&stores.first, &addition(account, above, include_subdomains)).await;
    }
    assert_eq!(still_verified_by(name).await, None);
    add(&stores.first, &addition("acme", "example.com", true)).await;
    assert_eq!(still_verified_by(name).await, Some("example.com".into()));
    add(&stores.first, &addition("acme", "b.example.com", true)).await;
    assert_eq!(still_verified_by(name).await, Some("b.example.com".into()));
    let by = still_verified_by("b.example.com").await;
    assert_eq!(by, Some("example.com".into()));
    assert_eq!(still_verified_by("example.com").await, None);
    assert_eq!(still_verified_by(name).await, None);
}

async fn a_key_that_must_be_verified_is_stored_only_for_a_verified_domain(stores: &Stores) {
    let is_stored = async |account, name: Option<&str>| {
        let (_, mut new) = new_key(account, "must be verified");
        new.key.scope = Scope::from_domain(name.map(domain));
        new.must_be_verified = true;
        let created = stores.second.keys.create(&new).await.expect("answered");
        created.is_ok_and(|created| *created.value() == CreateOutcome::Created)
    };
    assert!(is_stored("acme", None).await, "it is restricted to none");
    assert!(!is_stored("acme", Some("example.com")).await);
    add(&stores.first, &addition("acme", "example.com", false)).await;
    assert!(is_stored("acme", Some("example.com")).await);
    assert!(!is_stored("acme", Some("mail.example.com")).await);
    assert!(!is_stored("globex", Some("example.com")).await);
    add(&stores.first, &addition("acme", "example.com", true)).await;
    for name in ["mail.example.com", "a.b.example.com"] {
        assert!(is_stored("acme", Some(name)).await, "{name}");
    }
    assert!(!is_stored("acme", Some("badexample.com")).await);
    assert!(!is_stored("acme", Some("com")).await);
    remove(&stores.first, "acme", "example.com").await;
    for name in ["example.com", "mail.example.com"] {
        assert!(!is_stored("acme", Some(name)).await, "{name}");
    }
}

async fn keys_and_domains_change_in_one_order(stores: &Stores) {
    let (_, at_domain) = add(&stores.first, &addition("acme", "example.com", false)).await;
    let key = create_for(stores, "acme", "example.com").await;
    let at_removal = remove(&stores.first, "acme", "example.com").await;
    let (_, at_revocation) = revoke(stores, KeyTarget::Digest(key.digest)).await;

    let changes = changes_since(stores, Position::START, 10).await;
    let positions: Vec<_> = changes.iter().map(|change| Some(change.position)).collect();
    assert_eq!(positions, [at_removal, Some(at_revocation)]);
    let subjects: Vec<_> = changes
        .iter()
        .map(|change| Subject::of(&change.state))
        .collect();
    let name = Subject::Domain(account_id("acme"), domain("example.com"));
    assert_eq!(subjects, [name, Subject::Key(key.digest)]);
    assert_eq!(changes_since(stores, at_domain, 2).await, changes[..1]);
    assert_eq!(
        changes_since(stores, changes[0].position, 1).await,
        changes[1..]
    );
}

async fn every_write_of_a_domain_is_recorded(stores: &Stores) {
    for _ in 0..2 {
        add(&stores.first, &addition("acme", "example.com", false)).await;
        remove(&stores.first, "acme", "example.com").await;
        remove(&stores.first, "globex", "example.com").await;
    }
    let recorded = [
        "tester AddDomain OK acme example.com 1",
        "tester RemoveDomain OK acme example.com 1",
    ];
    let twice = [recorded, recorded].concat();
    assert_eq!(records(&stores.address, &[]), twice);
}

async fn a_record_tells_whether_a_domain_was_widened_or_narrowed(stores: &Stores) {
    for include_subdomains in [true, false, true] {
        let addition = addition("acme", "example.com", include_subdomains);
        add(&stores.first, &addition).await;
    }
    let narrowed = removal("acme", "example.com");
    let narrowed = stores.first.domains.remove_subdomains(&narrowed).await;
    drop(narrowed.expect("answered").expect("narrowed"));
    remove(&stores.first, "acme", "example.com").await;
    let printed = audit_output(&stores.address, &[]);
    let said = printed.lines().map(|line| {
        let record: Value = serde_json::from_str(line).expect(line);
        record["include_subdomains"].as_bool()
    });
    let expected = [Some(true), Some(false), Some(true), Some(false), None];
    assert_eq!(said.collect::<Vec<_>>(), expected);
}

async fn create_for(stores: &Stores, account: &str, name: &str) -> NewKey {
    create_with(stores, account, name, |_| {}).await
}

async fn create_with(
    stores: &Stores,
    account: &str,
    name: &str,
    change: impl Fn(&mut NewKey),
) -> NewKey {
    let (_, mut new) = new_key(account, "restricted");
    new.key.scope = Scope::Domain(domain(name));
    change(&mut new);
    create(&stores.first, &new).await;
    new
}

pub(super) fn addition(account: &str, name: &str, include_subdomains: bool) -> DomainAddition {
    DomainAddition {
        account_id: account_id(account),
        domain: domain(name),
        include_subdomains,
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

async fn add(store: &Store, addition: &DomainAddition) -> (AddedDomain, Position) {
    let added = store.domains.add_domain(addition).await;
    added.expect("added").into_parts()
}

pub(super) fn removal(account: &str, name: &str) -> DomainRemoval {
    DomainRemoval {
        account_id: account_id(account),
        domain: domain(name),
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

async fn remove(store: &Store, account: &str, name: &str) -> Option<Position> {
    let removed = store.domains.remove_domain(&removal(account, name)).await;
    removed.expect("answered").map(|removed| removed.position())
}

async fn list(store: &Store, account: &str) -> Vec<(VerifiedDomain, u64)> {
    let query = DomainQuery {
        account_id: account_id(account),
        after: None,
        limit: 100,
        now: Timestamp::now(),
    };
    let listed = store.domains.list_domains(&query).await.expect("listed");
    let listed = listed.into_iter();
    listed
        .map(|it| (it.domain, exactly(it.active_keys)))
        .collect()
}

fn exactly(keys: ActiveKeys) -> u64 {
    assert!(!keys.is_minimum, "{keys:?}");
    keys.count
}

fn state(account: &str, name: &str, coverage: Coverage) -> State {
    State::Domain(DomainState {
        account_id: account_id(account),
        domain: domain(name),
        coverage,
    })
}
