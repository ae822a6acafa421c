//! Whether a database is in the file that it was made in, or was copied there, as by a restore.
//!
//! Owns the rows `origin` and `store_identity`.
//! Promises that a database is never taken for its own copy because it was mounted elsewhere, or because its file system
//! does not keep the numbers of files. A snapshot of a whole file system is not recognised.

use super::{
    audit,
    copies::contents,
    errors::cannot_open,
    file, histories,
    inspect::{self, ADVICE},
    opening::{self, Opening},
    reading::Reading,
    schema::MIGRATIONS,
    untrusted_file,
};
use crate::{
    model::{
        audit_record::{AuditRecord, MethodName, Outcome},
        caller_name::{CallerName, REPLAY},
        time::Timestamp,
    },
    store::{OpenError, RestoredStore, migrations},
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, config::DbConfig, params};
use std::{os::unix::fs::MetadataExt, path::Path};
use uuid::Uuid;

/// The migration that makes the table. It takes a file of before for its own.
pub(super) const SINCE: i32 = 15;

/// What a file system says of a file, and of no other one. It does not change in the file's life. The number of the
/// device does, when it is mounted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity {
    inode: Option<i64>,
    birth_nanos: Option<i64>,
}

impl FileIdentity {
    /// What cannot be learned is not known.
    fn at(path: &Path) -> Self {
        let inode = path.metadata().ok().map(|found| found.ino().cast_signed());
        Self {
            inode: inode.filter(|_| keeps_inodes(path)),
            birth_nanos: birth_nanos(path),
        }
    }

    /// Whether both may be the same file. What is not known of one says nothing: a newer system may know more.
    fn fits(self, other: Self) -> bool {
        let fits = |one: Option<i64>, other: Option<i64>| {
            one.zip(other).is_none_or(|(one, other)| one == other)
        };
        fits(self.inode, other.inode) && fits(self.birth_nanos, other.birth_nanos)
    }
}

/// Since when there is the file. A number of a file that was deleted is given to another one.
#[cfg(target_os = "linux")]
fn birth_nanos(path: &Path) -> Option<i64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BTIME).ok()?;
    let is_known = StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME);
    let birth = found.stx_btime;
    let nanos = birth.tv_sec.checked_mul(1_000_000_000);
    nanos
        .filter(|_| is_known)?
        .checked_add(birth.tv_nsec.into())
}

#[cfg(not(target_os = "linux"))]
fn birth_nanos(path: &Path) -> Option<i64> {
    let birth = path.metadata().ok()?.created().ok()?;
    let since = birth.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// Whether a file has the same number the next time that its file system is mounted.
#[cfg(target_os = "linux")]
fn keeps_inodes(path: &Path) -> bool {
    let Ok(system) = rustix::fs::statfs(path) else {
        return false;
    };
    // FUSE, FAT, exFAT, 9P. Some file systems give 32 bits with a sign.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let makes_them_up = matches!(
        system.f_type as u32,
        0x6573_5546 | 0x4d44 | 0x2011_bab0 | 0x0102_1997
    );
    !makes_them_up
}

#[cfg(not(target_os = "linux"))]
fn keeps_inodes(_: &Path) -> bool {
    true
}

/// What is known of a database, if it is a copy that nobody has accepted in this file. Changes nothing. Refuses one of
/// a newer release, which nobody is to accept for nothing.
pub(super) fn look(path: &Path) -> Result<Option<RestoredStore>, OpenError> {
    if let Some(schema) = look_with(path, |connection, _, _| version(connection))? {
        migrations::pending(MIGRATIONS, schema)?;
    }
    look_with(path, find).map(Option::flatten)
}

/// What a look at the database gives, or none if there is no database.
fn look_with<T>(
    path: &Path,
    look: impl FnOnce(&Connection, &Path, bool) -> rusqlite::Result<T>,
) -> Result<Option<T>, OpenError> {
    let Some(connection) = inspect::reader(path)? else {
        return Ok(None);
    };
    let has_log = inspect::has_log(path).map_err(|error| cannot_open(path, error, ADVICE))?;
    let looked = look(&connection, path, has_log);
    looked
        .map(Some)
        .map_err(|error| cannot_open(path, error, ADVICE))
}

/// What is known of the database at a path, if nobody has accepted it there. A service may run on it. Blocks.
pub fn find_restored(path: &Path) -> Result<Option<RestoredStore>, OpenError> {
    read(path, |_| Ok(None))
}

/// The same, with how many keys it has, which takes long if they are many. Blocks.
pub fn describe_restored(path: &Path) -> Result<Option<RestoredStore>, OpenError> {
    read(path, |connection| Ok(Some(contents(connection)?.keys)))
}

fn read(
    path: &Path,
    count: impl FnOnce(&Connection) -> rusqlite::Result<Option<u64>>,
) -> Result<Option<RestoredStore>, OpenError> {
    let reading = Reading::begin(path)?;
    migrations::pending(MIGRATIONS, reading.schema())?;
    let has_log = inspect::has_log(reading.path()).map_err(|error| reading.failed(error))?;
    let found = find(reading.connection(), reading.path(), has_log).and_then(|found| {
        let Some(found) = found else { return Ok(None) };
        let keys = count(reading.connection())?;
        Ok(Some(RestoredStore { keys, ..found }))
    });
    let found = found.map_err(|error| reading.failed(error))?;
    reading.end()?;
    Ok(found)
}

