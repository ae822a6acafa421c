//! Verified domains: they are added, listed and removed, and keys are granted for them alone.

use super::{ACCOUNT, DOMAIN, create, create_request, denial, grant, only};
use crate::support::{
    directory, eventually,
    postgres::{Cluster, database_in},
    server::{Server, command, domains::Domains, error_reason, sqlite_in},
};
use keyservice::{
    callers::secret::Secret,
    grpc::proto::{
        CreateRequest, ListDomainsRequest, RemoveDomainResponse, VerifiedDomain, denial::Reason,
    },
    model::token::Token,
};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A server for which domains must be verified, which is the default.
async fn start(store: &str) -> Server {
    Server::start_command(command(store).env_remove("KEYSERVICE_VERIFIED_DOMAINS")).await
}

async fn on_sqlite() -> (Server, TempDir) {
    let directory = directory();
    let server = start(&sqlite_in(&directory)).await;
    (server, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_sqlite_is_granted_for_verified_domains_alone() {
    let (server, _directory) = on_sqlite().await;
    follow_domains_on(&[server]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_on_postgres_is_granted_for_verified_domains_alone_on_every_replica() {
    let cluster = Cluster::shared();
    let address = cluster.create_database();
    let servers = [
        start(&address).await,
        start(&address).await,
        start(&address).await,
    ];
    follow_domains_on(&servers).await;
}

/// Each call is made on the first server, and what follows from it is looked at on all of them.
async fn follow_domains_on(servers: &[Server]) {
    let (mut client, mut domains) = (servers[0].client().await, servers[0].domains().await);
    let unrestricted = create(&mut client, |_| {}).await;
    let not_verified = Some(Reason::DomainNotVerified);
    for name in [DOMAIN, "globex.example"] {
        assert_on_all(servers, &unrestricted.token, name, not_verified).await;
    }
    let refused = client.create_with(restricted_to(DOMAIN)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(
        error_reason(&refused).as_deref(),
        Some("DOMAIN_NOT_VERIFIED")
    );
    assert!(refused.message().contains("AddDomain"), "{refused}");

    domains.add(ACCOUNT, "Example.COM.").await.unwrap();
    assert_on_all(servers, &unrestricted.token, DOMAIN, None).await;
    assert_on_all(
        servers,
        &unrestricted.token,
        "mail.example.com",
        not_verified,
    )
    .await;
    let created = client.create_with(restricted_to(DOMAIN)).await.unwrap();
    assert_eq!(created.key.unwrap().scope, only(DOMAIN));
    let restricted = created.token;
    assert_on_all(servers, &restricted, DOMAIN, None).await;

    domains.add_with(ACCOUNT, DOMAIN, true).await.unwrap();
    assert_on_all(servers, &unrestricted.token, "a.mail.example.com", None).await;
    let not_allowed = Some(Reason::DomainNotAllowed);
    assert_on_all(servers, &restricted, "mail.example.com", not_allowed).await;

    for _ in 0..2 {
        let removed = domains.remove(ACCOUNT, DOMAIN).await.unwrap();
        let expected = RemoveDomainResponse {
            active_key_count: 1,
            ..Default::default()
        };
        assert_eq!(removed, expected);
        for (token, name) in [
            (&unrestricted.token, DOMAIN),
            (&unrestricted.token, "a.mail.example.com"),
            (&restricted, DOMAIN),
        ] {
            assert_on_all(servers, token, name, not_verified).await;
        }
    }
    domains.add(ACCOUNT, DOMAIN).await.unwrap();
    assert_on_all(servers, &restricted, DOMAIN, None).await;
    let of_globex = client.create("globex", "theirs").await.unwrap().token;
    assert_on_all(servers, &of_globex, DOMAIN, not_verified).await;
}

fn restricted_to(domain: &str) -> CreateRequest {
    CreateRequest {
        domain: Some(domain.into()),
        ..create_request()
    }
}

async fn assert_on_all(servers: &[Server], token: &str, name: &str, expected: Option<Reason>) {
    for server in servers {
        let mut client = server.client().await;
        match expected {
            None => assert_eq!(grant(&mut client, token, name).await.account_id, ACCOUNT),
            Some(reason) => assert_eq!(denial(&mut client, token, name).await, reason, "{name}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_are_listed_page_by_page_with_what_is_known_of_them() {
    let (server, _directory) = on_sqlite().await;
    let (mut client, mut domains) = (server.client().await, server.domains().await);
    for name in ["c.example", "a.example", "b.example"] {
        domains
            .add_with(ACCOUNT, name, name == "b.example")
            .await
            .unwrap();
    }
    assert!(domains.add("globex", "a.example").await.unwrap().shared);
    client
        .create_with(restricted_to("b.example"))
        .await
        .unwrap();

    let mut request = ListDomainsRequest {
        account_id: ACCOUNT.into(),
        page_size: 2,
        page_token: String::new(),
    };
    let first = domains.list_with(request.clone()).await.unwrap();
    let known = |page: &[VerifiedDomain]| {
        let known = page.iter();
        let known = known.map(|it| {
            (
                it.domain.clone(),
                it.include_subdomains,
                it.active_key_count,
            )
        });
        known.collect::<Vec<_>>()
    };
    let [a, b, c] = ["a.example", "b.example", "c.example"].map(str::to_owned);
    assert_eq!(known(&first.domains), [(a, false, 0), (b, true, 1)]);
    assert!(first.domains.iter().all(|it| it.account_id == ACCOUNT));
    assert!(
        first
            .domains
            .iter()
            .all(|it| it.create_time == it.verify_time)
    );
    request.page_token = first.next_page_token;
    let last = domains.list_with(request.clone()).await.unwrap();
    assert_eq!(known(&last.domains), [(c, false, 0)]);
    assert_eq!(last.next_page_token, "");

    request.account_id = "globex".into();
    let of_another = domains.list_with(request).await.unwrap_err();
    assert_eq!(of_another.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_cannot_be_verified_is_refused_and_nothing_changes() {
    let (server, _directory) = on_sqlite().await;
    let (mut domains, secrets) = (server.domains().await, secrets());
    let mut cases = vec![
        ("", false, "domain", "give a domain"),
        (
            "not a domain",
            false,
            "domain",
            "use letters, digits and hyphens",
        ),
        ("192.0.2.1", false, "domain", "is an IP address"),
        (
            "[2001:db8::1]",
            false,
            "domain",
            "use letters, digits and hyphens",
        ),
        (
            "someone@example.com",
            false,
            "domain",
            "give only the domain",
        ),
        (
            "https://example.com/",
            false,
            "domain",
            "use letters, digits and hyphens",
        ),
        ("*.example.com", false, "domain", "with include_subdomains"),
        ("com", false, "domain", "is a public suffix"),
        ("co.uk", true, "domain", "is a public suffix"),
        ("xn--p1ai", false, "domain", "is a public suffix"),
        ("github.io", true, "include_subdomains", "must be false"),
        (
            "amazonaws.com",
            true,
            "include_subdomains",
            "a name below it",
        ),
    ];
    cases.extend(
        secrets
            .iter()
            .map(|secret| (secret.as_str(), false, "domain", "is")),
    );
    for (name, include_subdomains, field, part) in cases {
        let refused = domains.add_with(ACCOUNT, name, include_subdomains).await;
        assert_names(&refused.unwrap_err(), field, part);
    }
    for (name, part) in [
        ("*.example.com", "so give one domain"),
        ("a..b", "use letters"),
    ] {
        assert_names(
            &domains.remove(ACCOUNT, name).await.unwrap_err(),
            "domain",
            part,
        );
    }
    for account in ["", "two words", &secrets[0], &secrets[1]] {
        let refused = domains.add(account, DOMAIN).await.unwrap_err();
        assert_names(&refused, "account_id", "");
        assert_names(
            &domains.remove(account, DOMAIN).await.unwrap_err(),
            "account_id",
            "",
        );
        assert_names(&domains.list(account).await.unwrap_err(), "account_id", "");
    }
    let request = ListDomainsRequest {
        account_id: ACCOUNT.into(),
        ..Default::default()
    };
    let of_size = |page_size| ListDomainsRequest {
        page_size,
        ..request.clone()
    };
    for size in [-1, 1001] {
        let refused = domains.list_with(of_size(size)).await.unwrap_err();
        assert_names(&refused, "page_size", "must be from 1 to 1000");
    }
    let with_token = ListDomainsRequest {
        page_token: "AAAA".into(),
        ..request
    };
    let refused = domains.list_with(with_token).await.unwrap_err();
    assert_names(&refused, "page_token", "use the next_page_token");
    assert_eq!(domains.list(ACCOUNT).await.unwrap().domains, []);
    assert!(
        domains.add(ACCOUNT, "github.io").await.is_ok(),
        "it may be somebody's"
    );

    let never_had = domains.remove(ACCOUNT, "example.org").await.unwrap_err();
    assert_eq!(never_had.code(), Code::NotFound);
    for secret in secrets {
        assert!(!server.log().contains(&secret), "{}", server.log());
    }
}

/// A token and the bearer secret of a caller.
fn secrets() -> [String; 2] {
    let mut rng = rand::rng();
    let token = Token::generate(&mut rng).expose().to_owned();
    [token, Secret::generate(&mut rng).expose().to_owned()]
}

fn assert_names(refused: &Status, field: &str, part: &str) {
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let details = refused.get_details_bad_request().expect("a detail");
    let fields: Vec<_> = details
        .field_violations
        .iter()
        .map(|it| it.field.as_str())
        .collect();
    assert_eq!(fields, [field], "{refused}");
    assert!(refused.message().contains(part), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_tells_which_domain_above_still_verifies_the_name() {
    let (server, _directory) = on_sqlite().await;
    let (mut client, mut domains) = (server.client().await, server.domains().await);
    let token = create(&mut client, |_| {}).await.token;
    for (name, include_subdomains) in [("example.com", true), ("mail.example.com", false)] {
        let added = domains.add_with(ACCOUNT, name, include_subdomains).await;
        added.unwrap();
    }
    let still_verified_by = async |domains: &mut Domains, name| {
        let removed = domains.remove(ACCOUNT, name).await;
        removed.unwrap().still_verified_by
    };
    let by = still_verified_by(&mut domains, "mail.example.com").await;
    assert_eq!(by, "example.com");
    grant(&mut client, &token, "mail.example.com").await;

    domains.add(ACCOUNT, "example.com").await.unwrap();
    let by = still_verified_by(&mut domains, "mail.example.com").await;
    assert_eq!(by, "", "it may be asked again");
    let denied = denial(&mut client, &token, "mail.example.com").await;
    assert_eq!(denied, Reason::DomainNotVerified);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_added_and_removed_though_its_keys_cannot_be_counted() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = start(&store).await;
    let mut domains = server.domains().await;
    for trouble in ["RAISE 'no count today'", "PERFORM pg_sleep(600)"] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION keyservice.count_active_keys( \
                 p_account_id text, p_domain text, p_time timestamptz, p_limit bigint, \
                 OUT active bigint, OUT looked_at bigint) \
             LANGUAGE plpgsql AS $$ BEGIN {trouble}; END $$"
        );
        cluster.psql(database_in(&store), &function);
        let started = Instant::now();
        let added = domains.add(ACCOUNT, DOMAIN).await.unwrap().domain.unwrap();
        let removed = domains.remove(ACCOUNT, DOMAIN).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(4), "{trouble}");
        assert!(added.active_key_count_is_minimum && removed.active_key_count_is_minimum);
        assert_eq!((added.active_key_count, removed.active_key_count), (0, 0));
    }
    assert!(server.log().contains("no count today"), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_verified_domains_off_the_list_is_kept_and_not_asked() {
    let server = Server::on_sqlite().await;
    let (mut client, mut domains) = (server.client().await, server.domains().await);
    assert!(
        server.log().contains("--verified-domains is off"),
        "{}",
        server.log()
    );
    domains.add(ACCOUNT, "example.org").await.unwrap();
    let created = client.create_with(restricted_to(DOMAIN)).await.unwrap();
    assert_eq!(
        grant(&mut client, &created.token, DOMAIN).await.scope,
        only(DOMAIN)
    );
    assert_eq!(domains.list(ACCOUNT).await.unwrap().domains.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_keys_and_without_a_verified_domain_is_warned_of() {
    const WARNING: &str = "no domain of any account is verified";
    let directory = directory();
    let store = sqlite_in(&directory);
    let unrequired = Server::start(&store).await;
    create(&mut unrequired.client().await, |_| {}).await;
    assert!(!unrequired.log().contains(WARNING));
    unrequired.terminate().await;
    let server = start(&store).await;
    eventually("the warning is logged", async || {
        server.log().contains(WARNING)
    })
    .await;
    server.domains().await.add(ACCOUNT, DOMAIN).await.unwrap();
    server.terminate().await;
    let server = start(&store).await;
    server.health().await.wait_until_serving().await;
    assert!(!server.log().contains(WARNING));
}
