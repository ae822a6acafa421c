//! Owns the list of steps and the conditions under which each may be taken.
//! Promises to offer every step that a process, the database or the network could take next.
//! Must never leave out a step because it is unlikely.

use super::{
    Protocol, Variant,
    state::{Authorize, Presence, Progress, Revision, Standing, State, Wait},
};

/// One step. A number identifies a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It loads all keys in one snapshot. It has no row yet.
    Join(usize),
    /// It reads its clock, and sends a renewal.
    SendRenewal(usize),
    /// The database grants the lease: one transaction under the shared form of the writers' lock.
    Grant(usize),
    /// Only in a trap: the renewal takes a snapshot without the lock.
    ReadWithoutLock(usize),
    /// Only in a trap: the renewal writes its row and commits.
    CommitRenewal(usize),
    /// It receives the answer, applies it, and then uses the lease.
    ReceiveRenewal(usize),
    /// It applies an answer that it has already acknowledged.
    ApplyAtLast(usize),
    /// It gives up a renewal whose request or answer was lost.
    LoseRenewal(usize),
    /// It gives up a renewal that is still in flight.
    AbandonRenewal(usize),
    /// The renewal that it gave up arrives.
    LateRenewal(usize),
    /// It reads and applies the changes outside a renewal, which grants no lease.
    CatchUp(usize),
    /// A writer takes the lock, the next revision, and commits.
    Write,
    /// A writer takes the lock. Only in the traps in which something happens before its commit.
    BeginWrite,
    /// It commits.
    CommitWrite,
    /// It begins to wait with a committed write.
    AwaitReplicas(usize, Revision),
    /// The database executes its read of all rows.
    ReadRows(usize),
    /// It receives that read.
    ReceiveRows(usize),
    /// The Create or Revoke that waits on it returns OK.
    ReturnOk(usize),
    /// The caller's deadline ends the wait. The write remains committed.
    DeadlineExceeded(usize),
    /// The first deletes the row of the second, whose lease has certainly lapsed.
    DeleteLapsed(usize, usize),
    /// It crashes. Its memory is lost and its row remains.
    Crash(usize),
    /// It stops answering for good.
    Leave(usize),
    /// Its own row is deleted as it leaves.
    DeleteOwnRow(usize),
    /// A call of Authorize begins, on the key of the last write that returned.
    StartAuthorize(usize),
    /// It is answered.
    AnswerAuthorize(usize),
}

/// When each step may be taken.
impl<const N: usize> Protocol<N> {
    pub(crate) fn steps_of(&self, state: &State<N>, id: usize, steps: &mut Vec<Step>) {
        match state.replicas[id].presence {
            Presence::Absent => steps.push(Step::Join(id)),
            Presence::Running => {
                self.renewal_steps(state, id, steps);
                self.writer_steps(state, id, steps);
                self.authorize_steps(state, id, steps);
                steps.extend([Step::Crash(id), Step::Leave(id)]);
            }
            Presence::Leaving => steps.push(Step::DeleteOwnRow(id)),
            Presence::Gone => {}
        }
    }

    pub(crate) fn database_steps(&self, state: &State<N>, steps: &mut Vec<Step>) {
        let writes_left = state.database.revision < self.scope.writes;
        if state.database.writing {
            steps.push(Step::CommitWrite);
        } else if writes_left && self.is_write_in_two_steps() {
            steps.push(Step::BeginWrite);
        } else if writes_left {
            steps.push(Step::Write);
        }
        let late = |id: &usize| state.replicas[*id].late.is_some();
        steps.extend((0..N).filter(late).map(Step::LateRenewal));
    }

    fn renewal_steps(&self, state: &State<N>, id: usize, steps: &mut Vec<Step>) {
        let replica = &state.replicas[id];
        if replica.unapplied.is_some() {
            steps.push(Step::ApplyAtLast(id));
        }
        let Some(renewal) = &replica.renewal else {
            steps.push(Step::SendRenewal(id));
            if replica.applied < state.database.revision {
                steps.push(Step::CatchUp(id));
            }
            return;
        };
        steps.push(Step::LoseRenewal(id));
        match renewal.progress {
            Progress::Answered(_) => {
                steps.push(Step::ReceiveRenewal(id));
                return;
            }
            Progress::Open(_) if state.database.writing => {}
            Progress::Open(_) => steps.push(Step::CommitRenewal(id)),
            Progress::Sent if self.snapshot_comes_early(state) => {
                steps.push(Step::ReadWithoutLock(id));
            }
            Progress::Sent => steps.push(Step::Grant(id)),
        }
        if self.may_be_late(state) {
            steps.push(Step::AbandonRenewal(id));
        }
    }

