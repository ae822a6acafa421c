//! The metrics that Prometheus scrapes.

mod page;
mod port;
