//! Tests of the admission as a whole.

use super::{super::reload::InvalidFile, *};
use crate::named_file::NamedFile;
use std::task::{Context, Waker};

fn admission(max_connections: usize, max_calls: usize) -> Arc<Admission> {
    Admission::new(
        max_connections,
        max_calls,
        Duration::ZERO,
        Arc::default(),
        None,
    )
}

async fn connect(admission: &Arc<Admission>) -> SlotGuard {
    let admitted = admission.admit().await.expect("it is admitted");
    admitted.into_slot().await.expect("it gets its slot")
}

fn is_evicted(connection: &SlotGuard) -> bool {
    let slot = &connection.slot;
    let context = &Context::from_waker(Waker::noop());
    slot.poll_evicted(context).is_ready()
}

fn call(connection: &SlotGuard, caller: &str) {
    let caller = CallerName::parse(caller).expect("valid");
    connection.slot.record_call(&caller, Instant::now());
}

fn begin_calls(connection: &SlotGuard, count: usize) -> Vec<InFlightCall> {
    let begin = |_| connection.slot.clone().begin_call(true);
    (0..count).map(begin).collect()
}

#[tokio::test]
async fn the_slot_of_an_evicted_connection_goes_to_the_one_it_is_evicted_for() {
    let admission = admission(2, 1);
    let (first, second) = (connect(&admission).await, connect(&admission).await);
    let third = admission.admit().await.expect("it is admitted");
    assert!(is_evicted(&first) && !is_evicted(&second));
    drop(first);
    assert_eq!(admission.free_slots.available_permits(), 0);
    let third = third.into_slot().await.expect("it gets its slot");
    assert!(!is_evicted(&second) && !is_evicted(&third));
    drop((second, third));
    assert_eq!(admission.free_slots.available_permits(), 2);
}

#[tokio::test]
async fn a_slot_is_free_when_the_one_that_waited_for_it_has_gone() {
    let admission = admission(1, 1);
    let first = connect(&admission).await;
    drop(admission.admit().await.expect("it is admitted"));
    assert!(is_evicted(&first));
    drop(first);
    assert_eq!(admission.free_slots.available_permits(), 1);
}

/// The port for probes is read so. Otherwise a flood would end probes that have come whole before they are answered.
#[tokio::test]
async fn a_connection_is_read_for_its_least_time_before_it_is_evicted_for_a_new_one() {
    let least_time = Duration::from_millis(50);
    let admission = Admission::new(2, 1, least_time, Arc::default(), None);
    let (first, second) = (connect(&admission).await, connect(&admission).await);
    // The server is slow to begin with the first.
    second.slot.note_read();
    let began = Instant::now();
    let third = admission.admit().await.expect("it is admitted");
    assert!(began.elapsed() >= least_time);
    assert!(is_evicted(&second) && !is_evicted(&first));
    drop(second);
    let third = third.into_slot().await.expect("it gets its slot");
    let fourth = admission.admit();
    let end_of_third = async {
        sleep(least_time).await;
        drop(third);
    };
    let (fourth, ()) = tokio::join!(fourth, end_of_third);
    let fourth = fourth.expect("a slot is free");
    fourth.into_slot().await.expect("it gets its slot");
    assert!(!is_evicted(&first));
}

#[tokio::test]
async fn a_connection_is_refused_if_each_caller_has_one_that_is_not_idle() {
    let admission = admission(2, 1);
    let (first, second) = (connect(&admission).await, connect(&admission).await);
    call(&first, "a");
    call(&second, "b");
    assert!(admission.admit().await.is_none());
    assert!(!is_evicted(&first) && !is_evicted(&second));
}

#[tokio::test]
async fn a_caller_has_the_free_slots_but_not_more_than_its_share_of_the_others() {
    let admission = admission(3, 1);
    let mut connections = Vec::new();
    for _ in 0..3 {
        let connection = connect(&admission).await;
        call(&connection, "a");
        connections.push(connection);
    }
    assert!(!connections.iter().any(is_evicted), "nobody else wants one");
    let pending = admission.admit().await.expect("it is admitted");
    assert!(is_evicted(&connections[0]));
    connections.remove(0);
    let new = pending.into_slot().await.expect("it gets its slot");
    call(&new, "a");
    assert!(is_evicted(&new), "its caller works on all others");
    drop(new);
    let new = connect(&admission).await;
    call(&new, "b");
    assert!(!is_evicted(&new) && !connections.iter().any(is_evicted));
}

#[tokio::test]
async fn a_connection_of_a_caller_that_is_listed_no_more_is_unauthenticated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("callers");
    let write = |names: &[&str]| {
        let line = |name: &&str| format!("{name} authorizer certificate={name}.example\n");
        let lines: String = names.iter().map(line).collect();
        std::fs::write(&path, lines).expect("written");
    };
    write(&["a", "b"]);
    let file = NamedFile {
        setting: "--credentials",
        path: path.clone(),
    };
    let parse = |contents: &[Vec<u8>]| {
        Credentials::parse(&contents[0]).map_err(|error| InvalidFile::new(0, error))
    };
    let credentials = Arc::new(Reloaded::watch(vec![file], parse).expect("valid"));
    let admission = Admission::new(
        2,
        1,
        Duration::ZERO,
        Arc::default(),
        Some(credentials.clone()),
    );
    let (first, second) = (connect(&admission).await, connect(&admission).await);
    call(&first, "a");
    call(&second, "b");
    let (mut changes, judging) = (
        credentials.changes(),
        tokio::spawn(admission.clone().judge_connections()),
    );
    write(&["b"]);
    changes.changed().await.expect("it is watched");
    while first.slot.view().caller.is_some() {
        tokio::task::yield_now().await;
    }
    call(&first, "a");
    assert!(first.slot.view().caller.is_none(), "a late call");
    assert!(second.slot.view().caller.is_some());
    let _pending = admission.admit().await.expect("it is admitted");
    assert!(is_evicted(&first) && !is_evicted(&second));
    judging.abort();
}

