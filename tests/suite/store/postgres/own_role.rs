//! What somebody who has the password of the service's role cannot do for good.

use crate::support::{
    eventually,
    postgres::{
        Cluster, Version, database_in,
        roles::{create_role_for, create_role_without_rights, grants, role_in},
        session,
    },
    server::{Server, assert_refused, audit_command::audit, command},
    stores::use_everything,
};
use keyservice::grpc::proto::{
    SuspendAccountRequest, account_service_client::AccountServiceClient,
};
use tokio_postgres::error::SqlState;

#[tokio::test(flavor = "multi_thread")]
async fn no_row_keeps_later_writes_from_their_revisions() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let (_, key_id) = client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
    let (_, key_id) = client.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let next = "(SELECT max(revision) + 1 FROM keyservice.writes)";
    let a_write = |revision| {
        format!(
            "INSERT INTO keyservice.writes (revision, write_time, key_id) \
             SELECT {revision}, now(), key_id FROM keyservice.keys LIMIT 1"
        )
    };
    let a_key = |revision, name| {
        format!(
            "INSERT INTO keyservice.keys (key_id, digest, account_id, name, preview, create_time, \
                 create_revision, revision) \
             VALUES (gen_random_uuid(), decode(repeat('ab', 32), 'hex'), 'acme', {name}, '', now(), \
                 {revision}, {revision})"
        )
    };
    let too_long = format!(
        "BEGIN; {}; {}; COMMIT",
        a_key(next, "repeat('x', 401)"),
        a_write(next)
    );
    for refused in [
        a_write("9223372036854775807"),
        a_write("0"),
        a_write("(SELECT max(revision) + 2 FROM keyservice.writes)"),
        a_key("9223372036854775807", "'a key'"),
        a_key(next, "'a key'"),
        too_long,
        format!("UPDATE keyservice.keys SET revision = {next} WHERE revoke_time IS NULL"),
        "UPDATE keyservice.keys SET revision = 5000 WHERE revoke_time IS NOT NULL".to_owned(),
    ] {
        let done = thief.batch_execute(&refused).await;
        assert!(done.is_err(), "{refused}");
        thief.batch_execute("ROLLBACK").await.expect("ended");
    }
    client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
}

/// Who revokes keys by a label must find them.
#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_labels_is_written_by_its_trigger_alone() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let service = create_role_for("service", &cluster, &store);
    let thief = session(&service).await;
    for refused in [
        "DELETE FROM keyservice.key_labels",
        "UPDATE keyservice.key_labels SET label = 'x'",
        "INSERT INTO keyservice.key_labels VALUES ('acme', 'a=b', 1)",
        "TRUNCATE keyservice.key_labels",
    ] {
        let refused = thief.batch_execute(refused).await.expect_err(refused);
        assert_eq!(
            refused.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE),
            "{refused}"
        );
    }
    // With no more rights than these, the service can label keys, find them, and delete them.
    use_everything(&service).await.expect("used");
    assert!(
        cluster.psql(
            database_in(&store),
            "SELECT has_function_privilege('public', 'keyservice.index_labels()', 'EXECUTE')"
        ) == "f"
    );
}

