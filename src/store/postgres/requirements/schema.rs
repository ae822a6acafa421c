//! What the schema `keyservice` holds, and what this role may do with it.

use super::{Unfit, unfit};
use crate::store::postgres::{
    migrate::MigrateError,
    rights::{self, quoted},
};
use tokio_postgres::{Client, Error, GenericClient, Row};

/// Something about the schema that is not as the migrations and `keyservice grants` leave it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    kind: Kind,
    /// The table or function, without its schema.
    object: String,
    /// The right, the rule or the trigger.
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The role lacks this right.
    Lacks,
    /// Row-level security hides rows from the role.
    Hidden,
    /// A crash of the server empties the table.
    Unlogged,
    /// A rule or a trigger that runs before a write can change the write, or swallow it.
    Rewritten,
    /// A trigger that runs after a write can make it fail or slow, but cannot change it.
    Followed,
}

impl Kind {
    const ALL: [(&'static str, Self); 5] = [
        ("lacks", Self::Lacks),
        ("hidden", Self::Hidden),
        ("unlogged", Self::Unlogged),
        ("rewritten", Self::Rewritten),
        ("followed", Self::Followed),
    ];
}

/// How many of the rights that a role lacks one error names. A role of another task lacks some hundred.
const SHOWN: usize = 3;

/// Looks at catalogs alone, which every role may read. Whether a role has a right on a column that does
/// not exist is null: a migration may still create it, and `parts` sees whether it is missing.
///
/// Of a trigger's type, bit 1 (2) says that it runs before the write.
const FINDINGS: &str = "
    WITH schema AS (
        SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice'),
    relations AS (
        SELECT c.oid, c.relname::pg_catalog.text AS name, c.relkind AS kind, c.relpersistence AS persistence
        FROM pg_catalog.pg_class c JOIN schema s ON c.relnamespace OPERATOR(pg_catalog.=) s.oid
        WHERE c.relkind OPERATOR(pg_catalog.<>) 'i' AND c.relkind OPERATOR(pg_catalog.<>) 'c'),
    needed AS (
        SELECT n.name, n.privilege, n.attribute, r.oid, a.attnum
        FROM ROWS FROM (
            pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]),
            pg_catalog.unnest($3::pg_catalog.text[])) n (name, privilege, attribute)
        LEFT JOIN relations r ON r.name OPERATOR(pg_catalog.=) n.name
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) r.oid
            AND a.attname OPERATOR(pg_catalog.=) n.attribute AND NOT a.attisdropped)
    SELECT 'lacks' AS kind, '' AS object, 'USAGE' AS detail
    FROM schema s WHERE NOT pg_catalog.has_schema_privilege(s.oid, 'USAGE')
    UNION ALL
    SELECT 'lacks', n.name, CASE WHEN n.attribute IS NULL THEN n.privilege
        ELSE pg_catalog.concat(n.privilege, ' (', n.attribute, ')') END
    FROM needed n
    WHERE n.oid IS NOT NULL AND NOT CASE
        WHEN n.attribute IS NULL THEN pg_catalog.has_table_privilege(n.oid, n.privilege)
        ELSE pg_catalog.has_column_privilege(n.oid, n.attnum, n.privilege) END
    UNION ALL
    SELECT 'lacks', pg_catalog.concat(p.proname, '()'), 'EXECUTE'
    FROM pg_catalog.pg_proc p JOIN schema s ON p.pronamespace OPERATOR(pg_catalog.=) s.oid
    WHERE p.prorettype OPERATOR(pg_catalog.<>) 'pg_catalog.trigger'::pg_catalog.regtype::pg_catalog.oid
      AND NOT pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    UNION ALL
    SELECT 'hidden', r.name, '' FROM relations r
    WHERE r.kind OPERATOR(pg_catalog.=) 'r' AND pg_catalog.row_security_active(r.oid)
    UNION ALL
    SELECT 'unlogged', r.name, '' FROM relations r
    WHERE r.kind OPERATOR(pg_catalog.=) 'r' AND r.persistence OPERATOR(pg_catalog.=) 'u'
    UNION ALL
    SELECT 'rewritten', r.name, pg_catalog.concat('the rule ', w.rulename)
    FROM relations r JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) r.oid
    WHERE w.rulename OPERATOR(pg_catalog.<>) '_RETURN'
    UNION ALL
    SELECT CASE WHEN t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 2 OPERATOR(pg_catalog.=) 2
        THEN 'rewritten' ELSE 'followed' END, r.name, pg_catalog.concat('the trigger ', t.tgname)
    FROM relations r JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) r.oid
    JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    WHERE NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D'
      AND NOT (p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (
              '{lock_writers, refuse_change, refuse_other_revision, refuse_old_revisions, refuse_wrong_key, refuse_empty_writes, refuse_unwritten_revision, refuse_many_replicas, refuse_older_replica, index_labels, refuse_early_delete, refuse_wrong_start, bound_write_time}'::pg_catalog.text[])
          AND p.pronamespace OPERATOR(pg_catalog.=) (SELECT s.oid FROM schema s))
    ORDER BY 1, 2, 3";

