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
    Admin, AdminError, Client, Code,
    proto::{GetRequest, ListRequest, get_request::Target},
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

/// What the caller may do.
struct Rights {
    role: &'static str,
    /// Whether that holds for all accounts. None if only an admin could find it out.
    accounts: Option<&'static str>,
}

fn accounts_in_words(accounts: Option<&str>) -> &'static str {
    match accounts {
        Some("all") => "all",
        Some(_) => "only some: the service's file of callers says which",
        None => "not known: the service tells only an admin whether they are all",
    }
}

/// Finds it out by calls that change nothing. No call tells it.
async fn rights(client: &Client) -> Result<Rights, Failure> {
    let admin = client.admin();
    if is_permitted(list_any(&admin).await)? {
        return Ok(Rights {
            role: "admin",
            accounts: Some("all"),
        });
    }
    if is_permitted(get_none(&admin).await)? {
        return Ok(Rights {
            role: "admin",
            accounts: Some("some"),
        });
    }
    // Fails if the caller may not even ask this.
    client.authorize("", "example.com").await.map(drop)?;
    Ok(Rights {
        role: "authorizer",
        accounts: None,
    })
}

/// Only a caller that is not limited to some accounts may make this call.
async fn list_any(admin: &Admin) -> Result<(), AdminError> {
    let request = ListRequest {
        all_accounts: true,
        page_size: 1,
        ..ListRequest::default()
    };
    admin.list(request).await.map(drop)
}

async fn get_none(admin: &Admin) -> Result<(), AdminError> {
    let request = GetRequest {
        target: Some(Target::KeyId(NO_KEY.to_owned())),
        account_id: None,
    };
    match admin.get(request).await {
        Err(AdminError::Refused(error)) if error.code == Code::NotFound => Ok(()),
        got => got.map(drop),
    }
}

fn is_permitted(called: Result<(), AdminError>) -> Result<bool, Failure> {
    match called {
        Ok(()) => Ok(true),
        Err(AdminError::Misused(error)) if error.code() == Some(Code::PermissionDenied) => {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}
