//! `keyservice contexts`: the services that a person works with, by name.

use super::{
    arguments::text,
    connection::Connection,
    contexts::Contexts,
    credential::{Credential, SECRET_VARIABLE},
    failure::Failure,
    origin::{Origin, Place, variables_before},
    printer::{Lines, print, print_with, say},
    rights::{Rights, accounts_in_words, rights},
    with_client,
};
use crate::cli::{
    output::{OutputFormat, Table},
    variables::is_given,
};
use clap::{Arg, Args, Subcommand};
use serde_json::{Value, json};
use std::{env, time::Duration};

/// What to do with contexts.
#[derive(Debug, Args)]
pub(in crate::cli) struct ContextsCommand {
    #[command(subcommand)]
    what: Action,

    #[command(flatten)]
    format: OutputFormat,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the contexts of the file.
    List,
    /// Connect, and say what works: the connection, TLS, who calls, and what this caller may do.
    ///
    /// To find out what the caller may do, it lists one key of all accounts. If that is not permitted, it asks for a
    /// key that does not exist. The service keeps an audit record of each, as of every such call. It has the caller's
    /// name, which the service tells no caller, as little as the accounts to which a caller is limited: both stand in
    /// the file of callers.
    Check {
        /// Its name. Without this, the connection is the one that every command uses.
        #[arg(value_parser = text)]
        name: Option<String>,
    },
    /// Add a context, or replace it, with the connection that the other flags and variables describe.
    Set {
        /// Its name.
        #[arg(value_parser = text)]
        name: String,
    },
    /// Use a context from now on.
    Use {
        /// Its name.
        #[arg(value_parser = text)]
        name: String,
    },
    /// Remove a context from the file.
    Remove {
        /// Its name.
        #[arg(value_parser = text)]
        name: String,
    },
}

