//! Owns what the replica's follower does: it loads, reads, applies, and recovers from lost writes.
//! Promises that the correct follower does one thing after the other.
//! Must never let the replica know anything that it did not receive.

use super::{
    Protocol, Variant,
    database::{Author, Change, History},
    promise::Outcome,
    state::{Call, Fresh, Page, Replica, State, Unfinished},
    step::Step,
    things::{Condition, Contents},
};

impl Protocol {
    pub(crate) fn join(&self, state: &mut State) {
        let (contents, position) = (state.database.rows(), state.database.position());
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
            Step::Restore(thing) => self.restore(state, &mut replica, thing),
            Step::Replace => self.replace(state, &mut replica),
            Step::Apply => {
                self.apply_next(&mut replica, state.call.as_mut());
                None
            }
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
            Step::ReadAside => replica.older_page = Some(self.read_page(state, replica)),
            Step::TurnToAside => replica.page = replica.older_page.take(),
            Step::Renew => {
                let grants = Some(state.database.history);
                let page = self.read_page(state, replica);
                replica.page = Some(Page { grants, ..page });
            }
            Step::Count => {
                replica.unfinished = None;
                if let Some(call) = &mut state.call {
                    call.has_counted = true;
                }
            }
            Step::ForgetInMemory => replica.keyring[0] = Condition::ABSENT,
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
    /// Whether the database holds the write by which the replica knows its history, and the history since
    /// the last change that the replica knows.
    pub(crate) fn is_in_history(&self, state: &State, replica: &Replica) -> bool {
        let database = &state.database;
        match self.variant {
            Variant::HistoryByRevisionAlone => replica.reached.revision <= database.revision(),
            Variant::HistoryByLastChange => database.holds(replica.reached),
            Variant::HistoryStartNotChecked => database.holds(replica.read_at),
            _ => {
                let has_start = database.history_start <= Some(replica.reached.revision);
                has_start && database.holds(replica.read_at)
            }
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

    fn apply_next(&self, replica: &mut Replica, call: Option<&mut Call>) {
        let Some(page) = &mut replica.page else {
            return;
        };
        let [Some(change), next] = page.changes else {
            return;
        };
        if self.variant == Variant::PartsWrittenSeparately && replica.unfinished.is_none() {
            replica.keyring[change.thing].standing = change.condition.standing;
            replica.unfinished = Some(Unfinished::HalfWritten);
            fill_record(call, replica.keyring[0]);
            return;
        }
        page.changes = [next, None];
        let Page { skips, read_at, .. } = *page;
        replica.unfinished = Some(Unfinished::Uncounted);
        self.apply(replica, change);
        if self.variant == Variant::PartsWrittenSeparately {
            fill_record(call, replica.keyring[0]);
        } else if self.scope.things.has_record(change.thing) {
            turn_to_other_record(call, change.condition);
        }
        replica.is_skipping = (replica.is_skipping || skips) && replica.reached != read_at;
    }

    fn apply(&self, replica: &mut Replica, change: Change) {
        let Change {
            position,
            thing,
            condition,
        } = change;
        if position.revision > replica.reached.revision {
            replica.reached = position;
        }
        if self.variant == Variant::RemovalIsFinal {
            replica.is_removed[thing] |= !condition.is_active();
            if replica.is_removed[thing] {
                replica.keyring[thing] = Condition::ABSENT;
                return;
            }
        }
        replica.keyring[thing] = condition;
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
        if page.read_at.revision > self.reached.revision {
            self.reached = page.read_at;
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
        let (held, database): (Contents, _) = (replica.keyring, &state.database);
        let loaded = database.rows();
        let keeps_old_state =
            |thing| self.variant == Variant::LoadedIntoKeyringInUse && !database.has_row(thing);
        let keyring: Contents = std::array::from_fn(|thing| {
            if keeps_old_state(thing) {
                held[thing]
            } else {
                loaded[thing]
            }
        });
        let things = self.scope.things;
        let is_lost = |thing: usize| things.has_lost_denial(thing, held[thing], keyring[thing]);
        let writes_again = |thing| match self.variant {
            Variant::NotWrittenAgain => false,
            Variant::NarrowingNotWrittenAgain => !Condition::is_active(held[thing]),
            Variant::AccountNotWrittenAgain => thing == 0,
            Variant::NewerRowsLeftAlone => {
                let last = database.last_write_to(thing, database.revision());
                last.is_none_or(|(last, _)| last <= replica.read_at.revision)
            }
            _ => true,
        };
        replica.lease = None;
        replica.held = (database.history == History::AfterLoss).then_some(held);
        replica.fresh = Some(Fresh {
            keyring,
            position: database.position(),
            to_restore: std::array::from_fn(|thing| writes_again(thing) && is_lost(thing)),
        });
    }

    /// Writes again what memory denies of a thing, and denies it in the new keyring at once, because a
    /// call that found a lease before may still look there.
    fn restore(&self, state: &mut State, replica: &mut Replica, thing: usize) -> Option<Outcome> {
        let things = self.scope.things;
        let fresh = replica.fresh.as_mut()?;
        let (held, now) = (replica.keyring[thing], state.database.rows()[thing]);
        fresh.to_restore[thing] = false;
        if self.variant != Variant::RestoredInStoreAlone {
            fresh.keyring[thing] = things.repaired(thing, held, fresh.keyring[thing]);
        }
        let condition = match self.variant {
            Variant::RestoredInMemoryAlone => now,
            // A row that has gone cannot be changed.
            _ if !state.database.has_row(thing) => now,
            Variant::RestoredAsItWas => held,
            _ => things.repaired(thing, held, now),
        };
        if condition != now {
            state.write(thing, condition, Author::Replica);
        }
        (!condition.is_within(now)).then_some(Outcome::GrantedByReplica)
    }

    /// Ends the recovery. A call that has looked at the old keyring continues to.
    fn replace(&self, state: &mut State, replica: &mut Replica) -> Option<Outcome> {
        let Fresh {
            keyring, position, ..
        } = replica.fresh?;
        if let Some(call) = &mut state.call
            && call.has_looked()
        {
            call.replaced.get_or_insert(replica.keyring);
        }
        let keeps_page = self.variant == Variant::OlderChangesAfterReload;
        *replica = Replica {
            unfinished: Some(Unfinished::Uncounted),
            held: replica.held,
            page: replica.page.filter(|_| keeps_page),
            ..Replica::loaded(keyring, position)
        };
        let (things, truth) = (self.scope.things, state.database.contents());
        let is_kept = |held| state.database.keeps_denials(things, held, truth);
        let is_forgotten = replica.held.is_some_and(|held| !is_kept(held));
        is_forgotten.then_some(Outcome::DenialForgotten)
    }
}

/// The key's new state is written to the spare record, which then becomes the current one. A call that looks
/// at what was the spare one meets the new state there.
fn turn_to_other_record(call: Option<&mut Call>, condition: Condition) {
    let Some(call) = call.filter(|call| call.replaced.is_none()) else {
        return;
    };
    if let Some(record) = &mut call.record {
        if !record.is_current {
            record.condition = condition;
        }
        record.is_current = !record.is_current;
    }
}

/// Only in a trap: the current record is changed.
fn fill_record(call: Option<&mut Call>, condition: Condition) {
    let call = call.filter(|call| call.replaced.is_none());
    if let Some(record) = call.and_then(|call| call.record.as_mut()) {
        record.condition = condition;
    }
}
