//! `keyservice grants`: prints the rights that a role needs in a PostgreSQL database.
//!
//! Must never connect to anything.

use super::output::{is_broken_pipe, to_stdout};
use crate::store::postgres::rights::{self, TableRights, quoted};
use clap::{Args, ValueEnum};
use std::{
    fmt::Write as _,
    io::{self, Write},
};

/// For which role the rights are, and what it does.
#[derive(Debug, Args)]
pub(super) struct GrantsCommand {
    /// The role, which must exist, and must not be the owner of the tables, which needs no grants. Its name is quoted
    /// where needed.
    #[arg(long, value_name = "NAME", value_parser = identifier)]
    role: String,

    /// What the role does. `service` runs `keyservice serve` on tables that exist, and cannot change
    /// an audit record. `audit` runs `keyservice audit`, and sees no key.
    #[arg(long = "for", value_name = "TASK")]
    task: Task,

    /// The database that holds the tables. Nobody else may connect to it afterwards, unless you allow
    /// it.
    #[arg(long, value_name = "NAME", default_value = "keyservice", value_parser = identifier)]
    database: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Serving.
    Service,
    /// Reading the audit records.
    Audit,
}

impl GrantsCommand {
    /// Prints to standard output.
    pub(super) fn run(&self) -> io::Result<()> {
        let statements = self.statements();
        to_stdout(
            |output| output.write_all(statements.as_bytes()),
            is_broken_pipe,
        )
    }

    fn statements(&self) -> String {
        let (role, database) = (quoted(&self.role), quoted(&self.database));
        let (schema, tables) = match self.task {
            Task::Service => ("keyservice", rights::SERVICE),
            Task::Audit => ("keyservice_audit", rights::AUDIT),
        };
        let mut statements = format!(
            "SET search_path = pg_catalog, pg_temp;\n\
             BEGIN;\n\
             SET LOCAL lock_timeout = '10s';\n\
             {}\n\
             REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC;\n\
             REVOKE ALL ON DATABASE {database} FROM {role};\n\
             REVOKE ALL ON SCHEMA keyservice, keyservice_audit FROM PUBLIC, {role};\n\
             REVOKE ALL ON ALL TABLES IN SCHEMA keyservice, keyservice_audit FROM PUBLIC, {role};\n\
             REVOKE ALL ON ALL SEQUENCES IN SCHEMA keyservice, keyservice_audit FROM PUBLIC, {role};\n\
             GRANT CONNECT ON DATABASE {database} TO {role};\n\
             GRANT USAGE ON SCHEMA {schema} TO {role};\n",
            refusals(&self.database, &self.role)
        );
        for TableRights { table, rights } in tables {
            let rights: Vec<_> = rights.iter().map(ToString::to_string).collect();
            let rights = rights.join(", ");
            let written = writeln!(statements, "GRANT {rights} ON {schema}.{table} TO {role};");
            written.expect("a string takes everything");
        }
        statements.push_str("COMMIT;\n");
        statements
    }
}

/// Refuses another database, a session that may not grant, and a role that owns what the rights are for. PostgreSQL
/// itself would only warn that a right of everybody stays, and would take the owner's rights.
fn refusals(database: &str, role: &str) -> String {
    let (database, role) = (literal(database), literal(role));
    format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_database d \
         WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
         AND d.datname OPERATOR(pg_catalog.=) {database} \
         AND pg_catalog.pg_has_role(d.datdba, 'MEMBER'::pg_catalog.text)) \
         THEN RAISE 'run this in that database, as its owner'; END IF; \
         IF EXISTS (SELECT FROM pg_catalog.pg_roles r \
         LEFT JOIN pg_catalog.pg_namespace n \
         ON n.nspname OPERATOR(pg_catalog.=) ANY ('{{keyservice, keyservice_audit}}'::pg_catalog.name[]) \
         LEFT JOIN pg_catalog.pg_class c ON c.relnamespace OPERATOR(pg_catalog.=) n.oid \
         JOIN pg_catalog.pg_database d ON d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() \
         WHERE r.rolname OPERATOR(pg_catalog.=) {role} \
         AND (r.oid OPERATOR(pg_catalog.=) d.datdba OR r.oid OPERATOR(pg_catalog.=) n.nspowner \
         OR r.oid OPERATOR(pg_catalog.=) c.relowner)) \
         THEN RAISE 'this role owns the database, its schemas or its tables, and needs no grants: of these statements, \
         run only REVOKE CONNECT, TEMPORARY ON DATABASE % FROM PUBLIC', \
         pg_catalog.quote_ident(pg_catalog.current_database()::pg_catalog.text); END IF; END $$;"
    )
}

/// A name as a text of SQL. A quote would end it, and a dollar could end the body of the DO. So both are escaped.
fn literal(name: &str) -> String {
    let escape = |letter: char| match letter {
        plain if plain.is_ascii_alphanumeric() || plain == '_' => plain.to_string(),
        other => format!("\\+{:06x}", u32::from(other)),
    };
    let escaped: String = name.chars().map(escape).collect();
    let prefix = if escaped == name { "" } else { "U&" };
    format!("{prefix}'{escaped}'")
}

/// Reads the name of a role or a database that PostgreSQL can have. To it, `public` means everybody,
/// in quotes too.
fn identifier(text: &str) -> Result<String, String> {
    // PostgreSQL's NAMEDATALEN, without the final zero. It would cut a longer name off.
    const MAX_LEN: usize = 63;
    if text.is_empty() || text.len() > MAX_LEN {
        Err(format!("must have from 1 to {MAX_LEN} bytes"))
    } else if text.chars().any(char::is_control) {
        Err("must have no control characters".to_owned())
    } else if text.contains("://") {
        Err("must be a name, not an address".to_owned())
    } else if ["public", "none"].contains(&text) || text.starts_with("pg_") {
        Err("is a name that PostgreSQL keeps for itself".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_end_its_quotes_and_mean_another_role() {
        let command = GrantsCommand {
            role: identifier("a\"; DROP TABLE x; --").expect("a name"),
            task: Task::Audit,
            database: identifier("Keys & more").expect("a name"),
        };
        let statements = command.statements();
        let connect = "GRANT CONNECT ON DATABASE \"Keys & more\" TO \"a\"\"; DROP TABLE x; --\";";
        assert!(
            statements.lines().any(|line| line == connect),
            "{statements}"
        );
        let command = GrantsCommand {
            role: identifier("語\\\"").expect("a name"),
            ..command
        };
        // In some encodings of a client, the last byte of a letter is a quote.
        let statements = command.statements();
        assert!(statements.contains(r#"U&"\+008a9e\\""";"#), "{statements}");
        assert!(statements.is_ascii());
        let body = refusals("a'$$; DROP TABLE x; --", "b'$$");
        assert!(
            body.contains(r"U&'a\+000027\+000024\+000024\+00003b\+000020DROP"),
            "{body}"
        );
        assert!(body.contains(r"U&'b\+000027\+000024\+000024'"), "{body}");
        for wrong in ["", "public", "none", "pg_monitor", "a\nb", &"x".repeat(64)] {
            assert!(identifier(wrong).is_err(), "{wrong}");
        }
    }
}
