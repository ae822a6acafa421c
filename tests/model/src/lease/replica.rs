//! Owns what a replica does for itself: it joins, renews, answers Authorize and ends.
//! Promises that the correct protocol applies before it acknowledges and before it uses a lease.
//! Must never let a replica know anything that it did not receive.

use super::{
    Protocol, Variant,
    canonical::NEW,
    state::{
        Authorize, Call, Database, LONG_AGO, Presence, Progress, Read, Renewal, Revision, Row,
        State, Unapplied,
    },
};

/// Renewing.
impl<const N: usize> Protocol<N> {
    pub(crate) fn send_renewal(&self, state: &mut State<N>, id: usize) {
        let asked = if self.variant == Variant::LapseFromAsking {
            state.now_everywhere()
        } else {
            [LONG_AGO; N]
        };
        state.replicas[id].renewal = Some(Renewal {
            t0: state.now(id) + 1,
            call: Call {
                applied: state.replicas[id].applied,
                number: NEW,
            },
            asked,
            progress: Progress::Sent,
        });
    }

    /// The database's part of a renewal that reads.
    pub(crate) fn read(&self, state: &mut State<N>, id: usize) {
        let Database { revision, rows, .. } = state.database;
        let rows = (self.scope.slow_reads && self.is_writer(id)).then_some(rows);
        if let Some(renewal) = &mut state.replicas[id].renewal {
            renewal.progress = Progress::Open(Read { revision, rows });
        }
    }

    /// The database's part of a renewal that writes the row.
    pub(crate) fn commit_renewal(&self, state: &mut State<N>, id: usize) {
        let Some(renewal) = &mut state.replicas[id].renewal else {
            return;
        };
        if let Progress::Open(read) = renewal.progress {
            renewal.progress = Progress::Answered(read);
            let call = renewal.call;
            self.upsert(state, id, call);
            if !self.scope.slow_reads {
                let rows = state.database.rows;
                self.see_renewal(state, id, read.revision, &rows);
            }
        }
    }

    /// Overwrites the row of a later renewal. A database that keeps the later row behaves as if this
    /// renewal was lost, which is covered too.
    pub(crate) fn late_renewal(&self, state: &mut State<N>, id: usize) {
        if let Some(call) = state.replicas[id].late.take() {
            self.upsert(state, id, call);
        }
    }

    fn upsert(&self, state: &mut State<N>, id: usize, call: Call) {
        let row = &mut state.database.rows[id];
        let renewals = if self.variant == Variant::RenewalsCountedByRow {
            row.map_or(1, |row| row.renewals + 1)
        } else {
            call.number
        };
        *row = Some(Row {
            applied_revision: call.applied,
            renewals,
        });
    }

    pub(crate) fn receive_renewal(&self, state: &mut State<N>, id: usize) {
        let Some(renewal) = state.replicas[id].renewal else {
            return;
        };
        let Progress::Answered(read) = renewal.progress else {
            return;
        };
        if let Some(rows) = &read.rows {
            self.see_renewal(state, id, read.revision, rows);
        }
        let t0 = if self.variant == Variant::DeadlineFromReply {
            state.now(id) + 1
        } else {
            renewal.t0
        };
        state.replicas[id].renewal = None;
        if self.variant == Variant::AcknowledgeBeforeApplying {
            state.replicas[id].applied = read.revision;
            state.replicas[id].unapplied = Some(Unapplied { t0 });
        } else {
            state.apply(id, read.revision);
            state.replicas[id].lease = t0;
        }
    }
}

impl<const N: usize> State<N> {
    pub(crate) fn join(&mut self, id: usize) {
        self.replicas[id].presence = Presence::Running;
        self.apply(id, self.database.revision);
    }

    /// Brings the keyring up to a revision.
    pub(crate) fn apply(&mut self, id: usize, revision: Revision) {
        let replica = &mut self.replicas[id];
        replica.keyring = replica.keyring.max(revision);
        replica.applied = replica.applied.max(revision);
    }

    pub(crate) fn apply_at_last(&mut self, id: usize) {
        self.apply(id, self.replicas[id].applied);
        let replica = &mut self.replicas[id];
        if let Some(unapplied) = replica.unapplied.take() {
            replica.lease = unapplied.t0;
        }
    }

    /// Gives a renewal up. Its request may still arrive.
    pub(crate) fn abandon_renewal(&mut self, id: usize) {
        let replica = &mut self.replicas[id];
        if let Some(renewal) = replica.renewal.take() {
            let has_arrived = matches!(renewal.progress, Progress::Answered(_));
            replica.late = (!has_arrived).then_some(renewal.call);
        }
    }
}

/// Authorize.
impl<const N: usize> Protocol<N> {
    /// The correct call has checked the lease and will read the keyring next. The service checks the
    /// lease once more afterwards, which can only withhold an answer, so the model leaves it out.
    pub(crate) fn start_authorize(&self, state: &mut State<N>, replica: usize) {
        state.authorize = if self.variant == Variant::LeaseReadAfterKeyring {
            Authorize::KeyringRead { replica }
        } else {
            let returned = state.returned;
            Authorize::LeaseRead { replica, returned }
        };
    }
}

impl<const N: usize> State<N> {
    pub(crate) fn answer_authorize(&mut self, id: usize) {
        let replica = &self.replicas[id];
        let is_contradiction = match self.authorize {
            Authorize::LeaseRead { returned, .. } => replica.keyring < returned,
            Authorize::KeyringRead { .. } => replica.has_lease(),
            Authorize::Idle | Authorize::Contradicted => false,
        };
        self.authorize = if is_contradiction {
            Authorize::Contradicted
        } else {
            Authorize::Idle
        };
    }
}

/// Ending.
impl<const N: usize> Protocol<N> {
    /// Only messages to the database survive the process.
    pub(crate) fn end(&self, state: &mut State<N>, id: usize, presence: Presence) {
        if self.may_be_late(state) {
            state.abandon_renewal(id);
        }
        state.replicas[id].end(presence);
        if state.authorize.is_at(id) {
            state.authorize = Authorize::Idle;
        }
    }
}

impl<const N: usize> State<N> {
    pub(crate) fn delete_own_row(&mut self, id: usize) {
        self.database.rows[id] = None;
        self.replicas[id].presence = Presence::Gone;
    }
}
