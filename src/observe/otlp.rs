//! The exporter of traces, as the standard variables of OpenTelemetry ask for it.
//!
//! Promises that each variable that is wrong is named, with what is right. Must never repeat a value: an
//! endpoint or a header may hold a password.

use crate::config::Hidden;
use http::Uri;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use std::env;

/// The variables ask for an exporter that there cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExporterError {
    #[error(
        "{0}: give grpc, the only supported protocol, for which collectors listen on port 4317"
    )]
    Protocol(&'static str),
    #[error("{0} is not a URL; give one such as http://localhost:4317 or https://collector:4317")]
    Endpoint(&'static str),
    /// What the exporter says is left out, because it repeats values.
    #[error(
        "the OTLP exporter cannot be set up; check {0}, the other OTEL_ variables, and the system's root \
         certificates"
    )]
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
    let Some((name, endpoint)) = first_set(ENDPOINTS).filter(|_| !is_disabled()) else {
        return Ok(None);
    };
    if !is_url(endpoint.expose()) {
        return Err(ExporterError::Endpoint(name));
    }
    if let Some((name, _)) = first_set(PROTOCOLS).filter(|(_, it)| it.expose() != "grpc") {
        return Err(ExporterError::Protocol(name));
    }
    let builder = SpanExporter::builder().with_tonic();
    let built = builder.with_endpoint(endpoint.expose()).build();
    built.map(Some).map_err(|_| ExporterError::Build(name))
}

/// Logs which variables the exporter ignores, because it does not understand their values. Its own
/// warnings come before there is a log, and repeat the values.
pub(super) fn warn_of_ignored_variables() {
    for variable in &CHECKED {
        let value = env::var_os(variable.name).filter(|value| !value.is_empty());
        if value.is_some_and(|value| !value.to_str().is_some_and(variable.is_valid)) {
            tracing::warn!("{} is ignored: {}", variable.name, variable.advice);
        }
    }
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

/// A variable whose value is ignored if it is not valid.
struct Checked {
    name: &'static str,
    is_valid: fn(&str) -> bool,
    advice: &'static str,
}

const CHECKED: [Checked; 24] = [
    number("OTEL_BSP_EXPORT_TIMEOUT"),
    number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
    number("OTEL_BSP_MAX_QUEUE_SIZE"),
    number("OTEL_BSP_SCHEDULE_DELAY"),
    number("OTEL_EXPORTER_OTLP_TIMEOUT"),
    number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"),
    number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
    number("OTEL_SPAN_EVENT_COUNT_LIMIT"),
    number("OTEL_SPAN_LINK_COUNT_LIMIT"),
    pairs("OTEL_EXPORTER_OTLP_HEADERS"),
    pairs("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    pairs("OTEL_RESOURCE_ATTRIBUTES"),
    compression("OTEL_EXPORTER_OTLP_COMPRESSION"),
    compression("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"),
    certificate("OTEL_EXPORTER_OTLP_CERTIFICATE"),
    certificate("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"),
    certificate("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
    certificate("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE"),
    certificate("OTEL_EXPORTER_OTLP_CLIENT_KEY"),
    certificate("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"),
    Checked {
        name: "OTEL_SDK_DISABLED",
        is_valid: |value| ["true", "false"].contains(&&*value.to_ascii_lowercase()),
        advice: "give true or false",
    },
    Checked {
        name: "OTEL_TRACES_EXPORTER",
        is_valid: |value| ["otlp", "none"].contains(&value),
        advice: "give otlp or none",
    },
    Checked {
        name: "OTEL_TRACES_SAMPLER",
        is_valid: |value| {
            let sampler = value.strip_prefix("parentbased_").unwrap_or(value);
            ["always_on", "always_off", "traceidratio"].contains(&sampler)
        },
        advice: "give always_on, always_off or traceidratio, or one of them with parentbased_ before it",
    },
    Checked {
        name: "OTEL_TRACES_SAMPLER_ARG",
        is_valid: |value| {
            value
                .parse()
                .is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio))
        },
        advice: "give a number from 0 to 1",
    },
];

const fn number(name: &'static str) -> Checked {
    Checked {
        name,
        is_valid: |value| value.parse::<u32>().is_ok(),
        advice: "give a number, without a unit and without spaces",
    }
}

const fn pairs(name: &'static str) -> Checked {
    Checked {
        name,
        is_valid: |value| {
            let mut pairs = value.trim().split_terminator(',');
            pairs.all(|pair| {
                pair.split_once('=')
                    .is_some_and(|(name, _)| !name.is_empty())
            })
        },
        advice: "give NAME=VALUE, several of them separated by commas",
    }
}

const fn compression(name: &'static str) -> Checked {
    Checked {
        name,
        is_valid: |value| value == "none",
        advice: "spans are sent without compression; give none",
    }
}

const fn certificate(name: &'static str) -> Checked {
    Checked {
        name,
        is_valid: |_| false,
        advice: "the collector is verified by the system's root certificates, and is shown none",
    }
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
