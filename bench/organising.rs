//! Measures Lists of an account with a million keys, and `BatchRevoke`: each filter's pages, at the begin, in
//! the middle, and where few keys pass; and 10,000 keys that are revoked at once.
//!
//! `cargo bench --bench organising`
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../tests/support/mod.rs"]
mod support;

use keyservice::grpc::proto::{
    BatchRevokeRequest,
    batch_revoke_request::{Filter, Selection},
};
use keyservice::{
    model::{
        account::AccountId,
        domain::Domain,
        key::{KeyId, KeyName, Labels, Status, filter::KeyFilter},
        time::Timestamp,
        token::Preview,
    },
    store::{LIST_SEARCH_LEN, ListQuery},
};
use std::time::{Duration, Instant};
use support::{
    postgres::{Version, session},
    server::Server,
    stores::Stores,
};

const KEYS: usize = 1_000_000;
const PAGES: usize = 20;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == "batches") {
        let stores = Stores::postgres_of(Version::Newest).await;
        stores.insert_labelled_keys(KEYS).await;
        return measure_batches(&stores).await;
    }
    println!("\n| store | filter | first page | most of {PAGES} pages | deep in the list |");
    println!("|---|---|---:|---:|---:|");
    measure_lists("SQLite", &Stores::sqlite()).await;
    for version in [Version::Oldest, Version::Newest] {
        let stores = Stores::postgres_of(version).await;
        measure_lists(&format!("PostgreSQL {version:?}"), &stores).await;
        if version == Version::Newest {
            measure_batches(&stores).await;
        }
    }
}

/// BatchRevoke of 10,000 keys on one of two replicas, each beside the same update by hand, and what Authorize on
/// the other replica takes before and meanwhile.
async fn measure_batches(stores: &Stores) {
    println!("\n| 10,000 keys | by hand | BatchRevoke | Authorize elsewhere, p99 | refused |");
    println!("|---|---:|---:|---:|---:|");
    let servers = [
        Server::start(&stores.address).await,
        Server::start(&stores.address).await,
    ];
    share_cores(stores, &servers).await;
    let mut keys = servers[0].client().await.0;
    let calm = tokio::time::sleep(Duration::from_secs(2));
    let (_, p99, refused) = authorize_during(&servers[1], calm).await;
    println!("| none | | | {} | {refused} |", millis(p99));
    for _ in 0..3 {
        let by_hand = update_by_hand(stores).await;
        let request = BatchRevokeRequest {
            selection: Some(Selection::Filter(Filter::default())),
            account_id: Some("acme".into()),
            reason: "compromised".into(),
            dry_run: false,
        };
        let revoke = async {
            let began = Instant::now();
            let answer = keys.batch_revoke(request).await.unwrap().into_inner();
            assert_eq!(answer.revoked_count, 10_000);
            began.elapsed()
        };
        let (time, p99, refused) = authorize_during(&servers[1], revoke).await;
        println!(
            "| two replicas | {} | {} | {} | {refused} |",
            millis(by_hand),
            millis(time),
            millis(p99)
        );
    }
}

/// Gives the database and the replica that revokes one core, and the other replica and this client another one.
/// Each replica has a machine of its own where it serves, and else the figure would tell of the cores' queue.
async fn share_cores(stores: &Stores, servers: &[Server; 2]) {
    let session = session(&stores.address).await;
    let postgres = "SELECT pid::text FROM pg_stat_activity \
                    UNION SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)";
    let rows = session.query(postgres, &[]).await.unwrap();
    for row in rows {
        pin(row.get(0), "0");
    }
    pin(&servers[0].pid().to_string(), "0");
    pin(&servers[1].pid().to_string(), "1");
    pin(&std::process::id().to_string(), "1");
}

/// Keeps all threads of a process on one core.
fn pin(process: &str, core: &str) {
    let mut taskset = std::process::Command::new("taskset");
    let pinned = taskset.args(["--all-tasks", "--cpu-list", "--pid", core, process]);
    assert!(pinned.output().unwrap().status.success(), "{process}");
}

/// The update of as many rows in one statement, without any check, and undone.
async fn update_by_hand(stores: &Stores) -> Duration {
    let session = session(&stores.address).await;
    let begin = "SET session_replication_role = replica; BEGIN; \
                 CREATE TEMP TABLE chosen ON COMMIT DROP AS \
                 SELECT key_id FROM keyservice.keys WHERE revoke_time IS NULL LIMIT 10000";
    session.batch_execute(begin).await.unwrap();
    let began = Instant::now();
    let update = "UPDATE keyservice.keys SET revoke_time = now(), revoke_reason = 'x', \
                      version = version + 1, revision = revision + 100000000 \
                  WHERE key_id IN (SELECT key_id FROM chosen)";
    assert_eq!(session.execute(update, &[]).await.unwrap(), 10_000);
    let time = began.elapsed();
    session.batch_execute("ROLLBACK").await.unwrap();
    time
}

