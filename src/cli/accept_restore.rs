//! `keyservice accept-restore`: says that a restored store is to be served as it is.

use super::{
    client::{Consent, Failure},
    complain,
    named_store::NamedStore,
    output::{OutputFormat, is_broken_pipe, to_stdout},
};
use crate::{
    config::StoreAddress,
    model::{counted::counted, time::Timestamp},
    store::{OpenError, RestoredStore, postgres, sqlite},
};
use clap::Args;
use serde_json::json;
use std::io::{self, Write};
use tokio::runtime;

/// Which store.
#[derive(Debug, Args)]
pub(super) struct AcceptRestoreCommand {
    #[command(flatten)]
    store: NamedStore,

    #[command(flatten)]
    consent: Consent,

    #[command(flatten)]
    format: OutputFormat,
}

const NOTHING_TO_ACCEPT: &str = "this store was not restored since it was last accepted, so it is served as it is: nothing was changed";

/// It was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the system gives this process too little: {0}")]
    System(#[source] io::Error),
    #[error("cannot print what was done: {0}")]
    Print(#[from] io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Open(error) => error.into(),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl AcceptRestoreCommand {
    /// Says what may be missing, asks, and accepts it. Changes nothing if the store was not restored.
    pub(super) fn run(&self) -> Result<(), Failure> {
        self.store.refuse_service()?;
        let until = Timestamp::now();
        let Some(restored) = self.find()? else {
            if !self.format.is_table() {
                complain(NOTHING_TO_ACCEPT);
            }
            return Ok(self.print(&json!({"accepted": false}), NOTHING_TO_ACCEPT)?);
        };
        self.consent.obtain_despite(&doubt(&restored, until))?;
        self.accept()?;
        let since = restored.last_write.map(|time| time.to_string());
        let printed = json!({
            "accepted": true,
            "store": restored.store,
            "store_id": restored.store_id.map(|id| id.to_string()),
            "keys": restored.keys,
            "missing_since": since,
            "missing_until": until.to_string(),
            "replayed_until": restored.replayed_until.map(|time| time.to_string()),
        });
        let since = since.unwrap_or_else(|| "its beginning".to_owned());
        let id = restored
            .store_id
            .map_or(String::new(), |id| format!(" store {id}"));
        let keys = restored.keys.map_or(String::new(), |keys| {
            format!(" with {}", counted(keys, "key"))
        });
        let line = format!(
            "{}: accepted{id}{keys}; writes from {since} to {until} may be missing{}",
            restored.store,
            restored.replayed()
        );
        Ok(self.print(&printed, &line)?)
    }

    fn find(&self) -> Result<Option<RestoredStore>, Error> {
        match &self.store.address {
            StoreAddress::Sqlite(path) => Ok(sqlite::describe_restored(path)?),
            StoreAddress::Postgres(address) => {
                wait_for(postgres::describe_restored(address.expose()))
            }
        }
    }

    fn accept(&self) -> Result<(), Error> {
        match &self.store.address {
            StoreAddress::Sqlite(path) => Ok(sqlite::accept_restore(path)?),
            StoreAddress::Postgres(address) => wait_for(postgres::accept_restore(address.expose())),
        }
    }

    fn print(&self, printed: &serde_json::Value, line: &str) -> Result<(), Error> {
        let line = if self.format.is_table() {
            line.to_owned()
        } else {
            printed.to_string()
        };
        Ok(to_stdout(
            |output| writeln!(output, "{line}"),
            is_broken_pipe,
        )?)
    }
}

fn doubt(restored: &RestoredStore, until: Timestamp) -> String {
    let advice = if restored.replayed_until.is_some() {
        "What else took rights away in that time will be granted again."
    } else {
        "A key that was revoked, suspended or narrowed in that time will be granted again. If you have the service's \
         log of that time, run `keyservice replay` before."
    };
    format!("{restored}, up to {until}. {advice}")
}

fn wait_for<T>(work: impl Future<Output = Result<T, OpenError>>) -> Result<T, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Error::System)?.block_on(work)?)
}
