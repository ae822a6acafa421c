//! The row by which a database file and its write-ahead log are known to belong together.
//!
//! SQLite itself does not know: it applies any log of the right name that is well-formed. So each
//! commit writes to the log which opening of which file it belongs to, and how much of the log the
//! file needs. Promises that a log is never applied to a backup that was restored beside it, except
//! one that the file's own last opening has made with a plain copy.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

/// A state of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    id: [u8; 16],
    previous_id: Option<[u8; 16]>,
    is_closed: bool,
    commits: i64,
    checkpointed: i64,
    /// SQLite's own number as of the last commit.
    recorded_schema_version: i64,
    /// The same as it is now.
    schema_version: i64,
}

impl Opening {
    /// Gives `None` for a file that has no such row yet.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let table = "SELECT 1 FROM sqlite_schema WHERE name = 'opening'";
        let table = connection.query_row(table, [], |_| Ok(())).optional()?;
        if table.is_none() {
            return Ok(None);
        }
        let sql = "SELECT opening_id, previous_id, is_closed, commits, checkpointed, \
                   opening.schema_version, now.schema_version \
                   FROM opening, pragma_schema_version now";
        let row = connection.query_row(sql, [], |row| {
            Ok(Self {
                id: row.get(0)?,
                previous_id: row.get(1)?,
                is_closed: row.get(2)?,
                commits: row.get(3)?,
                checkpointed: row.get(4)?,
                recorded_schema_version: row.get(5)?,
                schema_version: row.get(6)?,
            })
        });
        row.optional()
    }

    /// Whether a log belongs to this file, by what the two say together.
    pub(super) fn fits(&self, with_log: &Self) -> bool {
        let is_known = self.id == with_log.id || with_log.previous_id == Some(self.id);
        // What was checkpointed may be missing in the log.
        is_known && !self.is_copy_by_sqlite() && self.commits >= with_log.checkpointed
    }

    /// SQLite's own copies are complete, and need no log.
    pub(super) fn is_copy_by_sqlite(&self) -> bool {
        self.schema_version != self.recorded_schema_version
    }

    /// Whether this file, which has no log, may lack commits that were in one.
    pub(super) fn may_lack_its_log(&self) -> bool {
        !self.is_closed && !self.is_copy_by_sqlite()
    }
}

/// Begins an opening, from which on no earlier copy of the file fits its log.
///
/// The log must be empty, or completely in the file. Gives the number of the commit.
pub(super) fn begin(connection: &mut Connection) -> rusqlite::Result<i64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Copies made by SQLite get a small number, or the next one.
    let schema_version = rand::random_range(1 << 20..1 << 30);
    transaction.pragma_update(None, "schema_version", schema_version)?;
    let commit = transaction.query_row(
        "UPDATE opening SET opening_id = ?1, previous_id = opening_id, is_closed = 0, \
         commits = commits + 1, checkpointed = commits, schema_version = ?2 RETURNING commits",
        params![rand::random::<[u8; 16]>(), schema_version],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(commit)
}

/// Goes on with the opening of a process that was killed, while somebody reads its log.
pub(super) fn resume(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE opening SET is_closed = 0, \
               schema_version = (SELECT now.schema_version FROM pragma_schema_version now)";
    connection.execute(sql, [])?;
    Ok(())
}

/// Counts the commit of this transaction, and gives its number. The file has all commits up to
/// `checkpointed` without its log.
pub(super) fn count_commit(
    transaction: &Transaction<'_>,
    checkpointed: i64,
) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached(
            "UPDATE opening SET commits = commits + 1, checkpointed = max(checkpointed, ?1), \
             schema_version = (SELECT now.schema_version FROM pragma_schema_version now) \
             RETURNING commits",
        )?
        .query_row([checkpointed], |row| row.get(0))
}

/// Says of a copy by SQLite, which is complete, that it is a database of its own from now on.
pub(super) fn accept_copy(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "UPDATE opening SET is_closed = 1, \
               schema_version = (SELECT now.schema_version FROM pragma_schema_version now)";
    transaction.execute(sql, [])?;
    Ok(())
}

/// Says that the file is complete, once this commit is in it.
pub(super) fn end(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE opening SET is_closed = 1, commits = commits + 1",
        [],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_fits_the_file_of_its_own_opening_and_no_backup() {
        let file = Opening {
            id: [2; 16],
            previous_id: Some([1; 16]),
            is_closed: false,
            commits: 100,
            checkpointed: 90,
            recorded_schema_version: 7000,
            schema_version: 7000,
        };
        let with_log = Opening {
            commits: 120,
            checkpointed: 100,
            ..file.clone()
        };
        let changed = |change: fn(&mut Opening)| {
            let mut opening = file.clone();
            change(&mut opening);
            opening
        };
        for (fits, what, file) in [
            (true, "the file itself", changed(|_| ())),
            (
                true,
                "more of the log in the file",
                changed(|file| file.commits = 110),
            ),
            (
                true,
                "before its first checkpoint",
                changed(|file| file.id = [1; 16]),
            ),
            (
                false,
                "a copy from before the checkpoint",
                changed(|file| file.commits = 99),
            ),
            (
                false,
                "a copy from an earlier opening",
                changed(|file| file.id = [0; 16]),
            ),
            (false, "another database", changed(|file| file.id = [9; 16])),
            (false, ".backup", changed(|file| file.schema_version = 1)),
            (
                false,
                "VACUUM INTO",
                changed(|file| file.schema_version = 7001),
            ),
        ] {
            assert_eq!(file.fits(&with_log), fits, "{what}");
        }
    }
}
