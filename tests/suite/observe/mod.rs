//! Logs and traces.

mod logs;
mod printable;
mod traces;
mod unread_log;
