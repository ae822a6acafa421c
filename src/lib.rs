//! KeyService: the API-key service of a mail platform.
//!
//! `ARCHITECTURE.md` leads through these modules; each begins with what it owns, what it promises
//! and what it must never do.

pub(crate) mod app;
pub mod audit;
pub mod authorize;
pub mod callers;
pub mod cli;
pub mod config;
pub(crate) mod file_access;
pub mod grpc;
pub(crate) mod metrics;
pub mod model;
pub(crate) mod named_file;
pub(crate) mod net;
pub(crate) mod observe;
pub(crate) mod pem;
pub mod replay;
pub mod replication;
pub(crate) mod serve;
pub mod store;
pub(crate) mod system_calls;
pub(crate) mod tls_faults;
