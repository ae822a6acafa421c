//! Authenticated callers beside strangers that hold every connection and call that they can get.

use crate::support::{
    bystander::Bystander,
    callers::{Credential, Shown, client},
    directory, eventually,
    frames::RawClient,
    process::need_open_files,
    scrape::{METRICS, Scrape},
    server::{Server, sqlite_in},
    strangers::Strangers,
};
use std::time::Duration;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How long strangers do as they do, at least.
const LENGTH: Duration = Duration::from_secs(2);

/// Generous, as beside every flood.
const SLOWEST: Duration = Duration::from_secs(2);

/// Less than the defaults, so that going past them takes no seconds.
const MAX_CONNECTIONS: usize = 512;
const MAX_CALLS: usize = 512;

/// A connection is idle when its client has sent nothing for a second.
const IDLE: Duration = Duration::from_millis(1100);

/// Of a server that knows one caller, who may do everything.
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
    let name = format!("keyservice_connections_closed_total{{reason=\"{reason}\"}}");
    Scrape::of(server).value(&name)
}

fn open(server: &Server) -> f64 {
    Scrape::of(server).value("keyservice_connections")
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_are_never_silent_on_any_connection_keep_out_no_authenticated_caller() {
    need_open_files(2 * MAX_CONNECTIONS as u64);
    let limit = format!("--max-connections={MAX_CONNECTIONS}");
    let guarded = Guarded::start(&[&limit]).await;
    let server = &guarded.server;
    let mut admin = client(server.channel().await, &guarded.admin.secret);
    let (token, _) = admin.create_key().await;
    let shown = Shown::secret(&guarded.admin.secret);
    let bystander = Bystander::start(server.endpoint(), shown, token);
    let strangers = Strangers::start(server.port(), MAX_CONNECTIONS + 64, 1).await;
    eventually("every slot is taken", async || {
        open(server) == MAX_CONNECTIONS as f64
    })
    .await;
    sleep(LENGTH).await;
    let served = bystander.stop();
    println!("beside strangers {served}");
    assert!(served.slowest() <= SLOWEST, "{served}");
    assert!(guarded.closed("evicted") > 64.0);
    assert_eq!(guarded.closed("no_slot"), 0.0);
    let log = server.log();
    assert!(log.contains("connections were evicted or refused"), "{log}");

    strangers.stop().await;
    eventually("they have left", async || open(server) <= 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_with_more_calls_than_there_may_be_cut_off_no_authenticated_caller() {
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
    // Fewer calls on each than the admin has on its connection.
    let strangers = Strangers::start(server.port(), MAX_CALLS / 2, 3).await;
    creating.join_all().await;
    strangers.stop().await;
    assert!(guarded.closed("too_many_calls") > 0.0);
    let log = server.log();
    assert!(
        log.contains("more than --max-calls were in flight"),
        "{log}"
    );
}

/// Of 32 slots, two are reserved for unauthenticated connections while authenticated ones are idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_connection_evicts_an_idle_one_before_one_that_came_just_now() {
    let guarded = Guarded::start(&["--max-connections=32"]).await;
    let server = &guarded.server;
    let mut authenticated = Vec::new();
    for _ in 0..32 {
        let mut client = client(server.channel().await, &guarded.admin.secret);
        client.list("acme").await.expect("listed");
        authenticated.push(client);
    }
    sleep(IDLE).await;
    let mut new_connections = Vec::new();
    for _ in 0..3 {
        let mut new_connection = RawClient::greeting(server.port()).await;
        new_connection.frame().await.expect("it has a slot");
        new_connections.push(new_connection);
    }
    eventually("three are evicted", async || {
        guarded.closed("evicted") == 3.0
    })
    .await;
    let stand: Vec<_> = new_connections.iter_mut().map(RawClient::stands).collect();
    assert_eq!(stand, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_closes_early_is_counted_by_why() {
    let directory = directory();
    let args = [METRICS, "--max-connections=1", "--handshake-timeout=300ms"];
    let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
    eventually("those of the start are closed", async || {
        open(&server) == 0.0
    })
    .await;
    let mut silent = RawClient::connect(server.port()).await;
    assert_eq!(silent.byte().await, None);
    assert_eq!(closed(&server, "handshake_timeout"), 1.0);
    let mut garbage = RawClient::connect(server.port()).await;
    garbage
        .send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(garbage.byte().await, None);
    assert_eq!(closed(&server, "handshake_failed"), 1.0);

    let mut first = RawClient::greeting(server.port()).await;
    first.frame().await.expect("it has a slot");
    let mut client = server.client().await;
    client.list("acme").await.expect("it has its slot");
    assert_eq!(closed(&server, "evicted"), 1.0);
    eventually("one is refused", async || {
        client.list("acme").await.expect("it is not idle");
        let _ = RawClient::greeting(server.port()).await.byte().await;
        closed(&server, "no_slot") > 0.0
    })
    .await;
}
