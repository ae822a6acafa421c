//! The rules for every store. Each test in the lists runs on SQLite, and on the PostgreSQL that the
//! system has, the oldest and the newest one that the service supports.

use crate::support::{
    caller, new_key,
    stores::{Stores, Subject, is_revoked},
};
use futures::future::join_all;
use keyservice::{
    model::{
        account::{AccountId, Accounts},
        domain::Domain,
        key::{Key, KeyId, KeyState, Labels, RequestId, Scope, Status, filter::KeyFilter},
        time::Timestamp,
    },
    store::{
        Change, ChangePage, CreateOutcome, KeyTarget, LIST_SEARCH_LEN, ListQuery, Listed, NewKey,
        Position, Progress, Revocation, State, StillAllowed, Store,
    },
};

mod accounts;
mod audit;
mod batch_revoke;
mod changes;
mod domains;
mod filters;
mod histories;
mod key_changes;
mod key_limit;
mod loads;
mod retention;
pub(in crate::store) mod rights;
mod uses;
mod write_groups;

macro_rules! on_every_store {
    ($($fact:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                super::$fact(&super::Stores::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                super::$fact(&super::Stores::postgres().await).await;
            })*
        }
        mod on_the_oldest_postgres {
            use crate::support::postgres::Version::Oldest;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                super::$fact(&super::Stores::postgres_of(Oldest).await).await;
            })*
        }
        mod on_the_newest_postgres {
            use crate::support::postgres::Version::Newest;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                super::$fact(&super::Stores::postgres_of(Newest).await).await;
            })*
        }
    };
}

use on_every_store;

on_every_store![
    a_key_is_stored_with_every_field,
    pages_are_newest_first_and_stay_correct_while_keys_are_created,
    a_list_goes_on_after_a_key_in_the_order_of_creation_whatever_became_of_the_key,
    a_list_cannot_go_on_after_a_key_of_another_account,
    a_list_is_filtered_by_status_and_domain,
    a_status_that_few_keys_have_is_found_at_once,
    an_account_lists_only_its_own_keys,
    a_request_id_creates_one_key_per_account_however_often_it_is_used,
    a_key_is_revoked_by_its_id_or_its_digest_and_keeps_its_first_revoke_time,
    unknown_keys_and_keys_of_other_accounts_are_not_found,
];

async fn a_key_is_stored_with_every_field(stores: &Stores) {
    let (_, mut new) = new_key("acme", "Büro ✉");
    new.key.scope = Scope::Domain(domain("example.com"));
    new.key.expire_time = Some(after(new.key.create_time, 3600));
    new.key.labels = labels("a= example.com/team=Mail-1_x.y");
    let position = create(&stores.first, &new).await;

    let listed = list(&stores.second, &all_of("acme")).await;
    assert_eq!(listed, std::slice::from_ref(&new.key));

    let state = KeyState::of(&new.key, new.digest);
    let (loaded_at, loaded) = stores.load().await;
    assert_eq!((loaded_at, loaded.len()), (position, 1));
    let state = State::Key(state);
    assert_eq!(loaded[&Subject::of(&state)], state);
    let change = Change { position, state };
    assert_eq!(changes_since(stores, Position::START, 10).await, [change]);
}

async fn pages_are_newest_first_and_stay_correct_while_keys_are_created(stores: &Stores) {
    let mut created = create_many(stores, "acme", 7).await;
    created.reverse();
    let mut query = ListQuery {
        limit: 3,
        ..all_of("acme")
    };
    let mut seen = Vec::new();
    loop {
        let page = list(&stores.first, &query).await;
        create_many(stores, "acme", 1).await;
        seen.extend_from_slice(&page);
        match page.last() {
            Some(last) => query.after = Some(last.id),
            None => break,
        }
    }
    let created: Vec<&Key> = created.iter().map(|new| &new.key).collect();
    assert_eq!(seen.iter().collect::<Vec<_>>(), created);
}

