//! No synchronous standby answers any more. Nothing is acknowledged, and what waits at the server is given up there
//! too.

use crate::support::{
    eventually,
    postgres::{database_in, replicated::ReplicatedCluster},
    server::{Server, audit_command::records},
    stores::use_everything,
};
use tonic::Code;

/// What `--pool-size`, the leases and the notifications come to.
const CONNECTIONS: u32 = 11;

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_wait_in_vain_do_not_pile_up_and_each_call_is_on_record_once() {
    const LISTS: usize = 6;
    let cluster = ReplicatedCluster::start(1).await;
    let store = cluster.primary().create_database();
    use_everything(&store).await.expect("migrated");
    let server = Server::start_with(&store, &["--statement-timeout=300ms"], &[]).await;
    let mut client = server.client().await;
    client.create_key().await;

    let listed = |records: &[String]| {
        let lists = records.iter().filter(|record| record.contains(" List "));
        lists.count()
    };
    let listed_before = listed(&records(&store, &[]));

    cluster.hold_replication(true);
    for _ in 0..LISTS {
        let refused = client.list("acme").await.expect_err("it is not on record");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        let refused = client.create("acme", "a key").await;
        let refused = refused.expect_err("the standby does not have it");
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let database = database_in(&store);
    let sessions = || -> u32 {
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'");
        cluster
            .primary()
            .psql("postgres", &count)
            .parse()
            .expect("a number")
    };
    eventually("what was given up has ended", async || {
        sessions() <= CONNECTIONS
    })
    .await;
    eventually("each is on record", async || {
        listed(&records(&store, &[])) == listed_before + LISTS
    })
    .await;

    cluster.hold_replication(false);
    eventually("it writes again", async || {
        client.create("acme", "a key").await.is_ok()
    })
    .await;
    eventually("no commit waits", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        cluster.primary().psql("postgres", waiting) == "0"
    })
    .await;
    let records = records(&store, &[]);
    assert_eq!(listed(&records), listed_before + LISTS, "{records:#?}");
}
