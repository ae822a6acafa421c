//! The `keyservice` binary: reads the command line, runs the command, reports how it ended.

use keyservice::{
    serve,
    settings::{Cli, Command, Settings},
    telemetry::Telemetry,
};
use std::{error::Error, process::ExitCode};

fn main() -> ExitCode {
    let Command::Serve(settings) = Cli::read().command;
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyservice: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(settings)?;
    let served = serve::serve(settings).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}
