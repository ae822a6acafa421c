//! The slots of admin calls: how many of them each caller may have in flight.
//!
//! Owns the count of each caller's slots, and the rule by which a call gets one.
//! Promises that no caller keeps another from its share, and that calls which must always get through,
//! those that take rights away and those of admins of all accounts, find slots that no other call may
//! take.
//! Must never let a call wait: it is refused at once, and its caller tries again.

use super::Caller;
use crate::model::{account::Accounts, caller_name::CallerName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a caller that was refused counts as one that wants more slots. Clients try again within a
/// few seconds.
const WANTING_TIME: Duration = Duration::from_secs(10);

/// The slots of one process.
#[derive(Debug)]
pub(crate) struct AdminSlots {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    parts: Parts,
    /// The callers that hold a slot or were refused lately. There are never more of them than callers
    /// in the credentials file, as it was in the last ten seconds.
    holdings: HashMap<CallerName, Holding>,
}

/// A number of slots for each part: the one that is open to every call, and those that are kept for a
/// caller's first call, for calls that take rights away and for admins of all accounts.
type Parts = [usize; 4];

#[derive(Debug, Default)]
struct Holding {
    slots: usize,
    last_refusal: Option<Instant>,
}

/// A call's slot, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct AdminSlot {
    slots: Arc<AdminSlots>,
    caller: CallerName,
    /// The index of the part that the slot is of.
    part: usize,
}

/// Why a call gets no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAdminSlot {
    /// Every slot that such a call may take is taken.
    AllTaken,
    /// Others want slots too, and the caller has its share.
    OverShare,
}

/// What the rule knows of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Applicant {
    takes_rights_away: bool,
    has_all_accounts: bool,
    /// The slots that its caller holds.
    slots: usize,
}

/// What the rule knows of another caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Other {
    slots: usize,
    /// Whether it was refused a slot lately, so that it would hold more if it could.
    wants_more: bool,
}

impl Applicant {
    /// Whether the call may take a slot of each part.
    fn may_take(self) -> [bool; 4] {
        [
            true,
            self.slots == 0,
            self.takes_rights_away,
            self.has_all_accounts,
        ]
    }
}

/// How many slots each part has: an eighth each, and the rest for every call.
fn sizes(limit: usize) -> Parts {
    // Fewer than four slots cannot be divided.
    let eighth = if limit < 4 { 0 } else { (limit / 8).max(1) };
    [limit - 3 * eighth, eighth, eighth, eighth]
}

/// The rule, which gives the part that the call's slot is of.
///
/// An eighth of the slots is kept for each of three reasons: that the call takes rights away, that its
/// caller is an admin of all accounts, and that its caller holds no slot. So an operator's call finds a
/// slot whatever admins of some accounts do. The other five eighths are open to every call, and taken
/// first.
///
/// Of the slots that are open to it, a caller alone may take all. If others were refused lately, slots are
/// short. Then callers that have what they want keep it, and those that want more have equal shares of
/// the rest (max-min fairness). A caller that is over its share gives slots up as its calls end.
fn decide(
    limit: usize,
    taken: Parts,
    applicant: Applicant,
    others: impl Iterator<Item = Other>,
) -> Result<usize, NoAdminSlot> {
    let (sizes, may_take) = (sizes(limit), applicant.may_take());
    let parts = || (0..sizes.len()).filter(|part| may_take[*part]);

    let (mut wanting, mut left_to_wanting) = (1, parts().map(|part| sizes[part]).sum::<usize>());
    for other in others {
        if other.wants_more {
            wanting += 1;
        } else {
            left_to_wanting = left_to_wanting.saturating_sub(other.slots);
        }
    }
    let share = (left_to_wanting / wanting).max(1);
    if wanting > 1 && applicant.slots >= share {
        return Err(NoAdminSlot::OverShare);
    }
    let free = parts().find(|part| taken[*part] < sizes[*part]);
    free.ok_or(NoAdminSlot::AllTaken)
}

