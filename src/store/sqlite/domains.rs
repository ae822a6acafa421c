//! The statements of the SQLite store on verified domains.
//!
//! Must never be called on an async thread (see `worker`).

use super::{
    audit,
    rows::{DOMAIN_COLUMNS, position, verified_domain},
    statements::{Subject, next_revision, record_write},
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditRecord, Outcome},
        caller_name::CallerName,
        domain::Domain,
        time::Timestamp,
        verified_domain::VerifiedDomain,
    },
    store::{
        ActiveKeys, AddedDomain, COUNT_LEN, Committed, DomainAddition, DomainQuery, DomainRemoval,
        LISTED_COUNT_LEN, ListedDomain, RemovedDomain, Revision,
    },
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(super) fn add(
    transaction: &Transaction<'_>,
    addition: &DomainAddition,
) -> rusqlite::Result<Committed<AddedDomain>> {
    let (account_id, name) = (&addition.account_id, &addition.domain);
    let is_shared = transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM domains \
             WHERE domain = ?2 AND account_id <> ?1 AND remove_time IS NULL)",
        )?
        .query_row(params![account_id.as_str(), name.as_str()], |row| {
            row.get(0)
        })?;
    let held = find(transaction, account_id, name)?.filter(|held| {
        !held.is_removed && held.domain.include_subdomains == addition.include_subdomains
    });
    let is_done = held.is_some();
    let (domain, revision) = match held {
        Some(held) => (held.domain, held.revision),
        None => put(transaction, addition)?,
    };
    let record = AuditRecord {
        include_subdomains: Some(addition.include_subdomains),
        key_end: None,
        revision: Some(revision.number()),
        ..record(
            AdminMethod::AddDomain,
            addition.now,
            &addition.caller,
            (account_id, name),
        )
    };
    audit::append(transaction, &record)?;
    let added = AddedDomain { domain, is_shared };
    Ok(Committed::new(added, position(revision)).by_earlier_write(is_done))
}

fn put(
    transaction: &Transaction<'_>,
    addition: &DomainAddition,
) -> rusqlite::Result<(VerifiedDomain, Revision)> {
    let revision = next_revision(transaction)?;
    let domain = transaction
        .prepare_cached(&format!(
            "INSERT INTO domains \
                 (account_id, domain, include_subdomains, create_time, verify_time, revision) \
             VALUES (?1, ?2, ?3, ?4, ?4, ?5) \
             ON CONFLICT (account_id, domain) DO UPDATE \
             SET include_subdomains = excluded.include_subdomains, \
                 verify_time = iif(remove_time IS NULL, verify_time, excluded.verify_time), \
                 remove_time = NULL, revision = excluded.revision \
             RETURNING {DOMAIN_COLUMNS}"
        ))?
        .query_row(
            params![
                addition.account_id.as_str(),
                addition.domain.as_str(),
                addition.include_subdomains,
                addition.now.as_micros(),
                revision.number(),
            ],
            verified_domain,
        )?;
    let subject = Subject::Domain(&addition.account_id, &addition.domain);
    record_write(transaction, revision, addition.now, &subject)?;
    Ok((domain, revision))
}

pub(super) fn remove(
    transaction: &Transaction<'_>,
    removal: &DomainRemoval,
) -> rusqlite::Result<Option<Committed<RemovedDomain>>> {
    let Some(held) = find(transaction, &removal.account_id, &removal.domain)? else {
        return Ok(None);
    };
    let revision = if held.is_removed {
        held.revision
    } else {
        change(transaction, removal, "remove_time = ?3")?
    };
    record_removal(transaction, AdminMethod::RemoveDomain, removal, revision)?;
    let (account_id, name) = (&removal.account_id, &removal.domain);
    let removed = RemovedDomain {
        still_verified_by: verifying_parent(transaction, account_id, name)?,
    };
    let committed = Committed::new(removed, position(revision));
    Ok(Some(committed.by_earlier_write(held.is_removed)))
}

/// On record as the call by which an admin would do it.
pub(super) fn remove_subdomains(
    transaction: &Transaction<'_>,
    removal: &DomainRemoval,
) -> rusqlite::Result<Option<Committed<()>>> {
    let held = find(transaction, &removal.account_id, &removal.domain)?;
    if !held.is_some_and(|held| !held.is_removed && held.domain.include_subdomains) {
        return Ok(None);
    }
    let revision = change(transaction, removal, "include_subdomains = 0")?;
    record_removal(transaction, AdminMethod::AddDomain, removal, revision)?;
    Ok(Some(Committed::new((), position(revision))))
}

/// Makes a write that changes a domain. `?3` is its time.
fn change(
    transaction: &Transaction<'_>,
    removal: &DomainRemoval,
    set: &str,
) -> rusqlite::Result<Revision> {
    let (account_id, name) = (&removal.account_id, &removal.domain);
    let revision = next_revision(transaction)?;
    transaction
        .prepare_cached(&format!(
            "UPDATE domains SET {set}, revision = ?4 WHERE account_id = ?1 AND domain = ?2"
        ))?
        .execute(params![
            account_id.as_str(),
            name.as_str(),
            removal.now.as_micros(),
            revision.number(),
        ])?;
    let subject = Subject::Domain(account_id, name);
    record_write(transaction, revision, removal.now, &subject)?;
    Ok(revision)
}