/// Replicas learn of a change by its revision, and a Revoke of a revoked key changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_row_changes_without_a_write_of_its_own() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let (token, key_id) = server.client().await.create_key().await;
    server
        .domains()
        .await
        .add("acme", "example.net")
        .await
        .expect("added");
    let mut accounts = AccountServiceClient::new(server.channel().await);
    let suspend = SuspendAccountRequest {
        account_id: "globex".into(),
        reason: "unpaid".into(),
    };
    accounts.suspend_account(suspend).await.expect("suspended");
    let thief = session(&create_role_for("service", &cluster, &store)).await;

    let next = "(SELECT max(revision) + 1 FROM keyservice.writes)";
    let revoke = format!("UPDATE keyservice.keys SET revoke_time = now(), revision = {next}");
    let widen = format!(
        "UPDATE keyservice.domains SET include_subdomains = true, revision = {next} \
         WHERE domain = 'example.net'"
    );
    let resume = format!(
        "UPDATE keyservice.accounts SET suspend_time = NULL, suspend_reason = NULL, revision = {next}"
    );
    let write_of = |columns, values, table| {
        format!(
            "INSERT INTO keyservice.writes (revision, write_time, {columns}) \
             SELECT {next}, now(), {values} FROM keyservice.{table} LIMIT 1"
        )
    };
    let write_of_a_key = write_of("key_id", "key_id", "keys");
    let write_of_a_domain = write_of("account_id, domain", "account_id, domain", "domains");
    for refused in [
        "UPDATE keyservice.keys SET revoke_time = now()".to_owned(),
        "UPDATE keyservice.domains SET remove_time = now()".to_owned(),
        "UPDATE keyservice.accounts SET suspend_reason = 'x'".to_owned(),
        write_of_a_key.clone(),
        write_of_a_domain.clone(),
        write_of("account_id", "account_id", "accounts"),
        // Two rows with one revision, in whichever order.
        format!("{revoke}; {widen}; {write_of_a_key}"),
        format!("{widen}; {revoke}; {write_of_a_key}"),
        format!("{revoke}; {resume}; {write_of_a_key}"),
        format!("{resume}; {revoke}; {write_of_a_key}"),
        format!("{resume}; {widen}; {write_of_a_domain}"),
        // A write that names another row.
        format!("{revoke}; {write_of_a_domain}"),
        format!("{resume}; {write_of_a_key}"),
        format!("{resume}; {write_of_a_domain}"),
        // A row that changes twice with one write, in the same revision or in the one after.
        format!("{revoke}; {revoke}; {write_of_a_key}"),
        format!("{revoke}; {revoke} + 1; {write_of_a_key}"),
        format!("{revoke}; {write_of_a_key}; UPDATE keyservice.keys SET revoke_time = NULL"),
        format!("{revoke}; UPDATE keyservice.keys SET revoke_time = NULL; {write_of_a_key}"),
        // A gap, before the row or before the write.
        format!("{revoke} + 1; {write_of_a_key}"),
        format!("{revoke}; {write_of_a_key}; {write_of_a_key}"),
        // A version that keeps the key from being changed or revoked.
        format!("{revoke}, version = 2147483647; {write_of_a_key}"),
        format!("{revoke}, version = version - 1; {write_of_a_key}"),
        // Here the next revision could be one that was taken meanwhile.
        format!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {revoke}; {write_of_a_key}"),
    ] {
        let done = thief
            .batch_execute(&format!("BEGIN; {refused}; COMMIT"))
            .await;
        assert!(done.is_err(), "{refused}");
        thief.batch_execute("ROLLBACK").await.expect("ended");
    }
    let mut client = server.client().await;
    assert!(client.is_granted(&token).await);
    client.revoke(&key_id).await.expect("revoked");
    assert!(!client.is_granted(&token).await);
    // The same in a write of its own is known at once.
    let resumed = format!(
        "BEGIN; {resume}; {}; COMMIT",
        write_of("account_id", "'globex'", "accounts")
    );
    thief.batch_execute(&resumed).await.expect("written");
    client.create_key().await;
}

