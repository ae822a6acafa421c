//! The standby that is promoted has missed changes of keys and accounts that were acknowledged. Whatever
//! was lost, nothing is granted that was denied, and each loss is named.

use super::lost_history::{Failover, assert_is_named, is_granted};
use crate::support::{
    eventually,
    server::{Client, Server},
};
use futures::future::join_all;
use keyservice::grpc::proto::{
    AllDomains, CreateRequest, GetRequest, ResumeAccountRequest, ResumeRequest, RotateRequest,
    Scope, SuspendAccountRequest, SuspendRequest, UpdateRequest,
    account_service_client::AccountServiceClient, get_request, key::Status, rotate_request,
    scope::Kind, suspend_request,
};
use prost_types::{FieldMask, Timestamp};
use std::time::{Duration, SystemTime};
use tonic::transport::Channel;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DOMAIN: &str = "example.com";
const OTHER: &str = "other.example";

const SUSPENDED: &str = "the key is suspended, with the reason LOST_WRITE";
const REVOKED: &str = "the store lost this key's revocation";
const UNKNOWN: &str = "the store lost this key:";
const DENIED_MORE: &str = "which is denied more than before";

/// The token and the id of a key.
struct Made(String, String);

async fn create(
    client: &mut Client,
    account: &str,
    change: impl FnOnce(&mut CreateRequest),
) -> Made {
    let mut request = CreateRequest {
        account_id: account.into(),
        name: "a key".into(),
        ..CreateRequest::default()
    };
    change(&mut request);
    let created = client.create_with(request).await.expect("created");
    Made(created.token, created.key.expect("a key").key_id)
}

fn scope(kind: Kind) -> Option<Scope> {
    Some(Scope { kind: Some(kind) })
}

fn only() -> Option<Scope> {
    scope(Kind::Domain(DOMAIN.into()))
}

fn in_an_hour() -> Option<Timestamp> {
    Some((SystemTime::now() + HOUR).into())
}

async fn suspend(client: &mut Client, key_id: &str) {
    let request = SuspendRequest {
        target: Some(suspend_request::Target::KeyId(key_id.into())),
        account_id: None,
        reason: "abuse".into(),
    };
    client.0.suspend(request).await.expect("suspended");
}

async fn resume(client: &mut Client, key_id: &str) {
    let request = ResumeRequest {
        key_id: key_id.into(),
        account_id: None,
    };
    client.0.resume(request).await.expect("resumed");
}

async fn update(client: &mut Client, key_id: &str, field: &str, to: UpdateRequest) {
    let request = UpdateRequest {
        key_id: key_id.into(),
        update_mask: Some(FieldMask {
            paths: vec![field.to_owned()],
        }),
        ..to
    };
    client.0.update(request).await.expect("updated");
}

async fn rotate(client: &mut Client, key_id: &str, overlap: Duration) -> Made {
    let request = RotateRequest {
        target: Some(rotate_request::Target::KeyId(key_id.into())),
        overlap: Some(prost_types::Duration::try_from(overlap).expect("in range")),
        ..RotateRequest::default()
    };
    let rotated = client
        .0
        .rotate(request)
        .await
        .expect("rotated")
        .into_inner();
    Made(rotated.token, rotated.key.expect("a key").key_id)
}

async fn suspend_account(accounts: &mut AccountServiceClient<Channel>, account: &str) {
    let request = SuspendAccountRequest {
        account_id: account.into(),
        reason: "unpaid".into(),
    };
    accounts.suspend_account(request).await.expect("suspended");
}

/// The status of a key, and the reason if it is suspended.
async fn status(client: &mut Client, key_id: &str) -> (Status, Option<String>) {
    let request = GetRequest {
        target: Some(get_request::Target::KeyId(key_id.into())),
        account_id: None,
    };
    let key = client
        .0
        .get(request)
        .await
        .expect("answered")
        .into_inner()
        .key;
    let key = key.expect("a key");
    (
        key.status(),
        key.suspension.map(|suspension| suspension.reason),
    )
}

