//! The slots of admin calls: no caller with few rights keeps another's calls out.

use super::Guarded;
use crate::support::{
    clients::callers::{BearerClient, Credential, client},
    eventually,
    mount::Mount,
    postgres::Cluster,
    server::{Server, error_reason},
};
use futures::future::join_all;
use keyservice::grpc::proto::{
    BatchRevokeRequest, CreateResponse,
    batch_revoke_request::{Filter, Selection},
};
use std::time::Duration;
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Status};

const FEW_SLOTS: [&str; 2] = ["--max-admin-calls", "16"];

/// What is open to the Creates of an admin of some accounts, if nobody else calls.
const OPEN_TO_CREATES: usize = 10;

fn operator() -> Credential {
    Credential::new("operator", &["--role", "admin"])
}

/// An admin of the account that has its name.
fn limited(name: &str) -> Credential {
    Credential::new(name, &["--role", "admin", "--accounts", name])
}

fn dry_run(account: &str) -> BatchRevokeRequest {
    BatchRevokeRequest {
        account_id: Some(account.into()),
        selection: Some(Selection::Filter(Filter::default())),
        reason: "a search".into(),
        dry_run: true,
    }
}

fn is_out_of_slots(refused: &Status) -> bool {
    refused.code() == Code::ResourceExhausted
        && error_reason(refused).as_deref() == Some("TOO_MANY_ADMIN_CALLS")
}

