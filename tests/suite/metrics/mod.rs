//! Metrics, as Prometheus reads them.

mod page;
mod port;