/// What a start has found of the schema.
pub(in crate::store::postgres) struct Schema {
    findings: Vec<Finding>,
    role: String,
    database: String,
}

pub(in crate::store::postgres) async fn look(client: &Client) -> Result<Schema, Error> {
    let (mut tables, mut privileges, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for of_table in rights::SERVICE {
        for right in of_table.rights {
            let each_column = right.columns.iter().copied().map(Some);
            let whole_table = right.columns.is_empty().then_some(None);
            for column in each_column.chain(whole_table) {
                tables.push(of_table.table);
                privileges.push(right.privilege);
                columns.push(column);
            }
        }
    }
    let names =
        "SELECT CURRENT_USER::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text";
    let names = client.query_one(names, &[]).await?;
    let rows = client
        .query(FINDINGS, &[&tables, &privileges, &columns])
        .await?;
    Ok(Schema {
        findings: rows.iter().map(finding).collect::<Result<_, _>>()?,
        role: names.try_get(0)?,
        database: names.try_get(1)?,
    })
}

fn finding(row: &Row) -> Result<Finding, Error> {
    let name: &str = row.try_get("kind")?;
    let kind = Kind::ALL.iter().find(|(known, _)| *known == name);
    Ok(Finding {
        kind: kind.expect("the statement names no other").1,
        object: row.try_get("object")?,
        detail: row.try_get("detail")?,
    })
}

impl Schema {
    /// Refuses what this role cannot work with, and warns of what may hurt. Tables that a migration may
    /// still create are not missed.
    pub(in crate::store::postgres) fn check(&self) -> Result<(), Unfit> {
        for found in self.all(Kind::Followed) {
            tracing::warn!(
                "{} runs after each write to keyservice.{}: if it fails or is slow, so are calls",
                found.detail,
                found.object
            );
        }
        let role = quoted(&self.role);
        if let Some(found) = self.all(Kind::Rewritten).next() {
            let Finding { object, detail, .. } = found;
            return Err(unfit(
                format!(
                    "{detail} on keyservice.{object} can change or drop what this service writes"
                ),
                "drop it: nothing but the migrations may change these tables",
            ));
        }
        if let Some(Finding { object, .. }) = self.all(Kind::Unlogged).next() {
            return Err(unfit(
                format!(
                    "the table keyservice.{object} is unlogged: a crash of the server empties it"
                ),
                format!("ALTER TABLE keyservice.{object} SET LOGGED"),
            ));
        }
        if let Some(Finding { object, .. }) = self.all(Kind::Hidden).next() {
            return Err(unfit(
                format!(
                    "row-level security hides rows of keyservice.{object} from the role {}",
                    self.role
                ),
                format!(
                    "ALTER TABLE keyservice.{object} DISABLE ROW LEVEL SECURITY, or ALTER ROLE {role} \
                     BYPASSRLS"
                ),
            ));
        }
        let mut lacking: Vec<_> = self.all(Kind::Lacks).map(Finding::right).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let more = lacking.len().saturating_sub(SHOWN);
        lacking.truncate(SHOWN);
        if more > 0 {
            lacking.push(format!("and {more} more"));
        }
        let execute = if self.all(Kind::Lacks).any(|found| found.detail == "EXECUTE") {
            format!("; then GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA keyservice TO {role}")
        } else {
            String::new()
        };
        Err(unfit(
            format!("the role {} lacks {}", self.role, lacking.join(", ")),
            format!(
                "as the owner of the database, run in psql what `keyservice grants --role {} \
                 --for service --database {}` prints{execute}",
                self.role, self.database
            ),
        ))
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |found| found.kind == kind)
    }
}

