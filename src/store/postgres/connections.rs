//! The connections of one pool: up to a number, and no more than the server allows.
//!
//! Promises that a call waits for a connection of its pool where the server refuses a further one, and
//! that the pool for leases gets its connections at the expense of the pool for calls. Must never lend
//! a connection whose last statement failed or was not answered.

use super::{
    address::Address,
    errors::{no_answer, refuses_for_lack_of_room, said, store_error},
    given_up,
    pool::{self, PoolSettings},
};
use crate::store::{PoolStatus, StoreError, with_causes};
use deadpool_postgres::{BuildError, HookError, Object, Pool, PoolError, TimeoutType};
use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Once, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// After the server has refused a further connection, how long this pool asks for one connection less.
/// A refusal costs the server a process, and the caller its place in the queue.
const REFUSAL_PAUSE: Duration = Duration::from_secs(5);

/// How often this pool asks for the room of a session that was closed for it.
const CLOSING_PAUSE: Duration = Duration::from_millis(50);

/// How long a loaded server gets to end a session that was closed to make room for another one.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Connections {
    address: Arc<Address>,
    pool: Pool,
    /// The store that each session must be with, once that is known.
    store_id: Arc<OnceLock<Uuid>>,
    /// A turn for each connection that may be in use. Whoever has one finds an idle connection in the
    /// pool, or may ask the server for another.
    turns: Arc<Semaphore>,
    /// One less of these, if there are several: whoever may not use the last connection has one, too.
    not_last: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Asks for the next connection that is given back to be closed instead. It is only a hint, so its
    /// memory ordering does not matter.
    must_close_one: Arc<AtomicBool>,
    acquire_timeout: Duration,
    connect_timeout: Duration,
    refusal_is_logged: Once,
}

impl Connections {
    /// Connects to nothing yet.
    pub(super) fn build(
        address: &Address,
        settings: &PoolSettings,
        size: usize,
        statement_timeout: Duration,
        store_id: &Arc<OnceLock<Uuid>>,
    ) -> Result<Self, BuildError> {
        Ok(Self {
            address: Arc::new(address.clone()),
            pool: pool::build(address, settings, size, statement_timeout, store_id)?,
            store_id: store_id.clone(),
            turns: Arc::new(Semaphore::new(size)),
            not_last: Arc::new(Semaphore::new(size.saturating_sub(1).max(1))),
            waiting: AtomicUsize::new(0),
            must_close_one: Arc::default(),
            acquire_timeout: settings.acquire_timeout,
            connect_timeout: settings.connect_timeout,
            refusal_is_logged: Once::new(),
        })
    }

