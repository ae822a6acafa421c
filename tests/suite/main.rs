//! Tests that need a real socket, a real database or another process, grouped by the folders of
//! `src/`. Run them with `tests/run`, which finds or installs the programs that they use.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod audit;
mod authorize;
mod callers;
mod cli;
mod config;
mod deploy;
mod docs;
mod fuzz;
mod grpc;
mod metrics;
mod net;
mod observe;
mod replay;
mod replication;
mod serve;
mod small_inputs;
mod store;
