//! Connections: TLS, limits, and hostile clients.

mod admission;
mod flood;
mod health_port;
mod hostile_caller;
pub mod http2;
mod limits;
mod stalled_questions;
mod stalled_streams;
pub mod takes_nothing;
mod tls;
mod tls_failures;
mod unauthenticated;
mod unfinished_messages;
mod untaken_answers;

use crate::support::server::{Server, sqlite_in};
use std::time::Duration;
use tempfile::TempDir;

/// Far longer than the few hundred milliseconds that the server needs.
const SOON: Duration = Duration::from_secs(10);

async fn start(args: &[&str]) -> (Server, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start_with(&sqlite_in(&directory), args, &[]).await;
    (server, directory)
}
