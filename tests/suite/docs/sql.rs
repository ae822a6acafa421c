//! The SQL that the pages and alerts tell people to run: often as superusers, in databases where others may
//! create objects.

use crate::support::{
    postgres::{
        Cluster, Version, database_in,
        planted::{TRACE, plant_in_public},
        roles::{create_role_without_rights, role_in},
    },
    stores::use_everything,
};
use std::{fs, path::Path};

/// What may use a function, an operator or a cast. Statements such as `GRANT` use none.
const QUERIES: [&str; 7] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "CALL", "DO $$",
];

/// With this, names mean PostgreSQL's own objects.
const OWN_NAMES: &str = "SET search_path = pg_catalog, pg_temp;";

#[test]
fn what_people_are_to_run_names_objects_of_postgresql_alone() {
    let found = sql_for_people();
    assert!(found.len() >= 4, "{found:#?}");
    for sql in found {
        assert!(sql.trim_start().starts_with(OWN_NAMES), "{sql}");
    }
}

/// In releases before 15, every role may plant objects by default.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_planted_runs_when_people_run_the_sql_of_the_pages() {
    let cluster = Cluster::start_version(Version::Oldest);
    let store = cluster.create_database();
    let database = database_in(&store);
    use_everything(&store).await.expect("migrated");
    cluster.psql(database, "CREATE ROLE keyservice_service");
    let hostile = create_role_without_rights("hostile", &cluster, &store);
    plant_in_public(&cluster, &hostile);
    // It fits better than PostgreSQL's own where a literal has no type.
    cluster.psql_at(
        &hostile,
        &format!(
            "CREATE FUNCTION public.pg_has_role(name, text, text) RETURNS boolean LANGUAGE plpgsql \
             AS $$ BEGIN RAISE LOG '{TRACE}'; RETURN false; END $$"
        ),
    );
    for sql in sql_for_people() {
        // The command's own statements need other roles, and have a test of their own.
        if !sql.contains("GRANT ") {
            cluster.psql(database, &sql);
            assert!(!cluster.log().contains(TRACE), "{sql}");
        }
    }
    let careless = format!(
        "SELECT pg_has_role(r.rolname, '{}', 'MEMBER') FROM pg_roles r",
        role_in(&hostile)
    );
    cluster.psql(database, &careless);
    assert!(cluster.log().contains(TRACE));
}

/// All SQL with a query in it: blocks, and what stands in a line of its own or an alert.
fn sql_for_people() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = vec![fs::read_to_string(root.join("README.md")).expect("read")];
    for folder in ["docs", "deploy"] {
        collect(&root.join(folder), &mut texts);
    }
    let mut found = Vec::new();
    for text in texts {
        let mut outside = String::new();
        for (index, part) in text.split("```").enumerate() {
            match part.split_once('\n') {
                _ if index % 2 == 0 => outside.push_str(part),
                Some(("sql", sql)) => found.push(sql.to_owned()),
                Some((_, other)) => found.extend(heredocs(other)),
                None => {}
            }
        }
        for code in outside.split('`').skip(1).step_by(2) {
            found.push(code.to_owned());
        }
        found.extend(in_alerts(&outside));
    }
    found.retain(|sql| {
        let mut statements = sql.split(';').map(str::trim_start);
        statements.any(|statement| {
            let starts = |query: &str| statement.starts_with(&format!("{query} "));
            QUERIES.iter().any(|query| starts(query))
        })
    });
    found
}

/// What a block of commands gives to `psql`.
fn heredocs(block: &str) -> Vec<String> {
    let commands = block
        .split("<<'END'\n")
        .zip(block.split("<<'END'\n").skip(1));
    let for_psql = commands.filter(|(before, _)| {
        let command = before.lines().last().unwrap_or_default();
        command.contains("psql")
    });
    for_psql
        .filter_map(|(_, rest)| Some(rest.split_once("\nEND\n")?.0.to_owned()))
        .collect()
}

/// What stands in the prose of an alert, folded into one line.
fn in_alerts(text: &str) -> Vec<String> {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for (at, _) in folded.match_indices(": SELECT ") {
        found.push(folded[at + 2..].to_owned());
    }
    for (at, _) in folded.match_indices(": SET search_path") {
        let sql = &folded[at + 2..];
        let end = sql.rfind("; ").expect("it ends");
        let ends: Vec<_> = sql[..=end].match_indices(';').map(|(end, _)| end).collect();
        found.push(sql[..=ends[1]].to_owned());
    }
    found
}

fn collect(folder: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, texts);
        } else {
            texts.extend(fs::read_to_string(&path).ok());
        }
    }
}