impl Finding {
    /// The right that is lacking, and on what.
    fn right(&self) -> String {
        match self.object.as_str() {
            "" => format!("{} on the schema keyservice", self.detail),
            object => format!("{} on keyservice.{object}", self.detail),
        }
    }
}

/// Whether the role may act as the owner of the tables and become it, if they exist. Before PostgreSQL 16, every member
/// of a role may become it. Whether that owner, or without one the role, may
/// create the schemas that are missing. Who owns the tables, and whether the same role owns all functions.
const MAY_MIGRATE: &str = "
    SELECT CURRENT_USER::pg_catalog.text, pg_catalog.current_database()::pg_catalog.text,
        pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text,
        CASE WHEN c.oid IS NOT NULL THEN pg_catalog.pg_has_role(c.relowner, 'USAGE')
                AND pg_catalog.pg_has_role(c.relowner, CASE
                    WHEN pg_catalog.current_setting('server_version_num')::pg_catalog.int4 OPERATOR(pg_catalog.>=) 160000
                    THEN 'SET' ELSE 'MEMBER' END)
            WHEN n.oid IS NOT NULL THEN pg_catalog.has_schema_privilege(n.oid, 'CREATE, USAGE')
            ELSE true END,
        EXISTS (SELECT FROM pg_catalog.pg_namespace a WHERE a.nspname OPERATOR(pg_catalog.=) 'keyservice_audit')
            OR pg_catalog.has_database_privilege(
                coalesce(c.relowner, (SELECT r.oid FROM pg_catalog.pg_roles r
                    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER)),
                pg_catalog.current_database()::pg_catalog.text, 'CREATE'),
        NOT EXISTS (SELECT FROM pg_catalog.pg_proc p
            JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) p.pronamespace
            WHERE s.nspname OPERATOR(pg_catalog.=) ANY ('{keyservice, keyservice_audit}'::pg_catalog.name[])
                AND p.proowner OPERATOR(pg_catalog.<>) c.relowner)
    FROM (SELECT) one_row
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) 'keyservice'
    LEFT JOIN pg_catalog.pg_class c
        ON c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relname OPERATOR(pg_catalog.=) 'migrations'";

/// Refuses a role that may not migrate the database. Gives the role to migrate as, if that is another one.
pub(in crate::store::postgres) async fn check_may_migrate(
    client: &impl GenericClient,
) -> Result<Option<String>, MigrateError> {
    let row = client.query_one(MAY_MIGRATE, &[]).await?;
    let (may_change, may_create): (bool, bool) = (row.try_get(3)?, row.try_get(4)?);
    let (role, database): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let owner: Option<String> = row.try_get(2)?;
    if may_change && may_create {
        // A release before this one may have migrated as a member of the owner. Then the member alone may replace what
        // it has made.
        let has_all: bool = row.try_get(5)?;
        return Ok(owner.filter(|owner| has_all && *owner != role));
    }
    Err(match owner {
        Some(owner) if !may_change => unfit(
            format!(
                "this release migrates the tables, and the role {role} may not become their owner, {owner}"
            ),
            format!("start this release once with an address for the role {owner}"),
        ),
        _ => unfit(
            format!(
                "this release creates the schemas keyservice and keyservice_audit, and the role {role} \
                 may not create one in the database {database}"
            ),
            format!(
                "start it once with an address for the owner of the database, or GRANT CREATE ON DATABASE \
                 {} TO {}",
                quoted(&database),
                quoted(&role)
            ),
        ),
    }
    .into())
}