    pub(super) fn status(&self) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            idle: status.available,
            in_use: status.size.saturating_sub(status.available),
            max: status.max_size,
            waiting: status.waiting + self.waiting.load(Relaxed),
        }
    }

    /// A connection, which is established if none is idle. Where the server refuses that, one of
    /// `lesser` is closed to make room, or this waits for one that is in use.
    pub(super) async fn get(&self, lesser: Option<&Self>) -> Result<InUse, StoreError> {
        let limit = self.acquire_timeout.max(self.connect_timeout);
        let got = timeout(limit, self.get_in_turn(lesser)).await;
        got.unwrap_or_else(|_| Err(no_answer(limit)))
    }

    /// The same, but leaves the last connection to others, if there are several.
    pub(super) async fn get_any_but_the_last(&self) -> Result<InUse, StoreError> {
        let deadline = Instant::now() + self.acquire_timeout;
        let not_last = self.permit(&self.not_last, deadline, None).await?;
        let mut connection = self.get(None).await?;
        connection.not_last = Some(not_last);
        Ok(connection)
    }

    async fn get_in_turn(&self, lesser: Option<&Self>) -> Result<InUse, StoreError> {
        let deadline = Instant::now() + self.acquire_timeout;
        let mut refusal = None;
        let mut room_is_due = None;
        loop {
            let turn = self
                .permit(&self.turns, deadline, refusal.as_deref())
                .await?;
            let refused = match self.pool.get().await {
                Ok(connection) => return Ok(self.lend(connection, turn)),
                Err(error) => error,
            };
            let cause = self.error(&refused);
            let Some(no_room) = of_postgres(&refused).filter(|it| refuses_for_lack_of_room(it))
            else {
                return Err(cause);
            };
            refusal = Some(with_causes(no_room));
            let is_due = |room: Option<Instant>| room.is_some_and(|due| Instant::now() < due);
            if !is_due(room_is_due) && lesser.is_some_and(Self::close_one) {
                room_is_due = Some(Instant::now() + CLOSING_LIMIT);
            }
            if is_due(room_is_due) {
                sleep(CLOSING_PAUSE).await;
            } else if self.pool.status().size > 0 {
                self.log_refusal(&cause);
                set_aside(turn);
            } else {
                return Err(cause);
            }
        }
    }

    async fn permit(
        &self,
        permits: &Arc<Semaphore>,
        deadline: Instant,
        refusal: Option<&str>,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let _waiting = Waiting::count(&self.waiting);
        let permit = permits.clone().acquire_owned();
        let Ok(permit) = timeout_at(deadline, permit).await else {
            let limit = humantime::format_duration(self.acquire_timeout);
            let more = refusal.map_or(String::new(), |cause| {
                format!(", and PostgreSQL refuses a further one: {cause}")
            });
            let cause =
                format!("no connection came free within {limit}; they are all in use{more}");
            return Err(StoreError::Unavailable(cause.into()));
        };
        Ok(permit.expect("nothing closes it"))
    }

    fn lend(&self, connection: Object, turn: OwnedSemaphorePermit) -> InUse {
        InUse {
            address: self.address.clone(),
            connection: Some(connection),
            turn: Some(turn),
            not_last: None,
            must_close_one: self.must_close_one.clone(),
        }
    }

    /// Closes an idle connection, or has the next one closed that is given back. Returns false if there
    /// is none.
    fn close_one(&self) -> bool {
        if self.pool.status().size == 0 {
            return false;
        }
        let mut is_closed = false;
        self.pool
            .retain(|_, _| std::mem::replace(&mut is_closed, true));
        if !is_closed {
            self.must_close_one.store(true, Relaxed);
        } else if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            // Otherwise the next call would take the room.
            set_aside(turn);
        }
        true
    }

    fn log_refusal(&self, cause: &StoreError) {
        self.refusal_is_logged.call_once(|| {
            tracing::warn!(
                "{cause}; calls wait for the connections that this replica has. Raise the limit, or \
                 start with a smaller --pool-size"
            );
        });
    }

    fn error_of_setup(&self, error: &tokio_postgres::Error) -> StoreError {
        match self.store_id.get() {
            Some(store_id) if is_about_schema(error) => StoreError::OtherStore(format!(
                "expected the store {store_id}, found none, or one of an earlier release"
            )),
            _ => match store_error(error) {
                other @ StoreError::OtherStore(_) => other,
                // A session that cannot begin may always pass.
                _ => StoreError::Unavailable(said(error).into()),
            },
        }
    }

    fn error(&self, error: &PoolError) -> StoreError {
        match (of_postgres(error), error) {
            (Some(error), PoolError::PostCreateHook(_)) => self.error_of_setup(error),
            (Some(error), _) => StoreError::Unavailable(said(error).into()),
            (None, PoolError::Timeout(TimeoutType::Create)) => no_answer(self.connect_timeout),
            (None, other) => StoreError::Unavailable(with_causes(other).into()),
        }
    }
}

/// Whether the schema, or a part of it, is not there.
fn is_about_schema(error: &tokio_postgres::Error) -> bool {
    const CODES: [SqlState; 3] = [
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::UNDEFINED_TABLE,
    ];
    error.code().is_some_and(|code| CODES.contains(code))
}

/// What the server said, or the way to it.
fn of_postgres(error: &PoolError) -> Option<&tokio_postgres::Error> {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            Some(error)
        }
        _ => None,
    }
}

/// Gives a turn back after the pause, so that meanwhile one caller less asks the server in vain.
fn set_aside(turn: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        sleep(REFUSAL_PAUSE).await;
        drop(turn);
    });
}

/// Counts one more for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection in use.
///
/// If it is dropped before it is given back, by a time limit, an error, or because its caller has
/// gone, it is closed, and the server is asked to cancel what it works on there. The answer may still come, or
/// never. A session that failed may fail for ever, like one that began while the database was read-only.
pub(super) struct InUse {
    address: Arc<Address>,
    connection: Option<Object>,
    /// Given back after the connection, so that whoever gets it finds the connection.
    turn: Option<OwnedSemaphorePermit>,
    not_last: Option<OwnedSemaphorePermit>,
    must_close_one: Arc<AtomicBool>,
}

impl InUse {
    pub(super) fn give_back(mut self) {
        if !self.must_close_one.load(Relaxed) {
            self.connection = None;
        }
    }
}

impl Deref for InUse {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.connection.as_ref().expect("only its end takes it")
    }
}

impl DerefMut for InUse {
    fn deref_mut(&mut self) -> &mut Object {
        self.connection.as_mut().expect("only its end takes it")
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(closed) = self.connection.take() {
            given_up::close(self.address.clone(), Object::take(closed));
            let made_room = self.must_close_one.swap(false, Relaxed);
            if let Some(turn) = self.turn.take().filter(|_| made_room) {
                // Otherwise the next call would take the room.
                set_aside(turn);
            }
        }
    }
}
