//! The `keyservice` binary: runs a command and reports how it ended.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyservice::cli::run()
}
