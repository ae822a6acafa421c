//! What an operator sees of the process: how it starts, says that it serves, and stops; and what
//! it says when it cannot start.

use crate::support::{
    directory, eventually,
    keys_lock::{KeysLock, PATIENT, with_tables},
    postgres::{Cluster, free_port, session},
    server::{self, Server, assert_refused, sqlite_in},
};
use futures::StreamExt;
use keyservice::grpc::proto::{CreateResponse, key_service_server::SERVICE_NAME};
use std::{
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{task::JoinHandle, time::timeout};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_serve_until_its_keyring_is_loaded() {
    let cluster = Cluster::shared();
    let store = with_tables(cluster.database()).await;
    let lock = KeysLock::take(&store).await;
    let server = Server::spawn(&store, &PATIENT, &[]).await;
    let mut health = server.health().await;
    for service in ["", SERVICE_NAME] {
        assert_eq!(health.check(service).await, ServingStatus::NotServing);
    }
    let mut client = server.client().await;
    let answer = client.authorize("tsend_unknown", "example.com").await;
    let refused = answer.expect_err("it cannot know");
    assert_eq!(refused.code(), Code::Unavailable);
    let info = refused.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.reason, "KEYRING_LOADING");

    drop(lock);
    health.until_serving().await;
    assert_eq!(health.check(SERVICE_NAME).await, ServingStatus::Serving);
    let answer = client.authorize("tsend_unknown", "example.com").await;
    answer.expect("a decision");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_health_at_once_and_lets_a_call_in_flight_finish() {
    signal_drains("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_ends_health_at_once_and_lets_a_call_in_flight_finish() {
    signal_drains("INT").await;
}

async fn signal_drains(signal: &str) {
    let mut busy = Busy::start(&[]).await;
    let mut health = busy.server.health().await;
    let watches = [health.watch("").await, health.watch(SERVICE_NAME).await];
    busy.server.signal(signal);
    for watch in watches {
        assert_eq!(last_word(watch).await, ServingStatus::NotServing);
    }
    assert!(!busy.create.is_finished());

    drop(busy.lock);
    let created = busy.create.await.expect("no panic");
    assert!(
        created
            .expect("it was let finish")
            .token
            .starts_with("tsend_")
    );
    assert_eq!(busy.server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_watch_health_may_turn_away_before_their_connections_end() {
    let mut server = Server::on_sqlite().await;
    let (mut client, mut health) = (server.client().await, server.health().await);
    let mut watch = health.watch(SERVICE_NAME).await;
    let serving = watch.next().await.expect("a word").expect("it is open");
    assert_eq!(serving.status(), ServingStatus::Serving);

    let asked = Instant::now();
    server.signal("TERM");
    let told = watch.next().await.expect("a word").expect("it is open");
    assert_eq!(told.status(), ServingStatus::NotServing);
    let answer = client.authorize("tsend_unknown", "example.com").await;
    answer.expect("it still answers");
    last_word(watch).await;
    assert!(asked.elapsed() >= Duration::from_millis(500));
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_end_is_cut_at_the_drain_limit() {
    let limit = Duration::from_millis(300);
    let mut busy = Busy::start(&["--drain-limit", "300ms"]).await;
    let asked = Instant::now();
    busy.server.signal("TERM");
    assert_eq!(busy.server.ended().await.code(), Some(0));
    assert!(asked.elapsed() >= limit);
    assert!(busy.server.log().contains("in flight at the drain limit"));
    busy.create
        .await
        .expect("no panic")
        .expect_err("it was cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let mut busy = Busy::start(&["--drain-limit", "1h"]).await;
    let watch = busy.server.health().await.watch("").await;
    busy.server.signal("TERM");
    last_word(watch).await;
    busy.server.signal("INT");
    assert_eq!(busy.server.ended().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_their_connections_do_not_hold_a_shutdown() {
    let directory = directory();
    let args = ["--drain-limit", "1h"];
    let mut server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let idle = server.channel().await;
    let silent = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    drop((idle, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_server_that_still_loads() {
    let cluster = Cluster::shared();
    let store = with_tables(cluster.database()).await;
    let _lock = KeysLock::take(&store).await;
    let mut server = Server::spawn(&store, &PATIENT, &[]).await;
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let directory = directory();
    let mut command = server::serve();
    command.args(["--listen", &address, "--store", &sqlite_in(&directory)]);
    assert_refused(
        &mut command,
        &[&address, "choose another address with --listen"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_path_that_cannot_be_opened_is_named() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("prose.db"), "no database ".repeat(1000)).expect("a file");
    std::fs::create_dir(path("folder")).expect("a directory");
    for (name, advice) in [
        ("missing/keys.db", "make its directory first"),
        ("folder", "is no regular file"),
        ("prose.db", "check that it is a keyservice database"),
    ] {
        let mut command = server::command(&format!("sqlite:{}", path(name)));
        assert_refused(&mut command, &[&path(name), advice]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_database_is_refused_and_left_as_it_is() {
    let directory = directory();
    let path = directory.path().join("keys.db");
    let theirs = rusqlite::Connection::open(&path).expect("it opens");
    theirs
        .execute_batch("CREATE TABLE theirs (a); PRAGMA user_version = 99")
        .expect("it is made");
    let before = std::fs::read(&path).expect("a file");
    let parts = ["keys.db is not a keyservice database"];
    assert_refused(&mut server::command(&sqlite_in(&directory)), &parts).await;
    assert_eq!(std::fs::read(&path).expect("a file"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_is_opened_by_no_second_name() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    let store = |name: &str| format!("sqlite:{}", path(name).display());
    symlink("keys.db", path("link.db")).expect("a link");
    let led_nowhere = ["link.db", "make the file that it leads to first"];
    assert_refused(&mut server::command(&store("link.db")), &led_nowhere).await;

    let holder = Server::start(&store("keys.db")).await;
    let in_use = ["keys.db is in use"];
    assert_refused(&mut server::command(&store("link.db")), &in_use).await;
    std::fs::hard_link(path("keys.db"), path("twin.db")).expect("a link");
    let twice = ["twin.db has a second name", "remove one of them"];
    assert_refused(&mut server::command(&store("twin.db")), &twice).await;
    holder.terminate().await;
    let twice = ["keys.db has a second name"];
    assert_refused(&mut server::command(&store("keys.db")), &twice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_store_is_read_by_its_owner_alone() {
    let directory = directory();
    let _server = Server::start(&sqlite_in(&directory)).await;
    for entry in directory.path().read_dir().expect("a directory") {
        let entry = entry.expect("a file");
        let mode = entry.metadata().expect("its mode").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_no_store() {
    let parts = ["/dev/null is no regular file"];
    assert_refused(&mut server::command("sqlite:/dev/null"), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_in_use_names_the_process_that_has_it() {
    let directory = directory();
    let store = sqlite_in(&directory);
    let holder = Server::start(&store).await;
    let process = format!("process {}", holder.pid());
    let parts = ["keys.db", &process, "give --store another file"];
    assert_refused(&mut server::command(&store), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_out_of_reach_is_named() {
    let store = format!("postgres://kate:hunter2@127.0.0.1:{}/keys", free_port());
    let shown = store.replace(":hunter2", "");
    let parts = [shown.as_str(), "check that the server runs"];
    assert_refused(&mut server::command(&store), &parts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_load_in_time_end_the_process() {
    let cluster = Cluster::shared();
    let store = with_tables(cluster.database()).await;
    let _lock = KeysLock::take(&store).await;
    let mut command = server::command(&store);
    command.args(["--statement-timeout", "100ms"]);
    assert_refused(&mut command, &["cannot load the keys", "start again when"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_a_newer_release_has_migrated_is_refused() {
    let (directory, cluster) = (directory(), Cluster::shared());
    let sqlite = with_tables(sqlite_in(&directory)).await;
    let file = rusqlite::Connection::open(directory.path().join("keys.db")).expect("it opens");
    file.pragma_update(None, "user_version", 99)
        .expect("it is set");
    let postgres = with_tables(cluster.database()).await;
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
async fn a_store_made_with_another_digest_secret_is_refused() {
    let (directory, cluster) = (directory(), Cluster::shared());
    let [right, wrong] = ["right", "wrong"].map(|name| {
        let path = directory.path().join(name);
        std::fs::write(&path, name.repeat(32)).expect("a file");
        [
            "--digest-secret-file".to_owned(),
            path.display().to_string(),
        ]
    });
    for store in [sqlite_in(&directory), cluster.database()] {
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_secret_that_could_be_guessed_is_refused() {
    let directory = directory();
    let path = directory.path().join("secret").display().to_string();
    std::fs::write(&path, "hunter2\n").expect("a file");
    let mut command = server::command(&sqlite_in(&directory));
    command.args(["--digest-secret-file", &path]);
    assert_refused(&mut command, &[&path, "openssl rand -hex 32"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_secret_without_end_is_refused() {
    let directory = directory();
    let mut command = server::command(&sqlite_in(&directory));
    command.args(["--digest-secret-file", "/dev/zero"]);
    assert_refused(&mut command, &["/dev/zero holds more than 64 KiB"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_filter_that_makes_no_sense_is_refused() {
    for filter in ["keyservice=loud", "inof"] {
        let mut command = server::command("sqlite:/never/opened");
        command.args(["--log", filter]);
        assert_refused(&mut command, &["--log", "info,keyservice=debug"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_address_that_makes_no_sense_is_refused() {
    for (store, advice) in [
        ("postgre://kate:hunter2@db/keys", "give sqlite:PATH"),
        ("kate:hunter2@db", "give sqlite:PATH"),
        ("postgres://kate:hunter2@db/keys?port=hunter2", "`port`"),
        ("postgres://kate:hunter2@hunter2@db/keys", "%40"),
    ] {
        assert_refused(&mut server::command(store), &["--store", advice]).await;
    }
}

/// A server with a Create in flight, which goes on for as long as the lock is held.
struct Busy {
    server: Server,
    lock: KeysLock,
    create: JoinHandle<Result<CreateResponse, Status>>,
    _cluster: Arc<Cluster>,
}

impl Busy {
    async fn start(args: &[&str]) -> Self {
        let cluster = Cluster::shared();
        let store = cluster.database();
        let args = [&PATIENT, args].concat();
        let server = Server::start_with(&store, &args, &[]).await;
        let lock = KeysLock::take(&store).await;
        let mut client = server.client().await;
        let create = tokio::spawn(async move { client.create("acme", "in flight").await });
        eventually("the Create waits", async || lock.holds_a_create().await).await;
        Self {
            server,
            lock,
            create,
            _cluster: cluster,
        }
    }
}

/// What a watch is told last, before it ends.
async fn last_word(mut watch: Streaming<HealthCheckResponse>) -> ServingStatus {
    let to_its_end = async {
        let mut last = None;
        while let Some(told) = watch.next().await {
            last = Some(told.expect("it ends well").status());
        }
        last.expect("a word")
    };
    let limit = Duration::from_secs(20);
    timeout(limit, to_its_end).await.expect("the watch ends")
}
