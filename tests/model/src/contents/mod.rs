//! Owns the model of what a replica holds. It knows what each write changes, and may lose writes.
//! Promises that what an answer sees is right, if a replica that may answer has applied every write that
//! has returned.
//! Must never assume of leases and of other replicas anything but that.
//!
//! # What a run is
//!
//! There are two things, which callers change again and again. They are two domains of an account, which
//! are added and removed; one of them is verified with or without its subdomains, so that its state has two
//! parts. Or they are a key and its account: the key's scope is narrowed and widened (a change of its expiry
//! is like that), both are suspended and resumed, and the key is created and revoked, which is for good.
//!
//! One replica joins at any time: it loads everything in one snapshot, with the snapshot's revision. Then
//! it reads the changes since the last one that it has applied, with a renewal or without one. The
//! database gives the last state of each domain and not the earlier ones, and at most so many at a time.
//! The replica applies them one after the other in revision order. Meanwhile, anything else may happen.
//!
//! One call of Authorize looks at both things, in any order and at any time. It sees a domain or an account
//! at once. It finds the key's record, and sees one part of it after the other. The key's next state is
//! written to a spare record and not to this one, but the state after that may be, while the call is there. A change is counted after
//! it can be seen and before the next one, and a call whose first look was before a count looks again. It
//! is answered if the lease that it found at its beginning has not lapsed at its end.
//!
//! # A loss
//!
//! At most once, the database loses its last writes. Later writes may have the same revisions, but not
//! the same identities. With each read, the replica names the last write that any of its reads may have
//! known of. If the database does not have it, the replica gives up its lease, and loads everything into
//! a fresh keyring. Then it compares: what the old keyring denied and the fresh one grants, it writes
//! again, as a change to what the database has then, which can only take away. It denies it in the fresh
//! keyring too. Only then does the fresh keyring take the place of the old one. Before it serves, it must
//! renew, which brings what was written meanwhile. A key of which it has lost a narrowing is suspended, and
//! not narrowed: what else was lost is not known. If the replica cannot reach the database, it begins again.
//! Another replica may do the same before or meanwhile, and remember less: it narrows a domain of which
//! this one remembers the removal, or suspends a key of which this one remembers the revocation.
//!
//! # A key that goes
//!
//! At any time, the row of a revoked key may go. The history then starts after its revocation: a replica that
//! has not got so far reads nothing that tells of it, and must load everything anew. One that has may forget
//! the key, whenever it finds that the store has no such row. An unknown token is denied as a revoked one is. The
//! revocation is not among the writes that are lost: a key goes only long after it.
//!
//! # What is left out
//!
//! A replica that ends: a run may stop anywhere. Answers that are lost: a read that is never answered
//! changes nothing here, because it is the other model that follows what a renewal leaves in its row.

mod call;
mod database;
mod follower;
mod promise;
mod state;
mod step;
mod things;

pub use database::Revision;
pub use state::{Part, State};
pub use step::Step;
pub use things::{Condition, Start, Things};

use promise::{Finding, Outcome};
use stateright::{Model, Property};

/// The protocol, or the protocol with one mistake (a trap).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The protocol.
    Correct,
    /// A call reads the parts of a domain one after the other, where they stand.
    PartsReadSeparately,
    /// The follower writes the parts of a domain or of a key one after the other, where they stand.
    PartsWrittenSeparately,
    /// A call looks at two domains, and does not look again if they changed meanwhile.
    LookNotRepeated,
    /// A call does not check after its last look that the lease still holds.
    LeaseNotCheckedAgain,
    /// The changes of one answer are applied in the wrong order. All of their writes wait for this
    /// replica, so none of them is contradicted. But a call sees the contents of no revision.
    NewestFirst,
    /// A domain that was removed stays removed, as a revoked key stays revoked.
    RemovalIsFinal,
    /// A load reads its revision after its snapshot.
    RevisionReadAfterLoad,
    /// The follower has two reads under way, and applies the older answer after the newer one.
    OlderPageAfterNewer,
    /// Changes that were read before a reload are applied after it.
    OlderChangesAfterReload,
    /// A reload goes into the keyring in use. What the database has lost stays there.
    LoadedIntoKeyringInUse,
    /// A lost removal or suspension is not written again.
    NotWrittenAgain,
    /// Only a lost suspension or revocation is looked for, and not a lost change of a key's scope.
    NarrowingNotWrittenAgain,
    /// A lost suspension of an account is not written again.
    AccountNotWrittenAgain,
    /// A lost removal is not written again if the domain was written to since. But that may have been another
    /// replica, which remembers less.
    NewerRowsLeftAlone,
    /// A lost removal is written again, and comes to the new keyring only with the changes.
    RestoredInStoreAlone,
    /// A lost removal is applied to the new keyring, and not written again.
    RestoredInMemoryAlone,
    /// What was lost is written again as memory has it, though the database may now grant less.
    RestoredAsItWas,
    /// The database looks for the replica's revision, and not for the write that had it.
    HistoryByRevisionAlone,
    /// A replica goes on that has not got to where the history starts, and certifies that it knows everything.
    HistoryStartNotChecked,
    /// A replica knows its history by the last change that it has applied. While more changes are to be
    /// read, it has seen signs of later writes, which may be lost unnoticed.
    HistoryByLastChange,
}