/// Many rows may change in one statement, and many writes may be stored in one.
#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_rows_has_a_write_of_its_own() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(client.create_key().await.0);
    }
    let (token, key_id) = client.create_key().await;
    client.revoke(&key_id).await.expect("revoked");
    tokens.push(token);
    let thief = session(&create_role_for("service", &cluster, &store)).await;

    let last = "(SELECT max(revision) FROM keyservice.writes)";
    let revoke = |revision: &str| {
        format!(
            "UPDATE keyservice.keys k SET revoke_time = now(), revision = {last} + {revision} \
             FROM (SELECT key_id, row_number() OVER (ORDER BY create_revision) AS number \
                   FROM keyservice.keys) n WHERE n.key_id = k.key_id"
        )
    };
    let insert = |which: &str| {
        format!(
            "INSERT INTO keyservice.writes (revision, write_time, key_id) \
             SELECT revision, now(), key_id FROM keyservice.keys WHERE revision > {last} AND {which} \
             ORDER BY revision"
        )
    };
    let all = insert("true");
    for refused in [
        // Some have no write.
        format!(
            "{}; {}",
            revoke("number"),
            insert(&format!("revision <> {last} + 3"))
        ),
        format!(
            "{}; {}",
            revoke("number"),
            insert(&format!("revision <> {last} + 2"))
        ),
        // A gap, and an earlier revision among them.
        format!("{}; {all}", revoke("number * 2")),
        format!("{}; {all}", revoke("number + 1")),
        format!("{}; {all}", revoke("number - 1")),
        // An earlier revision, which no row has any more.
        "UPDATE keyservice.keys SET revoke_time = now(), revision = create_revision + number \
         FROM (SELECT max(create_revision) - min(create_revision) AS number FROM keyservice.keys) n \
         WHERE create_revision = (SELECT min(create_revision) FROM keyservice.keys)"
            .to_owned(),
        // Writes that name one another's rows.
        format!(
            "{}; INSERT INTO keyservice.writes (revision, write_time, key_id) \
             SELECT 2 * {last} + 5 - revision, now(), key_id FROM keyservice.keys WHERE revision > {last}",
            revoke("number")
        ),
        // One of them of a version that it never had.
        format!(
            "UPDATE keyservice.keys SET revoke_time = now(), revision = revision + {last}, \
                 version = CASE WHEN revision = {last} THEN 9 ELSE version END; {all}"
        ),
    ] {
        let done = thief
            .batch_execute(&format!("BEGIN; {refused}; COMMIT"))
            .await;
        assert!(done.is_err(), "{refused}");
        thief.batch_execute("ROLLBACK").await.expect("ended");
    }
    let revoked = format!("BEGIN; {}; {all}; COMMIT", revoke("number"));
    thief.batch_execute(&revoked).await.expect("written");
    // Whoever creates a key waits for what was written before.
    client.create_key().await;
    for token in tokens {
        assert!(!client.is_granted(&token).await);
    }
}

/// No List would find a key of an earlier revision, and no change would find one of another version.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_of_the_next_revision_and_the_first_version() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let next = "(SELECT max(revision) + 1 FROM keyservice.writes)";
    let create = |create_revision: &str, version| {
        format!(
            "BEGIN; \
             INSERT INTO keyservice.keys (key_id, digest, account_id, name, preview, create_time, \
                 create_revision, revision, version) \
             VALUES (gen_random_uuid(), decode(repeat('ab', 32), 'hex'), 'acme', 'a key', '', now(), \
                 {create_revision}, {next}, {version}); \
             INSERT INTO keyservice.writes (revision, write_time, key_id) \
             SELECT revision, now(), key_id FROM keyservice.keys WHERE revision = {next}; \
             COMMIT"
        )
    };
    for refused in [create("0", 1), create(next, 2), create(next, 0)] {
        let done = thief.batch_execute(&refused).await;
        assert!(done.is_err(), "{refused}");
        thief.batch_execute("ROLLBACK").await.expect("ended");
    }
    let created = create(next, 1);
    thief.batch_execute(&created).await.expect("created");
}

/// Two sessions may each find the same revision free.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_a_revision_waits_for_the_writer_before() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let added = server.domains().await.add("acme", "example.net").await;
    added.expect("added");
    let address = create_role_for("service", &cluster, &store);
    let (first, second) = (session(&address).await, session(&address).await);
    let next = "(SELECT max(revision) + 1 FROM keyservice.writes)";
    let revoke =
        format!("BEGIN; UPDATE keyservice.keys SET revoke_time = now(), revision = {next}");
    first.batch_execute(&revoke).await.expect("updated");
    let widen = format!(
        "SET lock_timeout = 300; UPDATE keyservice.domains SET include_subdomains = true, revision = {next}"
    );
    let waited = second.batch_execute(&widen).await.expect_err("it waits");
    assert_eq!(waited.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_replicas_are_limited() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let insert = "INSERT INTO keyservice.replicas \
                  SELECT gen_random_uuid(), 'false', 0, 1, 200, now() FROM generate_series(1, $1::int)";
    assert!(thief.execute(insert, &[&60_000]).await.is_err());
    let dead = "SELECT pg_relation_size('keyservice.replicas') < 500000";
    assert_eq!(cluster.psql(database_in(&store), dead), "t");
    thief.execute(insert, &[&900]).await.expect("inserted");
    server.client().await.create_key().await;
    eventually("they are removed", async || {
        let left = "SELECT count(*) FROM keyservice.replicas WHERE name = 'false'";
        cluster.psql(database_in(&store), left) == "0"
    })
    .await;
    let lines = server.log().matches("lease has lapsed").count();
    assert!((1..=30).contains(&lines), "{lines}");
}

