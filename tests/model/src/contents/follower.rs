//! Owns what the replica's follower does: it loads, reads, applies, and recovers from lost writes.
//! Promises that the correct follower does one thing after the other.
//! Must never let the replica know anything that it did not receive.

use super::{
    Protocol, Variant,
    database::{Author, Change},
    promise::Outcome,
    state::{Contents, Coverage, Fresh, Page, Replica, State, Unfinished},
    step::Step,
};

impl Protocol {
    pub(crate) fn join(&self, state: &mut State) {
        let (contents, position) = (state.database.contents(), state.database.position());
        let mut replica = Replica::loaded(contents, position);
        if self.variant == Variant::RevisionReadAfterLoad {
            replica.unfinished = Some(Unfinished::RevisionUnknown);
        }
        state.replica = Some(replica);
    }

    pub(crate) fn take_in_follower(&self, step: Step, state: &mut State) {
        let Some(mut replica) = state.replica else {
            return;
        };
        let outcome = match step {
            Step::Restore(domain) => self.restore(state, &mut replica, domain),
            Step::Replace => replace(self.variant, state, &mut replica),
            _ => {
                self.follow(step, state, &mut replica);
                None
            }
        };
        match outcome {
            Some(outcome) => state.end(outcome),
            None => state.replica = Some(replica),
        }
    }

    fn follow(&self, step: Step, state: &mut State, replica: &mut Replica) {
        match step {
            Step::ReadPosition => {
                *replica = Replica::loaded(replica.keyring, state.database.position());
            }
            Step::ReadChanges => replica.page = Some(self.read_page(state, replica)),
            Step::Renew => {
                let grants = Some(state.database.history);
                let page = self.read_page(state, replica);
                replica.page = Some(Page { grants, ..page });
            }
            Step::Apply => self.apply_next(replica),
            Step::Count => {
                replica.unfinished = None;
                if let Some(call) = &mut state.call {
                    call.has_counted = true;
                }
            }
            Step::Finish => replica.finish(state),
            Step::Lapse => {
                replica.lease = None;
                // A call checks after its last look whether the lease has lapsed.
                if self.variant != Variant::LeaseNotCheckedAgain {
                    state.call = None;
                }
            }
            Step::Reload => self.reload(state, replica),
            Step::FailReload => (replica.fresh, replica.held) = (None, None),
            _ => {}
        }
    }
}

/// Reading and applying.
impl Protocol {
    /// Whether the database holds the write by which the replica knows its history.
    pub(crate) fn is_in_history(&self, state: &State, replica: &Replica) -> bool {
        let database = &state.database;
        match self.variant {
            Variant::HistoryByRevisionAlone => replica.reached.revision <= database.revision(),
            Variant::HistoryByLastChange => database.holds(replica.reached),
            _ => database.holds(replica.read_at),
        }
    }

    /// The answer to a read, as of now. It may be applied much later.
    pub(crate) fn read_page(&self, state: &State, replica: &Replica) -> Page {
        let since = replica.reached.revision;
        let limit = self.scope.page;
        let mut changes = state.database.changes_since(since, limit);
        let count = changes.iter().flatten().count();
        let revisions = changes.iter().flatten().map(|last| last.position.revision);
        let span = revisions.max().map_or(0, |last| last - since);
        if self.variant == Variant::NewestFirst {
            changes[..count].reverse();
        }
        Page {
            changes,
            is_last: count < limit,
            skips: span > count,
            read_at: state.database.position(),
            grants: None,
        }
    }

    fn apply_next(&self, replica: &mut Replica) {
        let Some(page) = &mut replica.page else {
            return;
        };
        let [Some(change), next] = page.changes else {
            return;
        };
        if self.variant == Variant::PartsWrittenSeparately && replica.unfinished.is_none() {
            replica.keyring[change.domain].name = change.coverage.name;
            replica.unfinished = Some(Unfinished::HalfWritten);
            return;
        }
        page.changes = [next, None];
        let Page { skips, read_at, .. } = *page;
        replica.unfinished = Some(Unfinished::Uncounted);
        self.apply(replica, change);
        replica.is_skipping = (replica.is_skipping || skips) && replica.reached != read_at;
    }

