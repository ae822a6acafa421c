//! Owns the parts of a state of the model: the database, the replicas, and the messages in flight.
//! Promises that a state is complete; nothing is stored elsewhere.
//! Must never decide what happens next.

/// A write's place in the order of commits, from 1. Revision 0 is an empty database.
pub type Revision = u8;

/// Identifies one renewal of a replica. Two numbers can only be equal or different.
pub(crate) type Number = u8;

/// A point on one replica's timeline, on which only the starts of that replica's renewals, `t0`, are
/// known. Any other moment has the name of the last `t0` before it.
pub(crate) type Moment = u8;

/// The `t0` of a lease that has ended, or was never granted.
pub(crate) const LONG_AGO: Moment = 0;

/// A replica's row in the table `replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// The last write in its memory before the renewal was sent.
    pub(crate) applied_revision: Revision,
    /// The number of that renewal.
    pub(crate) renewals: Number,
}

/// The table `replicas`, by replica.
pub(crate) type Rows<const N: usize> = [Option<Row>; N];

/// What PostgreSQL keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Database<const N: usize> {
    /// The last committed write.
    pub(crate) revision: Revision,
    /// The table `replicas`.
    pub(crate) rows: Rows<N>,
    /// Whether a writer holds the lock, if a write takes more than one step.
    pub(crate) writing: bool,
}

/// A renewal as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// The last write in memory.
    pub(crate) applied: Revision,
    /// Different for every renewal of this replica.
    pub(crate) number: Number,
}

/// What a renewal reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read<const N: usize> {
    /// The last write, with the changes up to it.
    pub(crate) revision: Revision,
    /// All rows, unless the writer has already seen them.
    pub(crate) rows: Option<Rows<N>>,
}

/// The progress of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Progress<const N: usize> {
    /// The request is in flight.
    Sent,
    /// Only in a trap: the transaction has its snapshot and has not committed.
    Open(Read<N>),
    /// The answer is in flight.
    Answered(Read<N>),
}

/// The renewal that a replica waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Renewal<const N: usize> {
    /// When it was started, by the replica's own clock.
    pub(crate) t0: Moment,
    /// The request.
    pub(crate) call: Call,
    /// When it was started, on the other replicas' timelines. Only a trap uses it.
    pub(crate) asked: [Moment; N],
    /// Its progress.
    pub(crate) progress: Progress<N>,
}

/// Only in a trap: an answer that was acknowledged and is not yet applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Unapplied {
    /// Its lease.
    pub(crate) t0: Moment,
}

/// What a writer knows of another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sighting {
    /// The content of the row.
    pub(crate) renewals: Number,
    /// When the read that first showed it was received: `a`.
    pub(crate) a: Moment,
}

/// What a waiting write knows about another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// No read since the commit was received.
    Unknown,
    /// The first read showed a renewal without the write. Later renewals must read the write, so the
    /// writer waits only for the leases of this renewal and of earlier ones.
    Behind {
        /// When that renewal was first seen.
        a: Moment,
    },
    /// It has acknowledged the write, or it has no row. In both cases its next lease includes the write.
    Settled,
}

/// A Create or Revoke that waits for the other replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wait<const N: usize> {
    /// Its write.
    pub(crate) revision: Revision,
    /// What the reads since its commit show about each replica.
    pub(crate) standing: [Standing; N],
    /// A read that was made after its commit and is in flight.
    pub(crate) read: Option<Rows<N>>,
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Presence {
    /// It has not started.
    Absent,
    /// It runs or is paused.
    Running,
    /// It no longer answers, and its row will be deleted.
    Leaving,
    /// It has ended. A process that starts again is another replica.
    Gone,
}

