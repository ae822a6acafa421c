//! The page of metrics: which values it shows, and that it shows no secret.

use crate::support::{
    certificates::{Authority, Issued},
    clients::callers::{Bearer, Credential, LIST, client, outcome, protection, protection_files},
    directory, eventually,
    mount::Mount,
    postgres::{
        Cluster, database_in,
        roles::create_role_for,
        session,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock},
    },
    search::Search,
    server::{
        Server,
        process::Process,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use keyservice::grpc::proto::{
    AuthorizeRequest, CreateRequest, SuspendAccountRequest, SuspendRequest,
    account_service_client::AccountServiceClient, suspend_request::Target,
};
use std::time::{Duration, Instant, SystemTime};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_status_and_decisions_by_reason() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    let restricted = CreateRequest {
        account_id: "acme".into(),
        name: "restricted".into(),
        domain: Some("other.example".into()),
        ..Default::default()
    };
    let restricted = client.create_with(restricted).await.expect("created").token;
    assert!(client.is_granted(&token).await);
    assert!(client.is_granted(&token).await);
    let unknown = token_of_another_server().await;
    for token in ["no token", &unknown, &restricted] {
        assert!(!client.is_granted(token).await);
    }
    client
        .authorize(&token, "no domain")
        .await
        .expect_err("bad input");
    client.revoke(&key_id).await.expect("revoked");
    assert!(client.is_revoked(&token).await);

    let scrape = Scrape::of(&server);
    assert_eq!(scrape.calls("Create", "OK"), 2.0);
    assert_eq!(scrape.calls("Revoke", "OK"), 1.0);
    assert_eq!(scrape.calls("Authorize", "OK"), 6.0);
    assert_eq!(scrape.calls("Authorize", "INVALID_ARGUMENT"), 1.0);
    for (outcome, reason, count) in [
        ("grant", "", 2.0),
        ("denial", "MALFORMED_TOKEN", 1.0),
        ("denial", "UNKNOWN_TOKEN", 1.0),
        ("denial", "DOMAIN_NOT_ALLOWED", 1.0),
        ("denial", "REVOKED", 1.0),
        ("denial", "EXPIRED", 0.0),
        ("none", "LEASE_LAPSED", 0.0),
    ] {
        let name =
            format!("keyservice_decisions_total{{outcome=\"{outcome}\",reason=\"{reason}\"}}");
        assert_eq!(scrape.value(&name), count, "{name}");
    }
    for (status, count) in [("active", 1.0), ("revoked", 1.0), ("expired", 0.0)] {
        let name = format!("keyservice_keyring_keys{{status=\"{status}\"}}");
        assert_eq!(scrape.value(&name), count, "{name}");
    }
    assert_eq!(scrape.value("keyservice_applied_revision"), 3.0);
    for (method, count) in [("Create", 2.0), ("Revoke", 1.0)] {
        let waits = format!("keyservice_write_wait_seconds_count{{method=\"{method}\"}}");
        assert_eq!(scrape.value(&waits), count, "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_errors_start_at_zero_and_other_counters_start_with_their_first_call() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let scrape = Scrape::of(&server);
    for method in ["Authorize", "Create", "List", "Rotate", "Revoke"] {
        for status in ["UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE"] {
            assert!(scrape.shows_calls(method, status), "{method} {status}");
            assert_eq!(scrape.calls(method, status), 0.0, "{method} {status}");
        }
        for status in ["OK", "CANCELLED", "INVALID_ARGUMENT"] {
            assert!(!scrape.shows_calls(method, status), "{method} {status}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_is_no_longer_counted_as_active() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let soon = SystemTime::now() + Duration::from_secs(1);
    let expiring = CreateRequest {
        account_id: "acme".into(),
        name: "expiring".into(),
        expire_time: Some(soon.into()),
        ..Default::default()
    };
    let created = server.client().await.create_with(expiring).await;
    created.expect("created");
    eventually("it is counted as expired", async || {
        let scrape = Scrape::of(&server);
        let keys =
            |status| scrape.value(&format!("keyservice_keyring_keys{{status=\"{status}\"}}"));
        assert_eq!(keys("active") + keys("expired"), 1.0);
        keys("expired") == 1.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_keys_and_accounts_are_counted() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;
    client.create_key().await;
    let suspend = SuspendRequest {
        target: Some(Target::KeyId(key_id)),
        account_id: None,
        reason: "abuse".into(),
    };
    client.0.suspend(suspend).await.expect("suspended");
    assert!(!client.is_granted(&token).await);
    let suspend = SuspendAccountRequest {
        account_id: "globex".into(),
        reason: "abuse".into(),
    };
    let mut accounts = AccountServiceClient::new(server.channel().await);
    accounts.suspend_account(suspend).await.expect("suspended");

    let scrape = Scrape::of(&server);
    for name in [
        "keyservice_keyring_keys{status=\"active\"}",
        "keyservice_keyring_keys{status=\"suspended\"}",
        "keyservice_keyring_suspended_accounts",
        "keyservice_decisions_total{outcome=\"denial\",reason=\"SUSPENDED\"}",
        "keyservice_write_wait_seconds_count{method=\"Suspend\"}",
        "keyservice_write_wait_seconds_count{method=\"SuspendAccount\"}",
    ] {
        assert_eq!(scrape.value(name), 1.0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_reports_its_idle_and_used_connections_and_the_waiting_calls() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let args = [
        &[METRICS, "--pool-size=1", "--acquire-timeout=1h"],
        &LONG_STATEMENT_TIMEOUT[..],
    ]
    .concat();
    let server = Server::start_with(&store, &args, &[]).await;
    let wait_until = async |idle, in_use, waiting| {
        let expected = format!("{idle} idle, {in_use} in use, {waiting} waiting");
        eventually(&expected, async || {
            let scrape = Scrape::of(&server);
            let state =
                |it| scrape.value(&format!("keyservice_pool_connections{{state=\"{it}\"}}"));
            let pool = (state("idle"), state("in_use"));
            (pool, scrape.value("keyservice_pool_waiting")) == ((idle, in_use), waiting)
        })
        .await;
    };
    let mut client = server.client().await;
    client.create_key().await;
    wait_until(1.0, 0.0, 0.0).await;
    let lock = TableLock::on_keys(&store).await;
    let create = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.create("acme", "a key").await })
    };
    let first = create();
    // Otherwise the others may share its transaction.
    wait_until(0.0, 1.0, 0.0).await;
    let others = [create(), create()];
    wait_until(0.0, 1.0, 2.0).await;
    drop(lock);
    for create in others.into_iter().chain([first]) {
        create.await.expect("no panic").expect("created");
    }
    wait_until(1.0, 0.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_counts_all_registered_replicas() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let first = Server::start_with(&store, &[METRICS], &[]).await;
    let second = Server::start_with(&store, &[METRICS], &[]).await;
    for server in [&first, &second] {
        // A Create looks up the registered replicas.
        server.client().await.create_key().await;
        assert_eq!(Scrape::of(server).value("keyservice_replicas"), 2.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_processor_time_that_the_system_counts() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let counted = || Process(server.pid()).cpu_time().as_secs_f64();
    eventually("it has used some processor time", async || {
        Scrape::of(&server);
        counted() > 0.02
    })
    .await;
    let before = counted();
    let told = Scrape::of(&server).value("process_cpu_seconds_total");
    let after = counted();
    assert!((before..=after).contains(&told), "{before} {told} {after}");
}

async fn token_of_another_server() -> String {
    let server = Server::on_sqlite().await;
    server.client().await.create_key().await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_cancelled_calls_are_counted() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let admin = Credential::new("operator", &["--role", "admin"]);
    let files = Mount::new(&[("callers", &admin.line)]);
    let credentials = format!("--credentials={}", files.arg("callers"));
    let server = Server::start_with(&store, &[METRICS, &credentials], &[]).await;
    let refused = outcome(server.channel().await, &Bearer::none(), LIST).await;
    assert_eq!(refused, Code::Unauthenticated);
    assert_eq!(Scrape::of(&server).calls("List", "UNAUTHENTICATED"), 1.0);

    let lock = TableLock::on_keys(&store).await;
    let mut client = client(server.channel().await, &admin.secret);
    let sent = Instant::now();
    let given_up = tokio::spawn(async move { client.create("acme", "a key").await });
    eventually("the Create waits", async || lock.blocks_a_create().await).await;
    let waits = Instant::now();
    let waited = waits.elapsed().as_secs_f64();
    given_up.abort();
    eventually("it is counted", async || {
        Scrape::of(&server).calls("Create", "CANCELLED") == 1.0
    })
    .await;
    let in_all = sent.elapsed().as_secs_f64();
    let took = Scrape::of(&server).call_seconds("Create", "CANCELLED");
    assert!(
        (waited..=in_all).contains(&took),
        "{waited} {took} {in_all}"
    );
}

/// A transaction that never ends keeps what renewals leave behind.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_the_dead_rows_of_leases_to_a_role_without_further_rights() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    drop(Server::start(&store).await);
    let database = database_in(&store);
    let old = session(&store).await;
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM keyservice.keys";
    old.batch_execute(begin).await.expect("it began");
    let renew = "DO $$ BEGIN \
        INSERT INTO keyservice.replicas VALUES (gen_random_uuid(), 'a replica', 0, 0, 200, now()); \
        FOR i IN 1..3000 LOOP UPDATE keyservice.replicas SET renewals = i; END LOOP; \
        END $$";
    cluster.psql(database, renew);

    let service = create_role_for("service", &cluster, &store);
    let server = Server::start_with(&service, &[METRICS], &[]).await;
    eventually("they are counted", async || {
        Scrape::of(&server).value("keyservice_lease_dead_rows") >= 3000.0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_a_lapsed_lease_and_a_failing_store() {
    let cluster = Cluster::start();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &[METRICS, "--lease=1s"], &[]).await;
    let scrape = Scrape::of(&server);
    let left = scrape.value("keyservice_lease_left_seconds");
    assert!(left > 0.0 && left <= 0.9, "{left}");
    assert_eq!(scrape.value("keyservice_replicas"), 1.0);
    assert_eq!(scrape.value("keyservice_pool_max_connections"), 8.0);

    let database = database_in(&store).to_owned();
    cluster.psql(
        "postgres",
        &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
    );
    cluster.end_sessions(&format!("datname = '{database}'"));
    eventually("the lease has lapsed", async || {
        Scrape::of(&server).value("keyservice_lease_left_seconds") == 0.0
    })
    .await;
    let mut client = server.client().await;
    client
        .authorize("no token", "example.com")
        .await
        .expect_err("no lease");
    client.create("acme", "a key").await.expect_err("no store");
    client.list("acme").await.expect_err("no store");
    // This refusal would be recorded if the store worked.
    client.list("no account").await.expect_err("bad input");
    let scrape = Scrape::of(&server);
    let lapsed = "keyservice_decisions_total{outcome=\"none\",reason=\"LEASE_LAPSED\"}";
    assert_eq!(scrape.value(lapsed), 1.0);
    for operation in ["renew", "create", "list", "audit"] {
        let errors = format!("keyservice_store_errors_total{{operation=\"{operation}\"}}");
        assert!(scrape.value(&errors) > 0.0, "{operation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_when_the_certificate_expires_and_which_files_are_invalid() {
    let authority = Authority::new();
    let issued = authority.server("localhost");
    let admin = Credential::new("operator", &["--role", "admin"]);
    let (mut mount, arguments) = protection(&admin.line, &issued);
    let directory = directory();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Server::start_listening(&sqlite_in(&directory), &arguments, &[]).await;
    eventually("the metrics port is open", async || {
        server.logged_port("metrics_address").is_some()
    })
    .await;
    let scrape = Scrape::of(&server);
    let expiry = scrape.value("keyservice_tls_certificate_expiry_timestamp_seconds");
    assert_eq!(expiry, issued.not_after as f64);
    let wait_until = async |credentials, tls| {
        eventually(&format!("{credentials} and {tls}"), async || {
            let scrape = Scrape::of(&server);
            let failed = |it| scrape.value(&format!("keyservice_reload_failed{{files=\"{it}\"}}"));
            (failed("credentials"), failed("tls")) == (credentials, tls)
        })
        .await;
    };
    wait_until(0.0, 0.0).await;
    mount.swap(&protection_files("operator emperor", &issued));
    wait_until(1.0, 0.0).await;
    let of_no_key = Issued {
        key: "no key".to_owned(),
        ..issued.clone()
    };
    mount.swap(&protection_files(&admin.line, &of_no_key));
    wait_until(0.0, 1.0).await;
    mount.swap(&protection_files(&admin.line, &issued));
    wait_until(0.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_contains_nothing_that_a_caller_sent_or_received() {
    let directory = directory();
    let server = Server::start_with(&sqlite_in(&directory), &[METRICS], &[]).await;
    let mut client = server.client().await;
    let created = client
        .create("some-account", "some name")
        .await
        .expect("created");
    let key_id = created.key.expect("a key").key_id;
    let asked = AuthorizeRequest {
        token: created.token.clone(),
        domain: "some.example".into(),
    };
    client
        .0
        .authorize(Request::new(asked))
        .await
        .expect("an answer");
    let path = format!("/tosend.keys.v1.KeyService/{}", created.token);
    let unknown = outcome(server.channel().await, &Bearer::none(), &path).await;
    assert_eq!(unknown, Code::Unimplemented);

    let scrape = Scrape::of(&server).text;
    assert_eq!(Search::new([&*created.token]).find(scrape.as_bytes()), None);
    for text in ["some-account", "some name", "some.example", &*key_id] {
        assert!(!scrape.contains(text), "{text}");
    }
    assert!(scrape.contains("rpc_method=\"_OTHER\""), "{scrape}");
}
