//! What roles that share the database cannot hold up: the service, with locks, rows or notifications.

use crate::support::{
    eventually,
    postgres::{
        Cluster, Version, database_in,
        roles::{create_role_for, create_role_without_rights, grants, role_in},
        session,
    },
    server::{
        Client, Server,
        audit_command::{audit, records},
    },
    stores::{Stores, use_everything},
};
use keyservice::{config::Settings, model::time::LeaseTerm};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;

/// Everybody may take any advisory lock, so none may matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_connect_holds_up_nothing_with_an_advisory_lock() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let session = session(&create_role_without_rights("stranger", &cluster, &store)).await;
    for lock in 0..10 {
        let take = format!("SELECT pg_advisory_lock(1415071059, {lock})");
        session.batch_execute(&take).await.expect("taken");
    }

    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert!(client.is_granted(&token).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.create_key().await;
    // A start that migrates waits for nobody either.
    Server::start(&cluster.create_database()).await;
}

/// This function locks what it is given before it looks at the rights on it. PostgreSQL itself lets every role
/// do so, and the lock stays until its transaction ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_connect_can_hold_up_writes_but_no_lease() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let stranger = session(&create_role_without_rights("stranger", &cluster, &store)).await;
    let table = "SELECT 'keyservice.writers_lock'::regclass::oid";
    let table = cluster.psql(database_in(&store), table);
    let begin = "BEGIN; SAVEPOINT before";
    stranger.batch_execute(begin).await.expect("begun");
    let lock = format!("SELECT nextval({table}::oid::regclass)");
    let refused = stranger
        .batch_execute(&lock)
        .await
        .expect_err("no sequence");
    assert_eq!(refused.code(), Some(&SqlState::WRONG_OBJECT_TYPE));
    let go_on = "ROLLBACK TO before";
    stranger.batch_execute(go_on).await.expect("rolled back");

    let mut writer = server.client().await;
    let held_up = tokio::spawn(async move { writer.create("acme", "a key").await.map(drop) });
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        assert!(client.is_granted(&token).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let held_up = held_up.await.expect("no panic").expect_err("held up");
    assert_eq!(held_up.code(), Code::Unavailable);
    stranger.batch_execute("ROLLBACK").await.expect("ended");
    client.create_key().await;
}

/// PostgreSQL gives everybody the right to update the view of its settings, and so to lock it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_the_view_of_settings_holds_up_no_new_session() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let stranger = session(&create_role_without_rights("stranger", &cluster, &store)).await;
    let lock = "BEGIN; LOCK TABLE pg_catalog.pg_settings";
    stranger.batch_execute(lock).await.expect("locked");
    cluster.end_sessions("application_name = 'keyservice'");
    let mut client = server.client().await;
    eventually("it writes again", async || {
        client.create("acme", "a key").await.is_ok()
    })
    .await;
    Server::start(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_role_can_take_a_lock_that_a_call_or_a_renewal_waits_for() {
    for version in [Version::Installed, Version::Oldest] {
        let cluster = Cluster::start_version(version);
        let store = cluster.create_database();
        use_everything(&store).await.expect("migrated");
        let stranger = create_role_without_rights("stranger", &cluster, &store);
        let audit = create_role_for("audit", &cluster, &store);
        let tables = "SELECT relname FROM pg_class \
                      WHERE relnamespace = 'keyservice'::regnamespace AND relkind IN ('r', 'v')";
        let tables = cluster.psql(database_in(&store), tables);
        assert!(tables.lines().count() >= 9, "{tables}");
        for address in [stranger, audit] {
            let session = session(&address).await;
            for table in tables.lines() {
                for mode in [
                    "ROW SHARE",
                    "ROW EXCLUSIVE",
                    "SHARE UPDATE EXCLUSIVE",
                    "SHARE",
                    "SHARE ROW EXCLUSIVE",
                    "EXCLUSIVE",
                    "ACCESS EXCLUSIVE",
                ] {
                    let lock =
                        format!("BEGIN; LOCK TABLE keyservice.{table} IN {mode} MODE; COMMIT");
                    let taken = session.batch_execute(&lock).await;
                    assert!(taken.is_err(), "{address}: {lock}");
                    session.batch_execute("ROLLBACK").await.expect("ended");
                }
            }
        }
    }
}

/// This statement locks its table before it looks at the rights on it, and then waits for the other table.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_role_can_hold_a_lock_with_a_trigger_that_waits_for_another_table() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let stranger = create_role_without_rights("stranger", &cluster, &store);
    let audit = create_role_for("audit", &cluster, &store);
    let locker = session(&stranger).await;
    let lock = "BEGIN; LOCK TABLE pg_catalog.pg_settings";
    locker.batch_execute(lock).await.expect("locked");
    let tables = "SELECT relname FROM pg_class \
                  WHERE relnamespace = 'keyservice'::regnamespace AND relkind IN ('r', 'v')";
    let tables = cluster.psql(database_in(&store), tables);
    for address in [stranger, audit] {
        let session = session(&address).await;
        let limit = "SET lock_timeout = '1s'";
        session.batch_execute(limit).await.expect("set");
        for table in tables.lines() {
            let trigger = format!(
                "CREATE CONSTRAINT TRIGGER mine AFTER INSERT ON keyservice.{table} \
                 FROM pg_catalog.pg_settings FOR EACH ROW EXECUTE FUNCTION pg_catalog.now()"
            );
            let refused = session.batch_execute(&trigger).await.expect_err(table);
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        }
    }
}

