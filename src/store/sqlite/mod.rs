//! The embedded store: one SQLite file, for one process.
//!
//! Promises that a write is on disk when it returns (WAL, `synchronous=FULL`). Must never share its
//! file with a second process, whose memory would miss the first one's writes.

mod accounts;
mod audit;
mod batch_revoke;
mod copies;
mod domains;
mod errors;
mod file;
mod histories;
mod inspect;
mod key_changes;
mod key_list;
mod load;
mod open;
mod open_files;
mod opening;
mod origin;
mod read_only;
mod reading;
mod replaced;
mod restore;
mod retention;
mod rows;
mod schema;
mod statements;
mod untrusted_file;
mod uses;
mod wal_index;
mod worker;
mod write_groups;

use super::{
    AccountStore, AccountSummary, ActiveKeys, AddedDomain, Agreed, Appended, AuditLog,
    BatchRevocation, BatchSender, ChangeFeed, ChangePage, Committed, Counted, CountedKeys,
    CreateOutcome, DomainAddition, DomainQuery, DomainRemoval, DomainStore, Forgotten, KeyLookup,
    KeyReplacement, KeyStore, KeySuspension, ListQuery, Listed, ListedDomain, NewKey, NotCreated,
    NotedUse, Old, OldWrites, OpenError, Position, Presence, Progress, RemovedDomain, Replaced,
    ReplicationError, RetentionStore, Revision, Revocation, Selected, Selection, StillAllowed,
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
use async_trait::async_trait;
pub use audit::read as read_audit;
pub use copies::{Copied, CopyError, back_up, back_up_to};
use open::Opened;
use open_files::OpenFiles;
pub use origin::{accept_restore, describe_restored, find_restored};
pub use restore::{Former, MayRestore, Restored, restore, restore_from};
use rusqlite::{Connection, Transaction};
use std::{io, path::Path, sync::Arc, time::Duration};
use worker::Worker;
use write_groups::WriteGroups;

/// Keys in one SQLite file.
pub struct SqliteStore {
    // Fields are dropped in this order: the connections close before the lock is released.
    writer: Worker,
    /// For looks at one key.
    looker: Worker,
    /// For lists and counts.
    searcher: Worker,
    /// For replication alone: other work must not keep a lease from being renewed.
    follower: Worker,
    files: Arc<OpenFiles>,
    groups: Arc<WriteGroups>,
    identity: StoreIdentity,
}

impl SqliteStore {
    /// The number and the time of the last write before a revision that was made up to a time.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn last_write_before(
        &self,
        revision: Revision,
        until: Timestamp,
    ) -> Result<Option<(Revision, Timestamp)>, StoreError> {
        let read = move |connection: &mut Connection| {
            Ok(statements::last_write_before(connection, revision, until)?)
        };
        self.looker.read(read).await
    }

    /// Looks whether there is a database. Blocks.
    #[must_use]
    pub fn look(path: &Path) -> Presence {
        match path.metadata() {
            Ok(found) if found.len() > 0 => Presence::Store,
            Err(error) if error.kind() != io::ErrorKind::NotFound => Presence::Unknown,
            // The file of a process that was killed soon after it created it may be empty beside its log.
            _ if inspect::has_log(path).unwrap_or(true) => Presence::Unknown,
            _ => Presence::Nothing(format!("sqlite:{}", path.display())),
        }
    }

    /// Opens the file, and creates or migrates it as needed. Blocks: call it before serving.
    ///
    /// Refuses a file that was restored and is not accepted.
    pub fn open(path: &Path, digester: &Digester) -> Result<Self, OpenError> {
        Self::open_as(path, digester, WhenRestored::Refuse)
    }

    /// The same, for a file that may have been restored, to write to it before it is accepted.
    pub fn open_restored(path: &Path, digester: &Digester) -> Result<Self, OpenError> {
        Self::open_as(path, digester, WhenRestored::Open)
    }

    fn open_as(
        path: &Path,
        digester: &Digester,
        when_restored: WhenRestored,
    ) -> Result<Self, OpenError> {
        let Opened {
            writer,
            looker,
            searcher,
            follower,
            files,
            identity,
        } = open::open(path, digester, when_restored)?;
        Ok(Self {
            writer,
            looker,
            searcher,
            follower,
            files,
            groups: Arc::new(WriteGroups::new(WRITES_PER_COMMIT)),
            identity,
        })
    }

    /// Lets at most so many writes share a transaction. 1 gives each its own.
    #[must_use]
    pub fn with_writes_per_commit(self, most: usize) -> Self {
        let groups = Arc::new(WriteGroups::new(most));
        Self { groups, ..self }
    }

    /// Makes a write, in one transaction with those that wait at the same time. If it fails, the others stand.
    async fn write<T: Send + 'static>(
        &self,
        allowed: StillAllowed,
        write: impl Fn(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answered = self.groups.enter(allowed, write);
        let (groups, files) = (self.groups.clone(), self.files.clone());
        self.writer
            .run_until(answered, move |connection| {
                groups.make_next(connection, &files);
            })
            .await
    }

    /// Makes a write that may take long, in a transaction of its own.
    async fn write_alone<T: Send + 'static>(
        &self,
        allowed: StillAllowed,
        write: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let files = self.files.clone();
        self.writer
            .run(move |connection| {
                // Kept until the commit has ended.
                let mut begun = None;
                write_groups::commit(connection, &files, |transaction| {
                    begun = Some(allowed.begin()?);
                    Ok(write(transaction)?)
                })
            })
            .await
    }
}

