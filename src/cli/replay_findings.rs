//! What `keyservice replay` prints about what it found.

use super::{complain, output::counted};
use crate::{
    model::{account::AccountId, audit_record::AdminMethod, domain::Domain},
    replay::{Action, Event, Subject, replayer::Finding},
};
use serde_json::json;

/// How much was found.
#[derive(Default)]
pub(super) struct Summary {
    written: u64,
    /// How many writes could not be made.
    pub(super) failed: u64,
    lost_keys: u64,
    lost_rights: u64,
}

impl Summary {
    pub(super) fn add(&mut self, finding: &Finding<'_>) {
        match finding.action {
            Action::LostKey => self.lost_keys += 1,
            Action::LostRights => self.lost_rights += 1,
            _ if finding.failed.is_some() => self.failed += 1,
            _ => self.written += 1,
        }
    }

    pub(super) fn tell(&self, dry_run: bool) {
        let Self {
            written,
            failed,
            lost_keys,
            lost_rights,
        } = self;
        let done = if dry_run {
            "would be written"
        } else {
            "written"
        };
        let written = counted(*written, "write");
        let lost_keys = counted(*lost_keys, "key");
        let lost_rights = counted(*lost_rights, "other change");
        complain(&format!(
            "{written} {done}, {failed} failed; lost for good: {lost_keys}, and {lost_rights} that gave rights"
        ));
    }
}

fn subject(event: &Event) -> String {
    match &event.subject {
        Some(Subject::Key(key)) => format!("key {key}"),
        Some(Subject::Account(account)) => format!("account {}", account.as_str()),
        Some(Subject::Domain(account, domain)) => {
            format!("domain {} of account {}", domain.as_str(), account.as_str())
        }
        None => "nothing".to_owned(),
    }
}

/// For people.
pub(super) fn sentence(finding: &Finding<'_>, dry_run: bool) -> String {
    let event = finding.event;
    let subject = subject(event);
    let what = match finding.action {
        Action::Revoke => "revoked",
        Action::Suspend | Action::SuspendAccount => "suspended",
        Action::SuspendUnclear => {
            "suspended with the reason LOST_WRITE, because the lost change may have narrowed it"
        }
        Action::Narrow => "narrowed",
        Action::RemoveDomain => "removed",
        Action::RemoveSubdomains => "limited to the domain itself",
        Action::LostKey => "lost: its token is unknown, so tell its owner",
        Action::LostRights => "denied more than before: change it again if it is to be granted",
    };
    let verb = match (&finding.failed, finding.action.writes()) {
        (Some(_), true) => "could not be",
        (None, true) if dry_run => "would be",
        _ => "is",
    };
    let why = match &finding.failed {
        Some(error) => format!(" ({error})"),
        None if finding.action == Action::SuspendUnclear && !dry_run => {
            ": put it right and resume it".to_owned()
        }
        None => String::new(),
    };
    let (revision, time) = (event.original.revision, event.original.time);
    let (method, caller) = (event.method, event.caller.as_str());
    format!("{subject} {verb} {what}{why}; lost write {revision}: {method} by {caller} at {time}")
}

/// For programs.
pub(super) fn json_line(finding: &Finding<'_>, dry_run: bool) -> String {
    let event = finding.event;
    let action: &str = finding.action.into();
    let key_id = match &event.subject {
        Some(Subject::Key(key_id)) => Some(key_id.to_string()),
        _ => None,
    };
    let result = match (&finding.failed, finding.action.writes()) {
        (_, false) => "lost",
        (Some(_), true) => "failed",
        (None, true) if dry_run => "would_be_written",
        (None, true) => "written",
    };
    json!({
        "action": action,
        "result": result,
        "why": finding.failed.as_ref().map(ToString::to_string),
        "key_id": key_id,
        "account_id": event.account_id.as_ref().map(AccountId::as_str),
        "domain": event.domain.as_ref().map(Domain::as_str),
        "lost_write": {
            "revision": event.original.revision,
            "time": event.original.time.to_string(),
            "caller": event.caller.as_str(),
            "method": AdminMethod::as_str(event.method),
        },
    })
    .to_string()
}
