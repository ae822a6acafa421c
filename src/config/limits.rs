//! Owns the limits on what clients may take of this process.
//! Promises a bound on everything that a client could otherwise make grow.
//! Must never bound what a well-behaved client needs: each default says why it does not.

use super::duration;
use clap::Args;
use std::time::Duration;

/// The most that clients may take.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Connections that may be open at once. One more takes the place of a stranger's, the one held
    /// for longest: one on which no known caller has called yet (health does not count; without
    /// --credentials every other call does). Where all are known, it takes that of the one that has
    /// said nothing for longest, and is closed at once when all have spoken within a second. A gRPC
    /// client needs one or two. An idle one costs some 20 KiB, and one whose headers do not end up to
    /// 140 KiB.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTIONS", value_name = "COUNT", default_value = "4096", value_parser = count)]
    pub max_connections: usize,

    /// Calls that one connection may have in flight; a client's next one waits at the client. An
    /// Authorize takes microseconds, so these serve more than a client can ask for.
    #[arg(long, env = "KEYSERVICE_MAX_STREAMS", value_name = "COUNT", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_streams: u32,

    /// Calls in flight on all connections together, past which the connection with the most of them
    /// is closed: strangers' first, and one of a known caller only when no stranger has any. An
    /// Authorize takes microseconds; what adds up is a Watch of health for each connection, and calls
    /// that their client does not go on with, which cost some 10 KiB each.
    #[arg(long, env = "KEYSERVICE_MAX_CALLS", value_name = "COUNT", default_value = "8192", value_parser = count)]
    pub max_calls: usize,

    /// Size of a request's message, past which it is `RESOURCE_EXHAUSTED`. An Authorize fits into
    /// 1 KiB, and a Create with every field at its longest into this.
    #[arg(long, env = "KEYSERVICE_MAX_MESSAGE_SIZE", value_name = "BYTES", default_value = "4096", value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub max_message_size: u32,

    /// Size of a request's metadata, past which it is `RESOURCE_EXHAUSTED`: each field's name, its
    /// value and 32 bytes more, as HTTP/2 counts. A bearer secret, a trace context and what proxies
    /// add come to less than 2 KiB. Clients are told of 56 KiB more as HTTP/2's own limit; past that
    /// a call fails as its client has it (often `UNKNOWN`), is counted nowhere, and may cost it its
    /// connection.
    #[arg(long, env = "KEYSERVICE_MAX_HEADER_SIZE", value_name = "BYTES", default_value = "8192", value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub max_header_size: u32,

    /// How long a client may take from connecting to HTTP/2's first bytes, TLS included. It takes
    /// a few round trips; a connection that says nothing would hold a place for ever.
    #[arg(long, env = "KEYSERVICE_HANDSHAKE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub handshake_timeout: Duration,

    /// How often a client is asked whether it is still there. Often enough to be rid of vanished
    /// ones within a minute, and to keep firewalls from forgetting the connection.
    #[arg(long, env = "KEYSERVICE_KEEPALIVE_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub keepalive_interval: Duration,

    /// How long it may take to answer that. A client at work answers in one round trip.
    #[arg(long, env = "KEYSERVICE_KEEPALIVE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub keepalive_timeout: Duration,

    /// Age at which a connection is told to end (GOAWAY), so that gRPC clients look for new
    /// replicas and spread over them, and show a current certificate. Connecting anew takes
    /// milliseconds, and no call fails of it.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTION_AGE", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub max_connection_age: Duration,

    /// How long a connection may last beyond that age for its calls in flight. The slowest, a
    /// Revoke, may wait for one lease.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTION_AGE_GRACE", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub max_connection_age_grace: Duration,

    /// Creates, Lists and Revokes in flight at once, past which they are `RESOURCE_EXHAUSTED`.
    /// Writes queue behind one another in the store, at a few milliseconds each: these are about a
    /// second's worth, and callers hear of an overload while they still wait.
    #[arg(long, env = "KEYSERVICE_MAX_ADMIN_CALLS", value_name = "COUNT", default_value = "256", value_parser = count)]
    pub max_admin_calls: usize,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("must be from 1 to 1000000".to_owned()),
    }
}
