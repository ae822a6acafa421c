//! The schema is checked part by part at each start: what is missing, disabled or of another kind is named.

use crate::support::{
    postgres::{Cluster, Version, database_in, roles::create_role_for},
    server::{Server, assert_refused, command},
    stores::{try_to_open, use_everything},
};
use std::collections::BTreeSet;

const FOLDER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/store/postgres/requirements/"
);

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_parts_is_what_the_migrations_make() {
    let read = |name| std::fs::read_to_string(format!("{FOLDER}{name}")).expect(name);
    let (listed, look) = (read("parts.txt"), read("parts.sql"));
    let listed: BTreeSet<_> = listed.lines().collect();
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = cluster.create_database();
        use_everything(&store).await.expect("migrated");
        let found = cluster.psql(database_in(&store), &look);
        let found = found
            .lines()
            .map(|line| line.split_once('|').expect("two columns"));
        let mut parts = BTreeSet::new();
        for (part, state) in found {
            assert_eq!(state, "", "{part}");
            // They are listed as indexes of their tables, and as an identity column.
            if !part.starts_with("index ") && !part.starts_with("sequence ") {
                parts.insert(part);
            }
        }
        let differ: Vec<_> = parts.symmetric_difference(&listed).collect();
        assert!(differ.is_empty(), "{version:?}: {differ:#?}");
    }
}

