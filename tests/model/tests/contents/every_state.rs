//! Checks every state of the model of contents. The protocol keeps its promises in each of them, and
//! every known mistake breaks one. Run with `-- --nocapture` to see the number of states, and the steps
//! by which each mistake breaks the promise.

use revocation_model::contents::{Protocol, Scope, Start, Things, Variant};
use stateright::{Checker, HasDiscoveries, Model};

/// More than there are domains. So every answer brings all changes.
const ALL_CHANGES: usize = 3;

const TWO_WRITES: Scope = Scope {
    things: Things::Domains,
    writes: 2,
    lost: 0,
    page: ALL_CHANGES,
    forgets: false,
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

const fn key(starts: &'static [Start]) -> Things {
    Things::KeyAndAccount { starts }
}

const KEY_THREE_WRITES: Scope = Scope {
    things: key(&[Start::Absent, Start::Narrow, Start::Wide]),
    ..THREE_WRITES
};

/// Enough to narrow or suspend a key that is there from the beginning, lose that, and change it again.
const KEY_WITH_LOSS: Scope = Scope {
    things: key(&[Start::Wide]),
    lost: 2,
    ..TWO_WRITES
};

#[test]
fn a_key_that_is_narrowed_widened_suspended_and_resumed_is_seen_as_it_is() {
    assert_keeps_its_promises(KEY_THREE_WRITES);
}

#[test]
fn key_changes_that_come_one_at_a_time_are_seen_as_they_are() {
    assert_keeps_its_promises(Scope {
        page: 1,
        ..KEY_THREE_WRITES
    });
}

#[test]
fn after_a_loss_no_key_is_granted_that_was_denied() {
    assert_keeps_its_promises(KEY_WITH_LOSS);
}

#[test]
fn changing_the_key_s_record_in_place_breaks_the_promise() {
    let variant = Variant::PartsWrittenSeparately;
    assert_breaks(Protocol::SAFE, variant, KEY_THREE_WRITES);
}

/// The record that the call has found may hold a newer state when it looks at the other part.
#[test]
fn looking_only_once_at_a_key_that_changes_breaks_the_promise() {
    assert_breaks(Protocol::SAFE, Variant::LookNotRepeated, KEY_THREE_WRITES);
}

/// The keyring takes the state that it is given: nothing in a state says that it is older.
#[test]
fn applying_an_older_answer_after_a_newer_one_breaks_the_promise() {
    let variant = Variant::OlderPageAfterNewer;
    assert_breaks(Protocol::SAFE, variant, KEY_THREE_WRITES);
}

#[test]
fn reading_the_revision_of_a_key_after_the_load_breaks_the_promise() {
    let variant = Variant::RevisionReadAfterLoad;
    assert_breaks(Protocol::SAFE, variant, KEY_THREE_WRITES);
}

#[test]
fn applying_older_changes_of_a_key_after_a_reload_breaks_the_promise() {
    let variant = Variant::OlderChangesAfterReload;
    let scope = Scope {
        things: key(&[Start::Narrow]),
        ..KEY_WITH_LOSS
    };
    assert_breaks(Protocol::DENIALS_KEPT, variant, scope);
}

#[test]
fn not_writing_a_lost_suspension_again_breaks_the_promise() {
    for variant in [Variant::NotWrittenAgain, Variant::AccountNotWrittenAgain] {
        assert_breaks(Protocol::DENIALS_KEPT, variant, KEY_WITH_LOSS);
    }
}

#[test]
fn forgetting_a_lost_narrowing_of_a_key_breaks_the_promise() {
    let variant = Variant::NarrowingNotWrittenAgain;
    assert_breaks(Protocol::DENIALS_KEPT, variant, KEY_WITH_LOSS);
}

/// A key that was narrowed was active, and may have been suspended since.
#[test]
fn writing_a_narrowed_key_again_as_it_was_breaks_the_promise() {
    let variant = Variant::RestoredAsItWas;
    assert_breaks(Protocol::NO_GRANTS, variant, KEY_WITH_LOSS);
}

/// Enough to revoke a key that is there from the beginning, let it go, and change its account.
const KEY_THAT_GOES: Scope = Scope {
    things: key(&[Start::Absent, Start::Wide]),
    forgets: true,
    ..THREE_WRITES
};

#[test]
fn a_key_that_has_left_the_store_is_denied_by_every_replica() {
    assert_keeps_its_promises(KEY_THAT_GOES);
}

#[test]
fn after_a_loss_a_key_that_has_left_the_store_is_denied_too() {
    assert_keeps_its_promises(Scope {
        forgets: true,
        ..KEY_WITH_LOSS
    });
}

/// A replica that was away would never learn that the key was revoked.
#[test]
fn following_a_history_that_starts_later_breaks_the_promise() {
    let variant = Variant::HistoryStartNotChecked;
    assert_breaks(Protocol::SAFE, variant, KEY_THAT_GOES);
}