/// What `keyservice grants --for audit` of the releases before printed.
#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_with_the_grants_of_the_release_before_still_reads_the_records() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let address = create_role_without_rights("audit", &cluster, &store);
    let before = "GRANT USAGE ON SCHEMA keyservice TO {}; \
                  GRANT SELECT (number) ON keyservice.migrations TO {}; \
                  GRANT SELECT ON keyservice.audit TO {}";
    let role = role_in(&address);
    cluster.psql(database_in(&store), &before.replace("{}", &role));
    let all = records(&store, &[]);
    assert_eq!(records(&address, &[]), all);
    cluster.psql(database_in(&store), &grants(&role, "audit", &store));
    assert_eq!(records(&address, &[]), all);
    let may_use = format!("SELECT has_schema_privilege('{role}', 'keyservice', 'USAGE')");
    assert_eq!(cluster.psql(database_in(&store), &may_use), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_and_a_report_that_never_end_hold_up_nothing() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease=1s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let report = session(&create_role_for("audit", &cluster, &store)).await;
    let read = "BEGIN; SELECT * FROM keyservice_audit.records";
    report.batch_execute(read).await.expect("read");
    let dump = session(&store).await;
    let tables = "keys, writes, replicas, writers_lock, audit, migrations, digest_key";
    let tables = tables.replace(", ", ", keyservice.");
    let lock = format!("BEGIN; LOCK TABLE keyservice.{tables} IN ACCESS SHARE MODE");
    dump.batch_execute(&lock).await.expect("locked");

    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(client.is_granted(&token).await);
    client.create_key().await;
}

/// Without the bound, each notification made every replica read the changes and renew its lease: 740
/// times a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_notifications_neither_hurries_renewals_nor_delays_writes() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let other = Server::start(&store).await;
    let database = database_in(&store);
    cluster.psql(
        database,
        &format!("ALTER DATABASE {database} SET track_functions = pl"),
    );
    cluster.end_sessions("application_name = 'keyservice'");
    let mut client = server.client().await;
    eventually("it writes again", async || {
        client.create("acme", "a key").await.is_ok()
    })
    .await;
    let stranger = create_role_without_rights("stranger", &cluster, &store);

    let calm = median_revoke(&mut client).await;
    let floods = [0, 1_000_000_000].map(|first| flood(stranger.clone(), first));
    let _floods = futures::future::join_all(floods).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let counted = "SELECT (SELECT sum(renewals) FROM keyservice.replicas), \
                   (SELECT sum(calls) FROM pg_stat_user_functions WHERE funcname = 'read_feed'), \
                   pg_stat_clear_snapshot()";
    let count = || {
        // The sessions report their counts twice a second at most.
        std::thread::sleep(Duration::from_millis(700));
        let counted = cluster.psql(database, counted);
        let mut counts = counted.split('|').map(|count| count.parse().unwrap_or(0));
        (
            counts.next().expect("renewals"),
            counts.next().expect("reads"),
        )
    };
    let (renewals, reads): (u64, u64) = count();
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (renewals, reads) = {
        let (later, later_reads) = count();
        (later - renewals, later_reads - reads)
    };
    let seconds = started.elapsed().as_secs_f64();
    let flooded = median_revoke(&mut client).await;
    println!("{calm:?} → {flooded:?}; {renewals} renewals, {reads} reads in {seconds} s");
    // Two replicas, each with two renewals a second, and 20 reads for false notifications.
    assert!(
        renewals as f64 <= 2.0 * 3.0 * seconds,
        "{renewals} in {seconds} s"
    );
    assert!(
        reads as f64 <= 2.0 * 25.0 * seconds,
        "{reads} in {seconds} s"
    );
    assert!(reads as f64 >= 2.0 * 5.0 * seconds, "the flood has arrived");
    assert!(
        flooded < calm + Duration::from_millis(150),
        "{calm:?} → {flooded:?}"
    );
    drop(other);
}

