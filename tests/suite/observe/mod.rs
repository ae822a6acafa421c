//! Logs and traces.

mod exporter;
mod logs;
mod printable;
mod traces;
mod unread_log;