/// What a check covers.
#[derive(Debug, Clone, Copy)]
pub struct Scope {
    /// What there is.
    pub things: Things,
    /// How many writes callers commit, the lost ones included.
    pub writes: usize,
    /// How many of the last writes a standby may miss that takes over, at most once.
    pub lost: Revision,
    /// How many changes an answer has at most.
    pub page: usize,
    /// Whether a key that is revoked may leave the store.
    pub forgets: bool,
}

/// The protocol for one replica.
#[derive(Debug, Clone, Copy)]
pub struct Protocol {
    /// The protocol or one of its mistakes.
    pub variant: Variant,
    /// The limits of the check.
    pub scope: Scope,
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let starts = self.scope.things.starts();
        starts.into_iter().map(State::new).collect()
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        if state.outcome.is_some() {
            return;
        }
        self.database_steps(state, steps);
        if let Some(replica) = &state.replica {
            self.follower_steps(state, replica, steps);
            self.authorize_steps(state, replica, steps);
        } else {
            steps.push(Step::Join);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        self.take(step, &mut state);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(Self::SAFE, |_, state| !shows(state, Finding::Contradiction)),
            Property::always(Self::ONE_REVISION, |_, state| {
                !shows(state, Finding::Mixture)
            }),
            Property::always(Self::DENIALS_KEPT, |_, state: &State| {
                !shows(state, Finding::ForgottenDenial)
                    && state.outcome != Some(Outcome::DenialForgotten)
            }),
            Property::always(Self::NO_GRANTS, |_, state: &State| {
                state.outcome != Some(Outcome::GrantedByReplica)
            }),
            Property::sometimes("a removal that has returned is seen", |_, state| {
                shows(state, Finding::Removal)
            }),
        ];
        if self.scope.writes > 2 {
            properties.extend([
                Property::sometimes("what was given back is seen", |_, state| {
                    shows(state, Finding::GiveBack)
                }),
                Property::sometimes("the contents of no revision are seen", |_, state| {
                    shows(state, Finding::MixtureBySkipping)
                }),
            ]);
        }
        if self.scope.forgets {
            properties.push(Property::sometimes(
                "a key that has left the store is unknown",
                |_, state| shows(state, Finding::Gone),
            ));
        }
        if self.scope.lost > 0 {
            properties.extend([
                Property::sometimes("a removal that was written again is seen", |_, state| {
                    shows(state, Finding::RestoredRemoval)
                }),
                Property::sometimes("a grant since the loss is undone", |_, state: &State| {
                    state.database.has_undone_a_callers_write()
                }),
            ]);
        }
        properties
    }
}

fn shows(state: &State, finding: Finding) -> bool {
    matches!(&state.outcome, Some(Outcome::Answered(answer)) if answer.shows(finding))
}

/// The promises, as the names of properties.
impl Protocol {
    /// While no write is lost, and afterwards under each lease that was granted since.
    pub const SAFE: &'static str = "no Authorize contradicts a write that returned before it began";

    /// As long as [`Self::SAFE`].
    pub const ONE_REVISION: &'static str =
        "an Authorize sees the contents of one revision, unless the follower has skipped one";

    /// After a loss.
    pub const DENIALS_KEPT: &'static str = "no lost write turns a denial into a grant";

    /// After a loss.
    pub const NO_GRANTS: &'static str = "what a replica writes again grants nothing";
}
