//! Several replicas on one database: every one follows every write by the time it returns.

mod checker;
mod failover;
mod faults;
mod leases;
mod notifications;
mod revocation;
