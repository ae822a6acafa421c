//! Variables of the environment that look like settings of this program, and are none.
//!
//! `serve` must never refuse one. Kubernetes gives a container variables for each Service beside it, so those of a
//! Service that is called `keyservice` begin as this program's own. A release must also start with the variables of the
//! next one, in case of a rollback. A command that calls a service refuses a misspelt variable of its connection: the
//! call would go to another service, or come from another caller.
//!
//! Must never show a value, which may be a secret.

use super::client::{CONNECTION, SECRET_VARIABLE};
use clap::builder::Resettable;
use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    fmt::{self, Display},
};

/// How each variable of this program begins.
const PREFIX: &str = "KEYSERVICE_";

/// How similar two names must be, from 0 to 1, for one to be the other misspelt.
pub(super) const SIMILAR: f64 = 0.8;

/// The longest name that is shown. No name of ours is so long, and a longer one may be anything.
const MAX_LEN: usize = 60;

/// Without one of these, the service would be open to more people, or work with another store, or a command would
/// call as another caller, or a service that it has not verified.
const NEVER_EMPTY: [&str; 11] = [
    "ca",
    "client_cert",
    "client_key",
    "secret_file",
    "credentials",
    "tls_cert",
    "tls_key",
    "tls_client_ca",
    "tls_client_crl",
    "digest_secret_file",
    "store",
];

/// An empty variable counts as unset. Compose files and unit files leave one empty when they are given
/// no value. If that matters to security, the start is refused.
pub(super) fn ignore_empty_variable(setting: clap::Arg) -> clap::Arg {
    if NEVER_EMPTY.contains(&setting.get_id().as_str()) {
        return setting;
    }
    let variable = setting.get_env().and_then(env::var_os);
    if variable.is_some_and(|value| value.is_empty()) {
        setting.env(Resettable::Reset)
    } else {
        setting
    }
}

/// Whether the value of a flag is that of its variable.
pub(super) fn is_from_variable(flag: &str, variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty()) && !is_given(flag)
}

/// Whether a flag is given to this process.
pub(super) fn is_given(flag: &str) -> bool {
    let words: Vec<_> = env::args_os().skip(1).collect();
    is_among(flag, words.iter().filter_map(|word| word.to_str()))
}

/// Whether a flag is among these words of a command line.
pub(super) fn is_among<'a>(flag: &str, mut words: impl Iterator<Item = &'a str>) -> bool {
    words.any(|word| word.split('=').next() == Some(flag))
}

/// A variable that no command reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownVariable {
    name: String,
    meant: Option<String>,
    is_of_connection: bool,
}

impl UnknownVariable {
    /// Whether it was meant to describe the connection of a command.
    pub(super) fn is_of_connection(&self) -> bool {
        self.is_of_connection
    }
}

impl Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no command reads the variable {}", self.name)?;
        match &self.meant {
            Some(meant) => write!(f, "; was {meant} meant?"),
            None => Ok(()),
        }
    }
}

/// Finds them in this process's environment.
pub(super) fn unknown(command: &clap::Command) -> Vec<UnknownVariable> {
    let known = known(command);
    let mut unknown: Vec<_> = env::vars_os()
        .filter_map(|(name, value)| judge(name.to_str()?, &value, &known))
        .collect();
    unknown.sort_by(|one, other| one.name.cmp(&other.name));
    unknown
}

/// The variables of this program, and whether each describes the connection of a command.
fn known(command: &clap::Command) -> BTreeMap<String, bool> {
    // It has no flag.
    let mut known = BTreeMap::from([(SECRET_VARIABLE.to_owned(), true)]);
    add_known(command, &mut known);
    known
}

fn add_known(command: &clap::Command, known: &mut BTreeMap<String, bool>) {
    for argument in command.get_arguments() {
        let is_of_connection = argument.get_help_heading() == Some(CONNECTION);
        let name = argument
            .get_env()
            .map(|name| name.to_string_lossy().into_owned());
        known.extend(name.map(|name| (name, is_of_connection)));
    }
    for command in command.get_subcommands() {
        add_known(command, known);
    }
}

fn judge(name: &str, value: &OsStr, known: &BTreeMap<String, bool>) -> Option<UnknownVariable> {
    let own = name.strip_prefix(PREFIX)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.len() > MAX_LEN || !own.bytes().all(is_plain) {
        return None;
    }
    if known.contains_key(name) || is_of_service(own, value) {
        return None;
    }
    let similar = known.iter().filter_map(|(known, is_of_connection)| {
        let similarity = strsim::jaro(own, known.strip_prefix(PREFIX)?);
        (similarity > SIMILAR).then_some((similarity, (known, *is_of_connection)))
    });
    let nearest = similar.max_by(|(one, _), (other, _)| one.total_cmp(other));
    let nearest = nearest.map(|(_, known)| known);
    Some(UnknownVariable {
        name: name.to_owned(),
        meant: nearest.map(|(known, _)| known.clone()),
        is_of_connection: nearest.is_some_and(|(_, is_of_connection)| is_of_connection),
    })
}

