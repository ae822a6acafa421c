//! Owns every setting: its name, its default and the reason for it.
//! Promises that each is a flag and an environment variable, and that the flag wins.
//! Must never hold a password or a secret in a way that `--help` or `Debug` prints.

mod audit;
mod callers;
mod limits;
mod store;

use crate::model::time::LeaseTerm;
pub use audit::{AuditFormat, AuditSettings};
pub use callers::{CallerSettings, CredentialCommand, NewCredential, Unprotected};
use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::Resettable,
};
pub use limits::Limits;
use std::{
    env,
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
pub use store::{StoreAddress, StoreSetting};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    version,
    about = "The API-key service of a mail platform: create, list, revoke and authorize keys over gRPC",
    after_help = "Start with `keyservice serve`, then `grpcurl -plaintext localhost:50051 list`."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line of this process, or ends it with what is right.
    #[must_use]
    pub fn read() -> Self {
        let command = Self::command()
            .mut_subcommands(|subcommand| subcommand.mut_args(without_empty_variable));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// An empty variable counts as unset: compose files and unit files leave one where they were given
/// no value.
fn without_empty_variable(setting: clap::Arg) -> clap::Arg {
    let variable = setting.get_env().and_then(env::var_os);
    if variable.is_some_and(|value| value.is_empty()) {
        setting.env(Resettable::Reset)
    } else {
        setting
    }
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the gRPC API until SIGTERM or SIGINT.
    #[command(after_help = SERVE_HELP)]
    Serve(Box<Settings>),
    /// Print who did what: the record of every Create, List and Revoke, refused ones too.
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditSettings),
    /// Make the credentials of callers.
    #[command(subcommand)]
    Credential(CredentialCommand),
}

const AUDIT_HELP: &str = "\
The store is only read, beside a service that runs. Records come in the order of
time, the newest last. One that stands for several calls, of a caller that was
refused too often to record each, has the time of the first and their number.";

const SERVE_HELP: &str = "\
Traces are exported over OTLP (gRPC) when OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set; the other standard OTEL_ variables,
such as OTEL_SERVICE_NAME and OTEL_TRACES_SAMPLER, have their usual meaning.

The first SIGTERM or SIGINT reports NOT_SERVING, lets calls in flight finish and
exits with 0; a second one exits at once.";

/// Every setting of `keyservice serve`.
#[derive(Debug, Args)]
pub struct Settings {
    /// Address to serve on. The default is reached from this machine alone; any other needs TLS and
    /// credentials.
    #[arg(
        long,
        env = "KEYSERVICE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:50051",
        value_parser = listen_address
    )]
    pub listen: SocketAddr,

    /// Address to serve health on, and nothing else, in plain text: for the probes of Kubernetes,
    /// which speak no TLS. [default: none]
    #[arg(long, env = "KEYSERVICE_HEALTH_LISTEN", value_name = "ADDRESS:PORT")]
    pub health_listen: Option<SocketAddr>,

    /// Address to serve metrics on, for Prometheus: `GET /metrics`, and nothing else, in plain text.
    /// Port 9464 is the custom. They tell of no key, account or token. [default: none]
    #[arg(long, env = "KEYSERVICE_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Whether to answer reflection, by which tools such as grpcurl learn the API; it tells nothing
    /// but that. Any caller that is known may ask.
    #[arg(long, env = "KEYSERVICE_REFLECTION", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub reflection: bool,

    /// Who may call.
    #[command(flatten)]
    pub callers: CallerSettings,

    /// What clients may take.
    #[command(flatten)]
    pub limits: Limits,

    /// Where keys are stored.
    #[command(flatten)]
    pub store: StoreSetting,

    /// File with a secret (at least 32 bytes) that keys the digests of tokens, so that a stolen
    /// database alone proves nothing about any token. Choose before the first key: it cannot be
    /// changed later. Without one the digests are plain BLAKE3 of 256 random bits.
    #[arg(long, env = "KEYSERVICE_DIGEST_SECRET_FILE", value_name = "FILE")]
    pub digest_secret_file: Option<PathBuf>,

    /// How long calls in flight may take to finish at shutdown. Less than Kubernetes' 30 s to
    /// SIGKILL.
    #[arg(long, env = "KEYSERVICE_DRAIN_LIMIT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_limit: Duration,

    /// PostgreSQL: how long a replica may answer from memory without hearing from the database, or
    /// rather nine tenths of it. A longer one rides out longer outages of the database; a shorter
    /// one lets Create and Revoke wait less, once, for a replica that was killed or cut off.
    #[arg(long, env = "KEYSERVICE_LEASE", value_name = "DURATION", default_value = "2s", value_parser = lease)]
    pub lease: Duration,

    /// PostgreSQL: how often the lease is renewed. Also how soon another replica's write arrives
    /// when notifications are lost. [default: a quarter of --lease]
    #[arg(long, env = "KEYSERVICE_RENEWAL_INTERVAL", value_name = "DURATION", value_parser = duration)]
    pub renewal_interval: Option<Duration>,

    /// PostgreSQL: connections in the pool. Writes queue behind one another in the database, so
    /// more would only wait there. Three more serve the lease and the notifications.
    #[arg(long, env = "KEYSERVICE_POOL_SIZE", value_name = "COUNT", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub pool_size: u16,

    /// PostgreSQL: limit on establishing a connection. A database in reach takes milliseconds. The
    /// hosts of an address share it, so that one that is silent leaves time for the next.
    #[arg(long, env = "KEYSERVICE_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub connect_timeout: Duration,

    /// PostgreSQL: limit on waiting for a connection of the pool, so that callers hear of an
    /// overload while they still wait.
    #[arg(long, env = "KEYSERVICE_ACQUIRE_TIMEOUT", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub acquire_timeout: Duration,

    /// PostgreSQL: limit on one statement. They take milliseconds; a wait behind other writers'
    /// commits may take longer.
    #[arg(long, env = "KEYSERVICE_STATEMENT_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub statement_timeout: Duration,

    /// What to log: a level (error, warn, info, debug, trace), or directives such as
    /// `info,keyservice=debug`. Never is a token among it, for which what h2 and tonic would log of
    /// headers below info is left out.
    #[arg(
        long,
        env = "KEYSERVICE_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// How to log: `auto` is for people on a terminal and JSON otherwise.
    #[arg(
        long,
        env = "KEYSERVICE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto"
    )]
    pub log_format: LogFormat,
}

