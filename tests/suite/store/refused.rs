//! A store that is unreachable or does not fit this service is refused. The error says what to do.

use crate::support::{
    directory,
    postgres::{
        Cluster, database_in, free_port, session,
        table_lock::{TableLock, with_schema},
    },
    server::{self, Server, assert_refused, sqlite_in},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_an_unreachable_postgres() {
    let store = format!("postgres://kate:hunter2@127.0.0.1:{}/keys", free_port());
    let shown = store.replace(":hunter2", "");
    let parts = [shown.as_str(), "check that the server runs"];
    assert_refused(&mut server::command(&store), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_database_that_the_server_does_not_have() {
    let cluster = Cluster::shared();
    let store = cluster.address_of("misspelt");
    let name = "\"misspelt\" does not exist: check the name of the database in the address";
    assert_refused(&mut server::command(&store), &[name]).await;
}

/// As a swap of databases leaves it that stopped half-way.
#[tokio::test(flavor = "multi_thread")]
async fn the_error_says_how_a_database_takes_connections_again() {
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let database = database_in(&store);
    let forbid = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false");
    cluster.psql("postgres", &forbid);
    let parts = ["ALTER DATABASE … ALLOW_CONNECTIONS true"];
    assert_refused(&mut server::command(&store), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_if_the_keys_do_not_load_in_time() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let _lock = TableLock::on_keys(&store).await;
    let mut command = server::command(&store);
    command.args(["--statement-timeout", "100ms"]);
    assert_refused(&mut command, &["cannot load the keys", "start again when"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_a_newer_release_is_refused() {
    let (directory, cluster) = (directory(), Cluster::shared());
    let sqlite = with_schema(sqlite_in(&directory)).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("it opens");
    file.pragma_update(None, "user_version", 99)
        .expect("it is set");
    let postgres = with_schema(cluster.create_database()).await;
    let newer = "INSERT INTO keyservice.migrations VALUES (99, 'from the future')";
    session(&postgres)
        .await
        .execute(newer, &[])
        .await
        .expect("it is set");
    for store in [sqlite, postgres] {
        let parts = ["version 99", "start that release or a later one"];
        assert_refused(&mut server::command(&store), &parts).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_created_with_another_digest_secret_is_refused() {
    let (directory, unkeyed, cluster) = (directory(), directory(), Cluster::shared());
    let [right, wrong] = ["right", "wrong"].map(|name| {
        let path = directory.path().join(name);
        std::fs::write(&path, name.repeat(32)).expect("a file");
        [
            "--digest-secret-file".to_owned(),
            path.display().to_string(),
        ]
    });
    for store in [sqlite_in(&directory), cluster.create_database()] {
        let right = right.each_ref().map(String::as_str);
        Server::start_with(&store, &right, &[])
            .await
            .terminate()
            .await;
        for args in [&wrong[..], &[]] {
            let parts = ["made with another digest secret", "start with the same"];
            assert_refused(server::command(&store).args(args), &parts).await;
        }
    }
    for store in [sqlite_in(&unkeyed), cluster.create_database()] {
        Server::start(&store).await.terminate().await;
        let parts = [
            "made without a digest secret",
            "start without --digest-secret-file",
        ];
        assert_refused(server::command(&store).args(&wrong), &parts).await;
    }
}
