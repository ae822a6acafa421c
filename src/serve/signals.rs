//! The meaning of SIGTERM and SIGINT.
//!
//! Promises that the first one asks the process to end, and that a second one ends it.
//! Must never leave a signal to the system, which would end the process with calls in flight.

use signal_hook::flag;
use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the process exits with at a second signal.
const CUT_OFF: i32 = 1;

/// A token that the first signal cancels. A second signal ends the process at once, whatever it is busy
/// with.
pub(crate) fn asked_to_end() -> io::Result<CancellationToken> {
    let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
    let is_asked = Arc::new(AtomicBool::new(false));
    for kind in [terminate, interrupt] {
        // The handlers of a signal run in this order, on whatever thread the system interrupts. So the
        // process ends even if every thread hangs.
        flag::register_conditional_shutdown(kind.as_raw_value(), CUT_OFF, is_asked.clone())?;
        flag::register(kind.as_raw_value(), is_asked.clone())?;
    }
    let (mut terminate, mut interrupt) = (signal(terminate)?, signal(interrupt)?);
    let first = CancellationToken::new();
    let asked = first.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        first.cancel();
    });
    Ok(asked)
}
