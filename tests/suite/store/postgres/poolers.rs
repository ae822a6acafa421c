//! A pooler between a replica and PostgreSQL: one that keeps sessions works, and one that does not is
//! recognised.

use crate::support::{
    eventually,
    postgres::{Cluster, database_in, pooler::Pooler},
    server::{Server, assert_refused, command},
};
use futures::future::join_all;
use tonic::{Code, Status};

const ADVICE: &str = "a pooler before PostgreSQL shares sessions and loses prepared statements";

async fn create_at_once(server: &Server, count: usize) -> Vec<Result<(), Status>> {
    let clients = join_all((0..count).map(|_| server.client())).await;
    let created = clients.into_iter().map(async |mut client| {
        let created = client.create("acme", "a key").await;
        created.map(drop)
    });
    join_all(created).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_works() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let pooler = Pooler::start(&cluster, "session", 30);
    let through_pooler = pooler.address_of(database_in(&store));
    let servers = [
        Server::start(&through_pooler).await,
        Server::start(&through_pooler).await,
    ];
    for server in &servers {
        for created in create_at_once(server, 60).await {
            created.expect("created");
        }
        assert!(!server.log().contains(ADVICE), "{}", server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_refuses_a_pooler_that_loses_prepared_statements() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    for connections in [2, 4, 20] {
        let pooler = Pooler::start(&cluster, "transaction", connections);
        let through_pooler = pooler.address_of(database_in(&store));
        let remedy = "use it in session mode";
        assert_refused(&mut command(&through_pooler), &[ADVICE, remedy]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_begins_to_lose_prepared_statements_is_named_once_in_the_log() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let pooler = Pooler::start(&cluster, "session", 12);
    let server = Server::start(&pooler.address_of(database_in(&store))).await;
    pooler.share_sessions();

    eventually("calls fail", async || {
        let created = create_at_once(&server, 60).await;
        let refused: Vec<_> = created.into_iter().filter_map(Result::err).collect();
        for status in &refused {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
        }
        server.log().contains(ADVICE)
    })
    .await;
    create_at_once(&server, 60).await;
    let log = server.log();
    assert_eq!(log.matches(ADVICE).count(), 1, "{log}");
    assert!(log.contains("max_prepared_statements"), "{log}");
}
