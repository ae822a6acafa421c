//! A signal stops the process. Calls in flight may finish, up to a limit.

use crate::support::{
    clients::{callers::Credential, questions::framed_message},
    directory, eventually,
    hostile::frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, RawClient, WINDOW_UPDATE, frame, headers_of,
    },
    postgres::{
        Cluster,
        table_lock::{LONG_STATEMENT_TIMEOUT, TableLock, with_schema},
    },
    server::{Server, command, sqlite_in},
};
use futures::{StreamExt, future::join_all};
use keyservice::grpc::proto::{
    AuthorizeRequest, CreateResponse, ListRequest, ListResponse, key_service_server::SERVICE_NAME,
};
use prost::Message;
use std::{
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Status, Streaming};
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_reports_not_serving_at_once_and_lets_calls_in_flight_finish() {
    assert_signal_drains("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_reports_not_serving_at_once_and_lets_calls_in_flight_finish() {
    assert_signal_drains("INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_people_send_to_daemons_do_not_end_the_process() {
    let server = Server::on_sqlite().await;
    let (token, _) = server.client().await.create_key().await;
    // The system sends the others, or somebody by mistake.
    for name in ["HUP", "USR1", "USR2", "PIPE", "TTIN", "TTOU", "XFSZ"] {
        server.signal(name);
    }
    eventually("they are ignored", async || {
        server.log().contains("SIGHUP is ignored")
    })
    .await;
    assert!(server.client().await.is_granted(&token).await);
    assert_eq!(server.terminate().await.code(), Some(0));
}

async fn assert_signal_drains(signal: &str) {
    let mut draining = ServerWithCall::start(&[]).await;
    let mut health = draining.server.health().await;
    let watches = [health.watch("").await, health.watch(SERVICE_NAME).await];
    draining.server.signal(signal);
    for watch in watches {
        assert_eq!(last_status(watch).await, ServingStatus::NotServing);
    }
    assert!(!draining.create.is_finished());

    drop(draining.lock);
    let created = draining.create.await.expect("no panic");
    assert!(created.expect("it may finish").token.starts_with("tsend_"));
    assert_eq!(draining.server.wait_for_exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_watchers_get_time_to_leave_before_their_connections_close() {
    let mut server = Server::on_sqlite().await;
    let (mut client, mut health) = (server.client().await, server.health().await);
    let mut watch = health.watch(SERVICE_NAME).await;
    let serving = watch
        .next()
        .await
        .expect("a status")
        .expect("the watch is open");
    assert_eq!(serving.status(), ServingStatus::Serving);

    let asked = Instant::now();
    server.signal("TERM");
    let update = watch
        .next()
        .await
        .expect("a status")
        .expect("the watch is open");
    assert_eq!(update.status(), ServingStatus::NotServing);
    let answer = client.authorize("tsend_unknown", "example.com").await;
    answer.expect("it still answers");
    last_status(watch).await;
    assert!(asked.elapsed() >= Duration::from_millis(500));
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_does_not_end_is_aborted_at_the_drain_limit() {
    let limit = Duration::from_millis(300);
    let mut draining = ServerWithCall::start(&["--drain-limit", "300ms"]).await;
    let asked = Instant::now();
    draining.server.signal("TERM");
    assert_eq!(draining.server.wait_for_exit().await.code(), Some(0));
    assert!(asked.elapsed() >= limit);
    assert!(
        draining
            .server
            .log()
            .contains("in flight at the drain limit")
    );
    draining
        .create
        .await
        .expect("no panic")
        .expect_err("it was aborted");
}

/// They ask for its health now and then, and do not watch it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_asked_to_end_serves_on_until_pollers_of_its_health_have_turned_away() {
    let directory = directory();
    let start = async |delay| {
        Server::start_with(&sqlite_in(&directory), &["--shutdown-delay", delay], &[]).await
    };
    let mut server = start("1h").await;
    let mut health = server.health().await;
    server.signal("TERM");
    for service in ["", SERVICE_NAME] {
        eventually("it says that it ends", async || {
            health.check(service).await == ServingStatus::NotServing
        })
        .await;
    }
    let mut newcomer = server.client().await;
    let (token, _) = newcomer.create_key().await;
    assert!(newcomer.is_granted(&token).await);
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().await.code(), Some(1));

    let mut server = start("700ms").await;
    let asked = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
    assert!(asked.elapsed() >= Duration::from_millis(700));

    let mut server = start("1h").await;
    server.signal("INT");
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let mut draining = ServerWithCall::start(&["--drain-limit", "1h"]).await;
    let watch = draining.server.health().await.watch("").await;
    draining.server.signal("TERM");
    last_status(watch).await;
    draining.server.signal("INT");
    assert_eq!(draining.server.wait_for_exit().await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_keep_their_connections_do_not_delay_a_shutdown() {
    let directory = directory();
    let args = ["--drain-limit", "1h"];
    let mut server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let idle = server.channel().await;
    let silent = TcpStream::connect(("127.0.0.1", server.port())).expect("it listens");
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
    drop((idle, silent));
}

/// They answer neither the GOAWAY nor the PING behind it.
#[tokio::test(flavor = "multi_thread")]
async fn silent_clients_do_not_delay_a_shutdown_and_a_call_in_flight_finishes() {
    let mut draining = ServerWithCall::start(&["--drain-limit", "1h"]).await;
    let port = draining.server.port();
    let message = frame(DATA, 0, 1, &[0, 0, 0, 0, 2, 0x3a, 0]);
    let open = |path: &str| frame(HEADERS, END_HEADERS, 1, &headers_of(path, &[]));
    let watch = frame(DATA, END_STREAM, 1, &[0; 5]);
    let mut silent = Vec::new();
    for sent in [
        vec![],
        [open("/grpc.health.v1.Health/Watch"), watch].concat(),
        open(REFLECTION),
        [open(REFLECTION), message].concat(),
    ] {
        let mut client = RawClient::connect_with_preface(port).await;
        client.send(&sent).await;
        silent.push(client);
    }
    // It cannot take the end of its watch.
    let mut stalled = RawClient::connect_with_window(port, 0).await;
    let watch = frame(DATA, END_STREAM, 1, &[0; 5]);
    let watch = [open("/grpc.health.v1.Health/Watch"), watch].concat();
    stalled.send(&watch).await;
    silent.push(stalled);
    let mut health = draining.server.health().await;
    drop(health.watch("").await);

    draining.server.signal("TERM");
    let limit = Duration::from_secs(3);
    for client in &mut silent {
        client.read_kinds_until_closed(limit).await;
    }
    assert!(!draining.create.is_finished());
    drop(draining.lock);
    let created = draining.create.await.expect("no panic");
    created.expect("it may finish");
    let exit = timeout(limit, draining.server.wait_for_exit()).await;
    assert_eq!(exit.expect("it ends").code(), Some(0));
}

/// They ignore the GOAWAY too, and go on calling.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_call_again_and_again_do_not_delay_a_shutdown() {
    let directory = directory();
    let operator = Credential::new("operator", &["--role", "admin"]);
    let file = directory.path().join("callers");
    std::fs::write(&file, &operator.line).expect("written");
    let credentials = format!("--credentials={}", file.display());
    let args = ["--drain-limit=1h", "--message-timeout=1s", &credentials];
    let mut server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let bearer = format!("Bearer {}", operator.secret);
    let path = format!("/{SERVICE_NAME}/Authorize");
    // A stranger and a caller, whose messages never come.
    let (stranger, caller) = (headers_of(&path, &[]), [("authorization", &*bearer)]);
    let caller = headers_of(&path, &caller);
    let begin = |stream: u32, headers: &[u8]| frame(HEADERS, END_HEADERS, stream, headers);
    let mut calling = Vec::new();
    for headers in [stranger, caller] {
        let client = RawClient::connect_with_preface(server.port()).await;
        calling.push((client, headers));
    }
    server.signal("TERM");
    let calling = calling.into_iter().map(async |(mut client, headers)| {
        let mut streams = (1..).step_by(2);
        while client
            .can_send(&begin(streams.next().expect("one more"), &headers))
            .await
        {
            sleep(Duration::from_millis(50)).await;
        }
    });
    let limit = Duration::from_secs(10);
    timeout(limit, join_all(calling))
        .await
        .expect("all are closed");
    let exit = timeout(limit, server.wait_for_exit()).await;
    assert_eq!(exit.expect("it ends").code(), Some(0));
}

/// Their answers are ready, and they let the server send none of them.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_no_answer_do_not_delay_a_shutdown() {
    let directory = directory();
    let args = ["--drain-limit=1h", "--answer-timeout=1h"];
    let mut server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let (token, _) = server.client().await.create_key().await;
    let authorize = AuthorizeRequest {
        token,
        domain: "example.com".to_owned(),
    };
    let mut untaken = Vec::new();
    for call in [
        call("Authorize", &authorize),
        call("List", &all_keys_of("acme")),
    ] {
        let mut client = RawClient::connect_with_window(server.port(), 0).await;
        client.send(&call).await;
        client.read_headers().await;
        untaken.push(client);
    }
    server.signal("TERM");
    let exit = timeout(Duration::from_secs(10), server.wait_for_exit()).await;
    assert_eq!(exit.expect("it ends").code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_answer_slowly_gets_the_whole_of_it_before_the_process_ends() {
    const WINDOW: u32 = 16 * 1024;
    const PAUSE: Duration = Duration::from_secs(1);
    let directory = directory();
    let args = ["--drain-limit=1h"];
    let mut server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    let mut client = server.client().await;
    for _ in 0..260 {
        let name = "\u{10348}".repeat(100);
        client.create("acme", &name).await.expect("created");
    }
    let mut slow = RawClient::connect_with_window(server.port(), WINDOW).await;
    slow.send(&call("List", &all_keys_of("acme"))).await;
    slow.read_headers().await;
    server.signal("TERM");
    let (began, mut answer) = (Instant::now(), Vec::new());
    // Headers follow the answer.
    while let Some(read) = slow.read_frame().await
        && read.kind != HEADERS
    {
        if read.kind != DATA {
            continue;
        }
        answer.extend(read.payload);
        if answer.len() % WINDOW as usize == 0 {
            sleep(PAUSE).await;
            let more = frame(WINDOW_UPDATE, 0, 1, &WINDOW.to_be_bytes());
            slow.send(&more).await;
        }
    }
    // Longer than a client may take nothing, first while HTTP/2 gathers the answer and then while it has it.
    assert!(began.elapsed() > Duration::from_secs(5));
    let keys = ListResponse::decode(&answer[5..]).expect("the whole answer");
    // On a busy machine, a page may end early.
    let is_whole = keys.keys.len() == 260 || !keys.next_page_token.is_empty();
    assert!(is_whole, "{} keys", keys.keys.len());
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
}

/// The headers and the message of a call.
fn call(method: &str, message: &impl Message) -> Vec<u8> {
    let path = format!("/{SERVICE_NAME}/{method}");
    let headers = frame(HEADERS, END_HEADERS, 1, &headers_of(&path, &[]));
    let message = framed_message(&message.encode_to_vec());
    [headers, frame(DATA, END_STREAM, 1, &message)].concat()
}

fn all_keys_of(account: &str) -> ListRequest {
    ListRequest {
        account_id: account.to_owned(),
        page_size: 1000,
        ..Default::default()
    }
}

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_server_that_is_still_loading() {
    let cluster = Cluster::shared();
    let store = with_schema(cluster.create_database()).await;
    let _lock = TableLock::on_keys(&store).await;
    let mut command = command(&store);
    command.args(["--health-listen=127.0.0.1:0", "--shutdown-delay=1h"]);
    let mut server = Server::launch(command.args(LONG_STATEMENT_TIMEOUT));
    server.health_on_its_own_port().await;
    server.signal("TERM");
    assert_eq!(server.wait_for_exit().await.code(), Some(0));
}

/// A server with a Create in flight, which is blocked while the lock is held.
struct ServerWithCall {
    server: Server,
    lock: TableLock,
    create: JoinHandle<Result<CreateResponse, Status>>,
    _cluster: Arc<Cluster>,
}

impl ServerWithCall {
    async fn start(args: &[&str]) -> Self {
        let cluster = Cluster::shared();
        let store = cluster.create_database();
        let args = [&LONG_STATEMENT_TIMEOUT, args].concat();
        let server = Server::start_with(&store, &args, &[]).await;
        let lock = TableLock::on_keys(&store).await;
        let mut client = server.client().await;
        let create = tokio::spawn(async move { client.create("acme", "in flight").await });
        eventually("the Create waits", async || lock.blocks_a_create().await).await;
        Self {
            server,
            lock,
            create,
            _cluster: cluster,
        }
    }
}

/// The last status that a watch reports before it ends.
async fn last_status(mut watch: Streaming<HealthCheckResponse>) -> ServingStatus {
    let all = async {
        let mut last = None;
        while let Some(update) = watch.next().await {
            last = Some(update.expect("the watch ends without an error").status());
        }
        last.expect("a status")
    };
    let limit = Duration::from_secs(20);
    timeout(limit, all).await.expect("the watch ends")
}
