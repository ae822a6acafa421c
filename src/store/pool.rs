//! How busy a store's connections are.

/// A store's pool of connections for calls.
pub trait ConnectionPool: Send + Sync + 'static {
    /// The pool, as it is now.
    fn pool_status(&self) -> PoolStatus;
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
