//! Owns the promises: what an answer, and a write of the service's own, must be like.
//! Promises to judge by the truth in the database, and not by what a replica believes.
//! Must never change a state.

use super::{
    database::{Author, Database, Revision},
    state::{Call, State},
    things::{Condition, Contents, THINGS, Things},
};

/// What the end of a run shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Answered(Answer),
    /// A replica has recovered, and the database still grants what that replica denied.
    DenialForgotten,
    /// A replica has written again more than the database granted.
    GrantedByReplica,
}

/// Something that an answer to a call shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It contradicts a write that had returned before the call began.
    Contradiction,
    /// The call saw the contents of no revision, though no change was skipped.
    Mixture,
    /// The call saw the contents of no revision while the keyring lacked a change that was skipped.
    MixtureBySkipping,
    /// The call saw as granted what was denied when a loss was found.
    ForgottenDenial,
    /// The call saw a thing as removed by a write that had returned.
    Removal,
    /// The call saw a thing that was removed and is back, and both writes had returned.
    GiveBack,
    /// The call saw a thing as removed by a replica that has written a lost removal again.
    RestoredRemoval,
    /// The call did not find a key that has left the store.
    Gone,
}

/// All that an answer shows: whether it shows each [`Finding`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Answer([bool; Finding::Gone as usize + 1]);

impl Answer {
    pub(crate) fn shows(self, finding: Finding) -> bool {
        self.0[finding as usize]
    }
}

impl State {
    /// Judges the answer to a call.
    pub(crate) fn judge(
        &self,
        things: Things,
        call: &Call,
        seen: Contents,
        held: Option<Contents>,
    ) -> Answer {
        let (database, returned) = (&self.database, call.returned);
        // A lease from before a loss vouches for nothing that was written since.
        let is_bound = call.lease == database.history;
        let mut revisions = returned..=database.revision();
        let is_mixture = !revisions.any(|revision| {
            let truth = database.contents_at(revision);
            (0..THINGS).all(|thing| database.shows(thing, truth[thing], seen[thing]))
        });
        let findings = [
            (Finding::Contradiction, !database.explains(seen, returned)),
            (Finding::Mixture, is_mixture && !call.met_skipping),
            (Finding::MixtureBySkipping, is_mixture && call.met_skipping),
            (Finding::Removal, database.has_removed(seen, returned)),
            (Finding::GiveBack, database.has_given_back(seen, returned)),
            (Finding::RestoredRemoval, database.has_restored(seen)),
            (
                Finding::Gone,
                database.history_start.is_some() && seen[0] == Condition::ABSENT,
            ),
        ];
        let mut answer = Answer::default();
        for (finding, is_shown) in findings {
            answer.0[finding as usize] = is_bound && is_shown;
        }
        // This one binds every lease.
        answer.0[Finding::ForgottenDenial as usize] =
            held.is_some_and(|held| !database.keeps_denials(things, held, seen));
        answer
    }
}

impl Database {
    /// Whether a call may see this as that. A key that has left the store is unknown, and revoked all the same.
    fn shows(&self, thing: usize, truth: Condition, seen: Condition) -> bool {
        let is_gone = thing == 0 && self.history_start.is_some();
        seen == truth || is_gone && (seen, truth) == (Condition::ABSENT, Condition::REVOKED)
    }

    /// Whether the writes can stand in an order that explains what a call saw. The writes to one thing
    /// keep their order, and a write stands after those that had returned before its commit. The call
    /// stands after those that had returned before it began.
    ///
    /// So the call stands directly after one write to each thing, or before all. What these two and the
    /// call need must not include a later write to either thing.
    fn explains(&self, seen: Contents, returned: Revision) -> bool {
        let candidates = |thing: usize| {
            let shows = move |truth| self.shows(thing, truth, seen[thing]);
            let before_all = shows(self.start[thing]).then_some((0, 0));
            let writes = self
                .writes()
                .filter(move |(_, write)| write.thing == thing && shows(write.condition));
            let writes = writes.map(|(revision, write)| (revision, write.returned_before));
            before_all.into_iter().chain(writes)
        };
        candidates(0).any(|(first, before_first)| {
            candidates(1).any(|(second, before_second)| {
                let needed = returned.max(before_first).max(before_second);
                let has_needed = |thing, revision| {
                    let last = self.last_write_to(thing, needed);
                    last.is_none_or(|(last, _)| last <= revision)
                };
                has_needed(0, first) && has_needed(1, second)
            })
        })
    }

    /// Whether all that was denied is still denied, or was granted by a caller since the loss. A caller who
    /// resumes a key grants it as it is then.
    pub(crate) fn keeps_denials(&self, things: Things, held: Contents, seen: Contents) -> bool {
        (0..THINGS).all(|thing| {
            let given_back = self
                .writes()
                .filter(|(_, write)| write.thing == thing && write.is_a_callers_since_the_loss())
                .map(|(_, write)| write.condition);
            let held_or_given_back = std::iter::once(held[thing]).chain(given_back);
            let granted = held_or_given_back.map(Condition::grants);
            let granted = granted.fold([false; 2], |[a, b], [c, d]| [a || c, b || d]);
            let is_kept = |(seen, granted): (bool, bool)| granted || !seen;
            !things.is_known(thing, held[thing])
                || seen[thing].grants().into_iter().zip(granted).all(is_kept)
        })
    }

    /// Whether a replica has taken something away that a caller had given after the loss.
    pub(crate) fn has_undone_a_callers_write(&self) -> bool {
        self.writes().any(|(revision, write)| {
            let before = self.last_write_to(write.thing, revision - 1);
            write.author == Author::Replica
                && before.is_some_and(|(_, before)| before.is_a_callers_since_the_loss())
        })
    }

    fn has_removed(&self, seen: Contents, returned: Revision) -> bool {
        (0..THINGS).any(|thing| {
            let last = self.last_write_to(thing, returned);
            !seen[thing].is_active() && last.is_some_and(|(_, write)| !write.condition.is_active())
        })
    }

    fn has_given_back(&self, seen: Contents, returned: Revision) -> bool {
        (0..THINGS).any(|thing| {
            let last = self.last_write_to(thing, returned);
            last.is_some_and(|(last, write)| {
                let before = self.last_write_to(thing, last - 1);
                write.condition == seen[thing]
                    && write.condition.is_active()
                    && before.is_some_and(|(_, before)| !before.condition.is_active())
            })
        })
    }

    fn has_restored(&self, seen: Contents) -> bool {
        (0..THINGS).any(|thing| {
            let last = self.last_write_to(thing, self.revision());
            let is_restored = last.is_some_and(|(_, write)| {
                !write.condition.is_active() && write.author == Author::Replica
            });
            !seen[thing].is_active() && is_restored
        })
    }
}
