//! The rules for loading everything, from every store.

use super::on_every_store;
use crate::support::{
    eventually,
    stores::{Stores, load},
};
use async_trait::async_trait;
use keyservice::{
    model::key::KeyState,
    replication::loading,
    store::{
        Batch, BatchSender, ChangeFeed, ChangePage, Position, Progress, ReplicationError, State,
        StoreError, batches,
    },
};
use std::{
    io::Write,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;
use tracing::instrument::WithSubscriber;

/// More than two batches.
const KEYS: usize = 2500;

on_every_store![
    a_load_of_many_keys_gives_each_once_and_says_about_how_many_there_are,
    a_load_ends_early_if_nobody_takes_what_it_reads,
    the_log_says_how_far_a_load_is_that_takes_long_and_nothing_of_another,
];

async fn a_load_of_many_keys_gives_each_once_and_says_about_how_many_there_are(stores: &Stores) {
    stores.insert_labelled_keys(KEYS).await;
    let (position, batches) = load(&*stores.first.changes).await.expect("it loads");
    let estimates: Vec<_> = batches
        .iter()
        .filter_map(|batch| match batch {
            Batch::KeyEstimate(keys) => Some(*keys),
            _ => None,
        })
        .collect();
    assert_eq!(estimates, [KEYS as u64]);
    let (loaded_at, states) = stores.load().await;
    assert_eq!(loaded_at, position);
    assert_eq!(states.len(), KEYS);
    let of = |has: fn(&KeyState) -> bool| {
        let keys = states.values().filter(|state| match state {
            State::Key(key) => has(key),
            _ => false,
        });
        keys.count()
    };
    assert_eq!(of(|key| key.revoked), 3);
    assert_eq!(of(|key| key.suspended), 1);
    assert_eq!(of(|key| key.scope.domain() == Some("half.example")), 1250);
    assert_eq!(of(|key| key.expire_time.is_some()), 834);
}

async fn a_load_ends_early_if_nobody_takes_what_it_reads(stores: &Stores) {
    stores.insert_labelled_keys(KEYS).await;
    let (sender, receiver) = batches();
    drop(receiver);
    let loaded = stores.first.changes.load(sender).await;
    assert!(matches!(loaded, Err(StoreError::Failed(_))), "{loaded:?}");
}

async fn the_log_says_how_far_a_load_is_that_takes_long_and_nothing_of_another(stores: &Stores) {
    stores.insert_labelled_keys(KEYS).await;
    let log = Log::default();
    let quick = loading::load(&*stores.first.changes);
    quick
        .with_subscriber(log.subscriber())
        .await
        .expect("it loads");
    assert!(!log.text().contains("loading the keys"), "{}", log.text());

    let (let_go, held) = watch::channel(false);
    let slow = SlowAfterTheKeys {
        store: stores.first.changes.clone(),
        held,
    };
    let loaded = loading::load(&slow).with_subscriber(log.subscriber());
    let (loaded, ()) = tokio::join!(loaded, async {
        let told = async || log.text().contains("loading the keys");
        eventually("the log tells", told).await;
        let_go.send(true).expect("it is held");
    });
    loaded.expect("it loads");
    let text = log.text();
    let line = text.lines().find(|line| line.contains("loading the keys"));
    let line = line.expect("it was logged");
    let tells = line.contains(" keys=2500 keys_per_second=") && line.ends_with(" percent=100");
    assert!(tells, "{line}");
    assert!(text.contains("keyring loaded"), "{text}");
}

/// Holds up the end of a load.
struct SlowAfterTheKeys {
    store: Arc<dyn ChangeFeed>,
    held: watch::Receiver<bool>,
}

#[async_trait]
impl ChangeFeed for SlowAfterTheKeys {
    async fn load(&self, slow: BatchSender) -> Result<Position, StoreError> {
        let (sender, mut receiver) = batches();
        let mut held = self.held.clone();
        let passing_on = async {
            while let Some(batch) = receiver.recv().await {
                slow.send(batch).await?;
            }
            let let_go = held.wait_for(|is_let_go| *is_let_go).await;
            let_go.map(drop).expect("the test goes on");
            Ok(())
        };
        let (loaded, passed_on) = tokio::join!(self.store.load(sender), passing_on);
        passed_on.and(loaded)
    }

    async fn changes(&self, since: Progress, limit: usize) -> Result<ChangePage, ReplicationError> {
        self.store.changes(since, limit).await
    }
}

/// What is logged.
#[derive(Default, Clone)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + 'static {
        let log = self.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish()
    }

    fn text(&self) -> String {
        let bytes = self.0.lock().expect("whole").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