async fn a_list_goes_on_after_a_key_in_the_order_of_creation_whatever_became_of_the_key(
    stores: &Stores,
) {
    let now = Timestamp::now();
    // The clocks of the processes that made these ids differ.
    let with_id_at =
        |seconds| move |new: &mut NewKey| new.key.id = KeyId::new(after(now, seconds), &[0; 10]);
    let first = create_as(stores, "first", with_id_at(30)).await;
    let second = create_as(stores, "second", with_id_at(10)).await;
    let third = create_as(stores, "third", with_id_at(20)).await;
    let active_after = async |new: &NewKey| {
        let query = ListQuery {
            filter: with_status(Some(Status::Active)),
            after: Some(new.key.id),
            ..all_of("acme")
        };
        list(&stores.first, &query).await
    };
    assert_eq!(active_after(&third).await, [second.key, first.key.clone()]);
    revoke(stores, KeyTarget::Id(third.key.id)).await;
    assert_eq!(active_after(&third).await.len(), 2);
    assert_eq!(active_after(&first).await, []);
}

/// Otherwise the list would tell when the other account created it.
async fn a_list_cannot_go_on_after_a_key_of_another_account(stores: &Stores) {
    create_many(stores, "acme", 2).await;
    let others = create_many(stores, "globex", 1).await.remove(0);
    let (_, unknown) = new_key("acme", "never stored");
    for stranger in [others, unknown] {
        let query = ListQuery {
            after: Some(stranger.key.id),
            ..all_of("acme")
        };
        let listed = stores.first.keys.list(&query).await.expect("answered");
        assert_eq!(listed, None);
    }
}