    fn apply(&self, replica: &mut Replica, change: Change) {
        let Change {
            position,
            domain,
            coverage,
        } = change;
        if self.variant != Variant::NewestFirst || position.revision > replica.reached.revision {
            replica.reached = position;
        }
        if self.variant == Variant::RemovalIsFinal {
            replica.is_removed[domain] |= coverage == Coverage::REMOVED;
            if replica.is_removed[domain] {
                replica.keyring[domain] = Coverage::REMOVED;
                return;
            }
        }
        replica.keyring[domain] = coverage;
    }
}

impl Replica {
    /// Certifies the answer, if it brought all changes. What the other model proves of leases is a
    /// condition here: a lease that begins while memory lacks a write that has returned has lapsed.
    fn finish(&mut self, state: &State) {
        let Some(page) = self.page.take() else {
            return;
        };
        self.read_at = page.read_at;
        if !page.is_last {
            return;
        }
        self.applied = self.reached.revision;
        self.is_skipping = false;
        if let Some(history) = page.grants {
            let is_current = history == state.database.history;
            let has_lapsed = is_current && self.applied < state.returned;
            self.lease = (!has_lapsed).then_some(history);
        }
    }
}

/// Recovering from lost writes.
impl Protocol {
    fn reload(&self, state: &State, replica: &mut Replica) {
        let (held, database) = (replica.keyring, &state.database);
        let loaded = database.contents();
        let keeps_old_state =
            |domain| self.variant == Variant::LoadedIntoKeyringInUse && !database.has_row(domain);
        let keyring: Contents = std::array::from_fn(|domain| {
            if keeps_old_state(domain) {
                held[domain]
            } else {
                loaded[domain]
            }
        });
        let is_lost = |domain: usize| !keyring[domain].is_within(held[domain]);
        let writes_again = |domain| match self.variant {
            Variant::NotWrittenAgain => false,
            Variant::NewerRowsLeftAlone => {
                let last = database.last_write_to(domain, database.revision());
                last.is_none_or(|(last, _)| last <= replica.read_at.revision)
            }
            _ => true,
        };
        replica.lease = None;
        replica.held = Some(held);
        replica.fresh = Some(Fresh {
            keyring,
            position: database.position(),
            to_restore: std::array::from_fn(|domain| writes_again(domain) && is_lost(domain)),
        });
    }

    /// Writes again what memory denies of a domain, and denies it in the new keyring at once, because a
    /// call that found a lease before may still look there.
    fn restore(&self, state: &mut State, replica: &mut Replica, domain: usize) -> Option<Outcome> {
        let fresh = replica.fresh.as_mut()?;
        let (held, now) = (replica.keyring[domain], state.database.contents()[domain]);
        fresh.to_restore[domain] = false;
        if self.variant != Variant::RestoredInStoreAlone {
            fresh.keyring[domain] = fresh.keyring[domain].and(held);
        }
        let coverage = match self.variant {
            Variant::RestoredInMemoryAlone => now,
            Variant::RestoredAsItWas => held,
            _ => now.and(held),
        };
        if coverage != now {
            state.write(domain, coverage, Author::Replica);
        }
        (!coverage.is_within(now)).then_some(Outcome::GrantedByReplica)
    }
}

/// Ends the recovery. A call that has looked at the old keyring continues to.
fn replace(variant: Variant, state: &mut State, replica: &mut Replica) -> Option<Outcome> {
    let Fresh {
        keyring, position, ..
    } = replica.fresh?;
    if let Some(call) = &mut state.call
        && call.seen.as_flattened().iter().any(Option::is_some)
    {
        call.replaced.get_or_insert(replica.keyring);
    }
    let keeps_page = variant == Variant::OlderChangesAfterReload;
    *replica = Replica {
        unfinished: Some(Unfinished::Uncounted),
        held: replica.held,
        page: replica.page.filter(|_| keeps_page),
        ..Replica::loaded(keyring, position)
    };
    let truth = state.database.contents();
    let held = replica.held?;
    (!state.database.keeps_denials(held, truth)).then_some(Outcome::DenialForgotten)
}
