//! The promises hold whatever the defaults of the database are.

use crate::support::{
    postgres::{Cluster, database_in},
    server::Server,
};
use futures::future::join_all;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_succeed_on_a_database_that_defaults_to_serializable() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    let stricter = "SET default_transaction_isolation = serializable";
    cluster.psql("postgres", &format!("ALTER DATABASE {database} {stricter}"));
    let replicas = join_all((0..2).map(|_| Server::start(&store))).await;

    let writers = join_all(replicas.iter().cycle().take(8).map(Server::client)).await;
    join_all(writers.into_iter().map(async |mut writer| {
        for _ in 0..5 {
            let (_, key_id) = writer.create_key().await;
            writer.revoke(&key_id).await.expect("revoked");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_are_on_disk_on_a_database_that_defaults_to_asynchronous_commit() {
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    cluster.set_setting("synchronous_commit", "off");
    // Otherwise the server might write to disk early enough by chance.
    cluster.set_setting("wal_writer_delay", "10s");
    let server = Server::start(&store).await;
    let mut client = server.client().await;
    let (_, key_id) = client.create_key().await;
    cluster.kill();
    server.kill().await;

    cluster.restart();
    let server = Server::start(&store).await;
    let keys = server.client().await.list("acme").await.expect("listed");
    assert_eq!(keys.first().map(|key| &key.key_id), Some(&key_id));
}
