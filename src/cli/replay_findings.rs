//! What `keyservice replay` prints about what it found.

use super::complain;
use crate::{
    model::{
        account::AccountId, audit_record::AdminMethod, counted::counted, domain::Domain,
        history::HistoryId, time::Timestamp,
    },
    replay::{
        Action, Event, Subject, gaps::Gap, histories::Histories, input::Input, plan::Plan,
        replayer::Finding,
    },
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
    /// How many keys are suspended because the lines do not say all that was changed.
    unclear: u64,
}

impl Summary {
    pub(super) fn add(&mut self, finding: &Finding<'_>) {
        match finding.action {
            Action::LostKey => self.lost_keys += 1,
            Action::LostRights => self.lost_rights += 1,
            _ if finding.failed.is_some() => self.failed += 1,
            action => {
                self.written += 1;
                self.unclear += u64::from(action == Action::SuspendUnclear);
            }
        }
    }

    pub(super) fn tell(&self, dry_run: bool) {
        let done = if dry_run {
            "would be written"
        } else {
            "written"
        };
        let written = counted(self.written, "write");
        let gone = counted(self.lost_keys, "key");
        let lost = counted(self.lost_rights, "change");
        complain(&format!(
            "{written} {done}, {} failed; {gone} gone, {lost} that gave rights not made again",
            self.failed
        ));
        for (count, thing, what_to_do) in [
            (
                self.lost_keys,
                "key",
                "create another one and tell its owner, since its token cannot come back",
            ),
            (
                self.lost_rights,
                "change",
                "make it again if it is still wanted, since a replay gives no rights",
            ),
            (
                self.unclear,
                "suspended key",
                "put it right and resume it, since it may have been narrowed",
            ),
        ] {
            if count > 0 {
                complain(&format!(
                    "to do for {} above: {what_to_do}",
                    counted(count, thing)
                ));
            }
        }
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
        Action::LostKey => {
            "gone: its token cannot come back, so create another one and tell its owner"
        }
        Action::LostRights if event.method == AdminMethod::AddDomain => {
            "not verified as it was: add it again if it is to be"
        }
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
        (_, false) if finding.action == Action::LostKey => "gone",
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
        "key_end": event.key_end.map(|end| end.to_string()),
        "lost_write": {
            "revision": event.original.revision,
            "time": event.original.time.to_string(),
            "caller": event.caller.as_str(),
            "method": AdminMethod::as_str(event.method),
        },
    })
    .to_string()
}

/// How many gaps are named. The log of a service that is left out has thousands.
const NAMED: usize = 20;

/// What the log leaves out.
pub(super) fn omissions(input: &Input, plan: &Plan<'_>) -> Vec<&'static str> {
    let missing = &plan.missing;
    let since = missing.listed_until.or(missing.lost_since);
    input.omitted_since(since.unwrap_or(Timestamp::EPOCH), missing.lost_since)
}

/// Whether lines tell of all that was lost up to the last of them.
pub(super) fn is_complete(plan: &Plan<'_>, omissions: &[&str]) -> bool {
    plan.missing.gaps.is_empty()
        && plan.missing.without_beginning.is_empty()
        && plan.listed_twice.is_none()
        && omissions.is_empty()
}

/// Says which writes no line tells of.
pub(super) fn report_missing(histories: &Histories, plan: &Plan<'_>, omissions: &[&str]) {
    let missing = &plan.missing;
    let of_history = |id: Option<HistoryId>| match id {
        Some(id) if histories.are_many() => format!(" of the history {id}"),
        _ => String::new(),
    };
    for gap in missing.gaps.iter().take(NAMED) {
        complain(&sentence_on(gap, &of_history(gap.history_id)));
    }
    let more = missing.gaps.len().saturating_sub(NAMED);
    if more > 0 {
        complain(&format!("and {}", counted(more as u64, "more such gap")));
    }
    for id in missing.without_beginning.iter().take(NAMED) {
        complain(&format!(
            "no line tells where the history {id} begins, so writes from before its first line may be missing: give the \
             log from the service's start on"
        ));
    }
    for what in omissions {
        complain(&format!(
            "the log leaves out {what}, and what they took away may be granted: exported audit records have them"
        ));
    }
    if let Some((id, revision)) = plan.listed_twice {
        complain(&format!(
            "the lines tell of two writes {revision}{}, as after a failover that lost writes and that no replica \
             noticed, or a restore under an earlier release. What either denies is denied, unless it was taken back \
             later. But nothing tells whether lines are missing",
            of_history(id)
        ));
    }
    if plan.ends.len() > 1 {
        for (id, last) in plan.ends.iter().take(NAMED) {
            complain(&format!(
                "the last write that was read{} is {} of {}: one after that is not known here",
                of_history(*id),
                last.revision,
                last.time
            ));
        }
    }
}

fn sentence_on(gap: &Gap, of_history: &str) -> String {
    let (start, end) = (gap.revisions.start(), gap.revisions.end());
    let writes = if start == end {
        format!("write {start}{of_history}")
    } else {
        format!("the writes {start} to {end}{of_history}")
    };
    let by_whom = if gap.is_of_replay {
        ". A replay made them from other lines: give those too"
    } else {
        ""
    };
    let them = if start == end { "it" } else { "they" };
    format!("no line tells of {writes}, and what {them} took away may be granted{by_whom}")
}
