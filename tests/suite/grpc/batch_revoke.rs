//! BatchRevoke: many keys are denied everywhere when it returns.

use super::{ACCOUNT, Created, DOMAIN, create, denial, grant};
use crate::support::{
    clients::callers::{self, Credential},
    directory, eventually,
    mount::Mount,
    postgres::{Cluster, batch_gate::BatchGate},
    server::{self, Server, audit_command::records, sqlite_in},
    stores::Stores,
};
use keyservice::{
    grpc::proto::{
        BatchRevokeRequest, BatchRevokeResponse,
        batch_revoke_request::{Filter, Keys, Selection},
        denial::Reason,
        key::Status,
        key_service_client::KeyServiceClient,
    },
    model::token::Token,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_denies_the_keys_of_a_compromised_account() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let servers = [Server::start(&store).await, Server::start(&store).await];
    let mut client = servers[0].client().await;
    let mut keys = client.0.clone();
    let labelled = create(&mut client, |new| new.labels = label("test")).await;
    let plain = create(&mut client, |_| {}).await;
    let others = create(&mut client, |new| new.account_id = "globex".into()).await;
    let filter = |filter| batch(Selection::Filter(filter));
    let of_test = Filter {
        labels: label("test"),
        ..Filter::default()
    };

    let mut request = filter(of_test);
    request.dry_run = true;
    assert_eq!(revoke(&mut keys, request.clone()).await, counts(1, 0));
    for server in &servers {
        grant(&mut server.client().await, &labelled.token, DOMAIN).await;
    }
    request.dry_run = false;
    assert_eq!(revoke(&mut keys, request.clone()).await, counts(1, 0));
    assert_denied(&servers, &[&labelled]).await;
    assert_eq!(revoke(&mut keys, request).await, counts(0, 0), "again");

    let all = filter(Filter::default());
    assert_eq!(revoke(&mut keys, all).await, counts(1, 0));
    assert_denied(&servers, &[&labelled, &plain]).await;
    grant(&mut client, &others.token, DOMAIN).await;
    for key in client.list(ACCOUNT).await.unwrap() {
        assert_eq!(key.status, i32::from(Status::Revoked));
        assert_eq!(key.revoke_reason.as_deref(), Some("compromised"));
    }
    let history = records(&store, &["--key", &labelled.key_id]);
    assert!(history[1].contains("BatchRevoke"), "{history:?}");
    let calls = records(&store, &["--account", ACCOUNT]).join("\n");
    assert_eq!(calls.matches("BatchRevokeDryRun").count(), 1, "{calls}");
}

