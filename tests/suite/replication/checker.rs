//! The checker of the fault test finds each kind of violation in hand-written histories.

use crate::support::{
    faults::{
        domains::{Asked, right_answers},
        history::{
            Answer, Authorize, Change, History, KeyNumber, Verdict, Write, check, check_end,
        },
        kept::KEPT,
        key_states::{AskedDomain, Decided, Expiry, KeyState, right_decisions},
        subjects::StateWrite,
    },
    postgres::proxy::{Messages, NOTIFICATION_RESPONSE},
};
use keyservice::model::verified_domain::Coverage;
use std::time::Duration;

const KEY: KeyNumber = 0;

fn write(change: Change, start: u64, returned: Option<u64>) -> Write {
    Write {
        key: KEY,
        change,
        replica: 0,
        start: Duration::from_millis(start),
        returned: returned.map(Duration::from_millis),
    }
}

fn created() -> Write {
    write(Change::Create, 0, Some(10))
}

fn authorize(start: u64, end: u64, answer: Answer) -> Authorize {
    Authorize {
        key: KEY,
        replica: 1,
        start: Duration::from_millis(start),
        end: Duration::from_millis(end),
        answer,
    }
}

fn violations(writes: &[Write], call: Authorize) -> usize {
    check(writes, &[call]).len()
}

#[test]
fn a_grant_after_a_revoke_returned_is_a_violation() {
    let writes = [created(), write(Change::Revoke, 20, Some(30))];
    assert_eq!(violations(&writes, authorize(31, 32, Answer::Granted)), 1);
    // It started while the Revoke was in flight, and was answered late.
    assert_eq!(violations(&writes, authorize(29, 99, Answer::Granted)), 0);
    assert_eq!(violations(&writes, authorize(31, 32, Answer::Revoked)), 0);
}

#[test]
fn the_first_revoke_to_return_counts() {
    let writes = [
        created(),
        write(Change::Revoke, 20, None),
        write(Change::Revoke, 25, Some(60)),
        write(Change::Revoke, 30, Some(40)),
    ];
    assert_eq!(violations(&writes, authorize(41, 42, Answer::Granted)), 1);
    assert_eq!(violations(&writes, authorize(39, 42, Answer::Granted)), 0);
}

#[test]
fn a_revoke_that_never_returned_may_or_may_not_apply() {
    let writes = [created(), write(Change::Revoke, 20, None)];
    for answer in [Answer::Granted, Answer::Revoked] {
        assert_eq!(violations(&writes, authorize(50, 60, answer)), 0);
    }
}

#[test]
fn a_denial_as_unknown_after_create_returned_is_a_violation() {
    assert_eq!(
        violations(&[created()], authorize(11, 12, Answer::Unknown)),
        1
    );
    assert_eq!(
        violations(&[created()], authorize(9, 12, Answer::Unknown)),
        0
    );
    let in_doubt = write(Change::Create, 0, None);
    assert_eq!(
        violations(&[in_doubt], authorize(11, 12, Answer::Unknown)),
        0
    );
}

#[test]
fn a_denial_as_revoked_before_any_revoke_was_sent_is_a_violation() {
    assert_eq!(
        violations(&[created()], authorize(20, 25, Answer::Revoked)),
        1
    );
    let writes = [created(), write(Change::Revoke, 24, None)];
    assert_eq!(violations(&writes, authorize(20, 23, Answer::Revoked)), 1);
    assert_eq!(violations(&writes, authorize(20, 25, Answer::Revoked)), 0);
}

#[test]
fn writes_of_another_key_do_not_count() {
    let mut other = write(Change::Revoke, 20, Some(30));
    other.key = KEY + 1;
    let writes = [created(), other];
    assert_eq!(violations(&writes, authorize(40, 50, Answer::Granted)), 0);
    assert_eq!(violations(&writes, authorize(40, 50, Answer::Revoked)), 1);
}

fn verdict(answer: Answer) -> Verdict {
    Verdict {
        key: KEY,
        source: String::new(),
        answer,
    }
}

fn violations_at_the_end(writes: &[Write], answers: &[Answer]) -> usize {
    let verdicts: Vec<_> = answers.iter().copied().map(verdict).collect();
    check_end(writes, &verdicts, Duration::from_millis(100)).len()
}

#[test]
fn a_lost_write_that_had_returned_is_a_violation() {
    use Answer::{Granted, Revoked, Unknown};
    let revoked = [created(), write(Change::Revoke, 20, Some(30))];
    assert_eq!(violations_at_the_end(&[created()], &[Granted]), 0);
    assert_eq!(violations_at_the_end(&[created()], &[Unknown]), 1);
    assert_eq!(violations_at_the_end(&[created()], &[Revoked]), 1);
    assert_eq!(violations_at_the_end(&revoked, &[Revoked]), 0);
    assert_eq!(violations_at_the_end(&revoked, &[Granted]), 1);
}

