//! Owns the PostgreSQL store: its statements, their time limits, and how its errors are read.
//! Promises that a write is committed when it returns, and that no call outlasts its limits.
//! Must never let calls, however many and however slow, keep this replica from following others.

mod address;
mod audit;
mod connect;
mod load;
mod migrate;
mod notifications;
mod pool;
mod replication;
mod rows;
mod tls;
mod writes;

use super::{
    ApplyState, AuditLog, Cause, Change, ChangeFeed, Committed, ConnectionPool, CreateOutcome,
    KeyStore, ListQuery, ListedKey, NewKey, OpenError, PoolStatus, Position, Renewal, Renewed,
    Replica, ReplicaId, ReplicaRegistry, ReplicaSnapshot, ReplicationError, Revision, Revocation,
    Store, StoreError, other_secret, with_causes,
};
use crate::model::{
    audit_record::AuditRecord,
    domain::Domain,
    key::{Key, Status},
    token::Digester,
};
pub use address::Address;
use async_trait::async_trait;
pub use audit::read as read_audit;
use deadpool_postgres::{HookError, Object, Pool, PoolError, TimeoutType};
use notifications::Notifications;
use pool::InUse;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_postgres::{Row, error::SqlState, types::ToSql};

/// How much longer this side waits than the server's own `statement_timeout`: so long that the
/// server speaks first unless it, or the way to it, is gone.
const GRACE: Duration = Duration::from_millis(500);

/// One connection follows and renews this replica's lease, one looks at the others' leases.
const LEASE_POOL_SIZE: usize = 2;

/// What bounds the store's use of PostgreSQL.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// Connections in the pool. Two more serve the leases, and one listens for notifications.
    pub pool_size: usize,
    /// To establish one connection.
    pub connect_timeout: Duration,
    /// To get a connection from the pool, one that must be established included.
    pub acquire_timeout: Duration,
    /// For the server to execute one statement.
    pub statement_timeout: Duration,
    /// The same, for the statements that a lease depends on: an answer that comes later serves
    /// nobody, and the server shall not go on with it.
    pub lease_statement_timeout: Duration,
}

/// Keys in a PostgreSQL database.
pub struct PostgresStore {
    pool: Pool,
    /// For following alone: calls that hang or queue must not keep a lease from being renewed.
    lease_pool: Pool,
    limits: PoolSettings,
    notifications: Notifications,
}

impl PostgresStore {
    /// Connects to the database that a `postgres://` address names, and migrates it as needed.
    ///
    /// The address takes the parameters that tokio-postgres takes and, as libpq does,
    /// `sslmode=verify-ca`, `sslmode=verify-full` and `sslrootcert`.
    pub async fn open(
        address: &str,
        limits: PoolSettings,
        digester: &Digester,
    ) -> Result<Self, OpenError> {
        let address = Address::parse(address, limits.connect_timeout)?;
        let limits = PoolSettings {
            connect_timeout: address.connect_timeout(),
            ..limits
        };
        let cannot_open = |cause: Cause, advice| OpenError::Driver {
            what: address.to_string(),
            cause,
            advice,
        };
        let build = |size, statement_timeout| {
            pool::build(&address, &limits, size, statement_timeout)
                .map_err(|error| cannot_open(error.into(), "check --pool-size"))
        };
        let store = Self {
            pool: build(limits.pool_size, limits.statement_timeout)?,
            lease_pool: build(LEASE_POOL_SIZE, limits.lease_statement_timeout)?,
            limits,
            notifications: Notifications::start(address.clone()),
        };
        let mut client = store.acquire(&store.pool).await.map_err(|error| {
            cannot_open(
                error.into(),
                "check that the server runs and that the address, user, password and TLS \
                 parameters are right",
            )
        })?;
        let limit = store.limits.statement_timeout;
        let unanswered = |error: StoreError| {
            cannot_open(
                error.into(),
                "check the server and the way to it, and try again",
            )
        };
        migrate::migrate(&mut client, limit)
            .await
            .map_err(|error| match error {
                migrate::MigrateError::NoAnswer(error) => unanswered(error),
                migrate::MigrateError::Schema(error) => error.into(),
                migrate::MigrateError::Postgres(error) => cannot_open(
                    with_causes(&error).into(),
                    "the first start needs a role that may create a schema in this database, and a \
                 later one a role that may use the tables in schema keyservice",
                ),
            })?;
        let kept = keep_fingerprint(&client, digester.fingerprint());
        let kept = answered_within(limit + GRACE, kept).await;
        let kept = kept.map_err(unanswered)?.map_err(|error| {
            cannot_open(
                with_causes(&error).into(),
                "check that the role may use the tables in schema keyservice, and that the server \
                 is no read-only standby",
            )
        })?;
        if kept != digester.fingerprint() {
            return Err(other_secret(kept));
        }
        client.give_back();
        Ok(store)
    }

