//! What is measured, by the OpenTelemetry API. Without a meter provider it costs nothing.

use crate::{answer::Decision, error::Error, error::code_name};
use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Histogram, UpDownCounter},
};
use std::time::Duration;
use tonic::Code;

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    authorize: Histogram<f64>,
    attempts: Counter<u64>,
    replicas: UpDownCounter<i64>,
}

/// In seconds: from an answer on the same machine to the default deadline.
const BOUNDARIES: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
];

impl Metrics {
    /// Measures with the meter provider that is set now.
    pub(crate) fn new() -> Self {
        let meter = global::meter("tosend_keyservice");
        let authorize = meter
            .f64_histogram("keyservice.client.authorize.duration")
            .with_unit("s")
            .with_description("How long authorize took, with all its attempts")
            .with_boundaries(BOUNDARIES.to_vec());
        let attempts = meter
            .u64_counter("keyservice.client.attempts")
            .with_description("Attempts, by the code with which they ended");
        let replicas = meter
            .i64_up_down_counter("keyservice.client.replicas")
            .with_description("Replicas whose address is known, by whether they are ready");
        Self {
            authorize: authorize.build(),
            attempts: attempts.build(),
            replicas: replicas.build(),
        }
    }

    pub(crate) fn record_authorize(&self, took: Duration, result: &Result<Decision, Error>) {
        let outcome = match result {
            Ok(Decision::Allowed(_)) => "allowed",
            Ok(Decision::Denied(_)) => "denied",
            Err(Error::Unavailable(_)) => "unavailable",
            Err(Error::Misused(_)) => "misused",
        };
        let outcome = [KeyValue::new("outcome", outcome)];
        self.authorize.record(took.as_secs_f64(), &outcome);
    }

    pub(crate) fn count_attempt(&self, code: Code) {
        self.attempts
            .add(1, &[KeyValue::new("code", code_name(code))]);
    }

    pub(crate) fn add_replicas(&self, count: i64, ready: bool) {
        // A text, as in the other languages' libraries.
        let ready = if ready { "true" } else { "false" };
        self.replicas.add(count, &[KeyValue::new("ready", ready)]);
    }
}
