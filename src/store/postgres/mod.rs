//! The PostgreSQL store: one database, which any number of replicas share.
//!
//! Promises that a write is committed when it returns, and that no call outlasts its limits. Calls,
//! however many and however slow, must never keep this replica from following the others' writes.

mod accounts;
mod address;
mod appending;
mod audit;
mod audit_source;
mod batch_revoke;
mod broken_off;
mod connect;
mod connections;
mod copied_row;
mod database;
mod dead_rows;
mod domains;
mod errors;
mod given_up;
mod histories;
mod key_changes;
mod key_list;
mod keys;
mod load;
mod look;
mod migrate;
mod notifications;
mod open;
mod origin;
mod pool;
mod pooler;
mod replication;
mod requirements;
mod retention;
pub mod rights;
mod rows;
mod tls;
mod tls_parameters;
mod trust;
mod uses;
mod warnings;
mod write_groups;

use super::{
    AccountStore, AccountSummary, ActiveKeys, AddedDomain, Agreed, Appended, AuditLog,
    BatchRevocation, BatchSender, ChangeFeed, ChangePage, Committed, ConnectionPool, Counted,
    CountedKeys, CreateOutcome, DomainAddition, DomainQuery, DomainRemoval, DomainStore, Forgotten,
    KeyLookup, KeyReplacement, KeyStore, KeySuspension, ListQuery, Listed, ListedDomain, NewKey,
    NotCreated, NotedUse, Old, OldWrites, OpenError, PoolStatus, Position, Presence, Progress,
    RemovedDomain, Renewal, Renewed, Replaced, Replica, ReplicaId, ReplicaRegistry,
    ReplicaSnapshot, ReplicationError, RetentionStore, Revision, Revocation, Selected, Selection,
    Store, StoreError, StoreIdentity, Suspended, SuspensionChange, UseLog, WRITES_PER_COMMIT,
    WhenRestored,
};
use crate::model::{
    account::AccountId,
    audit_record::AuditRecord,
    domain::Domain,
    key::{Key, KeyId, Suspension},
    time::Timestamp,
    token::Digester,
};
pub use address::Address;
use async_trait::async_trait;
pub use audit::read as read_audit;
use database::Database;
use dead_rows::DeadRows;
use notifications::Notifications;
pub use origin::{accept_restore, describe_restored, find_restored};
pub use pool::PoolSettings;
use std::{sync::Arc, time::Duration};
use tokio::task::spawn_blocking;
use write_groups::WriteGroups;

/// Keys in a PostgreSQL database.
pub struct PostgresStore {
    database: Arc<Database>,
    creations: WriteGroups<NewKey>,
    revocations: WriteGroups<Revocation>,
    notifications: Notifications,
    dead_rows: DeadRows,
}

impl PostgresStore {
    /// The number and the time of the last write before a revision that was made up to a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn last_write_before(
        &self,
        revision: Revision,
        until: Timestamp,
    ) -> Result<Option<(Revision, Timestamp)>, StoreError> {
        replication::last_write_before(&self.database, revision, until).await
    }

    /// Connects to the database that a `postgres://` address names, and migrates it as needed.
    ///
    /// The address takes the parameters that tokio-postgres takes and, as libpq does,
    /// `sslmode=verify-ca`, `sslmode=verify-full` and `sslrootcert`.
    ///
    /// Refuses a database that was restored and is not accepted.
    pub async fn open(
        address: &str,
        settings: PoolSettings,
        digester: &Digester,
    ) -> Result<Self, OpenError> {
        Self::open_as(address, settings, digester, WhenRestored::Refuse).await
    }

    /// The same, for a database that may have been restored, to write to it before it is accepted.
    pub async fn open_restored(
        address: &str,
        settings: PoolSettings,
        digester: &Digester,
    ) -> Result<Self, OpenError> {
        Self::open_as(address, settings, digester, WhenRestored::Open).await
    }

    async fn open_as(
        address: &str,
        settings: PoolSettings,
        digester: &Digester,
        when_restored: WhenRestored,
    ) -> Result<Self, OpenError> {
        let address = parse(address, settings.connect_timeout).await?;
        let database = open::open(&address, settings, digester, when_restored).await?;
        let database = Arc::new(database);
        Ok(Self {
            dead_rows: DeadRows::start(database.clone()),
            creations: WriteGroups::new(database.clone(), WRITES_PER_COMMIT),
            revocations: WriteGroups::new(database.clone(), WRITES_PER_COMMIT),
            database,
            notifications: Notifications::start(address),
        })
    }

    /// Looks whether the server can be reached, and whether the database holds a store.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn look(address: &str, connect_timeout: Duration) -> Result<Presence, OpenError> {
        Ok(look::look(&parse(address, connect_timeout).await?).await)
    }

    /// Lets at most so many writes share a transaction. 1 gives each its own.
    #[must_use]
    pub fn with_writes_per_commit(self, most: usize) -> Self {
        Self {
            creations: WriteGroups::new(self.database.clone(), most),
            revocations: WriteGroups::new(self.database.clone(), most),
            ..self
        }
    }
}

