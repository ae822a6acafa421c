//! The rights that a role needs on the tables: what `keyservice grants` prints, and what a start checks.
//!
//! Promises the least: without one of these rights, a service of this release or of the one before does not
//! work.

use std::fmt;

/// What a table or a view lets a role do.
#[derive(Debug, Clone, Copy)]
pub struct TableRights {
    /// The table's name, without its schema.
    pub table: &'static str,
    /// Of which there is at least one.
    pub rights: &'static [Right],
}

/// A right on a whole table, or on some of its columns.
#[derive(Debug, Clone, Copy)]
pub struct Right {
    /// `SELECT`, `INSERT`, `UPDATE` or `DELETE`.
    pub privilege: &'static str,
    /// None for the whole table.
    pub columns: &'static [&'static str],
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.columns {
            [] => f.write_str(self.privilege),
            columns => write!(f, "{} ({})", self.privilege, columns.join(", ")),
        }
    }
}

const SELECT: Right = on_the_table("SELECT");
const INSERT: Right = on_the_table("INSERT");

/// The rights of `keyservice serve`. The columns for UPDATE are those that change in a row's life. A
/// key's digest does not. That keeps mistakes from it, and no thief of the role, who may delete the row and
/// insert another.
pub const SERVICE: &[TableRights] = &[
    on("migrations", &[on_columns("SELECT", &["number"])]),
    on("digest_key", &[SELECT]),
    on("store_identity", &[SELECT]),
    on("histories", &[SELECT, INSERT]),
    on("origin", &[SELECT, on_columns("UPDATE", &["written_by"])]),
    on(
        "keys",
        &[
            SELECT,
            INSERT,
            on_columns(
                "UPDATE",
                &[
                    "name",
                    "domain",
                    "labels",
                    "expire_time",
                    "revoke_time",
                    "revoke_reason",
                    "suspend_reason",
                    "suspend_time",
                    "successor",
                    "version",
                    "revision",
                ],
            ),
            on_the_table("DELETE"),
        ],
    ),
    // A trigger writes to it, with the rights of its owner.
    on("key_labels", &[SELECT]),
    on(
        "history_start",
        &[SELECT, on_columns("UPDATE", &["revision"])],
    ),
    on(
        "accounts",
        &[
            SELECT,
            INSERT,
            on_columns("UPDATE", &["suspend_reason", "suspend_time", "revision"]),
        ],
    ),
    on("first_change", &[SELECT, INSERT]),
    on(
        "key_uses",
        &[
            SELECT,
            INSERT,
            on_columns("UPDATE", &["last_used_time"]),
            on_the_table("DELETE"),
        ],
    ),
    on(
        "domains",
        &[
            SELECT,
            INSERT,
            on_columns(
                "UPDATE",
                &[
                    "include_subdomains",
                    "verify_time",
                    "remove_time",
                    "revision",
                ],
            ),
        ],
    ),
    on("writes", &[SELECT, INSERT, on_the_table("DELETE")]),
    on("feed", &[SELECT]),
    // Replicas of earlier releases read these. Without them, grants that are run again during an upgrade
    // would take their leases.
    on("states", &[SELECT]),
    on("changes", &[SELECT]),
    on(
        "replicas",
        &[
            SELECT,
            INSERT,
            on_columns(
                "UPDATE",
                &["applied_revision", "renewals", "lease_millis", "renew_time"],
            ),
            on_the_table("DELETE"),
        ],
    ),
    // For the lock. The table has no rows.
    on("writers_lock", &[on_the_table("UPDATE")]),
    on("audit", &[INSERT]),
];

/// The rights of `keyservice audit`, in a schema of its own.
pub const AUDIT: &[TableRights] = &[on("migrations", &[SELECT]), on("records", &[SELECT])];

const fn on(table: &'static str, rights: &'static [Right]) -> TableRights {
    TableRights { table, rights }
}

const fn on_the_table(privilege: &'static str) -> Right {
    on_columns(privilege, &[])
}

const fn on_columns(privilege: &'static str, columns: &'static [&'static str]) -> Right {
    Right { privilege, columns }
}

/// A name for use in SQL, whatever letters it has, in ASCII alone: what follows a quote must not depend on
/// the encoding in which the statement is sent.
#[must_use]
pub fn quoted(name: &str) -> String {
    let name = name.replace('"', "\"\"");
    if name.is_ascii() {
        return format!("\"{name}\"");
    }
    let escape = |letter: char| match letter {
        '\\' => "\\\\".to_owned(),
        ascii if ascii.is_ascii() => ascii.to_string(),
        other => format!("\\+{:06x}", u32::from(other)),
    };
    format!("U&\"{}\"", name.chars().map(escape).collect::<String>())
}
