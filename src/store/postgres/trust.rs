//! Who owns what this service runs in a database: only roles that it must trust anyway.
//!
//! Promises that a start fails if somebody else owns the schema, an object in it, or code that runs
//! with it. Must never run anything of what it looks at.

use super::{migrate::MigrateError, rights::quoted};
use tokio_postgres::{Client, GenericClient};

/// Something in the schema, or used by it, belongs to a role that has no business there.
#[derive(Debug, thiserror::Error)]
#[error("{object} belongs to the role {owner}, which could change what this service does")]
pub(super) struct Untrusted {
    object: String,
    owner: String,
}

/// What to do about it.
pub(super) const ADVICE: &str = "if you trust that role, make it the owner of the database; if not, \
                                 find out what it has changed, and use another database";

/// Trusted are this role, superusers and the owner of the database. That this role is a member of another one
/// says nothing: whoever administers that one may have given the membership, so that it is trusted.
///
/// Objects are what others could change: relations, types, functions, operators, collations, and the
/// functions and operators that constraints, defaults, triggers and views use.
const UNTRUSTED: &str = "
    WITH found AS (
        SELECT n.oid AS schema, n.nspname AS name, n.nspowner AS owner
        FROM pg_catalog.pg_namespace n
        WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' OR n.nspname OPERATOR(pg_catalog.=) 'keyservice_audit'),
    objects AS (
        SELECT schema, owner, pg_catalog.concat('the schema ', name) AS object FROM found
        UNION ALL
        SELECT schema, c.relowner, pg_catalog.concat('the relation ', name, '.', c.relname)
        FROM found JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT schema, p.proowner, pg_catalog.concat('the function ', name, '.', p.proname)
        FROM found JOIN pg_catalog.pg_proc p ON p.pronamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT schema, t.typowner, pg_catalog.concat('the type ', name, '.', t.typname)
        FROM found JOIN pg_catalog.pg_type t ON t.typnamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT schema, o.oprowner, pg_catalog.concat('the operator ', name, '.', o.oprname)
        FROM found JOIN pg_catalog.pg_operator o ON o.oprnamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT schema, c.collowner, pg_catalog.concat('the collation ', name, '.', c.collname)
        FROM found JOIN pg_catalog.pg_collation c ON c.collnamespace OPERATOR(pg_catalog.=) schema),
    users AS (
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS catalog, c.oid
        FROM found JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, c.oid
        FROM found JOIN pg_catalog.pg_constraint c ON c.connamespace OPERATOR(pg_catalog.=) schema
        UNION ALL
        SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid
        FROM found JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) schema
        JOIN pg_catalog.pg_attrdef d ON d.adrelid OPERATOR(pg_catalog.=) c.oid
        UNION ALL
        SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid
        FROM found JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) schema
        JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) c.oid
        UNION ALL
        SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid
        FROM found JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) schema
        JOIN pg_catalog.pg_rewrite r ON r.ev_class OPERATOR(pg_catalog.=) c.oid),
    used AS (
        SELECT d.refclassid, d.refobjid
        FROM users u JOIN pg_catalog.pg_depend d
        ON d.classid OPERATOR(pg_catalog.=) u.catalog::pg_catalog.oid
        AND d.objid OPERATOR(pg_catalog.=) u.oid),
    owned AS (
        SELECT owner, object FROM objects
        UNION ALL
        SELECT p.proowner, pg_catalog.concat('the function ', p.oid::pg_catalog.regprocedure)
        FROM used JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) refobjid
        WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
        UNION ALL
        SELECT o.oprowner, pg_catalog.concat('the operator ', o.oid::pg_catalog.regoperator)
        FROM used JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) refobjid
        WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid)
    SELECT owned.object::pg_catalog.text, r.rolname::pg_catalog.text
    FROM owned JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) owned.owner
    JOIN pg_catalog.pg_roles me ON me.rolname OPERATOR(pg_catalog.=) CURRENT_USER
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    WHERE NOT r.rolsuper
      AND r.oid OPERATOR(pg_catalog.<>) me.oid
      AND r.oid OPERATOR(pg_catalog.<>) d.datdba
      AND r.rolname OPERATOR(pg_catalog.<>) 'pg_database_owner'
    LIMIT 1";

/// Who but this role may create objects in a schema whose objects may be found by name. In `public`, only every role
/// counts.
const WRITABLE: &str = "
    SELECT n.nspname::pg_catalog.text,
        CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN NULL
            ELSE pg_catalog.pg_get_userbyid(a.grantee) END::pg_catalog.text
    FROM pg_catalog.pg_namespace n,
        pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) a
    WHERE (n.nspname OPERATOR(pg_catalog.=) 'public' AND a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
            OR n.nspname OPERATOR(pg_catalog.=) 'keyservice' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
                AND pg_catalog.pg_get_userbyid(a.grantee) OPERATOR(pg_catalog.<>) CURRENT_USER)
      AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'";

