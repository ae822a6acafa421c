//! Owns keeping the keyring level with the store, and the lease that says it is.
//! Promises that a lease is used only when all that was committed before it is in the keyring.
//! Must never skip a revision, nor go on from a history that the store does not have.

use super::acknowledgement::Replicas;
use crate::{
    authorize::{
        keyring::{HeldKey, Keyring},
        lease::Lease,
    },
    model::{
        account::{AccountId, Accounts},
        caller_name::CallerName,
        domain::Domain,
        key::{KeyState, Scope},
        time::{LeaseTerm, Moment, Timestamp},
        token::TokenDigest,
    },
    store::{
        Change, ChangeFeed, Position, Renewal, ReplicaId, ReplicaRegistry, ReplicationError,
        Revision, Revocation, RevokeTarget, Store, StoreError,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Changes asked for at a time, which bounds what one answer holds in memory.
const CHANGES_LIMIT: usize = 1000;

/// Changes that a renewal may bring, which bounds how long it holds up writers. Where there are
/// more, they are read first, and then the lease is asked for again.
const RENEWAL_LIMIT: usize = 100;

/// Who this replica is, and how it holds its lease.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Drawn at random at the process's start.
    pub id: ReplicaId,
    /// Its machine and address, for people.
    pub name: String,
    /// How long each lease lasts.
    pub term: LeaseTerm,
    /// From one renewal to the next, when nothing happens.
    pub renewal_interval: Duration,
}

impl Identity {
    /// How long a call may take that a lease depends on: half of what is left of the lease when it
    /// is time to renew it.
    #[must_use]
    pub fn call_limit(&self) -> Duration {
        let left = self.term.usable().saturating_sub(self.renewal_interval);
        left / 2
    }
}

/// Brings the store's changes to the keyring, and renews the lease.
pub struct Follower {
    store: Store,
    keyring: Arc<Keyring>,
    lease: Arc<Lease>,
    replicas: Arc<Replicas>,
    identity: Identity,
    /// The keyring holds every write up to this one: what this replica certifies.
    applied: Revision,
    /// The last change in the keyring, which is ahead of `applied` in the middle of many. The store
    /// must have it, or it has another history than this memory.
    reached: Position,
    renewals: i64,
    stop: CancellationToken,
}

impl Follower {
    /// Loads every key into the keyring, which must be empty and nobody else's to fill. Takes no
    /// lease yet, so that a long load holds up no writer. Follows until it is told to stop.
    pub async fn load(
        store: Store,
        keyring: Arc<Keyring>,
        lease: Arc<Lease>,
        replicas: Arc<Replicas>,
        identity: Identity,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let reached = load(&*store.changes, &keyring).await?;
        replicas.applied(reached.revision);
        Ok(Self {
            store,
            keyring,
            lease,
            replicas,
            identity,
            applied: reached.revision,
            reached,
            renewals: 0,
            stop,
        })
    }

    /// Follows until it is told to stop: at once when the store hints at changes or a writer waits,
    /// and at every renewal whether they do or not. A failure is logged when it begins and when it
    /// ends.
    ///
    /// It stops between two rounds, so that no call of its own can renew a lease that was given
    /// back. When it is dropped instead, one may.
    pub async fn run(mut self) {
        let mut failing = false;
        while !self.stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            let renewed = self.renew().await;
            if failing != renewed.is_err() {
                failing = !failing;
                self.log_turn(&renewed);
            }
            match renewed {
                // The others wait to hear that it is applied.
                Ok(BroughtChanges(true)) => {}
                Ok(BroughtChanges(false)) => self.wait_for_changes().await,
                Err(ReplicationError::OtherHistory) => self.start_over().await,
                Err(ReplicationError::Store(_)) => {
                    // What took long to fail is tried again at once: the lease runs.
                    let pause_end = started + self.identity.renewal_interval / 2;
                    let pause = tokio::time::sleep_until(pause_end);
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
        self.lease.extend(Moment::LATEST);
        // Nobody else waits to hear of them.
        Ok(BroughtChanges(false))
    }

    /// Asks for a lease, applies what the answer brings, and only then uses the lease.
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
            since: self.reached,
            limit: RENEWAL_LIMIT,
        };
        // Before anything is sent: what the call takes counts against the lease.
        let asked = Moment::now();
        let renewed = self.in_time(registry.renew(&renewal)).await?;
        let answered = Moment::now();
        if renewed.changes.len() == RENEWAL_LIMIT {
            self.catch_up().await?;
            return Ok(BroughtChanges(true));
        }
        let brought = BroughtChanges(!renewed.changes.is_empty());
        self.apply(&renewed.changes);
        self.has_applied_all();
        self.lease.extend(self.identity.term.usable_until(asked));
        self.replicas.saw(&renewed.replicas, answered);
        Ok(brought)
    }

    /// Returns when it is time to renew: by the clock, or since there were changes. These are read
    /// and applied first, for the renewal to acknowledge.
    async fn wait_for_changes(&mut self) {
        tokio::select! {
            () = self.store.hints.notified() => {}
            () = self.replicas.wanted() => {}
            () = tokio::time::sleep(self.identity.renewal_interval) => return,
            () = self.stop.cancelled() => return,
        }
        // The renewal meets the same trouble, and deals with it.
        if let Err(error) = self.catch_up().await {
            tracing::debug!("cannot read the changes: {error}");
        }
    }

    /// Applies all changes that the store has. Only at their end is everything held that came
    /// before them: a key that changes meanwhile moves from a page to a later one.
    async fn catch_up(&mut self) -> Result<(), ReplicationError> {
        loop {
            let page = self.in_time(self.store.changes.changes(self.reached, CHANGES_LIMIT));
            let page = page.await?;
            self.apply(&page);
            if page.len() < CHANGES_LIMIT {
                self.has_applied_all();
                return Ok(());
            }
        }
    }

    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.keyring.apply(&change.state);
            self.reached = change.position;
        }
    }

    fn has_applied_all(&mut self) {
        self.applied = self.reached.revision;
        self.replicas.applied(self.applied);
    }

    /// So long that a call which hangs leaves time for another, by another connection, before the
    /// lease lapses: the first begins an interval after the lease did.
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

    /// Says that following began to fail, or succeeds again.
    fn log_turn(&self, renewed: &Result<BroughtChanges, ReplicationError>) {
        let revision = self.applied.number();
        match renewed {
            Ok(_) => tracing::info!(revision, "following the store again"),
            Err(error) => {
                tracing::warn!(
                    revision,
                    "cannot follow the store, and will try on: {error}"
                );
            }
        }
    }

    /// Gives up the lease and everything in memory, and loads the history that the store has.
    async fn start_over(&mut self) {
        self.lease.give_up();
        tracing::error!(
            revision = self.applied.number(),
            "the store lost writes, as by a restore or a failover without synchronous \
             replication: loading all keys again, and not serving until then"
        );
        let fresh = Keyring::new();
        match self.load_and_restore(&fresh).await {
            Ok(position) => {
                self.keyring.replace_with(fresh);
                self.reached = position;
                self.has_applied_all();
            }
            Err(error) => {
                tracing::warn!("cannot load the keys, and will try again: {error}");
                tokio::time::sleep(self.identity.renewal_interval).await;
            }
        }
    }

    /// Loads every key, and writes again what the store has lost of this memory's revocations.
    /// That takes nothing away from anybody: a revoked key stays revoked. A key that was lost stays
    /// lost, since its owner and its name are not known here.
    async fn load_and_restore(&self, fresh: &Keyring) -> Result<Position, StoreError> {
        let position = load(&*self.store.changes, fresh).await?;
        let (before, after) = (self.keyring.read(), fresh.read());
        for (digest, held) in before.keys() {
            match after.find(&digest).map(|key| key.revoked) {
                None => tracing::error!(
                    key_id = %held.id,
                    account_id = held.account_id,
                    "the store lost this key: its token is unknown from now on"
                ),
                Some(false) if held.revoked => {
                    self.revoke_again(RevokeTarget::Digest(digest)).await?;
                    // At once: a call that looked at the lease before it was given up may yet look
                    // at this keyring.
                    fresh.apply(&revoked(digest, &held));
                    tracing::error!(
                        key_id = %held.id,
                        account_id = held.account_id,
                        "the store lost this key's revocation: it was written again"
                    );
                }
                Some(_) => {}
            }
        }
        Ok(position)
    }

    async fn revoke_again(&self, target: RevokeTarget) -> Result<(), StoreError> {
        let revocation = Revocation {
            target,
            accounts: Accounts::All,
            now: Timestamp::now(),
            caller: CallerName::service(),
        };
        // It comes to the keyring as any other change does, before the next lease.
        self.store.keys.revoke(&revocation).await.map(drop)
    }
}

/// The state of a held key once it is revoked.
fn revoked(digest: TokenDigest, held: &HeldKey<'_>) -> KeyState {
    KeyState {
        digest,
        id: held.id,
        account_id: AccountId::from_stored(held.account_id.to_owned()),
        scope: Scope::from_domain(
            held.domain
                .map(|domain| Domain::from_stored(domain.to_owned())),
        ),
        expire_time: held.expire_time,
        revoked: true,
    }
}

/// Whether a renewal brought changes.
struct BroughtChanges(bool);

async fn load(changes: &dyn ChangeFeed, keyring: &Keyring) -> Result<Position, StoreError> {
    let started = Instant::now();
    let position = changes.load(&mut |state| keyring.apply(&state)).await?;
    tracing::info!(
        keys = keyring.len(),
        revision = position.revision.number(),
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "keyring loaded"
    );
    Ok(position)
}
