//! Every setting of `keyservice serve`, in one struct.
//!
//! Owns each setting's name, its default and the reason for the default.
//! Promises that each is a flag and an environment variable, and that the flag wins.
//! Must never read a file or decide what settings mean together: that is `serve`'s work. Must never
//! hold a password or a secret where `--help` or `Debug` prints it. Must never repeat a value in an error.

mod callers;
mod domains;
mod duration;
mod hidden;
mod limits;
mod logs;
mod postgres;
mod store;

pub use callers::CallerSettings;
use clap::{ArgAction, Args, Command, FromArgMatches};
pub use domains::VerifiedDomains;
pub(crate) use duration::duration;
use duration::{delay, retention};
pub use hidden::Hidden;
pub use limits::ClientLimits;
pub use logs::{LogFormat, LogSettings};
pub use postgres::PostgresSettings;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
pub use store::{StoreAddress, StoreSetting, StoreStartSettings};

/// Every setting of `keyservice serve`.
#[derive(Debug, Args)]
pub struct Settings {
    /// Address to serve on. Only this machine reaches the default. Any other address needs TLS and
    /// credentials.
    #[arg(
        long,
        env = "KEYSERVICE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:50051",
        value_parser = listen_address
    )]
    pub listen: SocketAddr,

    /// Address to serve health on, and nothing else, in plain text. The probes of Kubernetes speak no
    /// TLS. [default: none]
    #[arg(long, env = "KEYSERVICE_HEALTH_LISTEN", value_name = "ADDRESS:PORT")]
    pub health_listen: Option<SocketAddr>,

    /// Address to serve `GET /metrics` on for Prometheus, and nothing else, in plain text. The usual port
    /// is 9464. Metrics name no key, account or token. [default: none]
    #[arg(long, env = "KEYSERVICE_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Whether to answer gRPC reflection, from which tools such as grpcurl learn the API. It shows
    /// nothing else. Every authenticated caller may ask.
    #[arg(long, env = "KEYSERVICE_REFLECTION", value_name = "BOOL", default_value = "true", action = ArgAction::Set)]
    pub reflection: bool,

    /// Who may call.
    #[command(flatten)]
    pub callers: CallerSettings,

    /// What clients may use.
    #[command(flatten)]
    pub limits: ClientLimits,

    /// Where keys are stored.
    #[command(flatten)]
    pub store: StoreSetting,

    /// What a start does if it finds no store.
    #[command(flatten)]
    pub store_start: StoreStartSettings,

    /// File with a secret of at least 32 bytes that keys the digests of tokens. With it, a stolen
    /// database alone proves nothing about any token. Choose before you create the first key: it cannot
    /// be changed later. Without it the digests are plain BLAKE3 of 256 random bits.
    #[arg(long, env = "KEYSERVICE_DIGEST_SECRET_FILE", value_name = "FILE")]
    pub digest_secret_file: Option<PathBuf>,

    /// Whether a key is granted only for domains that are verified for its account. Otherwise a key for
    /// all domains could send in the name of anybody. With `off`, the list of verified domains is kept
    /// but not asked: while a platform that has keys already fills it, or where another service checks
    /// domains. Give every replica the same.
    #[arg(
        long,
        env = "KEYSERVICE_VERIFIED_DOMAINS",
        value_name = "RULE",
        default_value = "required"
    )]
    pub verified_domains: VerifiedDomains,

    /// How long a key is kept after it was revoked or has expired. Then it leaves the store and memory,
    /// and its token is unknown. Its audit records stay. At least a day, and longer than the age of any
    /// backup that you would restore: a key that a backup still has is granted again if it was forgotten
    /// since. By default, keys are kept for ever, because only you know for how long you must tell what
    /// became of one. Where keys are rotated daily, `90days` keeps the store small.
    #[arg(long, env = "KEYSERVICE_RETENTION", value_name = "DURATION", value_parser = retention)]
    pub retention: Option<Duration>,

    /// How many keys an account may have that are neither revoked nor expired. One more is
    /// `RESOURCE_EXHAUSTED`. An account that has more keeps them. The default is far more than people can look
    /// after, so that a program that goes wrong is stopped before it fills the memory of every replica. Give
    /// every replica the same.
    #[arg(long, env = "KEYSERVICE_MAX_KEYS_PER_ACCOUNT", value_name = "COUNT", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub max_keys_per_account: u32,

    /// How many writes that wait at the same time share one commit at most. Each is answered for itself, and if
    /// one fails, the others stand. The default lets a burst of writes take a few commits, which take some 10 ms
    /// each. With 1, each write has its own commit.
    #[arg(long, env = "KEYSERVICE_WRITES_PER_COMMIT", value_name = "COUNT", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub writes_per_commit: u16,

    /// How long the process serves on after SIGTERM, while its health is `NOT_SERVING`. Within this time,
    /// who asks for its health now and then turns away, such as Kubernetes, a load balancer or DNS, and no call
    /// fails. SIGINT, which a terminal sends, does not wait for it.
    #[arg(long, env = "KEYSERVICE_SHUTDOWN_DELAY", value_name = "DURATION", default_value = "5s", value_parser = delay)]
    pub shutdown_delay: Duration,

    /// How long calls in flight may take to finish after that. The default is, together with the default delay,
    /// shorter than the 30 s after which Kubernetes sends SIGKILL.
    #[arg(long, env = "KEYSERVICE_DRAIN_LIMIT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_limit: Duration,

    /// What concerns PostgreSQL alone.
    #[command(flatten)]
    pub postgres: PostgresSettings,

    /// What is logged.
    #[command(flatten)]
    pub logs: LogSettings,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "give an IP address and a port, such as 127.0.0.1:50051 or [::1]:50051".to_owned()
    })
}

impl Settings {
    /// The settings that `keyservice serve` takes from these arguments and from the environment.
    ///
    /// # Errors
    /// A wrong argument or variable, with what is right.
    pub fn parse_from(arguments: &[&str]) -> Result<Self, clap::Error> {
        let command = Self::augment_args(Command::new("serve"));
        let arguments = ["serve"].iter().chain(arguments);
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_on_is_an_ip_address_and_a_port() {
        assert!(listen_address("[::1]:50051").is_ok());
        for wrong in ["localhost:50051", "127.0.0.1", ":50051", ""] {
            let advice = listen_address(wrong).expect_err("wrong");
            assert!(advice.contains("127.0.0.1:50051 or [::1]:50051"));
        }
    }
}
