//! The recorder counts calls that it cannot record one by one. It loses none when the store fails.

use crate::support::{
    eventually,
    server::audit_command::{audit_output, record_of_a_list, records},
    stores::Stores,
};
use futures::future::join_all;
use keyservice::{
    audit::recorder::Recorder,
    model::{
        audit_record::{AuditRecord, Outcome},
        time::Timestamp,
    },
};
use std::iter::repeat_n;

/// The record of a List that was refused at this time, in microseconds since 1970.
fn refused_at(micros: i64) -> AuditRecord {
    AuditRecord {
        outcome: Outcome::named("PERMISSION_DENIED"),
        ..record_of_a_list(Timestamp::from_micros(micros).expect("in range"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counted_calls_are_recorded_in_time_with_the_time_of_the_first() {
    let stores = Stores::sqlite();
    let recorder = Recorder::new(stores.first.audit.clone(), stores.first.identity);
    for second in [2, 1, 3] {
        recorder.count(&refused_at(second * 1_000_000));
    }
    eventually("they are recorded", async || {
        records(&stores.address, &[]) == ["sender List PERMISSION_DENIED - - 3"]
    })
    .await;
    let printed = audit_output(&stores.address, &[]);
    assert!(printed.contains("1970-01-01T00:00:01.000000Z"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counted_calls_that_the_store_refused_are_kept_and_their_count_never_overflows() {
    let stores = Stores::sqlite();
    let recorder = Recorder::new(stores.first.audit.clone(), stores.first.identity);
    let many = AuditRecord {
        calls: u32::MAX,
        ..refused_at(1)
    };
    let others = AuditRecord {
        outcome: Outcome::named("NOT_FOUND"),
        ..many.clone()
    };
    rename_records(&stores, "audit", "away").await;
    for record in [&many, &many, &others] {
        recorder.count(record);
    }
    recorder.flush().await;
    rename_records(&stores, "away", "audit").await;
    recorder.flush().await;
    let mut records = records(&stores.address, &[]);
    records.sort();
    let expected = [
        "sender List NOT_FOUND - - 4294967295",
        "sender List PERMISSION_DENIED - - 4294967295",
    ];
    assert_eq!(records, expected);
}

async fn rename_records(stores: &Stores, from: &str, to: &str) {
    let rename = format!("ALTER TABLE {from} RENAME TO {to}");
    stores.sql(&rename).await.expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_exceed_the_queue_for_records_are_refused_and_counted() {
    const CALLS: usize = 3000;
    let stores = Stores::sqlite();
    let recorder = Recorder::new(stores.first.audit.clone(), stores.first.identity);
    let list = record_of_a_list(Timestamp::now());
    let ended = join_all(repeat_n(&list, CALLS).map(|list| recorder.record_answer(list))).await;
    let answered = ended.iter().filter(|stored| stored.is_ok()).count();
    assert!((1..CALLS).contains(&answered), "{answered}");
    recorder.flush().await;
    let records = records(&stores.address, &[]);
    let counts = records.iter().filter_map(|record| {
        let count = record.strip_prefix("sender List UNAVAILABLE - - ")?;
        Some(count.parse::<usize>().expect("a number"))
    });
    let counts: Vec<_> = counts.collect();
    // Two, if some were counted before the time came to store what was counted.
    assert!((1..=2).contains(&counts.len()), "{counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), CALLS - answered);
    assert_eq!(records.len() - counts.len(), answered);
}
