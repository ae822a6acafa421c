//! The variables that the exporter reads itself, and what it makes of them.
//!
//! Must never repeat a value: a header may hold a password.

use super::{endpoint, is_encrypted, tls};
use std::env;

/// Logs which variables the exporter ignores, because it does not understand their values, and which files others
/// may read or change. The exporter's own warnings come before there is a log, and repeat the values.
pub(in crate::observe) fn warn() {
    for variable in &CHECKED {
        let value = env::var_os(variable.name).filter(|value| !value.is_empty());
        if value.is_some_and(|value| !value.to_str().is_some_and(variable.is_valid)) {
            tracing::warn!("{} is ignored: {}", variable.name, variable.advice);
        }
    }
    if endpoint().is_some_and(|(_, endpoint)| is_encrypted(&endpoint)) {
        tls::files().for_each(|file| file.warn_of_others());
        return;
    }
    for name in tls::VARIABLES.into_iter().flatten() {
        if env::var_os(name).is_some_and(|value| !value.is_empty()) {
            tracing::warn!("{name} is ignored: the endpoint is not https://");
        }
    }
}

/// A variable whose value is ignored if it is not valid.
struct Checked {
    name: &'static str,
    is_valid: fn(&str) -> bool,
    advice: &'static str,
}

const CHECKED: [Checked; 20] = [
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
    insecure("OTEL_EXPORTER_OTLP_INSECURE"),
    insecure("OTEL_EXPORTER_OTLP_TRACES_INSECURE"),
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
        is_valid: |value| ["gzip", "none"].contains(&&*value.to_ascii_lowercase()),
        advice: "give gzip or none",
    }
}

const fn insecure(name: &'static str) -> Checked {
    Checked {
        name,
        is_valid: |_| false,
        advice: "the endpoint's http:// or https:// decides",
    }
}
