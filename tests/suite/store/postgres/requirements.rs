//! What the service needs of a server, a database and its role is checked at each start.

use crate::support::{
    directory, eventually,
    postgres::{
        Cluster, Version, database_in,
        roles::{create_role_for, create_role_without_rights, role_in},
    },
    server::{Server, assert_refused, command},
    stores::{try_to_open, use_everything},
};
use std::{os::unix::fs::PermissionsExt, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf_8_is_refused_and_not_changed() {
    let cluster = Cluster::shared();
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
        let name = format!("in_{}", encoding.to_lowercase());
        let create =
            format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
        cluster.psql("postgres", &create);
        let store = cluster.address_of(&name);
        let parts = [&store, encoding, "ENCODING 'UTF8'"].map(|part| part as &str);
        assert_refused(&mut command(&store), &parts).await;
        let tables = "SELECT count(*) FROM pg_namespace WHERE nspname = 'keyservice'";
        assert_eq!(cluster.psql(&name, tables), "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_until_it_is_promoted() {
    let mut primary = Cluster::start();
    let store = primary.create_database();
    let writer = Server::start(&store).await;
    let (token, _) = writer.client().await.create_key().await;
    let standby = primary.start_standby();
    let on_standby = standby.address_of(database_in(&store));

    let parts = ["is a standby", "target_session_attrs=read-write"];
    assert_refused(&mut command(&on_standby), &parts).await;

    primary.kill();
    standby.promote();
    let replica = Server::start(&on_standby).await;
    let mut client = replica.client().await;
    assert!(client.is_granted(&token).await);
    client.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_would_fail_later_is_refused_with_what_to_do() {
    for version in Version::ALL {
        assert_refused_until_mended(&Cluster::shared_of(version)).await;
    }
}

async fn assert_refused_until_mended(cluster: &Cluster) {
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", cluster, &store);
    let (role, database) = (role_in(&service), database_in(&store));
    let pass = "CREATE FUNCTION keyservice.pass() RETURNS trigger LANGUAGE plpgsql \
                AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER swallow BEFORE INSERT ON keyservice.keys \
                FOR EACH ROW EXECUTE FUNCTION keyservice.pass()";
    // What spoils the database, what mends it, and what the error says.
    let cases = [
        (
            format!("REVOKE USAGE ON SCHEMA keyservice FROM {role}"),
            format!("GRANT USAGE ON SCHEMA keyservice TO {role}"),
            [
                "lacks USAGE on the schema keyservice",
                "keyservice grants --role service",
            ],
        ),
        (
            format!("REVOKE SELECT (number) ON keyservice.migrations FROM {role}"),
            format!("GRANT SELECT (number) ON keyservice.migrations TO {role}"),
            [
                "lacks SELECT (number) on keyservice.migrations",
                "--for service --database test",
            ],
        ),
        (
            format!(
                "REVOKE INSERT ON keyservice.audit FROM {role}; \
                 REVOKE UPDATE (revision) ON keyservice.keys FROM {role}"
            ),
            format!(
                "GRANT INSERT ON keyservice.audit TO {role}; \
                 GRANT UPDATE (revision) ON keyservice.keys TO {role}"
            ),
            [
                "INSERT on keyservice.audit, UPDATE (revision) on keyservice.keys",
                "psql",
            ],
        ),
        (
            format!(
                "REVOKE DELETE ON keyservice.keys, keyservice.key_uses, keyservice.replicas, keyservice.writes, \
                 keyservice.feed FROM {role}"
            ),
            format!(
                "GRANT DELETE ON keyservice.keys, keyservice.key_uses, keyservice.replicas, keyservice.writes TO {role}"
            ),
            [", and 1 more; ", "psql"],
        ),
        (
            "REVOKE EXECUTE ON FUNCTION keyservice.begin_write() FROM PUBLIC".to_owned(),
            "GRANT EXECUTE ON FUNCTION keyservice.begin_write() TO PUBLIC".to_owned(),
            [
                "EXECUTE on keyservice.begin_write()",
                "GRANT EXECUTE ON ALL FUNCTIONS",
            ],
        ),
        (
            "ALTER TABLE keyservice.keys ENABLE ROW LEVEL SECURITY".to_owned(),
            "ALTER TABLE keyservice.keys DISABLE ROW LEVEL SECURITY".to_owned(),
            [
                "hides rows of keyservice.keys",
                "DISABLE ROW LEVEL SECURITY",
            ],
        ),
        (
            "ALTER TABLE keyservice.replicas SET UNLOGGED".to_owned(),
            "ALTER TABLE keyservice.replicas SET LOGGED".to_owned(),
            ["keyservice.replicas is unlogged", "SET LOGGED"],
        ),
        (
            "CREATE RULE quiet AS ON INSERT TO keyservice.audit DO INSTEAD NOTHING".to_owned(),
            "DROP RULE quiet ON keyservice.audit".to_owned(),
            ["the rule quiet on keyservice.audit", "drop it"],
        ),
        (
            pass.to_owned(),
            "DROP FUNCTION keyservice.pass() CASCADE".to_owned(),
            ["the trigger swallow on keyservice.keys", "drop it"],
        ),
        (
            "ALTER TABLE keyservice.audit RENAME TO old_audit".to_owned(),
            "ALTER TABLE keyservice.old_audit RENAME TO audit".to_owned(),
            ["lacks the table audit", "restore the database"],
        ),
        (
            format!("ALTER ROLE {role} SET default_transaction_read_only = on"),
            // As the error says.
            format!(
                "ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = off"
            ),
            [
                "transactions are read-only",
                "SET default_transaction_read_only = off",
            ],
        ),
        (
            format!("ALTER DATABASE {database} SET session_replication_role = replica"),
            format!("ALTER DATABASE {database} RESET session_replication_role"),
            ["session_replication_role is replica", "set it to origin"],
        ),
    ];
    for (spoil, mend, parts) in cases {
        cluster.psql(database, &spoil);
        let refused = try_to_open(&service).await.err().expect(&spoil).to_string();
        for part in parts {
            assert!(
                refused.contains(part),
                "{spoil}: {part} is missing in: {refused}"
            );
        }
        cluster.psql(database, &mend);
        let opened = try_to_open(&service).await.map(drop);
        opened.unwrap_or_else(|error| panic!("{mend}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_migrate_is_told_who_may() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let limited = create_role_without_rights("limited", &cluster, &store);
    let parts = [
        "may not create one in the database",
        "GRANT CREATE ON DATABASE",
    ];
    assert_refused(&mut command(&limited), &parts).await;

    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", &cluster, &store);
    cluster.psql(database_in(&store), LAST_MIGRATION_IS_PENDING);
    let parts = [
        "may not become their owner, keyservice",
        "an address for the role keyservice",
    ];
    assert_refused(&mut command(&service), &parts).await;
}

/// PostgreSQL 16 and later know members that have the rights of a role and may not become it. What these created would
/// belong to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_may_not_become_the_owner_is_told_who_may_migrate() {
    let cluster = Cluster::shared_of(Version::Newest);
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", &cluster, &store);
    let role = role_in(&service);
    let join = format!("GRANT keyservice TO {role} WITH INHERIT TRUE, SET FALSE");
    cluster.psql(database_in(&store), &join);
    cluster.psql(database_in(&store), LAST_MIGRATION_IS_PENDING);
    let parts = [
        "may not become their owner, keyservice",
        "an address for the role keyservice",
    ];
    assert_refused(&mut command(&service), &parts).await;
}

const LAST_MIGRATION_IS_PENDING: &str = "DELETE FROM keyservice.migrations WHERE number = \
                                         (SELECT max(number) FROM keyservice.migrations)";

#[tokio::test(flavor = "multi_thread")]
async fn what_only_may_hurt_is_a_warning() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", &cluster, &store);
    let (role, database) = (role_in(&service), database_in(&store));
    cluster.psql(
        database,
        &format!(
            "CREATE FUNCTION public.follow() RETURNS trigger LANGUAGE plpgsql \
             AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER copies AFTER INSERT ON keyservice.keys \
             FOR EACH ROW EXECUTE FUNCTION public.follow(); \
             CREATE ROLE thief LOGIN; GRANT {role} TO thief; GRANT CONNECT ON DATABASE {database} TO PUBLIC; \
             ALTER ROLE {role} CONNECTION LIMIT 8; ALTER DATABASE {database} CONNECTION LIMIT 10"
        ),
    );
    for setting in ["fsync", "full_page_writes", "autovacuum"] {
        cluster.set_setting(setting, "off");
    }
    let server = Server::start(&service).await;
    let log = server.log();
    for part in [
        "fsync=off: acknowledged writes may be lost",
        "full_page_writes=off: acknowledged writes may be lost",
        "autovacuum=off",
        "every role of the server may connect to the database",
        "\"roles\":\"thief\"",
        "the trigger copies runs after each write to keyservice.keys",
        &format!("the role {role} allows 8 connections, and others have 0 of them"),
        &format!("ALTER DATABASE \\\"{database}\\\" CONNECTION LIMIT 11"),
    ] {
        assert!(log.contains(part), "{part} is missing in: {log}");
    }
    assert!(!log.contains("max_connections"), "{log}");
    server.client().await.create_key().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_others_may_put_another_in_the_place_of_is_a_warning() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let data = cluster.data_directory();
    let sockets = data.parent().expect("a folder");
    let links = directory();
    let link = links.path().join("sockets");
    std::os::unix::fs::symlink(sockets, &link).expect("linked");
    let encoded = link.to_str().expect("UTF-8").replace('/', "%2F");
    let (port, database) = (cluster.port(), database_in(&store));
    let address = format!("postgres://keyservice@{encoded}:{port}/{database}");
    for (of_sockets, of_links, may_replace_in) in [
        (0o755, 0o755, None),
        (0o1777, 0o755, Some(sockets)),
        (0o755, 0o777, Some(links.path())),
    ] {
        for (folder, mode) in [(sockets, of_sockets), (links.path(), of_links)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder, mode).expect("set");
        }
        let server = Server::start(&address).await;
        let log = server.log();
        let warning = may_replace_in.map(|folder| {
            let folder = folder.canonicalize().expect("it is there");
            format!(
                "every user of this machine may create or replace files in {}, and so put another",
                folder.display()
            )
        });
        let warns = log.contains("unix_socket_directories");
        assert_eq!(warns, warning.is_some(), "{log}");
        assert!(log.contains(&warning.unwrap_or_default()), "{log}");
    }
}

/// The database may be a restored one, or that of another server.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_loads_again_checks_the_database_as_at_a_start() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let (token, _) = server.client().await.create_key().await;
    // None of the triggers is somebody else's.
    assert!(!server.log().contains("runs after each write"));
    let lose = "SET session_replication_role = replica; \
                UPDATE keyservice.writes SET write_id = gen_random_uuid(); \
                ALTER TABLE keyservice.writes DISABLE TRIGGER next_revision";
    cluster.psql(database_in(&store), lose);
    eventually("it refuses the database", async || {
        let log = server.log();
        log.contains("these are disabled or invalid: the trigger next_revision on writes")
    })
    .await;
    assert!(!server.is_serving().await);
    let mend = "ALTER TABLE keyservice.writes ENABLE TRIGGER next_revision";
    cluster.psql(database_in(&store), mend);
    eventually("it serves again", async || {
        server.client().await.is_granted(&token).await
    })
    .await;
}

/// Whoever set them had another service in mind.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_defaults_of_a_database_make_no_difference() {
    for version in Version::ALL {
        let cluster = Cluster::shared_of(version);
        let store = cluster.create_database();
        let database = database_in(&store);
        let mut settings = vec![
            "client_encoding = 'LATIN1'",
            "DateStyle = 'German, DMY'",
            "TimeZone = 'Asia/Kathmandu'",
            "IntervalStyle = 'sql_standard'",
            "bytea_output = 'escape'",
            "standard_conforming_strings = off",
            "array_nulls = off",
            "extra_float_digits = -15",
            "transform_null_equals = on",
            "default_transaction_isolation = 'serializable'",
            "default_transaction_deferrable = on",
            "synchronous_commit = off",
            "row_security = off",
            "search_path = ''",
            "lock_timeout = '1ms'",
            "idle_in_transaction_session_timeout = '1s'",
            "\"plpgsql.extra_errors\" = 'all'",
            "\"plpgsql.variable_conflict\" = 'use_column'",
            "check_function_bodies = off",
            "quote_all_identifiers = on",
            // Where the server can compile statements, it would compile each, which takes longer than a lease.
            "cpu_tuple_cost = 1e300",
            "jit_above_cost = 0",
            "jit_inline_above_cost = 0",
            "jit_optimize_above_cost = 0",
        ];
        if version != Version::Oldest {
            settings.push("idle_session_timeout = '200ms'");
        }
        if version == Version::Newest {
            settings.push("transaction_timeout = '50ms'");
        }
        for setting in settings {
            let set = format!("ALTER DATABASE {database} SET {setting}");
            cluster.psql("postgres", &set);
        }
        use_everything(&store).await.expect("everything works");
        let servers = [Server::start(&store).await, Server::start(&store).await];
        let mut client = servers[0].client().await;
        let (token, key_id) = client.create_key().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.revoke(&key_id).await.expect("revoked");
        assert!(servers[1].client().await.is_revoked(&token).await);
    }
}
