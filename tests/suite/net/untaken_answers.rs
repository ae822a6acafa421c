//! Answers that their clients do not take are held within a bound.

use super::start;
use crate::support::{
    eventually,
    hostile::frames::{
        DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RawClient, SETTINGS, WINDOW_UPDATE, frame,
        headers_of,
    },
    server::{
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use keyservice::grpc::proto::{CreateRequest, ListRequest};
use prost::Message;

const INITIAL_WINDOW_SIZE: u16 = 4;
const SLOTS: u64 = 16;
const CALLS_PER_CONNECTION: u32 = 100;
const CONNECTIONS: u32 = 4;

/// A client may open no window, or open all and not read. Each key takes some 800 bytes.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_not_taken_hold_their_slots_for_a_time() {
    for window in [0, (1 << 31) - 1] {
        let slots = format!("--max-admin-calls={SLOTS}");
        let (server, _directory) = start(&[&slots, "--answer-timeout=4s", METRICS]).await;
        let mut client = server.client().await;
        for _ in 0..400 {
            let key = CreateRequest {
                account_id: "acme".into(),
                name: "\u{10348}".repeat(100),
                domain: Some([&*"b".repeat(59); 4].join(".")),
                ..Default::default()
            };
            client.create_with(key).await.expect("created");
        }
        let process = Process(server.pid());
        process.reset_peak_memory();
        let before = process.memory();

        let mut hostile = Vec::new();
        for _ in 0..CONNECTIONS {
            hostile.push(list_without_taking(server.port(), window).await);
        }
        eventually("most Lists are refused", async || {
            Scrape::of(&server).calls("List", "RESOURCE_EXHAUSTED") > 100.0
        })
        .await;
        let highest = process.peak_memory();
        println!("window {window}: memory before {before} MiB, highest {highest} MiB");
        // A page takes up to twice its size while it is encoded.
        assert!(highest <= before + 2 * SLOTS, "{highest} MiB");

        let revoked = client.revoke("key_01m86sdsycew3tan8trybq49c5").await;
        let status = revoked.expect_err("no such key");
        assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
        eventually("the slots are free again", async || {
            client.list("acme").await.is_ok()
        })
        .await;
        drop(hostile);
    }
}

async fn list_without_taking(port: u16, window: u32) -> RawClient {
    let setting = [
        &INITIAL_WINDOW_SIZE.to_be_bytes()[..],
        &window.to_be_bytes(),
    ];
    let list = ListRequest {
        account_id: "acme".into(),
        page_size: 1000,
        ..Default::default()
    };
    let list = list.encode_to_vec();
    let length = u32::try_from(list.len()).expect("short").to_be_bytes();
    let list = [&[0][..], &length, &list].concat();
    let headers = headers_of("/tosend.keys.v1.KeyService/List", &[]);

    let mut client = RawClient::connect(port).await;
    client.send(PREFACE).await;
    client.send(&frame(SETTINGS, 0, 0, &setting.concat())).await;
    let all = (1_u32 << 31) - 1 - 65_535;
    client
        .send(&frame(WINDOW_UPDATE, 0, 0, &all.to_be_bytes()))
        .await;
    for call in 0..CALLS_PER_CONNECTION {
        let stream = 2 * call + 1;
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &headers))
            .await;
        client.send(&frame(DATA, END_STREAM, stream, &list)).await;
    }
    client
}