/// How logs are written, always to standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// A line for people.
    Human,
    /// A JSON object a line.
    Json,
}

/// When and for how long leases are taken: values that fit one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSettings {
    /// How long each lease lasts.
    pub term: LeaseTerm,
    /// From one renewal to the next.
    pub renewal_interval: Duration,
}

/// `--lease` and `--renewal-interval` do not fit one another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "--renewal-interval {} is more than 0.45 × --lease {term}: one late renewal would let the lease \
     lapse, which may be used for 0.9 × --lease; give at most {}, or a longer --lease",
    humantime::format_duration(*renewal_interval),
    humantime::format_duration(term.usable() / 2)
)]
pub struct LeaseSettingsError {
    term: LeaseTerm,
    renewal_interval: Duration,
}

impl Settings {
    /// The lease's settings, if they fit one another.
    pub fn lease_settings(&self) -> Result<LeaseSettings, LeaseSettingsError> {
        let term = LeaseTerm::new(self.lease);
        let renewal_interval = self.renewal_interval.unwrap_or(term.length() / 4);
        if renewal_interval > term.usable() / 2 {
            return Err(LeaseSettingsError {
                term,
                renewal_interval,
            });
        }
        Ok(LeaseSettings {
            term,
            renewal_interval,
        })
    }
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "give an IP address and a port, such as 127.0.0.1:50051 or [::1]:50051".to_owned()
    })
}

