//! The rules for the filters of a list in every store.

use super::{after, create, domain, labels, on_every_store, revoke};
use crate::support::{new_key, stores::Stores};
use keyservice::{
    model::{
        account::AccountId,
        key::{Key, KeyId, KeyName, Reason, Scope, Status, filter::KeyFilter},
        time::Timestamp,
    },
    store::{KeyTarget, LIST_SEARCH_LEN, ListQuery, Listed, NewKey, NotedUse},
};

on_every_store![
    a_list_has_the_keys_that_pass_each_filter_and_any_two,
    keys_are_found_by_their_labels_whatever_became_of_these,
    every_list_looks_at_a_bounded_number_of_keys,
    a_search_for_keys_that_are_not_revoked_goes_past_no_revoked_ones,
];

/// Every filter by itself, for an account or for all.
fn filters(preview_of: &NewKey, now: Timestamp) -> Vec<KeyFilter> {
    let none = KeyFilter::default;
    let status = |status| KeyFilter {
        status: Some(status),
        ..none()
    };
    let of_account = |account: &str| KeyFilter {
        account_id: Some(AccountId::parse(account.to_owned()).expect("valid")),
        ..none()
    };
    let labelled = |text| KeyFilter {
        labels: labels(text),
        ..none()
    };
    vec![
        none(),
        of_account("acme"),
        of_account("globex"),
        status(Status::Active),
        status(Status::Revoked),
        status(Status::Expired),
        status(Status::Suspended),
        labelled("a=1"),
        labelled("b="),
        labelled("a=1 b="),
        labelled("a=3"),
        KeyFilter {
            labels: labels("a=1"),
            ..of_account("acme")
        },
        KeyFilter {
            domain: Some(domain("example.com")),
            ..of_account("acme")
        },
        KeyFilter {
            domain: Some(domain("example.com")),
            ..none()
        },
        KeyFilter {
            name_prefix: Some(KeyName::parse("Bü").expect("valid")),
            ..none()
        },
        KeyFilter {
            preview: Some(preview_of.key.preview.clone()),
            ..none()
        },
        KeyFilter {
            created_before: Some(now),
            ..none()
        },
        KeyFilter {
            is_unrevoked: true,
            ..none()
        },
        KeyFilter {
            unused_since: Some(now),
            ..none()
        },
    ]
}

/// What both filters name.
fn and(one: &KeyFilter, other: &KeyFilter) -> KeyFilter {
    let one = one.clone();
    KeyFilter {
        account_id: one.account_id.or_else(|| other.account_id.clone()),
        is_unrevoked: one.is_unrevoked || other.is_unrevoked,
        status: one.status.or(other.status),
        domain: one.domain.or_else(|| other.domain.clone()),
        labels: match one.labels.is_empty() {
            true => other.labels.clone(),
            false => one.labels,
        },
        name_prefix: one.name_prefix.or_else(|| other.name_prefix.clone()),
        preview: one.preview.or_else(|| other.preview.clone()),
        created_before: one.created_before.or(other.created_before),
        unused_since: one.unused_since.or(other.unused_since),
    }
}

async fn a_list_has_the_keys_that_pass_each_filter_and_any_two(stores: &Stores) {
    let now = Timestamp::now();
    let later = after(now, 60);
    let mut all = Vec::new();
    for number in 0..24 {
        let account = ["acme", "acme", "globex"][number % 3];
        let name = ["Büro", "bü", "B", "Bü_%"][number % 4];
        let (_, mut new) = new_key(account, name);
        new.key.labels = labels(["a=1", "a=1 b=", "a=2 b=", ""][number / 2 % 4]);
        if number % 5 < 2 {
            new.key.scope = Scope::Domain(domain(["example.com", "example.org"][number % 2]));
        }
        // When it is looked at, it has expired, or will.
        new.key.expire_time =
            [None, None, Some(after(now, 30)), Some(after(now, 90))][number / 3 % 4];
        create(&stores.first, &new).await;
        if number % 7 == 0 {
            revoke(stores, KeyTarget::Id(new.key.id)).await;
        }
        if number % 7 < 3 {
            suspend(stores, new.key.id, now).await;
        }
        all.push(new);
    }
    let uses = all.iter().step_by(4).map(|new| NotedUse {
        key_id: new.key.id,
        time: Timestamp::now(),
        unless_since: now,
    });
    let uses: Vec<_> = uses.collect();
    stores.first.uses.record_uses(&uses).await.expect("stored");
    let mut keys = everything(stores, later).await;
    assert_eq!(keys.len(), all.len());
    let filters = filters(&all[5], all[12].key.create_time);
    for one in &filters {
        assert!(one == &and(one, one));
        for other in &filters {
            let filter = and(one, other);
            let expected: Vec<_> = keys
                .iter()
                .filter(|key| filter.selects(key, later))
                .collect();
            // Step by step, as a search that is long goes.
            for search_len in [1, 4, 1000] {
                let listed = list_all(stores, &filter, search_len, later).await;
                let listed: Vec<_> = listed.iter().collect();
                assert_eq!(listed, expected, "{filter:?}");
            }
            let query = query(filter, 1000, later);
            let counted = stores.first.keys.count(&query).await.expect("answered");
            assert_eq!(counted.expect("all").count, expected.len() as u64);
        }
    }
    keys.retain(|key| key.status(later) == Status::Suspended);
    assert!(!keys.is_empty(), "every status occurs");
}

