//! The client libraries against real replicas. `clients/README.md` says what they promise, and
//! `clients/DRIVER.md` how they are run.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "../support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::process::Command;
use support::{certificates::Authority, mount::Mount};

mod answers;
mod credentials;
mod false_server;
mod faults;
mod repeated;

/// The options of a client in plain text, on these ports of this machine.
fn plaintext(ports: &[u16]) -> Value {
    json!({"addresses": addresses(ports), "plaintext": true})
}

fn addresses(ports: &[u16]) -> Vec<String> {
    let ports = ports.iter();
    ports.map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Makes a server use TLS, and know its clients, by these files: `cert`, `key` and `callers`.
fn use_tls(serve: &mut Command, authority: &Authority, files: &Mount) {
    serve.arg("--tls-client-ca").arg(authority.path());
    for (flag, name) in [
        ("--tls-cert", "cert"),
        ("--tls-key", "key"),
        ("--credentials", "callers"),
    ] {
        serve.arg(flag).arg(files.path(name));
    }
}

/// The test of faults has the machine for itself, since its calls have 200 ms each. The others share it.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());