#[tokio::test]
async fn a_call_that_is_not_the_first_of_its_connection_allocates_nothing() {
    let admission = admission(1, 10);
    let connection = connect(&admission).await;
    call(&connection, "a");
    let (caller, now) = (CallerName::parse("a").expect("valid"), Instant::now());
    let measured = allocation_counter::measure(|| {
        connection.slot.record_call(&caller, now);
        drop(connection.slot.clone().begin_call(true));
    });
    assert_eq!(measured.count_total, 0);
}

#[tokio::test]
async fn calls_of_an_evicted_connection_do_not_count() {
    let admission = admission(3, 10);
    let (first, second) = (connect(&admission).await, connect(&admission).await);
    let mut of_first = begin_calls(&first, 6);
    let of_second = begin_calls(&second, 4);
    assert!(!is_evicted(&first) && !is_evicted(&second));
    of_first.extend(begin_calls(&first, 1));
    assert!(is_evicted(&first) && !is_evicted(&second));
    // Its client may still begin some before its end is noticed.
    of_first.extend(begin_calls(&first, 2));
    let more = begin_calls(&second, 6);
    assert!(!is_evicted(&second));
    assert_eq!(admission.calls_in_flight.load(Relaxed), 10);
    drop(of_first);
    assert_eq!(admission.calls_in_flight.load(Relaxed), 10);
    drop((of_second, more));
    assert_eq!(admission.calls_in_flight.load(Relaxed), 0);
}

/// Otherwise connections far from their share would be evicted for these calls.
#[tokio::test]
async fn calls_of_a_closed_connection_do_not_count_even_if_they_end_later() {
    let admission = admission(3, 10);
    let (good, closed) = (connect(&admission).await, connect(&admission).await);
    call(&good, "good");
    let (_of_good, of_closed) = (begin_calls(&good, 4), begin_calls(&closed, 6));
    drop(closed);
    let new = connect(&admission).await;
    let _of_new = begin_calls(&new, 6);
    assert!(!is_evicted(&good) && !is_evicted(&new));
    drop(of_closed);
    assert_eq!(admission.calls_in_flight.load(Relaxed), 10);
}

#[tokio::test]
async fn calls_that_end_count_no_more() {
    let admission = admission(1, 10);
    let connection = connect(&admission).await;
    for _ in 0..5 {
        drop(begin_calls(&connection, 10));
    }
    assert!(!is_evicted(&connection));
}

#[tokio::test]
async fn a_server_that_drains_waits_for_calls_with_an_end_of_their_own() {
    let admission = admission(1, 10);
    let connection = connect(&admission).await;
    let begin = |may_be_awaited| connection.slot.clone().begin_call(may_be_awaited);
    let waits = || policy::patience(&connection.slot.awaited()).is_none();
    let of_stranger = begin(true);
    assert!(!waits());
    drop(of_stranger);
    call(&connection, "dashboard");
    let watch = begin(false);
    assert!(!waits());
    let (list, mut authorize) = (begin(true), begin(true));
    assert!(waits());
    drop(watch);
    assert!(waits());
    drop(list);
    assert!(waits());
    authorize.note_answered();
    assert!(!waits() && connection.slot.awaited().is_untaken());
    drop(authorize);
    assert!(!waits() && !connection.slot.awaited().is_untaken());
    // Its client had the time to end the connection.
    admission.goaway_is_over.store(true, Relaxed);
    let late = begin(true);
    assert!(!waits());
    drop(late);
}

#[tokio::test]
async fn a_server_that_drains_closes_connections_on_which_nothing_goes_on() {
    let admission = admission(3, 10);
    let (idle, untaken) = (connect(&admission).await, connect(&admission).await);
    call(&untaken, "dashboard");
    let mut answered = begin_calls(&untaken, 2);
    answered.iter_mut().for_each(InFlightCall::note_answered);
    let (mut waits, start) = (Waits::new(), Duration::from_secs(100));
    let mut evict = |millis| {
        let now = start + Duration::from_millis(millis);
        admission.connections().evict_unawaited(&mut waits, now)
    };
    assert_eq!(evict(0), 0);
    assert!(!is_evicted(&idle));
    assert_eq!(evict(200), 0);
    assert!(is_evicted(&idle) && !is_evicted(&untaken));
    // Its client takes one answer, and so has time for the next.
    answered.pop();
    assert_eq!(evict(1900), 0);
    assert_eq!(evict(3800), 0);
    assert_eq!(evict(3900), 1);
    assert!(is_evicted(&untaken));
}
