//! A caller with the least rights takes every connection and every call that it can get. The other
//! callers are still served.

use crate::support::{
    clients::{
        callers::{Bearer, Credential, client},
        well_behaved::WellBehavedClient,
    },
    directory,
    envoy::HttpRequest,
    eventually,
    hostile::{
        frames::{
            DATA, END_HEADERS, END_STREAM, HEADERS, PING, RawClient, call_headers, frame,
            headers_of,
        },
        persistent::{PersistentClient, Work},
        random_tokens::authorize,
        unfinished::UnfinishedCalls,
    },
    mount::Mount,
    server::{
        Server,
        process::{Process, reserve_open_files},
        scrape::{METRICS, Scrape},
        sqlite_in,
    },
};
use keyservice::{
    grpc::{
        envoy::service::auth::v3::{CheckRequest, authorization_client::AuthorizationClient},
        proto::{
            BatchRevokeRequest,
            batch_revoke_request::{Keys, Selection},
        },
    },
    model::token::Token,
};
use std::time::Duration;
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::Code;

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
        Self::start_with_hostile("authorizer", args).await
    }

    /// The same, with a hostile caller of this role.
    async fn start_with_hostile(role: &str, args: &[&str]) -> Self {
        let (directory, good, hostile) = (
            directory(),
            Credential::new("good", &["--role", "admin"]),
            Credential::new("hostile", &["--role", role]),
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

/// A large BatchRevoke is read beside few others.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_large_messages_come_slowly_leaves_room_for_those_of_others() {
    let shared = Shared::start_with_hostile("admin", &["--message-timeout=3s"]).await;
    let channel = shared.server.channel().await;
    let mut hostile = client(channel.clone(), &shared.hostile.secret);
    let mut good = client(channel, &shared.good.secret);
    let large = || {
        let token = || Token::generate(&mut rand::rng()).expose().to_owned();
        let tokens = (0..10_000).map(|_| token()).collect();
        BatchRevokeRequest {
            selection: Some(Selection::Keys(Keys {
                key_ids: vec![],
                tokens,
            })),
            reason: "leaked".into(),
            ..BatchRevokeRequest::default()
        }
    };

    let bearer = format!("Bearer {}", shared.hostile.secret);
    let path = "/tosend.keys.v1.KeyService/BatchRevoke";
    let headers = headers_of(path, &[("authorization", &bearer)]);
    let mut raw = RawClient::connect_with_preface(shared.server.port()).await;
    let calls = (0..8).map(|call| 2 * call + 1);
    for stream in calls.clone() {
        raw.send(&frame(HEADERS, END_HEADERS, stream, &headers))
            .await;
        raw.send(&frame(DATA, 0, stream, &[0, 0, 9, 0, 0])).await;
    }
    let trickle = tokio::spawn(async move {
        loop {
            for stream in calls.clone() {
                // The field 15, which is skipped.
                raw.send(&frame(DATA, 0, stream, &[0x78, 0])).await;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    eventually("the hostile caller has its share", async || {
        let refused = hostile.0.batch_revoke(large()).await.err();
        refused.is_some_and(|it| {
            it.code() == Code::ResourceExhausted && it.message().contains("of this caller")
        })
    })
    .await;
    good.0.batch_revoke(large()).await.expect("answered");
    // They have as long as any message, however they come.
    eventually("their time is over", async || {
        hostile.0.batch_revoke(large()).await.is_ok()
    })
    .await;
    assert!(!trickle.is_finished());
    trickle.abort();
}

/// A gateway's questions may be large, because they hold bodies.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_large_questions_do_not_end_takes_no_more_than_its_share_of_memory() {
    const CALLS: usize = 200;
    const MESSAGE: u32 = 400_000;
    /// In MiB, as `docs/abuse.md` says: half of the bytes of all, and 40 KiB for each call.
    const BOUND: u64 = 32 + 8;
    let args = ["--max-message-size=1048576", "--message-timeout=1h"];
    let shared = Shared::start(&args).await;
    let process = Process(shared.server.pid());
    let large = HttpRequest::default().body(&"x".repeat(100_000)).message();
    let ask = async |caller: &Credential, question: &CheckRequest| {
        let bearer = Bearer::secret(&caller.secret);
        let channel = shared.server.channel().await;
        let mut gateway = AuthorizationClient::with_interceptor(channel, bearer);
        gateway.check(question.clone()).await
    };
    ask(&shared.hostile, &large).await.expect("answered");
    let before = process.memory();

    let path = "/envoy.service.auth.v3.Authorization/Check";
    let (channel, secret) = (shared.server.channel().await, Some(&*shared.hostile.secret));
    let mut unfinished = UnfinishedCalls::open(&channel, path, secret, CALLS, MESSAGE);
    unfinished.wait_until_sent().await;
    let refused = ask(&shared.hostile, &large).await.expect_err("its share");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("of this caller"), "{refused}");
    let after = process.memory();
    println!("{before} to {after} MiB");
    assert!(after <= before + BOUND, "{before} to {after} MiB");
    let small = HttpRequest::default().message();
    ask(&shared.hostile, &small).await.expect("answered");
    ask(&shared.good, &large).await.expect("answered");
    drop(unfinished);
    eventually("its share is free again", async || {
        ask(&shared.hostile, &large).await.is_ok()
    })
    .await;
}
