//! The statements of the SQLite store that let keys and writes go.
//!
//! No other process follows this store, and this one loads everything when it starts. So the history need
//! not start anywhere: what this process has applied may go.
//!
//! What a wrong clock has written is not believed: a write is old only if all before it are. And nothing goes by a
//! clock that has jumped.
//!
//! Must never be called on an async thread (see `worker`).

use super::rows::uuid;
use crate::{
    model::{
        key::KeyId,
        time::{ClockLook, Timestamp},
    },
    store::{Agreed, Forgotten, Old, OldWrites, Revision},
};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::time::Duration;

/// At how many keys or writes one transaction looks, which takes some milliseconds.
const LOOK_LEN: u32 = 1000;

/// A write with a later time than this much after now was made by a clock that was wrong. It makes no other write
/// young.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

pub(super) fn agreed_time(
    transaction: &Transaction<'_>,
    now: Timestamp,
    passed: Duration,
) -> rusqlite::Result<Agreed> {
    let last = transaction
        .query_row("SELECT time, steady FROM clock_look", [], |row| {
            Ok(ClockLook {
                time: Timestamp::nearest_to_micros(row.get(0)?),
                steady: Duration::from_micros(row.get::<_, i64>(1)?.unsigned_abs()),
            })
        })
        .optional()?;
    let look = last.map_or_else(|| ClockLook::first(now), |last| last.next(passed, now));
    let steady = i64::try_from(look.steady.as_micros()).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT OR REPLACE INTO clock_look (only_row, time, steady) VALUES (1, ?1, ?2)",
        params![now.as_micros(), steady],
    )?;
    let left = look.left();
    if left.is_zero() {
        return Ok(Agreed::Time(now));
    }
    let jumped = last.filter(|last| last.has_jumped(passed, now));
    Ok(Agreed::NotYet {
        left,
        jumped_from: jumped.map(|last| last.time),
    })
}

/// Looks at some writes after the given one, up to the first that is young.
pub(super) fn old_after(
    connection: &Connection,
    old: &Old,
    after: Revision,
) -> rusqlite::Result<OldWrites> {
    let mut look = connection.prepare_cached(
        "SELECT revision, write_time BETWEEN ?3 AND ?4 FROM writes \
         WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?5",
    )?;
    let ahead = old.now.saturating_add(AHEAD);
    let mut rows = look.query(params![
        after.number(),
        old.applied.number(),
        old.before.as_micros(),
        ahead.as_micros(),
        LOOK_LEN
    ])?;
    let (mut until, mut len) = (after, 0);
    while let Some(row) = rows.next()? {
        if row.get(1)? {
            return Ok(OldWrites { until, more: false });
        }
        until = Revision::from_number(row.get(0)?);
        len += 1;
    }
    let more = len == LOOK_LEN;
    Ok(OldWrites { until, more })
}