fn record_removal(
    transaction: &Transaction<'_>,
    method: AdminMethod,
    removal: &DomainRemoval,
    revision: Revision,
) -> rusqlite::Result<()> {
    let (now, caller) = (removal.now, &removal.caller);
    let subject = (&removal.account_id, &removal.domain);
    let record = AuditRecord {
        include_subdomains: (method == AdminMethod::AddDomain).then_some(false),
        key_end: None,
        revision: Some(revision.number()),
        ..record(method, now, caller, subject)
    };
    audit::append(transaction, &record)
}

/// A domain of an account that has it, or had it.
struct Held {
    domain: VerifiedDomain,
    is_removed: bool,
    revision: Revision,
}

fn find(
    connection: &Connection,
    account_id: &AccountId,
    name: &Domain,
) -> rusqlite::Result<Option<Held>> {
    connection
        .prepare_cached(&format!(
            "SELECT {DOMAIN_COLUMNS}, remove_time IS NOT NULL AS is_removed, revision FROM domains \
             WHERE account_id = ?1 AND domain = ?2"
        ))?
        .query_row(params![account_id.as_str(), name.as_str()], |row| {
            Ok(Held {
                domain: verified_domain(row)?,
                is_removed: row.get("is_removed")?,
                revision: Revision::from_number(row.get("revision")?),
            })
        })
        .optional()
}

/// Whether a domain is verified for an account: by itself, or by one of the names above it.
pub(super) fn is_verified(
    connection: &Connection,
    account_id: &AccountId,
    name: &Domain,
) -> rusqlite::Result<bool> {
    let held = find(connection, account_id, name)?;
    Ok(held.is_some_and(|held| !held.is_removed)
        || verifying_parent(connection, account_id, name)?.is_some())
}

/// The nearest domain above this one that verifies it for an account.
fn verifying_parent(
    connection: &Connection,
    account_id: &AccountId,
    name: &Domain,
) -> rusqlite::Result<Option<Domain>> {
    for parent in name.parents() {
        let parent = Domain::from_stored(parent.to_owned());
        let held = find(connection, account_id, &parent)?;
        if held.is_some_and(|held| !held.is_removed && held.domain.include_subdomains) {
            return Ok(Some(parent));
        }
    }
    Ok(None)
}

pub(super) fn list(
    connection: &Connection,
    query: &DomainQuery,
) -> rusqlite::Result<Vec<ListedDomain>> {
    let (account_id, now) = (&query.account_id, query.now);
    connection
        .prepare_cached(&format!(
            "SELECT {DOMAIN_COLUMNS} FROM domains \
             WHERE account_id = ?1 AND domain > coalesce(?2, '') AND remove_time IS NULL \
             ORDER BY domain LIMIT ?3"
        ))?
        .query_map(
            params![
                account_id.as_str(),
                query.after.as_ref().map(Domain::as_str),
                i64::try_from(query.limit).unwrap_or(i64::MAX),
            ],
            |row| {
                let domain = verified_domain(row)?;
                let (name, len) = (&domain.domain, LISTED_COUNT_LEN);
                let active_keys = count_among_newest(connection, account_id, name, now, len)?;
                Ok(ListedDomain {
                    domain,
                    active_keys,
                })
            },
        )?
        .collect()
}

pub(super) fn count_active_keys(
    connection: &Connection,
    account_id: &AccountId,
    name: &Domain,
    now: Timestamp,
) -> rusqlite::Result<ActiveKeys> {
    count_among_newest(connection, account_id, name, now, COUNT_LEN)
}

/// The index has the keys of a domain in this order, so no more are read than are counted.
fn count_among_newest(
    connection: &Connection,
    account_id: &AccountId,
    name: &Domain,
    now: Timestamp,
    len: usize,
) -> rusqlite::Result<ActiveKeys> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER ( \
                 WHERE revoke_time IS NULL AND suspend_time IS NULL \
                   AND (expire_time IS NULL OR expire_time > ?3)), count(*) \
             FROM (SELECT revoke_time, suspend_time, expire_time FROM keys INDEXED BY keys_by_domain \
                   WHERE account_id = ?1 AND domain = ?2 \
                   ORDER BY create_revision DESC LIMIT ?4 + 1)",
        )?
        .query_row(
            params![
                account_id.as_str(),
                name.as_str(),
                now.as_micros(),
                i64::try_from(len).unwrap_or(i64::MAX - 1),
            ],
            |row| {
                let counts = [row.get::<_, i64>(0)?, row.get(1)?];
                let [active, looked_at] = counts.map(i64::unsigned_abs);
                Ok(ActiveKeys::among(active, looked_at, len))
            },
        )
}

/// The record of a call that was carried out.
fn record(
    method: AdminMethod,
    time: Timestamp,
    caller: &CallerName,
    (account_id, domain): (&AccountId, &Domain),
) -> AuditRecord {
    AuditRecord {
        time,
        caller: caller.clone(),
        method: method.into(),
        account_id: Some(account_id.clone()),
        key_id: None,
        domain: Some(domain.clone()),
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: Outcome::OK,
        calls: 1,
    }
}
