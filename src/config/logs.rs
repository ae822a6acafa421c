//! The settings of logs.

use clap::{Args, ValueEnum};

/// What is logged, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// What to log: a level (error, warn, info, debug, trace), or directives such as
    /// `info,keyservice=debug`. Tokens are never logged. Below `info`, libraries
    /// log what clients and the database send. h2 and rustls also warn of what any client does. So their
    /// levels are capped. After a restore, `keyservice replay` needs the lines of `info`.
    #[arg(
        id = "log",
        long = "log",
        env = "KEYSERVICE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub filter: String,

    /// How to log: `auto` is `human` on a terminal and `json` elsewhere. `keyservice replay` reads `json` alone.
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "KEYSERVICE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub format: LogFormat,
}

/// How logs are written, always to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `human` on a terminal, `json` elsewhere.
    Auto,
    /// A line for people.
    Human,
    /// A JSON object a line.
    Json,
}
