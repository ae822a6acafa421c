//! Measures Lists of an account with a million keys: each filter's pages, at the begin, in the middle, and
//! where few keys pass.
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

use keyservice::grpc::proto::{ListRequest, key::Status};
use std::time::{Duration, Instant};
use support::{
    postgres::Version,
    server::{Client, Server},
    stores::Stores,
};

const KEYS: usize = 1_000_000;
const PAGES: usize = 20;

#[tokio::main]
async fn main() {
    println!(
        "\n| store | filter | keys | first page | most of {PAGES} pages | from the middle on, most | total_size |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    measure_lists("SQLite", &Stores::sqlite()).await;
    for version in [Version::Oldest, Version::Newest] {
        let stores = Stores::postgres_of(version).await;
        measure_lists(&format!("PostgreSQL {version:?}"), &stores).await;
    }
}

async fn measure_lists(name: &str, stores: &Stores) {
    stores.insert_labelled_keys(KEYS).await;
    let server = Server::start(&stores.address).await;
    let mut client = server.client().await;
    let label = |label: &str| [("kind".to_owned(), label.to_owned())].into();
    let of_acme = || ListRequest {
        account_id: "acme".into(),
        ..Default::default()
    };
    let status = |status: Status| ListRequest {
        status: status.into(),
        ..of_acme()
    };
    let filters = [
        ("none", of_acme()),
        (
            "all accounts",
            ListRequest {
                account_id: String::new(),
                all_accounts: true,
                ..Default::default()
            },
        ),
        ("active, nearly all", status(Status::Active)),
        ("revoked, 1 in 1000", status(Status::Revoked)),
        ("suspended, 1 in 10,000", status(Status::Suspended)),
        ("expired, few of many that will", status(Status::Expired)),
        (
            "domain, half",
            ListRequest {
                domain: Some("half.example".into()),
                ..of_acme()
            },
        ),
        (
            "domain, none",
            ListRequest {
                domain: Some("none.example".into()),
                ..of_acme()
            },
        ),
        (
            "label, all",
            ListRequest {
                labels: label("all"),
                ..of_acme()
            },
        ),
        (
            "label, the oldest alone",
            ListRequest {
                labels: label("oldest"),
                ..of_acme()
            },
        ),
        (
            "label, none",
            ListRequest {
                labels: label("none"),
                ..of_acme()
            },
        ),
        (
            "name prefix, all",
            ListRequest {
                name_prefix: "one of".into(),
                ..of_acme()
            },
        ),
        (
            "name prefix, none",
            ListRequest {
                name_prefix: "none".into(),
                ..of_acme()
            },
        ),
        (
            "preview",
            ListRequest {
                preview: "tsend_aa…zzzz".into(),
                ..of_acme()
            },
        ),
        (
            "label and revoked",
            ListRequest {
                labels: label("all"),
                ..status(Status::Revoked)
            },
        ),
    ];
    for (filter, request) in filters {
        let (first, most, _) = pages(&mut client, request.clone()).await;
        let middle = ListRequest {
            page_token: token_after(&mut client, &request, 50).await,
            ..request.clone()
        };
        let from_middle = match middle.page_token.is_empty() {
            true => "–".to_owned(),
            false => millis(pages(&mut client, middle).await.1),
        };
        let began = Instant::now();
        let counted = ListRequest {
            show_total_size: true,
            page_size: 1,
            ..request
        };
        let counted = client.list_with(counted).await.unwrap();
        let at_least = if counted.total_size_is_minimum {
            "≥ "
        } else {
            ""
        };
        println!(
            "| {name} | {filter} | {at_least}{} | {} | {} | {from_middle} | {} |",
            counted.total_size.unwrap(),
            millis(first),
            millis(most),
            millis(began.elapsed()),
        );
    }
}

/// The time of the first page, the longest of the first pages, and the token of the next.
async fn pages(client: &mut Client, mut request: ListRequest) -> (Duration, Duration, String) {
    let mut times = Vec::new();
    for _ in 0..PAGES {
        let began = Instant::now();
        let page = client.list_with(request.clone()).await.unwrap();
        times.push(began.elapsed());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    (times[0], *times.iter().max().unwrap(), request.page_token)
}

/// The token after so many pages of 1000 keys, or nothing if the list ends before.
async fn token_after(client: &mut Client, request: &ListRequest, pages: usize) -> String {
    let mut request = ListRequest {
        page_size: 1000,
        ..request.clone()
    };
    for _ in 0..pages {
        request.page_token = client
            .list_with(request.clone())
            .await
            .unwrap()
            .next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    request.page_token
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
