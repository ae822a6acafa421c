//! Owns what a writer does: it watches the other replicas, waits for them, and returns.
//! Promises that a writer uses only what it has read and when it received that on its own clock.
//! Must never return before each other replica has the write or certainly has no lease without it.

use super::{
    Protocol, Variant,
    state::{LONG_AGO, Moment, Revision, Row, Rows, Sighting, Standing, State, Wait},
};

/// Watching.
impl<const N: usize> Protocol<N> {
    pub(crate) fn is_writer(&self, id: usize) -> bool {
        id < self.scope.writers
    }

    /// The rows in a renewal's answer. If the answer has a write, the rows were read after its commit.
    pub(crate) fn see_renewal(
        &self,
        state: &mut State<N>,
        id: usize,
        revision: Revision,
        rows: &Rows<N>,
    ) {
        let a = match &state.replicas[id].renewal {
            Some(renewal) if self.variant == Variant::LapseFromAsking => renewal.asked,
            _ => state.now_everywhere(),
        };
        self.see(state, id, rows, a, |wait| wait.revision <= revision);
    }

    /// Records the content of a read that was received at `a`.
    fn see(
        &self,
        state: &mut State<N>,
        id: usize,
        rows: &Rows<N>,
        a: [Moment; N],
        made_since_commit: impl Fn(&Wait<N>) -> bool,
    ) {
        if !self.is_writer(id) {
            return;
        }
        let writer = &mut state.replicas[id];
        for other in (0..N).filter(|other| *other != id) {
            let row = rows[other];
            let seen = sighting_of(row, writer.sightings[other], a[other]);
            writer.sightings[other] = seen;
            if let Some(wait) = writer.wait.as_mut().filter(|wait| made_since_commit(wait)) {
                let is_behind = row.is_some_and(|row| row.applied_revision < wait.revision);
                wait.standing[other] = match (wait.standing[other], seen) {
                    (Standing::Unknown, Some(Sighting { a, .. })) if is_behind => {
                        Standing::Behind { a }
                    }
                    (Standing::Behind { a }, _) if is_behind => Standing::Behind { a },
                    _ => Standing::Settled,
                };
            }
        }
    }
}

/// The first read that showed a renewal counts.
fn sighting_of(row: Option<Row>, known: Option<Sighting>, a: Moment) -> Option<Sighting> {
    let renewals = row?.renewals;
    known
        .filter(|known| known.renewals == renewals)
        .or(Some(Sighting { renewals, a }))
}

/// Waiting.
impl<const N: usize> State<N> {
    pub(crate) fn await_replicas(&mut self, id: usize, revision: Revision) {
        let mut standing = [Standing::Unknown; N];
        standing[id] = Standing::Settled;
        self.replicas[id].wait = Some(Wait {
            revision,
            standing,
            read: None,
        });
    }

    /// A second return of a write has no effect, and a writer that may read at any time needs no wait
    /// to read.
    fn end_useless_waits(&mut self) {
        let returned = self.returned;
        for writer in &mut self.replicas {
            writer.wait.take_if(|wait| wait.revision <= returned);
        }
    }
}

impl<const N: usize> Protocol<N> {
    pub(crate) fn read_rows(&self, state: &mut State<N>, id: usize) {
        let rows = state.database.rows;
        match &mut state.replicas[id].wait {
            Some(wait) if self.scope.slow_reads => wait.read = Some(rows),
            _ => self.see_rows(state, id, &rows),
        }
    }

    pub(crate) fn receive_rows(&self, state: &mut State<N>, id: usize) {
        let wait = state.replicas[id].wait.as_mut();
        if let Some(rows) = wait.and_then(|wait| wait.read.take()) {
            self.see_rows(state, id, &rows);
        }
    }

    /// The rows that were read for the write that waits, if one does.
    fn see_rows(&self, state: &mut State<N>, id: usize, rows: &Rows<N>) {
        let a = state.now_everywhere();
        self.see(state, id, rows, a, |_| true);
    }

    /// Waits for each replica that has not acknowledged the write until its lease has certainly lapsed.
    pub(crate) fn return_ok(&self, state: &mut State<N>, id: usize) {
        let Some(wait) = state.replicas[id].wait.take() else {
            return;
        };
        for other in 0..N {
            if let Standing::Behind { a } = wait.standing[other] {
                self.wait_for_lapse(state, other, a);
            }
        }
        state.returned = state.returned.max(wait.revision);
        if !self.scope.slow_reads {
            state.end_useless_waits();
        }
    }

    /// `DELETE … AND renewals = v` needs no time in the model: a later one would find the same row, or
    /// would find another number and do nothing.
    pub(crate) fn delete_lapsed(&self, state: &mut State<N>, id: usize, other: usize) {
        if let Some(Sighting { a, .. }) = state.replicas[id].sightings[other] {
            self.wait_for_lapse(state, other, a);
            state.database.rows[other] = None;
        }
    }

    /// The writer's clock passes `a + lease`. So the replica's lease has ended if it started before `a`,
    /// and so has any lease from a renewal that was sent before `a`.
    fn wait_for_lapse(&self, state: &mut State<N>, id: usize, a: Moment) {
        if self.variant == Variant::LapseByDatabaseClock {
            return;
        }
        for t0 in state.replicas[id].begun() {
            if *t0 <= a {
                *t0 = LONG_AGO;
            }
        }
    }
}
