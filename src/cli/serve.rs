//! `keyservice serve`: runs the service until a signal ends it.

use super::{
    shown_password::{PASSWORD_IN_ARGUMENTS, stands_in_arguments},
    variables::UnknownVariable,
};
use crate::{
    config::Settings,
    observe::telemetry::Telemetry,
    serve::{prepare_signals, serve},
};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::runtime::{Builder, Handle};

/// How long the process waits at its end for what hangs in the system, such as the read of a file on a
/// network.
const HANG_LIMIT: Duration = Duration::from_secs(1);

/// The threads on which the process works for itself. It renews its lease and reads changes, which
/// takes little. It needs them when the threads for clients are busy: the system then gives each thread
/// its turn, whereas a runtime lets the lease wait behind every connection.
const OWN_THREADS: usize = 2;

/// Runs the service, and sends the last traces.
pub(super) fn run(
    settings: Arc<Settings>,
    unknown: &[UnknownVariable],
) -> Result<(), Box<dyn Error>> {
    prepare_signals()?;
    let own = Builder::new_multi_thread()
        .worker_threads(OWN_THREADS)
        .thread_name("own")
        .enable_all()
        .build()?;
    let for_clients = Builder::new_multi_thread()
        .thread_name("clients")
        .enable_all()
        .build()?;
    let served = own.block_on(serve_and_flush(settings, unknown, for_clients.handle()));
    for_clients.shutdown_background();
    own.shutdown_timeout(HANG_LIMIT);
    served
}

async fn serve_and_flush(
    settings: Arc<Settings>,
    unknown: &[UnknownVariable],
    for_clients: &Handle,
) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(&settings.logs)?;
    if stands_in_arguments(&settings.store.address) {
        tracing::warn!("{PASSWORD_IN_ARGUMENTS}");
    }
    for unknown in unknown {
        tracing::warn!("{unknown}");
    }
    let served = serve(settings, for_clients).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}