async fn a_list_is_filtered_by_status_and_domain(stores: &Stores) {
    let now = Timestamp::now();
    let expiring = |new: &mut NewKey| new.key.expire_time = Some(after(now, 10));
    let scoped = |new: &mut NewKey| new.key.scope = Scope::Domain(domain("example.com"));
    let active = create_as(stores, "active", |_| {}).await;
    let scoped = create_as(stores, "scoped", scoped).await;
    let expired = create_as(stores, "expired", expiring).await;
    let revoked = create_as(stores, "revoked", |_| {}).await;
    let both = create_as(stores, "revoked, would have expired", expiring).await;
    for new in [&revoked, &both] {
        revoke(stores, KeyTarget::Id(new.key.id)).await;
    }

    let names = async |status, domain_only: Option<&str>| {
        let query = ListQuery {
            filter: KeyFilter {
                domain: domain_only.map(domain),
                ..with_status(status)
            },
            now: after(now, 10),
            ..all_of("acme")
        };
        let listed = list(&stores.first, &query).await;
        listed.iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(
        names(Some(Status::Active), None).await,
        [scoped.key.id, active.key.id]
    );
    assert_eq!(names(Some(Status::Expired), None).await, [expired.key.id]);
    assert_eq!(
        names(Some(Status::Revoked), None).await,
        [both.key.id, revoked.key.id]
    );
    assert_eq!(names(None, Some("example.com")).await, [scoped.key.id]);
    assert_eq!(
        names(Some(Status::Active), Some("example.com")).await,
        [scoped.key.id]
    );
    assert_eq!(names(Some(Status::Revoked), Some("example.com")).await, []);
    assert_eq!(names(None, Some("mail.example.com")).await, []);
    assert_eq!(names(None, None).await.len(), 5);
}

/// Otherwise the List of an account with very many keys would keep the store busy for very long.
async fn a_status_that_few_keys_have_is_found_at_once(stores: &Stores) {
    let revoked = create_as(stores, "revoked", |_| {}).await.key.id;
    revoke(stores, KeyTarget::Id(revoked)).await;
    stores.insert_active_keys(LIST_SEARCH_LEN).await;
    let query = ListQuery {
        filter: with_status(Some(Status::Revoked)),
        search_len: 2,
        ..all_of("acme")
    };
    let listed = stores.first.keys.list(&query).await.expect("answered");
    let Listed { keys, searched_to } = listed.expect("the account's");
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    assert_eq!((ids, searched_to), (vec![revoked], None));
}

async fn an_account_lists_only_its_own_keys(stores: &Stores) {
    create_many(stores, "acme", 2).await;
    create_many(stores, "ACME", 1).await;
    create_many(stores, "acme2", 1).await;
    for (name, count) in [("acme", 2), ("ACME", 1), ("acme2", 1), ("acm", 0)] {
        let listed = list(&stores.first, &all_of(name)).await;
        assert_eq!(listed.len(), count, "{name}");
    }
}

async fn a_request_id_creates_one_key_per_account_however_often_it_is_used(stores: &Stores) {
    let tries = (0..20).map(async |number| {
        let new = with_request_id("acme", "request-1");
        let store = [&stores.first, &stores.second][number % 2];
        let answered = store.keys.create(&new).await.expect("answered");
        (new.key.id, answered.expect("on record").into_parts())
    });
    let tries = join_all(tries).await;
    let made = |(outcome, _): &(CreateOutcome, Position)| *outcome == CreateOutcome::Created;
    let (created, refused): (Vec<_>, Vec<_>) =
        tries.into_iter().partition(|(_, answer)| made(answer));
    let [(first, (_, first_position))] = created[..] else {
        panic!("{created:?}");
    };
    let used = (CreateOutcome::RequestIdUsed { first }, first_position);
    for (_, answer) in refused {
        assert_eq!(answer, used);
    }
    let listed = list(&stores.first, &all_of("acme")).await;
    assert_eq!(listed.iter().map(|key| key.id).collect::<Vec<_>>(), [first]);

    let others = with_request_id("globex", "request-1");
    // Another account's request.
    create(&stores.first, &others).await;
    let changes = changes_since(stores, Position::START, 100).await;
    assert_eq!(changes.len(), 2, "a refused Create changes nothing");
}

async fn a_key_is_revoked_by_its_id_or_its_digest_and_keeps_its_first_revoke_time(stores: &Stores) {
    for by_digest in [false, true] {
        let new = create_as(stores, "to be revoked", |_| {}).await;
        let target = || match by_digest {
            true => KeyTarget::Digest(new.digest),
            false => KeyTarget::Id(new.key.id),
        };
        let first = revoke(stores, target()).await;
        let again = revoke(stores, target()).await;

        assert!(first.0.revoke_time.is_some());
        assert_eq!(again, first);
        let unrevoked = Key {
            revoke_time: None,
            version: new.key.version,
            ..first.0
        };
        assert_eq!(unrevoked, new.key, "nothing else has changed");
        assert!(is_revoked(
            &stores.load().await.1[&Subject::Key(new.digest)]
        ));
    }
}

async fn unknown_keys_and_keys_of_other_accounts_are_not_found(stores: &Stores) {
    let new = create_as(stores, "acme's", |_| {}).await;
    let (_, unknown) = new_key("acme", "never stored");
    let both = |new: &NewKey| [KeyTarget::Id(new.key.id), KeyTarget::Digest(new.digest)];
    let before = stores.load().await;

    for others in [&["globex"][..], &["globex", "ACME", "acm"], &[]] {
        for target in both(&new) {
            let by_others = Revocation {
                accounts: accounts(others),
                ..revocation(target, None)
            };
            let refused = stores.first.keys.revoke(&by_others).await;
            assert_eq!(refused.expect("answered"), None, "{others:?}");
        }
    }
    for target in both(&unknown) {
        let refused = stores.first.keys.revoke(&revocation(target, None)).await;
        assert_eq!(refused.expect("answered"), None);
    }
    assert_eq!(stores.load().await, before, "nothing has changed");

    let by_its_owner = revocation(KeyTarget::Id(new.key.id), Some("acme"));
    revoke_with(&stores.first, &by_its_owner).await;
    for target in both(&create_as(stores, "acme's too", |_| {}).await) {
        let by_one_of_several = Revocation {
            accounts: accounts(&["globex", "acme"]),
            ..revocation(target, None)
        };
        let (key, _) = revoke_with(&stores.first, &by_one_of_several).await;
        assert_eq!(key.name.as_str(), "acme's too");
    }
}

async fn changes_since(stores: &Stores, since: Position, limit: usize) -> Vec<Change> {
    changes_page(stores, Progress::at(since), limit)
        .await
        .changes
}

async fn changes_page(stores: &Stores, since: Progress, limit: usize) -> ChangePage {
    let page = stores.second.changes.changes(since, limit).await;
    page.expect("changes")
}

async fn create_many(stores: &Stores, account: &str, count: usize) -> Vec<NewKey> {
    let mut all = Vec::new();
    for number in 0..count {
        let (_, new) = new_key(account, &format!("number {number}"));
        create(&stores.first, &new).await;
        all.push(new);
    }
    all
}

async fn create_as(stores: &Stores, name: &str, change: impl Fn(&mut NewKey)) -> NewKey {
    let (_, mut new) = new_key("acme", name);
    change(&mut new);
    create(&stores.first, &new).await;
    new
}

fn with_request_id(account: &str, request_id: &str) -> NewKey {
    let (_, mut new) = new_key(account, "asked for again");
    new.request_id = Some(RequestId::parse(request_id.to_owned()).expect("a request id"));
    new
}

async fn create(store: &Store, new: &NewKey) -> Position {
    let created = store.keys.create(new).await.expect("answered");
    let (outcome, position) = created.expect("on record").into_parts();
    assert_eq!(outcome, CreateOutcome::Created);
    position
}

async fn revoke(stores: &Stores, target: KeyTarget) -> (Key, Position) {
    revoke_with(&stores.first, &revocation(target, None)).await
}

async fn revoke_with(store: &Store, revocation: &Revocation) -> (Key, Position) {
    let revoked = store.keys.revoke(revocation).await.expect("answered");
    revoked.expect("found").into_parts()
}

fn revocation(target: KeyTarget, account: Option<&str>) -> Revocation {
    Revocation {
        target,
        accounts: account.map_or(Accounts::All, |account| Accounts::one(account_id(account))),
        now: Timestamp::now(),
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    }
}

fn all_of(account: &str) -> ListQuery {
    ListQuery {
        filter: KeyFilter {
            account_id: Some(account_id(account)),
            ..KeyFilter::default()
        },
        after: None,
        limit: 1000,
        search_len: LIST_SEARCH_LEN,
        now: Timestamp::now(),
    }
}

fn with_status(status: Option<Status>) -> KeyFilter {
    KeyFilter {
        status,
        ..all_of("acme").filter
    }
}

async fn list(store: &Store, query: &ListQuery) -> Vec<Key> {
    let listed = store.keys.list(query).await.expect("answered");
    listed
        .expect("the key to go on after is the account's")
        .keys
}

fn accounts(names: &[&str]) -> Accounts {
    Accounts::Only(names.iter().map(|name| account_id(name)).collect())
}

fn account_id(text: &str) -> AccountId {
    AccountId::parse(text.to_owned()).expect("an account id")
}

/// Labels, each as `NAME=VALUE`, with white space between them.
fn labels(text: &str) -> Labels {
    let pairs = text.split_whitespace();
    let pairs = pairs.map(|pair| pair.split_once('=').expect("a label"));
    let labels = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Labels::parse(labels).expect("valid")
}

fn domain(text: &str) -> Domain {
    Domain::parse(text.to_owned()).expect("a domain")
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + seconds * 1_000_000).expect("in range")
}
