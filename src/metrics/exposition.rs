//! The metrics of the process: their names, and where their values come from.
//!
//! Promises that each value is read when Prometheus asks for it.
//! Must never show a key, an account, a caller or anything that a caller sent.

use super::process::Process;
use crate::{
    app::{App, Callers},
    authorize::decision::DomainRule,
    model::{
        key::Status,
        time::{Moment, Timestamp},
    },
    observe::{histogram::Histogram, stderr},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use std::{fmt, sync::Arc, time::UNIX_EPOCH};

/// A registry that holds all metrics of the process.
pub(crate) fn registry(app: Arc<App>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition { app }));
    registry
}

/// Reads the values from the parts of the process.
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
        let mut families = Families(encoder);
        self.calls(&mut families)?;
        self.connections(&mut families)?;
        self.keys(&mut families)?;
        self.domains(&mut families)?;
        self.suspended_accounts(&mut families)?;
        self.uses(&mut families)?;
        self.lease(&mut families)?;
        self.store(&mut families)?;
        self.files(&mut families)?;
        process(&mut families)
    }
}

impl Exposition {
    fn calls(&self, families: &mut Families<'_>) -> fmt::Result {
        let calls = self.app.counts.calls.read().map(|(method, status, calls)| {
            let labels = [
                ("rpc_system_name", "grpc"),
                ("rpc_method", method),
                ("rpc_response_status_code", status),
            ];
            (labels, calls)
        });
        families.histograms(
            "rpc_server_call_duration",
            "Duration of calls, from the head of the request to the end of the response",
            calls,
        )?;
        let decisions = self.app.authorizer.counts().read();
        families.counters(
            "keyservice_decisions",
            "Answers of Authorize, by outcome and reason",
            decisions.map(|((outcome, reason), count)| {
                ([("outcome", outcome), ("reason", reason)], count)
            }),
        )?;
        let waits = self.app.counts.write_waits.read();
        families.histograms(
            "keyservice_write_wait",
            "How long writes waited for all replicas after their commit",
            waits.map(|(method, waits)| ([("method", method)], waits)),
        )
    }

    fn connections(&self, families: &mut Families<'_>) -> fmt::Result {
        let open = "Open connections of clients";
        families.gauge("keyservice_connections", open, &self.app.connections.open())?;
        let closed = self.app.connections.closed_early();
        families.counters(
            "keyservice_connections_closed",
            "Connections that the server closed before their maximum age, by reason",
            closed.map(|(reason, count)| ([("reason", reason)], count)),
        )
    }

    /// Counts the keys one by one. A million keys take milliseconds, and no call waits for that.
    fn keys(&self, families: &mut Families<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let (mut active, mut revoked, mut expired, mut suspended) = (0_u64, 0_u64, 0_u64, 0_u64);
        for (_, key) in self.app.authorizer.keyring().read().keys() {
            match key.status(now) {
                Status::Active => active += 1,
                Status::Revoked => revoked += 1,
                Status::Expired => expired += 1,
                Status::Suspended => suspended += 1,
            }
        }
        let by_status = [
            ("active", active),
            ("revoked", revoked),
            ("expired", expired),
            ("suspended", suspended),
        ];
        families.gauges(
            "keyservice_keyring_keys",
            "Keys in memory, by status",
            by_status.map(|(status, count)| ([("status", status)], count)),
        )
    }

    fn domains(&self, families: &mut Families<'_>) -> fmt::Result {
        let authorizer = &self.app.authorizer;
        let count = authorizer.keyring().read().verified_domain_count() as u64;
        let help = "Verified domains in memory, each once for each account that has it";
        families.gauge("keyservice_keyring_domains", help, &count)?;
        let is_required = authorizer.domain_rule() == DomainRule::Verified;
        let help = "Whether keys are granted for verified domains alone";
        families.gauge(
            "keyservice_verified_domains_required",
            help,
            &u64::from(is_required),
        )
    }

    fn suspended_accounts(&self, families: &mut Families<'_>) -> fmt::Result {
        let keyring = self.app.authorizer.keyring();
        let count = keyring.read().suspended_account_count();
        let help = "Accounts in memory that are suspended";
        families.gauge(
            "keyservice_keyring_suspended_accounts",
            help,
            &(count as u64),
        )
    }

    fn uses(&self, families: &mut Families<'_>) -> fmt::Result {
        let help = "Times of last use of keys that this replica brought to the store";
        let stored = self.app.counts.uses.stored();
        families.counter("keyservice_stored_uses", help, stored)
    }

