//! Unauthenticated clients take every connection and every call that they can get. Authenticated
//! callers are still served.

use crate::support::{
    clients::{
        callers::{Bearer, Credential, client},
        well_behaved::WellBehavedClient,
    },
    directory, eventually,
    hostile::{
        frames::RawClient,
        persistent::{PersistentClient, Work},
    },
    server::{
        Server,
        process::reserve_open_files,
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use std::time::Duration;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// The least time for which the unauthenticated clients are active.
const LENGTH: Duration = Duration::from_secs(2);

/// Generous for the reasons that `flood.rs` gives.
const SLOWEST: Duration = Duration::from_secs(2);

/// Less than the defaults, so that a test exceeds them quickly.
const MAX_CONNECTIONS: usize = 512;
const MAX_CALLS: usize = 512;

/// A connection without a call for a second is idle.
const IDLE: Duration = Duration::from_millis(1100);

/// A server with one caller, who may do everything.
struct Guarded {
    server: Server,
    admin: Credential,
    _directory: TempDir,
}

impl Guarded {
    async fn start(args: &[&str]) -> Self {
        let (directory, admin) = (directory(), Credential::new("admin", &["--role", "admin"]));
        let file = directory.path().join("callers");
        std::fs::write(&file, &admin.line).expect("written");
        let credentials = format!("--credentials={}", file.display());
        let args = [&[METRICS, &*credentials], args].concat();
        let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
        Self {
            server,
            admin,
            _directory: directory,
        }
    }

    fn closed(&self, reason: &str) -> f64 {
        closed(&self.server, reason)
    }
}

fn closed(server: &Server, reason: &str) -> f64 {
    Scrape::of(server).closed_connections(reason)
}

fn open(server: &Server) -> f64 {
    Scrape::of(server).value("keyservice_connections")
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_clients_on_every_connection_do_not_keep_callers_out() {
    let _files = reserve_open_files(2 * MAX_CONNECTIONS as u32).await;
    let limit = format!("--max-connections={MAX_CONNECTIONS}");
    let guarded = Guarded::start(&[&limit]).await;
    let server = &guarded.server;
    let mut admin = client(server.channel().await, &guarded.admin.secret);
    let (token, _) = admin.create_key().await;
    let bearer = Bearer::secret(&guarded.admin.secret);
    let well_behaved = WellBehavedClient::start(server.endpoint(), bearer, token);
    let connections = MAX_CONNECTIONS + 64;
    let unauthenticated =
        PersistentClient::start(server.port(), connections, Work::Watches(1), None).await;
    eventually("every slot is taken", async || {
        open(server) == MAX_CONNECTIONS as f64
    })
    .await;
    sleep(LENGTH).await;
    let served = well_behaved.stop();
    println!("beside unauthenticated clients {served}");
    assert!(served.slowest() <= SLOWEST, "{served}");
    assert!(guarded.closed("evicted") > 64.0);
    assert_eq!(guarded.closed("no_slot"), 0.0);
    let log = server.log();
    assert!(log.contains("connections were evicted or refused"), "{log}");

    unauthenticated.stop().await;
    eventually("their connections are closed", async || open(server) <= 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_clients_with_too_many_calls_do_not_evict_authenticated_callers() {
    let limit = format!("--max-calls={MAX_CALLS}");
    let guarded = Guarded::start(&[&limit]).await;
    let server = &guarded.server;
    let admin = client(server.channel().await, &guarded.admin.secret);
    let until = Instant::now() + LENGTH;
    let mut creating = JoinSet::new();
    for _ in 0..8 {
        let mut admin = admin.clone();
        creating.spawn(async move {
            while Instant::now() < until {
                admin.create("acme", "a key").await.expect("created");
            }
        });
    }
    // Each of them has fewer calls in flight than the admin's connection.
    let unauthenticated =
        PersistentClient::start(server.port(), MAX_CALLS / 2, Work::Watches(3), None).await;
    creating.join_all().await;
    unauthenticated.stop().await;
    assert!(guarded.closed("too_many_calls") > 0.0);
    let log = server.log();
    assert!(
        log.contains("more than --max-calls were in flight"),
        "{log}"
    );
}

/// While all authenticated callers are idle, two of 32 slots are given to new connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_evicts_an_idle_connection_before_one_that_has_just_come() {
    let guarded = Guarded::start(&["--max-connections=32"]).await;
    let server = &guarded.server;
    let mut callers = Vec::new();
    for _ in 0..32 {
        let mut client = client(server.channel().await, &guarded.admin.secret);
        client.list("acme").await.expect("listed");
        callers.push(client);
    }
    sleep(IDLE).await;
    let mut new_connections = Vec::new();
    for _ in 0..3 {
        let mut new_connection = RawClient::connect_with_preface(server.port()).await;
        new_connection.read_frame().await.expect("it is admitted");
        new_connections.push(new_connection);
    }
    eventually("three were evicted", async || {
        guarded.closed("evicted") == 3.0
    })
    .await;
    let are_open: Vec<_> = new_connections.iter_mut().map(RawClient::is_open).collect();
    assert_eq!(are_open, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_the_server_closes_are_counted_by_reason() {
    let directory = directory();
    let args = [METRICS, "--max-connections=1", "--handshake-timeout=300ms"];
    let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    eventually("the first connections are closed", async || {
        open(&server) == 0.0
    })
    .await;
    let mut silent = RawClient::connect(server.port()).await;
    assert_eq!(silent.read_byte().await, None);
    eventually("it is counted", async || {
        closed(&server, "handshake_timeout") == 1.0
    })
    .await;
    let mut garbage = RawClient::connect(server.port()).await;
    garbage
        .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(garbage.read_byte().await, None);
    eventually("it is counted", async || {
        closed(&server, "handshake_failed") == 1.0
    })
    .await;

    let mut first = RawClient::connect_with_preface(server.port()).await;
    first.read_frame().await.expect("it is admitted");
    let mut client = server.client().await;
    client.list("acme").await.expect("it is admitted");
    eventually("it is counted", async || closed(&server, "evicted") == 1.0).await;
    eventually("a connection is not admitted", async || {
        client.list("acme").await.expect("it is not idle");
        let _ = RawClient::connect_with_preface(server.port())
            .await
            .read_byte()
            .await;
        closed(&server, "no_slot") > 0.0
    })
    .await;
}