/// Whether Kubernetes or Docker has made it for a Service whose name begins with `keyservice`: `SERVICE_HOST`,
/// `SERVICE_PORT`, `SERVICE_PORT_GRPC`, `PORT`, `PORT_50051_TCP`, `PORT_50051_TCP_ADDR`, and the same behind the rest
/// of the Service's name.
fn is_of_service(own: &str, value: &OsStr) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let is_address = || {
        let value = value.to_string_lossy();
        let scheme = value.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| PROTOCOLS.contains(&scheme))
    };
    let own = format!("_{own}");
    own.ends_with("_SERVICE_HOST")
        || own.ends_with("_SERVICE_PORT")
        || own.contains("_SERVICE_PORT_")
        || own.ends_with("_PORT") && is_address()
        || own.match_indices("_PORT_").any(|(at, port)| {
            let mut rest = own[at + port.len()..].split('_');
            let number = rest.next().and_then(|number| number.parse::<u16>().ok());
            let protocol = rest.next().unwrap_or_default().to_ascii_lowercase();
            number.is_some() && PROTOCOLS.contains(&protocol.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn judged(name: &str, value: &str) -> Option<String> {
        let known = known(&Cli::command());
        judge(name, OsStr::new(value), &known).map(|unknown| unknown.to_string())
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_one_that_was_meant() {
        for (misspelt, meant) in [
            ("KEYSERVICE_LISTN", "KEYSERVICE_LISTEN"),
            ("KEYSERVICE_RETENTON", "KEYSERVICE_RETENTION"),
            ("KEYSERVICE_TLS_CLIENT_CAS", "KEYSERVICE_TLS_CLIENT_CA"),
            ("KEYSERVICE_CREDENTIAL", "KEYSERVICE_CREDENTIALS"),
            ("KEYSERVICE_MAX_CONECTIONS", "KEYSERVICE_MAX_CONNECTIONS"),
            ("KEYSERVICE_listen", ""),
            ("KEYSERVICE_ZZZ", ""),
            // Somebody meant an address to listen at.
            ("KEYSERVICE_PORT", ""),
        ] {
            let said = judged(misspelt, "50051").expect(misspelt);
            assert!(said.contains(misspelt), "{said}");
            assert_eq!(said.contains("meant?"), !meant.is_empty(), "{said}");
            assert!(said.contains(meant), "{said}");
        }
    }

    #[test]
    fn a_variable_that_was_meant_to_describe_the_connection_is_told_from_others() {
        let known = known(&Cli::command());
        for (misspelt, is_of_connection) in [
            ("KEYSERVICE_SERVR", true),
            ("KEYSERVICE_CONTEXTS", true),
            ("KEYSERVICE_SECRT", true),
            ("KEYSERVICE_PLAIN_TEXT", true),
            ("KEYSERVICE_LISTN", false),
            ("KEYSERVICE_CREDENTIAL", false),
            ("KEYSERVICE_ZZZ", false),
        ] {
            let unknown = judge(misspelt, OsStr::new("a"), &known).expect(misspelt);
            assert_eq!(unknown.is_of_connection(), is_of_connection, "{misspelt}");
        }
    }

    #[test]
    fn nothing_is_said_of_a_known_variable_or_one_that_kubernetes_makes() {
        for (name, value) in [
            ("KEYSERVICE_LISTEN", "127.0.0.1:50051"),
            ("KEYSERVICE_SECRET", "tsop_…"),
            ("KEYSERVICE_CONTEXT", "production"),
            ("KEYSERVICE_SERVICE_HOST", "10.0.0.1"),
            ("KEYSERVICE_SERVICE_PORT", "50051"),
            ("KEYSERVICE_SERVICE_PORT_GRPC", "50051"),
            ("KEYSERVICE_PORT", "tcp://10.0.0.1:50051"),
            ("KEYSERVICE_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
            ("KEYSERVICE_PORT_50051_TCP_PROTO", "tcp"),
            ("KEYSERVICE_PORT_50051_TCP_PORT", "50051"),
            ("KEYSERVICE_PORT_50051_TCP_ADDR", "10.0.0.1"),
            ("KEYSERVICE_METRICS_SERVICE_HOST", "10.0.0.1"),
            ("KEYSERVICE_METRICS_PORT", "udp://10.0.0.1:9464"),
            ("KEYSERVICE_METRICS_PORT_9464_UDP_ADDR", "10.0.0.1"),
            ("KEYSERVICE", "1"),
            ("OTHER_LISTN", "1"),
        ] {
            assert_eq!(judged(name, value), None, "{name}");
        }
    }
}
