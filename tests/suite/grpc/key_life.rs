//! The life of a key: it is created, granted or denied, listed and revoked.

use super::{ACCOUNT, DOMAIN, create, create_request, denial, grant, in_the_future, only, time};
use crate::support::{eventually, postgres::Cluster, server::Server};
use keyservice::{
    grpc::proto::{
        AllDomains, CreateRequest, Grant, Key, RevokeRequest, Scope, authorize_response::Decision,
        denial::Reason, key::Status, revoke_request::Target, scope::Kind,
    },
    model::token::Token,
};
use std::time::{Duration, SystemTime};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_sqlite_is_created_granted_listed_revoked_and_then_denied() {
    follow_a_key_through_its_life(&Server::on_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_postgres_is_created_granted_listed_revoked_and_then_denied() {
    let cluster = Cluster::shared();
    follow_a_key_through_its_life(&Server::start(&cluster.create_database()).await).await;
}

async fn follow_a_key_through_its_life(server: &Server) {
    let mut client = server.client().await;
    let request = CreateRequest {
        name: " Büro ✉ ".into(),
        domain: Some("Example.COM.".into()),
        expire_time: Some(in_the_future(Duration::from_secs(3600))),
        labels: [("environment".into(), "production".into())].into(),
        ..create_request()
    };
    let asked = SystemTime::now();
    let created = client.create_with(request.clone()).await.unwrap();
    let (token, key) = (created.token, created.key.unwrap());
    assert!(Token::parse(&token).is_ok());
    let expected = Key {
        key_id: key.key_id.clone(),
        account_id: ACCOUNT.into(),
        name: "Büro ✉".into(),
        preview: format!("{}…{}", &token[..8], &token[token.len() - 4..]),
        scope: only("example.com"),
        status: Status::Active.into(),
        create_time: key.create_time,
        expire_time: request.expire_time,
        revoke_time: None,
        revoke_reason: None,
        suspension: None,
        predecessor: None,
        successor: None,
        etag: key.etag.clone(),
        labels: request.labels,
        last_used_time: None,
    };
    assert_eq!(key, expected);
    assert!((asked..SystemTime::now()).contains(&time(key.create_time)));

    let expected = Grant {
        key_id: key.key_id.clone(),
        account_id: ACCOUNT.into(),
        scope: only("example.com"),
    };
    assert_eq!(grant(&mut client, &token, DOMAIN).await, expected);
    let listed = client.list(ACCOUNT).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&key));

    let revoked = client.revoke(&key.key_id).await.unwrap();
    let expected = Key {
        status: Status::Revoked.into(),
        revoke_time: revoked.revoke_time,
        etag: revoked.etag.clone(),
        ..key.clone()
    };
    assert_eq!(revoked, expected);
    assert!((time(key.create_time)..SystemTime::now()).contains(&time(revoked.revoke_time)));
    assert_eq!(denial(&mut client, &token, DOMAIN).await, Reason::Revoked);
    assert_eq!(client.list(ACCOUNT).await.unwrap(), [revoked]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_denial_gives_its_reason() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let live = create(&mut client, |key| key.domain = Some(DOMAIN.into())).await;
    let revoked = create(&mut client, |_| {}).await;
    client.revoke(&revoked.key_id).await.unwrap();
    let with_a_typing_error = live.token.replace("tsend_", "tsemd_");
    let unknown = Token::generate(&mut rand::rng());

    for (token, domain, reason) in [
        ("", DOMAIN, Reason::MalformedToken),
        (&with_a_typing_error, DOMAIN, Reason::MalformedToken),
        (unknown.expose(), DOMAIN, Reason::UnknownToken),
        (&revoked.token, DOMAIN, Reason::Revoked),
        (&live.token, "example.org", Reason::DomainNotAllowed),
    ] {
        assert_eq!(denial(&mut client, token, domain).await, reason);
    }
    grant(&mut client, &live.token, DOMAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_granted_until_its_expire_time_and_denied_from_then_on() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let expire_time = Some(in_the_future(Duration::from_secs(2)));
    let created = create(&mut client, |key| key.expire_time = expire_time).await;

    eventually("the key expires", async || {
        let asked = SystemTime::now();
        let decision = client.authorize(&created.token, DOMAIN).await.unwrap();
        let answered = SystemTime::now();
        let is_granted = matches!(decision, Decision::Grant(_));
        assert!(is_granted || answered >= time(expire_time), "too early");
        assert!(!is_granted || asked < time(expire_time), "too late");
        asked >= time(expire_time)
    })
    .await;
    let reason = denial(&mut client, &created.token, DOMAIN).await;
    assert_eq!(reason, Reason::Expired);
    let listed = client.list(ACCOUNT).await.unwrap();
    assert_eq!(listed[0].status(), Status::Expired);
    assert_eq!(listed[0].expire_time, expire_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_spellings_of_a_domain_are_equal_and_subdomains_differ() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let spellings = [
        "bücher.example",
        "BÜCHER.Example",
        "bücher.example.",
        "bücher。example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.EXAMPLE.",
    ];
    for stored in spellings {
        let created = create(&mut client, |key| key.domain = Some(stored.into())).await;
        for asked in spellings {
            let grant = grant(&mut client, &created.token, asked).await;
            assert_eq!(grant.scope, only("xn--bcher-kva.example"));
        }
        for another in ["mail.bücher.example", "example", "bucher.example"] {
            let reason = denial(&mut client, &created.token, another).await;
            assert_eq!(reason, Reason::DomainNotAllowed, "{another}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_domain_is_granted_for_every_domain() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let created = create(&mut client, |key| key.domain = None).await;
    for domain in ["example.com", "mail.example.com", "bücher.example"] {
        let grant = grant(&mut client, &created.token, domain).await;
        let every = Kind::AllDomains(AllDomains {});
        assert_eq!(grant.scope, Some(Scope { kind: Some(every) }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_revoked_with_its_token_alone() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let leaked = create(&mut client, |_| {}).await;
    let other = create(&mut client, |_| {}).await;

    let target = Target::Token(leaked.token.clone());
    let revoked = client.revoke_target(target).await.unwrap();
    assert_eq!(revoked.key_id, leaked.key_id);
    let reason = denial(&mut client, &leaked.token, DOMAIN).await;
    assert_eq!(reason, Reason::Revoked);
    grant(&mut client, &other.token, DOMAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoking_a_key_again_returns_the_first_revoke_time() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let created = create(&mut client, |_| {}).await;
    let by_id = Target::KeyId(created.key_id);
    let by_token = Target::Token(created.token);

    let first = client.revoke_target(by_id.clone()).await.unwrap();
    for again in [by_id, by_token] {
        assert_eq!(client.revoke_target(again).await.unwrap(), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn for_another_account_a_key_does_not_exist() {
    let server = Server::on_sqlite().await;
    let mut client = server.client().await;
    let created = create(&mut client, |_| {}).await;
    let unknown = Token::generate(&mut rand::rng());
    let revoke_for = |account: &str, target: &Target| RevokeRequest {
        target: Some(target.clone()),
        account_id: Some(account.into()),
    };
    let targets = [
        Target::KeyId(created.key_id),
        Target::Token(created.token.clone()),
    ];

    let of_nobody = revoke_for(ACCOUNT, &Target::Token(unknown.expose().into()));
    let not_found = client.revoke_with(of_nobody).await.unwrap_err();
    assert_eq!(not_found.code(), Code::NotFound);
    for target in &targets {
        let refused = client.revoke_with(revoke_for("globex", target)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        assert_eq!(refused.message(), not_found.message());
    }
    grant(&mut client, &created.token, DOMAIN).await;

    for target in &targets {
        let revoked = client.revoke_with(revoke_for(ACCOUNT, target)).await;
        assert_eq!(revoked.unwrap().status(), Status::Revoked);
    }
}
