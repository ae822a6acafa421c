//! `keyservice contexts`: the services that a person works with, by name.

use super::{
    arguments::text,
    connection::Connection,
    failure::Failure,
    origin::Credential,
    printer::{Lines, print, print_with, say},
    with_client,
};
use crate::cli::output::{OutputFormat, Table};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::time::Duration;
use tosend_keyservice::{
    AdminError, Client, Code,
    proto::{GetRequest, get_request::Target},
};

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
    /// To find out whether the caller may work on keys, it asks for one that does not exist. The service keeps an
    /// audit record of that, as of every such call, with the outcome `NOT_FOUND` or `PERMISSION_DENIED`.
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
                let context = self.connection.flags().clone();
                if context.server.is_none() {
                    let missing = "a context needs a server; say which by --server".to_owned();
                    return Err(Failure::Misused(missing));
                }
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
                }
                for (setting, file) in context.missing_files() {
                    let file = file.display();
                    say(&format!("keyservice: {setting}: {file} does not exist"));
                }
                Ok(())
            }
            Action::Use { name } => {
                self.connection
                    .change_contexts(false, |contexts| contexts.make_current(name))?;
                say(&format!("The current context is {name} now."));
                Ok(())
            }
            Action::Remove { name } => {
                self.connection
                    .change_contexts(false, |contexts| contexts.remove(name))?;
                say(&format!("Removed the context {name}."));
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
        with_client(&connection, async |client| {
            // It fails at once where nobody listens, whereas to wait until a replica is ready takes all the time.
            let role = role(client).await?;
            let ready_within = READY_WITHIN.min(connection.timeout());
            client.wait_until_ready(ready_within).await?;
            let server = connection.server();
            let shown = json!({
                "server": server,
                "ready": true,
                "tls": has_tls,
                "credential": credential.as_ref().map(in_json),
                "role": role,
            });
            let text = || {
                let mut lines = Lines::default();
                lines.add("Server", &server);
                lines.add("Ready", "yes");
                lines.add("TLS", if has_tls { "yes" } else { "no" });
                lines.add("Credential", in_words(credential.as_ref()));
                lines.add("Role", role);
                lines.into_text()
            };
            print(self.format, text, || shown.to_string())
        })
    }

    fn list(&self) -> Result<(), Failure> {
        let contexts = self.connection.contexts()?;
        print_with(|mut output| {
            if self.format.is_table() {
                let mut table = Table::new(["CURRENT", "NAME", "SERVER", "TLS", "CREDENTIAL"]);
                for (name, context, is_current) in contexts.all() {
                    let mark = if is_current { "*" } else { "" };
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
                    "tls": !context.plaintext,
                    "credential": Credential::of(context).as_ref().map(in_json),
                });
                writeln!(output, "{line}")?;
            }
            Ok(())
        })
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

/// A key that was never made.
const NO_KEY: &str = "key_00000000000000000000000000";

/// What the caller may do, found out by calls that change nothing.
async fn role(client: &Client) -> Result<&'static str, Failure> {
    let request = GetRequest {
        target: Some(Target::KeyId(NO_KEY.to_owned())),
        account_id: None,
    };
    match client.admin().get(request).await {
        Err(AdminError::Misused(error)) if error.code() == Some(Code::PermissionDenied) => {
            // Fails if the caller may not even ask this.
            client.authorize("", "example.com").await.map(drop)?;
            Ok("authorizer")
        }
        Ok(_) => Ok("admin"),
        Err(AdminError::Refused(error)) if error.code == Code::NotFound => Ok("admin"),
        Err(error) => Err(error.into()),
    }
}
