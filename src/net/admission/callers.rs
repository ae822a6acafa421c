//! The authenticated connections of a listening socket, by their callers.
//! Owns which caller has how many.
//! Promises to find the caller with the most, and its connection without a call for longest, without
//! a scan of all connections for each new one.
//! Must never keep a caller that has no connection.

use super::{
    policy::{CallerNumber, ConnectionView},
    slot::ConnectionSlot,
};
use crate::model::caller_name::CallerName;
use hashbrown::HashMap;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// One scan finds this many connections, so that a flood of new connections needs few scans.
const FOUND_AT_ONCE: usize = 64;

/// What a scan found counts for this long even if it was called on since, for the same reason.
const BETWEEN_SCANS: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(super) struct Callers {
    next_number: u64,
    numbers: HashMap<CallerName, CallerNumber>,
    by_number: HashMap<CallerNumber, CallerConnections>,
    /// The caller with the most connections is the last.
    by_size: BTreeSet<(usize, CallerNumber)>,
    of_all: LongestUncalled,
}

struct CallerConnections {
    name: CallerName,
    connections: BTreeMap<u64, Arc<ConnectionSlot>>,
    longest_uncalled: LongestUncalled,
}

impl Callers {
    /// Adds a connection of this caller.
    pub(super) fn add(&mut self, name: &CallerName, slot: Arc<ConnectionSlot>) -> CallerNumber {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => self.add_caller(name),
        };
        self.change(number, |connections| {
            connections.insert(slot.number, slot);
        });
        number
    }

    fn add_caller(&mut self, name: &CallerName) -> CallerNumber {
        let number = CallerNumber(self.next_number);
        self.next_number += 1;
        self.numbers.insert(name.clone(), number);
        let caller = CallerConnections {
            name: name.clone(),
            connections: BTreeMap::new(),
            longest_uncalled: LongestUncalled::default(),
        };
        self.by_number.insert(number, caller);
        number
    }

    /// Removes a connection of this caller. Returns it if it was there.
    pub(super) fn remove(
        &mut self,
        caller: CallerNumber,
        number: u64,
    ) -> Option<Arc<ConnectionSlot>> {
        self.change(caller, |connections| connections.remove(&number))?
    }

    /// Changes a caller's connections, and forgets the caller if none are left.
    fn change<T>(
        &mut self,
        number: CallerNumber,
        change: impl FnOnce(&mut BTreeMap<u64, Arc<ConnectionSlot>>) -> T,
    ) -> Option<T> {
        let caller = self.by_number.get_mut(&number)?;
        self.by_size.remove(&(caller.connections.len(), number));
        let changed = change(&mut caller.connections);
        if caller.connections.is_empty() {
            self.numbers.remove(&caller.name);
            self.by_number.remove(&number);
        } else {
            self.by_size.insert((caller.connections.len(), number));
        }
        Some(changed)
    }

    /// Removes all connections of the callers that are not to be kept, and returns them.
    pub(super) fn retain(
        &mut self,
        is_kept: impl Fn(&CallerName) -> bool,
    ) -> Vec<Arc<ConnectionSlot>> {
        let is_removed = |_: &CallerNumber, caller: &mut CallerConnections| !is_kept(&caller.name);
        let removed: Vec<_> = self.by_number.extract_if(is_removed).collect();
        for (number, caller) in &removed {
            self.numbers.remove(&caller.name);
            self.by_size.remove(&(caller.connections.len(), *number));
        }
        let connections = removed.into_iter().map(|(_, caller)| caller.connections);
        connections.flat_map(BTreeMap::into_values).collect()
    }

    /// The caller with the most connections, and how many these are.
    pub(super) fn largest(&self) -> Option<(CallerNumber, usize)> {
        self.by_size.last().map(|(size, caller)| (*caller, *size))
    }

    /// The connection without a call for longest, of this caller or of all.
    pub(super) fn longest_uncalled(
        &mut self,
        caller: Option<CallerNumber>,
        now: Duration,
    ) -> Option<ConnectionView> {
        let Some(caller) = caller else {
            let by_number = &self.by_number;
            let find = |found: &ConnectionView| {
                let caller = by_number.get(&found.caller?)?;
                caller.connections.get(&found.number)
            };
            return self.of_all.get(now, find, || all(by_number));
        };
        let caller = self.by_number.get_mut(&caller)?;
        let connections = &caller.connections;
        let find = |found: &ConnectionView| connections.get(&found.number);
        caller
            .longest_uncalled
            .get(now, find, || connections.values())
    }

    /// All connections.
    pub(super) fn connections(&self) -> impl Iterator<Item = &Arc<ConnectionSlot>> {
        all(&self.by_number)
    }
}

