//! The one connection that receives notifications of other replicas' writes.
//!
//! Promises a hint soon after a write while it is connected, and one after every reconnect. Nothing
//! may rely on it: notifications can be lost, so the follower polls as well. Nor may a notification be
//! believed: every role that may connect to the database can send one.

use super::{address::Address, errors::said};
use crate::store::{Hints, Revision, with_causes};
use futures::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client, Connection};
use tokio_util::task::AbortOnDropHandle;

/// The pause between two attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a silent connection is trusted before the server is asked for an answer, and how long
/// that answer may take.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Receives notifications in a task that ends when this is dropped.
pub(super) struct Notifications {
    hints: Arc<Hints>,
    _task: AbortOnDropHandle<()>,
}

impl Notifications {
    pub(super) fn start(address: Address) -> Self {
        let hints = Arc::new(Hints::default());
        let task = tokio::spawn(receive_for_ever(address, hints.clone()));
        Self {
            hints,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(super) fn hints(&self) -> Arc<Hints> {
        self.hints.clone()
    }
}

async fn receive_for_ever(address: Address, hints: Arc<Hints>) {
    loop {
        let Err(error) = receive(&address, &hints).await;
        tracing::debug!("cannot receive notifications: {error}");
        tokio::time::sleep(RECONNECT_INTERVAL).await;
    }
}

async fn receive(address: &Address, hints: &Hints) -> Result<std::convert::Infallible, String> {
    let (client, connection) = timeout(address.connect_timeout(), address.connect())
        .await
        .map_err(|_| "PostgreSQL gave no answer".to_owned())?
        .map_err(|error| said(&error))?;
    tokio::select! {
        error = forward(connection, hints) => Err(error),
        error = keep_subscribed(&client, hints) => Err(error),
    }
}

/// Drives the connection, and passes on the revision that each notification names. One that names
/// none is not of this service.
async fn forward<S, T>(mut connection: Connection<S, T>, hints: &Hints) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                if let Ok(revision) = notification.payload().parse() {
                    hints.give(Revision::from_number(revision));
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return with_causes(&error),
            None => return "the connection was closed".to_owned(),
        }
    }
}

/// Subscribes, and returns when the server does not answer any more.
async fn keep_subscribed(client: &Client, hints: &Hints) -> String {
    let mut statement = "LISTEN keyservice_writes";
    loop {
        match timeout(PROBE_INTERVAL, client.batch_execute(statement)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return with_causes(&error),
            Err(_) => return "PostgreSQL gave no answer".to_owned(),
        }
        if !statement.is_empty() {
            // There may have been writes while nothing was subscribed.
            hints.give_unspecific();
            statement = "";
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}
