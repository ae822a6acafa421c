//! What may become of a key and its account: each change is made on the first server, and what follows
//! from it is looked at on all of them at once.

use super::{ACCOUNT, Created, DOMAIN, create, denial, grant, only};
use crate::support::{
    directory,
    postgres::Cluster,
    server::{Server, error_reason, sqlite_in},
};
use keyservice::grpc::proto::{
    AllDomains, CreateRequest, GetAccountRequest, GetRequest, Key, KeyCounts, ResumeAccountRequest,
    ResumeRequest, RotateRequest, RotateResponse, Scope, SuspendAccountRequest, SuspendRequest,
    UpdateRequest, account_service_client::AccountServiceClient, denial::Reason, get_request,
    key::Status, key_service_client::KeyServiceClient, rotate_request, scope::Kind,
    suspend_request,
};
use prost_types::FieldMask;
use std::{collections::HashMap, time::Duration};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status as Refused, transport::Channel};

/// Servers that share a store, with clients of the first.
struct Servers {
    all: Vec<Server>,
    keys: KeyServiceClient<Channel>,
    accounts: AccountServiceClient<Channel>,
}

impl Servers {
    async fn start(store: &str, count: usize) -> Self {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(Server::start(store).await);
        }
        Self {
            keys: all[0].client().await.0,
            accounts: AccountServiceClient::new(all[0].channel().await),
            all,
        }
    }

    async fn create(&self) -> Created {
        create(&mut self.all[0].client().await, |_| {}).await
    }

    async fn assert(&self, token: &str, domain: &str, expected: Option<Reason>) {
        for server in &self.all {
            let mut client = server.client().await;
            match expected {
                None => assert_eq!(grant(&mut client, token, domain).await.account_id, ACCOUNT),
                Some(reason) => assert_eq!(denial(&mut client, token, domain).await, reason),
            }
        }
    }

    async fn get(&mut self, key_id: &str) -> Key {
        let request = GetRequest {
            target: Some(get_request::Target::KeyId(key_id.into())),
            account_id: None,
        };
        let response = self.keys.get(request).await.unwrap().into_inner();
        response.key.unwrap()
    }

    async fn assert_shown(&self, expected: Key) {
        for server in &self.all {
            let listed = server.client().await.list(ACCOUNT).await.unwrap();
            let shown = listed.iter().find(|key| key.key_id == expected.key_id);
            assert_eq!(shown, Some(&expected));
        }
    }

    async fn update(&mut self, request: UpdateRequest) -> Result<Key, Refused> {
        let response = self.keys.update(request).await?.into_inner();
        Ok(response.key.unwrap())
    }

    async fn suspend(&mut self, key_id: &str) -> Result<Key, Refused> {
        let request = SuspendRequest {
            target: Some(suspend_request::Target::KeyId(key_id.into())),
            account_id: None,
            reason: "abuse".into(),
        };
        let response = self.keys.suspend(request).await?.into_inner();
        Ok(response.key.unwrap())
    }

    async fn resume(&mut self, key_id: &str) -> Result<Key, Refused> {
        let request = ResumeRequest {
            key_id: key_id.into(),
            account_id: None,
        };
        let response = self.keys.resume(request).await?.into_inner();
        Ok(response.key.unwrap())
    }

    async fn rotate(&mut self, request: RotateRequest) -> Result<RotateResponse, Refused> {
        Ok(self.keys.rotate(request).await?.into_inner())
    }

    async fn revoke(&mut self, key_id: &str) {
        let mut client = self.all[0].client().await;
        client.revoke(key_id).await.unwrap();
    }
}

macro_rules! on_both_stores {
    ($($fact:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                let directory = super::directory();
                super::$fact(super::Servers::start(&super::sqlite_in(&directory), 1).await).await;
            })*
        }
        mod on_three_replicas {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $fact() {
                let cluster = super::Cluster::shared();
                let store = cluster.create_database();
                super::$fact(super::Servers::start(&store, 3).await).await;
            })*
        }
    };
}

