//! The statements of the SQLite store that find many given keys, and revoke many.
//!
//! Must never be called on an async thread (see `worker`).

use super::{
    audit,
    key_changes::by_id_or_digest,
    rows::{position, uuid},
    statements::{Subject, current_revision, json_array, next_revision, record_write},
};
use crate::{
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditRecord, Outcome},
        domain::Domain,
        key::{KeyId, filter::KeyFilter},
    },
    store::{BatchRevocation, Committed, Revision, Selected, Selection},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

pub(super) fn select(connection: &Connection, selection: &Selection) -> rusqlite::Result<Selected> {
    let accounts = selection.accounts().listed();
    let accounts = accounts.as_deref().map(json_array);
    let mut statement = connection.prepare_cached(
        "SELECT key_id, revoke_time IS NOT NULL FROM keys WHERE (key_id = ?1 OR digest = ?2) \
         AND (?3 IS NULL OR account_id IN (SELECT value FROM json_each(?3)))",
    )?;
    let found = selection.targets().iter().map(|target| {
        let (key_id, digest) = by_id_or_digest(target);
        let found = statement
            .query_row(params![key_id, digest, accounts], |row| {
                Ok((KeyId::from_uuid(uuid(row, 0)?), row.get(1)?))
            })
            .optional()?;
        Ok(found.map_or((None, false), |(id, is_revoked)| (Some(id), is_revoked)))
    });
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Selected::of_given(selection, &found))
}

pub(super) fn revoke(
    transaction: &Transaction<'_>,
    batch: &BatchRevocation,
) -> rusqlite::Result<Committed<u64>> {
    let mut revoked = 0;
    let mut update = transaction.prepare_cached(
        "UPDATE keys SET revoke_time = ?1, revoke_reason = ?2, version = version + 1, revision = ?3 \
         WHERE key_id = ?4 AND revoke_time IS NULL RETURNING account_id, domain",
    )?;
    for id in &batch.key_ids {
        let revision = next_revision(transaction)?;
        let key = update
            .query_row(
                params![
                    batch.now.as_micros(),
                    batch.reason.as_str(),
                    revision.number(),
                    id.as_uuid().as_bytes()
                ],
                |row| {
                    let domain: Option<String> = row.get(1)?;
                    Ok((
                        AccountId::from_stored(row.get(0)?),
                        domain.map(Domain::from_stored),
                    ))
                },
            )
            .optional()?;
        let Some((account_id, domain)) = key else {
            continue;
        };
        revoked += 1;
        record_write(transaction, revision, batch.now, &Subject::Key(*id))?;
        audit::append(
            transaction,
            &record(batch, Some(revision), Some(account_id), Some(*id), domain),
        )?;
    }
    let KeyFilter {
        account_id, domain, ..
    } = batch.filter.clone();
    // Whoever waits for the last write waits for all earlier ones too.
    let last = current_revision(transaction)?;
    // Without a key, the last write is somebody else's.
    let own = (revoked > 0).then_some(last);
    audit::append(transaction, &record(batch, own, account_id, None, domain))?;
    Ok(Committed::new(revoked, position(last)).by_earlier_write(revoked == 0))
}

fn record(
    batch: &BatchRevocation,
    revision: Option<Revision>,
    account_id: Option<AccountId>,
    key_id: Option<KeyId>,
    domain: Option<Domain>,
) -> AuditRecord {
    AuditRecord {
        time: batch.now,
        caller: batch.caller.clone(),
        method: AdminMethod::BatchRevoke.into(),
        account_id,
        key_id,
        domain,
        include_subdomains: None,
        key_end: None,
        outcome: Outcome::OK,
        revision: revision.map(Revision::number),
        calls: 1,
    }
}
