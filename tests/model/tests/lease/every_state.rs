//! Checks every state of the model of leases. The protocol keeps its promise in each of them, and every known
//! mistake in the protocol breaks it. Run with `-- --nocapture` to see the number of states, and the
//! steps by which each mistake breaks the promise.

use revocation_model::lease::{Protocol, Scope, Variant};
use stateright::{Checker, HasDiscoveries, Model};

/// Large enough to find every mistake.
const SMALL: Scope = Scope {
    writes: 1,
    writers: 1,
    slow_reads: false,
    late_renewals: false,
};

fn assert_keeps_its_promise<const REPLICAS: usize>(scope: Scope) {
    let variant = Variant::Correct;
    let checker = Protocol::<REPLICAS> { variant, scope }.checker();
    let checker = checker.spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!("{REPLICAS} replicas, {scope:?}: {states} states");
}

fn assert_is_caught(variant: Variant) {
    let checker = Protocol::<2> {
        variant,
        scope: SMALL,
    }
    .checker()
    .finish_when(HasDiscoveries::AnyOf([Protocol::<2>::SAFE].into()))
    .spawn_bfs()
    .join();
    let contradiction = checker
        .discovery(Protocol::<2>::SAFE)
        .expect("the trap breaks the promise");
    let steps = contradiction.into_actions();
    println!("{variant:?}, after {} steps: {steps:?}", steps.len());
}

#[test]
fn two_replicas_that_both_write_keep_the_promise() {
    assert_keeps_its_promise::<2>(Scope {
        writes: 2,
        writers: 2,
        ..SMALL
    });
}

#[test]
fn reads_that_arrive_late_keep_the_promise() {
    assert_keeps_its_promise::<2>(Scope {
        writes: 2,
        slow_reads: true,
        ..SMALL
    });
}

#[test]
fn renewals_that_arrive_after_their_replica_gave_them_up_keep_the_promise() {
    assert_keeps_its_promise::<2>(Scope {
        writes: 2,
        late_renewals: true,
        ..SMALL
    });
}

#[test]
fn three_replicas_keep_the_promise() {
    assert_keeps_its_promise::<3>(SMALL);
}

#[test]
fn acknowledging_before_applying_breaks_the_promise() {
    assert_is_caught(Variant::AcknowledgeBeforeApplying);
}

#[test]
fn counting_the_lease_from_the_reply_breaks_the_promise() {
    assert_is_caught(Variant::DeadlineFromReply);
}

#[test]
fn granting_a_lease_outside_the_lock_breaks_the_promise() {
    assert_is_caught(Variant::GrantOutsideLock);
}

#[test]
fn locking_and_reading_in_one_statement_breaks_the_promise() {
    assert_is_caught(Variant::LockAndReadInOneStatement);
}

#[test]
fn judging_a_lapse_by_the_databases_clock_breaks_the_promise() {
    assert_is_caught(Variant::LapseByDatabaseClock);
}

#[test]
fn counting_a_lapse_from_the_question_breaks_the_promise() {
    assert_is_caught(Variant::LapseFromAsking);
}

#[test]
fn counting_renewals_from_one_in_a_new_row_breaks_the_promise() {
    assert_is_caught(Variant::RenewalsCountedByRow);
}

#[test]
fn reading_the_lease_after_the_keyring_breaks_the_promise() {
    assert_is_caught(Variant::LeaseReadAfterKeyring);
}

#[test]
fn waiting_before_the_commit_of_a_group_breaks_the_promise() {
    assert_is_caught(Variant::WaitBeforeCommit);
}
