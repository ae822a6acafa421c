//! A `request_id` makes it safe to repeat a Create.

use super::{ACCOUNT, DOMAIN, create, create_request, grant};
use crate::support::server::Server;
use futures::future::join_all;
use keyservice::grpc::proto::CreateRequest;
use tonic::{Code, Status};
use tonic_types::{ResourceInfo, StatusExt};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_returns_the_id_of_the_first_key_and_creates_no_second_key() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let first = create(&mut client, |key| key.request_id = Some("r-1".into())).await;
    let with_another_name = CreateRequest {
        name: "Another".into(),
        ..retry_of("r-1")
    };
    for retry in [retry_of("r-1"), retry_of("r-1"), with_another_name] {
        let refused = client.create_with(retry).await.unwrap_err();
        assert_eq!(first_key_named_by(&refused), first.key_id);
        assert!(refused.message().contains(&first.key_id));
    }
    let listed = client.list(ACCOUNT).await.unwrap();
    assert_eq!(listed.len(), 1);
    grant(&mut client, &first.token, DOMAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_revocation_creates_no_second_key() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let first = create(&mut client, |key| key.request_id = Some("r-1".into())).await;
    let revoked = client.revoke(&first.key_id).await.unwrap();
    let refused = client.create_with(retry_of("r-1")).await.unwrap_err();
    assert_eq!(first_key_named_by(&refused), first.key_id);
    assert_eq!(client.list(ACCOUNT).await.unwrap(), [revoked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_concurrent_calls_creates_the_key_and_the_others_get_its_id() {
    const CALLS: usize = 16;
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let calls = (0..CALLS).map(|_| {
        let mut client = client.clone();
        async move { client.create_with(retry_of("r-1")).await }
    });
    let answers = join_all(calls).await;

    let listed = client.list(ACCOUNT).await.unwrap();
    let [the_key] = listed.as_slice() else {
        panic!("{} keys", listed.len());
    };
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, CALLS - 1));
    for refused in refused {
        assert_eq!(first_key_named_by(&refused.unwrap_err()), the_key.key_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_may_use_the_same_request_id() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    create(&mut client, |key| key.request_id = Some("r-1".into())).await;
    let of_another = CreateRequest {
        account_id: "globex".into(),
        ..retry_of("r-1")
    };
    client.create_with(of_another).await.unwrap();
    assert_eq!(client.list("globex").await.unwrap().len(), 1);
}

fn retry_of(request_id: &str) -> CreateRequest {
    CreateRequest {
        request_id: Some(request_id.into()),
        ..create_request()
    }
}

/// The key id in the `google.rpc.ResourceInfo` of an ALREADY_EXISTS status.
fn first_key_named_by(refused: &Status) -> String {
    assert_eq!(refused.code(), Code::AlreadyExists);
    let resource: ResourceInfo = refused.get_details_resource_info().expect("ResourceInfo");
    assert_eq!(resource.resource_type, "tosend.keys.v1.Key");
    resource.resource_name
}