    fn lease(&self, families: &mut Families<'_>) -> fmt::Result {
        let deadline = self.app.authorizer.lease().deadline();
        let left = if deadline == Moment::LATEST {
            f64::INFINITY
        } else {
            deadline.since(Moment::now()).as_secs_f64()
        };
        families.gauge_of(
            "keyservice_lease_left",
            "Time that is left until this replica must stop answering, unless it renews its lease",
            &Unit::Seconds,
            &left,
        )?;
        families.gauge(
            "keyservice_applied_revision",
            "The last write up to which this replica's memory has every write",
            &self.app.acknowledgements.own_applied().number(),
        )?;
        families.gauge(
            "keyservice_replicas",
            "Replicas on record, including this one",
            &(self.app.acknowledgements.replica_count() as u64),
        )
    }

    fn store(&self, families: &mut Families<'_>) -> fmt::Result {
        if let Some(database) = &self.app.store.pool {
            let dead = "Rows of leases that renewals have replaced and VACUUM has not removed";
            let count = database.dead_lease_rows();
            families.gauge("keyservice_lease_dead_rows", dead, &count)?;
            let pool = database.pool_status();
            let in_queue = pool.waiting + self.app.store_turns.waiting();
            let connections = [("idle", pool.idle), ("in_use", pool.in_use)];
            families.gauges(
                "keyservice_pool_connections",
                "Connections to PostgreSQL that serve calls, by state",
                connections.map(|(state, count)| ([("state", state)], count as u64)),
            )?;
            let size = "Limit on the connections to PostgreSQL that serve calls (--pool-size)";
            families.gauge("keyservice_pool_max_connections", size, &(pool.max as u64))?;
            let waiting = "Calls that wait for a connection to PostgreSQL";
            families.gauge("keyservice_pool_waiting", waiting, &(in_queue as u64))?;
        }
        let errors = self.app.counts.store_errors.read();
        families.counters(
            "keyservice_store_errors",
            "Errors of the store, by operation",
            errors.map(|(operation, count)| ([("operation", operation)], count)),
        )
    }

    fn files(&self, families: &mut Families<'_>) -> fmt::Result {
        if let Some(tls) = &self.app.tls {
            let expiry = tls.get().not_after().duration_since(UNIX_EPOCH);
            families.gauge_of(
                "keyservice_tls_certificate_expiry_timestamp",
                "When the certificate in use expires, as Unix time",
                &Unit::Seconds,
                &expiry.unwrap_or_default().as_secs(),
            )?;
            let crl = tls.get().crl_next_update;
            if let Some(expiry) = crl.map(|crl| crl.duration_since(UNIX_EPOCH)) {
                families.gauge_of(
                    "keyservice_tls_client_crl_expiry_timestamp",
                    "When the first of the clients' revocation lists expires, as Unix time",
                    &Unit::Seconds,
                    &expiry.unwrap_or_default().as_secs(),
                )?;
            }
        }
        let tls = self.app.tls.as_ref();
        let tls =
            tls.map(|files| files.is_reload_failed() || files.get().keeps_another_certificate());
        let credentials = match &self.app.callers {
            Callers::Anyone(_) => None,
            Callers::Listed(credentials) => Some(credentials.is_reload_failed()),
        };
        let failed = [("tls", tls), ("credentials", credentials)];
        families.gauges(
            "keyservice_reload_failed",
            "1 while changed files are invalid and the earlier ones stay in use",
            failed
                .into_iter()
                .filter_map(|(files, failed)| Some(([("files", files)], u64::from(failed?)))),
        )
    }
}

fn process(families: &mut Families<'_>) -> fmt::Result {
    families.counter(
        "keyservice_log_lines_dropped",
        "Log lines that were dropped, because standard error did not take them in time",
        stderr::dropped_lines(),
    )?;
    families.gauges(
        "keyservice_build_info",
        "Version of the service; the value is always 1",
        [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)],
    )?;
    let Some(process) = Process::read() else {
        return Ok(());
    };
    families.counter_of(
        "process_cpu",
        "Processor time in user and system mode",
        &Unit::Seconds,
        process.cpu_seconds,
    )?;
    families.gauge_of(
        "process_resident_memory",
        "Resident memory",
        &Unit::Bytes,
        &process.resident_bytes,
    )?;
    families.gauge(
        "process_open_fds",
        "Open files and connections",
        &process.open_files,
    )?;
    families.gauge_of(
        "process_start_time",
        "When the process started, as Unix time",
        &Unit::Seconds,
        &process.start_time,
    )
}

/// Writes families of metrics. The library appends the unit to a name, and `_total` to a counter's.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
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
                .encode_histogram::<NoLabelSet>(
                    read.sum_seconds,
                    read.count,
                    &read.buckets,
                    None,
                )?;
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

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&value, None)
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
