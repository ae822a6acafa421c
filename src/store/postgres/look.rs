//! A look at a database before it is opened: whether it can be reached, and holds a store.
//!
//! Must never change anything there.

use super::{
    address::Address,
    errors::{answered_within, said},
};
use crate::store::Presence;
use std::{error::Error, io};
use tokio_postgres::Client;

/// Looks. What is wrong with the address or the server, other than that it is away, is left to the opening to say.
pub(super) async fn look(address: &Address) -> Presence {
    let limit = address.connect_timeout();
    let connected = answered_within(limit, address.connect()).await;
    let (client, connection) = match connected {
        Err(silent) => return Presence::Away(silent.to_string()),
        Ok(Err(error)) if is_away(&error) => return Presence::Away(said(&error)),
        Ok(Err(_)) => return Presence::Unknown,
        Ok(Ok(connected)) => connected,
    };
    let looked = async {
        tokio::select! {
            found = holds_store(&client) => found.ok(),
            _ = connection => None,
        }
    };
    match answered_within(limit, looked).await {
        Ok(Some(true)) => Presence::Store,
        Ok(Some(false)) => Presence::Nothing(address.to_string()),
        // What cannot be looked at must not be taken for a store that may be created.
        Ok(None) | Err(_) => Presence::Away("it did not say whether it holds a store".to_owned()),
    }
}

/// Whether there is no way to the server now, or it lets nobody in for now, which may mend itself. A certificate or a
/// password that is wrong does not.
fn is_away(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        let classes = ["08", "53", "57"];
        return classes.iter().any(|class| code.code().starts_with(class));
    }
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let mut faults = causes.filter_map(|cause| cause.downcast_ref::<io::Error>());
    faults.any(|fault| {
        fault
            .get_ref()
            .is_none_or(|cause| !cause.is::<rustls::Error>())
    })
}

async fn holds_store(client: &Client) -> Result<bool, tokio_postgres::Error> {
    let look = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c \
                JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                WHERE n.nspname OPERATOR(pg_catalog.=) 'keyservice' \
                AND c.relname OPERATOR(pg_catalog.=) 'migrations')";
    client.query_one(look, &[]).await?.try_get(0)
}
