//! Asks [KeyService](https://github.com/tosend/keyservice) whether an API key may send for a domain, and manages
//! the keys.
//!
//! ```no_run
//! use std::time::Duration;
//! use tosend_keyservice::{Client, Decision, Error, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::open(Options::new(["keys.example.org:50051"]).secret_file("secret"))?;
//! client.wait_until_ready(Duration::from_secs(10)).await?;
//! match client.authorize("tsend_…", "mail.example.com").await {
//!     Ok(Decision::Allowed(allowed)) => println!("send, for {}", allowed.account_id),
//!     Ok(Decision::Denied(denied)) => println!("401 or 403: {}", denied.reason),
//!     Err(Error::Unavailable(error)) => println!("503: {error}"),
//!     Err(Error::Misused(error)) => println!("400 if the domain is the user's and wrong, or else 503: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A call asks replica after replica within its deadline, and keeps no answer. `clients/README.md` of the service
//! describes what it does, and how each end is to be answered.
//!
//! The library records the metrics that `clients/README.md` lists, with the OpenTelemetry meter provider that is set when a
//! client is opened. It logs by `tracing`: at `warn` that a changed file cannot be used, and at `debug` that a replica
//! has become ready or is not ready any more.

mod admin;
mod answer;
mod call;
mod client;
mod credentials;
mod error;
mod foreign;
mod metrics;
mod options;
mod pool;
mod replica;
mod stream;

/// The messages of the admin calls, generated from the service's protos. They print no token.
pub mod proto {
    #![allow(clippy::pedantic, missing_docs)]
    include!("generated/tosend.keys.v1.rs");

    pub use prost_types::{Duration, FieldMask, Timestamp};
}

pub use admin::Admin;
pub use answer::{Allowed, Decision, DenialReason, Denied, Scope};
pub use client::Client;
pub use error::{AdminError, Attempt, Error, Misused, Refused, Unavailable, code_name};
pub use options::Options;
pub use tonic::Code;

/// Its examples are tested.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
