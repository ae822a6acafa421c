//! Sets up logs and traces: where they go, and what is left out of them.
//!
//! Promises that no call span is created if no trace endpoint is configured.
//! Must never stop the service, once it has started.

use crate::config::{LogFormat, LogSettings};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{env, io::IsTerminal, time::Duration};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, LevelFilter, Targets},
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
    #[error(
        "--log (KEYSERVICE_LOG): {0}; give a level such as info, or directives such as info,keyservice=debug"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The filter would take the word for the name of a target, and log nothing else.
    #[error(
        "--log (KEYSERVICE_LOG): {0} is not a level; give a level such as info, or directives such as info,keyservice=debug"
    )]
    Level(String),
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL={0} is not supported; use grpc, for which collectors listen on port 4317"
    )]
    Protocol(String),
    /// The value is not repeated, because it may contain a password.
    #[error(
        "{0} does not begin with http:// or https://; give a URL such as http://localhost:4317"
    )]
    Endpoint(&'static str),
    #[error("the OTLP exporter cannot be set up from the OTEL_ variables: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
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
        let mut logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        if !on_a_terminal {
            logs = logs.with_ansi(false);
        }
        let logs = if human {
            logs.with_target(false).boxed()
        } else {
            logs.json().flatten_event(true).boxed()
        };
        let traces = exporter()?.map(|exporter| {
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

fn log_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    let is_word = !text.contains(['=', ',', '[', ':']);
    if is_word && text.parse::<LevelFilter>().is_err() {
        return Err(TelemetryError::Level(text.to_owned()));
    }
    Ok(EnvFilter::builder().parse(text)?)
}

/// The variables that tell where the exporter sends spans. The first one that is set counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// The exporter, if the environment asks for one.
fn exporter() -> Result<Option<SpanExporter>, TelemetryError> {
    let disabled = env::var("OTEL_SDK_DISABLED")
        .is_ok_and(|value| value.eq_ignore_ascii_case("true"))
        || env::var("OTEL_TRACES_EXPORTER").is_ok_and(|value| value == "none");
    let endpoint = ENDPOINTS.into_iter().find_map(|name| {
        let value = env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, endpoint)) = endpoint.filter(|_| !disabled) else {
        return Ok(None);
    };
    let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme);
    if !scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme)) {
        return Err(TelemetryError::Endpoint(name));
    }
    let protocol = env::var("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        .or_else(|_| env::var("OTEL_EXPORTER_OTLP_PROTOCOL"))
        .unwrap_or_default();
    if !matches!(protocol.as_str(), "" | "grpc") {
        return Err(TelemetryError::Protocol(protocol));
    }
    Ok(Some(SpanExporter::builder().with_tonic().build()?))
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