#[test]
fn replicas_that_disagree_at_the_end_are_a_violation() {
    use Answer::{Granted, Revoked};
    let in_doubt = [created(), write(Change::Revoke, 20, None)];
    assert_eq!(violations_at_the_end(&in_doubt, &[Granted, Granted]), 0);
    assert_eq!(violations_at_the_end(&in_doubt, &[Revoked, Revoked]), 0);
    assert_eq!(violations_at_the_end(&in_doubt, &[Granted, Revoked]), 1);
}

#[test]
fn a_key_may_be_unknown_when_it_was_revoked_long_enough_ago() {
    use Answer::{Granted, Revoked, Unknown};
    let kept = KEPT.as_millis() as u64;
    for returned in [Some(30), None] {
        let writes = [created(), write(Change::Revoke, 20, returned)];
        let unknown_at = |end| violations(&writes, authorize(end - 5, end, Unknown));
        assert_eq!((unknown_at(kept + 19), unknown_at(kept + 20)), (1, 0));
        let verdicts = [Revoked, Unknown].map(verdict);
        let at_the_end =
            |millis| check_end(&writes, &verdicts, Duration::from_millis(millis)).len();
        assert_eq!((at_the_end(kept + 20), at_the_end(100) > 0), (0, true));
        let verdicts = [Granted, Unknown].map(verdict);
        assert_ne!(check_end(&writes, &verdicts, 2 * KEPT), []);
    }
    assert_eq!(
        violations(&[created()], authorize(kept, 2 * kept, Unknown)),
        1
    );
}

#[test]
fn a_history_records_calls_in_the_order_of_its_clock() {
    let history = History::start();
    let create = history.start_write(KEY, Change::Create, 0);
    history.finish_write(&create);
    let revoke = history.start_write(KEY, Change::Revoke, 0);
    let concurrent = history.now();
    history.finish_write(&revoke);
    history.record_authorize(KEY, 1, concurrent, Answer::Granted);
    assert_eq!(history.check(), []);
    history.record_authorize(KEY, 1, history.now(), Answer::Granted);
    assert_eq!(history.check().len(), 1);
    assert_eq!(history.check(), [], "each call is checked once");
}

#[test]
fn the_proxy_finds_messages_however_they_are_split_into_packets() {
    let sent = [
        &b"Z\0\0\0\x05I"[..],
        b"A\0\0\0\x06ab",
        b"C\0\0\0\x04",
        b"Z\0\0\0\x05T",
    ]
    .concat();
    let kept = [&b"Z\0\0\0\x05I"[..], b"C\0\0\0\x04", b"Z\0\0\0\x05T"].concat();
    for packet_len in 1..=sent.len() {
        let mut messages = Messages::default();
        let packets = sent.chunks(packet_len);
        let passed: Vec<u8> = packets
            .flat_map(|packet| messages.complete(packet, |kind| kind != NOTIFICATION_RESPONSE))
            .collect();
        assert_eq!(passed, kept, "packets of {packet_len}");
    }
}

/// The writes to a domain: it is added and removed, and then a write has no answer.
fn domain_writes() -> Vec<StateWrite<Coverage>> {
    writes_of([
        (Coverage::Domain, 10, Some(20)),
        (Coverage::Removed, 30, Some(40)),
        (Coverage::Domain, 50, None),
    ])
}

fn writes_of<const N: usize>(
    writes: [(Coverage, u64, Option<u64>); N],
) -> Vec<StateWrite<Coverage>> {
    writes
        .map(|(coverage, start, returned)| StateWrite {
            state: coverage,
            start: Duration::from_millis(start),
            returned: returned.map(Duration::from_millis),
        })
        .to_vec()
}

#[test]
fn an_answer_for_a_domain_is_right_if_it_was_so_at_some_moment_of_the_call() {
    let (yes, no, both) = (&[true][..], &[false][..], &[false, true][..]);
    for (start, end, right) in [
        (1, 5, no),
        (5, 15, both),
        (15, 25, both),
        (21, 29, yes),
        (21, 31, both),
        (35, 38, both),
        (41, 49, no),
        (41, 51, both),
        (99, 100, both),
        (5, 100, both),
    ] {
        let [from, to] = [start, end].map(Duration::from_millis);
        let answers = right_answers(&domain_writes(), Asked::Domain, from, to);
        assert_eq!(
            answers.into_iter().collect::<Vec<_>>(),
            right,
            "{start} to {end}"
        );
    }
}

