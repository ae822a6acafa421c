//! Where the settings of a connection come from, for a person who is told that one of them is wrong.

use super::{context::Context, credential::SECRET_VARIABLE};
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
    /// Nothing. Then the service of this machine is called.
    Default,
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

    /// The same of the context that was named, if a variable named it: the person may not know it.
    pub(super) fn of_unseen_context(name: &str) -> Option<Self> {
        let origin = Self::of_context(name);
        matches!(origin, Self::Context(_, Some(_))).then_some(origin)
    }
}

/// What goes before the current context of this name, as a person is told who has just chosen it.
pub(super) fn variables_before(name: &str) -> Vec<String> {
    const VARIABLES: [(&str, &str); 2] = [
        ("--server", "KEYSERVICE_SERVER"),
        ("--context", "KEYSERVICE_CONTEXT"),
    ];
    let value = |variable: &str| env::var(variable).unwrap_or_default();
    let set = VARIABLES
        .into_iter()
        .filter(|(flag, variable)| is_from_variable(flag, variable));
    set.filter(|(_, variable)| value(variable) != name)
        .map(|(_, variable)| {
            let value = value(variable);
            format!(
                "the variable {variable} ({value}) goes before it: unset {variable} to use {name}"
            )
        })
        .collect()
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
            Self::Default => f.write_str("the default"),
        }
    }
}

/// The service that a command calls, for a person who is asked or told something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) server: String,
    pub(super) origin: Origin,
}

impl Place {
    /// Adds this to an error, if the person may not know it.
    pub(super) fn explain(&self, error: String) -> String {
        let Self { server, origin } = self;
        match origin {
            Origin::Flag => error,
            Origin::Default => format!("{error}; the connection is the default, {server}"),
            Origin::Variable(_) => {
                format!("{error}; the connection is that of {origin}, {server}")
            }
            _ => format!("{error}; the connection is that of {origin}"),
        }
    }
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