impl AdminSlots {
    #[must_use]
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::default(),
        }
    }

    /// Takes a slot for a call, if the rule lets it have one.
    pub(crate) fn take(
        self: &Arc<Self>,
        caller: &Caller,
        takes_rights_away: bool,
        now: Instant,
    ) -> Result<AdminSlot, NoAdminSlot> {
        let mut taken = self.lock();
        let Taken { parts, holdings } = &mut *taken;
        holdings.retain(|_, holding| holding.slots > 0 || holding.wants_more(now));
        let applicant = Applicant {
            takes_rights_away,
            has_all_accounts: caller.accounts == Accounts::All,
            slots: holdings.get(&caller.name).map_or(0, |own| own.slots),
        };
        let others = holdings.iter().filter(|(name, _)| **name != caller.name);
        let others = others.map(|(_, holding)| Other {
            slots: holding.slots,
            wants_more: holding.wants_more(now),
        });
        let decision = decide(self.limit, *parts, applicant, others);
        let own = holdings.entry(caller.name.clone()).or_default();
        match decision {
            Ok(part) => {
                own.slots += 1;
                parts[part] += 1;
            }
            Err(_) => own.last_refusal = Some(now),
        }
        decision.map(|part| AdminSlot {
            slots: self.clone(),
            caller: caller.name.clone(),
            part,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The counts are right at any time: nothing that is done under the lock can panic half way.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holding {
    fn wants_more(&self, now: Instant) -> bool {
        let refusal = self.last_refusal;
        refusal.is_some_and(|at| now.saturating_duration_since(at) < WANTING_TIME)
    }
}

impl Drop for AdminSlot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.parts[self.part] -= 1;
        if let Some(holding) = taken.holdings.get_mut(&self.caller) {
            holding.slots -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NoAdminSlot::{AllTaken, OverShare};
    use super::*;
    use crate::callers::Role;
    use crate::model::audit_record::AdminMethod::{self, Create, List, Revoke};

    /// A call by an admin of some accounts.
    fn limited(takes_rights_away: bool, slots: usize) -> Applicant {
        Applicant {
            takes_rights_away,
            has_all_accounts: false,
            slots,
        }
    }

    /// A call by an admin of all accounts.
    fn operator(takes_rights_away: bool, slots: usize) -> Applicant {
        Applicant {
            has_all_accounts: true,
            ..limited(takes_rights_away, slots)
        }
    }

    fn content(slots: usize) -> Other {
        Other {
            slots,
            wants_more: false,
        }
    }

    fn wanting(slots: usize) -> Other {
        Other {
            slots,
            wants_more: true,
        }
    }

    type Case<'a> = (
        &'a str,
        usize,
        Applicant,
        &'a [Other],
        Result<(), NoAdminSlot>,
    );

    fn assert_decides(table: &[Case]) {
        for (case, limit, applicant, others, expected) in table {
            let held = applicant.slots + others.iter().map(|other| other.slots).sum::<usize>();
            let taken = taken(*limit, *applicant, held);
            let decision = decide(*limit, taken, *applicant, others.iter().copied());
            assert_eq!(decision.map(drop), *expected, "{case}");
        }
    }

    /// Takes so many slots, at first of the parts that the applicant may take.
    fn taken(limit: usize, applicant: Applicant, mut held: usize) -> Parts {
        let (sizes, may_take, mut taken) = (sizes(limit), applicant.may_take(), Parts::default());
        for first in [true, false] {
            for part in (0..sizes.len()).filter(|part| may_take[*part] == first) {
                taken[part] = held.min(sizes[part]);
                held -= taken[part];
            }
        }
        taken
    }

    const REVOKE: bool = true;
    const OTHER: bool = false;

    #[test]
    fn a_caller_alone_may_take_all_but_what_is_kept() {
        assert_decides(&[
            ("alone", 256, limited(OTHER, 159), &[], Ok(())),
            ("no further", 256, limited(OTHER, 160), &[], Err(AllTaken)),
            ("a Revoke", 256, limited(REVOKE, 160), &[], Ok(())),
            ("no further", 256, limited(REVOKE, 192), &[], Err(AllTaken)),
            ("an operator", 256, operator(OTHER, 191), &[], Ok(())),
            ("no further", 256, operator(OTHER, 192), &[], Err(AllTaken)),
            ("its Revoke", 256, operator(REVOKE, 223), &[], Ok(())),
            ("no further", 256, operator(REVOKE, 224), &[], Err(AllTaken)),
        ]);
    }

    #[test]
    fn what_is_kept_is_found_whatever_others_hold() {
        let (one, many) = ([wanting(192)], [wanting(7); 32]);
        assert_decides(&[
            ("a first", 256, limited(OTHER, 0), &[content(160)], Ok(())),
            ("a Revoke", 256, operator(REVOKE, 0), &one, Ok(())),
            ("more of them", 256, operator(REVOKE, 31), &one, Ok(())),
            ("beside 32", 256, operator(REVOKE, 0), &many, Ok(())),
            ("not a Create", 256, limited(OTHER, 0), &many, Err(AllTaken)),
        ]);
    }

    #[test]
    fn those_who_want_more_share_what_the_others_leave() {
        let (acme, globex) = (limited(OTHER, 1), limited(OTHER, 80));
        let (most, less) = (limited(OTHER, 159), limited(OTHER, 149));
        let (half, three) = (operator(REVOKE, 112), [content(10), wanting(60)]);
        assert_decides(&[
            ("all taken", 256, acme, &[content(160)], Err(AllTaken)),
            ("over", 256, most, &[wanting(1)], Err(OverShare)),
            ("half", 256, limited(OTHER, 79), &[wanting(80)], Ok(())),
            ("over half", 256, globex, &[wanting(80)], Err(OverShare)),
            ("all but 10", 256, less, &[content(10)], Ok(())),
            ("half of the rest", 256, limited(OTHER, 74), &three, Ok(())),
            ("more", 256, limited(OTHER, 75), &three, Err(OverShare)),
            ("operators", 256, half, &[wanting(99)], Err(OverShare)),
        ]);
    }

    #[test]
    fn few_slots_are_divided_as_far_as_they_can_be() {
        let three = [wanting(1); 3];
        assert_decides(&[
            ("each one", 4, operator(REVOKE, 0), &three, Ok(())),
            ("not all", 4, limited(REVOKE, 2), &[], Err(AllTaken)),
            ("anybody's", 1, limited(OTHER, 0), &[], Ok(())),
            ("once", 1, operator(REVOKE, 0), &[content(1)], Err(AllTaken)),
            ("undivided", 3, limited(OTHER, 2), &[], Ok(())),
            ("no more", 3, operator(REVOKE, 3), &[], Err(AllTaken)),
        ]);
    }

    #[test]
    fn no_number_of_limited_callers_takes_the_last_eighth() {
        for limit in 4..=300 {
            for callers in [1, 2, 3, 50] {
                let slots = Arc::new(AdminSlots::new(limit));
                let (now, mut held) = (Instant::now(), Vec::new());
                let names: Vec<_> = (0..callers)
                    .map(|n| caller(&format!("c{n}"), false))
                    .collect();
                for _ in 0..limit {
                    for caller in &names {
                        held.extend(slots.take(caller, Revoke.takes_rights_away(), now));
                        held.extend(slots.take(caller, Create.takes_rights_away(), now));
                    }
                }
                let operator = caller("operator", true);
                assert!(held.len() < limit, "{limit} {callers}");
                assert!(
                    slots
                        .take(&operator, Revoke.takes_rights_away(), now)
                        .is_ok(),
                    "{limit} {callers}"
                );
            }
        }
    }

    #[test]
    fn what_is_kept_for_one_reason_is_not_used_up_by_calls_with_another() {
        let (slots, now) = (Arc::new(AdminSlots::new(256)), Instant::now());
        let take_all = |caller, method: AdminMethod| -> Vec<_> {
            std::iter::from_fn(|| slots.take(caller, method.takes_rights_away(), now).ok())
                .collect()
        };
        let (limited, operator) = (caller("limited", false), caller("operator", true));
        let revokes = take_all(&limited, Revoke);
        assert_eq!(revokes.len(), 192);
        let lists = take_all(&operator, List);
        assert_eq!(lists.len(), 33, "its eighth, and its first call");
        assert_eq!(take_all(&caller("other", false), List).len(), 1);
    }

    fn caller(name: &str, has_all_accounts: bool) -> Caller {
        Caller {
            name: CallerName::parse(name).expect("valid"),
            role: Role::Admin,
            accounts: if has_all_accounts {
                Accounts::All
            } else {
                Accounts::Only(Arc::new([]))
            },
        }
    }

    #[test]
    fn a_slot_is_free_again_when_it_is_dropped_and_a_caller_that_stops_wanting_is_forgotten() {
        let slots = Arc::new(AdminSlots::new(8));
        let (first, second) = (caller("first", false), caller("second", false));
        let start = Instant::now();
        let mut held: Vec<_> = (0..5)
            .map(|_| {
                slots
                    .take(&first, List.takes_rights_away(), start)
                    .expect("a slot")
            })
            .collect();
        let refused = slots.take(&first, List.takes_rights_away(), start);
        assert_eq!(refused.err(), Some(AllTaken));
        held.push(
            slots
                .take(&second, Create.takes_rights_away(), start)
                .expect("the first"),
        );
        let refused = slots.take(&second, Create.takes_rights_away(), start);
        assert_eq!(refused.err(), Some(AllTaken));

        held.truncate(2);
        let soon = start + WANTING_TIME / 2;
        let refused = slots.take(&first, List.takes_rights_away(), soon);
        assert_eq!(refused.err(), Some(OverShare), "the other was refused");
        held.push(
            slots
                .take(&second, Create.takes_rights_away(), soon)
                .expect("its share"),
        );

        let later = soon + WANTING_TIME;
        held.push(
            slots
                .take(&first, List.takes_rights_away(), later)
                .expect("nobody wants more"),
        );
        held.clear();
        assert_eq!(slots.lock().parts, Parts::default());
        drop(slots.take(&second, List.takes_rights_away(), later + WANTING_TIME));
        assert_eq!(slots.lock().holdings.len(), 1, "the other is forgotten");
    }
}