impl From<SqliteStore> for Store {
    fn from(store: SqliteStore) -> Self {
        let store = Arc::new(store);
        Self {
            identity: store.identity,
            keys: store.clone(),
            domains: store.clone(),
            accounts: store.clone(),
            uses: store.clone(),
            retention: store.clone(),
            histories: store.clone(),
            audit: store.clone(),
            changes: store,
            replicas: None,
            pool: None,
            // Nobody notifies: all changes are this process's own.
            hints: Arc::default(),
        }
    }
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn create(
        &self,
        new: &NewKey,
    ) -> Result<Result<Committed<CreateOutcome>, NotCreated>, StoreError> {
        let (new, allowed) = (new.clone(), new.still_allowed.clone());
        self.write(allowed, move |transaction| {
            statements::create(transaction, &new)
        })
        .await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<Option<Committed<Key>>, StoreError> {
        let (revocation, allowed) = (revocation.clone(), revocation.still_allowed.clone());
        self.write(allowed, move |transaction| {
            statements::revoke(transaction, &revocation)
        })
        .await
    }

    async fn get(&self, lookup: &KeyLookup) -> Result<Option<Key>, StoreError> {
        let lookup = lookup.clone();
        self.looker
            .read(move |connection| Ok(key_changes::get(connection, &lookup)?))
            .await
    }

    async fn replace(&self, replacement: &KeyReplacement) -> Result<Replaced, StoreError> {
        let replacement = replacement.clone();
        let allowed = replacement.still_allowed.clone();
        self.write(allowed, move |transaction| {
            key_changes::replace(transaction, &replacement)
        })
        .await
    }

    async fn set_key_suspension(
        &self,
        suspension: &KeySuspension,
    ) -> Result<Suspended, StoreError> {
        let suspension = suspension.clone();
        let allowed = suspension.still_allowed.clone();
        self.write(allowed, move |transaction| {
            key_changes::set_suspension(transaction, &suspension)
        })
        .await
    }

    async fn select(&self, selection: &Selection) -> Result<Selected, StoreError> {
        let selection = selection.clone();
        self.searcher
            .read(move |connection| Ok(batch_revoke::select(connection, &selection)?))
            .await
    }

    async fn batch_revoke(&self, batch: &BatchRevocation) -> Result<Committed<u64>, StoreError> {
        let batch = batch.clone();
        let allowed = batch.still_allowed.clone();
        self.write_alone(allowed, move |transaction| {
            batch_revoke::revoke(transaction, &batch)
        })
        .await
    }

    async fn list(&self, query: &ListQuery) -> Result<Option<Listed>, StoreError> {
        let query = query.clone();
        self.searcher
            .read(move |connection| Ok(key_list::list(connection, &query)?))
            .await
    }

    async fn count(&self, query: &ListQuery) -> Result<Option<Counted>, StoreError> {
        let query = query.clone();
        self.searcher
            .read(move |connection| Ok(key_list::count(connection, &query)?))
            .await
    }
}

#[async_trait]
impl DomainStore for SqliteStore {
    async fn add_domain(
        &self,
        addition: &DomainAddition,
    ) -> Result<Committed<AddedDomain>, StoreError> {
        let addition = addition.clone();
        let allowed = addition.still_allowed.clone();
        self.write(allowed, move |transaction| {
            domains::add(transaction, &addition)
        })
        .await
    }

