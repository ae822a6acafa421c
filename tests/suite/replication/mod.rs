//! Several replicas on one database: when a write returns, every replica decides by it.

mod bursts;
mod checker;
mod failover;
mod faults;
mod leases;
mod lost_history;
mod lost_key_changes;
mod notifications;
mod retention;
mod revocation;
mod uses;
