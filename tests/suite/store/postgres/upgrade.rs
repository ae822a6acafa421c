//! The migration of tables that the release before has made, while its replicas run.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in, roles::create_role_for, session},
    server::{Server, assert_refused, command},
};
use tokio::task::JoinHandle;
use tokio_postgres::Error;

/// Creates the tables of the release before.
fn create_tables_of_release_before(cluster: &Cluster, database: &str) {
    let migrations = [
        include_str!("../../../../src/store/postgres/migrations/0001_keys.sql"),
        include_str!("../../../../src/store/postgres/migrations/0002_replicas.sql"),
        include_str!("../../../../src/store/postgres/migrations/0003_audit.sql"),
    ];
    let table = "CREATE SCHEMA keyservice; CREATE TABLE keyservice.migrations ( \
                 number integer PRIMARY KEY, name text NOT NULL, apply_time timestamptz NOT NULL DEFAULT now()); \
                 INSERT INTO keyservice.migrations SELECT n, '' FROM generate_series(1, 3) n";
    for sql in [table].into_iter().chain(migrations) {
        cluster.psql(database, sql);
    }
}

/// Runs a statement in a session of its own.
async fn call(store: &str, sql: &'static str) -> JoinHandle<Result<(), Error>> {
    let session = session(store).await;
    tokio::spawn(async move { session.batch_execute(sql).await })
}

const RENEW: &str =
    "SELECT keyservice.renew_lease(gen_random_uuid(), 'old', 1, 2000, 0, 0, gen_random_uuid(), 10)";
const CREATE: &str = "SELECT keyservice.create_key(gen_random_uuid(), decode(repeat('ab', 32), 'hex'), \
                      'acme', 'old', '', NULL, NULL, now(), NULL)";

/// Runs the first so many migrations.
fn migrate_to(number: usize, cluster: &Cluster, database: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/postgres/migrations");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = entries.map(|it| it.expect("an entry").path()).collect();
    files.sort();
    let table = "CREATE SCHEMA keyservice; CREATE TABLE keyservice.migrations ( \
                 number integer PRIMARY KEY, name text NOT NULL, apply_time timestamptz NOT NULL DEFAULT now())";
    cluster.psql(database, table);
    for (index, file) in files.iter().take(number).enumerate() {
        let sql = std::fs::read_to_string(file).expect("a migration");
        let is_made = format!(
            "INSERT INTO keyservice.migrations VALUES ({}, '')",
            index + 1
        );
        cluster.psql(
            database,
            &format!("SET search_path = pg_catalog, pg_temp; {sql}; {is_made}"),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_go_on_while_a_migration_builds_an_index() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    migrate_to(21, &cluster, database);
    let building = session(&store).await;
    let hold = "SELECT pg_advisory_lock(77)";
    building.batch_execute(hold).await.expect("locked");
    cluster.psql(
        database,
        "CREATE FUNCTION public.hold_up() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_advisory_xact_lock(78); \
             WHILE NOT pg_try_advisory_xact_lock(77) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$; \
         CREATE EVENT TRIGGER hold_up ON ddl_command_end WHEN TAG IN ('CREATE INDEX') \
             EXECUTE FUNCTION public.hold_up()",
    );
    let mut server = Server::launch(&mut command(&store));
    eventually("it builds the index", async || {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 78";
        cluster.psql(database, held) == "1"
    })
    .await;
    let renew = "SET lock_timeout = '3s'; SELECT keyservice.renew_by_feed( \
                 gen_random_uuid(), 'old', 1, 2000, 0, 0, 0, gen_random_uuid(), 10)";
    let renewal = call(&store, renew).await;
    renewal.await.expect("no panic").expect("renewed");
    drop(building);
    eventually("it listens", async || server.is_listening()).await;
}

/// They would otherwise hold the old lock alone, and stand beside writes under the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_under_way_fails_and_a_write_under_way_takes_the_new_lock() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    create_tables_of_release_before(&cluster, database);
    cluster.psql(
        database,
        "INSERT INTO keyservice.replicas VALUES (gen_random_uuid(), 'lies', -5, 1, 2147483647)",
    );
    let waiting = |count: &'static str| {
        let cluster = cluster.clone();
        let database = database.to_owned();
        async move {
            eventually("it waits", async || {
                let waiting = "SELECT count(*) FROM pg_locks WHERE locktype IN ('advisory', 'relation') AND NOT granted \
                               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
                cluster.psql(&database, waiting) == count
            })
            .await;
        }
    };

    let old_write = session(&store).await;
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(1415071059, 2)";
    old_write.batch_execute(lock).await.expect("locked");
    let mut server = Server::launch(&mut command(&store));
    waiting("1").await;
    let renewal = call(&store, RENEW).await;
    waiting("2").await;
    let write = call(&store, CREATE).await;
    waiting("3").await;
    // Holds the new lock as a renewal does.
    old_write.batch_execute("COMMIT").await.expect("ended");
    let refused = renewal
        .await
        .expect("no panic")
        .expect_err("it has not got the new lock");
    let message = refused.as_db_error().expect("an answer").message();
    assert!(message.contains("renew_time"), "{message}");
    write.await.expect("no panic").expect("written");

    eventually("it listens", async || server.is_listening()).await;
    server.health().await.wait_until_serving().await;
    assert_eq!(
        server
            .client()
            .await
            .list("acme")
            .await
            .expect("listed")
            .len(),
        1
    );
    let renew_again = call(&store, RENEW).await;
    renew_again.await.expect("no panic").expect("renewed");
    let bounded =
        "SELECT lease_millis, applied_revision FROM keyservice.replicas WHERE name = 'lies'";
    assert_eq!(cluster.psql(database, bounded), "60000|0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_began_with_the_old_functions_waits_for_renewals_with_the_new_ones() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    Server::start(&store).await.terminate().await;
    let old_begin = "CREATE OR REPLACE FUNCTION keyservice.begin_write() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN \
                     PERFORM pg_advisory_xact_lock(1415071059, 2); \
                     RETURN (SELECT coalesce(max(w.revision), 0) + 1 FROM keyservice.writes w); END $$";
    cluster.psql(database, old_begin);
    let renewal = session(&store).await;
    renewal.batch_execute("BEGIN").await.expect("begun");
    renewal.batch_execute(RENEW).await.expect("renewed");
    let write = call(&store, CREATE).await;
    eventually("the write waits", async || {
        let waiting = "SELECT count(*) FROM pg_locks \
                       WHERE relation = 'keyservice.writers_lock'::regclass AND NOT granted";
        cluster.psql(database, waiting) == "1"
    })
    .await;
    renewal.batch_execute("COMMIT").await.expect("ended");
    write.await.expect("no panic").expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_could_write_before_still_can() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    create_tables_of_release_before(&cluster, database);
    let role = format!("Everyday {database}");
    let rights = "CREATE ROLE \"{}\" LOGIN; GRANT USAGE ON SCHEMA keyservice TO \"{}\"; \
                  GRANT SELECT ON ALL TABLES IN SCHEMA keyservice TO \"{}\"; \
                  GRANT INSERT ON keyservice.keys, keyservice.writes, keyservice.replicas, keyservice.audit TO \"{}\"; \
                  GRANT UPDATE ON keyservice.keys, keyservice.replicas TO \"{}\"; \
                  GRANT DELETE ON keyservice.replicas TO \"{}\"";
    cluster.psql(database, &rights.replace("{}", &role));
    Server::start(&store).await.terminate().await;
    let address = cluster.address_for(&role.replace(' ', "%20"), database);
    crate::support::stores::use_everything(&address)
        .await
        .expect("everything works");
}

/// Otherwise renewals would queue behind the migration for as long as the reader reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_gives_up_soon_when_a_table_that_it_changes_is_being_read() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    create_tables_of_release_before(&cluster, database_in(&store));
    let dump = session(&store).await;
    let read = "BEGIN; LOCK TABLE keyservice.replicas IN ACCESS SHARE MODE";
    dump.batch_execute(read).await.expect("locked");
    let started = std::time::Instant::now();
    assert_refused(
        &mut command(&store),
        &["lock timeout", "try again once it has ended"],
    )
    .await;
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    drop(dump);
    Server::start(&store).await;
}

