//! Rows that somebody stores who has the password of the service's role, and what nobody believes of them.

use crate::support::{
    postgres::{Cluster, database_in, roles::create_role_for, session},
    server::{Client, Server, audit_command::audit},
};
use keyservice::grpc::proto::{CreateRequest, authorize_response::Decision};
use tokio_postgres::Client as Session;
use tonic::Code;

const REQUIRED: &[&str] = &["--verified-domains", "required"];

/// Stores a domain and its write, as the database demands.
async fn plant_domain(thief: &Session, account: &str, domain: &str) -> bool {
    let next = "(SELECT coalesce(max(revision), 0) + 1 FROM keyservice.writes)";
    let planted = format!(
        "BEGIN; \
         INSERT INTO keyservice.domains \
             (account_id, domain, include_subdomains, create_time, verify_time, revision) \
         VALUES ({account}, {domain}, true, now(), now(), {next}); \
         INSERT INTO keyservice.writes (revision, write_time, account_id, domain) \
         VALUES ({next}, now(), {account}, {domain}); \
         COMMIT"
    );
    let done = thief.batch_execute(&planted).await;
    thief.batch_execute("ROLLBACK").await.expect("ended");
    done.is_ok()
}

async fn is_granted(client: &mut Client, token: &str, domain: &str) -> bool {
    let decision = client.authorize(token, domain).await.expect("a decision");
    matches!(decision, Decision::Grant(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stored_public_suffix_verifies_no_domain_below_it() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, REQUIRED, &[]).await;
    let (token, _) = server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    for suffix in [
        "'com'",
        "'co.uk'",
        "'github.io'",
        "'amazonaws.com'",
        "'nobody.test'",
    ] {
        assert!(plant_domain(&thief, "'acme'", suffix).await, "{suffix}");
    }
    // When it returns, the rows are in memory too.
    let added = server.domains().await.add("acme", "example.net").await;
    added.expect("added");

    let loaded = Server::start_with(&store, REQUIRED, &[]).await;
    for server in [&server, &loaded] {
        let mut client = server.client().await;
        for others in [
            "com",
            "victim.com",
            "victim.co.uk",
            "victim.github.io",
            "s3.amazonaws.com",
        ] {
            assert!(!is_granted(&mut client, &token, others).await, "{others}");
        }
        for own in ["a.nobody.test", "amazonaws.com", "example.net"] {
            assert!(is_granted(&mut client, &token, own).await, "{own}");
        }
        let log = server.log();
        assert_eq!(log.matches("no account can have").count(), 4, "{log}");
    }
    let removed = server.domains().await.remove("acme", "com").await;
    removed.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_has_an_account_or_a_domain_of_another_form() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await;
    let (domain, account) = ("'example.org'", "'acme'");
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    for other in ["''", "' '", "E'a\\nb'", "'é'", "repeat('a', 129)", "'<b>'"] {
        assert!(!plant_domain(&thief, other, domain).await, "{other}");
    }
    let others = [
        "''",
        "'.'",
        "'COM'",
        "'a..b'",
        "'a.'",
        "'é.de'",
        "E'a.de\\n'",
        "repeat('a.', 130) || 'de'",
    ];
    for other in others {
        assert!(!plant_domain(&thief, account, other).await, "{other}");
    }
    let key = |account: &str, domain: &str| {
        format!(
            "INSERT INTO keyservice.keys (key_id, digest, account_id, name, preview, domain, create_time, \
                 create_revision, revision) \
             VALUES (gen_random_uuid(), decode(repeat('ab', 32), 'hex'), {account}, 'a key', '', {domain}, \
                 now(), 1, 1)"
        )
    };
    for refused in [key("E'acme\\u001b'", "NULL"), key(account, "'*.com'")] {
        let error = thief.batch_execute(&refused).await.expect_err("refused");
        assert!(format!("{error:?}").contains("_form"), "{error:?}");
    }
    assert!(plant_domain(&thief, account, domain).await);
}

/// A write with a time far ahead would keep all later ones for as long.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_has_a_time_out_of_range() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    Server::start(&store).await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let write = |time: &str| {
        format!(
            "INSERT INTO keyservice.writes (revision, write_time, account_id) VALUES (1, {time}, 'acme')"
        )
    };
    let key = |column: &str, time: &str| {
        format!(
            "INSERT INTO keyservice.keys (key_id, digest, account_id, name, preview, create_revision, \
                 revision, create_time{column}) \
             VALUES (gen_random_uuid(), decode(repeat('ab', 32), 'hex'), 'acme', 'a key', '', 1, 1, {time})"
        )
    };
    let domain = |columns: &str, times: &str| {
        format!(
            "INSERT INTO keyservice.domains (account_id, domain, include_subdomains, revision, {columns}) \
             VALUES ('acme', 'example.org', true, 1, {times})"
        )
    };
    let account = |time: &str| {
        format!(
            "INSERT INTO keyservice.accounts (account_id, revision, suspend_reason, suspend_time) \
             VALUES ('acme', 1, 'x', {time})"
        )
    };
    for refused in [
        domain("create_time, verify_time", "'infinity', now()"),
        domain("create_time, verify_time", "now(), '-infinity'"),
        domain(
            "create_time, verify_time, remove_time",
            "now(), now(), '10000-01-01 00:00:00+00'",
        ),
        account("'infinity'"),
        account("'1969-12-31 00:00:00+00'"),
        write("'-infinity'"),
        key("", "'infinity'"),
        key(", expire_time", "now(), 'infinity'"),
        key(", expire_time", "now(), '-infinity'"),
        key(", revoke_time", "now(), '10000-01-01 00:00:00+00'"),
    ] {
        let error = thief.batch_execute(&refused).await.expect_err(&refused);
        assert!(
            format!("{error:?}").contains("time_range"),
            "{refused}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_create_names_its_key_after_the_write_that_made_it_is_gone() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let request = CreateRequest {
        account_id: "acme".into(),
        name: "a key".into(),
        request_id: Some("6c0ffee0-0000-4000-8000-000000000000".into()),
        ..Default::default()
    };
    client.create_with(request.clone()).await.expect("created");
    client.create_key().await;
    let gone = "SET session_replication_role = replica; \
                DELETE FROM keyservice.writes WHERE revision = (SELECT min(revision) FROM keyservice.keys)";
    cluster.psql(database_in(&store), gone);
    let again = client.create_with(request).await.expect_err("it exists");
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_was_used_at_a_time_to_come() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let used = |time| {
        format!("INSERT INTO keyservice.key_uses SELECT key_id, {time} FROM keyservice.keys")
    };
    for time in ["now() + interval '1 minute'", "'infinity'", "'9999-01-01'"] {
        assert!(thief.batch_execute(&used(time)).await.is_err(), "{time}");
    }
    thief.batch_execute(&used("now()")).await.expect("stored");
    let later = "UPDATE keyservice.key_uses SET last_used_time = now() + interval '1 hour'";
    assert!(thief.batch_execute(later).await.is_err());

    // As if the database's clock had been wrong.
    let unchecked =
        format!("ALTER TABLE keyservice.key_uses DROP CONSTRAINT used_before_now; {later}");
    cluster.psql(database_in(&store), &unchecked);
    let keys = server.client().await.list("acme").await.expect("listed");
    assert_eq!(keys[0].last_used_time, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_audit_record_is_printed_and_names_no_write_to_come() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let record = |number: &str, revision: &str| {
        format!(
            "INSERT INTO keyservice.audit (number, time, caller, method, outcome, calls, revision) \
             OVERRIDING SYSTEM VALUE \
             VALUES ({number}, '1970-01-01 00:00:00+00', 'x', 'Zap', 'OK', 1, {revision})"
        )
    };
    for (number, revision) in [
        ("0", "1"),
        ("-1", "1"),
        ("50", "0"),
        ("50", "-1"),
        ("50", "(SELECT max(revision) + 1 FROM keyservice.writes)"),
        ("50", "9223372036854775807"),
    ] {
        let refused = record(number, revision);
        assert!(thief.batch_execute(&refused).await.is_err(), "{refused}");
    }
    thief
        .batch_execute(&record("50", "1"))
        .await
        .expect("stored");
    thief
        .batch_execute(&record("9223372036854775807", "NULL"))
        .await
        .expect("stored");

    // As if somebody had done it before the table refused it.
    let unchecked = "ALTER TABLE keyservice.audit DROP CONSTRAINT number_range";
    cluster.psql(database_in(&store), unchecked);
    cluster.psql(database_in(&store), &record("-5", "NULL"));
    let printed = audit(&store, &["--format", "json"]).stdout;
    let printed = String::from_utf8(printed).expect("UTF-8");
    assert_eq!(printed.matches("Zap").count(), 3, "{printed}");
}

/// How long a text an index takes depends on how well the server compresses it.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_in_an_index_is_longer_than_a_restored_index_can_hold() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    server.client().await.create_key().await;
    let thief = session(&create_role_for("service", &cluster, &store)).await;
    let label = |bytes: usize| format!("('a=' || repeat('x', {}))", bytes - 2);
    let plant = async |bytes| {
        let revision = "(SELECT max(revision) + 1 FROM keyservice.writes)";
        let planted = format!(
            "BEGIN; \
             UPDATE keyservice.keys SET labels = ARRAY[{}], revision = {revision}, version = version + 1; \
             INSERT INTO keyservice.writes (revision, write_time, key_id) \
             SELECT {revision}, now(), key_id FROM keyservice.keys; \
             COMMIT",
            label(bytes)
        );
        let done = thief.batch_execute(&planted).await;
        thief.batch_execute("ROLLBACK").await.expect("ended");
        done.map_err(|error| {
            error
                .as_db_error()
                .expect("an answer")
                .constraint()
                .map(str::to_owned)
        })
    };
    assert_eq!(plant(401).await, Err(Some("text_lengths".to_owned())));
    assert_eq!(plant(7502).await, Err(Some("text_lengths".to_owned())));
    assert_eq!(plant(400).await, Ok(()));

    // Every other text in an index has a limit, too: that of an account id is part of its form.
    let unlimited = "SELECT DISTINCT c.relname || '.' || a.attname \
        FROM pg_index i \
        JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'keyservice'::regnamespace \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
        WHERE a.atttypid IN ('text'::regtype, 'text[]'::regtype, 'bytea'::regtype, 'varchar'::regtype) \
          AND NOT EXISTS ( \
              SELECT FROM pg_constraint k \
              WHERE k.conrelid = c.oid AND k.contype = 'c' AND a.attnum = ANY (k.conkey) \
                AND (k.conname = 'account_id_form' OR pg_get_constraintdef(k.oid) ~ ('length\\(' || a.attname || '\\) (<=|=)')))";
    assert_eq!(cluster.psql(database_in(&store), unlimited), "");
}
