//! The `keyservice` binary: reads the command line, runs the command, reports how it ended.

use keyservice::{
    audit_command,
    caller::secret::Secret,
    serve,
    settings::{Cli, Command, CredentialCommand, Settings},
    telemetry::Telemetry,
};
use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let ran = match Cli::read().command {
        Command::Serve(settings) => run(&settings),
        Command::Audit(settings) => audit_command::print(&settings).map_err(Into::into),
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

#[tokio::main]
async fn run(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let telemetry = Telemetry::start(settings)?;
    let served = serve::serve(settings).await;
    tokio::task::spawn_blocking(|| telemetry.flush()).await?;
    Ok(served?)
}