/// What spoils a complete schema, and what the error says.
const SPOILT: &[(&str, &str)] = &[
    (
        "DROP TABLE keyservice.replicas CASCADE",
        "lacks the table replicas, the function look_at_replicas",
    ),
    (
        "DROP VIEW keyservice.changes CASCADE",
        "the view changes; restore the database",
    ),
    (
        "ALTER TABLE keyservice.keys DROP COLUMN name CASCADE",
        "the column keys.name text not null",
    ),
    (
        "ALTER TABLE keyservice.writes ALTER write_id DROP DEFAULT",
        "column writes.write_id uuid not null default",
    ),
    (
        "ALTER TABLE keyservice.audit ALTER number DROP IDENTITY",
        "column audit.number int8 not null identity",
    ),
    (
        "DROP FUNCTION keyservice.remove_domain",
        "lacks the function remove_domain(text, text, timestamptz); restore the database from a backup, or \
         make them again",
    ),
    (
        "DROP FUNCTION keyservice.is_verified; \
         CREATE FUNCTION keyservice.is_verified(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true'",
        "lacks the function is_verified(text, text, _text)",
    ),
    (
        "DROP TRIGGER append_only ON keyservice.audit",
        "lacks the trigger append_only on audit",
    ),
    (
        "DROP FUNCTION keyservice.refuse_many_replicas CASCADE",
        "the trigger few_replicas on replicas",
    ),
    (
        "ALTER TABLE keyservice.keys DISABLE TRIGGER next_revision",
        "disabled or invalid: the trigger next_revision on keys; as the owner of the tables, \
         ALTER TABLE keyservice.keys ENABLE TRIGGER next_revision",
    ),
    (
        "ALTER TABLE keyservice.audit ENABLE REPLICA TRIGGER append_only_as_a_whole",
        "ALTER TABLE keyservice.audit ENABLE TRIGGER append_only_as_a_whole",
    ),
    (
        "ALTER TABLE keyservice.writes DISABLE TRIGGER ALL",
        "the owner of the tables, ALTER TABLE keyservice.writes ENABLE TRIGGER ALL; \
         ALTER TABLE keyservice.writes ENABLE TRIGGER bounded_time",
    ),
    (
        "ALTER TABLE keyservice.keys DROP CONSTRAINT revision_is_a_write",
        "lacks the constraint revision_is_a_write on keys",
    ),
    (
        "ALTER TABLE keyservice.keys DROP CONSTRAINT keys_digest_check",
        "lacks the constraint keys_digest_check on keys",
    ),
    (
        "ALTER TABLE keyservice.keys DROP CONSTRAINT keys_digest_key",
        "lacks the unique index keys_digest_key on keys",
    ),
    (
        "DROP INDEX keyservice.keys_by_request; \
         CREATE INDEX keys_by_request ON keyservice.keys (account_id, request_id)",
        "lacks the unique index keys_by_request on keys",
    ),
    (
        "UPDATE pg_catalog.pg_index SET indisvalid = false \
         WHERE indexrelid = 'keyservice.keys_pkey'::regclass",
        "REINDEX INDEX keyservice.keys_pkey",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_missing_or_disabled_is_named_with_what_to_do() {
    let cluster = Cluster::shared();
    let spoil = Spoil::new(&cluster).await;
    for (sql, said) in SPOILT {
        let refusal = spoil.refusal(sql).await;
        assert!(refusal.contains(said), "{sql}: {refusal}");
    }

    let newest = Cluster::shared_of(Version::Newest);
    let not_enforced = "ALTER TABLE keyservice.writes ALTER CONSTRAINT domain_exists NOT ENFORCED";
    let refusal = Spoil::new(&newest).await.refusal(not_enforced).await;
    let enforce = not_enforced.replace("NOT ENFORCED", "ENFORCED");
    assert!(refusal.contains(&enforce), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_only_makes_calls_quick_is_warned_of() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    cluster.psql(database_in(&store), "DROP INDEX keyservice.keys_by_domain");
    let log = Server::start(&store).await.log();
    let warning = "lacks the plain index keys_by_domain on keys, so calls are slow";
    assert!(log.contains(warning), "{log}");
}

/// What has the name of a table, and what it is.
const OTHERS: &[(&str, &str)] = &[
    ("CREATE VIEW {} AS SELECT 1 AS number", "a view"),
    (
        "CREATE MATERIALIZED VIEW {} AS SELECT 1 AS number",
        "a materialized view",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; \
         CREATE FOREIGN TABLE {} (number integer) SERVER s",
        "a foreign table",
    ),
    (
        "CREATE TABLE {} (number integer) PARTITION BY HASH (number)",
        "a partitioned table",
    ),
    ("CREATE SEQUENCE {}", "a sequence"),
    ("CREATE TYPE {} AS (number integer)", "a composite type"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_the_place_of_a_table_is_named_as_what_it_is() {
    let cluster = Cluster::shared();
    for (create, kind) in OTHERS {
        for table in ["migrations", "keys"] {
            let create = create.replace("{}", &format!("keyservice.{table}"));
            let said = format!("keyservice.{table} is {kind}, in the place of the table");
            let parts = [&*said, "drop or rename it"];

            let store = cluster.create_database();
            cluster.psql(
                database_in(&store),
                &format!("CREATE SCHEMA keyservice; {create}"),
            );
            assert_refused(&mut command(&store), &parts).await;

            let store = cluster.create_database();
            use_everything(&store).await.expect("migrated");
            let service = create_role_for("service", &cluster, &store);
            let rename = format!("ALTER TABLE keyservice.{table} RENAME TO moved");
            // A table's type has its name, in which a composite type is in the way.
            cluster.psql(database_in(&store), &format!("{rename}; {create}"));
            assert_refused(&mut command(&service), &parts).await;
        }
    }
}

/// A database that is spoilt in one way, and then in another.
struct Spoil<'a> {
    cluster: &'a Cluster,
    complete: String,
}

impl<'a> Spoil<'a> {
    async fn new(cluster: &'a Cluster) -> Self {
        let complete = cluster.create_database();
        use_everything(&complete).await.expect("migrated");
        Self { cluster, complete }
    }

    /// Why a copy of the complete database is refused once it is spoilt.
    async fn refusal(&self, sql: &str) -> String {
        let store = self.cluster.create_copy(database_in(&self.complete));
        try_to_open(&store).await.map(drop).expect("complete");
        self.cluster.psql(database_in(&store), sql);
        let opened = try_to_open(&store).await;
        opened.map(drop).expect_err(sql).to_string()
    }
}
