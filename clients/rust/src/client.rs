//! The client: its start, Authorize, and its end.

use crate::{
    answer::Decision,
    call::{self, Failure, Kind, Plan},
    error::{Error, Misused, Unavailable},
    options::Options,
    pool::Pool,
    proto::AuthorizeRequest,
    replica::Replica,
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{Mutex, RwLock, RwLockReadGuard},
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::{Code, Status};

/// Asks the replicas of a KeyService. Clones are the same client, and many tasks may use it at the same time.
///
/// Open one for the whole program: it has one connection to each replica. It needs a Tokio runtime.
///
/// To drop a call's future cancels the call. To drop the last clone ends the connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    pool: Arc<Pool>,
    tasks: Mutex<JoinSet<()>>,
    /// Each call holds it for reading. Closing waits for all of them.
    is_open: RwLock<bool>,
}

/// For what is meant to be without end, since times have one.
pub(crate) const LONGEST_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

impl Client {
    /// Opens a client, which begins at once to connect to every replica. It does not wait for one: see
    /// [`wait_until_ready`](Self::wait_until_ready).
    ///
    /// The error says which option contradicts another, or which file cannot be used.
    pub fn open(options: Options) -> Result<Self, Misused> {
        if Handle::try_current().is_err() {
            return Err(Misused::new("open the client within a Tokio runtime"));
        }
        let (targets, credentials) = options.check()?;
        let pool = Arc::new(Pool::new(targets, credentials));
        let tasks = Mutex::new(pool.start());
        let is_open = RwLock::new(true);
        let shared = Shared {
            options,
            pool,
            tasks,
            is_open,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Asks whether this token may be used to send for this domain now.
    ///
    /// It takes at most the deadline of the [`Options`]. A denial is a [`Decision`] and not an error.
    pub async fn authorize(&self, token: &str, domain: &str) -> Result<Decision, Error> {
        let deadline = self.shared.options.deadline;
        self.authorize_within(token, domain, deadline).await
    }

    /// As [`authorize`](Self::authorize), within another deadline.
    pub async fn authorize_within(
        &self,
        token: &str,
        domain: &str,
        deadline: Duration,
    ) -> Result<Decision, Error> {
        let begun = Instant::now();
        let options = &self.shared.options;
        let question = AuthorizeRequest {
            token: cut(token).to_owned(),
            domain: domain.to_owned(),
        };
        let plan = Plan {
            // Half of a short deadline, so that one replica that hangs does not take all of it.
            kind: Kind::Authorize(options.attempt_time.min(deadline / 2)),
            attempts: options.attempts,
            deadline: begun + deadline.min(LONGEST_DEADLINE),
            is_final: is_misuse,
            may_repeat: |_| true,
            changes: false,
        };
        let ask = async {
            let _open = self.enter().map_err(Error::Misused)?;
            // Never cut: what is left could be another domain.
            if cut(domain).len() < domain.len() {
                let error = Status::invalid_argument("the domain is too long");
                return Err(Error::Misused(Misused::from_status(&error)));
            }
            let attempt = |replica: Arc<Replica>| {
                let question = question.clone();
                async move { Decision::read(replica.authorize(question).await?) }
            };
            let answer = call::ask(&self.shared.pool, &plan, attempt).await;
            answer.map_err(|failure| match failure {
                Failure::Unavailable(error) => Error::Unavailable(error),
                Failure::Final(status) => Error::Misused(Misused::from_status(&status)),
            })
        };
        let result = ask.await;
        let metrics = &self.shared.pool.metrics;
        metrics.record_authorize(begun.elapsed(), &result);
        result
    }

    /// Waits until a replica is ready, for at most so long. Let your own readiness depend on it.
    ///
    /// The error says for each replica why it is not ready.
    pub async fn wait_until_ready(&self, within: Duration) -> Result<(), Error> {
        drop(self.enter().map_err(Error::Misused)?);
        let pool = &self.shared.pool;
        let begun = Instant::now();
        let deadline = begun + within.min(LONGEST_DEADLINE);
        let ready = timeout_at(deadline, pool.wait_until_ready()).await;
        ready.map_err(|_| {
            let waited = begun.elapsed();
            Error::Unavailable(Unavailable::new(pool.faults(), waited, pool.lookup_fault()))
        })
    }

    /// Lets calls in flight finish, and ends the connections. Calls that begin later are misused.
    ///
    /// It concerns all clones. If its future is dropped before its end, the client stays open.
    pub async fn close(&self) {
        let mut is_open = self.shared.is_open.write().await;
        *is_open = false;
        self.shared.tasks.lock().await.shutdown().await;
        self.shared.pool.clear();
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Keeps the client open until what this returns is dropped.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, bool>, Misused> {
        // While `close` waits for the calls in flight, this fails, so that no further call begins.
        let is_open = self.shared.is_open.try_read();
        let is_open = is_open.ok().filter(|is_open| **is_open);
        is_open.ok_or_else(|| Misused::new("the client is closed"))
    }
}

/// In characters: more than any token or domain has, and few enough for the server's limit on a message. A longer
/// token is none, and is none when it is cut, so it is denied, and not refused by one replica after another.
const LONGEST_TEXT: usize = 1000;

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST_TEXT);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Whether a call is wrong on every replica.
pub(crate) fn is_misuse(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::Unauthenticated | Code::PermissionDenied
    )
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (replicas, ready) = self.shared.pool.counts();
        f.debug_struct("Client")
            .field("options", &self.shared.options)
            .field("replicas", &replicas)
            .field("ready", &ready)
            .finish()
    }
}
