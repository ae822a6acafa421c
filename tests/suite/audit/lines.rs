//! The log lines that a caller can cause are bounded, and those left out are counted.

use crate::support::{
    clients::callers::{BearerClient, Credential, client},
    directory,
    mount::Mount,
    server::{Server, audit_command::records, sqlite_in},
};
use futures::{StreamExt, stream};
use serde_json::Value;
use std::time::Instant;
use tempfile::TempDir;
use tonic::Code;

/// A server with an admin of one account and an authorizer.
struct Guarded {
    server: Server,
    limited_admin: BearerClient,
    authorizer: BearerClient,
    directory: TempDir,
    _callers: Mount,
}

impl Guarded {
    async fn start() -> Self {
        let admin = Credential::new("dashboard", &["--role", "admin", "--accounts", "acme"]);
        let authorizer = Credential::new("sender", &["--role", "authorizer"]);
        let callers = [admin.line, authorizer.line].join("\n");
        let callers = Mount::new(&[("callers", &callers)]);
        let directory = directory();
        let args = ["--credentials", &callers.arg("callers")];
        let server = Server::start_with(&sqlite_in(&directory), &args, &[]).await;
        let channel = server.channel().await;
        Self {
            limited_admin: client(channel.clone(), &admin.secret),
            authorizer: client(channel, &authorizer.secret),
            server,
            directory,
            _callers: callers,
        }
    }

    /// Stops the server. Returns how many lines of their own calls with this outcome have, and how many
    /// calls the other lines count.
    async fn lines(mut self, outcome: &str) -> (usize, u64, String) {
        self.server.signal("TERM");
        self.server.wait_for_exit().await;
        let log = self.server.log();
        let (mut own, mut counted) = (0, 0);
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if line["outcome"] == outcome {
                match line["calls"].as_u64() {
                    None => own += 1,
                    Some(calls) => counted += calls,
                }
            }
        }
        (own, counted, log)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_is_refused_very_often_fills_no_log() {
    const CALLS: usize = 3000;
    let guarded = Guarded::start().await;
    let began = Instant::now();
    let calls = stream::iter(0..CALLS).map(async |_| {
        let refused = guarded.authorizer.clone().create("acme", "no").await;
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    });
    calls.buffer_unordered(64).collect::<Vec<_>>().await;
    let (own, counted, log) = guarded.lines("PERMISSION_DENIED").await;
    // A call each 100 ms is added to the allowance of 100.
    let most = 110 + began.elapsed().as_millis() as usize / 100;
    assert!((100..most).contains(&own), "{own}");
    assert_eq!(own + usize::try_from(counted).unwrap(), CALLS);
    assert!(log.lines().count() < most + 30, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_admin_whose_calls_succeed_or_fail_very_often_fills_no_log() {
    const LISTS: usize = 2500;
    let guarded = Guarded::start().await;
    let store = sqlite_in(&guarded.directory);
    let lists = stream::iter(0..LISTS).map(async |_| {
        guarded
            .limited_admin
            .clone()
            .list("acme")
            .await
            .expect("a list");
    });
    lists.buffer_unordered(32).collect::<Vec<_>>().await;
    assert_eq!(records(&store, &[]).len(), LISTS, "each has its record");
    let (own, counted, _) = guarded.lines("OK").await;
    // A call each 100 ms is added to the allowance of 1000.
    assert!((1000..1900).contains(&own), "{own}");
    assert_eq!(own + usize::try_from(counted).unwrap(), LISTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_store_is_logged_a_few_times_however_many_calls_meet_it() {
    const CALLS: usize = 500;
    let guarded = Guarded::start().await;
    let file = rusqlite::Connection::open(guarded.directory.path().join("keys.db"));
    let rename = "ALTER TABLE keys RENAME TO gone";
    file.expect("opened").execute(rename, []).expect("renamed");
    for _ in 0..CALLS {
        let failed = guarded.limited_admin.clone().list("acme").await;
        assert_eq!(failed.unwrap_err().code(), Code::Internal);
    }
    let (own, counted, log) = guarded.lines("INTERNAL").await;
    assert_eq!((own, counted), (0, CALLS as u64));
    let errors = log.matches("no such table").count();
    assert!((1..=20).contains(&errors), "{errors}");
}
