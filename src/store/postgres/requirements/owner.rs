//! The rights of the tables' owner on its own tables, as which triggers and functions of the schema work.
//!
//! An owner has them all, until somebody revokes them from it. Then some calls fail, and others do not.

use super::{Unfit, unfit};
use crate::store::postgres::rights::quoted;
use tokio_postgres::{Client, Error};

/// How many of the rights that an owner lacks one error names.
const SHOWN: usize = 3;

/// Looks at catalogs alone, which every role may read. Finds nothing before the tables are made.
const LACKING: &str = "
    WITH tables AS (
        SELECT c.oid, c.relname::pg_catalog.text AS name, c.relowner AS owner, n.oid AS schema
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' AND c.relkind OPERATOR(pg_catalog.=) 'r'),
    lacking AS (
        SELECT DISTINCT t.owner, 'USAGE on the schema keyservice' AS lacks FROM tables t
        WHERE NOT pg_catalog.has_schema_privilege(t.owner, t.schema, 'USAGE')
        UNION ALL
        SELECT t.owner, pg_catalog.concat(p.privilege, ' on keyservice.', t.name)
        FROM tables t, pg_catalog.unnest('{SELECT, INSERT, UPDATE, DELETE}'::pg_catalog.text[]) p (privilege)
        WHERE NOT pg_catalog.has_table_privilege(t.owner, t.oid, p.privilege))
    SELECT pg_catalog.pg_get_userbyid(l.owner)::pg_catalog.text, l.lacks,
        CASE WHEN l.owner OPERATOR(pg_catalog.=) d.datdba THEN d.datname::pg_catalog.text END
    FROM lacking l
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    ORDER BY 1, 2";

/// What an owner of tables lacks, and how it gets that back.
pub(in crate::store::postgres) async fn look(client: &Client) -> Result<Option<Unfit>, Error> {
    let rows = client.query(LACKING, &[]).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let (owner, database): (String, Option<String>) = (first.try_get(0)?, first.try_get(2)?);
    let mut lacking = Vec::new();
    for row in &rows {
        if row.try_get::<_, &str>(0)? == owner {
            lacking.push(row.try_get::<_, String>(1)?);
        }
    }
    let more = lacking.len().saturating_sub(SHOWN);
    lacking.truncate(SHOWN);
    if more > 0 {
        lacking.push(format!("and {more} more"));
    }
    let role = quoted(&owner);
    let on_database = database.map_or(String::new(), |name| {
        format!("GRANT ALL ON DATABASE {} TO {role}; ", quoted(&name))
    });
    Ok(Some(unfit(
        format!(
            "the role {owner} owns the tables, and somebody has revoked rights of its own from it, as by granting it \
             the rights of a service: it lacks {}",
            lacking.join(", ")
        ),
        format!(
            "as that role or a superuser, run in psql: {on_database}\
             GRANT ALL ON SCHEMA keyservice, keyservice_audit TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA keyservice, keyservice_audit TO {role}; \
             GRANT ALL ON ALL SEQUENCES IN SCHEMA keyservice, keyservice_audit TO {role}"
        ),
    )))
}
