//! The `keyservice` binary: runs a command and reports how it ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    match keyservice::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyservice: {error}");
            ExitCode::FAILURE
        }
    }
}
