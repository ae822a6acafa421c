//! The server and the database's own properties.

use super::{
    Unfit,
    room::{Limit, Limited},
    unfit,
};
use crate::store::postgres::{migrate::MigrateError, rights::quoted};
use std::collections::HashMap;
use tokio_postgres::{Client, Error, Row};

/// As in `server_version_num`.
const OLDEST_VERSION: u32 = 130_000;

/// What a server says of itself and of this session.
#[derive(Debug, Clone, Default)]
struct Facts {
    settings: HashMap<String, String>,
    is_standby: bool,
    has_plpgsql: bool,
    /// The role that the session runs as.
    role: String,
    database: String,
    limits: Vec<Limit>,
}

const SETTINGS: [&str; 13] = [
    "autovacuum",
    "fsync",
    "full_page_writes",
    "max_connections",
    "reserved_connections",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_replication_role",
    "superuser_reserved_connections",
    "synchronous_commit",
    "synchronous_standby_names",
    "transaction_read_only",
];

/// Not from the view `pg_settings`, which everybody may lock.
const READ_SETTINGS: &str = "
    SELECT s.name, pg_catalog.current_setting(s.name, true) AS setting
    FROM pg_catalog.unnest($1::pg_catalog.text[]) s (name)
    WHERE pg_catalog.current_setting(s.name, true) IS NOT NULL";

/// The server counts a connection for the role that it was opened as, whatever `SET ROLE` says. Its
/// limits on roles and databases do not hold for superusers.
const READ_REST: &str = "
    SELECT pg_catalog.pg_is_in_recovery() AS is_standby,
        EXISTS (SELECT FROM pg_catalog.pg_language WHERE lanname OPERATOR(pg_catalog.=) 'plpgsql')
            AS has_plpgsql,
        CURRENT_USER::pg_catalog.text AS role,
        r.rolname::pg_catalog.text AS session_role,
        d.datname::pg_catalog.text AS database,
        r.rolsuper AS is_superuser,
        r.rolconnlimit AS role_limit,
        d.datconnlimit AS database_limit,
        (SELECT pg_catalog.count(*) FROM others o WHERE o.usesysid OPERATOR(pg_catalog.=) r.oid) AS of_role,
        (SELECT pg_catalog.count(*) FROM others o WHERE o.datid OPERATOR(pg_catalog.=) d.oid) AS in_database,
        (SELECT pg_catalog.count(*) FROM others) AS of_all
    FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
    WHERE r.rolname OPERATOR(pg_catalog.=) SESSION_USER
      AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

const OTHERS: &str = "
    WITH others AS (
        SELECT a.usesysid, a.datid FROM pg_catalog.pg_stat_activity a
        WHERE a.backend_type OPERATOR(pg_catalog.=) 'client backend'
          AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid())";

