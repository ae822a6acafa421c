//! The address comes to lead to another database while the service runs.

use crate::support::{
    directory, eventually,
    postgres::{Cluster, database_in},
    server::{Server, error_reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_does_not_follow_a_database_whose_keys_it_could_not_find() {
    let (directory, cluster) = (directory(), Cluster::shared());
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "another ".repeat(32)).expect("a file");
    let other = cluster.create_database();
    let keyed = ["--digest-secret-file", secret.to_str().expect("UTF-8")];
    Server::start_with(&other, &keyed, &[])
        .await
        .terminate()
        .await;

    let store = cluster.create_database();
    let server = Server::start(&store).await;
    let (token, _) = server.client().await.create_key().await;
    take_place(&cluster, database_in(&other), database_in(&store)).await;
    eventually("the log says why", async || {
        server
            .log()
            .contains("whose keys were made with another digest secret")
    })
    .await;
    eventually("it answers no more", async || !server.is_serving().await).await;
    let answer = server.client().await.authorize(&token, "example.com").await;
    let reason = error_reason(&answer.expect_err("it has no lease"));
    assert!(matches!(
        &*reason.expect("a reason"),
        "LEASE_LAPSED" | "KEYRING_LOADING"
    ));
}

/// Gives a database the name of another one, which is in use.
async fn take_place(cluster: &Cluster, database: &str, of: &str) {
    let sql = |text: String| cluster.psql("postgres", &text);
    sql(format!("ALTER DATABASE {of} ALLOW_CONNECTIONS false"));
    eventually("nobody is connected", async || {
        sql(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{of}'"
        ));
        let count = "SELECT count(*) FROM pg_stat_activity WHERE datname =";
        sql(format!("{count} '{of}'")).trim() == "0"
    })
    .await;
    sql(format!("ALTER DATABASE {of} RENAME TO {of}_before"));
    sql(format!("ALTER DATABASE {database} RENAME TO {of}"));
}
