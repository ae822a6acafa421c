//! How operators see what the process does: counters, histograms, traces and logs.

pub(crate) mod call_counts;
pub(crate) mod histogram;
mod otlp;
pub(crate) mod repeated_line;
pub(crate) mod stderr;
pub(crate) mod telemetry;