    /// A connection from a pool, established if none is free.
    async fn acquire(&self, pool: &Pool) -> Result<InUse, StoreError> {
        let limit = self.limits.acquire_timeout.max(self.limits.connect_timeout);
        match timeout(limit, pool.get()).await {
            Ok(Ok(client)) => Ok(InUse::new(client)),
            Ok(Err(
                PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)),
            )) => Err(StoreError::Unavailable(with_causes(&error).into())),
            Ok(Err(PoolError::Timeout(TimeoutType::Create))) => {
                Err(no_answer(self.limits.connect_timeout))
            }
            Ok(Err(PoolError::Timeout(_))) => Err(StoreError::Unavailable(
                format!(
                    "no connection came free within {}; they are all in use",
                    humantime::format_duration(self.limits.acquire_timeout)
                )
                .into(),
            )),
            Ok(Err(error)) => Err(StoreError::Unavailable(with_causes(&error).into())),
            Err(_) => Err(no_answer(limit)),
        }
    }

    /// Runs one statement, which is one transaction.
    async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        self.query_on(&self.pool, sql, params).await
    }

    /// The same, on a connection of the given pool.
    async fn query_on(
        &self,
        pool: &Pool,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.acquire(pool).await?;
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            client.query(&statement, params).await
        };
        let answer = answered_within(self.limits.statement_timeout + GRACE, rows).await?;
        let rows = answer.map_err(|error| store_error(&error))?;
        client.give_back();
        Ok(rows)
    }
}

