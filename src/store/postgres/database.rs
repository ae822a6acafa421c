//! The database as the store's statements see it: two pools, and a time limit on everything.
//!
//! Promises that no call outlasts its limits. Calls, however many and however slow, must never take
//! the connections that a lease depends on.

use super::{
    address::Address,
    broken_off::{Answered, begin, unless_rights_are_lost},
    connections::{Connections, InUse},
    errors::{Failure, GRACE, answered_within, store_error},
    pool::PoolSettings,
};
use crate::{
    model::{audit_record::AdminMethod, token::Digester},
    store::{PoolStatus, StillAllowed, StoreError, with_causes},
};
use deadpool_postgres::BuildError;
use futures::{
    FutureExt,
    future::{Either, FusedFuture, select},
};
use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_postgres::{Row, error::SqlState, types::ToSql};
use uuid::Uuid;

/// One connection follows and renews this replica's lease, and one reads the others' leases.
const LEASE_POOL_SIZE: usize = 2;

/// One receives notifications.
const NOTIFICATION_CONNECTIONS: usize = 1;

/// Makes names without a schema mean PostgreSQL's own objects to the end of a transaction. Otherwise
/// the session's path, which others may write to, could give them another meaning. `pg_temp` stands
/// last, because it is searched first where it is not named.
///
/// This is a second line: a statement of this service names the schema of everything that it uses,
/// each operator included, since a pooler may run it in a session with any path. The functions have a
/// path of their own.
pub(super) const PIN_SEARCH_PATH: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// How many writes of this replica may be at the database at once, or groups of writes. They take turns there
/// at one lock, and a renewal of any replica may have to wait behind those that wait before it. So the wait must
/// not grow with the calls that come. The second is there to begin when the first has ended.
const WRITES_AT_ONCE: usize = 2;

/// One more, which is kept for short writes that take rights away. They then wait for none of this replica that has
/// not begun.
const KEPT_WRITES: usize = 1;

/// A condition that fails the statement on a standby, which may lag behind. Each session is asked when it begins, but
/// a pooler may lead it elsewhere later. Of a key that a standby does not have yet, nobody may be told that there is
/// no such key.
pub(super) const ON_PRIMARY: &str = "(SELECT true FROM keyservice.refuse_standby())";

/// Wakes up the other replicas, which may fail.
const ANNOUNCE: &str = "SELECT keyservice.announce_writes()";

/// A commit that waits for the synchronous standbys, and with itself for every commit before it. It writes to the
/// log alone.
const COMMIT_BEHIND_OTHERS: &str = "
    SELECT pg_catalog.pg_logical_emit_message(true, 'keyservice', 'a commit')
    FROM keyservice.begin_transaction()";

/// The database that an address names.
pub(super) struct Database {
    pub(super) address: Address,
    calls: Connections,
    /// For replication alone: calls that hang or queue must not keep a lease from being renewed.
    leases: Connections,
    /// A permit for each connection that still announces a write after it was answered. Others on the
    /// server can delay that, so some connections must stay free of it.
    announcers: Arc<Semaphore>,
    /// A permit for each write that may be at the database.
    writers: Semaphore,
    kept_writers: Semaphore,
    settings: PoolSettings,
    /// The fingerprint of the digest secret with which this replica was started.
    digest_fingerprint: [u8; 16],
    /// The store that this replica serves, once it is known.
    store_id: Arc<OnceLock<Uuid>>,
}

/// Which turns a write may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// That of any write.
    Common,
    /// Also the one that is kept for short writes that take rights away.
    Kept,
}

impl Turn {
    /// Of a short write.
    pub(super) fn of(method: AdminMethod) -> Self {
        if method.takes_rights_away() {
            Self::Kept
        } else {
            Self::Common
        }
    }
}

/// Which of the two pools a statement takes its connection from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Admin calls, and what is done for them later.
    Calls,
    /// Audit records. One connection of the pool for calls is kept for them: a call that only reads is not
    /// answered without its record.
    Records,
    /// Replication.
    Leases,
}

