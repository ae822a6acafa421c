//! Owns the metrics' names, and reads what they say from those that own it.
//! Promises that everything is as of the moment it is asked for; nothing is pushed here.
//! Must never name a key, an account, a caller or anything that a caller sent.

use super::process::Process;
use crate::{
    app::{App, Callers},
    model::{
        key::Status,
        time::{Moment, Timestamp},
    },
    observe::histogram::Histogram,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use std::{fmt, sync::Arc, time::UNIX_EPOCH};

/// All metrics of the process, as a registry of the library that writes them.
pub(crate) fn registry(app: Arc<App>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { app }));
    registry
}

/// Reads the metrics from their owners.
struct Exposition {
    app: Arc<App>,
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposition")
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.calls(&mut page)?;
        self.connections(&mut page)?;
        self.keys(&mut page)?;
        self.lease(&mut page)?;
        self.store(&mut page)?;
        self.files(&mut page)?;
        process(&mut page)
    }
}

impl Exposition {
    fn calls(&self, page: &mut Page<'_>) -> fmt::Result {
        let calls = self.app.counts.calls.seen().map(|(method, status, calls)| {
            let labels = [
                ("rpc_system_name", "grpc"),
                ("rpc_method", method),
                ("rpc_response_status_code", status),
            ];
            (labels, calls)
        });
        page.histograms(
            "rpc_server_call_duration",
            "Calls, from the request's head to the end of the response",
            calls,
        )?;
        let decisions = self.app.authorizer.counts().read();
        page.counters(
            "keyservice_decisions",
            "Decisions of Authorize",
            decisions.map(|((outcome, reason), count)| {
                ([("outcome", outcome), ("reason", reason)], count)
            }),
        )?;
        let waits = [
            ("Create", &self.app.counts.create_waits),
            ("Revoke", &self.app.counts.revoke_waits),
        ];
        page.histograms(
            "keyservice_write_wait",
            "How long writes waited for every replica, after their commit",
            waits.map(|(method, waits)| ([("method", method)], waits)),
        )
    }

    fn connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let open = "Connections of clients, open now";
        page.gauge("keyservice_connections", open, &self.app.connections.open())?;
        let closed = self.app.connections.closed_early();
        page.counters(
            "keyservice_connections_closed",
            "Connections that the server itself closed before their age, by why",
            closed.map(|(reason, count)| ([("reason", reason)], count)),
        )
    }

    /// Looks at every key: milliseconds where there are a million, and nobody waits for it.
    fn keys(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let (mut active, mut revoked, mut expired) = (0_u64, 0_u64, 0_u64);
        for (_, key) in self.app.authorizer.keyring().read().keys() {
            match key.status(now) {
                Status::Active => active += 1,
                Status::Revoked => revoked += 1,
                Status::Expired => expired += 1,
            }
        }
        let by_status = [
            ("active", active),
            ("revoked", revoked),
            ("expired", expired),
        ];
        page.gauges(
            "keyservice_keyring_keys",
            "Keys in memory",
            by_status.map(|(status, count)| ([("status", status)], count)),
        )
    }

    fn lease(&self, page: &mut Page<'_>) -> fmt::Result {
        let deadline = self.app.authorizer.lease().deadline();
        let left = if deadline == Moment::LATEST {
            f64::INFINITY
        } else {
            deadline.since(Moment::now()).as_secs_f64()
        };
        page.gauge_of(
            "keyservice_lease_left",
            "Until this replica may answer no more, if it does not renew its lease",
            &Unit::Seconds,
            &left,
        )?;
        page.gauge(
            "keyservice_applied_revision",
            "The last write that this replica's memory holds, with all before it",
            &self.app.acknowledgements.own_applied().number(),
        )?;
        page.gauge(
            "keyservice_replicas",
            "Replicas on record, this one among them",
            &(self.app.acknowledgements.replica_count() as u64),
        )
    }

    fn store(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(pool) = &self.app.store.pool {
            let pool = pool.pool_status();
            let connections = [("idle", pool.idle), ("in_use", pool.in_use)];
            page.gauges(
                "keyservice_pool_connections",
                "Connections to PostgreSQL for calls",
                connections.map(|(state, count)| ([("state", state)], count as u64)),
            )?;
            let size = "The most that there may be (--pool-size)";
            page.gauge("keyservice_pool_max_connections", size, &(pool.max as u64))?;
            let waiting = "Calls that wait for a connection";
            page.gauge("keyservice_pool_waiting", waiting, &(pool.waiting as u64))?;
        }
        let errors = self.app.counts.store_errors.read();
        page.counters(
            "keyservice_store_errors",
            "Troubles of the store, by what it was asked to do",
            errors.map(|(operation, count)| ([("operation", operation)], count)),
        )
    }

    fn files(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(tls) = &self.app.tls {
            let expiry = tls.get().not_after.duration_since(UNIX_EPOCH);
            page.gauge_of(
                "keyservice_tls_certificate_expiry_timestamp",
                "When the certificate in use expires, since 1970",
                &Unit::Seconds,
                &expiry.unwrap_or_default().as_secs(),
            )?;
        }
        let tls = self.app.tls.as_ref().map(|files| files.is_reload_failed());
        let credentials = match &self.app.callers {
            Callers::Anyone(_) => None,
            Callers::Listed(credentials) => Some(credentials.is_reload_failed()),
        };
        let failed = [("tls", tls), ("credentials", credentials)];
        page.gauges(
            "keyservice_reload_failed",
            "1 while files on disk make no sense and the ones read before are in use",
            failed
                .into_iter()
                .filter_map(|(files, failed)| Some(([("files", files)], u64::from(failed?)))),
        )
    }
}

fn process(page: &mut Page<'_>) -> fmt::Result {
    page.gauges(
        "keyservice_build_info",
        "Always 1",
        [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)],
    )?;
    let Some(process) = Process::read() else {
        return Ok(());
    };
    page.counter_of(
        "process_cpu",
        "Processor time, the system's and its own",
        &Unit::Seconds,
        process.cpu_seconds,
    )?;
    page.gauge_of(
        "process_resident_memory",
        "Memory that it takes",
        &Unit::Bytes,
        &process.resident_bytes,
    )?;
    page.gauge(
        "process_open_fds",
        "Files and connections",
        &process.open_files,
    )?;
    page.gauge_of(
        "process_start_time",
        "Since 1970",
        &Unit::Seconds,
        &process.start_time,
    )
}

/// What is written so far. A unit, and a counter's `_total`, are added to names by the library.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn histograms<'h, L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        histograms: impl IntoIterator<Item = (L, &'h Histogram)>,
    ) -> fmt::Result {
        let unit = Some(&Unit::Seconds);
        let kind = MetricType::Histogram;
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, histogram) in histograms {
            let read = histogram.read();
            family
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(read.sum, read.count, &read.buckets, None)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        counters: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, count) in counters {
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    fn counter_of(&mut self, name: &str, help: &str, unit: &Unit, value: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, Some(unit), MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        gauges: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in gauges {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauge(&mut self, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(value)
    }

    fn gauge_of(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        value: &impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, Some(unit), MetricType::Gauge)?
            .encode_gauge(value)
    }
}
