//! The standby that is promoted has missed writes to domains that were acknowledged. What it grants
//! again is taken away again, before any replica answers by it.

use crate::support::{
    eventually,
    postgres::{self, database_in, proxy::Proxy, replicated::ReplicatedCluster},
    server::{
        Server,
        audit_command::{audit_output, records},
        command,
    },
};
use futures::future::join_all;
use keyservice::grpc::proto::authorize_response::Decision;
use serde_json::Value;
use std::{collections::BTreeSet, process::Command};

const ACCOUNT: &str = "acme";

/// Replicas and their database, of which a standby takes over that has missed the last writes.
pub(super) struct Failover {
    cluster: ReplicatedCluster,
    proxy: Proxy,
    database: String,
    pub(super) servers: [Server; 2],
}

impl Failover {
    /// With what is set on each replica.
    pub(super) async fn start(set: impl Fn(&mut Command)) -> Self {
        let cluster = ReplicatedCluster::start(1).await;
        cluster.make_commits_independent_of_standby();
        let database = cluster.primary().create_database();
        let proxy = Proxy::start(cluster.primary().port(), 1).await;
        let through_proxy = postgres::address(proxy.port(), database_in(&database));
        let store = through_proxy + "?sslmode=disable";
        let replica = async || {
            let mut command = command(&store);
            set(command.args(["--lease", "1s"]));
            Server::start_command(&mut command).await
        };
        let servers = [replica().await, replica().await];
        Self {
            cluster,
            proxy,
            database: database_in(&database).to_owned(),
            servers,
        }
    }

    /// The standby misses all that is written from now on.
    pub(super) fn lose_from_here(&self) {
        self.cluster.wait_until_replayed();
        self.cluster.hold_replication(true);
    }

    pub(super) fn fail_over(&mut self) {
        self.cluster.lose_primary();
        self.cluster.promote();
        self.proxy.set_server(self.cluster.primary().port());
        self.proxy.cut();
    }

    /// Runs a statement where the writes are.
    pub(super) fn psql(&self, sql: &str) -> String {
        self.cluster.primary().psql(&self.database, sql)
    }

    /// The same, each by its thing, its method, its revision and its history.
    fn writes_of_the_service(&self) -> BTreeSet<[String; 4]> {
        let store = postgres::address(self.cluster.primary().port(), &self.database);
        writes_in(&audit_output(&store, &["--caller", "keyservice"]))
    }

    /// What the service itself has written, each record once.
    pub(super) fn written_by_the_service(&self) -> BTreeSet<String> {
        let store = postgres::address(self.cluster.primary().port(), &self.database);
        let records = records(&store, &["--caller", "keyservice"]);
        records.into_iter().collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_the_promoted_standby_missed_is_written_again() {
    let mut failover = Failover::start(|command| {
        command.env_remove("KEYSERVICE_VERIFIED_DOMAINS");
    })
    .await;
    let mut domains = failover.servers[0].domains().await;
    let (token, _) = failover.servers[0].client().await.create_key().await;
    for (name, include_subdomains) in [("kept", false), ("removed", false), ("narrowed", true)] {
        let name = format!("{name}.example");
        let added = domains.add_with(ACCOUNT, &name, include_subdomains).await;
        added.expect("added");
    }

    failover.lose_from_here();
    domains
        .remove(ACCOUNT, "removed.example")
        .await
        .expect("removed");
    let narrowed = domains.add(ACCOUNT, "narrowed.example").await;
    narrowed.expect("narrowed");
    domains.add(ACCOUNT, "lost.example").await.expect("added");
    failover.fail_over();

    join_all(failover.servers.iter().map(async |server| {
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
    assert_eq!(
        failover.written_by_the_service(),
        [
            "keyservice AddDomain OK acme narrowed.example 1",
            "keyservice RemoveDomain OK acme removed.example 1",
        ]
        .map(String::from)
        .into()
    );
    let records = failover.writes_of_the_service();
    let [first, second] = &failover.servers;
    let lines = writes_in(&(first.log() + &second.log()));
    assert_eq!(lines, records);
}

/// The service's own writes, as records or lines of the log tell of them.
fn writes_in(lines: &str) -> BTreeSet<[String; 4]> {
    let told = lines.lines().filter_map(|line| {
        let told: Value = serde_json::from_str(line).ok()?;
        let is_own = told["caller"] == "keyservice" && told["history_id"].is_string();
        let fields = ["domain", "method", "revision", "history_id"];
        // A record has no message.
        let is_read = told["message"].is_null() || told["message"] == "admin call";
        (is_own && is_read).then(|| fields.map(|field| told[field].to_string()))
    });
    told.collect()
}

/// `None` while the replica has no lease.
pub(super) async fn is_granted(server: &Server, token: &str, domain: &str) -> Option<bool> {
    let decision = server.client().await.authorize(token, domain).await;
    decision
        .ok()
        .map(|decision| matches!(decision, Decision::Grant(_)))
}

pub(super) fn assert_is_named(server: &Server, event: &str, domain: &str) {
    let log = server.log();
    let is_named = |line: &str| line.contains(event) && line.contains(domain);
    assert!(log.lines().any(is_named), "{log}");
}