impl Database {
    /// Builds the pools. Connects to nothing yet.
    pub(super) fn new(
        address: &Address,
        settings: PoolSettings,
        digester: &Digester,
    ) -> Result<Self, BuildError> {
        let settings = PoolSettings {
            connect_timeout: address.connect_timeout(),
            ..settings
        };
        let store_id = Arc::new(OnceLock::new());
        let build = |size, limit| Connections::build(address, &settings, size, limit, &store_id);
        Ok(Self {
            address: address.clone(),
            calls: build(settings.pool_size, settings.statement_timeout)?,
            leases: build(LEASE_POOL_SIZE, settings.lease_statement_timeout)?,
            announcers: Arc::new(Semaphore::new(settings.pool_size.div_ceil(2))),
            writers: Semaphore::new(WRITES_AT_ONCE),
            kept_writers: Semaphore::new(KEPT_WRITES),
            settings,
            digest_fingerprint: digester.fingerprint(),
            store_id,
        })
    }

    /// From now on, sessions are only with this store.
    pub(super) fn set_store(&self, store_id: Uuid) {
        self.store_id.set(store_id).expect("it is set once");
    }

    /// The store that this replica serves. `keyservice.check_store` fails in any other. A session is checked
    /// when it begins. But a pooler may lead it elsewhere, and the tables may be restored from another store's
    /// dump. So each statement that writes, or that a lease depends on, is checked too.
    pub(super) fn store_id(&self) -> Uuid {
        *self.store_id.get().expect("an open database has one")
    }

    /// What tells a database whose keys this replica can find from any other.
    pub(super) fn digest_fingerprint(&self) -> [u8; 16] {
        self.digest_fingerprint
    }

    /// The connections that this replica may open.
    pub(super) fn max_connections(&self) -> i64 {
        let all = self.settings.pool_size + LEASE_POOL_SIZE + NOTIFICATION_CONNECTIONS;
        i64::try_from(all).unwrap_or(i64::MAX)
    }

    /// How long this side waits for the answer to one statement.
    pub(super) fn answer_limit(&self) -> Duration {
        self.statement_timeout() + GRACE
    }