/// What every role may do with the schemas and what is in them, and who but the owner may change audit records:
/// `ALTER DEFAULT PRIVILEGES` may have given such rights to what the migrations made.
const RIGHTS_OF_OTHERS: &str = "
    WITH schema AS (
        SELECT n.oid, n.nspname AS name, n.nspacl AS acl FROM pg_catalog.pg_namespace n
        WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' OR n.nspname OPERATOR(pg_catalog.=) 'keyservice_audit'),
    relations AS (
        SELECT c.oid, pg_catalog.concat(s.name, '.', c.relname) AS name, c.relowner AS owner, c.relacl AS acl
        FROM pg_catalog.pg_class c JOIN schema s ON c.relnamespace OPERATOR(pg_catalog.=) s.oid),
    rights AS (
        SELECT s.name, a.grantee, a.privilege_type, false AS is_audit
        FROM schema s, pg_catalog.aclexplode(s.acl) a
        UNION ALL
        SELECT r.name, a.grantee, a.privilege_type,
            a.grantee OPERATOR(pg_catalog.<>) r.owner AND (
                r.name OPERATOR(pg_catalog.=) 'keyservice.audit'
                OR r.name OPERATOR(pg_catalog.=) 'keyservice.audit_prunings')
        FROM relations r, pg_catalog.aclexplode(r.acl) a
        UNION ALL
        SELECT r.name, a.grantee, a.privilege_type, false
        FROM relations r JOIN pg_catalog.pg_attribute t ON t.attrelid OPERATOR(pg_catalog.=) r.oid,
            pg_catalog.aclexplode(t.attacl) a)
    SELECT pg_catalog.min(pg_catalog.concat(privilege_type, ' on ', name)),
        CASE WHEN grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN NULL
            ELSE pg_catalog.pg_get_userbyid(grantee) END::pg_catalog.text
    FROM rights
    WHERE grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
       OR is_audit AND privilege_type OPERATOR(pg_catalog.=) ANY ('{UPDATE, DELETE, TRUNCATE, TRIGGER}'::pg_catalog.text[])
    GROUP BY grantee";

/// Whether every role may connect to the database.
const OPEN_TO_ALL: &str = "
    SELECT d.datname::pg_catalog.text
    FROM pg_catalog.pg_database d,
        pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) a
    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      AND a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid
      AND a.privilege_type OPERATOR(pg_catalog.=) 'CONNECT'
      AND EXISTS (
        SELECT FROM pg_catalog.pg_roles r
        WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname OPERATOR(pg_catalog.<>) SESSION_USER)";

/// The roles that may act as this one.
const MEMBERS: &str = "
    SELECT pg_catalog.string_agg(m.rolname::pg_catalog.text, ', ')
    FROM pg_catalog.pg_auth_members am
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) am.roleid
    JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) am.member
    WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER AND NOT m.rolsuper AND NOT m.rolcreaterole
      AND m.rolname OPERATOR(pg_catalog.<>) SESSION_USER";

/// The settings that this role has beside those of the database and the server. Each role may change its
/// own.
const OWN_SETTINGS: &str = "
    SELECT pg_catalog.string_agg(DISTINCT pg_catalog.split_part(setting, '=', 1), ', ')
    FROM pg_catalog.pg_db_role_setting s
    JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
    JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
    CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) setting
    WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER
      AND (s.setdatabase OPERATOR(pg_catalog.=) d.oid
        OR s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid)";

/// Refuses a schema that others could have put something into, and warns of what others can prepare.
pub(super) async fn check(client: &Client) -> Result<(), MigrateError> {
    if let Some(untrusted) = check_owners(client).await? {
        return Err(untrusted.into());
    }
    for row in client.query(WRITABLE, &[]).await? {
        let schema: String = row.try_get(0)?;
        let (who, grantee) = grantee(row.try_get(1)?);
        tracing::warn!(
            "{who} may create objects in the schema {schema} of the database: \
             REVOKE CREATE ON SCHEMA {schema} FROM {grantee}"
        );
    }
    for row in client.query(RIGHTS_OF_OTHERS, &[]).await? {
        let right: String = row.try_get(0)?;
        let (who, grantee) = grantee(row.try_get(1)?);
        tracing::warn!(
            "{who} has rights in the schemas of this service, {right} among them: as their owner, REVOKE ALL \
             ON ALL TABLES IN SCHEMA keyservice, keyservice_audit FROM {grantee}, and the same ON SCHEMA; if it is the \
             role of the service, give it what it needs again with what keyservice grants prints"
        );
    }
    for row in client.query(OPEN_TO_ALL, &[]).await? {
        let database: String = row.try_get(0)?;
        let database = quoted(&database);
        tracing::warn!(
            "every role of the server may connect to the database, and can hold up what all sessions \
             share: REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"
        );
    }
    let members: Option<String> = client.query_one(MEMBERS, &[]).await?.try_get(0)?;
    if let Some(roles) = members {
        tracing::warn!(
            roles,
            "other roles are members of this service's role and may do all that it may: if you did not \
             grant that, whoever had its password may have, so use a new role"
        );
    }
    let own: Option<String> = client.query_one(OWN_SETTINGS, &[]).await?.try_get(0)?;
    if let Some(settings) = own {
        tracing::warn!(
            settings,
            "this role has settings of its own in pg_db_role_setting, which whoever had its password \
             could have made: if they are not yours, ALTER ROLE … RESET them"
        );
    }
    Ok(())
}

/// Who it is, and how SQL names it.
fn grantee(role: Option<String>) -> (String, String) {
    match role {
        None => ("every role".to_owned(), "PUBLIC".to_owned()),
        Some(role) => (format!("the role {role}"), quoted(&role)),
    }
}

/// Finds something that belongs to a role that has no business there. Whoever uses the schema must ask
/// first: what is found may run code with the rights of whoever uses it.
pub(super) async fn check_owners(
    client: &impl GenericClient,
) -> Result<Option<Untrusted>, tokio_postgres::Error> {
    let row = client.query_opt(UNTRUSTED, &[]).await?;
    row.map(|row| {
        let (object, owner) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Untrusted { object, owner })
    })
    .transpose()
}
