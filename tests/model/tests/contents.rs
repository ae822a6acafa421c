//! Checks every state of the model of contents. The protocol keeps its promises in each of them, and
//! every known mistake breaks one. Run with `-- --nocapture` to see the number of states, and the steps
//! by which each mistake breaks the promise.

use revocation_model::contents::{Protocol, Scope, Variant};
use stateright::{Checker, HasDiscoveries, Model};

/// More than there are domains. So every answer brings all changes.
const ALL_CHANGES: usize = 3;

const TWO_WRITES: Scope = Scope {
    writes: 2,
    lost: 0,
    page: ALL_CHANGES,
};

/// Enough to add a domain, remove it, and add it again.
const THREE_WRITES: Scope = Scope {
    writes: 3,
    ..TWO_WRITES
};

const FOUR_WRITES: Scope = Scope {
    writes: 4,
    ..TWO_WRITES
};

fn assert_keeps_its_promises(scope: Scope) {
    let variant = Variant::Correct;
    let checker = Protocol { variant, scope }.checker().spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("{scope:?}: {states} states");
}

fn assert_breaks(promise: &'static str, variant: Variant, scope: Scope) {
    let checker = Protocol { variant, scope }.checker();
    let checker = checker.finish_when(HasDiscoveries::AnyOf([promise].into()));
    let broken = checker.spawn_bfs().join().discovery(promise);
    let steps = broken.expect("the trap breaks the promise").into_actions();
    println!("{variant:?}, after {} steps: {steps:?}", steps.len());
}

#[test]
fn what_is_taken_away_and_given_back_is_seen_as_it_is() {
    assert_keeps_its_promises(FOUR_WRITES);
}

#[test]
fn changes_that_come_one_at_a_time_are_seen_as_they_are() {
    assert_keeps_its_promises(Scope {
        page: 1,
        ..FOUR_WRITES
    });
}

#[test]
fn after_a_loss_no_denial_becomes_a_grant() {
    assert_keeps_its_promises(Scope {
        lost: 2,
        ..THREE_WRITES
    });
}

#[test]
fn after_a_loss_between_two_answers_no_denial_becomes_a_grant() {
    assert_keeps_its_promises(Scope {
        lost: 2,
        page: 1,
        ..THREE_WRITES
    });
}

#[test]
fn reading_the_parts_of_a_domain_separately_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::PartsReadSeparately, TWO_WRITES);
}

#[test]
fn writing_the_parts_of_a_domain_separately_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::PartsWrittenSeparately, TWO_WRITES);
}

#[test]
fn looking_only_once_at_domains_that_change_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::LookNotRepeated, TWO_WRITES);
}

#[test]
fn answering_under_a_lease_that_has_lapsed_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::LeaseNotCheckedAgain, THREE_WRITES);
}

#[test]
fn applying_the_newest_change_first_breaks_the_promise() {
    assert_breaks(Protocol::ONE_REVISION, Variant::NewestFirst, TWO_WRITES);
}

#[test]
fn keeping_a_domain_removed_for_good_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::RemovalIsFinal, THREE_WRITES);
}

#[test]
fn reading_the_revision_after_the_load_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::RevisionReadAfterLoad, TWO_WRITES);
}

#[test]
fn applying_older_changes_after_a_reload_breaks_the_promise() {
    let variant = Variant::OlderChangesAfterReload;
    let scope = Scope {
        lost: 2,
        ..TWO_WRITES
    };
    assert_breaks(Protocol::DENIALS_KEPT, variant, scope);
}

/// The last write may be lost.
fn with_loss(scope: Scope) -> Scope {
    Scope { lost: 1, ..scope }
}

#[test]
fn loading_into_the_keyring_in_use_breaks_the_promise() {
    let variant = Variant::LoadedIntoKeyringInUse;
    assert_breaks(Protocol::SAFE, variant, with_loss(TWO_WRITES));
}

#[test]
fn not_writing_a_lost_removal_again_breaks_the_promise() {
    let variant = Variant::NotWrittenAgain;
    assert_breaks(Protocol::DENIALS_KEPT, variant, with_loss(TWO_WRITES));
}

/// So a slower replica may undo what a caller has written since the loss: it cannot tell whose write it is.
#[test]
fn leaving_alone_what_was_written_since_the_loss_breaks_the_promise() {
    let variant = Variant::NewerRowsLeftAlone;
    assert_breaks(Protocol::DENIALS_KEPT, variant, with_loss(THREE_WRITES));
}

#[test]
fn not_applying_at_once_what_is_written_again_breaks_the_promise() {
    let variant = Variant::RestoredInStoreAlone;
    assert_breaks(Protocol::DENIALS_KEPT, variant, with_loss(TWO_WRITES));
}

#[test]
fn denying_in_memory_alone_what_was_lost_breaks_the_promise() {
    let variant = Variant::RestoredInMemoryAlone;
    assert_breaks(Protocol::DENIALS_KEPT, variant, with_loss(TWO_WRITES));
}

#[test]
fn writing_again_more_than_the_database_has_breaks_the_promise() {
    let variant = Variant::RestoredAsItWas;
    assert_breaks(Protocol::NO_GRANTS, variant, with_loss(THREE_WRITES));
}

#[test]
fn knowing_history_by_the_revision_alone_breaks_the_promise() {
    let variant = Variant::HistoryByRevisionAlone;
    assert_breaks(Protocol::SAFE, variant, with_loss(TWO_WRITES));
}

#[test]
fn knowing_history_by_the_last_change_alone_breaks_the_promise() {
    let scope = Scope {
        page: 1,
        ..with_loss(THREE_WRITES)
    };
    assert_breaks(Protocol::SAFE, Variant::HistoryByLastChange, scope);
}
