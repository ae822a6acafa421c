//! The meaning of signals.
//!
//! Promises that the first SIGTERM or SIGINT asks the process to end, and that a second one ends it. Only
//! SIGTERM comes from programs, which others watch while they end it.
//! Promises that no other signal that people send to daemons ends it, nor one that the system sends because of a
//! read or a write.
//! Must never leave a signal to the system, which would end the process with calls in flight.

use crate::{observe::repeated_line::RepeatedLine, system_calls::Signals};
use signal_hook::{consts, flag};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What the process exits with at a second signal.
const CUT_OFF: i32 = 1;

/// What the process waits for. Whoever starts it may have blocked them, and a process inherits that.
const AWAITED: [i32; 5] = [
    consts::SIGTERM,
    consts::SIGINT,
    consts::SIGHUP,
    consts::SIGUSR1,
    consts::SIGUSR2,
];

/// The signals by which the system answers a read or a write. SIGXFSZ comes if a file has reached the limit of its
/// size (`RLIMIT_FSIZE`), and would end the process. SIGTTIN and SIGTTOU come if the terminal belongs to another
/// job, and would stop it. While they are blocked, the read or the write returns, and the code that made it handles
/// the result. Rust ignores SIGPIPE.
const OF_INPUT_AND_OUTPUT: [i32; 3] = [libc::SIGXFSZ, consts::SIGTTIN, consts::SIGTTOU];

/// Sets which signals are blocked. Call it before there are more threads, which inherit that.
pub(super) fn prepare() -> io::Result<()> {
    Signals::Taken.set(&AWAITED)?;
    Signals::Blocked.set(&OF_INPUT_AND_OUTPUT)
}

/// The line about a signal that means nothing here. Others of the same user may send any number.
static IGNORED: RepeatedLine = RepeatedLine::new();

/// Says of each such signal that it does nothing. By default, the system would end the process.
fn ignore(mut signals: Signal, name: &'static str) {
    tokio::spawn(async move {
        while signals.recv().await.is_some() {
            if let Some(left_out) = IGNORED.admit(Instant::now()) {
                tracing::warn!(
                    left_out,
                    "{name} is ignored: files of callers and certificates are read again by themselves, \
                     and other settings count at a start"
                );
            }
        }
    });
}

/// Whether the process is asked to end.
pub(super) struct End {
    asked: CancellationToken,
    is_by_hand: Arc<AtomicBool>,
}

impl End {
    /// Ready when it is.
    pub(super) async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Whether the signal was SIGINT, which a terminal sends.
    pub(super) fn is_by_hand(&self) -> bool {
        self.is_by_hand.load(Relaxed)
    }
}

/// Tells of the first signal. A second one ends the process at once, whatever it is busy with.
pub(super) fn asked_to_end() -> io::Result<End> {
    let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
    let is_asked = Arc::new(AtomicBool::new(false));
    for kind in [terminate, interrupt] {
        // The handlers of a signal run in this order, on whatever thread the system interrupts. So the
        // process ends even if every thread hangs.
        flag::register_conditional_shutdown(kind.as_raw_value(), CUT_OFF, is_asked.clone())?;
        flag::register(kind.as_raw_value(), is_asked.clone())?;
    }
    for (kind, name) in [
        (SignalKind::hangup(), "SIGHUP"),
        (SignalKind::user_defined1(), "SIGUSR1"),
        (SignalKind::user_defined2(), "SIGUSR2"),
    ] {
        ignore(signal(kind)?, name);
    }
    let (mut terminate, mut interrupt) = (signal(terminate)?, signal(interrupt)?);
    let end = End {
        asked: CancellationToken::new(),
        is_by_hand: Arc::default(),
    };
    let (asked, is_by_hand) = (end.asked.clone(), end.is_by_hand.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => is_by_hand.store(true, Relaxed),
        }
        asked.cancel();
    });
    Ok(end)
}
