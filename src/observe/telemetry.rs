//! Sets up logs and traces: where they go, and what is left out of them.
//!
//! Promises that no call span is created if no trace endpoint is configured.
//! Must never stop the service, once it has started.

use super::{
    otlp::{self, ExporterError},
    stderr::{self, LogWriter},
};
use crate::{
    config::{LogFormat, LogSettings},
    model::printable::printable,
};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env, fmt,
    io::IsTerminal,
    panic,
    time::Duration,
};
use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, Targets},
    fmt::format::{Writer, debug_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// The target of call spans. The exporter selects spans by it, and logs leave them out.
pub(crate) const CALL_TARGET: &str = "keyservice::call";

/// This service's own logs. Below INFO, libraries log whatever text they are given: headers, the
/// reason that a client gives when it leaves, the parameters of SQL statements. That text may contain
/// a token. So only this service logs below INFO.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// These libraries warn of what a client does, as often as the client does it: a line for each PING
/// that nobody asked for, say. So their logs begin at ERROR.
const LOGS_AT_A_CLIENTS_WILL: [&str; 2] = ["h2", "rustls"];

/// The crates of the exporter. They warn when the collector does not take spans, and below WARN
/// they log every step.
const EXPORTER: &str = "opentelemetry";

/// How long sending the last spans may take. Together with the default drain limit, this ends
/// before Kubernetes sends SIGKILL after 30 s.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// The settings of logs or traces are invalid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TelemetryError {
    /// The value is not repeated, because it may be that of another setting. A word that is no level would
    /// be taken for the name of a target, and nothing else would be logged.
    #[error(
        "--log (KEYSERVICE_LOG): give a level such as info, or directives such as info,keyservice=debug"
    )]
    Filter,
    #[error(transparent)]
    Exporter(#[from] ExporterError),
}

/// Keeps the exporter alive until [`Telemetry::flush`] has sent the last spans.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets up logs and traces for the process. Call it once, on a tokio runtime.
    pub(crate) fn start(settings: &LogSettings) -> Result<Self, TelemetryError> {
        let filter = log_filter(&settings.filter)?.and(
            Targets::new()
                .with_default(LevelFilter::INFO)
                .with_target(OWN, LevelFilter::TRACE)
                .with_targets(LOGS_AT_A_CLIENTS_WILL.map(|target| (target, LevelFilter::ERROR)))
                .with_target(EXPORTER, LevelFilter::WARN),
        );
        let on_a_terminal = std::io::stderr().is_terminal();
        let human = match settings.format {
            LogFormat::Human => true,
            LogFormat::Json => false,
            LogFormat::Auto => on_a_terminal,
        };
        stderr::set_json(!human);
        report_panics();
        let mut logs = tracing_subscriber::fmt::layer().with_writer(|| LogWriter);
        if !on_a_terminal {
            logs = logs.with_ansi(false);
        }
        let logs = if human {
            logs.with_target(false)
                .fmt_fields(debug_fn(write_field))
                .boxed()
        } else {
            logs.json().flatten_event(true).boxed()
        };
        let traces = otlp::exporter()?.map(|exporter| {
            SdkTracerProvider::builder()
                .with_batch_exporter(exporter)
                .with_resource(resource())
                .build()
        });
        // Only call spans are exported. If the exporter traced its own calls, it would never end.
        let call_spans = traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("keyservice"))
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_level(false)
                .with_tracked_inactivity(false)
                .with_filter(Targets::new().with_target(CALL_TARGET, tracing::Level::DEBUG))
        });
        tracing_subscriber::registry()
            .with(logs.with_filter(filter))
            .with(call_spans)
            .init();
        if traces.is_some() {
            otlp::warn();
        }
        Ok(Self { traces })
    }

    /// Sends the spans that are left. Blocks for at most [`FLUSH_LIMIT`].
    pub(crate) fn flush(self) {
        let traces = self.traces;
        let flushed = traces.map(|traces| traces.shutdown_with_timeout(FLUSH_LIMIT));
        if let Some(Err(error)) = flushed {
            tracing::warn!("the last spans could not be exported: {error}");
        }
    }
}

/// Reports panics as lines of the log, whatever its filter says. Rust's own report would block while
/// nobody reads standard error.
fn report_panics() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        stderr::write_line("ERROR", &format!("{panic}{backtrace}"));
    }));
}

/// Writes the message or a field of a line for people, without what a terminal obeys. Then the only
/// escapes in the line are the library's own, for its colours.
fn write_field(line: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let value = format!("{value:?}");
    let value = stderr::cut(&value);
    let value = printable(&value);
    match field.name() {
        "message" => write!(line, "{value}"),
        // The crate `log` adds where in a library the line comes from.
        name if name.starts_with("log.") => Ok(()),
        name => write!(line, " {name}={value}"),
    }
}

fn log_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    // Any text would do for the name of a target, an address with a password too. Within brackets, a
    // directive may have any text.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:=, ".contains(&byte);
    if !text.contains('[') && !text.bytes().all(is_name) {
        return Err(TelemetryError::Filter);
    }
    let is_word = !text.contains(['=', ',', '[', ':']);
    if is_word && text.parse::<LevelFilter>().is_err() {
        return Err(TelemetryError::Filter);
    }
    let filter = EnvFilter::builder().parse(text);
    filter.map_err(|_| TelemetryError::Filter)
}

/// Names this service `keyservice`, unless a variable gives it another name.
fn resource() -> Resource {
    let named = env::var_os("OTEL_SERVICE_NAME").is_some()
        || env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
    let builder = Resource::builder();
    if named {
        builder.build()
    } else {
        builder.with_service_name("keyservice").build()
    }
}
