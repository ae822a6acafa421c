//! Who a caller is while its call goes on, by the credentials file as it is whenever that is asked.

use crate::{
    callers::{Caller, credentials::Credentials},
    net::reload::Reloaded,
    store::{StillAllowed, Watch},
};
use std::sync::Arc;

type Find = dyn Fn(&Credentials) -> Option<Arc<Caller>> + Send + Sync;

/// Finds a caller by what it has proved itself with.
#[derive(Clone)]
pub(super) enum KnownNow {
    /// Everybody is this caller.
    Always(Arc<Caller>),
    Listed {
        file: Arc<Reloaded<Credentials>>,
        find: Arc<Find>,
    },
}

impl KnownNow {
    /// The caller, if the file lists it.
    pub(super) fn caller(&self) -> Option<Arc<Caller>> {
        match self {
            Self::Always(caller) => Some(caller.clone()),
            Self::Listed { file, find } => find(&file.get()),
        }
    }

    /// For a write, which this caller may make as long as its line is the same.
    pub(super) fn still_allowed(&self, caller: &Arc<Caller>) -> StillAllowed {
        let Self::Listed { file, .. } = self else {
            return StillAllowed::always();
        };
        let (caller, known_now, file) = (caller.clone(), self.clone(), file.clone());
        StillAllowed::so_long_as_watched(
            move || known_now.caller().is_some_and(|now| *now == *caller),
            move || Watch {
                changes: file.changes(),
                token: file.hold(),
            },
        )
    }
}