/// Refuses a server that this service cannot use, and warns of what may hurt. `connections` is how
/// many this replica may open.
pub(in crate::store::postgres) async fn check(
    client: &Client,
    connections: i64,
) -> Result<(), MigrateError> {
    let mut facts = Facts {
        settings: client
            .query(READ_SETTINGS, &[&SETTINGS.as_slice()])
            .await?
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, Error>>()?,
        ..Facts::default()
    };
    // Older catalogs may lack what comes next.
    if let Some(unfit) = too_old(&facts) {
        return Err(unfit.into());
    }
    let rest = format!("{OTHERS} {READ_REST}");
    read_rest(&mut facts, &client.query_one(&rest, &[]).await?)?;
    if let Some(unfit) = refusal(&facts) {
        return Err(unfit.into());
    }
    for warning in warnings(&facts, connections) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

fn read_rest(facts: &mut Facts, row: &Row) -> Result<(), Error> {
    facts.is_standby = row.try_get("is_standby")?;
    facts.has_plpgsql = row.try_get("has_plpgsql")?;
    facts.role = row.try_get("role")?;
    facts.database = row.try_get("database")?;
    let is_superuser: bool = row.try_get("is_superuser")?;
    let reserved = if is_superuser {
        0
    } else {
        facts.number("superuser_reserved_connections") + facts.number("reserved_connections")
    };
    facts.limits.push(Limit {
        on: Limited::Server,
        allowed: facts.number("max_connections") - reserved,
        used: row.try_get("of_all")?,
    });
    let session_role = row.try_get("session_role")?;
    let limits: [(i32, Limited, &str); 2] = [
        (
            row.try_get("role_limit")?,
            Limited::Role(session_role),
            "of_role",
        ),
        (
            row.try_get("database_limit")?,
            Limited::Database(facts.database.clone()),
            "in_database",
        ),
    ];
    for (allowed, on, used) in limits {
        // A negative limit is none.
        if allowed >= 0 && !is_superuser {
            facts.limits.push(Limit {
                on,
                allowed: allowed.into(),
                used: row.try_get(used)?,
            });
        }
    }
    Ok(())
}

impl Facts {
    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> i64 {
        self.setting(name).parse().unwrap_or(0)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.setting(name) == value
    }
}

fn too_old(facts: &Facts) -> Option<Unfit> {
    let is_too_old = facts.number("server_version_num") < OLDEST_VERSION.into();
    is_too_old.then(|| {
        unfit(
            format!(
                "the server is PostgreSQL {}, and this service needs version 13 or later",
                facts.setting("server_version")
            ),
            "upgrade the server, or name another one",
        )
    })
}

fn refusal(facts: &Facts) -> Option<Unfit> {
    let role = quoted(&facts.role);
    if !facts.is("server_encoding", "UTF8") {
        return Some(unfit(
            format!(
                "the database {} has the encoding {}, and names of keys are any Unicode text",
                facts.database,
                facts.setting("server_encoding")
            ),
            "create a database with CREATE DATABASE … ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0, \
             and name that one in --store",
        ));
    }
    if facts.is_standby {
        return Some(unfit(
            "the server is a standby, which takes no writes",
            "name the primary, or name all servers and add ?target_session_attrs=read-write to the \
             address; if this one is about to be promoted, start again afterwards",
        ));
    }
    if facts.is("transaction_read_only", "on") {
        return Some(unfit(
            "transactions are read-only (default_transaction_read_only) for this role, in this \
             database or on this server",
            format!(
                "if nothing speaks against writes: ALTER ROLE {role} IN DATABASE {} \
                 SET default_transaction_read_only = off",
                quoted(&facts.database)
            ),
        ));
    }
    if facts.is("session_replication_role", "replica") {
        return Some(unfit(
            "session_replication_role is replica, so the server neither checks foreign keys nor \
             keeps the audit records from being changed",
            format!(
                "set it to origin where it is set: for the server, the database or the role {role}"
            ),
        ));
    }
    if !facts.has_plpgsql {
        return Some(unfit(
            format!("the database {} lacks the language plpgsql", facts.database),
            "as its owner: CREATE EXTENSION plpgsql",
        ));
    }
    None
}

fn warnings(facts: &Facts, connections: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    for setting in ["fsync", "full_page_writes"] {
        if facts.is(setting, "off") {
            warnings.push(format!(
                "PostgreSQL runs with {setting}=off: acknowledged writes may be lost in a crash of its \
                 machine; set it to on"
            ));
        }
    }
    if facts.is("synchronous_commit", "local") && !facts.is("synchronous_standby_names", "") {
        warnings.push(
            "commits do not wait for the synchronous standbys (synchronous_commit=local): \
             acknowledged writes may be lost in a failover; set it to on"
                .to_owned(),
        );
    }
    if facts.is("autovacuum", "off") {
        warnings.push(
            "PostgreSQL runs with autovacuum=off: nothing cleans up after the renewals of leases, \
             and writes become slower and slower; set it to on"
                .to_owned(),
        );
    }
    let tight = facts.limits.iter();
    warnings.extend(tight.filter_map(|limit| limit.complaint(connections)));
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server on which nothing is wrong, but for these settings.
    fn server_with(settings: &[(&str, &str)]) -> Facts {
        let right = [
            ("server_version_num", "130000"),
            ("server_version", "13.0"),
            ("server_encoding", "UTF8"),
            ("transaction_read_only", "off"),
            ("session_replication_role", "origin"),
            ("fsync", "on"),
            ("full_page_writes", "on"),
            ("autovacuum", "on"),
            ("synchronous_commit", "on"),
            ("synchronous_standby_names", ""),
        ];
        let all = right.iter().chain(settings);
        Facts {
            settings: all
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
            has_plpgsql: true,
            role: "kate".to_owned(),
            database: "keys".to_owned(),
            ..Facts::default()
        }
    }

    #[test]
    fn what_would_make_calls_fail_is_refused_with_what_to_do() {
        let with = |name, value| server_with(&[(name, value)]);
        let standby = Facts {
            is_standby: true,
            ..server_with(&[("transaction_read_only", "on")])
        };
        let bare = Facts {
            has_plpgsql: false,
            ..server_with(&[])
        };
        let refused = [
            (
                with("server_encoding", "LATIN1"),
                "LATIN1",
                "ENCODING 'UTF8'",
            ),
            (
                with("server_encoding", "SQL_ASCII"),
                "SQL_ASCII",
                "ENCODING 'UTF8'",
            ),
            (standby, "a standby", "target_session_attrs=read-write"),
            (
                with("transaction_read_only", "on"),
                "default_transaction_read_only",
                "ALTER ROLE \"kate\" IN DATABASE \"keys\"",
            ),
            (
                with("session_replication_role", "replica"),
                "session_replication_role",
                "origin",
            ),
            (bare, "plpgsql", "CREATE EXTENSION plpgsql"),
        ];
        for (facts, problem, remedy) in refused {
            let unfit = refusal(&facts).expect(problem);
            assert!(unfit.problem.contains(problem), "{unfit:?}");
            assert!(unfit.remedy.contains(remedy), "{unfit:?}");
        }
        let old = server_with(&[
            ("server_version_num", "120022"),
            ("server_version", "12.22"),
        ]);
        assert!(too_old(&old).expect("too old").problem.contains("12.22"));
        for fine in ["130000", "150018", "180004"] {
            let facts = server_with(&[("server_version_num", fine)]);
            assert_eq!((too_old(&facts), refusal(&facts)), (None, None));
            assert_eq!(warnings(&facts, 11), Vec::<String>::new());
        }
    }

    #[test]
    fn what_may_lose_or_slow_down_writes_is_a_warning() {
        let standbys = ("synchronous_standby_names", "ANY 1 (a, b)");
        let warned: [(&[_], &str); 4] = [
            (&[("fsync", "off")], "fsync=off"),
            (&[("full_page_writes", "off")], "full_page_writes=off"),
            (&[("autovacuum", "off")], "autovacuum=off"),
            (
                &[("synchronous_commit", "local"), standbys],
                "synchronous_commit=local",
            ),
        ];
        for (settings, part) in warned {
            let said = warnings(&server_with(settings), 11);
            assert!(said.len() == 1 && said[0].contains(part), "{said:?}");
        }
        // Without a standby it is the same as `on`. Each session replaces `off`.
        for value in ["local", "off", "remote_apply"] {
            let facts = server_with(&[("synchronous_commit", value)]);
            assert_eq!(warnings(&facts, 11), Vec::<String>::new());
        }
    }
}
