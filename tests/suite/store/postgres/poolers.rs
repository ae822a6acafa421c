//! A pooler between a replica and PostgreSQL: one that keeps sessions works, and one that does not is
//! recognised.

use crate::support::{
    postgres::{Cluster, database_in, pooler::Pooler},
    server::{Server, command},
};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::sleep;
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

/// As a supervisor does: the load of the keys may be what meets the pooler's fault.
async fn start_again_until_it_serves(store: &str) -> Server {
    for _ in 0..100 {
        let mut server = Server::launch(&mut command(store));
        while !server.has_exited() {
            if server.is_listening() && server.is_serving().await {
                return server;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(server.log().matches(ADVICE).count(), 1, "{}", server.log());
    }
    panic!("it never serves");
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
async fn a_pooler_that_loses_prepared_statements_is_named_once_in_the_log() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    drop(Server::start(&store).await);
    let pooler = Pooler::start(&cluster, "transaction", 4);
    let through_pooler = pooler.address_of(database_in(&store));
    let server = start_again_until_it_serves(&through_pooler).await;

    let mut refused = Vec::new();
    for _ in 0..20 {
        let created = create_at_once(&server, 60).await;
        refused.extend(created.into_iter().filter_map(Result::err));
        if refused.len() > 10 {
            break;
        }
    }
    assert!(!refused.is_empty(), "it kept them");
    for status in refused {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    let log = server.log();
    assert_eq!(log.matches(ADVICE).count(), 1, "{log}");
    assert!(log.contains("max_prepared_statements"), "{log}");
}