#[test]
fn a_subdomain_is_verified_only_while_its_domain_includes_subdomains() {
    let writes = writes_of([
        (Coverage::Domain, 10, Some(20)),
        (Coverage::DomainAndSubdomains, 30, Some(40)),
        (Coverage::Domain, 50, Some(60)),
        (Coverage::DomainAndSubdomains, 70, Some(80)),
        (Coverage::Removed, 90, None),
    ]);
    let (yes, no, both) = (&[true][..], &[false][..], &[false, true][..]);
    for (start, end, domain, subdomain) in [
        (1, 5, no, no),
        (21, 29, yes, no),
        (21, 31, yes, both),
        (41, 49, yes, yes),
        (41, 55, yes, both),
        (61, 69, yes, no),
        (81, 89, yes, yes),
        (81, 91, both, both),
    ] {
        for (asked, right) in [(Asked::Domain, domain), (Asked::Subdomain, subdomain)] {
            let [from, to] = [start, end].map(Duration::from_millis);
            let answers = right_answers(&writes, asked, from, to);
            let answers: Vec<_> = answers.into_iter().collect();
            assert_eq!(answers, right, "{asked:?}, {start} to {end}");
        }
    }
}

const CREATED: KeyState = KeyState {
    is_revoked: false,
    is_suspended: false,
    is_account_suspended: false,
    is_wide: true,
    expiry: None,
    has_predecessor: false,
};

fn expires_at(millis: u64) -> KeyState {
    let at = Duration::from_millis(millis);
    KeyState {
        expiry: Some(Expiry {
            earliest: at,
            latest: at,
        }),
        ..CREATED
    }
}

#[test]
fn a_decision_about_a_changed_key_is_right_if_it_was_so_at_some_moment_of_the_call() {
    use Decided::{DomainNotAllowed, Expired, Granted, Revoked, Suspended};
    let narrow = KeyState {
        is_wide: false,
        ..CREATED
    };
    let suspended = KeyState {
        is_suspended: true,
        ..narrow
    };
    let account_suspended = KeyState {
        is_account_suspended: true,
        ..narrow
    };
    let revoked = KeyState {
        is_revoked: true,
        ..suspended
    };
    let writes = [
        (CREATED, 10, 10),
        (narrow, 20, 30),
        (suspended, 40, 50),
        (account_suspended, 60, 70),
        (expires_at(95), 80, 90),
        (revoked, 100, 110),
    ]
    .map(|(state, start, returned)| StateWrite {
        state,
        start: Duration::from_millis(start),
        returned: Some(Duration::from_millis(returned)),
    });
    let rows: [(u64, u64, &[Decided], &[Decided]); 9] = [
        (11, 19, &[Granted], &[Granted]),
        (11, 25, &[Granted], &[Granted, DomainNotAllowed]),
        (31, 39, &[Granted], &[DomainNotAllowed]),
        (
            31,
            45,
            &[Granted, Suspended],
            &[Suspended, DomainNotAllowed],
        ),
        (61, 75, &[Suspended], &[Suspended]),
        (71, 79, &[Suspended], &[Suspended]),
        (91, 94, &[Granted], &[Granted]),
        (91, 96, &[Granted, Expired], &[Granted, Expired]),
        (111, 120, &[Revoked], &[Revoked]),
    ];
    for (start, end, first, second) in rows {
        for (asked, right) in AskedDomain::BOTH.into_iter().zip([first, second]) {
            let [from, to] = [start, end].map(Duration::from_millis);
            let decisions = right_decisions(&writes, asked, from, to);
            let decisions: Vec<_> = decisions.into_iter().collect();
            assert_eq!(decisions, right, "{asked:?}, {start} to {end}");
        }
    }
}

#[test]
fn a_key_may_be_suspended_after_a_change_without_an_answer() {
    let [from, to] = [30, 40].map(Duration::from_millis);
    let mut writes = [CREATED, expires_at(1000)].map(|state| StateWrite {
        state,
        start: Duration::from_millis(10),
        returned: Some(Duration::from_millis(20)),
    });
    let right = |writes: &[_]| right_decisions(writes, AskedDomain::First, from, to);
    assert_eq!(right(&writes), [Decided::Granted].into());
    writes[1].returned = None;
    assert_eq!(
        right(&writes),
        [Decided::Granted, Decided::Suspended].into()
    );
}

#[test]
fn a_changed_key_may_be_unknown_when_it_was_denied_long_enough() {
    let kept = KEPT.as_millis() as u64;
    let (expired, revoked) = (
        expires_at(95),
        KeyState {
            is_revoked: true,
            ..CREATED
        },
    );
    for (state, denied, returned) in [(expired, 95, 90), (revoked, 80, 90)] {
        let mut writes = vec![StateWrite {
            state,
            start: Duration::from_millis(80),
            returned: Some(Duration::from_millis(returned)),
        }];
        let may_be_unknown_at = |writes: &[_], end| {
            let [from, to] = [end - 1, end].map(Duration::from_millis);
            right_decisions(writes, AskedDomain::First, from, to).contains(&Decided::UnknownToken)
        };
        assert!(!may_be_unknown_at(&writes, denied + kept - 1));
        assert!(may_be_unknown_at(&writes, denied + kept));
        // It was there when a later write returned.
        writes.push(StateWrite {
            state: CREATED,
            start: Duration::from_millis(100),
            returned: Some(Duration::from_millis(110)),
        });
        assert!(!may_be_unknown_at(&writes, denied + 2 * kept));
    }
}
