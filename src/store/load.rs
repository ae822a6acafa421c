//! What a load reads, in batches, and the channel from its reader to its receiver.
//!
//! Promises that only a few batches wait in the channel, even if the receiver is slow.

use super::StoreError;
use crate::model::{
    account::AccountState,
    key::{KeyId, KeyStateRef},
    time::Timestamp,
    token::TokenDigest,
    verified_domain::DomainState,
};
use tokio::sync::mpsc;

/// How many states a batch has at most. To hand it over costs little for each, and it takes about 100
/// KiB, which stay in the processor's caches.
pub(in crate::store) const BATCH_LEN: usize = 1024;

/// How many batches may wait to be taken.
const BATCHES_AHEAD: usize = 4;

/// How many bytes a batch of keys has room for at first, for the texts of each key.
const TEXTS_LEN: usize = 32;

/// Some of what a load reads.
#[derive(Debug)]
pub enum Batch {
    /// About how many keys there are, for people who wait. It may be wrong, or never come.
    KeyEstimate(u64),
    /// States of keys.
    Keys(KeyBatch),
    /// When keys were last granted, as far as the store knows. It comes after the keys. There may be
    /// no such key.
    Uses(Vec<(KeyId, Timestamp)>),
    /// States of domains.
    Domains(Vec<DomainState>),
    /// States of accounts.
    Accounts(Vec<AccountState>),
}

/// Makes the channel for one load.
#[must_use]
pub fn batches() -> (BatchSender, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    (BatchSender(sender), receiver)
}

/// Sends batches. Without it there are no more.
#[derive(Debug)]
pub struct BatchSender(mpsc::Sender<Batch>);

impl BatchSender {
    /// Waits until there is room. Yields in any case, so that health checks are answered meanwhile on a
    /// single core too.
    pub async fn send(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.send(batch).await.map_err(|_| not_taken())?;
        tokio::task::yield_now().await;
        Ok(())
    }

    /// The same for a thread that may block.
    pub fn blocking_send(&self, batch: Batch) -> Result<(), StoreError> {
        self.0.blocking_send(batch).map_err(|_| not_taken())
    }
}

fn not_taken() -> StoreError {
    StoreError::Failed("nobody takes what is loaded any more".into())
}

/// States of keys, whose texts stand one behind the other.
#[derive(Debug)]
pub struct KeyBatch {
    keys: Vec<BatchedKey>,
    texts: String,
}

#[derive(Debug)]
struct BatchedKey {
    digest: TokenDigest,
    id: KeyId,
    expire_time: Option<Timestamp>,
    account_len: usize,
    domain_len: Option<usize>,
    revoked: bool,
    suspended: bool,
}

impl Default for KeyBatch {
    fn default() -> Self {
        Self {
            keys: Vec::with_capacity(BATCH_LEN),
            texts: String::with_capacity(BATCH_LEN * TEXTS_LEN),
        }
    }
}

impl KeyBatch {
    /// Adds a key.
    pub fn push(&mut self, state: &KeyStateRef<'_>) {
        self.keys.push(BatchedKey {
            digest: state.digest,
            id: state.id,
            expire_time: state.expire_time,
            account_len: state.account_id.len(),
            domain_len: state.domain.map(str::len),
            revoked: state.revoked,
            suspended: state.suspended,
        });
        self.texts.push_str(state.account_id);
        self.texts.push_str(state.domain.unwrap_or_default());
    }

    /// The keys in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = KeyStateRef<'_>> {
        let mut rest = self.texts.as_str();
        self.keys.iter().map(move |key| {
            let (account_id, others) = rest.split_at(key.account_len);
            let (domain, others) = others.split_at(key.domain_len.unwrap_or_default());
            rest = others;
            KeyStateRef {
                digest: key.digest,
                id: key.id,
                account_id,
                domain: key.domain_len.map(|_| domain),
                expire_time: key.expire_time,
                revoked: key.revoked,
                suspended: key.suspended,
            }
        })
    }
}