/// Creates that go on in tasks of their own, until as many as there are slots for do so. The others
/// were refused.
async fn take_all_slots(
    client: &BearerClient,
    account: &'static str,
) -> JoinSet<Result<CreateResponse, Status>> {
    let mut calls = JoinSet::new();
    for _ in 0..40 {
        let mut client = client.clone();
        calls.spawn(async move { client.create(account, "one of many").await });
    }
    for _ in OPEN_TO_CREATES..40 {
        let refused = calls.join_next().await.expect("a call").expect("no panic");
        let refused = refused.expect_err("there are not so many slots");
        assert!(is_out_of_slots(&refused), "{refused}");
        assert!(refused.message().contains("try again"), "{refused}");
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_admin_with_all_its_slots_keeps_out_neither_a_revoke_nor_another_caller() {
    let credentials = [operator(), limited("acme"), limited("globex")];
    let [operator, acme, globex] = &credentials;
    let lines: Vec<_> = credentials.iter().map(|one| one.line.as_str()).collect();
    let guarded = Guarded::start_with(&lines, &FEW_SLOTS).await;
    let channel = guarded.server.channel().await;
    let mut operator = client(channel.clone(), &operator.secret);
    let (acme, mut globex) = (
        client(channel.clone(), &acme.secret),
        client(channel, &globex.secret),
    );
    let token = operator.create("acme", "leaked").await.expect("created");
    let key_id = token.key.expect("a key").key_id;

    let file = guarded.directory.path().join("keys.db");
    let file = rusqlite::Connection::open(file).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("the lock blocks all writes");
    let mut in_flight = take_all_slots(&acme, "acme").await;
    // Reading is not blocked, and what is answered gives its slot up at once.
    globex
        .create("initech", "foreign")
        .await
        .expect_err("refused");

    let mut of_globex = globex.clone();
    let created = tokio::spawn(async move { of_globex.create("globex", "the first").await });
    let revoked = tokio::spawn(async move { operator.revoke(&key_id).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!created.is_finished() && !revoked.is_finished(), "no slot");
    let dry_run = acme.clone().0.batch_revoke(dry_run("acme")).await;
    let refused = dry_run.expect_err("it takes no rights away");
    assert!(is_out_of_slots(&refused), "{refused}");
    file.execute_batch("ROLLBACK").expect("writes go on");
    created.await.expect("no panic").expect("created");
    revoked.await.expect("no panic").expect("revoked");
    while let Some(created) = in_flight.join_next().await {
        created.expect("no panic").expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_over_its_share_gives_slots_up_to_one_that_was_refused() {
    let credentials = [limited("acme"), limited("globex")];
    let lines: Vec<_> = credentials.iter().map(|one| one.line.as_str()).collect();
    let guarded = Guarded::start_with(&lines, &FEW_SLOTS).await;
    let channel = guarded.server.channel().await;
    let [acme, globex] = credentials.map(|one| client(channel.clone(), &one.secret));

    let file = guarded.directory.path().join("keys.db");
    let file = rusqlite::Connection::open(file).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("the lock blocks all writes");
    let in_flight = take_all_slots(&acme, "acme").await;
    let calls = (0..4).map(async |_| globex.clone().create("globex", "some").await);
    let of_globex = timeout(Duration::from_millis(500), join_all(calls)).await;
    of_globex.expect_err("one has a slot, and waits for the lock");
    file.execute_batch("ROLLBACK").expect("writes go on");
    for created in in_flight.join_all().await {
        created.expect("created");
    }
    // Now each of them has half of the slots, as long as the other's refusal is not long ago.
    file.execute_batch("BEGIN IMMEDIATE")
        .expect("the lock blocks all writes");
    let mut of_acme = JoinSet::new();
    for _ in 0..OPEN_TO_CREATES {
        let mut acme = acme.clone();
        of_acme.spawn(async move { acme.create("acme", "more").await });
    }
    for _ in 0..OPEN_TO_CREATES / 2 {
        let refused = of_acme
            .join_next()
            .await
            .expect("a call")
            .expect("no panic");
        let refused = refused.expect_err("it has its share");
        assert!(is_out_of_slots(&refused), "{refused}");
        assert!(
            refused.message().contains("let some of your calls end"),
            "{refused}"
        );
    }
    let mut of_globex = JoinSet::new();
    for _ in 0..OPEN_TO_CREATES / 2 {
        let mut globex = globex.clone();
        of_globex.spawn(async move { globex.create("globex", "more").await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    file.execute_batch("ROLLBACK").expect("writes go on");
    for created in [of_acme.join_all().await, of_globex.join_all().await].concat() {
        created.expect("created");
    }
}

/// Such a Create waits for the lease of the replica that is down, and nobody waits for the Create.
#[tokio::test(flavor = "multi_thread")]
async fn creates_that_are_abandoned_while_a_replica_is_down_give_their_slots_back() {
    let (operator, acme) = (operator(), limited("acme"));
    let lines = [operator.line.as_str(), acme.line.as_str()].join("\n");
    let file = Mount::new(&[("callers", &lines)]);
    let credentials = file.arg("callers");
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let long_lease = ["--credentials", &credentials, "--lease", "30s"];
    let args = [&long_lease[..], &FEW_SLOTS].concat();
    let server = Server::start_with(&store, &args, &[]).await;
    let down = Server::start_with(&store, &args, &[]).await;
    let channel = server.channel().await;
    let (mut operator, acme) = (
        client(channel.clone(), &operator.secret),
        client(channel, &acme.secret),
    );
    let created = operator.create("acme", "leaked").await.expect("created");
    let key_id = created.key.expect("a key").key_id;

    down.signal("STOP");
    for _ in 0..4 {
        let calls =
            (0..OPEN_TO_CREATES).map(async |_| acme.clone().create("acme", "abandoned").await);
        let answered = timeout(Duration::from_millis(700), join_all(calls)).await;
        answered.expect_err("those with a slot wait for the replica");
    }
    let mut reader = acme.clone();
    let has_slots = async || {
        let mut lists = JoinSet::new();
        for _ in 0..4 {
            let mut acme = reader.clone();
            lists.spawn(async move { acme.list("acme").await });
        }
        lists.join_all().await.iter().all(Result::is_ok)
    };
    eventually("the slots are free, long before the lease ends", has_slots).await;
    let stored = reader.list("acme").await.expect("a list").len();
    assert!(
        stored > OPEN_TO_CREATES,
        "writes go on without callers: {stored}"
    );

    let revoked = timeout(Duration::from_secs(1), operator.revoke(&key_id)).await;
    revoked.expect_err("it has a slot, and waits for the replica");
    down.signal("CONT");
    operator.revoke(&key_id).await.expect("revoked");
}
