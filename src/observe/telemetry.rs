//! Owns logs and traces: where they go and what is let through.
//! Promises that with no trace endpoint configured, call spans are off at their source.
//! Must never be the reason that the service does not serve, once it has started.

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

/// The target of call spans, by which the trace exporter takes them and logs leave them out.
pub(crate) const CALL_TARGET: &str = "keyservice::call";

/// Libraries that log, below INFO, the text of headers that make no sense to them. It is the
/// caller's, and may hold a token.
const TELL_CALLERS_TEXT: [&str; 2] = ["h2", "tonic::transport::service"];

/// The crates of the exporter, which warn when a collector takes no spans. Below that they log each
/// of their steps.
const EXPORTER: &str = "opentelemetry";

/// For sending the last spans. With the default drain limit it ends before Kubernetes' 30 s to
/// SIGKILL.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Telemetry was configured in a way that makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `--log`.
    #[error(
        "--log (KEYSERVICE_LOG): {0}; give a level such as info, or directives such as info,keyservice=debug"
    )]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `--log`, which would take it for the name of a target, and log nothing else.
    #[error(
        "--log (KEYSERVICE_LOG): {0} is no level; give a level such as info, or directives such as info,keyservice=debug"
    )]
    Level(String),
    /// `OTEL_EXPORTER_OTLP_PROTOCOL`.
    #[error(
        "OTEL_EXPORTER_OTLP_PROTOCOL={0} is not spoken here; use grpc, which collectors take on port 4317"
    )]
    Protocol(String),
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, which may hold a password.
    #[error(
        "{0} does not begin with http:// or https://; give a URL such as http://localhost:4317"
    )]
    Endpoint(&'static str),
    /// Anything else about the exporter.
    #[error("the OTLP exporter cannot be set up from the OTEL_ variables: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Keeps the exporter alive; [`Telemetry::flush`] sends what is left.
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sets logs and traces up for the process. Call it once, on a tokio runtime.
    pub fn start(settings: &LogSettings) -> Result<Self, TelemetryError> {
        let filter = log_filter(&settings.filter)?.and(
            Targets::new()
                .with_default(LevelFilter::TRACE)
                .with_targets(TELL_CALLERS_TEXT.map(|target| (target, LevelFilter::INFO)))
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
        // Only call spans: an exporter that traced its own calls would never come to rest.
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

    /// Sends the spans that wait to be sent. Blocks, but not for long when nobody takes them.
    pub fn flush(self) {
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

/// Where the exporter sends to. The first that is set counts.
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

/// Names this service, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` name it.
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