    fn is_write_in_two_steps(&self) -> bool {
        use Variant::{LockAndReadInOneStatement, WaitBeforeCommit};
        [LockAndReadInOneStatement, WaitBeforeCommit].contains(&self.variant)
    }

    fn snapshot_comes_early(&self, state: &State<N>) -> bool {
        match self.variant {
            Variant::GrantOutsideLock => true,
            Variant::LockAndReadInOneStatement => state.database.writing,
            _ => false,
        }
    }

    pub(crate) fn may_be_late(&self, state: &State<N>) -> bool {
        let late = |id: usize| state.replicas[id].late.is_some();
        self.scope.late_renewals && !(0..N).any(late)
    }

    fn writer_steps(&self, state: &State<N>, id: usize, steps: &mut Vec<Step>) {
        if !self.is_writer(id) {
            return;
        }
        let writer = &state.replicas[id];
        let shows = |other: &usize| {
            let (row, sighting) = (state.database.rows[*other], writer.sightings[*other]);
            row.zip(sighting)
                .is_some_and(|(row, sighting)| row.renewals == sighting.renewals)
        };
        let lapsed = (0..N).filter(shows);
        steps.extend(lapsed.map(|other| Step::DeleteLapsed(id, other)));

        match &writer.wait {
            Some(Wait { read: Some(_), .. }) => steps.push(Step::ReceiveRows(id)),
            None if self.scope.slow_reads => {}
            _ => steps.push(Step::ReadRows(id)),
        }

        let Some(wait) = &writer.wait else {
            let is_early = self.variant == Variant::WaitBeforeCommit && state.database.writing;
            let last = state.database.revision + Revision::from(is_early);
            let waiting = state.returned + 1..=last;
            steps.extend(waiting.map(|revision| Step::AwaitReplicas(id, revision)));
            return;
        };
        steps.push(Step::DeadlineExceeded(id));
        if writer.keyring >= wait.revision && !wait.standing.contains(&Standing::Unknown) {
            steps.push(Step::ReturnOk(id));
        }
    }

    /// A replica that has applied every returned write answers rightly, as the model of `contents` proves.
    /// So only calls on the others are of interest. If the promise holds, none of those has a lease, and
    /// no call starts.
    fn authorize_steps(&self, state: &State<N>, id: usize, steps: &mut Vec<Step>) {
        let replica = &state.replicas[id];
        if state.authorize.is_at(id) {
            steps.push(Step::AnswerAuthorize(id));
        }
        let may_start = replica.has_lease() || self.variant == Variant::LeaseReadAfterKeyring;
        let lacks_write = replica.keyring < state.returned;
        if state.authorize == Authorize::Idle && may_start && lacks_write {
            steps.push(Step::StartAuthorize(id));
        }
    }
}

/// What each step does, in `replica` and `writer`.
impl<const N: usize> Protocol<N> {
    pub(crate) fn take(&self, step: Step, state: &mut State<N>) {
        match step {
            Step::Join(id) => state.join(id),
            Step::SendRenewal(id) => self.send_renewal(state, id),
            Step::Grant(id) => {
                self.read(state, id);
                self.commit_renewal(state, id);
            }
            Step::ReadWithoutLock(id) => self.read(state, id),
            Step::CommitRenewal(id) => self.commit_renewal(state, id),
            Step::ReceiveRenewal(id) => self.receive_renewal(state, id),
            Step::ApplyAtLast(id) => state.apply_at_last(id),
            Step::LoseRenewal(id) => state.replicas[id].renewal = None,
            Step::AbandonRenewal(id) => state.abandon_renewal(id),
            Step::LateRenewal(id) => self.late_renewal(state, id),
            Step::CatchUp(id) => state.apply(id, state.database.revision),
            Step::BeginWrite => state.database.writing = true,
            Step::Write | Step::CommitWrite => {
                state.database.writing = false;
                state.database.revision += 1;
            }
            Step::AwaitReplicas(id, revision) => state.await_replicas(id, revision),
            Step::ReadRows(id) => self.read_rows(state, id),
            Step::ReceiveRows(id) => self.receive_rows(state, id),
            Step::ReturnOk(id) => self.return_ok(state, id),
            Step::DeadlineExceeded(id) => state.replicas[id].wait = None,
            Step::DeleteLapsed(id, other) => self.delete_lapsed(state, id, other),
            Step::Crash(id) => self.end(state, id, Presence::Gone),
            Step::Leave(id) => self.end(state, id, Presence::Leaving),
            Step::DeleteOwnRow(id) => state.delete_own_row(id),
            Step::StartAuthorize(id) => self.start_authorize(state, id),
            Step::AnswerAuthorize(id) => state.answer_authorize(id),
        }
    }
}
