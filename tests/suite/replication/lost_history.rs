//! The standby that is promoted has missed writes to domains that were acknowledged. What it grants
//! again is taken away again, before any replica answers by it.

use crate::support::{
    eventually,
    postgres::{self, database_in, proxy::Proxy, replicated::ReplicatedCluster},
    server::{Server, audit_command::records, command},
};
use futures::future::join_all;
use keyservice::grpc::proto::authorize_response::Decision;

const ACCOUNT: &str = "acme";

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_the_promoted_standby_missed_is_written_again() {
    let mut cluster = ReplicatedCluster::start(1).await;
    cluster.make_commits_independent_of_standby();
    let database = cluster.primary().create_database();
    let proxy = Proxy::start(cluster.primary().port(), 1).await;
    let through_proxy = postgres::address(proxy.port(), database_in(&database));
    let store = through_proxy + "?sslmode=disable";
    let servers = [replica(&store).await, replica(&store).await];
    let mut domains = servers[0].domains().await;
    let (token, _) = servers[0].client().await.create_key().await;
    for (name, include_subdomains) in [("kept", false), ("removed", false), ("narrowed", true)] {
        let name = format!("{name}.example");
        let added = domains.add_with(ACCOUNT, &name, include_subdomains).await;
        added.expect("added");
    }
    cluster.wait_until_replayed();

    cluster.hold_replication(true);
    domains
        .remove(ACCOUNT, "removed.example")
        .await
        .expect("removed");
    let narrowed = domains.add(ACCOUNT, "narrowed.example").await;
    narrowed.expect("narrowed");
    domains.add(ACCOUNT, "lost.example").await.expect("added");
    cluster.lose_primary();
    cluster.promote();
    proxy.set_server(cluster.primary().port());
    proxy.cut();

    join_all(servers.iter().map(async |server| {
        eventually("it serves by the new primary", async || {
            for denied in ["removed.example", "a.narrowed.example"] {
                assert_ne!(
                    is_granted(server, &token, denied).await,
                    Some(true),
                    "{denied}"
                );
            }
            is_granted(server, &token, "lost.example").await == Some(false)
                && server.log().contains("the store lost writes")
        })
        .await;
        for granted in ["kept.example", "narrowed.example"] {
            assert_eq!(
                is_granted(server, &token, granted).await,
                Some(true),
                "{granted}"
            );
        }
        assert_is_named(
            server,
            "the store lost what was verified by this domain",
            "lost.example",
        );
    }))
    .await;

    let listed = domains.list(ACCOUNT).await.expect("listed").domains;
    let listed: Vec<_> = listed
        .iter()
        .map(|it| (it.domain.as_str(), it.include_subdomains))
        .collect();
    assert_eq!(
        listed,
        [("kept.example", false), ("narrowed.example", false)]
    );
    let by_the_service = records(
        &postgres::address(cluster.primary().port(), database_in(&database)),
        &["--caller", "keyservice"],
    );
    for record in [
        "keyservice RemoveDomain OK acme removed.example 1",
        "keyservice AddDomain OK acme narrowed.example 1",
    ] {
        assert!(
            by_the_service.iter().any(|it| it == record),
            "{by_the_service:?}"
        );
    }
}

async fn replica(store: &str) -> Server {
    let mut command = command(store);
    command.args(["--lease", "1s"]);
    Server::start_command(command.env_remove("KEYSERVICE_VERIFIED_DOMAINS")).await
}

/// `None` while the replica has no lease.
async fn is_granted(server: &Server, token: &str, domain: &str) -> Option<bool> {
    let decision = server.client().await.authorize(token, domain).await;
    decision
        .ok()
        .map(|decision| matches!(decision, Decision::Grant(_)))
}

fn assert_is_named(server: &Server, event: &str, domain: &str) {
    let log = server.log();
    let is_named = |line: &str| line.contains(event) && line.contains(domain);
    assert!(log.lines().any(is_named), "{log}");
}