/// No statement looks at more than a few thousand keys, so none meets the time limit.
#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_keys_takes_many_short_steps_and_ends_with_what_one_call_revokes() {
    const KEYS: usize = 200_000;
    let stores = Stores::postgres().await;
    stores.insert_active_keys(KEYS).await;
    let mut short = server::command(&stores.address);
    short.args(["--statement-timeout", "100ms"]);
    let mut server = Server::launch(&mut short);
    // On a busy machine, a statement of the start may take longer.
    eventually("it starts", async || {
        if server.has_exited() {
            server = Server::launch(&mut short);
        }
        server.is_listening()
    })
    .await;
    server.health().await.wait_until_serving().await;
    let mut keys = server.client().await.0.clone();
    let mut request = batch(Selection::Filter(Filter {
        unused_since: Some(prost_types::Timestamp::default()),
        ..Filter::default()
    }));
    request.dry_run = true;
    assert_eq!(revoke(&mut keys, request.clone()).await, counts(0, 0));

    request.selection = Some(Selection::Filter(Filter::default()));
    let answer = revoke(&mut keys, request).await;
    assert_eq!(
        (answer.revoked_count, answer.there_are_more),
        (10_000, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tokens_fit_into_a_call_and_not_one_more() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let mut keys = client.0.clone();
    let by_id = create(&mut client, |_| {}).await;
    let by_token = create(&mut client, |_| {}).await;
    let unknown = || Token::generate(&mut rand::rng()).expose().to_owned();
    let mut tokens: Vec<_> = (0..9_998).map(|_| unknown()).collect();
    tokens.push(by_token.token.clone());
    let given = |tokens: &[String]| {
        batch(Selection::Keys(Keys {
            key_ids: vec![by_id.key_id.clone()],
            tokens: tokens.to_vec(),
        }))
    };
    let answer = revoke(&mut keys, given(&tokens)).await;
    assert_eq!(answer.revoked_count, 2);
    assert_eq!(answer.not_found, (1..=9_998).collect::<Vec<_>>());
    assert_denied(std::slice::from_ref(&server), &[&by_id, &by_token]).await;
    assert_eq!(
        revoke(&mut keys, given(&tokens[9_998..])).await,
        counts(0, 2)
    );

    tokens.push(unknown());
    let refused = keys.batch_revoke(given(&tokens)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
}

/// An admin of one account gives it with a key that nobody has, then gives another account.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_for_given_keys_is_on_record_with_its_account_and_refused_if_that_is_anothers() {
    let acme = Credential::new("acme", &["--role", "admin", "--accounts", "acme"]);
    let file = Mount::new(&[("callers", &acme.line)]);
    let directory = directory();
    let store = sqlite_in(&directory);
    let credentials = ["--credentials", &file.arg("callers")];
    let server = Server::start_with(&store, &credentials, &[]).await;
    let mut keys = callers::client(server.channel().await, &acme.secret).0;
    let unknown = Token::generate(&mut rand::rng()).expose().to_owned();
    for (account, dry_run) in [
        ("acme", true),
        ("acme", false),
        ("globex", true),
        ("globex", false),
    ] {
        let request = BatchRevokeRequest {
            account_id: Some(account.into()),
            dry_run,
            ..batch(Selection::Keys(Keys {
                key_ids: vec![],
                tokens: vec![unknown.clone()],
            }))
        };
        let answer = keys.batch_revoke(request).await;
        let not_found = answer.map(|answer| answer.into_inner().not_found);
        let not_found = not_found.map_err(|refused| refused.code());
        if account == "acme" {
            assert_eq!(not_found, Ok(vec![0]));
        } else {
            assert_eq!(not_found, Err(Code::PermissionDenied));
        }
    }
    assert_eq!(
        records(&store, &[]),
        [
            "acme BatchRevokeDryRun OK acme - 1",
            "acme BatchRevoke OK acme - 1",
            "acme BatchRevokeDryRun PERMISSION_DENIED globex - 1",
            "acme BatchRevoke PERMISSION_DENIED globex - 1",
        ]
    );
    let log = server.log();
    assert_eq!(
        log.matches("\"method\":\"BatchRevokeDryRun\"").count(),
        2,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_loses_its_connection_revokes_nothing_and_is_on_record_as_failed() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let mut keys = client.0.clone();
    let created = [
        create(&mut client, |_| {}).await,
        create(&mut client, |_| {}).await,
    ];
    let gate = BatchGate::shut(&store).await;
    let all = batch(Selection::Filter(Filter::default()));
    let revoking = tokio::spawn({
        let (mut keys, all) = (keys.clone(), all.clone());
        async move { keys.batch_revoke(all).await }
    });
    eventually("the batch is in its middle", async || {
        gate.holds_a_batch().await
    })
    .await;
    gate.end_its_session().await;
    let refused = revoking.await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    for key in &created {
        grant(&mut client, &key.token, DOMAIN).await;
    }

    gate.open().await;
    assert_eq!(revoke(&mut keys, all).await, counts(2, 0));
    assert_denied(std::slice::from_ref(&server), &[&created[0], &created[1]]).await;
    server.terminate().await;
    let mut records = records(&store, &[]);
    records.retain(|record| record.contains("BatchRevoke"));
    let (done, failed): (Vec<_>, Vec<_>) = records.iter().partition(|it| it.contains(" OK "));
    assert_eq!(done.len(), 3, "{records:?}");
    assert_eq!(failed, ["anyone BatchRevoke UNAVAILABLE - - 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_batch_is_refused_and_revokes_nothing() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let mut keys = client.0.clone();
    let created = create(&mut client, |_| {}).await;
    let all = || Selection::Filter(Filter::default());
    let given = |key_ids: &[&str], tokens: &[&str]| {
        Selection::Keys(Keys {
            key_ids: key_ids.iter().map(|&id| id.to_owned()).collect(),
            tokens: tokens.iter().map(|&token| token.to_owned()).collect(),
        })
    };
    let with = |change: fn(&mut BatchRevokeRequest)| {
        let mut request = batch(all());
        change(&mut request);
        request
    };
    for (field, request) in [
        ("selection", with(|batch| batch.selection = None)),
        ("reason", with(|batch| batch.reason = String::new())),
        ("account_id", with(|batch| batch.account_id = None)),
        ("keys", batch(given(&[], &[]))),
        ("key_id", batch(given(&[&created.key_id, "key_"], &[]))),
        ("token", batch(given(&[&created.key_id], &["tsend_"]))),
    ] {
        let refused = keys.batch_revoke(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        let details = refused.get_details_bad_request().unwrap();
        assert_eq!(details.field_violations[0].field, field);
    }
    grant(&mut client, &created.token, DOMAIN).await;
}

fn label(value: &str) -> std::collections::HashMap<String, String> {
    [("environment".to_owned(), value.to_owned())].into()
}

fn batch(selection: Selection) -> BatchRevokeRequest {
    BatchRevokeRequest {
        selection: Some(selection),
        account_id: Some(ACCOUNT.into()),
        reason: "compromised".into(),
        dry_run: false,
    }
}

fn counts(revoked_count: i32, already_revoked_count: i32) -> BatchRevokeResponse {
    BatchRevokeResponse {
        revoked_count,
        already_revoked_count,
        ..BatchRevokeResponse::default()
    }
}

async fn revoke(
    keys: &mut KeyServiceClient<Channel>,
    request: BatchRevokeRequest,
) -> BatchRevokeResponse {
    keys.batch_revoke(request).await.unwrap().into_inner()
}

async fn assert_denied(servers: &[Server], keys: &[&Created]) {
    for server in servers {
        let mut client = server.client().await;
        for key in keys {
            let denied = denial(&mut client, &key.token, DOMAIN).await;
            assert_eq!(denied, Reason::Revoked);
        }
    }
}