/// A replica that does not read the feed keeps everybody from suspending, as one of an older release does.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_replaces_a_row_that_says_less_of_its_replica() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let plant = "WITH own AS (DELETE FROM keyservice.replicas RETURNING *) \
                 INSERT INTO keyservice.replicas \
                     (replica_id, name, applied_revision, renewals, lease_millis, renew_time) \
                 SELECT replica_id, name, applied_revision, renewals, lease_millis, renew_time FROM own";
    let planted = thief.execute(plant, &[]).await.expect("planted");
    assert_eq!(planted, 1);
    let mut accounts = AccountServiceClient::new(server.channel().await);
    eventually("an account can be suspended", async || {
        let request = SuspendAccountRequest {
            account_id: "acme".into(),
            reason: "test".into(),
        };
        accounts.suspend_account(request).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_of_replicas_keeps_a_replica_from_renewing_for_good() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease", "1s"], &[]).await;
    let (token, key_id) = server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let highest = "UPDATE keyservice.replicas SET renewals = 9223372036854775807";
    thief.batch_execute(highest).await.expect("updated");
    eventually("the replica renews again", async || {
        let own = "SELECT count(*) FROM keyservice.replicas WHERE renewals < 1000000";
        cluster.psql(database_in(&store), own) == "1"
    })
    .await;
    server.health().await.wait_until_serving().await;
    let mut client = server.client().await;
    assert!(client.is_granted(&token).await);
    client.revoke(&key_id).await.expect("revoked");
    server.terminate().await;

    let full = "INSERT INTO keyservice.replicas \
                SELECT gen_random_uuid(), 'false', 0, 1, 200, now() FROM generate_series(1, 1000)";
    thief.batch_execute(full).await.expect("inserted");
    let server = Server::start(&store).await;
    assert!(!server.client().await.is_granted(&token).await);
}

/// The role may change its own settings, and they outlive a new password.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_role_neither_weaken_a_commit_nor_end_its_sessions() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await.terminate().await;
    let address = create_role_for("service", &cluster, &store);
    for setting in [
        "synchronous_commit = local",
        "lock_timeout = 1",
        "idle_session_timeout = 200",
        "idle_in_transaction_session_timeout = 1",
        "client_min_messages = debug5",
    ] {
        let set = format!("ALTER ROLE \"{}\" SET {setting}", role_in(&address));
        session(&address)
            .await
            .batch_execute(&set)
            .await
            .expect("set");
    }
    let server = Server::start(&address).await;
    let (token, _) = server.client().await.create_key().await;
    assert!(server.client().await.is_granted(&token).await);
    // Each session begins with a few, before it has its own settings.
    let notices = server.log().matches("PostgreSQL says").count();
    assert!(notices <= 20, "{notices}");

    let warned = server.log();
    assert!(
        warned.contains("client_min_messages") && warned.contains("RESET"),
        "{warned}"
    );
    let weak = session(&address).await;
    let begun = "SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                 BEGIN; SELECT keyservice.begin_write()";
    weak.batch_execute(begun).await.expect("begun");
    let row = weak.query_one("SHOW synchronous_commit", &[]).await;
    assert_eq!(row.expect("an answer").get::<_, String>(0), "on");
}

/// It ends a session before that can have settings of its own, and here always, however fast the machine is.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_on_transactions_that_keeps_sessions_from_beginning_is_named() {
    let cluster = Cluster::shared_of(Version::Newest);
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let service = create_role_for("service", &cluster, &store);
    let limit = format!(
        "ALTER ROLE {} SET transaction_timeout = '1ms'",
        role_in(&service)
    );
    cluster.psql("postgres", &limit);
    let slow_login = "CREATE FUNCTION public.wait() RETURNS event_trigger LANGUAGE plpgsql \
                      AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.1); END'; \
                      CREATE EVENT TRIGGER wait ON login EXECUTE FUNCTION public.wait()";
    session(&store)
        .await
        .batch_execute(slow_login)
        .await
        .expect("created");
    assert_refused(
        &mut command(&service),
        &["transaction_timeout is too short"],
    )
    .await;
}

