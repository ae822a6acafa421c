//! Owns the list of steps and the conditions under which each may be taken.
//! Promises to offer every step that the replica, the callers, the database or the network could take.
//! Must never leave out a step because it is unlikely.

use super::{
    Protocol, Variant,
    database::{Author, History, Revision, Write},
    state::{Part, Replica, State, Unfinished},
    things::{Condition, THINGS},
};

/// One step. A `usize` identifies a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A caller gives a thing another state. Commits.
    Write(usize, Condition),
    /// The write of this revision, and with it each earlier one, may have returned.
    Return(Revision),
    /// A standby takes over that has only the writes up to this revision.
    LoseAfter(Revision),
    /// After that, another replica takes the subdomains from the first domain, because it remembers a lost
    /// write that did so. It may not have known a later one that removed the domain. Or it suspends the key,
    /// and may not have known that it was revoked.
    RepairByOther(Condition),
    /// A key that is revoked leaves the store: its row goes, and the history starts after its last write.
    Forget,
    /// The replica learns that the store has no row of a key that it denies as revoked, and forgets it.
    ForgetInMemory,
    /// The replica loads everything in one snapshot.
    Join,
    /// Only in a trap: it reads afterwards what revision it has loaded.
    ReadPosition,
    /// The database answers a read of changes outside a renewal.
    ReadChanges,
    /// Only in a trap: another read is answered, and is applied later.
    ReadAside,
    /// Only in a trap: now.
    TurnToAside,
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
    /// It writes the lost denials of a thing again.
    Restore(usize),
    /// The new keyring takes the place of the old one.
    Replace,
    /// A call of Authorize begins, and finds a lease.
    StartAuthorize,
    /// The call finds the record of the key.
    Find,
    /// The call looks at a thing. After the last one it begins again if a change was counted since its
    /// first look, and is answered otherwise.
    See(usize),
    /// It looks at one part of a thing: of the key's record, or of a domain in a trap.
    SeePart(usize, Part),
}

/// When each step may be taken.
impl Protocol {
    pub(crate) fn database_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let (database, truth) = (&state.database, state.database.contents());
        if state.commits < self.scope.writes && !database.is_full() {
            let changes = self.scope.things.changes(truth).into_iter();
            steps.extend(changes.map(|(thing, condition)| Step::Write(thing, condition)));
        }
        let last = database.revision();
        let may_return = (state.returned + 1..=last).filter(|write| state.may_return(*write));
        steps.extend(may_return.map(Step::Return));
        let may_forget = |write: Revision| self.scope.forgets && state.may_return(write);
        steps.extend(
            database
                .revocation()
                .filter(|write| may_forget(*write))
                .map(|_| Step::Forget),
        );
        if database.history == History::BeforeLoss {
            // A key goes long after its revocation, which no standby has missed.
            let first = database.history_start.unwrap_or_default();
            let kept = first.max(last.saturating_sub(self.scope.lost))..last;
            steps.extend(kept.map(Step::LoseAfter));
        } else if !state.has_other_narrowed && !database.is_full() {
            let repaired = self.scope.things.repaired_by_other(truth[0]);
            steps.extend(repaired.map(Step::RepairByOther));
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
            let may_restore = |thing: &usize| fresh.to_restore[*thing] && !state.database.is_full();
            let to_restore = (0..THINGS).filter(may_restore);
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
        if self.variant == Variant::OlderPageAfterNewer {
            steps.push(match replica.older_page {
                None => Step::ReadAside,
                Some(_) => Step::TurnToAside,
            });
        }
        if state.database.history_start.is_some() && replica.keyring[0] == Condition::REVOKED {
            steps.push(Step::ForgetInMemory);
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
        for (thing, seen) in call.seen.iter().enumerate() {
            let in_parts = self.variant == Variant::PartsReadSeparately;
            let in_record = self.scope.things.has_record(thing);
            if in_record && call.record.is_none() {
                steps.push(Step::Find);
            } else if in_record || in_parts {
                let parts = [Part::Standing, Part::Width].into_iter();
                let unseen = parts.filter(|part| !seen.has(*part));
                steps.extend(unseen.map(|part| Step::SeePart(thing, part)));
            } else if !seen.has(Part::Standing) {
                steps.push(Step::See(thing));
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
            Step::Write(thing, condition) => {
                state.commits += 1;
                state.write(thing, condition, Author::Caller);
            }
            Step::Return(revision) => state.returned = revision,
            Step::Forget => state.database.history_start = state.database.revocation(),
            Step::LoseAfter(revision) => {
                state.database.lose_after(revision);
                state.returned = state.returned.min(revision);
            }
            Step::RepairByOther(condition) => {
                state.has_other_narrowed = true;
                state.write(0, condition, Author::Replica);
            }
            Step::Join => self.join(state),
            Step::StartAuthorize | Step::Find | Step::See(_) | Step::SeePart(..) => {
                self.take_in_call(step, state);
            }
            _ => self.take_in_follower(step, state),
        }
    }
}

impl State {
    pub(crate) fn write(&mut self, thing: usize, condition: Condition, author: Author) {
        self.database.commit(Write {
            thing,
            condition,
            history: self.database.history,
            author,
            returned_before: self.returned,
        });
    }
}
