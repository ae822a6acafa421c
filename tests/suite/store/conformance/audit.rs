//! The rules for audit records in every store.

use super::{
    account_id, accounts::suspend, after, create, create_as, domain, domains::addition,
    on_every_store, revocation, revoke, revoke_with, with_request_id,
};
use crate::support::{
    caller, new_key,
    server::audit_command::{audit_output, record_of_a_list, records},
    stores::Stores,
};
use keyservice::{
    model::{
        audit_record::{AdminMethod, AuditRecord, Outcome},
        key::Scope,
        time::Timestamp,
    },
    store::{CreateOutcome, KeyTarget, Revocation},
};
use serde_json::Value;

on_every_store![
    every_write_is_recorded_with_its_outcome,
    every_write_is_recorded_with_its_revision,
    the_domain_of_a_key_is_recorded_with_every_write_of_the_key,
    appended_records_are_stored_with_every_field,
    a_write_without_its_record_is_not_stored,
    records_cannot_be_changed_and_only_old_ones_can_be_deleted_on_purpose,
];

async fn every_write_is_recorded_with_its_outcome(stores: &Stores) {
    let new = with_request_id("acme", "once");
    let mut again = with_request_id("acme", "once");
    again.caller = caller("another");
    create(&stores.first, &new).await;
    let used_before = stores.second.keys.create(&again).await.expect("answered");
    let used_before = used_before.expect("on record");
    assert_ne!(used_before.value(), &CreateOutcome::Created);
    let target = || KeyTarget::Digest(new.digest);
    let (first, _) = revoke(stores, target()).await;
    revoke(stores, target()).await;
    let of_others = revocation(target(), Some("globex"));
    let not_found = stores.first.keys.revoke(&of_others).await;
    assert_eq!(not_found.expect("answered"), None);

    let id = new.key.id;
    let expected = [
        format!("tester Create OK acme {id} 1"),
        format!("another Create ALREADY_EXISTS acme {id} 1"),
        format!("tester Revoke OK acme {id} 1"),
        format!("tester Revoke OK acme {id} 1"),
    ];
    assert_eq!(records(&stores.address, &[]), expected);
    let printed = audit_output(&stores.address, &[]);
    for time in [new.key.create_time, first.revoke_time.expect("revoked")] {
        let time = humantime::format_rfc3339_micros(time.to_system_time());
        let time = format!("\"time\":\"{time}\"");
        assert!(printed.contains(&time), "{time} is not in {printed}");
    }
}

/// The time of a record is that of the call, and a call may wait before it writes.
async fn every_write_is_recorded_with_its_revision(stores: &Stores) {
    let new = with_request_id("acme", "once");
    let created = create(&stores.first, &new).await;
    let again = stores.first.keys.create(&new).await.expect("answered");
    assert_eq!(again.expect("on record").position(), created);
    let earlier = Revocation {
        now: after(new.key.create_time, -60),
        ..revocation(KeyTarget::Id(new.key.id), None)
    };
    let (_, revoked) = revoke_with(&stores.first, &earlier).await;
    let repeated = Revocation {
        now: after(new.key.create_time, -30),
        ..earlier
    };
    let (_, position) = revoke_with(&stores.first, &repeated).await;
    assert_eq!(position, revoked, "it waits for the write all the same");
    let addition = addition("acme", "example.com", true);
    let added = stores
        .first
        .domains
        .add_domain(&addition)
        .await
        .expect("added");
    let suspension = suspend("acme", "unpaid");
    let suspended = stores.first.accounts.set_suspension(&suspension).await;
    let suspended = suspended.expect("suspended").position();
    let read = record_of_a_list(Timestamp::now());
    let appended = stores.first.audit.append_records(&[read]).await;
    appended.expect("appended");

    let expected = [
        ("Revoke", Some(revoked)),
        ("Revoke", None),
        ("Create", Some(created)),
        ("Create", Some(created)),
        ("AddDomain", Some(added.position())),
        ("SuspendAccount", Some(suspended)),
        ("List", None),
    ];
    let printed = audit_output(&stores.address, &[]);
    for (line, (method, position)) in printed.lines().zip(expected) {
        let record: Value = serde_json::from_str(line).expect(line);
        assert_eq!(record["method"], method);
        let revision = position.map(|position| position.revision.number());
        assert_eq!(record["revision"].as_i64(), revision, "{line}");
    }
}

async fn the_domain_of_a_key_is_recorded_with_every_write_of_the_key(stores: &Stores) {
    let mut new = with_request_id("acme", "once");
    new.key.scope = Scope::Domain(domain("example.com"));
    for _ in 0..2 {
        let created = stores.first.keys.create(&new).await.expect("answered");
        drop(created.expect("on record"));
    }
    let unrestricted = create_as(stores, "unrestricted", |_| {}).await;
    revoke(stores, KeyTarget::Id(new.key.id)).await;
    let id = new.key.id;
    let of_domain = [
        format!("tester Create OK acme {id} example.com 1"),
        format!("tester Create ALREADY_EXISTS acme {id} example.com 1"),
        format!("tester Revoke OK acme {id} example.com 1"),
    ];
    let all = records(&stores.address, &[]);
    assert_eq!([&all[..2], &all[3..]].concat(), of_domain);
    let unrestricted = format!("tester Create OK acme {} 1", unrestricted.key.id);
    assert_eq!(all[2], unrestricted);
    let filtered = |domain| records(&stores.address, &["--domain", domain]);
    assert_eq!(filtered("Example.com."), of_domain);
    assert_eq!(filtered("mail.example.com").len(), 0);
    let newest = ["--domain", "example.com", "--limit", "1"];
    assert_eq!(records(&stores.address, &newest), of_domain[2..]);
}