/// Accepts it. Does nothing if it is accepted already. Blocks.
pub fn accept_restore(path: &Path) -> Result<(), OpenError> {
    let given = std::path::absolute(path).map_err(|error| cannot_open(path, error, ADVICE))?;
    let path = given
        .canonicalize()
        .map_err(|error| cannot_open(path, error, ADVICE))?;
    // Dropped last: closing a handle would release SQLite's own locks.
    let _lock = file::lock(&path)?;
    file::refuse_planted(&given, &path)?;
    file::refuse_other_owners(&path)?;
    // Refuses a log that belongs to another database.
    inspect::find(&path)?;
    if look_with(&path, is_copy)? != Some(true) {
        return Ok(());
    }
    let has_log = inspect::has_log(&path).map_err(|error| cannot_open(&path, error, ADVICE))?;
    write_acceptance(&path, has_log).map_err(|error| cannot_open(&path, error, ADVICE))
}

fn write_acceptance(path: &Path, has_log: bool) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    untrusted_file::distrust(&connection)?;
    if has_log {
        // The next start must find it, as that of a process that was killed.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    } else {
        // So that there is none if this process is killed, which would fit no copy.
        connection.pragma_update(None, "journal_mode", "delete")?;
    }
    connection.pragma_update(None, "synchronous", "full")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    mark(&transaction, path)?;
    // The migration that makes the table begins a history too.
    if version(&transaction)? >= histories::SINCE {
        histories::begin(&transaction, None)?;
    }
    if !has_log && Opening::read(&transaction)?.is_some_and(|opening| opening.is_copy_by_sqlite()) {
        opening::accept_copy(&transaction)?;
    }
    audit::append(
        &transaction,
        &AuditRecord {
            time: Timestamp::now(),
            caller: CallerName::service(),
            method: MethodName::accept_restore(),
            account_id: None,
            key_id: None,
            domain: None,
            include_subdomains: None,
            key_end: None,
            revision: None,
            outcome: Outcome::OK,
            calls: 1,
        },
    )?;
    transaction.commit()
}

fn find(
    connection: &Connection,
    path: &Path,
    has_log: bool,
) -> rusqlite::Result<Option<RestoredStore>> {
    if !is_copy(connection, path, has_log)? {
        return Ok(None);
    }
    let histories = match version(connection)? {
        ..histories::SINCE => Vec::new(),
        _ => histories::histories(connection)?,
    };
    Ok(Some(RestoredStore {
        store: format!("sqlite:{}", path.display()),
        store_id: store_id(connection)?,
        keys: None,
        last_write: last_original_write(connection)?,
        replayed_until: histories.last().and_then(|last| last.replayed_until),
    }))
}

/// Whether nobody has accepted the database in this file.
fn is_copy(connection: &Connection, path: &Path, has_log: bool) -> rusqlite::Result<bool> {
    if version(connection)? < SINCE {
        return Ok(false);
    }
    let marked = "SELECT inode, birth_nanos FROM origin";
    let marked = connection.query_row(marked, [], |row| {
        Ok(FileIdentity {
            inode: row.get(0)?,
            birth_nanos: row.get(1)?,
        })
    });
    let is_marked = marked
        .optional()?
        .is_some_and(|marked| marked.fits(FileIdentity::at(path)));
    // SQLite's own tools copy the row, and may have put it into the same file.
    let copied_by_sqlite =
        !has_log && Opening::read(connection)?.is_some_and(|opening| opening.is_copy_by_sqlite());
    Ok(!is_marked || copied_by_sqlite)
}

/// When the last write was that no replay has made. What a replay writes again was lost before, so it says nothing of
/// how far the restored rows reach. A replay gives its write and the record of it the same time.
fn last_original_write(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let last = format!(
        "SELECT write_time FROM writes w WHERE NOT EXISTS ( \
             SELECT 1 FROM audit a WHERE a.time = w.write_time AND a.revision = w.revision \
                 AND substr(a.caller, 1, {}) = ?1) \
         ORDER BY revision DESC LIMIT 1",
        REPLAY.len()
    );
    let last = connection.query_row(&last, [REPLAY], |row| row.get(0));
    Ok(last.optional()?.map(Timestamp::nearest_to_micros))
}

/// Says that the database belongs to this file.
pub(super) fn mark(connection: &Connection, path: &Path) -> rusqlite::Result<()> {
    let identity = FileIdentity::at(path);
    let sql = "INSERT INTO origin VALUES (1, ?1, ?2) \
               ON CONFLICT DO UPDATE SET inode = excluded.inode, birth_nanos = excluded.birth_nanos";
    connection.execute(sql, params![identity.inode, identity.birth_nanos])?;
    Ok(())
}

/// Says that the database belongs to no file, in a copy that is complete. It may be put into the file of the original.
pub(super) fn clear(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    untrusted_file::distrust(&connection)?;
    // The copy is worth nothing if this process is killed: no file need stand beside it meanwhile.
    connection.pragma_update(None, "journal_mode", "memory")?;
    if version(&connection)? >= SINCE {
        unmark(&connection)?;
    }
    Ok(())
}

/// What tells the store from every other one, in whatever file it is. None of an earlier release.
pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<Option<Uuid>> {
    if version(connection)? < SINCE {
        return Ok(None);
    }
    let id = "SELECT store_id FROM store_identity";
    let id: Option<[u8; 16]> = connection.query_row(id, [], |row| row.get(0)).optional()?;
    Ok(id.map(Uuid::from_bytes))
}

/// Says that the database belongs to no file.
pub(super) fn unmark(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM origin", []).map(drop)
}

fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
