//! The exporter of traces, as the standard variables of OpenTelemetry ask for it.
//!
//! Promises that each variable that is wrong is named, with what is right. Must never repeat a value: an
//! endpoint or a header may hold a password.

mod tls;
mod variables;

use crate::{config::Hidden, named_file::FileError};
use http::Uri;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
pub(super) use variables::warn;

/// The variables ask for an exporter that there cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExporterError {
    #[error(
        "{0}: give grpc, the only supported protocol, for which collectors listen on port 4317"
    )]
    Protocol(&'static str),
    #[error("{0} is not a URL; give one such as http://localhost:4317 or https://collector:4317")]
    Endpoint(&'static str),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{0} is https://, and this system has no root certificate to verify the collector by; give a file of them \
         (PEM) with OTEL_EXPORTER_OTLP_CERTIFICATE, or install them (ca-certificates)"
    )]
    NoRoots(&'static str),
    #[error(
        "{given} needs {missing}: a client's certificate and its private key are given together"
    )]
    HalfIdentity {
        given: &'static str,
        missing: &'static str,
    },
    #[error("{0} and {1} do not belong together, or the key is of a kind that cannot be used")]
    Identity(&'static str, &'static str),
    /// What the exporter says is left out, because it repeats values.
    #[error("the OTLP exporter cannot be set up; check {0} and the other OTEL_ variables")]
    Build(&'static str),
}

/// The variables that tell where the exporter sends spans. The first one that is set counts.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

/// The exporter, if the environment asks for one.
pub(super) fn exporter() -> Result<Option<SpanExporter>, ExporterError> {
    let Some((name, endpoint)) = endpoint() else {
        return Ok(None);
    };
    if !is_url(endpoint.expose()) {
        return Err(ExporterError::Endpoint(name));
    }
    if let Some((name, _)) = first_set(PROTOCOLS).filter(|(_, it)| it.expose() != "grpc") {
        return Err(ExporterError::Protocol(name));
    }
    let mut builder = SpanExporter::builder().with_tonic();
    if is_encrypted(&endpoint) {
        builder = builder.with_tls_config(tls::config(name)?);
    }
    let built = builder.with_endpoint(endpoint.expose()).build();
    built.map(Some).map_err(|_| ExporterError::Build(name))
}

fn endpoint() -> Option<(&'static str, Hidden)> {
    first_set(ENDPOINTS).filter(|_| !is_disabled())
}

fn is_encrypted(endpoint: &Hidden) -> bool {
    let uri = endpoint.expose().parse::<Uri>();
    uri.is_ok_and(|uri| uri.scheme_str() == Some("https"))
}

fn first_set(names: [&'static str; 2]) -> Option<(&'static str, Hidden)> {
    let mut set = names
        .into_iter()
        .filter_map(|name| Some((name, Hidden::of_variable(name)?)));
    set.next()
}

fn is_disabled() -> bool {
    let is = |name, value: &str| {
        let set = Hidden::of_variable(name);
        set.is_some_and(|set| set.expose().eq_ignore_ascii_case(value))
    };
    is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none")
}

fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    let (_, host_and_port) = authority
        .as_str()
        .rsplit_once('@')
        .unwrap_or(("", authority.as_str()));
    let has_good_port = authority.port_u16().is_some() || host_and_port == authority.host();
    !authority.host().is_empty() && has_good_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_with_a_host_and_a_good_port_if_any() {
        for right in [
            "http://h",
            "https://h:4317/",
            "http://u:p@h:1",
            "http://u:p@[::1]:1",
            "http://[::1]",
        ] {
            assert!(is_url(right), "{right}");
        }
        for wrong in [
            "",
            "h:4317",
            "ftp://h",
            "http://",
            "http://u:p@",
            "http://h:port",
            "http://u:p@h:70000",
            "http://h h",
            "http:/h",
            "http://h:",
        ] {
            assert!(!is_url(wrong), "{wrong}");
        }
    }
}