on_both_stores![
    a_key_is_got_by_its_id_or_its_token,
    an_update_changes_what_its_mask_names_and_decides_everywhere_when_it_returns,
    labels_are_replaced_as_a_whole_and_inherited_by_a_successor,
    an_update_with_a_stale_etag_changes_nothing,
    what_a_change_answers_is_what_every_replica_shows,
    a_suspended_key_is_denied_until_it_is_resumed,
    a_suspension_is_stored_however_many_updates_race_with_it,
    a_rotated_key_and_its_successor_both_work_for_the_overlap,
    a_rotate_with_the_request_id_of_a_create_does_not_advise_to_revoke_the_key,
    without_an_overlap_the_rotated_key_is_revoked_in_the_same_write,
    a_rotation_is_repeated_by_its_request_id_and_no_other_way,
    a_suspended_account_has_no_key_that_is_granted,
];

async fn a_key_is_got_by_its_id_or_its_token(mut servers: Servers) {
    let created = servers.create().await;
    let listed = servers.all[0].client().await.list(ACCOUNT).await.unwrap();
    let by_id = get_request::Target::KeyId(created.key_id.clone());
    let by_token = get_request::Target::Token(created.token.clone());
    for target in [by_id, by_token] {
        let mut request = GetRequest {
            target: Some(target),
            account_id: None,
        };
        let response = servers
            .keys
            .get(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(response.key.as_ref(), listed.first());
        request.account_id = Some("globex".into());
        let of_another = servers.keys.get(request).await.unwrap_err();
        assert_eq!(of_another.code(), Code::NotFound);
    }
    servers.assert(&created.token, DOMAIN, None).await;
}

async fn an_update_changes_what_its_mask_names_and_decides_everywhere_when_it_returns(
    mut servers: Servers,
) {
    let created = servers.create().await;
    let before = servers.get(&created.key_id).await;
    let mut update = UpdateRequest {
        name: " Büro ".into(),
        scope: only("Example.COM"),
        ..update(&created.key_id, &["name"])
    };
    let renamed = servers.update(update.clone()).await.unwrap();
    let expected = Key {
        name: "Büro".into(),
        etag: renamed.etag.clone(),
        ..before
    };
    assert_eq!(renamed, expected);
    assert_ne!(renamed.etag, before.etag);
    servers.assert(&created.token, "other.example", None).await;

    update.update_mask = mask(&["scope"]);
    let narrowed = servers.update(update.clone()).await.unwrap();
    assert_eq!(narrowed.scope, only(DOMAIN));
    let not_allowed = Some(Reason::DomainNotAllowed);
    servers.assert(&created.token, DOMAIN, None).await;
    servers
        .assert(&created.token, "other.example", not_allowed)
        .await;

    let every = Kind::AllDomains(AllDomains {});
    update.scope = Some(Scope { kind: Some(every) });
    servers.update(update).await.unwrap();
    servers.assert(&created.token, "other.example", None).await;

    let soon = super::in_the_future(Duration::from_millis(200));
    let mut update = UpdateRequest {
        expire_time: Some(soon),
        ..self::update(&created.key_id, &["expire_time"])
    };
    servers.update(update.clone()).await.unwrap();
    wait_until(soon).await;
    servers
        .assert(&created.token, DOMAIN, Some(Reason::Expired))
        .await;
    update.expire_time = None;
    let prolonged = servers.update(update).await.unwrap();
    assert_eq!(
        (prolonged.status(), prolonged.expire_time),
        (Status::Active, None)
    );
    servers.assert(&created.token, DOMAIN, None).await;

    // Each path would cost the parsing of its field.
    let repeated = self::update(&created.key_id, &["labels"; 5]);
    let refused = servers.update(repeated).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");

    servers.revoke(&created.key_id).await;
    for path in ["scope", "expire_time"] {
        let update = UpdateRequest {
            scope: only(DOMAIN),
            ..self::update(&created.key_id, &[path])
        };
        let refused = servers.update(update).await.unwrap_err();
        assert_refused(&refused, Code::FailedPrecondition, "KEY_REVOKED");
    }
    let rename = UpdateRequest {
        name: "a name".into(),
        ..self::update(&created.key_id, &["name"])
    };
    assert_eq!(servers.update(rename).await.unwrap().name, "a name");
    servers
        .assert(&created.token, DOMAIN, Some(Reason::Revoked))
        .await;
}

async fn an_update_with_a_stale_etag_changes_nothing(mut servers: Servers) {
    let created = servers.create().await;
    let etag = servers.get(&created.key_id).await.etag;
    let mut update = UpdateRequest {
        name: "first".into(),
        etag: Some(etag),
        ..update(&created.key_id, &["name"])
    };
    let first = servers.update(update.clone()).await.unwrap();
    update.name = "second".into();
    let stale = servers.update(update).await.unwrap_err();
    assert_refused(&stale, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(servers.get(&created.key_id).await, first);
}

/// To the microsecond, and so with the etag, which stands for all of it.
async fn what_a_change_answers_is_what_every_replica_shows(mut servers: Servers) {
    let created = servers.create().await;
    let mut expire_time = super::in_the_future(Duration::from_secs(3600));
    expire_time.nanos = 123_456_789;
    let labels = [
        ("z", "1"),
        ("Z", ""),
        ("example.com/a", "2"),
        ("a-b", "3"),
        ("ab", "4"),
    ];
    let update = UpdateRequest {
        name: "Büro ✉".into(),
        scope: only(DOMAIN),
        expire_time: Some(expire_time),
        labels: labels
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        ..update(&created.key_id, &["name", "scope", "expire_time", "labels"])
    };
    let updated = servers.update(update).await.unwrap();
    servers.assert_shown(updated).await;
    let suspended = servers.suspend(&created.key_id).await.unwrap();
    servers.assert_shown(suspended).await;
    let resumed = servers.resume(&created.key_id).await.unwrap();
    servers.assert_shown(resumed).await;
    let rotated = servers.rotate(rotation(&created.key_id)).await.unwrap();
    for key in [rotated.key, rotated.predecessor] {
        servers.assert_shown(key.unwrap()).await;
    }
    let mut client = servers.all[0].client().await;
    let revoked = client.revoke(&created.key_id).await.unwrap();
    servers.assert_shown(revoked).await;
}

async fn a_suspended_key_is_denied_until_it_is_resumed(mut servers: Servers) {
    let created = servers.create().await;
    for _ in 0..2 {
        let suspended = servers.suspend(&created.key_id).await.unwrap();
        assert_eq!(suspended.status(), Status::Suspended);
        assert_eq!(suspended.suspension.as_ref().unwrap().reason, "abuse");
        assert_eq!(servers.get(&created.key_id).await, suspended);
        servers
            .assert(&created.token, DOMAIN, Some(Reason::Suspended))
            .await;
    }
    for _ in 0..2 {
        let resumed = servers.resume(&created.key_id).await.unwrap();
        assert_eq!(
            (resumed.status(), resumed.suspension),
            (Status::Active, None)
        );
        servers.assert(&created.token, DOMAIN, None).await;
    }
    servers.suspend(&created.key_id).await.unwrap();
    servers.revoke(&created.key_id).await;
    let revoked = Some(Reason::Revoked);
    servers.assert(&created.token, DOMAIN, revoked).await;
    for refused in [
        servers.resume(&created.key_id).await,
        servers.suspend(&created.key_id).await,
    ] {
        assert_refused(
            &refused.unwrap_err(),
            Code::FailedPrecondition,
            "KEY_REVOKED",
        );
    }
    servers.assert(&created.token, DOMAIN, revoked).await;
}

async fn labels_are_replaced_as_a_whole_and_inherited_by_a_successor(mut servers: Servers) {
    let mut client = servers.all[0].client().await;
    let labels = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        pairs.collect::<HashMap<_, _>>()
    };
    let first = labels(&[("environment", "test"), ("example.com/team", "Mail")]);
    let created = create(&mut client, |new| new.labels = first.clone()).await;
    assert_eq!(servers.get(&created.key_id).await.labels, first);
    let second = labels(&[("environment", "production"), ("empty", "")]);
    let relabel = UpdateRequest {
        labels: second.clone(),
        ..update(&created.key_id, &["labels"])
    };
    servers.update(relabel).await.unwrap();
    let rotated = servers.rotate(rotation(&created.key_id)).await.unwrap();
    for key in [rotated.key, rotated.predecessor] {
        let key = key.unwrap();
        assert_eq!(key.labels, second);
        assert_eq!(servers.get(&key.key_id).await, key);
    }

    servers.revoke(&created.key_id).await;
    let relabel = update(&created.key_id, &["labels"]);
    let relabelled = servers.update(relabel).await.unwrap();
    assert_eq!(relabelled.labels, labels(&[]));
}

async fn a_suspension_is_stored_however_many_updates_race_with_it(mut servers: Servers) {
    let created = servers.create().await;
    let mut updates = Vec::new();
    for number in 0..32 {
        let server = &servers.all[number % servers.all.len()];
        let mut keys = server.client().await.0;
        let request = UpdateRequest {
            name: "a name".into(),
            ..update(&created.key_id, &["name"])
        };
        updates.push(AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                // Some are overtaken again and again.
                let _ = keys.update(request.clone()).await;
            }
        })));
    }
    for _ in 0..10 {
        let suspended = servers.suspend(&created.key_id).await.unwrap();
        assert_eq!(suspended.status(), Status::Suspended);
        let resumed = servers.resume(&created.key_id).await.unwrap();
        assert_eq!(resumed.status(), Status::Active);
    }
}

