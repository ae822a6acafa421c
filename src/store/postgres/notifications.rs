//! The one connection that receives notifications of other replicas' writes.
//!
//! Promises a wake-up soon after a write while it is connected, and one after every reconnect.
//! Nothing may rely on it: notifications can be lost, so the follower polls as well.

use super::address::Address;
use crate::store::with_causes;
use futures::{StreamExt, stream};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Connection};
use tokio_util::task::AbortOnDropHandle;

/// The pause between two attempts to connect.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a silent connection is trusted before the server is asked for an answer, and how long
/// that answer may take.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Receives notifications in a task that ends when this is dropped.
pub(super) struct Notifications {
    wake_up: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl Notifications {
    pub(super) fn start(address: Address) -> Self {
        let wake_up = Arc::new(Notify::new());
        let task = tokio::spawn(receive_for_ever(address, wake_up.clone()));
        Self {
            wake_up,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Is notified at each wake-up.
    pub(super) fn wake_up(&self) -> Arc<Notify> {
        self.wake_up.clone()
    }
}

async fn receive_for_ever(address: Address, wake_up: Arc<Notify>) {
    loop {
        let Err(error) = receive(&address, &wake_up).await;
        tracing::debug!("cannot receive notifications: {error}");
        tokio::time::sleep(RECONNECT_INTERVAL).await;
    }
}

async fn receive(address: &Address, wake_up: &Notify) -> Result<std::convert::Infallible, String> {
    let (client, connection) = timeout(address.connect_timeout(), address.connect())
        .await
        .map_err(|_| "PostgreSQL gave no answer".to_owned())?
        .map_err(|error| with_causes(&error))?;
    tokio::select! {
        error = forward(connection, wake_up) => Err(error),
        error = keep_subscribed(&client, wake_up) => Err(error),
    }
}

/// Drives the connection, and wakes the follower at every notification.
async fn forward<S, T>(mut connection: Connection<S, T>, wake_up: &Notify) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    loop {
        match messages.next().await {
            Some(Ok(AsyncMessage::Notification(_))) => wake_up.notify_one(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return with_causes(&error),
            None => return "the connection was closed".to_owned(),
        }
    }
}

/// Subscribes, and returns when the server does not answer any more.
async fn keep_subscribed(client: &Client, wake_up: &Notify) -> String {
    let mut statement = "LISTEN keyservice_writes";
    loop {
        match timeout(PROBE_INTERVAL, client.batch_execute(statement)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return with_causes(&error),
            Err(_) => return "PostgreSQL gave no answer".to_owned(),
        }
        if !statement.is_empty() {
            // There may have been writes while nothing was subscribed.
            wake_up.notify_one();
            statement = "";
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}
