//! The tests that need a real socket, a real database or another process. Run them with
//! `tests/run`, which finds or installs the programs they use.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod callers;
mod checker;
mod conformance;
mod crash;
mod end_to_end;
mod failover;
mod faults;
mod flood;
mod fuzz;
mod hot_path;
mod kubernetes;
mod leases;
mod limits;
mod metrics;
mod monitoring;
mod operating;
mod other_ports;
mod pages;
mod postgres;
mod postgres_address;
mod postgres_outage;
mod postgres_tls;
mod production;
mod recorder;
mod revocation;
mod rolling_restart;
mod secrets;
mod settings;
mod strangers;
mod tls;
mod tour;
mod traces;
mod without_message;
