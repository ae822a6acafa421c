//! What is measured, by the names and attributes of `clients/README.md`.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

use opentelemetry::{
    InstrumentationScope, KeyValue, global,
    metrics::{
        Counter, Histogram, HistogramBuilder, InstrumentBuilder, InstrumentProvider, Meter,
        MeterProvider, SyncInstrument, UpDownCounter,
    },
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tonic::Status;
use tosend_keyservice::{Client, Options};

#[path = "library/replica.rs"]
mod replica;

/// How often and how much was measured, by name and attributes.
static MEASURED: Mutex<BTreeMap<String, (u64, f64)>> = Mutex::new(BTreeMap::new());

#[derive(Clone)]
struct Recorder(String);

impl Recorder {
    fn record(&self, amount: f64, attributes: &[KeyValue]) {
        let attributes = attributes
            .iter()
            .map(|it| format!(" {}={}", it.key, it.value));
        let name = format!("{}{}", self.0, attributes.collect::<String>());
        let mut measured = MEASURED.lock().unwrap();
        let entry = measured.entry(name).or_default();
        *entry = (entry.0 + 1, entry.1 + amount);
    }
}

impl SyncInstrument<u64> for Recorder {
    fn measure(&self, amount: u64, attributes: &[KeyValue]) {
        self.record(amount as f64, attributes);
    }
}

impl SyncInstrument<i64> for Recorder {
    fn measure(&self, amount: i64, attributes: &[KeyValue]) {
        self.record(amount as f64, attributes);
    }
}

impl SyncInstrument<f64> for Recorder {
    fn measure(&self, amount: f64, attributes: &[KeyValue]) {
        self.record(amount, attributes);
    }
}

struct Provider;

impl MeterProvider for Provider {
    fn meter_with_scope(&self, _: InstrumentationScope) -> Meter {
        Meter::new(Arc::new(Provider))
    }
}

impl InstrumentProvider for Provider {
    fn u64_counter(&self, builder: InstrumentBuilder<'_, Counter<u64>>) -> Counter<u64> {
        Counter::new(Arc::new(Recorder(builder.name.into())))
    }

    fn i64_up_down_counter(
        &self,
        builder: InstrumentBuilder<'_, UpDownCounter<i64>>,
    ) -> UpDownCounter<i64> {
        UpDownCounter::new(Arc::new(Recorder(builder.name.into())))
    }

    fn f64_histogram(&self, builder: HistogramBuilder<'_, Histogram<f64>>) -> Histogram<f64> {
        assert_eq!(builder.unit.as_deref(), Some("s"));
        Histogram::new(Arc::new(Recorder(builder.name.into())))
    }
}

fn measured(name: &str) -> (u64, f64) {
    let measured = MEASURED.lock().unwrap();
    measured.get(name).copied().unwrap_or_default()
}

#[tokio::test]
async fn outcomes_attempts_and_replicas_are_measured() {
    global::set_meter_provider(Provider);
    let replica = replica::Replica::start().await;
    let options = Options::new([replica.address.to_string()]).plaintext();
    let client = Client::open(options).unwrap();
    let second = Duration::from_secs(1);
    client.wait_until_ready(second * 5).await.unwrap();
    assert_eq!(measured("keyservice.client.replicas ready=true").1, 1.0);
    assert_eq!(measured("keyservice.client.replicas ready=false").1, 0.0);

    let ask = async || client.authorize("tsend_x", "example.com").await;
    replica.fail_next(Status::unavailable(""));
    drop(ask().await);
    replica.answer_always(Some(replica::denied(3)));
    drop(ask().await);
    replica.fail_next(Status::invalid_argument(""));
    drop(ask().await);
    replica.answer_always(None);
    drop(ask().await);
    for outcome in ["allowed", "denied", "misused", "unavailable"] {
        let name = format!("keyservice.client.authorize.duration outcome={outcome}");
        assert_eq!(measured(&name).0, 1, "{name}");
        assert!(measured(&name).1 < 1.0);
    }
    for (code, count) in [
        ("OK", 2.0),
        ("UNAVAILABLE", 1.0),
        ("INVALID_ARGUMENT", 1.0),
        ("INTERNAL", 4.0),
    ] {
        let name = format!("keyservice.client.attempts code={code}");
        assert_eq!(measured(&name).1, count, "{name}");
    }
    client.close().await;
    assert_eq!(measured("keyservice.client.replicas ready=true").1, 0.0);
    assert_eq!(measured("keyservice.client.replicas ready=false").1, 0.0);
}
