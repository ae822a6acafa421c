//! Owns what a state of the model consists of: the database, the replicas, what is on its way.
//! Promises that all of it is in view; nothing is remembered elsewhere.
//! Must never decide what happens next.

/// A write's place in the order of commits, from 1. Revision 0 is an empty database.
pub type Revision = u8;

/// Tells a replica's renewals apart. Only whether two are the same has a meaning.
pub(crate) type Number = u8;

/// A point on one replica's timeline, which knows only when that replica began to renew: `t0`. Any
/// other moment is named after the last `t0` before it.
pub(crate) type Moment = u8;

/// The `t0` of a lease that has ended, or was never granted.
pub(crate) const LONG_AGO: Moment = 0;

/// A replica's row in the table `replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// What its memory held before the renewal was sent.
    pub(crate) applied_revision: Revision,
    /// Which renewal that was.
    pub(crate) renewals: Number,
}

/// The table `replicas`, by replica.
pub(crate) type Rows<const N: usize> = [Option<Row>; N];

/// What PostgreSQL keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Database<const N: usize> {
    /// The last write that is committed.
    pub(crate) revision: Revision,
    /// The table `replicas`.
    pub(crate) rows: Rows<N>,
    /// Whether a writer holds the lock, where writing takes more than one step.
    pub(crate) writing: bool,
}

/// A renewal as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    /// What memory holds.
    pub(crate) applied: Revision,
    /// No other call of this replica has it.
    pub(crate) number: Number,
}

/// What a renewal reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Read<const N: usize> {
    /// The last write, with the changes up to it.
    pub(crate) revision: Revision,
    /// All rows, unless they are seen already.
    pub(crate) rows: Option<Rows<N>>,
}

/// How far a renewal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Progress<const N: usize> {
    /// The request is on its way.
    Sent,
    /// A trap's transaction has its snapshot, and has not committed.
    Open(Read<N>),
    /// The answer is on its way.
    Answered(Read<N>),
}

/// The renewal that a replica waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Renewal<const N: usize> {
    /// When it was begun, by the replica's own clock.
    pub(crate) t0: Moment,
    /// What is sent.
    pub(crate) call: Call,
    /// When it was begun, on the others' timelines. Only a trap looks at that.
    pub(crate) asked: [Moment; N],
    /// How far it has come.
    pub(crate) progress: Progress<N>,
}

/// An answer that was acknowledged and is not applied yet: a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Unapplied {
    /// Its lease.
    pub(crate) t0: Moment,
}

/// What a writer knows of another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sighting {
    /// What the row showed.
    pub(crate) renewals: Number,
    /// When the read that first showed it was received: `a`.
    pub(crate) a: Moment,
}

/// How another replica stands to a write that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// No read since the commit was received.
    Unknown,
    /// The first of these showed a renewal that lacks the write. Later ones must read the write, so
    /// only the leases of this one and those before it are waited for.
    Behind {
        /// When it was first seen.
        a: Moment,
    },
    /// It has acknowledged the write, or has no row: its next lease will come with the write.
    Settled,
}

/// A Create or Revoke that waits for the other replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Wait<const N: usize> {
    /// Its write.
    pub(crate) revision: Revision,
    /// The replicas, as far as reads since its commit tell.
    pub(crate) standing: [Standing; N],
    /// A read that was made since its commit and is on its way.
    pub(crate) read: Option<Rows<N>>,
}

/// Whether a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Presence {
    /// Not yet.
    Absent,
    /// It does, or it is paused.
    Running,
    /// It answers nothing any more, and its row is to be deleted.
    Leaving,
    /// Not any more. Who starts again is another replica.
    Gone,
}

/// A process that serves: a replica, and a writer for those who call Create or Revoke on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Replica<const N: usize> {
    /// Whether it runs.
    pub(crate) presence: Presence,
    /// The last write in memory, which holds all before it too.
    pub(crate) keyring: Revision,
    /// What it says it holds. In the correct protocol that is what it holds.
    pub(crate) applied: Revision,
    /// The `t0` of the lease that it believes in.
    pub(crate) lease: Moment,
    /// An answer that a trap has acknowledged only.
    pub(crate) unapplied: Option<Unapplied>,
    /// The renewal that it waits for.
    pub(crate) renewal: Option<Renewal<N>>,
    /// A renewal that it gave up, and that may arrive.
    pub(crate) late: Option<Call>,
    /// What it knows of the others.
    pub(crate) sightings: [Option<Sighting>; N],
    /// The write that it waits with.
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

    /// Every `t0` that can still matter.
    pub(crate) fn begun(&mut self) -> impl Iterator<Item = &mut Moment> {
        let renewal = self.renewal.as_mut().map(|renewal| &mut renewal.t0);
        let unapplied = self.unapplied.as_mut().map(|unapplied| &mut unapplied.t0);
        [Some(&mut self.lease), renewal, unapplied]
            .into_iter()
            .flatten()
    }

    /// The process ends; only what is on its way to the database outlives it.
    pub(crate) fn end(&mut self, presence: Presence) {
        let late = self.late;
        *self = Self::new(presence);
        self.late = late;
    }
}

/// One call of Authorize. More would show no more: each answers for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Authorize {
    /// None.
    Idle,
    /// It has begun at a replica, which had a lease.
    LeaseRead {
        /// Where.
        replica: usize,
        /// The last write that had returned.
        returned: Revision,
    },
    /// A trap's: it has read a keyring without the write.
    KeyringRead {
        /// Where.
        replica: usize,
    },
    /// It was answered as if the write had not been.
    Contradicted,
}

impl Authorize {
    pub(crate) fn is_at(&self, id: usize) -> bool {
        matches!(self, Self::LeaseRead { replica, .. } | Self::KeyringRead { replica } if *replica == id)
    }
}

/// A state of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    /// The database.
    pub(crate) database: Database<N>,
    /// The processes.
    pub(crate) replicas: [Replica<N>; N],
    /// The last write whose Create or Revoke returned OK. A keyring that holds it holds those
    /// before it.
    pub(crate) returned: Revision,
    /// The call that is to be contradicted.
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

    /// Now, on a replica's timeline: the last `t0` that still matters. No name is later.
    pub(crate) fn now(&self, id: usize) -> Moment {
        let mut replica = self.replicas[id];
        let last = replica.begun().max().copied();
        last.unwrap_or(LONG_AGO)
    }

    pub(crate) fn now_everywhere(&self) -> [Moment; N] {
        std::array::from_fn(|id| self.now(id))
    }

    /// Whether a write has returned that a replica, whose row stands, never acknowledged.
    pub(crate) fn returned_by_lapse_of(&self, presence: Presence) -> bool {
        let mut replicas = self.replicas.iter().zip(&self.database.rows);
        replicas.any(|(replica, row)| {
            replica.presence == presence
                && row.is_some_and(|row| row.applied_revision < self.returned)
        })
    }
}
