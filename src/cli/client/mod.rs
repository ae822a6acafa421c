//! The commands that call a running service, by the client library for Rust.
//!
//! Promises that standard output has what was asked for and nothing else, so that a script can take it: a
//! token alone where there is one. Everything else goes to standard error.

mod accounts;
mod advice;
mod arguments;
mod authorize;
mod confirm;
mod connection;
mod context;
mod contexts;
mod contexts_command;
mod credential;
mod domains;
mod failure;
mod keys;
mod mistaken_secret;
mod origin;
mod pages;
mod printer;
mod rights;
mod token_input;
mod trust;
mod words;

pub(super) use accounts::AccountsCommand;
pub(super) use arguments::{count_of_some, new_file_path, refuse_preview, secret_in, sentence};
pub(super) use authorize::AuthorizeCommand;
pub(super) use confirm::Consent;
pub(super) use connection::{CONNECTION, service_in_use};
pub(super) use contexts_command::ContextsCommand;
pub(super) use credential::SECRET_VARIABLE;
pub(super) use domains::DomainsCommand;
pub(super) use failure::{EXIT_CODES, Failure};
pub(super) use keys::KeysCommand;

use connection::Connection;
use std::time::Duration;
use tokio::{runtime, time::timeout};
use tosend_keyservice::Client;

/// How long a change that takes rights away waits for a look at what it changes.
const GLIMPSE: Duration = Duration::from_secs(1);

/// A look at what is going to be changed, which only serves to tell a person what the change was. A key must not stay
/// in use because nobody can look at it.
async fn glimpse<T>(look: impl Future<Output = Result<T, Failure>>) -> Option<T> {
    timeout(GLIMPSE, look).await.ok()?.ok()
}

/// Connects, and has `work` done.
fn with_client(
    connection: &Connection,
    work: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::Refused(format!("the system gives this process too little: {error}"))
    })?;
    let done = runtime.block_on(async {
        let client = connection.open()?;
        connection.look_up().await?;
        let done = work(&client).await;
        client.close().await;
        done
    });
    // A lookup of a name may hang, and nobody waits for it any more.
    runtime.shutdown_background();
    done.map_err(|failure| connection.explain(failure))
}
