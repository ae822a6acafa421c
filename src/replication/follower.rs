//! The task that brings the store's changes to the keyring, and renews the lease.
//!
//! It alone writes to the keyring, this process's own writes included. Promises that a lease is
//! used only when everything that was committed before the lease was granted is in the keyring.
//! Must never skip a revision, nor continue from a history that the store does not have.

use super::{
    acknowledgement::Acknowledgements,
    believed_domain::believed,
    loading, lost_history, own_writes,
    trouble::Trouble,
    vouching::{self, Vouching},
};
use crate::{
    authorize::{keyring::Keyring, lease::Lease},
    model::time::{LeaseTerm, Moment},
    store::{
        ChangePage, Position, Progress, Renewal, ReplicaId, ReplicaRegistry, ReplicationError,
        Revision, State, Store, StoreError,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How many writes one read looks at, which bounds how long it takes and what its answer holds in memory.
const CHANGES_LIMIT: usize = 1000;

/// How many writes a renewal looks at, which bounds how long it holds up writers: some milliseconds. If there are
/// more, the follower reads them first, and then asks for the lease again. Few replicas fall so far behind
/// between the two, at a thousand writes a second.
const RENEWAL_LIMIT: usize = 500;

/// How long no hint is followed after one that led to nothing. Hints come from whoever may connect to
/// a shared database, so this bounds what false ones cost: 20 reads a second and no renewal. Amid
/// them, a true hint waits this long at most. Where all are true, none waits.
const FALSE_HINT_PAUSE: Duration = Duration::from_millis(50);

/// Who this replica is, and how it holds its lease.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Random, and new at every start of the process.
    pub id: ReplicaId,
    /// Its machine and address, for people.
    pub name: String,
    /// How long each lease lasts.
    pub term: LeaseTerm,
    /// How long after one renewal the next one begins, if nothing happens in between.
    pub renewal_interval: Duration,
}

impl Identity {
    /// How long a call that the lease depends on may take: half of what is left of the lease when
    /// it is time to renew it.
    #[must_use]
    pub fn call_limit(&self) -> Duration {
        let left = self.term.usable().saturating_sub(self.renewal_interval);
        left / 2
    }
}

/// Follows the store.
pub struct Follower {
    store: Store,
    keyring: Arc<Keyring>,
    lease: Arc<Lease>,
    acknowledgements: Arc<Acknowledgements>,
    identity: Identity,
    /// The keyring holds every write up to this one. This is what a renewal certifies.
    applied: Revision,
    /// How far the changes were read, which is ahead of `applied` while there are more. If the store
    /// does not have its head, the store has another history than this memory.
    progress: Progress,
    /// What the last renewal has certified.
    certified: Revision,
    /// Until when no hint is followed.
    hints_paused_until: tokio::time::Instant,
    renewals: i64,
    vouching: Vouching,
    /// Whether it has begun a history for the writes that were lost, of which it has not yet written all again.
    has_begun_history: bool,
    stop: CancellationToken,
}

impl Follower {
    /// Loads every key into the keyring, which must be empty, and which nothing else may fill.
    /// Takes no lease yet, so that a long load holds up no writer.
    pub async fn load(
        store: Store,
        keyring: Arc<Keyring>,
        lease: Arc<Lease>,
        acknowledgements: Arc<Acknowledgements>,
        identity: Identity,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let (loaded, position) = loading::load_first(&store).await?;
        own_writes::log_histories(&store).await?;
        keyring.replace_with(loaded);
        acknowledgements.set_applied(position.revision);
        Ok(Self {
            store,
            keyring,
            lease,
            acknowledgements,
            identity,
            applied: position.revision,
            progress: Progress::at(position),
            certified: Revision::ZERO,
            hints_paused_until: tokio::time::Instant::now(),
            renewals: 0,
            vouching: Vouching::begin(),
            has_begun_history: false,
            stop,
        })
    }

    /// Follows until it is told to stop. It reads the changes at once when the store hints at some
    /// or a write waits, and otherwise at every renewal. A failure is logged when it begins and
    /// when it ends.
    ///
    /// It stops between two rounds, so that no call of its own can renew a lease that was given up.
    /// If it is dropped instead, a call may.
    pub async fn run(mut self) {
        let mut trouble = Trouble::None;
        while !self.stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            let renewed = self.renew().await;
            if trouble != Trouble::of(&renewed) {
                trouble = Trouble::of(&renewed);
                self.log_turn(&renewed);
                // It may have been away because it was restored.
                self.vouching.set_due();
            }
            if renewed.is_ok() && self.vouching.is_due() {
                self.vouch().await;
            }
            match renewed {
                // Writers wait to read that this replica has applied them: renew again at once.
                Ok(BroughtChanges(true)) => {}
                Ok(BroughtChanges(false)) => self.wait_for_changes().await,
                Err(ReplicationError::OtherHistory) => self.start_over().await,
                Err(_) => {
                    if trouble == Trouble::Lost {
                        self.lease.end();
                    }
                    // A call that took long to fail is tried again at once, since the lease runs.
                    let pause_end = started + self.identity.renewal_interval / 2;
                    let pause = self.look_at_replicas_until(pause_end);
                    self.stop.run_until_cancelled(pause).await;
                }
            }
        }
    }

    /// Renews the lease. Where no other process can write, the lease has no end.
    async fn renew(&mut self) -> Result<BroughtChanges, ReplicationError> {
        if let Some(registry) = self.store.replicas.clone() {
            return self.renew_on_record(&*registry).await;
        }
        self.catch_up().await?;
        self.certified = self.applied;
        self.lease.extend(Moment::LATEST);
        // No other process waits for what this one has applied.
        Ok(BroughtChanges(false))
    }

    /// Asks for a lease, applies the changes that the answer brings, and only then uses the lease.
    async fn renew_on_record(
        &mut self,
        registry: &dyn ReplicaRegistry,
    ) -> Result<BroughtChanges, ReplicationError> {
        self.renewals += 1;
        let renewal = Renewal {
            id: self.identity.id,
            name: self.identity.name.clone(),
            renewals: self.renewals,
            term: self.identity.term,
            applied: self.applied,
            since: self.progress,
            limit: RENEWAL_LIMIT,
        };
        // Before anything is sent: the time that the call takes counts against the lease.
        let asked = Moment::now();
        let renewed = self.in_time(registry.renew(&renewal)).await?;
        let answered = Moment::now();
        self.certified = renewal.applied;
        if !renewed.page.is_last() {
            self.catch_up().await?;
            return Ok(BroughtChanges(true));
        }
        let brought = BroughtChanges(renewed.page.read_to > self.progress.read_to);
        self.apply(&renewed.page);
        self.set_applied();
        self.lease.extend(self.identity.term.usable_until(asked));
        self.acknowledgements
            .observe_replicas(&renewed.replicas, answered);
        Ok(brought)
    }

    async fn vouch(&self) {
        let vouched = async { Ok(vouching::vouch(&self.store, self.progress.head).await?) };
        if let Err(error) = self.in_time(vouched).await {
            tracing::debug!("cannot look whether the store was restored: {error}");
        }
    }

    /// Returns at this time. Until then, has rows removed whose leases have lapsed, although this
    /// replica cannot renew. Such a row may be what keeps it from that: one with its own id and a higher
    /// number than its renewals ever get, or the last that the table has room for.
    async fn look_at_replicas_until(&self, end: tokio::time::Instant) {
        let look = async {
            let Some(registry) = &self.store.replicas else {
                return;
            };
            match registry.replicas(&[]).await {
                Ok(found) => {
                    let read = Moment::now();
                    self.acknowledgements
                        .observe_replicas(&found.replicas, read);
                }
                Err(error) => tracing::debug!("cannot read the replicas: {error}"),
            }
        };
        // A store that took long to fail may be one that hangs.
        if tokio::time::Instant::now() < end {
            _ = tokio::time::timeout_at(end, look).await;
            tokio::time::sleep_until(end).await;
        }
    }

    /// Returns when it is time to renew, by the clock or because there were changes. Changes are
    /// read and applied first, so that the renewal acknowledges them. A hint at changes that there
    /// are not brings no renewal.
    async fn wait_for_changes(&mut self) {
        let due = tokio::time::Instant::now() + self.identity.renewal_interval;
        loop {
            let hint = async {
                tokio::time::sleep_until(self.hints_paused_until).await;
                let hints = &self.store.hints;
                hints.wait_for_write_after(self.progress.read_to).await;
            };
            let by_hint = tokio::select! {
                () = hint => true,
                () = self.acknowledgements.wait_until_wanted() => false,
                () = tokio::time::sleep_until(due) => return,
                () = self.stop.cancelled() => return,
            };
            if let Err(error) = self.catch_up().await {
                // The renewal meets the same error, and deals with it.
                tracing::debug!("cannot read the changes: {error}");
                return;
            }
            if self.applied > self.certified {
                return;
            }
            if by_hint {
                self.hints_paused_until = tokio::time::Instant::now() + FALSE_HINT_PAUSE;
            }
        }
    }

    /// Applies all changes that the store has. Only then does the keyring hold every write up to
    /// the last of them: a key that changes meanwhile moves from one page to a later one.
    async fn catch_up(&mut self) -> Result<(), ReplicationError> {
        loop {
            let page = self.in_time(self.store.changes.changes(self.progress, CHANGES_LIMIT));
            let page = page.await?;
            self.apply(&page);
            if page.is_last() {
                self.set_applied();
                return Ok(());
            }
        }
    }

    fn apply(&mut self, page: &ChangePage) {
        for change in &page.changes {
            apply(&self.keyring, &change.state);
        }
        self.progress = page.progress();
    }

    /// Certifies everything that was read so far, once there is no more.
    fn set_applied(&mut self) {
        self.applied = self.progress.read_to;
        self.acknowledgements.set_applied(self.applied);
    }

    /// Bounds a call, so that one that hangs leaves time for another call, on another connection,
    /// before the lease lapses. The first call begins one interval after the lease began.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, ReplicationError>>,
    ) -> Result<T, ReplicationError> {
        let limit = self.identity.call_limit();
        timeout(limit, answer).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            let silence = format!("no answer within {limit}, which the lease leaves for it");
            Err(StoreError::Unavailable(silence.into()).into())
        })
    }

    /// Logs that following began to fail, or succeeds again.
    fn log_turn(&self, renewed: &Result<BroughtChanges, ReplicationError>) {
        let revision = self.applied.number();
        match renewed {
            Ok(_) => tracing::info!(revision, "following the store again"),
            Err(error @ ReplicationError::StoreLost(_)) => {
                tracing::error!(revision, "not serving: {error}");
            }
            Err(error @ ReplicationError::Store(StoreError::OtherStore(_))) => {
                tracing::error!(revision, "not serving when the lease has lapsed: {error}");
            }
            Err(error) => {
                tracing::warn!(
                    revision,
                    "cannot follow the store, and will try again: {error}"
                );
            }
        }
    }

    /// Gives up the lease and everything in memory, and loads the history that the store has now.
    async fn start_over(&mut self) {
        self.lease.give_up();
        tracing::error!(
            revision = self.applied.number(),
            "the store lost writes, as by a restore or a failover without synchronous \
             replication: loading all keys again, and not serving until then"
        );
        match self.load_and_restore().await {
            Ok((fresh, position)) => {
                fresh.take_over_uses(&self.keyring);
                self.keyring.replace_with(fresh);
                self.progress = Progress::at(position);
                self.has_begun_history = false;
                self.set_applied();
            }
            Err(error) => {
                tracing::warn!("cannot load the keys, and will try again: {error}");
                // The row of an older replica keeps lost changes from being written again. That replica
                // may be gone. No replica renews now, so this one must remove the row.
                let pause_end = tokio::time::Instant::now() + self.identity.renewal_interval;
                self.look_at_replicas_until(pause_end).await;
            }
        }
    }

    /// Loads the history that the store has now, and writes again what must not be lost.
    async fn load_and_restore(&mut self) -> Result<(Keyring, Position), StoreError> {
        let start = self.store.retention.history_start().await?;
        let (fresh, position) = loading::load(&*self.store.changes).await?;
        if self.progress.read_to < start {
            tracing::warn!(
                "this replica was away for longer than --retention: what its memory holds is too old to \
                 tell whether the store has lost writes since"
            );
            vouching::refuse_restored(&self.store).await?;
        } else {
            if !self.has_begun_history {
                own_writes::begin_history(&self.store).await?;
                self.has_begun_history = true;
            }
            lost_history::restore(&self.store, &self.keyring, &fresh).await?;
            // Only now: from here on, a replica that remembers nothing may serve it.
            vouching::vouch(&self.store, position).await?;
        }
        Ok((fresh, position))
    }
}

/// Whether a renewal brought changes.
struct BroughtChanges(bool);

fn apply(keyring: &Keyring, state: &State) {
    match state {
        State::Key(key) => keyring.apply_key(key),
        State::Domain(domain) => keyring.apply_domain(&believed(domain)),
        State::Account(account) => keyring.apply_account(account),
    }
}
