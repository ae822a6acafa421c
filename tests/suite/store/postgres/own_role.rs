//! What somebody who has the password of the service's role cannot do for good.

use crate::support::{
    eventually,
    postgres::{
        Cluster, database_in,
        roles::{create_role_for, role_in},
        session,
    },
    server::{Server, audit_command::audit_output},
};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_replicas_are_limited() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let insert = "INSERT INTO keyservice.replicas \
                  SELECT gen_random_uuid(), 'false', 0, 1, 200, now() FROM generate_series(1, $1::int)";
    assert!(thief.execute(insert, &[&60_000]).await.is_err());
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
    let obeyed = record("E'x\\u001b[2J\\n\\u009b\\u202e'", "'Zap'", "'OK'");
    thief.batch_execute(&obeyed).await.expect("inserted");

    for format in ["json", "table"] {
        let printed = audit_output(&store, &["--format", format]);
        assert!(
            printed.contains("Zap") && printed.contains("Create"),
            "{printed}"
        );
        let obeyed = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
        assert!(!printed.contains(obeyed), "{printed:?}");
        let records = if format == "json" { 2 } else { 3 };
        assert_eq!(printed.lines().count(), records, "{printed}");
    }
}
