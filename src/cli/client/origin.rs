//! Where the settings of a connection come from, for a person who is told that one of them is wrong.

use super::{connection::SECRET_VARIABLE, context::Context};
use crate::cli::variables::is_from_variable;
use std::{env, fmt};

/// What says which service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A flag of this command, which the person sees.
    Flag,
    /// A variable of this name.
    Variable(&'static str),
    /// The context of this name. The variable has chosen it, if one is named.
    Context(String, Option<&'static str>),
    /// The file's current context, of this name.
    CurrentContext(String),
    /// Nothing.
    Nobody,
}

impl Origin {
    /// Of the server, if it was given.
    pub(super) fn of_server() -> Self {
        if is_from_variable("--server", "KEYSERVICE_SERVER") {
            Self::Variable("KEYSERVICE_SERVER")
        } else {
            Self::Flag
        }
    }

    /// Of the context that was named.
    pub(super) fn of_context(name: &str) -> Self {
        const VARIABLE: &str = "KEYSERVICE_CONTEXT";
        let is_its = env::var_os(VARIABLE).is_some_and(|value| value == name);
        let variable = (is_its && is_from_variable("--context", VARIABLE)).then_some(VARIABLE);
        Self::Context(name.to_owned(), variable)
    }

    /// Adds this to an error, if the person may not know it.
    pub(super) fn explain(&self, error: String) -> String {
        match self {
            Self::Flag | Self::Nobody => error,
            _ => format!("{error}; the connection is that of {self}"),
        }
    }
}

/// The variables that say something else of the connection than the context that is used.
fn changing_variables() -> Vec<&'static str> {
    const VARIABLES: [(&str, &str); 6] = [
        ("--plaintext", "KEYSERVICE_PLAINTEXT"),
        ("--ca", "KEYSERVICE_CA"),
        ("--server-name", "KEYSERVICE_SERVER_NAME"),
        ("--client-cert", "KEYSERVICE_CLIENT_CERT"),
        ("--secret-file", "KEYSERVICE_SECRET_FILE"),
        ("--secret-file", SECRET_VARIABLE),
    ];
    let says_no = |variable: &str| {
        let value = env::var(variable).unwrap_or_default();
        let no = ["n", "no", "f", "false", "off", "0"];
        variable == VARIABLES[0].1 && no.contains(&&*value.to_lowercase())
    };
    let variables = VARIABLES.into_iter();
    let set = variables.filter(|(flag, variable)| is_from_variable(flag, variable));
    let set = set.map(|(_, variable)| variable);
    set.filter(|variable| !says_no(variable)).collect()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)?;
        if let Self::Context(..) | Self::CurrentContext(_) = self
            && let variables = changing_variables()
            && !variables.is_empty()
        {
            write!(f, ", changed by {}", variables.join(", "))?;
        }
        Ok(())
    }
}

impl Origin {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("--server"),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Context(name, None) => write!(f, "the context {name}"),
            Self::Context(name, Some(variable)) => {
                write!(f, "the context {name}, which {variable} names")
            }
            Self::CurrentContext(name) => write!(f, "the current context, {name}"),
            Self::Nobody => f.write_str("no setting"),
        }
    }
}

/// The service that a command calls, for a person who is asked or told something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) server: String,
    pub(super) origin: Origin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Context(name, _) | Origin::CurrentContext(name) => {
                write!(f, "{name} ({})", self.server)
            }
            _ => f.write_str(&self.server),
        }
    }
}

/// How not to call in plain text any more.
pub(super) fn without_plaintext(flags: &Context) -> &'static str {
    if !flags.plaintext {
        "take `plaintext` out of the context"
    } else if is_from_variable("--plaintext", "KEYSERVICE_PLAINTEXT") {
        "unset KEYSERVICE_PLAINTEXT"
    } else {
        "leave out --plaintext"
    }
}

/// What tells the service who calls, and where it is. It is never shown itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) kind: &'static str,
    /// A file, or a variable.
    pub(super) place: String,
}

impl Credential {
    /// The one of a context.
    pub(super) fn of(context: &Context) -> Option<Self> {
        let (kind, file) = match (&context.secret_file, &context.client_cert) {
            // Only the secret counts, even if there is also a certificate.
            (Some(file), _) => ("secret", file),
            (None, Some(file)) => ("certificate", file),
            (None, None) => return None,
        };
        let place = file.display().to_string();
        Some(Self { kind, place })
    }

    pub(super) fn of_variable() -> Self {
        Self {
            kind: "secret",
            place: SECRET_VARIABLE.to_owned(),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.kind, self.place)
    }
}
