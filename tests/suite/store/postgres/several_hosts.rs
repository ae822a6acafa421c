//! An address that names a primary and its standby. Nobody may be answered from the standby, whatever keeps the
//! replica from the primary, and the primary's lack of room is known as such.

use crate::support::{
    eventually,
    postgres::{
        Cluster, database_in,
        roles::{create_role_for, role_in},
    },
    server::{Client, Server},
    stores::use_everything,
};
use futures::future::join_all;
use keyservice::grpc::proto::{
    BatchRevokeRequest, GetAccountRequest, GetRequest,
    account_service_client::AccountServiceClient,
    batch_revoke_request::{Filter, Keys, Selection},
    get_request,
};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

struct Hosts {
    primary: Cluster,
    standby: Cluster,
    /// The addresses of the service's role.
    primary_first: String,
    standby_first: String,
}

impl Hosts {
    /// A migrated database and its standby, which replays nothing more. The parameters are for both addresses.
    fn with_late_standby(parameters: &str, store: String, primary: Cluster) -> Self {
        let service = create_role_for("service", &primary, &store);
        let standby = primary.start_standby();
        standby.psql("postgres", "SELECT pg_wal_replay_pause()");
        let hosts = |ports: [u16; 2]| {
            let [first, second] = ports.map(|port| format!("127.0.0.1:{port}"));
            let (role, database) = (role_in(&service), database_in(&store));
            format!("postgres://{role}@{first},{second}/{database}{parameters}")
        };
        Self {
            primary_first: hosts([primary.port(), standby.port()]),
            standby_first: hosts([standby.port(), primary.port()]),
            primary,
            standby,
        }
    }

    async fn start(parameters: &str) -> Self {
        let primary = Cluster::start();
        let store = primary.create_database();
        use_everything(&store).await.expect("migrated");
        Self::with_late_standby(parameters, store, primary)
    }

    /// Lets the service's role open this many connections to the primary. The standby does not learn it.
    fn limit(&self, connections: i32) {
        let role = role_in(&self.primary_first);
        let limit = format!("ALTER ROLE {role} CONNECTION LIMIT {connections}");
        self.primary.psql("postgres", &limit);
    }

    fn sessions_at_standby(&self) -> String {
        let role = role_in(&self.primary_first);
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'");
        self.standby.psql("postgres", &count)
    }
}

/// Each way to ask for keys: by id, by token, by list, and in the two ways to revoke many.
async fn ask(client: &mut Client, token: &str, key_id: &str) -> [Result<(), Status>; 5] {
    let get = |target| GetRequest {
        target: Some(target),
        account_id: None,
    };
    let by_id = get(get_request::Target::KeyId(key_id.into()));
    let by_token = get(get_request::Target::Token(token.into()));
    let given = Keys {
        key_ids: vec![key_id.into()],
        ..Default::default()
    };
    [
        client.0.get(by_id).await.map(drop),
        client.0.get(by_token).await.map(drop),
        client.list("acme").await.map(drop),
        revoke(client, Selection::Keys(given)).await,
        revoke(client, Selection::Filter(Filter::default())).await,
    ]
}

async fn revoke(client: &mut Client, selection: Selection) -> Result<(), Status> {
    let request = BatchRevokeRequest {
        selection: Some(selection),
        account_id: Some("acme".into()),
        reason: "leaked".into(),
        dry_run: false,
    };
    client.0.batch_revoke(request).await.map(drop)
}

async fn create_at_once(server: &Server, count: usize) {
    let clients = join_all((0..count).map(|_| server.client())).await;
    let created = clients
        .into_iter()
        .map(async |mut client| client.create("acme", "a key").await.map(drop));
    for created in join_all(created).await {
        created.expect("created");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_answered_from_a_late_standby_while_the_primary_has_no_room() {
    let hosts = Hosts::start("").await;
    let server = Server::start_with(&hosts.primary_first, &["--lease=30s"], &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;

    hosts.limit(1);
    let of_calls = "query NOT LIKE '%keyservice.renew_by_feed(%' AND query NOT LIKE '%look_at%' \
                    AND query NOT LIKE 'LISTEN%'";
    let role = role_in(&hosts.primary_first);
    let ended = hosts
        .primary
        .end_sessions(&format!("usename = '{role}' AND {of_calls}"));
    assert!(ended > 0);
    for _ in 0..3 {
        for answer in ask(&mut client, &token, &key_id).await {
            let refused = answer.expect_err("the primary has no room");
            assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        }
        assert!(client.is_granted(&token).await);
    }
    eventually(
        "it asks the standby no more than whether it takes writes",
        async || hosts.sessions_at_standby() == "0",
    )
    .await;

    hosts.limit(-1);
    eventually("they are revoked", async || {
        let all = Selection::Filter(Filter::default());
        revoke(&mut client, all).await.is_ok()
    })
    .await;
    assert!(client.is_revoked(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_named_first_or_chosen_by_chance_is_passed_over() {
    for parameters in ["", "?load_balance_hosts=random"] {
        let hosts = Hosts::start(parameters).await;
        let server = Server::start(&hosts.standby_first).await;
        create_at_once(&server, 20).await;
        let mut client = server.client().await;
        let (_, key_id) = client.create_key().await;
        let listed = client.list("acme").await.expect("listed");
        assert!(listed.iter().any(|key| key.key_id == key_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_gets_its_connections_at_the_expense_of_calls_whatever_the_standby_says() {
    let hosts = Hosts::start("").await;
    hosts.limit(8);
    let server = Server::start_with(&hosts.primary_first, &["--lease=2s"], &[]).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    create_at_once(&server, 60).await;

    hosts.limit(6);
    let end = hosts
        .primary
        .end_sessions("query LIKE '%keyservice.renew_by_feed(%' OR query LIKE '%look_at%'");
    assert!(end > 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        create_at_once(&server, 60).await;
        assert!(client.is_granted(&token).await, "{}", server.log());
    }
}

/// A pooler may lead the sessions of a replica to a standby while they are in use. Here, the primary answers as one.
#[tokio::test(flavor = "multi_thread")]
async fn each_statement_that_reads_for_a_call_asks_whether_it_is_on_the_primary() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let server = Server::start_with(&store, &["--lease=30s"], &[]).await;
    let mut client = server.client().await;
    let (token, key_id) = client.create_key().await;

    let standby = "CREATE OR REPLACE FUNCTION keyservice.refuse_standby() RETURNS void LANGUAGE plpgsql \
                   AS $$ BEGIN RAISE 'a standby' USING ERRCODE = 'read_only_sql_transaction'; END $$";
    cluster.psql(database_in(&store), standby);
    let account = GetAccountRequest {
        account_id: "acme".into(),
    };
    let mut accounts = AccountServiceClient::new(server.channel().await);
    let mut domains = server.domains().await;
    let others = [
        accounts.get_account(account).await.map(drop),
        domains.list("acme").await.map(drop),
    ];
    let keys = ask(&mut client, &token, &key_id).await;
    for answer in keys.into_iter().chain(others) {
        let refused = answer.expect_err("a standby");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
}
