//! Counts a store's errors, by what it was asked to do.
//!
//! Owns [`StoreErrors`], and the decorators that count into it. Promises the store's own answers,
//! unchanged, and a count for every operation from the start, so that a rate has a first value.
//! Must never hold what a store's driver said.

use super::{
    AccountStore, AccountSummary, ActiveKeys, AddedDomain, Agreed, Appended, AuditLog,
    BatchRevocation, BatchSender, ChangeFeed, ChangePage, Committed, Counted, CountedKeys,
    CreateOutcome, DomainAddition, DomainQuery, DomainRemoval, DomainStore, Forgotten,
    HistoryStore, KeyLookup, KeyReplacement, KeyStore, KeySuspension, ListQuery, Listed,
    ListedDomain, NewKey, NotCreated, NotedUse, Old, OldWrites, Position, Progress, RemovedDomain,
    Renewal, Renewed, Replaced, Replica, ReplicaId, ReplicaRegistry, ReplicaSnapshot,
    ReplicationError, RetentionStore, Revision, Revocation, Selected, Selection, Store, StoreError,
    Suspended, SuspensionChange, UseLog,
};
use crate::model::{
    account::AccountId,
    audit_record::AuditRecord,
    domain::Domain,
    history::History,
    key::{Key, KeyId, Suspension},
    time::Timestamp,
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Every operation of a store, with the name that it has in metrics. Each error counts: what is a
/// caller's mistake, a key that is not there, say, is no error of the store's.
macro_rules! operations {
    ($($store:ident {
        $($name:literal: $method:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*
    })*) => {
        /// How many errors each operation has met.
        #[derive(Debug, Default)]
        pub struct StoreErrors {
            $($($method: AtomicU64,)*)*
        }

        impl StoreErrors {
            /// Each operation's name and count.
            pub(crate) fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$($(($name, self.$method.load(Relaxed)),)*)*].into_iter()
            }
        }

        $(
            #[async_trait]
            impl $store for Observed<dyn $store> {
                $(
                    async fn $method(&self, $($argument: $type),*) -> $answer {
                        let answer = self.store.$method($($argument),*).await;
                        if answer.is_err() {
                            self.errors.$method.fetch_add(1, Relaxed);
                        }
                        answer
                    }
                )*
            }
        )*
    };
}

operations! {
    KeyStore {
        "create": create(new: &NewKey) -> Result<Result<Committed<CreateOutcome>, NotCreated>, StoreError>;
        "revoke": revoke(revocation: &Revocation) -> Result<Option<Committed<Key>>, StoreError>;
        "get": get(lookup: &KeyLookup) -> Result<Option<Key>, StoreError>;
        "replace": replace(replacement: &KeyReplacement) -> Result<Replaced, StoreError>;
        "set_key_suspension": set_key_suspension(suspension: &KeySuspension) -> Result<Suspended, StoreError>;
        "select": select(selection: &Selection) -> Result<Selected, StoreError>;
        "batch_revoke": batch_revoke(batch: &BatchRevocation) -> Result<Committed<u64>, StoreError>;
        "list": list(query: &ListQuery) -> Result<Option<Listed>, StoreError>;
        "count": count(query: &ListQuery) -> Result<Option<Counted>, StoreError>;
    }
    DomainStore {
        "add_domain": add_domain(addition: &DomainAddition) -> Result<Committed<AddedDomain>, StoreError>;
        "remove_domain": remove_domain(removal: &DomainRemoval) -> Result<Option<Committed<RemovedDomain>>, StoreError>;
        "remove_subdomains": remove_subdomains(removal: &DomainRemoval) -> Result<Option<Committed<()>>, StoreError>;
        "list_domains": list_domains(query: &DomainQuery) -> Result<Vec<ListedDomain>, StoreError>;
        "count_keys": count_active_keys(account_id: &AccountId, domain: &Domain, now: Timestamp) -> Result<ActiveKeys, StoreError>;
    }
    AccountStore {
        "set_suspension": set_suspension(change: &SuspensionChange) -> Result<Committed<Option<Suspension>>, StoreError>;
        "get_account": get_account(account_id: &AccountId) -> Result<AccountSummary, StoreError>;
        "count_account_keys": count_keys(account_id: &AccountId, now: Timestamp, before: Revision) -> Result<CountedKeys, StoreError>;
    }
    UseLog {
        "record_uses": record_uses(uses: &[NotedUse]) -> Result<Vec<(KeyId, Timestamp)>, StoreError>;
    }
    RetentionStore {
        "agree_on_time": agreed_time(now: Timestamp, passed: Duration) -> Result<Agreed, StoreError>;
        "raise_history_start": raise_history_start(old: &Old, after: Revision) -> Result<OldWrites, StoreError>;
        "history_start": history_start() -> Result<Revision, StoreError>;
        "forget_keys": forget_keys(old: &Old, until: Revision, after: KeyId) -> Result<Forgotten<KeyId>, StoreError>;
        "forget_writes": forget_writes(old: &Old, until: Revision, after: Revision) -> Result<Forgotten<Revision>, StoreError>;
        "missing_keys": missing_keys(keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError>;
    }
    HistoryStore {
        "histories": histories() -> Result<Vec<History>, StoreError>;
        "begin_history": begin_history(replayed_until: Option<Timestamp>) -> Result<(), StoreError>;
    }
    AuditLog {
        "audit": append_records(records: &[AuditRecord]) -> Result<Appended, StoreError>;
    }
    ChangeFeed {
        "load": load(batches: BatchSender) -> Result<Position, StoreError>;
        "follow": changes(since: Progress, limit: usize) -> Result<ChangePage, ReplicationError>;
    }
    ReplicaRegistry {
        "renew": renew(renewal: &Renewal) -> Result<Renewed, ReplicationError>;
        "replicas": replicas(writes: &[Position]) -> Result<ReplicaSnapshot, StoreError>;
        "forget": remove_lapsed(lapsed: &Replica) -> Result<bool, StoreError>;
        "leave": leave(id: ReplicaId) -> Result<(), StoreError>;
        "is_own": is_own() -> Result<bool, StoreError>;
        "vouch": vouch(held: Position) -> Result<bool, StoreError>;
    }
}

/// A store whose errors are counted.
struct Observed<S: ?Sized> {
    store: Arc<S>,
    errors: &'static StoreErrors,
}

impl Store {
    /// The same store, whose errors are counted here.
    #[must_use]
    pub fn observed(self, errors: &'static StoreErrors) -> Self {
        let replicas = self
            .replicas
            .map(|store| -> Arc<dyn ReplicaRegistry> { Arc::new(Observed { store, errors }) });
        Self {
            identity: self.identity,
            keys: Arc::new(Observed {
                store: self.keys,
                errors,
            }),
            domains: Arc::new(Observed {
                store: self.domains,
                errors,
            }),
            accounts: Arc::new(Observed {
                store: self.accounts,
                errors,
            }),
            uses: Arc::new(Observed {
                store: self.uses,
                errors,
            }),
            retention: Arc::new(Observed {
                store: self.retention,
                errors,
            }),
            histories: Arc::new(Observed {
                store: self.histories,
                errors,
            }),
            audit: Arc::new(Observed {
                store: self.audit,
                errors,
            }),
            changes: Arc::new(Observed {
                store: self.changes,
                errors,
            }),
            replicas,
            pool: self.pool,
            hints: self.hints,
        }
    }
}
