//! What the audited calls of every service have in common, and above all the writes.
//!
//! Promises that a write that was begun is carried to its end, and that it is answered only once no
//! replica can answer Authorize without it.

use super::{audited_call::Closed, errors::unavailable};
use crate::{
    app::App,
    model::audit_record::AdminMethod,
    observe::{histogram::Histogram, repeated_line::RepeatedLine},
    replication::acknowledgement::Unacknowledged,
    store::Position,
};
use std::time::Instant;
use tokio_util::sync::DropGuard;
use tonic::Status;

/// Runs an audited call to its end, whether or not its caller waits for it. So the log and the record
/// tell of every write that was begun, and a call holds its slot for as long as the store works for it.
/// Only the wait for the replicas ends when the caller has gone, and the search of a List.
pub(super) async fn run_to_its_end<T: Send + 'static>(
    _caller: DropGuard,
    call: impl Future<Output = Closed<T>> + Send + 'static,
) -> Result<Closed<T>, Status> {
    let ended = tokio::spawn(call).await;
    ended.map_err(|_| Status::internal("the call was broken off; the service's log says why"))
}

/// Waits until no replica can answer without the write any more, and measures the wait.
pub(super) async fn wait_until_acknowledged(
    app: &App,
    method: AdminMethod,
    write: Position,
) -> Result<(), Unacknowledged> {
    let _measured = Measured {
        began: Instant::now(),
        waits: app.counts.write_waits.of(method),
    };
    app.acknowledgements.wait_until_acknowledged(write).await
}

/// A wait for the replicas. It counts however it ends, also when its caller goes before a replica that
/// is down is given up.
struct Measured<'a> {
    began: Instant,
    waits: &'a Histogram,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        self.waits.add(self.began.elapsed());
    }
}

/// What the caller of a change can do that not every replica is known to have applied.
pub(super) const CHANGE_AGAIN: &str =
    "call again, which waits until every replica decides by the change";

/// The line about writes that not every replica is known to have applied, of which every call may cause
/// one.
static UNACKNOWLEDGED: RepeatedLine = RepeatedLine::new();

/// The answer to a write that not every replica is known to have applied.
pub(super) fn unacknowledged(error: Unacknowledged, advice: &str) -> Status {
    if let Some(left_out) = UNACKNOWLEDGED.admit(Instant::now()) {
        tracing::warn!(left_out, "{error}");
    }
    unavailable("UNACKNOWLEDGED", format!("{error}; {advice}"))
}
