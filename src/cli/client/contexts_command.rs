//! `keyservice contexts`: the services that a person works with, by name.

use super::{
    connection::Connection,
    failure::Failure,
    printer::{print_with, say},
};
use crate::cli::output::{OutputFormat, Table};
use clap::{Args, Subcommand};
use serde_json::json;

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
    /// Add a context, or replace it, with the connection that the other flags and variables describe.
    Set {
        /// Its name.
        name: String,
    },
    /// Use a context from now on.
    Use {
        /// Its name.
        name: String,
    },
    /// Remove a context from the file.
    Remove {
        /// Its name.
        name: String,
    },
}

impl ContextsCommand {
    pub(in crate::cli) fn run(&self) -> Result<(), Failure> {
        match &self.what {
            Action::List => self.list(),
            Action::Set { name } => {
                let context = self.connection.flags().clone();
                if context.server.is_none() {
                    let missing = "a context needs a server; say which by --server".to_owned();
                    return Err(Failure::Misused(missing));
                }
                self.connection
                    .change_contexts(true, |contexts| contexts.set(name, context))?;
                say(&format!("Set the context {name}."));
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

    fn list(&self) -> Result<(), Failure> {
        let contexts = self.connection.contexts()?;
        print_with(|mut output| {
            if self.format.is_table() {
                let mut table = Table::new(["CURRENT", "NAME", "SERVER"]);
                for (name, context, is_current) in contexts.all() {
                    let mark = if is_current { "*" } else { "" };
                    let server = context.server.clone().unwrap_or_default();
                    table.add([mark.to_owned(), name.to_owned(), server]);
                }
                return table.print(&mut output);
            }
            for (name, context, is_current) in contexts.all() {
                let server = &context.server;
                let line = json!({"name": name, "server": server, "current": is_current});
                writeln!(output, "{line}")?;
            }
            Ok(())
        })
    }
}