pub(super) fn forget_keys(
    transaction: &Transaction<'_>,
    old: &Old,
    until: Revision,
    after: KeyId,
) -> rusqlite::Result<Forgotten<KeyId>> {
    let mut look = transaction.prepare_cached(
        "SELECT key_id, revision, create_revision, \
             revision <= ?2 AND (coalesce(revoke_time < ?3, 0) OR coalesce(expire_time < ?3, 0)) \
         FROM keys WHERE key_id > ?1 ORDER BY key_id LIMIT ?4",
    )?;
    let mut forget = transaction.prepare_cached("DELETE FROM keys WHERE key_id = ?1")?;
    let mut forget_use = transaction.prepare_cached("DELETE FROM key_uses WHERE key_id = ?1")?;
    let mut forget_writes = transaction.prepare_cached(
        "DELETE FROM writes WHERE revision IN (?1, ?2) AND revision < (SELECT max(revision) FROM writes)",
    )?;
    let after = after.as_uuid();
    let keys = look.query_map(
        params![
            after.as_bytes(),
            until.number(),
            old.before.as_micros(),
            LOOK_LEN
        ],
        |row| {
            let revisions: (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((uuid(row, 0)?, revisions, row.get::<_, bool>(3)?))
        },
    )?;
    let keys: Vec<_> = keys.collect::<rusqlite::Result<_>>()?;
    let mut count = 0;
    for (id, (revision, create_revision), _) in keys.iter().filter(|(_, _, may_go)| *may_go) {
        forget.execute([id.as_bytes()])?;
        forget_use.execute([id.as_bytes()])?;
        forget_writes.execute([revision, create_revision])?;
        count += 1;
    }
    let is_full = keys.len() == LOOK_LEN as usize;
    let last = keys
        .last()
        .filter(|_| is_full)
        .map(|(id, ..)| KeyId::from_uuid(*id));
    Ok(Forgotten { count, last })
}

pub(super) fn forget_writes(
    transaction: &Transaction<'_>,
    old: &Old,
    until: Revision,
    after: Revision,
) -> rusqlite::Result<Forgotten<Revision>> {
    let mut look = transaction.prepare_cached(
        "SELECT revision FROM writes \
         WHERE revision > ?1 AND revision <= ?2 AND revision < (SELECT max(revision) FROM writes) \
         ORDER BY revision LIMIT ?3",
    )?;
    let mut forget = transaction.prepare_cached(
        "DELETE FROM writes WHERE revision = ?1 AND write_time < ?2 \
           AND NOT EXISTS (SELECT 1 FROM keys WHERE revision = ?1) \
           AND NOT EXISTS (SELECT 1 FROM keys WHERE create_revision = ?1) \
           AND NOT EXISTS (SELECT 1 FROM domains WHERE revision = ?1) \
           AND NOT EXISTS (SELECT 1 FROM accounts WHERE revision = ?1)",
    )?;
    let revisions = look.query_map(params![after.number(), until.number(), LOOK_LEN], |row| {
        row.get::<_, i64>(0)
    })?;
    let revisions: Vec<i64> = revisions.collect::<rusqlite::Result<_>>()?;
    let mut count = 0;
    for revision in &revisions {
        count += forget.execute([*revision, old.before.as_micros()])? as u64;
    }
    let is_full = revisions.len() == LOOK_LEN as usize;
    let last = revisions.last().filter(|_| is_full);
    Ok(Forgotten {
        count,
        last: last.map(|revision| Revision::from_number(*revision)),
    })
}

pub(super) fn missing_keys(
    connection: &Connection,
    keys: &[KeyId],
) -> rusqlite::Result<Vec<KeyId>> {
    let mut find = connection.prepare_cached("SELECT 1 FROM keys WHERE key_id = ?1")?;
    let mut missing = Vec::new();
    for id in keys {
        if !find.exists([id.as_uuid().as_bytes()])? {
            missing.push(*id);
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::{
        super::schema::{MIGRATIONS, migrate},
        *,
    };

    /// A service that nobody has used for a while is no sign of a wrong clock.
    #[test]
    fn the_first_look_after_an_upgrade_finds_no_jump_however_old_the_last_write_is() {
        let mut connection = Connection::open_in_memory().expect("opened");
        for migration in MIGRATIONS.iter().filter(|it| it.number <= 12) {
            connection.execute_batch(migration.sql).expect("migrated");
        }
        connection
            .execute_batch(
                "PRAGMA user_version = 12; \
                 INSERT INTO domains VALUES ('acme', 'example.com', 0, 0, 0, NULL, 1); \
                 INSERT INTO writes (revision, write_time, account_id, domain) VALUES (1, 0, 'acme', 'example.com')",
            )
            .expect("written");
        assert!(migrate(&mut connection, std::path::Path::new("keys.db")).is_ok());
        let transaction = connection.transaction().expect("begun");
        let agreed = agreed_time(&transaction, Timestamp::now(), Duration::ZERO);
        let Ok(Agreed::NotYet { jumped_from, .. }) = agreed else {
            panic!("{agreed:?}");
        };
        assert_eq!(jumped_from, None);
    }
}