    async fn remove_domain(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<RemovedDomain>>, StoreError> {
        let removal = removal.clone();
        let allowed = removal.still_allowed.clone();
        self.write(allowed, move |transaction| {
            domains::remove(transaction, &removal)
        })
        .await
    }

    async fn remove_subdomains(
        &self,
        removal: &DomainRemoval,
    ) -> Result<Option<Committed<()>>, StoreError> {
        let removal = removal.clone();
        let allowed = removal.still_allowed.clone();
        self.write(allowed, move |transaction| {
            domains::remove_subdomains(transaction, &removal)
        })
        .await
    }

    async fn list_domains(&self, query: &DomainQuery) -> Result<Vec<ListedDomain>, StoreError> {
        let query = query.clone();
        self.searcher
            .read(move |connection| Ok(domains::list(connection, &query)?))
            .await
    }

    async fn count_active_keys(
        &self,
        account_id: &AccountId,
        domain: &Domain,
        now: Timestamp,
    ) -> Result<ActiveKeys, StoreError> {
        let (account_id, domain) = (account_id.clone(), domain.clone());
        self.searcher
            .read(move |connection| {
                let counted = domains::count_active_keys(connection, &account_id, &domain, now);
                Ok(counted?)
            })
            .await
    }
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn set_suspension(
        &self,
        change: &SuspensionChange,
    ) -> Result<Committed<Option<Suspension>>, StoreError> {
        let change = change.clone();
        let allowed = change.still_allowed.clone();
        self.write(allowed, move |transaction| {
            accounts::set_suspension(transaction, &change)
        })
        .await
    }

    async fn get_account(&self, account_id: &AccountId) -> Result<AccountSummary, StoreError> {
        let account_id = account_id.clone();
        self.searcher
            .read(move |connection| Ok(accounts::get(connection, &account_id)?))
            .await
    }

    async fn count_keys(
        &self,
        account_id: &AccountId,
        now: Timestamp,
        before: Revision,
    ) -> Result<CountedKeys, StoreError> {
        let account_id = account_id.clone();
        self.searcher
            .read(move |connection| Ok(accounts::count_keys(connection, &account_id, now, before)?))
            .await
    }
}

#[async_trait]
impl UseLog for SqliteStore {
    async fn record_uses(&self, uses: &[NotedUse]) -> Result<Vec<(KeyId, Timestamp)>, StoreError> {
        let uses = uses.to_vec();
        self.write(StillAllowed::always(), move |transaction| {
            uses::record(transaction, &uses)
        })
        .await
    }
}

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn agreed_time(&self, now: Timestamp, passed: Duration) -> Result<Agreed, StoreError> {
        let always = StillAllowed::always();
        self.write(always, move |transaction| {
            retention::agreed_time(transaction, now, passed)
        })
        .await
    }

    async fn raise_history_start(
        &self,
        old: &Old,
        after: Revision,
    ) -> Result<OldWrites, StoreError> {
        let old = *old;
        self.searcher
            .read(move |connection| {
                retention::old_after(connection, &old, after).map_err(StoreError::from)
            })
            .await
    }

    async fn history_start(&self) -> Result<Revision, StoreError> {
        Ok(Revision::ZERO)
    }

