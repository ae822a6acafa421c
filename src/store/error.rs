//! The errors of a store that is open: [`StoreError`] and [`ReplicationError`].
//!
//! Promises that whoever gets one knows whether trying again can help.

/// The store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be reached, or not in time. Trying again later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// The store was there, and other calls were in the way for as long as the text says. Trying again later may help.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// A replica of an earlier release holds or may hold a lease, and would not decide by this change.
    /// Trying again helps once that replica is updated.
    #[error("a replica of the release before is running, which does not know this change")]
    OlderReplica,
    /// The store is not the one that was opened, as the text says.
    #[error(
        "the database at the address is not the one that this replica serves: {0}. Make the address lead to the \
         former one again, or restart the replica: it serves the one that is there, but a restored one only after \
         `keyservice accept-restore`"
    )]
    OtherStore(String),
    /// The caller lost its rights while the write waited for its turn. It was not made.
    #[error("the caller has lost its rights since it asked for the write")]
    Disallowed,
    /// The store failed in a way that trying again will not mend.
    #[error("the store failed: {0}")]
    Failed(#[source] Cause),
}

impl StoreError {
    /// The same error, for another caller whose write it has failed as well.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Unavailable(cause) => Self::Unavailable(with_causes(&**cause).into()),
            Self::Busy(cause) => Self::Busy(cause.clone()),
            Self::OlderReplica => Self::OlderReplica,
            Self::OtherStore(found) => Self::OtherStore(found.clone()),
            Self::Disallowed => Self::Disallowed,
            Self::Failed(cause) => Self::Failed(with_causes(&**cause).into()),
        }
    }
}

/// The store could not tell what came since a position.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The store does not hold the write at that position: it was restored from a backup, or a
    /// standby took over that had missed the last commits.
    #[error("the store's history is not the one that this replica has followed")]
    OtherHistory,
    /// What is in the store's place is not the store that was opened. The memory of this process is
    /// not that of whatever is there, and must not be used until the store is back.
    #[error("the store is not the one that this process has opened: {0}")]
    StoreLost(#[source] Cause),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a store's driver said.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An error and all its causes, on one line. PostgreSQL's further lines are left out: they may have the
/// row that it has refused.
pub(crate) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(|error| {
            let text = error.to_string();
            text.lines().next().unwrap_or_default().to_owned()
        })
        .collect::<Vec<_>>()
        .join(": ")
}