/// Sends notifications without end, from this revision on.
async fn flood(address: String, first: u64) -> AbortOnDropHandle<()> {
    let session = session(&address).await;
    AbortOnDropHandle::new(tokio::spawn(async move {
        for number in first.. {
            let notify = format!("NOTIFY keyservice_writes, '{number}'");
            session.batch_execute(&notify).await.expect("sent");
        }
    }))
}

async fn median_revoke(client: &mut Client) -> Duration {
    let mut times = Vec::new();
    for _ in 0..21 {
        let (_, key_id) = client.create_key().await;
        let started = Instant::now();
        client.revoke(&key_id).await.expect("revoked");
        times.push(started.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

/// A listener that reads nothing keeps every notification in the queue, which all databases of a
/// server share. A commit with a notification that does not fit fails.
#[tokio::test(flavor = "multi_thread")]
async fn writes_succeed_while_a_role_that_may_only_connect_fills_the_queue_of_notifications() {
    let mut cluster = Cluster::start_version(Version::Newest);
    let small = "ALTER SYSTEM SET max_notify_queue_pages = 64";
    cluster.psql("postgres", small);
    cluster.kill();
    cluster.restart();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let stranger = create_role_without_rights("stranger", &cluster, &store);
    let listener = session(&stranger).await;
    listener.batch_execute("LISTEN x").await.expect("listening");
    // It reads no notification before its transaction ends.
    listener
        .batch_execute("BEGIN; SELECT 1")
        .await
        .expect("it began");
    let flood = session(&stranger).await;
    let notify = "SELECT pg_notify('x', repeat('y', 7900))";
    let mut sent = 0;
    while flood.batch_execute(notify).await.is_ok() {
        sent += 1;
        assert!(sent < 10_000, "the queue has no end");
    }

    let (_, key_id) = client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replicas_row_holds_nothing_beyond_what_a_replica_may_be() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let session = session(&create_role_for("service", &cluster, &store)).await;
    let insert = async |name: &str, applied: i64, renewals: i64, lease: i32| {
        let sql = "INSERT INTO keyservice.replicas VALUES (gen_random_uuid(), $1, $2, $3, $4, now(), true)";
        session
            .execute(sql, &[&name, &applied, &renewals, &lease])
            .await
    };
    assert!(insert("a replica", 0, 1, 200).await.is_ok());
    assert!(insert(&"x".repeat(400), 7, 1, 60_000).await.is_ok());
    assert!(insert(&"x".repeat(401), 7, 1, 60_000).await.is_err());
    assert!(insert("a replica", -1, 1, 2000).await.is_err());
    assert!(insert("a replica", 0, -1, 2000).await.is_err());
    for lease in [i32::MIN, 0, 199, 60_001, i32::MAX] {
        assert!(insert("a replica", 0, 1, lease).await.is_err(), "{lease}");
    }
}

/// As if the table had no bounds, for instance where its owner's password has leaked. A write waits
/// for as long as a row says.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_believed_beyond_the_longest_lease_that_a_setting_may_ask_for() {
    let stores = Stores::postgres().await;
    let rows = "ALTER TABLE keyservice.replicas DROP CONSTRAINT lease_millis_range, \
                    DROP CONSTRAINT replicas_lease_millis_check, DROP CONSTRAINT name_length; \
                INSERT INTO keyservice.replicas VALUES \
                    (gen_random_uuid(), repeat('ü', 100000), 0, 1, 2147483647, now()), \
                    (gen_random_uuid(), 'backwards', 0, 2, -2147483648, now())";
    stores.sql(rows).await.expect("inserted");
    let registry = stores.first.replicas.as_ref().expect("replicas share it");
    let mut read = registry.replicas(&[]).await.expect("read").replicas;
    read.sort_by_key(|replica| replica.renewals);
    let terms = read.iter().map(|replica| replica.term);
    let bounds = [LeaseTerm::LONGEST, LeaseTerm::SHORTEST];
    assert_eq!(terms.collect::<Vec<_>>(), bounds);
    assert_eq!(read[0].name.chars().count(), 400);

    for (bound, beyond) in bounds.into_iter().zip(["60001ms", "199ms"]) {
        let allows = |lease: &str| Settings::parse_from(&["--lease", lease]).is_ok();
        assert!(allows(&bound.to_string().replace(' ', "")) && !allows(beyond));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_is_granted_is_needed_and_no_other() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    for task in ["service", "audit"] {
        let address = create_role_for(task, &cluster, &store);
        let role = role_in(&address);
        let works = async || match task {
            "service" => use_everything(&address)
                .await
                .map_err(|error| error.to_string()),
            _ => {
                let ran = audit(&address, &[]);
                let error = String::from_utf8_lossy(&ran.stderr).into_owned();
                ran.status.success().then_some(()).ok_or(error)
            }
        };
        assert_eq!(works().await, Ok(()), "{task}");
        let printed = grants(&role, task, &store);
        let mut count = 0;
        for line in printed.lines().filter(|line| line.starts_with("GRANT ")) {
            let (rights, object) = line["GRANT ".len()..].split_once(" ON ").expect(line);
            let (object, _) = object.split_once(" TO ").expect(line);
            for right in split_rights(rights) {
                let revoke = format!("REVOKE {right} ON {object} FROM \"{role}\"");
                cluster.psql(database_in(&store), &revoke);
                let error = works().await.expect_err(&revoke);
                let names_it = error.contains("permission denied")
                    || error.contains(&format!("lacks {right} on "));
                assert!(names_it, "{revoke}: {error}");
                let grant = format!("GRANT {right} ON {object} TO \"{role}\"");
                cluster.psql(database_in(&store), &grant);
                count += 1;
            }
        }
        assert!(count >= if task == "service" { 18 } else { 4 }, "{count}");
        assert_eq!(works().await, Ok(()), "{task}");
        let session = session(&address).await;
        for forbidden in [
            "UPDATE keyservice.keys SET digest = digest",
            "UPDATE keyservice.keys SET account_id = 'globex'",
            "DELETE FROM keyservice.keys",
            "DELETE FROM keyservice.audit",
            "UPDATE keyservice.audit SET caller = 'me'",
            "CREATE TABLE keyservice.mine ()",
        ] {
            assert!(
                session.batch_execute(forbidden).await.is_err(),
                "{forbidden}"
            );
        }
        if task == "audit" {
            for view in ["changes", "states"] {
                let digests = format!("SELECT digest FROM keyservice.{view}");
                assert!(session.batch_execute(&digests).await.is_err(), "{view}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_can_grant_and_what_was_granted_before_is_taken_back() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let role = role_in(&create_role_without_rights("service", &cluster, &store));
    let statements = grants(&role, "service", &store);
    let other = session(&cluster.address_for(&role, database_in(&store))).await;
    let refused = other
        .batch_execute(&statements)
        .await
        .expect_err("not the owner");
    let refused = refused.as_db_error().expect("an answer").message();
    assert_eq!(refused, "run this in that database, as its owner");

    let too_much = format!(
        "GRANT UPDATE (digest) ON keyservice.keys TO {role}; GRANT SELECT ON keyservice.audit TO {role}"
    );
    cluster.psql(database_in(&store), &too_much);
    cluster.psql(database_in(&store), &statements);
    let rights = format!(
        "SELECT has_column_privilege('{role}', 'keyservice.keys', 'digest', 'UPDATE'), \
                has_table_privilege('{role}', 'keyservice.audit', 'SELECT')"
    );
    assert_eq!(cluster.psql(database_in(&store), &rights), "f|f");
}

#[test]
fn the_page_shows_what_the_command_prints() {
    let page = include_str!("../../../../docs/postgres.md");
    let printed = grants(
        "keyservice_service",
        "service",
        "postgres://db.example.com/keyservice",
    );
    assert!(page.contains(&format!("```sql\n{printed}```")), "{printed}");
}

/// `SELECT, UPDATE (a, b)` as `SELECT`, `UPDATE (a)` and `UPDATE (b)`.
fn split_rights(rights: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = rights;
    while !rest.is_empty() {
        let end = rest.find([',', '(']).unwrap_or(rest.len());
        let name = rest[..end].trim();
        if rest[end..].starts_with('(') {
            let (columns, after) = rest[end + 1..].split_once(')').expect(rights);
            all.extend(
                columns
                    .split(", ")
                    .map(|column| format!("{name} ({column})")),
            );
            rest = after.trim_start_matches([',', ' ']);
        } else {
            all.push(name.to_owned());
            rest = rest[end..].trim_start_matches([',', ' ']);
        }
    }
    all
}