/// Shorter leases would lapse whenever a process is not scheduled for a moment; longer ones would
/// hold up writers for minutes.
fn lease(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let limits = Duration::from_millis(200)..=Duration::from_secs(60);
    if limits.contains(&length) {
        Ok(length)
    } else {
        Err("must be from 200ms to 60s".to_owned())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; give a number with a unit, such as 500ms or 20s"))?;
    let limits = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    if limits.contains(&duration) {
        Ok(duration)
    } else {
        Err("must be from 1ms to 24h".to_owned())
    }
}

/// A digest secret shorter than this could be guessed.
const MIN_SECRET_LEN: usize = 32;

/// No secret is longer than this; a device would be read without end.
const MAX_SECRET_FILE_LEN: u64 = 64 * 1024;

/// The file with the digest secret is no good.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// It could not be read.
    #[error("--digest-secret-file {0}: {1}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// It is too short to be a secret.
    #[error(
        "--digest-secret-file {0} holds fewer than 32 bytes; make one with `openssl rand -hex 32`"
    )]
    TooShort(PathBuf),
    /// It is too long to be a secret.
    #[error(
        "--digest-secret-file {0} holds more than 64 KiB; give the file that holds the secret alone"
    )]
    TooLong(PathBuf),
}

/// Reads the digest secret. White space at its end does not count, since editors add it.
pub fn read_digest_secret(path: &Path) -> Result<Vec<u8>, SecretFileError> {
    let unreadable = |error| SecretFileError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    let mut secret = Vec::new();
    let read = file.take(MAX_SECRET_FILE_LEN + 1).read_to_end(&mut secret);
    if read.map_err(unreadable)? as u64 > MAX_SECRET_FILE_LEN {
        return Err(SecretFileError::TooLong(path.to_owned()));
    }
    secret.truncate(secret.trim_ascii_end().len());
    if secret.len() < MIN_SECRET_LEN {
        return Err(SecretFileError::TooShort(path.to_owned()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_renewal_interval_fits_the_lease_or_is_refused_by_both_their_names() {
        let settings = |arguments: &[&str]| {
            let arguments = ["keyservice", "serve"].iter().chain(arguments);
            let Command::Serve(settings) =
                Cli::try_parse_from(arguments).expect("well formed").command
            else {
                unreachable!("it is serve");
            };
            settings.lease_settings()
        };
        let millis = Duration::from_millis;
        let interval =
            |settings: Result<LeaseSettings, _>| settings.expect("fits").renewal_interval;
        assert_eq!(interval(settings(&[])), millis(500));
        assert_eq!(interval(settings(&["--lease", "10s"])), millis(2500));
        assert_eq!(
            interval(settings(&["--renewal-interval", "900ms"])),
            millis(900)
        );
        let refused = settings(&["--renewal-interval", "901ms"]).expect_err("does not fit");
        let refused = refused.to_string();
        assert!(refused.contains("--renewal-interval 901ms"), "{refused}");
        assert!(refused.contains("--lease 2s"), "{refused}");
        assert!(refused.contains("at most 900ms"), "{refused}");
        assert!(lease("100ms").is_err() && lease("61s").is_err());
    }

    #[test]
    fn an_address_to_listen_on_is_an_ip_address_and_a_port() {
        assert!(listen_address("[::1]:50051").is_ok());
        for wrong in ["localhost:50051", "127.0.0.1", ":50051", ""] {
            let advice = listen_address(wrong).expect_err("wrong");
            assert!(advice.contains("127.0.0.1:50051 or [::1]:50051"));
        }
    }

    #[test]
    fn a_duration_needs_a_unit_and_a_sensible_size() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert!(duration("20").is_err());
        assert!(duration("0s").is_err());
        assert!(duration("2days").is_err());
    }
}
