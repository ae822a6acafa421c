//! What tells that two calls are one write: the second found its work done.

use super::event::{Event, Subject};
use crate::model::{audit_record::AdminMethod, history::HistoryId};

/// What two calls have in common of which the second found its work done: the history, the revision, the method, the
/// thing, and what was verified.
pub(super) type Repeated = (HistoryId, i64, AdminMethod, Option<Subject>, Option<bool>);

pub(super) fn repeated(event: &Event) -> Option<Repeated> {
    use AdminMethod::{AddDomain, Create, RemoveDomain, Rotate};
    let method = event.method;
    matches!(method, AddDomain | Create | RemoveDomain | Rotate).then_some(())?;
    let (revision, subject) = (event.original.revision, event.subject.clone());
    Some((
        event.history_id?,
        revision,
        method,
        subject,
        event.include_subdomains,
    ))
}