/// A process that serves: a replica, and a writer for those who call Create or Revoke on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Replica<const N: usize> {
    /// The state of its process.
    pub(crate) presence: Presence,
    /// The last write in memory. Memory also has all earlier writes.
    pub(crate) keyring: Revision,
    /// The last write that it has acknowledged. In the correct protocol, memory has that write.
    pub(crate) applied: Revision,
    /// The `t0` of the lease that it uses.
    pub(crate) lease: Moment,
    /// Only in a trap: an answer that is acknowledged and not applied.
    pub(crate) unapplied: Option<Unapplied>,
    /// The renewal that it waits for.
    pub(crate) renewal: Option<Renewal<N>>,
    /// A renewal that it gave up and that may still arrive.
    pub(crate) late: Option<Call>,
    /// What it knows about the other replicas.
    pub(crate) sightings: [Option<Sighting>; N],
    /// The write that waits on it.
    pub(crate) wait: Option<Wait<N>>,
}

impl<const N: usize> Replica<N> {
    fn new(presence: Presence) -> Self {
        Self {
            presence,
            keyring: 0,
            applied: 0,
            lease: LONG_AGO,
            unapplied: None,
            renewal: None,
            late: None,
            sightings: [None; N],
            wait: None,
        }
    }

    /// Whether it answers Authorize.
    pub(crate) fn has_lease(&self) -> bool {
        self.lease != LONG_AGO
    }

    /// Every `t0` that later steps can still use.
    pub(crate) fn begun(&mut self) -> impl Iterator<Item = &mut Moment> {
        let renewal = self.renewal.as_mut().map(|renewal| &mut renewal.t0);
        let unapplied = self.unapplied.as_mut().map(|unapplied| &mut unapplied.t0);
        [Some(&mut self.lease), renewal, unapplied]
            .into_iter()
            .flatten()
    }

    /// Ends the process. Only messages to the database survive.
    pub(crate) fn end(&mut self, presence: Presence) {
        let late = self.late;
        *self = Self::new(presence);
        self.late = late;
    }
}

/// One Authorize call. One is enough, since calls do not affect each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Authorize {
    /// There is no call.
    Idle,
    /// It has started at a replica that had a lease.
    LeaseRead {
        /// The replica.
        replica: usize,
        /// The last write that had returned.
        returned: Revision,
    },
    /// Only in a trap: it has read a keyring without the write.
    KeyringRead {
        /// The replica.
        replica: usize,
    },
    /// It was answered as if the write did not exist.
    Contradicted,
}

impl Authorize {
    pub(crate) fn is_at(&self, id: usize) -> bool {
        matches!(self, Self::LeaseRead { replica, .. } | Self::KeyringRead { replica } if *replica == id)
    }
}

/// A state of the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    /// The database.
    pub(crate) database: Database<N>,
    /// The processes.
    pub(crate) replicas: [Replica<N>; N],
    /// The last write whose Create or Revoke returned OK. A keyring with this write has all earlier
    /// ones.
    pub(crate) returned: Revision,
    /// The Authorize call that must not contradict a returned write.
    pub(crate) authorize: Authorize,
}

impl<const N: usize> State<N> {
    pub(crate) fn new() -> Self {
        Self {
            database: Database {
                revision: 0,
                rows: [None; N],
                writing: false,
            },
            replicas: [Replica::new(Presence::Absent); N],
            returned: 0,
            authorize: Authorize::Idle,
        }
    }

    /// The current moment on a replica's timeline: the last `t0` that is still used.
    pub(crate) fn now(&self, id: usize) -> Moment {
        let mut replica = self.replicas[id];
        let last = replica.begun().max().copied();
        last.unwrap_or(LONG_AGO)
    }

    pub(crate) fn now_everywhere(&self) -> [Moment; N] {
        std::array::from_fn(|id| self.now(id))
    }

    /// Whether a write has returned that was never acknowledged by a replica whose row still exists.
    pub(crate) fn returned_by_lapse_of(&self, presence: Presence) -> bool {
        let mut replicas = self.replicas.iter().zip(&self.database.rows);
        replicas.any(|(replica, row)| {
            replica.presence == presence
                && row.is_some_and(|row| row.applied_revision < self.returned)
        })
    }
}
