//! Owns what can change: the two things that a check has, their states, and what is done about a loss.
//! Promises that a state is complete, and that what is done about a loss only takes away.
//! Must never know who asks.

/// How many things there are.
pub(crate) const THINGS: usize = 2;

/// The state of one thing, in two parts, of which a careless reader may see only one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Condition {
    pub(crate) standing: Standing,
    /// Whether a domain includes its subdomains, and whether a key's scope has more than its first domain.
    pub(crate) is_wide: bool,
}

/// Whether anything is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// A domain that was removed is like one that was never there.
    Absent,
    Active,
    Suspended,
    Revoked,
}

/// The state of each thing.
pub(crate) type Contents = [Condition; THINGS];

impl Condition {
    pub(crate) const ABSENT: Self = Self::of(Standing::Absent, false);
    pub(crate) const NARROW: Self = Self::of(Standing::Active, false);
    pub(crate) const WIDE: Self = Self::of(Standing::Active, true);
    pub(crate) const REVOKED: Self = Self::of(Standing::Revoked, false);

    pub(crate) const fn of(standing: Standing, is_wide: bool) -> Self {
        Self { standing, is_wide }
    }

    pub(crate) fn is_active(self) -> bool {
        self.standing == Standing::Active
    }

    /// The same, suspended. Its width stays, and counts again once it is resumed.
    pub(crate) fn suspended(self) -> Self {
        Self::of(Standing::Suspended, self.is_wide)
    }

    /// What it grants: the first domain, and the others.
    pub(crate) fn grants(self) -> [bool; 2] {
        [self.is_active(), self.is_active() && self.is_wide]
    }

    /// Whether the other one grants all that this one grants.
    pub(crate) fn is_within(self, other: Self) -> bool {
        let [mine, others] = [self.grants(), other.grants()];
        mine.into_iter().zip(others).all(|(mine, its)| its || !mine)
    }

    /// What both domains cover.
    fn and(self, other: Self) -> Self {
        if self.is_active() && other.is_active() {
            Self::of(Standing::Active, self.is_wide && other.is_wide)
        } else {
            Self::ABSENT
        }
    }
}

/// What the two things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Things {
    /// Two domains of an account. The first may be verified with its subdomains.
    Domains,
    /// A key and its account. The key's scope is narrowed and widened (so may be the time of its expiry),
    /// and both are suspended and resumed.
    KeyAndAccount {
        /// What the key may be at the beginning.
        starts: &'static [Start],
    },
}

/// A key at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is to be created.
    Absent,
    /// Its scope is narrow.
    Narrow,
    /// Its scope is wide.
    Wide,
}

impl Start {
    fn condition(self) -> Condition {
        match self {
            Self::Absent => Condition::ABSENT,
            Self::Narrow => Condition::NARROW,
            Self::Wide => Condition::WIDE,
        }
    }
}

impl Things {
    /// What the database may hold at the beginning.
    pub(crate) fn starts(self) -> Vec<Contents> {
        match self {
            Self::Domains => vec![[Condition::ABSENT; THINGS]],
            Self::KeyAndAccount { starts } => starts
                .iter()
                .map(|start| [start.condition(), Condition::WIDE])
                .collect(),
        }
    }

    /// What a caller may make of each thing.
    pub(crate) fn changes(self, [first, second]: Contents) -> Vec<(usize, Condition)> {
        let (firsts, seconds) = match self {
            Self::Domains => (
                vec![Condition::ABSENT, Condition::NARROW, Condition::WIDE],
                vec![Condition::ABSENT, Condition::NARROW],
            ),
            Self::KeyAndAccount { .. } => (key_changes(first), vec![suspended_or_resumed(second)]),
        };
        let firsts = firsts.into_iter().map(|to| (0, to));
        let all = firsts.chain(seconds.into_iter().map(|to| (1, to)));
        all.filter(|(thing, to)| *to != [first, second][*thing])
            .collect()
    }

    /// Whether a load shows that a change was lost that took something from a thing.
    pub(crate) fn has_lost_denial(self, thing: usize, held: Condition, loaded: Condition) -> bool {
        match (self, thing) {
            (Self::Domains, _) => !loaded.is_within(held),
            (Self::KeyAndAccount { .. }, 0) => match (held.standing, loaded.standing) {
                // The replica did not know the key.
                (Standing::Absent, _) => false,
                (Standing::Revoked, Standing::Active | Standing::Suspended) => true,
                _ => !loaded.is_within(held),
            },
            (Self::KeyAndAccount { .. }, _) => loaded.is_active() && !held.is_active(),
        }
    }

    /// What a replica makes of a thing of which such a change was lost.
    pub(crate) fn repaired(self, thing: usize, held: Condition, now: Condition) -> Condition {
        match (self, thing) {
            (Self::Domains, _) => now.and(held),
            (Self::KeyAndAccount { .. }, _) if held == Condition::REVOKED => held,
            (Self::KeyAndAccount { .. }, _) if now == Condition::REVOKED => now,
            // Not as it was held: it may have been taken away since by others.
            (Self::KeyAndAccount { .. }, _) => now.suspended(),
        }
    }

    /// What another replica makes of the first thing, because it remembers less than this one.
    pub(crate) fn repaired_by_other(self, now: Condition) -> Option<Condition> {
        match self {
            Self::Domains => now.grants()[1].then_some(Condition::NARROW),
            Self::KeyAndAccount { .. } => now.is_active().then(|| now.suspended()),
        }
    }

    /// Whether a replica that holds this of the first thing denies anything by it. A key that it does not
    /// know may be one of a write that was not lost.
    pub(crate) fn is_known(self, thing: usize, held: Condition) -> bool {
        !matches!(self, Self::KeyAndAccount { .. }) || thing != 0 || held != Condition::ABSENT
    }

    /// Whether the parts of a thing are read one after the other: those of a record.
    pub(crate) fn has_record(self, thing: usize) -> bool {
        matches!((self, thing), (Self::KeyAndAccount { .. }, 0))
    }
}

fn key_changes(key: Condition) -> Vec<Condition> {
    match key.standing {
        Standing::Absent => vec![Condition::NARROW, Condition::WIDE],
        Standing::Active | Standing::Suspended => vec![
            Condition::of(key.standing, !key.is_wide),
            suspended_or_resumed(key),
            Condition::REVOKED,
        ],
        Standing::Revoked => vec![],
    }
}

fn suspended_or_resumed(now: Condition) -> Condition {
    if now.is_active() {
        now.suspended()
    } else {
        Condition::of(Standing::Active, now.is_wide)
    }
}
