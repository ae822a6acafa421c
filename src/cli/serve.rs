//! `keyservice serve`: runs the service until a signal ends it.

use crate::{config::Settings, observe::telemetry::Telemetry, serve::serve};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::runtime::Runtime;

/// How long the process waits at its end for what hangs in the system, such as the read of a file on a
/// network.
const HANG_LIMIT: Duration = Duration::from_secs(1);

/// Runs the service, and sends the last traces.
pub(super) fn run(settings: Arc<Settings>) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let served = runtime.block_on(serve_and_flush(settings));
    runtime.shutdown_timeout(HANG_LIMIT);
    served
}

async fn serve_and_flush(settings: Arc<Settings>) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(&settings.logs)?;
    let served = serve(settings).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}
