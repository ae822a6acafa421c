//! Owns the list of steps and the conditions under which each may be taken.
//! Promises to offer every step that the replica, the callers, the database or the network could take.
//! Must never leave out a step because it is unlikely.

use super::{
    Protocol, Variant,
    database::{Author, History, Revision, Write},
    state::{Coverage, DOMAINS, Replica, State, Unfinished},
};

/// One step. A `usize` identifies a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A caller adds or removes a domain, or changes whether its subdomains are included. Commits.
    Write(usize, Coverage),
    /// The write of this revision, and with it each earlier one, may have returned.
    Return(Revision),
    /// A standby takes over that has only the writes up to this revision.
    LoseAfter(Revision),
    /// After that, another replica takes the subdomains from the first domain, because it remembers a lost
    /// write that did so. It may not have known a later one that removed the domain.
    NarrowByOther,
    /// The replica loads everything in one snapshot.
    Join,
    /// Only in a trap: it reads afterwards what revision it has loaded.
    ReadPosition,
    /// The database answers a read of changes outside a renewal.
    ReadChanges,
    /// The database answers a renewal.
    Renew,
    /// The replica applies the next change. Readers can see it.
    Apply,
    /// It counts that change.
    Count,
    /// It has applied the answer, and uses the lease if the answer grants one.
    Finish,
    /// Its lease lapses.
    Lapse,
    /// The database does not have its history. It gives up its lease, and loads everything anew.
    Reload,
    /// The database cannot be reached. It will load once more.
    FailReload,
    /// It writes the lost denials of a domain again.
    Restore(usize),
    /// The new keyring takes the place of the old one.
    Replace,
    /// A call of Authorize begins, and finds a lease.
    StartAuthorize,
    /// The call looks at a domain. After the last one it begins again if a change was counted since its
    /// first look, and is answered otherwise.
    See(usize),
    /// Only in a trap: it looks at one part of a domain.
    SeePart(usize, usize),
}

/// When each step may be taken.
impl Protocol {
    pub(crate) fn database_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let (database, truth) = (&state.database, state.database.contents());
        if state.commits < self.scope.writes && !database.is_full() {
            let coverages = [
                (0, Coverage::REMOVED),
                (0, Coverage::NAME),
                (0, Coverage::NAME_AND_SUBDOMAINS),
                (1, Coverage::REMOVED),
                (1, Coverage::NAME),
            ];
            let changes = coverages
                .into_iter()
                .filter(|(domain, coverage)| *coverage != truth[*domain]);
            steps.extend(changes.map(|(domain, coverage)| Step::Write(domain, coverage)));
        }
        let last = database.revision();
        let may_return = (state.returned + 1..=last).filter(|write| state.may_return(*write));
        steps.extend(may_return.map(Step::Return));
        if database.history == History::BeforeLoss {
            let kept = last.saturating_sub(self.scope.lost)..last;
            steps.extend(kept.map(Step::LoseAfter));
        } else if truth[0].subdomains && !state.has_other_narrowed && !database.is_full() {
            steps.push(Step::NarrowByOther);
        }
    }

    pub(crate) fn follower_steps(&self, state: &State, replica: &Replica, steps: &mut Vec<Step>) {
        if replica.lease.is_some() {
            steps.push(Step::Lapse);
        }
        match replica.unfinished {
            Some(Unfinished::Uncounted) => return steps.push(Step::Count),
            Some(Unfinished::RevisionUnknown) => return steps.push(Step::ReadPosition),
            Some(Unfinished::HalfWritten) | None => {}
        }
        if let Some(fresh) = &replica.fresh {
            steps.push(Step::FailReload);
            let may_restore =
                |domain: &usize| fresh.to_restore[*domain] && !state.database.is_full();
            let to_restore = (0..DOMAINS).filter(may_restore);
            steps.extend(to_restore.map(Step::Restore));
            if !fresh.to_restore.contains(&true) {
                steps.push(Step::Replace);
            }
            return;
        }
        let has_other_history = !self.is_in_history(state, replica);
        if let Some(page) = &replica.page {
            let has_changes = page.changes[0].is_some();
            steps.push(if has_changes {
                Step::Apply
            } else {
                Step::Finish
            });
            // The follower does one thing after the other. In the trap a second task does not.
            if !(has_other_history && self.variant == Variant::OlderChangesAfterReload) {
                return;
            }
        }
        if has_other_history {
            steps.push(Step::Reload);
            return;
        }
        steps.push(Step::ReadChanges);
        // An answer that does not bring all changes grants no lease, and is not applied.
        if self.read_page(state, replica).is_last {
            steps.push(Step::Renew);
        }
    }

    pub(crate) fn authorize_steps(&self, state: &State, replica: &Replica, steps: &mut Vec<Step>) {
        let Some(call) = &state.call else {
            steps.extend(replica.lease.map(|_| Step::StartAuthorize));
            return;
        };
        for (domain, seen) in call.seen.iter().enumerate() {
            if self.variant == Variant::PartsReadSeparately {
                let unseen = (0..2).filter(|part| seen[*part].is_none());
                steps.extend(unseen.map(|part| Step::SeePart(domain, part)));
            } else if seen[0].is_none() {
                steps.push(Step::See(domain));
            }
        }
    }
}

impl State {
    /// What the other model proves of leases, as a condition: a write returns only when no replica has
    /// a lease without it. Nothing of the kind is known of a lease from before a loss.
    fn may_return(&self, revision: Revision) -> bool {
        let Some(replica) = &self.replica else {
            return true;
        };
        replica.lease != Some(self.database.history) || replica.applied >= revision
    }
}

/// What each step does.
impl Protocol {
    pub(crate) fn take(&self, step: Step, state: &mut State) {
        match step {
            Step::Write(domain, coverage) => {
                state.commits += 1;
                state.write(domain, coverage, Author::Caller);
            }
            Step::Return(revision) => state.returned = revision,
            Step::LoseAfter(revision) => {
                state.database.lose_after(revision);
                state.returned = state.returned.min(revision);
            }
            Step::NarrowByOther => {
                state.has_other_narrowed = true;
                state.write(0, Coverage::NAME, Author::Replica);
            }
            Step::Join => self.join(state),
            Step::StartAuthorize | Step::See(_) | Step::SeePart(..) => {
                self.take_in_call(step, state);
            }
            _ => self.take_in_follower(step, state),
        }
    }
}

impl State {
    pub(crate) fn write(&mut self, domain: usize, coverage: Coverage, author: Author) {
        self.database.commit(Write {
            domain,
            coverage,
            history: self.database.history,
            author,
            returned_before: self.returned,
        });
    }
}
