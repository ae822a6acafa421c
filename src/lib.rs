//! KeyService: the API-key service of a mail platform.
//!
//! `ARCHITECTURE.md` leads through these modules; each begins with what it owns, what it promises
//! and what it must never do.

pub mod audit;
pub mod audit_command;
pub mod caller;
pub mod decision;
pub mod domain;
pub mod follower;
pub mod grpc;
pub mod key;
pub mod keyring;
pub mod lease;
pub mod listener;
pub mod metrics;
pub mod recorder;
pub mod reload;
pub mod replicas;
pub mod serve;
pub mod settings;
mod signals;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod token;
