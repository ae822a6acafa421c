//! Connections: how they are accepted, encrypted, and admitted within limits.

pub mod accept;
pub mod admission;
pub mod connection;
pub mod connection_counts;
pub mod open_files;
pub mod reload;
pub mod tls;