    async fn forget_keys(
        &self,
        old: &Old,
        until: Revision,
        after: KeyId,
    ) -> Result<Forgotten<KeyId>, StoreError> {
        let old = *old;
        let always = StillAllowed::always();
        self.write_alone(always, move |transaction| {
            retention::forget_keys(transaction, &old, until, after)
        })
        .await
    }

    async fn forget_writes(
        &self,
        old: &Old,
        until: Revision,
        after: Revision,
    ) -> Result<Forgotten<Revision>, StoreError> {
        let old = *old;
        let always = StillAllowed::always();
        self.write_alone(always, move |transaction| {
            retention::forget_writes(transaction, &old, until, after)
        })
        .await
    }

    async fn missing_keys(&self, keys: &[KeyId]) -> Result<Vec<KeyId>, StoreError> {
        let keys = keys.to_vec();
        self.looker
            .read(move |connection| {
                retention::missing_keys(connection, &keys).map_err(StoreError::from)
            })
            .await
    }
}

#[async_trait]
impl AuditLog for SqliteStore {
    async fn append_records(&self, records: &[AuditRecord]) -> Result<Appended, StoreError> {
        let records = records.to_vec();
        self.write(StillAllowed::always(), move |transaction| {
            let mut records = records.iter();
            records.try_for_each(|record| audit::append(transaction, record))
        })
        .await
        .map(|()| Appended::Durably)
    }
}

#[async_trait]
impl ChangeFeed for SqliteStore {
    async fn load(&self, batches: BatchSender) -> Result<Position, StoreError> {
        self.follower
            .run_to_its_end(move |connection| load::load(connection, &batches))
            .await
    }

    async fn changes(&self, since: Progress, limit: usize) -> Result<ChangePage, ReplicationError> {
        let files = self.files.clone();
        self.follower
            .read(move |connection| {
                let page = statements::changes(connection, since.read_to, limit);
                let page = page.map_err(StoreError::from)?;
                // Asked at every renewal, so that a lease ends soon when there is nothing to write.
                files.check()?;
                Ok(page)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::batches;

    #[tokio::test]
    async fn replication_does_not_wait_for_lists() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
        let (release, released) = std::sync::mpsc::channel::<()>();
        let slow = store.searcher.read(move |_| {
            let _ = released.recv();
            Ok::<_, StoreError>(())
        });
        let follow = async {
            let (batches, _untaken) = batches();
            let loaded = store.load(batches).await.expect("loaded");
            let changes = store.changes(Progress::at(loaded), 10).await;
            drop(release);
            changes.expect("read").changes
        };
        let (slow, changes) = tokio::join!(slow, follow);
        slow.expect("in the end");
        assert_eq!(changes, []);
    }

    #[tokio::test]
    async fn writes_that_wait_for_the_disk_share_the_next_commit() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.db");
        let store = SqliteStore::open(&path, &Digester::new(None)).expect("it opens");
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = store.writer.run(move |connection| {
            let _ = released.recv();
            commits(connection)
        });
        let mut busy = std::pin::pin!(busy);
        assert!(futures::poll!(&mut busy).is_pending());
        let mut writes = Vec::new();
        for number in 0..=WRITES_PER_COMMIT {
            let mut write =
                Box::pin(
                    store.write(StillAllowed::always(), move |transaction| match number {
                        7 => transaction.execute("no SQL", []),
                        _ => transaction.execute("UPDATE opening SET commits = commits", []),
                    }),
                );
            assert!(futures::poll!(&mut write).is_pending());
            writes.push(write);
        }
        drop(release);
        let before = busy.await.expect("released");
        for (number, write) in writes.into_iter().enumerate() {
            assert_eq!(write.await.is_ok(), number != 7, "{number}");
        }
        let after = store.writer.run(commits).await.expect("counted");
        assert_eq!(after - before, 2, "one is full");
    }

    fn commits(connection: &mut rusqlite::Connection) -> Result<i64, StoreError> {
        let commits = "SELECT commits FROM opening";
        Ok(connection.query_row(commits, [], |row| row.get(0))?)
    }
}