/// What the work gives, the 99th percentile of calls one after the other until it is done, and how many were
/// refused.
async fn authorize_during<T>(
    server: &Server,
    work: impl Future<Output = T>,
) -> (T, Duration, usize) {
    let mut client = server.client().await;
    let token = keyservice::model::token::Token::generate(&mut rand::rng());
    let done = tokio_util::sync::CancellationToken::new();
    let (mut times, mut refusals) = (Vec::new(), 0);
    let calls = async {
        while !done.is_cancelled() {
            let call = Instant::now();
            match client.authorize(token.expose(), "example.com").await {
                Ok(_) => times.push(call.elapsed()),
                Err(_) => refusals += 1,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let work = async {
        let made = work.await;
        done.cancel();
        made
    };
    let (made, ()) = tokio::join!(work, calls);
    times.sort();
    (made, times[times.len() * 99 / 100], refusals)
}

async fn measure_lists(name: &str, stores: &Stores) {
    stores.insert_labelled_keys(KEYS).await;
    let acme = || KeyFilter {
        account_id: Some(AccountId::parse("acme".into()).unwrap()),
        ..KeyFilter::default()
    };
    let status = |status| KeyFilter {
        status: Some(status),
        ..acme()
    };
    let domain = |name: &str| KeyFilter {
        domain: Some(Domain::parse(name.into()).unwrap()),
        ..acme()
    };
    let label = |value: &str| KeyFilter {
        labels: Labels::parse([("kind".to_owned(), value.to_owned())]).unwrap(),
        ..acme()
    };
    let prefix = |text| KeyFilter {
        name_prefix: Some(KeyName::parse(text).unwrap()),
        ..acme()
    };
    let filters = [
        ("none", acme()),
        ("all accounts", KeyFilter::default()),
        ("active, nearly all", status(Status::Active)),
        ("revoked, 1 in 1000", status(Status::Revoked)),
        ("suspended, 1 in 10,000", status(Status::Suspended)),
        ("expired, 1 of 300,000 that will", status(Status::Expired)),
        ("domain, half", domain("half.example")),
        ("domain, none", domain("none.example")),
        ("label, all", label("all")),
        ("label, the oldest alone", label("oldest")),
        ("label, none", label("none")),
        ("name prefix, all", prefix("one of")),
        ("name prefix, none", prefix("none")),
        (
            "preview",
            KeyFilter {
                preview: Some(Preview::parse("tsend_aa…zzzz").unwrap()),
                ..acme()
            },
        ),
        (
            "label and revoked",
            KeyFilter {
                status: Some(Status::Revoked),
                ..label("all")
            },
        ),
    ];
    for (filter, of) in filters {
        let mut query = ListQuery {
            filter: of,
            after: None,
            limit: 51,
            search_len: 51,
            now: Timestamp::now(),
        };
        let (first, _) = page(stores, &query).await;
        let (mut most, mut pages) = (first, 1);
        while pages < PAGES {
            let (time, after) = page(stores, &query).await;
            (most, pages, query.after) = (most.max(time), pages + 1, after);
            if query.after.is_none() {
                break;
            }
        }
        // Deep in the list.
        let mut deep = "–".to_owned();
        query = ListQuery {
            search_len: 200_000,
            limit: 200_000,
            after: None,
            ..query
        };
        let counted = stores.first.keys.count(&query).await.unwrap().unwrap();
        if counted.searched_to.is_some() {
            query = ListQuery {
                search_len: 51,
                limit: 51,
                after: counted.searched_to,
                ..query
            };
            deep = millis(page(stores, &query).await.0);
        }
        println!(
            "| {name} | {filter} | {} | {} | {deep} |",
            millis(first),
            millis(most)
        );
    }
}

/// A page as the service makes one: a short step, and a long one if that is not enough. Gives where it ended.
async fn page(stores: &Stores, query: &ListQuery) -> (Duration, Option<KeyId>) {
    let began = Instant::now();
    let keys = &stores.first.keys;
    let first = keys.list(query).await.unwrap().unwrap();
    if first.keys.len() >= query.limit || first.searched_to.is_none() {
        return (began.elapsed(), first.searched_to);
    }
    let long = ListQuery {
        after: first.searched_to,
        search_len: LIST_SEARCH_LEN,
        ..query.clone()
    };
    let second = keys.list(&long).await.unwrap().unwrap();
    (began.elapsed(), second.searched_to)
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