    /// How long the server may execute one statement.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.settings.statement_timeout
    }

    /// The pool for calls, as it is now.
    pub(super) fn pool_status(&self) -> PoolStatus {
        self.calls.status()
    }

    /// A connection from a pool, which is established if none is free.
    pub(super) async fn acquire(&self, purpose: Purpose) -> Result<InUse, StoreError> {
        match purpose {
            Purpose::Calls => self.calls.get_any_but_the_last().await,
            Purpose::Records => self.calls.get(None).await,
            Purpose::Leases => self.leases.get(Some(&self.calls)).await,
        }
    }

    /// Establishes the connections that a lease depends on, before calls use up what the server allows.
    pub(super) async fn establish_lease_connections(&self) -> Result<(), StoreError> {
        let mut acquired = Vec::with_capacity(LEASE_POOL_SIZE);
        for _ in 0..LEASE_POOL_SIZE {
            // One by one: at a limit, PostgreSQL may refuse both of two that come at once.
            acquired.push(self.acquire(Purpose::Leases).await?);
        }
        acquired.into_iter().for_each(InUse::give_back);
        Ok(())
    }

    /// Runs one statement, which is one transaction.
    pub(super) async fn query(
        &self,
        purpose: Purpose,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.acquire(purpose).await?;
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let rows = answered_within(self.answer_limit(), rows).await?;
        let rows = rows.map_err(|error| store_error(&error))?;
        client.give_back();
        Ok(rows)
    }

    /// Runs one statement that writes, which is one transaction, when it is its turn, if it is still allowed then.
    pub(super) async fn write(
        &self,
        turn: Turn,
        still_allowed: &StillAllowed,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let turn = timeout(self.turn_limit(), self.turn_to_write(turn)).await;
        let _turn = turn.map_err(|_| self.no_turn())?;
        let written = self.write_in_turn(&[still_allowed], sql, params).await;
        written.map_err(StoreError::from)
    }

    /// Waits until a write of this replica may be at the database. Turns come in the order in which they were
    /// asked for.
    pub(super) async fn turn_to_write(&self, turn: Turn) -> SemaphorePermit<'_> {
        let common = self.writers.acquire();
        let permit = match turn {
            Turn::Common => common.await,
            Turn::Kept => tokio::select! {
                permit = self.kept_writers.acquire() => permit,
                permit = common => permit,
            },
        };
        permit.expect("nothing closes it")
    }

    /// How long a write waits for its turn.
    pub(super) fn turn_limit(&self) -> Duration {
        self.settings.acquire_timeout
    }

    /// The error of a write that did not get its turn in time.
    pub(super) fn no_turn(&self) -> StoreError {
        let limit = humantime::format_duration(self.turn_limit());
        StoreError::Busy(format!("other writes were in the way for {limit}"))
    }

    /// Runs one statement that writes for these callers, which is one transaction, and then announces the write
    /// to the other replicas, in another transaction. The answer does not wait for that. If one of the callers
    /// loses its rights before the write is made, nothing is written.
    ///
    /// The announcement is sent together with the write, so it begins as soon as the write has ended.
    pub(super) async fn write_in_turn(
        &self,
        callers: &[&StillAllowed],
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Failure> {
        let warnings = self.address.warnings();
        let warned = warnings.so_far();
        let client = Arc::new(self.acquire(Purpose::Calls).await?);
        let shared = client.clone();
        let may_announce = self.announcers.available_permits() > 0;
        let mut announced = may_announce.then(|| {
            Box::pin(async move {
                let sent = shared.batch_execute(ANNOUNCE).await;
                (shared, sent)
            })
            .fuse()
        });
        let written = async {
            let statement = client.prepare_cached(sql).await;
            let statement = statement.map_err(|error| Failure::of(&error))?;
            let begun = begin(callers)?;
            let written = client.query(&statement, params);
            let written = async {
                let Some(announced) = &mut announced else {
                    return written.await;
                };
                // It polls the write first, so the write is sent first, and is answered first.
                match select(pin!(written), announced).await {
                    Either::Left((rows, _)) => rows,
                    Either::Right((_, written)) => written.await,
                }
            };
            Box::pin(unless_rights_are_lost(
                &self.address,
                &client,
                begun,
                written,
            ))
            .await
        };
        let Answered {
            answer: rows,
            was_cancelled,
        } = answered_within(self.answer_limit(), written).await??;
        if was_cancelled || warnings.so_far() != warned {
            // The commit was faster. But a request to cancel it, ours or another's, may have ended its wait for the
            // synchronous standbys.
            drop((announced, client));
            let replicated = Box::pin(self.commit_behind_others());
            answered_within(self.answer_limit(), replicated).await??;
            return Ok(rows);
        }
        // Both may have ended before the write's end was seen. Then the session is not used again.
        let Some(announced) = announced.filter(|announced| !announced.is_terminated()) else {
            if let Some(client) = Arc::into_inner(client) {
                client.give_back();
            }
            return Ok(rows);
        };
        drop(client);
        let limit = self.answer_limit();
        let permit = self.announcers.clone().try_acquire_owned();
        tokio::spawn(async move {
            if let Ok((client, sent)) = answered_within(limit, announced).await {
                give_back(client, &sent);
            }
            drop(permit);
        });
        Ok(rows)
    }

    /// Returns when the synchronous standbys have every commit before this, if nobody ends this wait too.
    pub(super) async fn commit_behind_others(&self) -> Result<(), StoreError> {
        let warnings = self.address.warnings();
        loop {
            let warned = warnings.so_far();
            self.query(Purpose::Calls, COMMIT_BEHIND_OTHERS, &[])
                .await?;
            if warnings.so_far() == warned {
                return Ok(());
            }
        }
    }
}

/// Gives a connection back after an announcement.
fn give_back(client: Arc<InUse>, sent: &Result<(), tokio_postgres::Error>) {
    if let Err(error) = sent {
        tracing::debug!("a write was not announced: {}", with_causes(error));
        // Somebody else held the lock of all notifications. The session is as good as before.
        if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return;
        }
    }
    if let Some(client) = Arc::into_inner(client) {
        client.give_back();
    }
}