async fn keys_are_found_by_their_labels_whatever_became_of_these(stores: &Stores) {
    let (_, mut new) = new_key("acme", "a key");
    new.key.labels = labels("a=1 b=1");
    create(&stores.first, &new).await;
    let mut key = new.key.clone();
    for now in ["a=1 b=2 c=3", "", "a=1"] {
        let update = keyservice::model::key::change::KeyUpdate {
            labels: Some(labels(now)),
            ..Default::default()
        };
        key = key.updated(&update, None).expect("active");
        super::key_changes::replace(&stores.first, &super::key_changes::replacement(&key)).await;
        for label in ["a=1", "b=1", "b=2", "c=3"] {
            let filter = KeyFilter {
                account_id: Some(key.account_id.clone()),
                labels: labels(label),
                ..KeyFilter::default()
            };
            let found = list_all(stores, &filter, 1000, Timestamp::now()).await;
            let is_labelled = now.split(' ').any(|own| own == label);
            assert_eq!(found.len(), usize::from(is_labelled), "{now}, {label}");
        }
    }
}

async fn every_list_looks_at_a_bounded_number_of_keys(stores: &Stores) {
    let (_, new) = new_key("acme", "the first");
    create(&stores.first, &new).await;
    stores.insert_active_keys(2 * LIST_SEARCH_LEN).await;
    for account_id in [None, Some(new.key.account_id.clone())] {
        let filter = KeyFilter {
            account_id,
            name_prefix: Some(KeyName::parse("the first").expect("valid")),
            ..KeyFilter::default()
        };
        let query = query(filter.clone(), LIST_SEARCH_LEN, Timestamp::now());
        let listed = stores.first.keys.list(&query).await.expect("answered");
        let Listed { keys, searched_to } = listed.expect("all");
        assert!(keys.is_empty() && searched_to.is_some());
        let all = list_all(stores, &filter, LIST_SEARCH_LEN, Timestamp::now()).await;
        assert_eq!(all, std::slice::from_ref(&new.key));
    }
}

/// How many of them there are in all is limited; of those that are revoked there are ever more.
async fn a_search_for_keys_that_are_not_revoked_goes_past_no_revoked_ones(stores: &Stores) {
    let (_, mut new) = new_key("acme", "in use");
    new.key.scope = Scope::Domain(domain("example.com"));
    new.key.labels = labels("a=1");
    create(&stores.first, &new).await;
    stores.insert_active_keys_for("'example.com'", 100).await;
    let rotated = match stores.cluster {
        None => r#"UPDATE keys SET revoke_time = 1, labels = '["a=1"]' WHERE name = 'one of many'"#,
        Some(_) => {
            "UPDATE keyservice.keys SET revoke_time = now(), labels = '{a=1}' WHERE name = 'one of many'"
        }
    };
    stores.sql_without_triggers(rotated).await.expect("run");
    let of_account = || KeyFilter {
        account_id: Some(new.key.account_id.clone()),
        ..KeyFilter::default()
    };
    for selected in [
        KeyFilter {
            domain: Some(domain("example.com")),
            ..of_account()
        },
        KeyFilter {
            labels: labels("a=1"),
            ..of_account()
        },
    ] {
        for (is_unrevoked, status) in [(true, None), (false, Some(Status::Active))] {
            let filter = KeyFilter {
                is_unrevoked,
                status,
                ..selected.clone()
            };
            let query = query(filter, 2, Timestamp::now());
            let listed = stores.first.keys.list(&query).await.expect("answered");
            let Listed { keys, searched_to } = listed.expect("all");
            assert_eq!(
                (keys, searched_to),
                (vec![new.key.clone()], None),
                "{query:?}"
            );
        }
    }
}

fn query(filter: KeyFilter, search_len: usize, now: Timestamp) -> ListQuery {
    ListQuery {
        filter,
        after: None,
        limit: 1000,
        search_len,
        now,
    }
}

async fn everything(stores: &Stores, now: Timestamp) -> Vec<Key> {
    list_all(stores, &KeyFilter::default(), 1000, now).await
}

async fn list_all(
    stores: &Stores,
    filter: &KeyFilter,
    search_len: usize,
    now: Timestamp,
) -> Vec<Key> {
    let mut query = query(filter.clone(), search_len, now);
    let mut all = Vec::new();
    loop {
        let listed = stores.second.keys.list(&query).await.expect("answered");
        let listed = listed.expect("it goes on after a key of the list");
        all.extend(listed.keys);
        query.after = listed.searched_to;
        if query.after.is_none() {
            return all;
        }
    }
}

async fn suspend(stores: &Stores, id: KeyId, now: Timestamp) {
    use super::key_changes::{lookup_of, replacement};
    let found = stores.first.keys.get(&lookup_of(id)).await;
    let key = found.expect("answered").expect("it is there");
    let reason = Reason::parse("abuse").expect("valid");
    if let Ok(suspended) = key.suspended(&reason, now) {
        let replaced = stores.first.keys.replace(&replacement(&suspended)).await;
        replaced.expect("answered");
    }
}
