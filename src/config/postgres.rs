//! The settings that concern PostgreSQL alone: the lease, and the connections.

use super::duration::duration;
use clap::Args;
use std::time::Duration;

/// The lease of a replica, and its connections to the database.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "PostgreSQL")]
pub struct PostgresSettings {
    /// How long a replica's lease lasts. A replica that hears nothing from the database answers from
    /// memory for nine tenths of it. A longer lease survives longer outages of the database. A shorter
    /// one lets writes wait less, once, for a replica that was killed or cut off.
    #[arg(long, env = "KEYSERVICE_LEASE", value_name = "DURATION", default_value = "2s", value_parser = lease)]
    pub lease: Duration,

    /// How often the lease is renewed. Another replica's write arrives within this time even when
    /// notifications are lost. [default: a quarter of --lease]
    #[arg(long, env = "KEYSERVICE_RENEWAL_INTERVAL", value_name = "DURATION", value_parser = duration)]
    pub renewal_interval: Option<Duration>,

    /// Connections in the pool. Writes queue behind one another in the database, so more connections
    /// would only wait there. Three further connections serve the lease and the notifications.
    #[arg(long, env = "KEYSERVICE_POOL_SIZE", value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pool_size: u16,

    /// Limit on establishing a connection. A database in reach takes milliseconds. The hosts of an
    /// address share the limit, so that a silent one leaves time for the next.
    #[arg(long, env = "KEYSERVICE_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub connect_timeout: Duration,

    /// Limit on waiting for a connection of the pool. Callers hear of an overload while they still
    /// wait.
    #[arg(long, env = "KEYSERVICE_ACQUIRE_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub acquire_timeout: Duration,

    /// Limit on one statement. Statements take milliseconds, but one may wait behind the commits of
    /// other writers.
    #[arg(long, env = "KEYSERVICE_STATEMENT_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub statement_timeout: Duration,
}

/// A shorter lease would lapse whenever the process is not scheduled for a moment. A longer one would
/// hold up writers for minutes.
fn lease(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let limits = Duration::from_millis(200)..=Duration::from_secs(60);
    if limits.contains(&length) {
        Ok(length)
    } else {
        Err("must be from 200ms to 60s".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_neither_too_short_nor_too_long() {
        assert!(lease("200ms").is_ok() && lease("60s").is_ok());
        assert!(lease("199ms").is_err() && lease("61s").is_err());
    }
}