fn all(
    by_number: &HashMap<CallerNumber, CallerConnections>,
) -> impl Iterator<Item = &Arc<ConnectionSlot>> {
    by_number
        .values()
        .flat_map(|caller| caller.connections.values())
}

/// The connections that had no call for longest when they were last scanned.
#[derive(Default)]
struct LongestUncalled {
    /// The one without a call for longest is the last.
    found: Vec<ConnectionView>,
    scanned: Duration,
}

impl LongestUncalled {
    /// The connection without a call for longest. All are scanned again if each one that the last
    /// scan found has ended, or was called on since and the scan is old.
    fn get<'a, I>(
        &mut self,
        now: Duration,
        find: impl Fn(&ConnectionView) -> Option<&'a Arc<ConnectionSlot>>,
        all: impl FnOnce() -> I,
    ) -> Option<ConnectionView>
    where
        I: Iterator<Item = &'a Arc<ConnectionSlot>>,
    {
        let is_new = now.saturating_sub(self.scanned) < BETWEEN_SCANS;
        while let Some(found) = self.found.last() {
            if let Some(slot) = find(found) {
                let view = slot.view();
                if is_new || view.last_called == found.last_called {
                    return Some(view);
                }
            }
            self.found.pop();
        }
        self.found = all().map(|slot| slot.view()).collect();
        self.found
            .sort_unstable_by_key(ConnectionView::last_call_key);
        self.found.truncate(FOUND_AT_ONCE);
        self.found.reverse();
        self.scanned = now;
        self.found.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Admission, *};

    const NOW: Duration = Duration::from_secs(60);

    fn name(text: &str) -> CallerName {
        CallerName::parse(text).expect("valid")
    }

    /// Connections with these numbers.
    fn add(callers: &mut Callers, caller: &str, numbers: impl IntoIterator<Item = u64>) {
        let admission = Admission::new(1, 1, Duration::ZERO, Arc::default(), None);
        for number in numbers {
            let slot = Arc::new(ConnectionSlot::new(admission.clone(), number));
            let caller = callers.add(&name(caller), slot.clone());
            slot.set_caller(Some(caller));
        }
    }

    fn uncalled(callers: &mut Callers, caller: Option<CallerNumber>) -> Option<u64> {
        let found = callers.longest_uncalled(caller, NOW);
        found.map(|found| found.number)
    }

    #[test]
    fn what_a_scan_found_serves_until_each_is_gone() {
        let mut callers = Callers::default();
        let numbers = 0..FOUND_AT_ONCE as u64 + 1;
        add(&mut callers, "a", numbers.clone());
        let (a, count) = callers.largest().expect("it has some");
        assert_eq!(count, FOUND_AT_ONCE + 1);
        for number in numbers {
            assert_eq!(uncalled(&mut callers, Some(a)), Some(number));
            assert_eq!(uncalled(&mut callers, None), Some(number));
            assert!(callers.remove(a, number).is_some());
        }
        assert_eq!(uncalled(&mut callers, None), None);
        assert_eq!(callers.largest(), None);
    }

    #[test]
    fn one_that_was_called_on_since_is_found_no_more_once_the_scan_is_old() {
        let mut callers = Callers::default();
        add(&mut callers, "a", 0..2);
        assert_eq!(uncalled(&mut callers, None), Some(0));
        for slot in callers.connections().filter(|slot| slot.number == 0) {
            slot.set_called(NOW);
        }
        assert_eq!(uncalled(&mut callers, None), Some(0));
        let later = callers.longest_uncalled(None, NOW + BETWEEN_SCANS);
        assert_eq!(later.map(|found| found.number), Some(1));
    }

    #[test]
    fn the_caller_with_the_most_connections_is_known_whatever_ends() {
        let mut callers = Callers::default();
        add(&mut callers, "a", 0..3);
        let (a, _) = callers.largest().expect("it has some");
        add(&mut callers, "b", 3..5);
        assert_eq!(callers.largest(), Some((a, 3)));
        callers.remove(a, 0);
        callers.remove(a, 1);
        let (b, count) = callers.largest().expect("it has some");
        assert!(b != a && count == 2);
        let removed = callers.retain(|caller| *caller == name("a"));
        let numbers: Vec<_> = removed.iter().map(|slot| slot.number).collect();
        assert_eq!(numbers, [3, 4]);
        assert_eq!(callers.largest(), Some((a, 1)));
    }
}
