//! The limits on what clients may use of this process.
//!
//! Promises a bound on everything that a client could otherwise make grow, and a default that no
//! well-behaved client reaches: each says why.

use super::duration::duration;
use clap::Args;
use std::time::Duration;

/// The most that clients may use.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct ClientLimits {
    /// Connections that may be open at once. When all slots are taken, a new connection evicts the
    /// oldest unauthenticated one. A connection is unauthenticated until an authenticated caller calls
    /// on it. Calls to health do not authenticate it. Without --credentials, every other call does. A
    /// sixteenth of the slots is reserved for unauthenticated connections. If callers have taken more
    /// than the rest, the caller with the most connections loses the one that has made no call for
    /// longest. If each has only one, the new connection is closed unless one has been idle for a
    /// second. A gRPC client needs one or two connections. An idle one costs some 20 KiB, and a
    /// hostile one up to 400 KiB.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTIONS", value_name = "COUNT", default_value = "4096", value_parser = count)]
    pub max_connections: usize,

    /// Calls that one connection may have in flight. The client itself holds the next one back. An
    /// Authorize takes microseconds, so the default serves more than a client can ask for.
    #[arg(long, env = "KEYSERVICE_MAX_STREAMS", value_name = "COUNT", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_streams: u32,

    /// Calls in flight on all connections together. Above it, unauthenticated connections are evicted if
    /// together they have more than a sixteenth of the calls. Otherwise the caller with the most calls
    /// loses its connection with the most. An Authorize takes microseconds. Only health watches, and
    /// calls that their client abandons, stay in flight for long. Such a call costs up to 40 KiB.
    #[arg(long, env = "KEYSERVICE_MAX_CALLS", value_name = "COUNT", default_value = "8192", value_parser = count)]
    pub max_calls: usize,

    /// Size of a request's message. A larger one is `RESOURCE_EXHAUSTED`. An Authorize fits into 1 KiB,
    /// and a Create with every field at its longest into the default. More than the default is for Check
    /// alone, whose messages hold the bodies of HTTP requests. At most 1 MiB, which is less than tonic's own limit.
    #[arg(long, env = "KEYSERVICE_MAX_MESSAGE_SIZE", value_name = "BYTES", default_value = "8192", value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub max_message_size: u32,

    /// Size of a request's metadata, as HTTP/2 counts it: each field's name, its value and 32 bytes
    /// more. Larger metadata is `RESOURCE_EXHAUSTED`. A bearer secret, a trace context and what proxies
    /// add come to less than 2 KiB. HTTP/2's own limit is 56 KiB higher. Beyond that a call fails as its
    /// client reports it (often `UNKNOWN`), is not counted, and may cost the client its connection.
    #[arg(long, env = "KEYSERVICE_MAX_HEADER_SIZE", value_name = "BYTES", default_value = "8192", value_parser = clap::value_parser!(u32).range(1024..=1_048_576))]
    pub max_header_size: u32,

    /// How long a client may take from connecting to HTTP/2's first bytes, TLS included. That takes a
    /// few round trips. A connection that says nothing would hold its slot forever.
    #[arg(long, env = "KEYSERVICE_HANDSHAKE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub handshake_timeout: Duration,

    /// How long a client may take from a call's headers to its whole message; for a stream of reflection, to
    /// its first message; on `AuthorizeStream`, from a question's first byte to its last. A later one is
    /// `CANCELLED`. Clients send both at once, so the default allows for
    /// packets that are lost. Without a limit, calls that nobody finishes would add up.
    #[arg(long, env = "KEYSERVICE_MESSAGE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub message_timeout: Duration,

    /// How long a client may need to take the answer to an admin call. Until then the answer stays
    /// in memory, up to 1 MiB for a List of 1000 keys, and the call keeps its slot of --max-admin-calls.
    /// After that, the server closes the connection: nothing else frees the part of the answer that
    /// HTTP/2 holds. It does the same when a client takes no answers on an `AuthorizeStream` for a few seconds more
    /// than this. A call to reflection, which may have any number of answers, ends after this time.
    /// The default lets a slow line take a page of a List.
    #[arg(long, env = "KEYSERVICE_ANSWER_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub answer_timeout: Duration,

    /// How often the server pings a client (HTTP/2 PING). The default finds a vanished client within a
    /// minute, and keeps firewalls from forgetting the connection.
    #[arg(long, env = "KEYSERVICE_KEEPALIVE_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub keepalive_interval: Duration,

    /// How long a client may take to answer such a ping, which needs one round trip, and how long it
    /// may take nothing of what the server writes.
    #[arg(long, env = "KEYSERVICE_KEEPALIVE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub keepalive_timeout: Duration,

    /// Age at which the server asks a connection to end (GOAWAY). gRPC clients then connect anew, spread
    /// over new replicas, and present a current certificate. Connecting takes milliseconds, and no call
    /// fails because of it.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTION_AGE", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub max_connection_age: Duration,

    /// How long a connection may last beyond that age to finish its calls in flight. The slowest call,
    /// a write, may wait for one lease.
    #[arg(long, env = "KEYSERVICE_MAX_CONNECTION_AGE_GRACE", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub max_connection_age_grace: Duration,

    /// Admin calls, which are all but Authorize, `AuthorizeStream` and Check, in flight at once, until their clients have taken the
    /// answers. One more is `RESOURCE_EXHAUSTED`. Each caller has its share, and three eighths are kept
    /// for `Revoke` and `RemoveDomain`, for admins of all accounts and for callers without a call in flight.
    /// Writes queue behind one another in the store, at a few milliseconds each. The default is about a
    /// second's worth, so callers hear of an overload while they still wait.
    #[arg(long, env = "KEYSERVICE_MAX_ADMIN_CALLS", value_name = "COUNT", default_value = "256", value_parser = count)]
    pub max_admin_calls: usize,
}

fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("must be from 1 to 1000000".to_owned()),
    }
}