/// Parses an address. The file of `sslrootcert` may be a named pipe, or on a mount that hangs.
async fn parse(address: &str, connect_timeout: Duration) -> Result<Address, OpenError> {
    let text = address.to_owned();
    let parsing = spawn_blocking(move || Address::parse(&text, connect_timeout));
    let address = parsing.await.expect("parsing does not panic")?;
    Ok(address.of_primary())
}

impl From<PostgresStore> for Store {
    fn from(store: PostgresStore) -> Self {
        let store = Arc::new(store);
        Self {
            identity: StoreIdentity {
                store_id: store.database.store_id(),
                own_history: None,
            },
            hints: store.notifications.hints(),
            keys: store.clone(),
            domains: store.clone(),
            accounts: store.clone(),
            uses: store.clone(),
            retention: store.clone(),
            histories: store.clone(),
            audit: store.clone(),
            changes: store.clone(),
            replicas: Some(store.clone()),
            pool: Some(store),
        }
    }
}

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create(
        &self,
        new: &NewKey,
    ) -> Result<Result<Committed<CreateOutcome>, NotCreated>, StoreError> {
        self.creations.write(new).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<Option<Committed<Key>>, StoreError> {
        self.revocations.write(revocation).await
    }

    async fn get(&self, lookup: &KeyLookup) -> Result<Option<Key>, StoreError> {
        key_changes::get(&self.database, lookup).await
    }

    async fn replace(&self, replacement: &KeyReplacement) -> Result<Replaced, StoreError> {
        key_changes::replace(&self.database, replacement).await
    }

    async fn set_key_suspension(
        &self,
        suspension: &KeySuspension,
    ) -> Result<Suspended, StoreError> {
        key_changes::set_suspension(&self.database, suspension).await
    }

    async fn select(&self, selection: &Selection) -> Result<Selected, StoreError> {
        batch_revoke::select(&self.database, selection).await
    }

    async fn batch_revoke(&self, batch: &BatchRevocation) -> Result<Committed<u64>, StoreError> {
        batch_revoke::revoke(&self.database, batch).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Option<Listed>, StoreError> {
        key_list::list(&self.database, query).await
    }

    async fn count(&self, query: &ListQuery) -> Result<Option<Counted>, StoreError> {
        key_list::count(&self.database, query).await
    }
}

#[async_trait]
impl DomainStore for PostgresStore {
    async fn add_domain(
        &self,
        addition: &DomainAddition,
    ) -> Result<Committed<AddedDomain>, StoreError> {
        domains::add(&self.database, addition).await
    }

    async fn remove_domain(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<RemovedDomain>>, StoreError> {
        domains::remove(&self.database, removal).await
    }

    async fn remove_subdomains(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<()>>, StoreError> {
        domains::remove_subdomains(&self.database, removal).await
    }

    async fn list_domains(&self, query: &DomainQuery) -> Result<Vec<ListedDomain>, StoreError> {
        domains::list(&self.database, query).await
    }

    async fn count_active_keys(
        &self,
        account_id: &AccountId,
        domain: &Domain,
        now: Timestamp,
    ) -> Result<ActiveKeys, StoreError> {
        domains::count_active_keys(&self.database, account_id, domain, now).await
    }
}

#[async_trait]
impl AccountStore for PostgresStore {
    async fn set_suspension(
        &self,
        change: &SuspensionChange,
    ) -> Result<Committed<Option<Suspension>>, StoreError> {
        accounts::set_suspension(&self.database, change).await
    }

    async fn get_account(&self, account_id: &AccountId) -> Result<AccountSummary, StoreError> {
        accounts::get(&self.database, account_id).await
    }

    async fn count_keys(
        &self,
        account_id: &AccountId,
        now: Timestamp,
        before: Revision,
    ) -> Result<CountedKeys, StoreError> {
        accounts::count_keys(&self.database, account_id, now, before).await
    }
}

#[async_trait]
impl UseLog for PostgresStore {
    async fn record_uses(&self, uses: &[NotedUse]) -> Result<Vec<(KeyId, Timestamp)>, StoreError> {
        uses::record(&self.database, uses).await
    }
}

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn agreed_time(&self, now: Timestamp, _: Duration) -> Result<Agreed, StoreError> {
        retention::agreed_time(&self.database, now).await
    }

    /// The history knows where it starts.
    async fn raise_history_start(&self, old: &Old, _: Revision) -> Result<OldWrites, StoreError> {
        let more = retention::raise_history_start(&self.database, old).await?;
        let until = retention::history_start(&self.database).await?;
        Ok(OldWrites { until, more })
    }

    async fn history_start(&self) -> Result<Revision, StoreError> {
        retention::history_start(&self.database).await
    }

    /// Nothing goes after the start of the history, which may have been raised further since.
    async fn forget_keys(
        &self,
        old: &Old,
        _: Revision,
        after: KeyId,
    ) -> Result<Forgotten<KeyId>, StoreError> {
        retention::forget_keys(&self.database, old, after).await
    }

    async fn forget_writes(
        &self,
        _: &Old,
        _: Revision,
        after: Revision,
    ) -> Result<Forgotten<Revision>, StoreError> {
        retention::forget_writes(&self.database, after).await
    }

    async fn missing_keys(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        retention::missing_keys(&self.database, keys).await
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append_records(&self, records: &[AuditRecord]) -> Result<Appended, StoreError> {
        audit::append(&self.database, records).await
    }
}

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn load(&self, batches: BatchSender) -> Result<Position, StoreError> {
        load::load(&self.database, batches).await
    }

    async fn changes(&self, since: Progress, limit: usize) -> Result<ChangePage, ReplicationError> {
        replication::changes(&self.database, since, limit).await
    }
}

#[async_trait]
impl ReplicaRegistry for PostgresStore {
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, ReplicationError> {
        replication::renew(&self.database, renewal).await
    }

    async fn replicas(&self, writes: &[Position]) -> Result<ReplicaSnapshot, StoreError> {
        replication::replicas(&self.database, writes).await
    }

    async fn remove_lapsed(&self, lapsed: &Replica) -> Result<bool, StoreError> {
        replication::remove_lapsed(&self.database, lapsed).await
    }

    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        replication::leave(&self.database, id).await
    }

    async fn is_own(&self) -> Result<bool, StoreError> {
        origin::is_own(&self.database).await
    }

    async fn vouch(&self, held: Position) -> Result<bool, StoreError> {
        origin::vouch(&self.database, held).await
    }
}

impl ConnectionPool for PostgresStore {
    fn pool_status(&self) -> PoolStatus {
        let mut status = self.database.pool_status();
        status.waiting += self.creations.waiting() + self.revocations.waiting();
        status
    }

    fn dead_lease_rows(&self) -> u64 {
        self.dead_rows.count()
    }
}
