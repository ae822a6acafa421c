//! Owns the promises: what an answer, and a write of the service's own, must be like.
//! Promises to judge by the truth in the database, and not by what a replica believes.
//! Must never change a state.

use super::{
    database::{Author, Database, Revision},
    state::{Call, Contents, Coverage, DOMAINS, State},
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
    /// The call saw a domain as removed by a write that had returned.
    Removal,
    /// The call saw a domain that was removed and is back, and both writes had returned.
    GiveBack,
    /// The call saw a domain as removed by a replica that has written a lost removal again.
    RestoredRemoval,
}

/// All that an answer shows: whether it shows each [`Finding`], in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Answer([bool; Finding::RestoredRemoval as usize + 1]);

impl Answer {
    pub(crate) fn shows(self, finding: Finding) -> bool {
        self.0[finding as usize]
    }
}

impl State {
    /// Judges the answer to a call.
    pub(crate) fn judge(&self, call: &Call, seen: Contents, held: Option<Contents>) -> Answer {
        let (database, returned) = (&self.database, call.returned);
        // A lease from before a loss vouches for nothing that was written since.
        let is_bound = call.lease == database.history;
        let mut revisions = returned..=database.revision();
        let is_mixture = !revisions.any(|revision| database.contents_at(revision) == seen);
        let findings = [
            (Finding::Contradiction, !database.explains(seen, returned)),
            (Finding::Mixture, is_mixture && !call.met_skipping),
            (Finding::MixtureBySkipping, is_mixture && call.met_skipping),
            (Finding::Removal, database.has_removed(seen, returned)),
            (Finding::GiveBack, database.has_given_back(seen, returned)),
            (Finding::RestoredRemoval, database.has_restored(seen)),
        ];
        let mut answer = Answer::default();
        for (finding, is_shown) in findings {
            answer.0[finding as usize] = is_bound && is_shown;
        }
        // This one binds every lease.
        answer.0[Finding::ForgottenDenial as usize] =
            held.is_some_and(|held| !database.keeps_denials(held, seen));
        answer
    }
}

impl Database {
    /// Whether the writes can stand in an order that explains what a call saw. The writes to one domain
    /// keep their order, and a write stands after those that had returned before its commit. The call
    /// stands after those that had returned before it began.
    ///
    /// So the call stands directly after one write to each domain, or before all. What these two and the
    /// call need must not include a later write to either domain.
    fn explains(&self, seen: Contents, returned: Revision) -> bool {
        let candidates = |domain: usize| {
            let before_all = (seen[domain] == Coverage::REMOVED).then_some((0, 0));
            let writes = self
                .writes()
                .filter(move |(_, write)| (write.domain, write.coverage) == (domain, seen[domain]));
            let writes = writes.map(|(revision, write)| (revision, write.returned_before));
            before_all.into_iter().chain(writes)
        };
        candidates(0).any(|(first, before_first)| {
            candidates(1).any(|(second, before_second)| {
                let needed = returned.max(before_first).max(before_second);
                let has_needed = |domain, revision| {
                    let last = self.last_write_to(domain, needed);
                    last.is_none_or(|(last, _)| last <= revision)
                };
                has_needed(0, first) && has_needed(1, second)
            })
        })
    }

    /// Whether each part that was denied is still denied, or was granted by a caller since the loss.
    pub(crate) fn keeps_denials(&self, held: Contents, seen: Contents) -> bool {
        (0..DOMAINS).all(|domain| {
            let given_back = self
                .writes()
                .filter(|(_, write)| write.domain == domain && write.is_a_callers_since_the_loss());
            let is_granted = |part: fn(Coverage) -> bool| {
                part(held[domain]) || given_back.clone().any(|(_, write)| part(write.coverage))
            };
            let Coverage { name, subdomains } = seen[domain];
            (!name || is_granted(|coverage| coverage.name))
                && (!subdomains || is_granted(|coverage| coverage.subdomains))
        })
    }

    /// Whether a replica has taken something away that a caller had given after the loss.
    pub(crate) fn has_undone_a_callers_write(&self) -> bool {
        self.writes().any(|(revision, write)| {
            let before = self.last_write_to(write.domain, revision - 1);
            write.author == Author::Replica
                && before.is_some_and(|(_, before)| before.is_a_callers_since_the_loss())
        })
    }

    fn has_removed(&self, seen: Contents, returned: Revision) -> bool {
        (0..DOMAINS).any(|domain| {
            let last = self.last_write_to(domain, returned);
            seen[domain] == Coverage::REMOVED
                && last.is_some_and(|(_, write)| write.coverage == Coverage::REMOVED)
        })
    }

    fn has_given_back(&self, seen: Contents, returned: Revision) -> bool {
        (0..DOMAINS).any(|domain| {
            let last = self.last_write_to(domain, returned);
            last.is_some_and(|(last, write)| {
                let before = self.last_write_to(domain, last - 1);
                write.coverage == seen[domain]
                    && before.is_some_and(|(_, before)| before.coverage == Coverage::REMOVED)
            })
        })
    }

    fn has_restored(&self, seen: Contents) -> bool {
        (0..DOMAINS).any(|domain| {
            let last = self.last_write_to(domain, self.revision());
            let is_restored = last.is_some_and(|(_, write)| {
                (write.coverage, write.author) == (Coverage::REMOVED, Author::Replica)
            });
            seen[domain] == Coverage::REMOVED && is_restored
        })
    }
}
