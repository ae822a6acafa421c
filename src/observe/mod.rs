//! What a process tells of itself: counters, histograms, traces and logs.

pub mod call_counts;
pub mod histogram;
pub mod telemetry;
