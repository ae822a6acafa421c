//! The `keyservice` binary: reads the command line, runs the command, reports how it ended.

use keyservice::{
    callers::secret::Secret,
    cli::audit,
    config::{Cli, Command, CredentialCommand, Settings},
    observe::telemetry::Telemetry,
    serve,
};
use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let ran = match Cli::read().command {
        Command::Serve(settings) => run(&settings),
        Command::Audit(settings) => audit::print(&settings).map_err(Into::into),
        Command::Credential(CredentialCommand::New(new)) => {
            let secret = Secret::generate(&mut rand::rng());
            io::stdout()
                .write_all(new.shown_with(&secret).as_bytes())
                .map_err(Into::into)
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyservice: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What still hangs in the system when all is done, such as the read of a file on a network.
const HANG_LIMIT: Duration = Duration::from_secs(1);

fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let ran = runtime.block_on(serve_and_flush(settings));
    runtime.shutdown_timeout(HANG_LIMIT);
    ran
}

async fn serve_and_flush(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(settings)?;
    let served = serve::serve(settings).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}
