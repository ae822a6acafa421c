//! The meaning of SIGTERM and SIGINT.
//!
//! Promises that the first one asks the process to end, and that a second one ends it.
//! Must never leave a signal to the system, which would end the process with calls in flight.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels. A second signal ends the process at once, whatever it is busy
/// with.
pub(crate) fn asked_to_end() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let first = CancellationToken::new();
    let asked = first.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        first.cancel();
        next().await;
        tracing::warn!("a second signal: what is in flight is cut off");
        std::process::exit(1);
    });
    Ok(asked)
}
