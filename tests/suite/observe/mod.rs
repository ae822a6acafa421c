//! Logs and traces.

mod logs;
mod traces;
mod unread_log;