async fn until_it_serves_again(server: &Server, kept: &str, denied: &[(&str, &str)]) {
    eventually("it serves by the new primary", async || {
        for (token, domain) in denied {
            assert_ne!(is_granted(server, token, domain).await, Some(true));
        }
        server.log().contains("the store lost writes")
            && is_granted(server, kept, DOMAIN).await == Some(true)
    })
    .await;
    for (token, domain) in denied {
        assert_eq!(is_granted(server, token, domain).await, Some(false));
    }
}

/// At least one replica says it: the others may find what that one has written.
fn assert_one_names(failover: &Failover, event: &str, subject: &str) {
    let logs = failover.servers.each_ref().map(Server::log);
    let is_named = |line: &str| line.contains(event) && line.contains(subject);
    assert!(
        logs.iter().flat_map(|log| log.lines()).any(is_named),
        "{event} {subject}: {logs:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_change_that_took_rights_from_a_key_leaves_it_denied() {
    let mut failover = Failover::start(|_| {}).await;
    let mut client = failover.servers[0].client().await;
    let mut keys = Vec::new();
    for _ in 0..6 {
        keys.push(create(&mut client, "acme", |_| {}).await);
    }
    let [kept, suspended, narrowed, shortened, rotated, replaced] = &keys[..] else {
        unreachable!("there are six");
    };

    failover.lose_from_here();
    suspend(&mut client, &suspended.1).await;
    let to = UpdateRequest {
        scope: only(),
        ..UpdateRequest::default()
    };
    update(&mut client, &narrowed.1, "scope", to).await;
    let to = UpdateRequest {
        expire_time: in_an_hour(),
        ..UpdateRequest::default()
    };
    update(&mut client, &shortened.1, "expire_time", to).await;
    let successors = [
        rotate(&mut client, &rotated.1, HOUR).await,
        rotate(&mut client, &replaced.1, Duration::ZERO).await,
    ];
    failover.fail_over();

    let denied = [
        (&suspended.0, DOMAIN),
        (&narrowed.0, OTHER),
        (&replaced.0, DOMAIN),
    ];
    let denied = denied.map(|(token, domain)| (token.as_str(), domain));
    let servers = failover.servers.iter();
    join_all(servers.map(|server| until_it_serves_again(server, &kept.0, &denied))).await;

    let mut expected = vec![format!("keyservice Revoke OK acme {} 1", replaced.1)];
    for Made(token, key_id) in [suspended, narrowed, shortened, rotated] {
        let lost_write = (Status::Suspended, Some("LOST_WRITE".to_owned()));
        assert_eq!(status(&mut client, key_id).await, lost_write);
        for server in &failover.servers {
            assert_eq!(is_granted(server, token, DOMAIN).await, Some(false));
        }
        assert_one_names(&failover, SUSPENDED, key_id);
        expected.push(format!("keyservice Suspend OK acme {key_id} 1"));
    }
    assert_eq!(status(&mut client, &replaced.1).await.0, Status::Revoked);
    assert_one_names(&failover, REVOKED, &replaced.1);
    for Made(token, key_id) in &successors {
        for server in &failover.servers {
            assert_eq!(is_granted(server, token, DOMAIN).await, Some(false));
            assert_is_named(server, UNKNOWN, key_id);
        }
    }
    assert_eq!(
        failover.written_by_the_service(),
        expected.into_iter().collect()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_change_that_gave_a_key_rights_stays_lost() {
    let mut failover = Failover::start(|_| {}).await;
    let mut client = failover.servers[0].client().await;
    let kept = create(&mut client, "acme", |_| {}).await;
    let resumed = create(&mut client, "acme", |_| {}).await;
    suspend(&mut client, &resumed.1).await;
    let widened = create(&mut client, "acme", |key| key.domain = Some(DOMAIN.into())).await;
    let prolonged = create(&mut client, "acme", |key| key.expire_time = in_an_hour()).await;
    let both = create(&mut client, "acme", |_| {}).await;
    suspend(&mut client, &both.1).await;

    failover.lose_from_here();
    resume(&mut client, &resumed.1).await;
    let to = UpdateRequest {
        scope: scope(Kind::AllDomains(AllDomains {})),
        ..UpdateRequest::default()
    };
    update(&mut client, &widened.1, "scope", to).await;
    update(
        &mut client,
        &prolonged.1,
        "expire_time",
        UpdateRequest::default(),
    )
    .await;
    let to = UpdateRequest {
        scope: only(),
        ..UpdateRequest::default()
    };
    update(&mut client, &both.1, "scope", to).await;
    resume(&mut client, &both.1).await;
    failover.fail_over();

    let denied = [(both.0.as_str(), OTHER)];
    join_all(failover.servers.iter().map(async |server| {
        until_it_serves_again(server, &kept.0, &denied).await;
        for (key, granted) in [(&widened, DOMAIN), (&prolonged, DOMAIN)] {
            assert_eq!(is_granted(server, &key.0, granted).await, Some(true));
        }
        for (key, denied) in [(&resumed, DOMAIN), (&widened, OTHER), (&both, DOMAIN)] {
            assert_eq!(is_granted(server, &key.0, denied).await, Some(false));
        }
        for key in [&resumed, &widened, &prolonged] {
            assert_is_named(server, DENIED_MORE, &key.1);
        }
        assert_is_named(server, "put it right before you resume it", &both.1);
    }))
    .await;
    let abuse = (Status::Suspended, Some("abuse".to_owned()));
    assert_eq!(status(&mut client, &resumed.1).await, abuse);
    assert_eq!(failover.written_by_the_service(), [].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_suspension_of_an_account_is_written_again_and_a_lost_resumption_is_not() {
    let mut failover = Failover::start(|_| {}).await;
    let mut client = failover.servers[0].client().await;
    let mut accounts = AccountServiceClient::new(failover.servers[0].channel().await);
    let kept = create(&mut client, "acme", |_| {}).await;
    let suspended = create(&mut client, "globex", |_| {}).await;
    let resumed = create(&mut client, "initech", |_| {}).await;
    suspend_account(&mut accounts, "initech").await;

    failover.lose_from_here();
    suspend_account(&mut accounts, "globex").await;
    let request = ResumeAccountRequest {
        account_id: "initech".into(),
    };
    accounts.resume_account(request).await.expect("resumed");
    failover.fail_over();

    let denied = [(suspended.0.as_str(), DOMAIN)];
    join_all(failover.servers.iter().map(async |server| {
        until_it_serves_again(server, &kept.0, &denied).await;
        assert_eq!(is_granted(server, &resumed.0, DOMAIN).await, Some(false));
        assert_is_named(
            server,
            "the store lost that this account was resumed",
            "initech",
        );
    }))
    .await;
    assert_one_names(
        &failover,
        "the store lost this account's suspension",
        "globex",
    );
    let expected = ["keyservice SuspendAccount OK globex - 1".to_owned()];
    assert_eq!(failover.written_by_the_service(), expected.into());
}

/// The standby that takes over may still have the row of a replica that left before the first change.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_an_older_replica_in_the_standby_holds_up_what_is_written_again_until_it_lapses() {
    let mut failover = Failover::start(|_| {}).await;
    let mut client = failover.servers[0].client().await;
    let kept = create(&mut client, "acme", |_| {}).await;
    let suspended = create(&mut client, "acme", |_| {}).await;
    let older = "INSERT INTO keyservice.replicas \
                 (replica_id, name, applied_revision, renewals, lease_millis, renew_time) \
                 SELECT gen_random_uuid(), 'older', max(revision), 1, 3000, now() FROM keyservice.writes";
    failover.psql(older);
    failover.lose_from_here();
    failover.psql("DELETE FROM keyservice.replicas WHERE name = 'older'");
    suspend(&mut client, &suspended.1).await;
    failover.fail_over();

    let denied = [(suspended.0.as_str(), DOMAIN)];
    let servers = failover.servers.iter();
    join_all(servers.map(|server| until_it_serves_again(server, &kept.0, &denied))).await;
    let lost_write = (Status::Suspended, Some("LOST_WRITE".to_owned()));
    assert_eq!(status(&mut client, &suspended.1).await, lost_write);
}