/// Whoever may connect can hold that lock, and a replica that migrates holds it for as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_says_for_which_lock_it_waits_and_goes_on_when_it_is_free() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    create_tables_of_release_before(&cluster, database_in(&store));
    let other = session(&store).await;
    let lock = "BEGIN; LOCK TABLE keyservice.migrations IN ROW EXCLUSIVE MODE";
    other.batch_execute(lock).await.expect("locked");
    let mut server = Server::launch(&mut command(&store));
    eventually("it says so", async || {
        server
            .log()
            .contains("another session with a lock on keyservice.migrations")
    })
    .await;
    // Nobody who reads the table waits behind it.
    let read = "SELECT count(*) FROM keyservice.migrations";
    cluster.psql(database_in(&store), read);
    drop(other);
    eventually("it listens", async || server.is_listening()).await;
    server.health().await.wait_until_serving().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_of_the_owner_migrates_belongs_to_the_owner() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let database = database_in(&store);
    cluster.psql(
        "postgres",
        &format!(
            "CREATE ROLE \"The owner\" NOLOGIN; CREATE ROLE member LOGIN IN ROLE \"The owner\"; \
             ALTER DATABASE {database} OWNER TO \"The owner\""
        ),
    );
    create_tables_of_release_before(&cluster, database);
    let give = "DO $$ DECLARE v_object record; BEGIN \
                    ALTER SCHEMA keyservice OWNER TO \"The owner\"; \
                    FOR v_object IN SELECT c.oid::regclass AS name FROM pg_class c \
                        WHERE c.relnamespace = 'keyservice'::regnamespace AND c.relkind IN ('r', 'v') LOOP \
                        EXECUTE format('ALTER TABLE %s OWNER TO \"The owner\"', v_object.name); \
                    END LOOP; \
                    FOR v_object IN SELECT p.oid::regprocedure AS name FROM pg_proc p \
                        WHERE p.pronamespace = 'keyservice'::regnamespace LOOP \
                        EXECUTE format('ALTER FUNCTION %s OWNER TO \"The owner\"', v_object.name); \
                    END LOOP; \
                END $$";
    cluster.psql(database, give);
    Server::start(&cluster.address_for("member", database)).await;
    let others = "SELECT count(*) FROM pg_class c WHERE c.relnamespace = 'keyservice'::regnamespace \
                  AND pg_get_userbyid(c.relowner) <> 'The owner'";
    assert_eq!(cluster.psql(database, others), "0");
    let service = create_role_for("service", &cluster, &store);
    Server::start(&service)
        .await
        .client()
        .await
        .create_key()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_the_database_weakens_what_a_migration_checks() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    let loose = format!("ALTER DATABASE {database} SET standard_conforming_strings = off");
    cluster.psql("postgres", &loose);
    Server::start(&store).await;
    let checks =
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'domain_form'";
    let checks = cluster.psql(database, checks);
    assert_eq!(checks.matches("([.][a-z0-9-]").count(), 2, "{checks}");
}