impl From<PostgresStore> for Store {
    fn from(store: PostgresStore) -> Self {
        let store = Arc::new(store);
        Self {
            hints: store.notifications.wake_up(),
            keys: store.clone(),
            audit: store.clone(),
            changes: store.clone(),
            replicas: Some(store.clone()),
            pool: Some(store),
        }
    }
}

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create(&self, new: &NewKey) -> Result<Committed<CreateOutcome>, StoreError> {
        writes::create(self, new).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<Option<Committed<Key>>, StoreError> {
        writes::revoke(self, revocation).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<ListedKey>, StoreError> {
        // Each condition names its parameter, so that every text takes the same five.
        let status = match query.status {
            None => "$5::timestamptz IS NOT NULL",
            Some(Status::Revoked) => "revoke_time IS NOT NULL AND $5::timestamptz IS NOT NULL",
            Some(Status::Expired) => "revoke_time IS NULL AND expire_time <= $5",
            Some(Status::Active) => {
                "revoke_time IS NULL AND (expire_time IS NULL OR expire_time > $5)"
            }
        };
        let domain = match query.domain {
            None => "$2::text IS NULL",
            Some(_) => "domain COLLATE \"C\" = $2",
        };
        let rows = self
            .query(
                &format!(
                    "SELECT {}, create_revision FROM keyservice.keys \
                     WHERE account_id COLLATE \"C\" = $1 AND {domain} AND create_revision < $3 AND {status} \
                     ORDER BY create_revision DESC LIMIT $4",
                    rows::KEY_COLUMNS
                ),
                &[
                    &query.account_id.as_str(),
                    &query.domain.as_ref().map(Domain::as_str),
                    &query.before.map_or(i64::MAX, Revision::number),
                    &i64::try_from(query.limit).unwrap_or(i64::MAX),
                    &query.now.to_system_time(),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(ListedKey {
                    key: rows::key(row)?,
                    create_revision: Revision::from_number(rows::column(row, "create_revision")?),
                })
            })
            .collect()
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append_records(&self, records: &[AuditRecord]) -> Result<(), StoreError> {
        audit::append(self, records).await
    }
}

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn load(&self, apply: &mut ApplyState<'_>) -> Result<Position, StoreError> {
        let mut client = self.acquire(&self.lease_pool).await?;
        let patience = self.limits.statement_timeout + GRACE;
        let position = load::load(&mut client, patience, apply).await?;
        client.give_back();
        Ok(position)
    }

    async fn changes(
        &self,
        since: Position,
        limit: usize,
    ) -> Result<Vec<Change>, ReplicationError> {
        replication::changes(self, since, limit).await
    }
}

#[async_trait]
impl ReplicaRegistry for PostgresStore {
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, ReplicationError> {
        replication::renew(self, renewal).await
    }

    async fn replicas(&self, writes: &[Position]) -> Result<ReplicaSnapshot, StoreError> {
        replication::replicas(self, writes).await
    }

    async fn remove_lapsed(&self, lapsed: &Replica) -> Result<bool, StoreError> {
        replication::remove_lapsed(self, lapsed).await
    }

    async fn leave(&self, id: ReplicaId) -> Result<(), StoreError> {
        replication::leave(self, id).await
    }
}

impl ConnectionPool for PostgresStore {
    fn pool_status(&self) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            max: status.max_size,
            waiting: status.waiting,
        }
    }
}

/// Keeps the fingerprint if the store has none, and gives the one it keeps.
async fn keep_fingerprint(
    client: &Object,
    fingerprint: [u8; 16],
) -> Result<[u8; 16], tokio_postgres::Error> {
    let read = "SELECT fingerprint FROM keyservice.digest_key";
    let kept = client.query_opt(read, &[]).await?;
    let kept = if let Some(kept) = kept {
        kept
    } else {
        let keep = "INSERT INTO keyservice.digest_key (only_row, fingerprint) VALUES (true, $1) \
                    ON CONFLICT DO NOTHING";
        client.execute(keep, &[&fingerprint.as_slice()]).await?;
        client.query_one(read, &[]).await?
    };
    let bytes: Vec<u8> = kept.try_get(0)?;
    Ok(bytes
        .try_into()
        .expect("the column is checked to hold 16 bytes"))
}

/// Reads what PostgreSQL said: troubles of the server, the network or the moment may pass.
fn store_error(error: &tokio_postgres::Error) -> StoreError {
    let cause = with_causes(error).into();
    match error.code() {
        // No answer of the server's, so a trouble on the way.
        None => StoreError::Unavailable(cause),
        Some(code) if may_pass(code) => StoreError::Unavailable(cause),
        Some(_) => StoreError::Failed(cause),
    }
}

fn may_pass(code: &SqlState) -> bool {
    // Classes of appendix A of PostgreSQL's manual: connection, rollback, resources, object state,
    // operator, system. What refuses a connection never comes here: it may always pass.
    const CLASSES: [&str; 6] = ["08", "40", "53", "55", "57", "58"];
    CLASSES.iter().any(|class| code.code().starts_with(class))
        // A standby, until it is promoted.
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// What the server answers, if it does within the limit.
async fn answered_within<T>(
    limit: Duration,
    answer: impl Future<Output = T>,
) -> Result<T, StoreError> {
    timeout(limit, answer).await.map_err(|_| no_answer(limit))
}

fn no_answer(limit: Duration) -> StoreError {
    let limit = humantime::format_duration(limit);
    StoreError::Unavailable(format!("PostgreSQL gave no answer within {limit}").into())
}

fn unexpected(what: &'static str) -> StoreError {
    StoreError::Failed(what.into())
}
