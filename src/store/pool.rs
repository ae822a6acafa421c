//! How busy a store's connections are, and what waits for cleaning in its database.

/// A database that a store reaches through a pool of connections for calls.
pub trait ConnectionPool: Send + Sync + 'static {
    /// The pool, as it is now.
    fn pool_status(&self) -> PoolStatus;

    /// How many dead rows the table of leases held lately: rows that renewals have replaced, and that a
    /// transaction which never ends keeps from being removed.
    fn dead_lease_rows(&self) -> u64;
}

/// A pool of connections, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections that are established and not in use.
    pub idle: usize,
    /// Connections in use.
    pub in_use: usize,
    /// The most connections that there may be.
    pub max: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
}