impl ContextsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        match &self.what {
            Action::List => self.list(),
            Action::Check { name } => self.check(name.as_deref()),
            Action::Set { name } => {
                for flag in ["--timeout", "--context"] {
                    if is_given(flag) {
                        return Err(Failure::Misused(format!(
                            "{flag} cannot be part of a context: leave it out"
                        )));
                    }
                }
                let context = self.connection.described()?;
                let set = self
                    .connection
                    .change_contexts(true, |contexts| contexts.set(name, context.clone()))?;
                match set.replaced {
                    None => say(&format!("Set the context {name}.")),
                    Some(before) => say(&format!(
                        "Replaced the context {name}. It had: {}.",
                        before.described()
                    )),
                }
                if set.is_first {
                    say("It is the first one, so it is the current one from now on.");
                    say_what_goes_before(name);
                }
                if env::var_os(SECRET_VARIABLE).is_some() {
                    say(&format!(
                        "keyservice: the secret of the variable {SECRET_VARIABLE} is not part of it: a context names a \
                         file, by --secret-file"
                    ));
                }
                for (setting, file) in context.missing_files() {
                    let file = file.display();
                    say(&format!("keyservice: {setting}: {file} does not exist"));
                }
                Ok(())
            }
            Action::Use { name } => {
                refuse_connection("use")?;
                self.connection
                    .change_contexts(false, |contexts| contexts.make_current(name))?;
                say(&format!("The current context is {name} now."));
                say_what_goes_before(name);
                Ok(())
            }
            Action::Remove { name } => {
                refuse_connection("remove")?;
                let was_current = self
                    .connection
                    .change_contexts(false, |contexts| contexts.remove(name))?;
                say(&format!("Removed the context {name}."));
                if was_current {
                    say(
                        "It was the current one. None is now: choose one by `keyservice contexts use`.",
                    );
                }
                Ok(())
            }
        }
    }

    fn check(&self, name: Option<&str>) -> Result<(), Failure> {
        let connection = match name {
            Some(name) => self.connection.by_context(name)?,
            None => self.connection.clone(),
        };
        let (has_tls, credential) = (connection.is_encrypted()?, connection.credential()?);
        let origin = connection.origin();
        with_client(&connection, async |client| {
            // It fails at once where nobody listens, whereas to wait until a replica is ready takes all the time.
            let Rights { role, accounts } = rights(client).await?;
            let ready_within = READY_WITHIN.min(connection.timeout());
            client.wait_until_ready(ready_within).await?;
            let server = connection.server();
            let shown = json!({
                "server": server,
                "from": origin.to_string(),
                "ready": true,
                "tls": has_tls,
                "credential": credential.as_ref().map(in_json),
                "role": role,
                "accounts": accounts,
            });
            let text = || {
                let mut lines = Lines::default();
                lines.add("Server", &server);
                lines.add("From", &origin);
                lines.add("Ready", "yes");
                lines.add("TLS", if has_tls { "yes" } else { "no" });
                lines.add("Credential", in_words(credential.as_ref()));
                lines.add("Role", role);
                lines.add("Accounts", accounts_in_words(accounts));
                lines.into_text()
            };
            print(self.format, text, || shown.to_string())
        })
    }

    fn list(&self) -> Result<(), Failure> {
        let contexts = self.connection.contexts()?;
        let (used, said) = self.used(&contexts);
        let is_used = |name: &str| used.as_deref() == Some(name);
        print_with(|mut output| {
            if self.format.is_table() {
                let mut table = Table::new(["CURRENT", "NAME", "SERVER", "TLS", "CREDENTIAL"]);
                for (name, context, is_current) in contexts.all() {
                    let mark = match (is_current, is_used(name)) {
                        (true, true) => "*",
                        (true, false) => "* unused",
                        (false, true) => "used",
                        (false, false) => "",
                    };
                    let server = context.server.clone().unwrap_or_default();
                    let tls = if context.plaintext { "no" } else { "yes" };
                    let credential = in_words(Credential::of(context).as_ref());
                    table.add([mark, name, &server, tls, &credential].map(str::to_owned));
                }
                return table.print(&mut output);
            }
            for (name, context, is_current) in contexts.all() {
                let server = &context.server;
                let line = json!({
                    "name": name,
                    "server": server,
                    "current": is_current,
                    "used": is_used(name),
                    "tls": !context.plaintext,
                    "credential": Credential::of(context).as_ref().map(in_json),
                });
                writeln!(output, "{line}")?;
            }
            Ok(())
        })?;
        if let Some(said) = said {
            say(&format!("keyservice: {said}"));
        } else if self.format.is_table() && contexts.all().next().is_none() {
            say("There are no contexts yet: `keyservice contexts set` adds one.");
        }
        Ok(())
    }

    /// The context that commands use, and what a person is told who may expect another one.
    fn used(&self, contexts: &Contexts) -> (Option<String>, Option<String>) {
        if let Err(why) = self.connection.refuse_two_services() {
            return (None, Some(why.to_string()));
        }
        let Place { server, origin } = self.connection.place();
        match &origin {
            Origin::Flag | Origin::Variable(_) => (
                None,
                Some(format!(
                    "no context is used, because the server is that of {origin}, {server}"
                )),
            ),
            Origin::Default => {
                let nowhere = contexts.nowhere();
                let nowhere = nowhere
                    .map(|nowhere| format!("{nowhere}; commands call the default, {server}"));
                let none_is_current = contexts.current().err().map(|why| why.to_string());
                (None, nowhere.or(none_is_current))
            }
            Origin::Context(name, _) | Origin::CurrentContext(name) => match contexts.get(name) {
                Err(why) => (None, Some(why.to_string())),
                Ok(_) if contexts.current_name() == Some(name) => (Some(name.clone()), None),
                Ok(_) => {
                    let said = format!("commands use {origin}, and not the current context");
                    (Some(name.clone()), Some(said))
                }
            },
        }
    }
}

/// Refuses the flags that say which service to call. `--config` says which file is changed.
fn refuse_connection(command: &str) -> Result<(), Failure> {
    let described = Connection::augment_args(clap::Command::new("connection"));
    let flags = described.get_arguments().filter_map(Arg::get_long);
    let given = flags
        .filter(|flag| *flag != "config")
        .find(|flag| is_given(&format!("--{flag}")));
    match given {
        Some(flag) => Err(Failure::Misused(format!(
            "--{flag} is no part of `keyservice contexts {command}`, which calls no service and changes no context: \
             leave it out, or give it to `keyservice contexts set`"
        ))),
        None => Ok(()),
    }
}

/// Tells who has chosen this context that a variable chooses something else.
fn say_what_goes_before(name: &str) {
    for variable in variables_before(name) {
        say(&format!("keyservice: {variable}"));
    }
}

/// A replica that has answered a call soon says also that it is ready, if it is.
const READY_WITHIN: Duration = Duration::from_secs(2);

fn in_words(credential: Option<&Credential>) -> String {
    credential.map_or("none".to_owned(), ToString::to_string)
}

fn in_json(credential: &Credential) -> Value {
    json!({"kind": credential.kind, "place": credential.place})
}
