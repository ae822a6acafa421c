//! The number of keys that an account may have.

use super::{create, create_request};
use crate::support::{
    directory,
    server::{Server, audit_command::records, error_reason, sqlite_in},
};
use keyservice::grpc::proto::{RotateRequest, rotate_request::Target};
use tonic::Code;
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn an_account_at_its_limit_is_told_so_and_may_replace_its_keys() {
    let directory = directory();
    let limit = ["--max-keys-per-account", "2"];
    let store = sqlite_in(&directory);
    let server = Server::start_with(&store, &limit, &[]).await;
    let mut client = server.client().await;
    let created = create(&mut client, |_| {}).await;
    create(&mut client, |_| {}).await;
    let refused = client.create_with(create_request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(error_reason(&refused).as_deref(), Some("TOO_MANY_KEYS"));
    let quota = refused.get_details_quota_failure().unwrap();
    assert_eq!(quota.violations[0].subject, super::ACCOUNT);
    assert!(
        refused.message().contains("--max-keys-per-account"),
        "{refused}"
    );

    let mut rotation = RotateRequest {
        target: Some(Target::KeyId(created.key_id.clone())),
        ..RotateRequest::default()
    };
    let refused = client.0.rotate(rotation.clone()).await.unwrap_err();
    assert_eq!(error_reason(&refused).as_deref(), Some("TOO_MANY_KEYS"));
    let recorded = records(&store, &["--account", super::ACCOUNT]);
    let key_id = &created.key_id;
    assert_eq!(
        recorded[2..],
        [
            "anyone Create RESOURCE_EXHAUSTED acme - 1".to_owned(),
            format!("anyone Rotate RESOURCE_EXHAUSTED acme {key_id} 1"),
        ]
    );
    // Then the account has no key more.
    rotation.overlap = Some(prost_types::Duration::default());
    client.0.rotate(rotation).await.unwrap();
}