async fn appended_records_are_stored_with_every_field(stores: &Stores) {
    let (_, new) = new_key("acme", "not stored");
    let time = Timestamp::now();
    let bare = AuditRecord {
        time: after(time, 1),
        caller: caller("sender"),
        method: AdminMethod::List.into(),
        account_id: None,
        key_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: Outcome::named("RESOURCE_EXHAUSTED"),
        calls: 57,
    };
    let full = AuditRecord {
        time,
        account_id: Some(account_id("acme")),
        key_id: Some(new.key.id),
        domain: Some(domain("example.com")),
        include_subdomains: Some(true),
        key_end: None,
        calls: 1,
        ..bare.clone()
    };
    let appended = stores.first.audit.append_records(&[bare, full]).await;
    appended.expect("appended");
    let expected = [
        format!(
            "sender List RESOURCE_EXHAUSTED acme {} example.com+ 1",
            new.key.id
        ),
        "sender List RESOURCE_EXHAUSTED - - 57".to_owned(),
    ];
    assert_eq!(records(&stores.address, &[]), expected);
}

async fn a_write_without_its_record_is_not_stored(stores: &Stores) {
    let new = create_as(stores, "stands", |_| {}).await;
    let before = stores.load().await;
    let [audit, _] = stores.audit_tables();
    let renamed = audit.replace("audit", "gone");
    let rename = |from: &str, to: &str| {
        let to = to.trim_start_matches("keyservice.");
        format!("ALTER TABLE {from} RENAME TO {to}")
    };
    stores.sql(&rename(audit, &renamed)).await.expect("renamed");
    let (_, unstored) = new_key("acme", "does not stand");
    let keys = &stores.first.keys;
    keys.create(&unstored).await.expect_err("no record");
    let by_id = revocation(KeyTarget::Id(new.key.id), None);
    keys.revoke(&by_id).await.expect_err("no record");
    stores.sql(&rename(&renamed, audit)).await.expect("renamed");
    assert_eq!(stores.load().await, before);
    assert_eq!(records(&stores.address, &[]).len(), 1);
    revoke(stores, KeyTarget::Id(new.key.id)).await;
    assert_eq!(records(&stores.address, &[]).len(), 2);
}

async fn records_cannot_be_changed_and_only_old_ones_can_be_deleted_on_purpose(stores: &Stores) {
    let now = Timestamp::now();
    let [old, limit, new] = [-30, -20, -10].map(|seconds| after(now, seconds));
    let appended = stores
        .first
        .audit
        .append_records(&[old, limit, new].map(record_of_a_list))
        .await;
    appended.expect("appended");

    let [audit, prunings] = stores.audit_tables();
    let refused = async |sql: &str| {
        let error = stores.sql(sql).await.expect_err(sql);
        assert!(error.contains("is append-only"), "{error}");
    };
    refused(&format!("UPDATE {audit} SET caller = 'another'")).await;
    refused(&format!("DELETE FROM {audit}")).await;
    match &stores.cluster {
        None => refused("INSERT OR REPLACE INTO audit SELECT * FROM audit").await,
        Some(_) => refused(&format!("TRUNCATE {audit}, {prunings}")).await,
    }
    let prune = |limit: Timestamp| match &stores.cluster {
        None => format!(
            "INSERT INTO {prunings} (before) VALUES ({})",
            limit.as_micros()
        ),
        Some(_) => {
            let time = humantime::format_rfc3339_micros(limit.to_system_time());
            format!("INSERT INTO {prunings} (before) VALUES ('{time}')")
        }
    };
    let to_come = stores.sql(&prune(after(now, 3600))).await;
    assert!(to_come.expect_err("a mistake").contains("before_is_past"));
    stores.sql(&prune(limit)).await.expect("on purpose");
    refused(&format!("DELETE FROM {audit}")).await;
    refused(&format!("UPDATE {audit} SET calls = 7")).await;
    assert_eq!(records(&stores.address, &[]).len(), 3);
    let old_ones = format!("DELETE FROM {audit} WHERE time < (SELECT max(before) FROM {prunings})");
    stores.sql(&old_ones).await.expect("deleted");
    assert_eq!(records(&stores.address, &[]).len(), 2);
    refused(&format!("UPDATE {prunings} SET before = before")).await;
    refused(&format!("DELETE FROM {prunings}")).await;
    if stores.cluster.is_none() {
        refused("INSERT OR REPLACE INTO audit_prunings SELECT * FROM audit_prunings").await;
    }
}