async fn a_rotated_key_and_its_successor_both_work_for_the_overlap(mut servers: Servers) {
    let created = servers.create().await;
    let before = servers.get(&created.key_id).await;
    let rotated = servers.rotate(rotation(&created.key_id)).await.unwrap();
    let (key, predecessor) = (rotated.key.unwrap(), rotated.predecessor.unwrap());
    assert_eq!(key.predecessor, Some(created.key_id.clone()));
    assert_eq!(predecessor.successor, Some(key.key_id.clone()));
    assert_eq!((&key.name, &key.scope), (&before.name, &before.scope));
    assert_eq!(key.preview[..8], rotated.token[..8]);
    let now = super::time(key.create_time);
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(super::time(predecessor.expire_time), now + day);
    assert_eq!(servers.get(&key.key_id).await, key);
    assert_eq!(servers.get(&created.key_id).await, predecessor);
    for token in [&created.token, &rotated.token] {
        servers.assert(token, DOMAIN, None).await;
    }
    let again = servers.rotate(rotation(&created.key_id)).await.unwrap_err();
    assert_refused(&again, Code::FailedPrecondition, "KEY_ROTATED");
    assert!(again.message().contains(&key.key_id), "{again}");
}

async fn a_rotate_with_the_request_id_of_a_create_does_not_advise_to_revoke_the_key(
    mut servers: Servers,
) {
    let with_id = |request: &mut CreateRequest| request.request_id = Some("once".into());
    let created = create(&mut servers.all[0].client().await, with_id).await;
    let request = RotateRequest {
        request_id: Some("once".into()),
        ..rotation(&created.key_id)
    };
    let refused = servers.rotate(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(
        refused.message().contains("nothing was rotated"),
        "{refused}"
    );
    assert!(!refused.message().contains("revoke"), "{refused}");
    servers.assert(&created.token, DOMAIN, None).await;
}

async fn without_an_overlap_the_rotated_key_is_revoked_in_the_same_write(mut servers: Servers) {
    let created = servers.create().await;
    let request = RotateRequest {
        overlap: Some(prost_types::Duration::default()),
        target: Some(rotate_request::Target::Token(created.token.clone())),
        ..rotation("")
    };
    let rotated = servers.rotate(request).await.unwrap();
    servers
        .assert(&created.token, DOMAIN, Some(Reason::Revoked))
        .await;
    servers.assert(&rotated.token, DOMAIN, None).await;
    assert_eq!(rotated.predecessor.unwrap().status(), Status::Revoked);
}

async fn a_rotation_is_repeated_by_its_request_id_and_no_other_way(mut servers: Servers) {
    let created = servers.create().await;
    let request = RotateRequest {
        request_id: Some("once".into()),
        ..rotation(&created.key_id)
    };
    let first = servers.rotate(request.clone()).await.unwrap().key.unwrap();
    let again = servers.rotate(request.clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");
    assert!(again.message().contains(&first.key_id), "{again}");
    let other = RotateRequest {
        request_id: Some("twice".into()),
        ..request
    };
    let other = servers.rotate(other).await.unwrap_err();
    assert_refused(&other, Code::FailedPrecondition, "KEY_ROTATED");
    let listed = servers.all[0].client().await.list(ACCOUNT).await.unwrap();
    assert_eq!(listed.len(), 2);
}

async fn a_suspended_account_has_no_key_that_is_granted(mut servers: Servers) {
    let before = servers.create().await;
    let suspend = SuspendAccountRequest {
        account_id: ACCOUNT.into(),
        reason: "unpaid".into(),
    };
    let suspended = servers.accounts.suspend_account(suspend).await.unwrap();
    let suspension = suspended.into_inner().suspension;
    assert_eq!(suspension.as_ref().unwrap().reason, "unpaid");
    let meanwhile = servers.create().await;
    for created in [&before, &meanwhile] {
        servers
            .assert(&created.token, DOMAIN, Some(Reason::Suspended))
            .await;
        assert_eq!(servers.get(&created.key_id).await.status(), Status::Active);
    }
    let describe = GetAccountRequest {
        account_id: ACCOUNT.into(),
    };
    let described = servers.accounts.get_account(describe).await.unwrap();
    let account = described.into_inner().account.unwrap();
    let counts = KeyCounts {
        active: 2,
        ..KeyCounts::default()
    };
    assert_eq!(
        (account.suspension, account.key_counts),
        (suspension, Some(counts))
    );

    servers.suspend(&meanwhile.key_id).await.unwrap();
    let resume = ResumeAccountRequest {
        account_id: ACCOUNT.into(),
    };
    servers.accounts.resume_account(resume).await.unwrap();
    servers.assert(&before.token, DOMAIN, None).await;
    servers
        .assert(&meanwhile.token, DOMAIN, Some(Reason::Suspended))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_rotated_says_why() {
    let directory = directory();
    let mut servers = Servers::start(&sqlite_in(&directory), 1).await;
    let soon = super::in_the_future(Duration::from_millis(100));
    let expired = create(
        &mut servers.all[0].client().await,
        |key: &mut CreateRequest| {
            key.expire_time = Some(soon);
        },
    )
    .await;
    let (revoked, suspended) = (servers.create().await, servers.create().await);
    servers.revoke(&revoked.key_id).await;
    servers.suspend(&suspended.key_id).await.unwrap();
    wait_until(soon).await;
    for (created, reason) in [
        (&expired, "KEY_EXPIRED"),
        (&revoked, "KEY_REVOKED"),
        (&suspended, "KEY_SUSPENDED"),
    ] {
        let refused = servers.rotate(rotation(&created.key_id)).await.unwrap_err();
        assert_refused(&refused, Code::FailedPrecondition, reason);
    }
    assert_eq!(
        servers.all[0]
            .client()
            .await
            .list(ACCOUNT)
            .await
            .unwrap()
            .len(),
        3
    );
}

/// Returns when the wall clock, by which keys expire, shows this time.
async fn wait_until(time: prost_types::Timestamp) {
    let time = super::time(Some(time));
    while let Ok(left) = time.duration_since(std::time::SystemTime::now()) {
        tokio::time::sleep(left + Duration::from_millis(1)).await;
    }
}

fn assert_refused(refused: &Refused, code: Code, reason: &str) {
    assert_eq!(refused.code(), code, "{refused}");
    assert_eq!(error_reason(refused).as_deref(), Some(reason));
}

fn mask(paths: &[&str]) -> Option<FieldMask> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    Some(FieldMask { paths })
}

fn update(key_id: &str, paths: &[&str]) -> UpdateRequest {
    UpdateRequest {
        key_id: key_id.into(),
        update_mask: mask(paths),
        ..Default::default()
    }
}

fn rotation(key_id: &str) -> RotateRequest {
    RotateRequest {
        target: Some(rotate_request::Target::KeyId(key_id.into())),
        ..Default::default()
    }
}