/// Everybody who may connect to a new database may hold an advisory lock.
#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_lock_does_not_keep_out_a_first_start() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let stranger = session(&store).await;
    let lock = "SELECT pg_advisory_lock(1415071059, 2)";
    stranger.batch_execute(lock).await.expect("locked");
    Server::start(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_audit_record_hides_no_other_and_says_nothing_to_a_terminal() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let record = |caller: &str, method: &str, outcome: &str| {
        format!(
            "INSERT INTO keyservice.audit (time, caller, method, outcome, calls) \
             VALUES (now(), {caller}, {method}, {outcome}, 1)"
        )
    };
    let at = |time: &str| record("'x'", "'List'", "'OK'").replace("now()", &format!("'{time}'"));
    for refused in [
        record("repeat('x', 401)", "'List'", "'OK'"),
        record("'x'", "repeat('x', 401)", "'OK'"),
        record("'x'", "E'List\\n'", "'OK'"),
        record("'x'", "'List'", "E'OK\\u001b[2J'"),
        at("infinity"),
        at("-infinity"),
        at("0001-01-01 BC"),
        at("10000-01-01 00:00:00+00"),
    ] {
        assert!(thief.batch_execute(&refused).await.is_err(), "{refused}");
    }
    let obeyed = record(
        "E'x\\u001b[2J\\n\\u009b\\u202e\\u3164\\ufe0f\\u0301'",
        "'Zap'",
        "'OK'",
    );
    thief.batch_execute(&obeyed).await.expect("inserted");
    // The newest by their times.
    for time in ["9999-12-31 23:59:59+00", "2100-01-01 00:00:00+00"] {
        thief.batch_execute(&at(time)).await.expect("inserted");
    }
    let soon = record("'x'", "'List'", "'OK'").replace("now()", "now() + interval '1 minute'");
    thief.batch_execute(&soon).await.expect("inserted");
    let newest = audit(&store, &["--limit", "1", "--format", "json"]);
    let (printed, said) = (newest.stdout, newest.stderr);
    assert!(String::from_utf8_lossy(&printed).contains("Zap"));
    assert!(String::from_utf8_lossy(&said).contains("--until 9999-12-31"));

    for format in ["json", "table"] {
        let printed = audit(&store, &["--format", format]).stdout;
        let printed = String::from_utf8(printed).expect("UTF-8");
        assert!(
            printed.contains("Zap") && printed.contains("Create"),
            "{printed}"
        );
        let obeyed = |it: char| {
            it.is_control() && it != '\n' || "\u{202e}\u{3164}\u{fe0f}\u{301}".contains(it)
        };
        assert!(!printed.contains(obeyed), "{printed:?}");
        let records = if format == "json" { 2 } else { 3 };
        assert_eq!(printed.lines().count(), records, "{printed}");
    }
}

/// Somebody who holds up the grants, by accident or not, makes them fail and not wait for ever.
#[tokio::test(flavor = "multi_thread")]
async fn printed_grants_give_up_if_another_session_holds_what_they_change() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    use_everything(&store).await.expect("migrated");
    let role = role_in(&create_role_without_rights("service", &cluster, &store));
    let other = session(&store).await;
    let hold = format!("BEGIN; GRANT SELECT ON keyservice.keys TO {role}");
    other.batch_execute(&hold).await.expect("held");
    let grants = grants(&role, "service", &store);
    let soon = grants.replace("lock_timeout = '10s'", "lock_timeout = '100ms'");
    assert_ne!(soon, grants);
    let operator = session(&store).await;
    let limit = "SET statement_timeout = '10s'";
    operator.batch_execute(limit).await.expect("set");
    let refused = operator.batch_execute(&soon).await.expect_err("held");
    assert_eq!(refused.code(), Some(&SqlState::LOCK_NOT_AVAILABLE));
    operator.batch_execute("ROLLBACK").await.expect("ended");
    other.batch_execute("ROLLBACK").await.expect("let go");
    operator.batch_execute(&grants).await.expect("granted");
}
