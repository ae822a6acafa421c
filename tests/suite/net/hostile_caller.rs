//! A caller with the least rights takes every connection and every call that it can get. The other
//! callers are still served.

use crate::support::{
    clients::{
        callers::{Bearer, Credential, client},
        well_behaved::WellBehavedClient,
    },
    directory, eventually,
    hostile::{
        frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PING, RawClient, call_headers, frame},
        persistent::{PersistentClient, Work},
        random_tokens::authorize,
    },
    mount::Mount,
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

/// The least time for which the hostile caller is active.
const LENGTH: Duration = Duration::from_secs(2);

/// Generous for the reasons that `flood.rs` gives.
const SLOWEST: Duration = Duration::from_secs(2);

const MAX_CONNECTIONS: usize = 256;

/// A server with two callers.
struct Shared {
    server: Server,
    good: Credential,
    hostile: Credential,
    callers: Mount,
    _directory: TempDir,
}

impl Shared {
    async fn start(args: &[&str]) -> Self {
        let (directory, good, hostile) = (
            directory(),
            Credential::new("good", &["--role", "admin"]),
            Credential::new("hostile", &["--role", "authorizer"]),
        );
        let both = format!("{}\n{}\n", good.line, hostile.line);
        let callers = Mount::new(&[("callers", &both)]);
        let credentials = format!("--credentials={}", callers.arg("callers"));
        let args = [&[METRICS, &*credentials], args].concat();
        let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
        Self {
            server,
            good,
            hostile,
            callers,
            _directory: directory,
        }
    }

    async fn start_hostile(&self, connections: usize, work: Work) -> PersistentClient {
        let secret = Some(&*self.hostile.secret);
        PersistentClient::start(self.server.port(), connections, work, secret).await
    }

    fn closed(&self, reason: &str) -> f64 {
        Scrape::of(&self.server).closed_connections(reason)
    }

    async fn wait_until_open(&self, connections: usize) {
        let what = format!("{connections} connections are open");
        eventually(&what, async || {
            Scrape::of(&self.server).value("keyservice_connections") == connections as f64
        })
        .await;
    }
}

/// The good caller opens new connections while the hostile one works on every slot.
async fn assert_new_connections_are_served_beside(work: Work) {
    let _files = reserve_open_files(4 * MAX_CONNECTIONS as u32).await;
    let limit = format!("--max-connections={MAX_CONNECTIONS}");
    let shared = Shared::start(&[&limit]).await;
    let server = &shared.server;
    let mut good = client(server.channel().await, &shared.good.secret);
    let (token, _) = good.create_key().await;
    drop(good);
    let hostile = shared.start_hostile(MAX_CONNECTIONS, work).await;
    shared.wait_until_open(MAX_CONNECTIONS).await;
    let bearer = Bearer::secret(&shared.good.secret);
    let well_behaved = WellBehavedClient::start(server.endpoint(), bearer, token);
    sleep(LENGTH).await;
    let served = well_behaved.stop();
    println!("beside {work:?} {served}");
    assert!(served.slowest() <= SLOWEST, "{served}");
    hostile.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_on_every_connection_do_not_keep_other_callers_out() {
    assert_new_connections_are_served_beside(Work::Pings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_calls_on_every_connection_do_not_keep_other_callers_out() {
    assert_new_connections_are_served_beside(Work::Calls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_watches_on_every_connection_do_not_keep_other_callers_out() {
    assert_new_connections_are_served_beside(Work::Watches(1)).await;
}

/// The good caller has the connection with the most calls, and fewer calls than the hostile one.
async fn assert_calls_are_served_beside(connections: usize, work: Work) {
    // Messages that do not come are not what ends the hostile caller's calls here.
    let shared = Shared::start(&["--max-calls=64", "--message-timeout=1h"]).await;
    let good = client(shared.server.channel().await, &shared.good.secret);
    let until = Instant::now() + LENGTH;
    let mut creating = JoinSet::new();
    for _ in 0..8 {
        let mut good = good.clone();
        creating.spawn(async move {
            while Instant::now() < until {
                good.create("acme", "a key").await.expect("created");
            }
        });
    }
    let hostile = shared.start_hostile(connections, work).await;
    creating.join_all().await;
    hostile.stop().await;
    assert!(shared.closed("too_many_calls") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_unfinished_calls_on_many_connections_do_not_evict_the_busiest_caller() {
    assert_calls_are_served_beside(40, Work::UnfinishedCalls(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn few_health_watches_on_many_connections_do_not_evict_the_busiest_caller() {
    assert_calls_are_served_beside(30, Work::Watches(3)).await;
}

/// Opens a connection, makes a call on it and waits for the answer.
async fn connect_and_call(port: u16, secret: &str) -> RawClient {
    let bearer = format!("Bearer {secret}");
    let headers = call_headers(&[("authorization", &bearer)]);
    let message = frame(DATA, END_STREAM, 1, &authorize("no token".to_owned()));
    let mut raw = RawClient::connect_with_preface(port).await;
    raw.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await;
    raw.send(&message).await;
    while raw.read_frame().await.expect("it is admitted").kind != DATA {}
    raw
}

/// Beside a caller with as many, the good caller would have half of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_removed_from_the_file_has_no_share_of_the_connections() {
    const MAX_CONNECTIONS: usize = 16;
    let limit = format!("--max-connections={MAX_CONNECTIONS}");
    let mut shared = Shared::start(&[&limit]).await;
    let port = shared.server.port();
    shared.wait_until_open(0).await;
    let mut hostile = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        hostile.push(connect_and_call(port, &shared.hostile.secret).await);
    }
    shared.callers.swap(&[("callers", &shared.good.line)]);
    eventually("the caller is removed", async || {
        let log = shared.server.log();
        log.contains("--credentials: changed, and in use")
    })
    .await;

    let mut good = Vec::new();
    for _ in 0..MAX_CONNECTIONS - 1 {
        for connection in &mut hostile {
            connection.send(&frame(PING, 0, 0, &[7; 8])).await;
        }
        good.push(connect_and_call(port, &shared.good.secret).await);
    }
    let open = |clients: &mut Vec<RawClient>| {
        let open = clients.iter_mut().map(RawClient::is_open);
        open.filter(|is_open| *is_open).count()
    };
    assert_eq!(open(&mut good), MAX_CONNECTIONS - 1);
    assert_eq!(open(&mut hostile), 1);
}
