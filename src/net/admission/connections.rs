//! The open connections of a listening socket, in the order in which the policy asks for them.
//! Owns who waits for the slot of an evicted connection.
//! Promises that a flood of new connections costs no scan of all connections for each of them.
//! Must never list an evicted connection: it is about to end.

use super::{
    policy::{self, ConnectionView},
    slot::ConnectionSlot,
};
use hashbrown::HashMap;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// One scan finds this many idle connections, so that a flood of new connections needs few scans.
const IDLE_FOUND_AT_ONCE: usize = 64;

/// A scan that found all idle connections is not repeated sooner, for the same reason.
const BETWEEN_SCANS: Duration = Duration::from_millis(20);

/// Where an evicted connection's slot goes when it is free.
pub(super) type Successor = oneshot::Sender<OwnedSemaphorePermit>;

#[derive(Default)]
pub(super) struct Connections {
    next_number: u64,
    /// The keys are the connections' numbers, so the oldest comes first.
    unauthenticated: BTreeMap<u64, Arc<ConnectionSlot>>,
    authenticated: BTreeMap<u64, Arc<ConnectionSlot>>,
    /// The keys are the numbers of the evicted connections whose slots they get.
    successors: HashMap<u64, Successor>,
    idle: IdleConnections,
}

impl Connections {
    /// Adds a connection, which is unauthenticated at first.
    pub(super) fn add(
        &mut self,
        new: impl FnOnce(u64) -> Arc<ConnectionSlot>,
    ) -> Arc<ConnectionSlot> {
        let slot = new(self.next_number);
        self.next_number += 1;
        self.unauthenticated.insert(slot.number, slot.clone());
        slot
    }

    /// Removes a connection that has ended. Returns who gets its slot, if it was evicted for one.
    pub(super) fn remove(&mut self, number: u64) -> Option<Successor> {
        self.unlist(number);
        self.successors.remove(&number)
    }

    fn unlist(&mut self, number: u64) -> Option<Arc<ConnectionSlot>> {
        let unauthenticated = self.unauthenticated.remove(&number);
        unauthenticated.or_else(|| self.authenticated.remove(&number))
    }

    pub(super) fn set_authenticated(&mut self, number: u64) {
        // An evicted connection is not among them any more.
        if let Some(slot) = self.unauthenticated.remove(&number) {
            self.authenticated.insert(number, slot);
        }
    }

    /// Evicts a connection so that the successor gets its slot. Returns false if the policy allows
    /// none.
    pub(super) fn evict_for_new_connection(
        &mut self,
        now: Duration,
        reserved_slots: usize,
        successor: Successor,
    ) -> bool {
        let oldest_unauthenticated = self.unauthenticated.values().next();
        let candidates: Vec<_> = oldest_unauthenticated
            .map(|slot| slot.view())
            .into_iter()
            .chain(self.idle.longest(&self.authenticated, now))
            .collect();
        // Each successor will be an unauthenticated connection.
        let unauthenticated = self.unauthenticated.len() + self.successors.len();
        let evicted =
            policy::evict_for_new_connection(&candidates, now, unauthenticated, reserved_slots);
        let Some(evicted) = evicted.and_then(|number| self.unlist(number)) else {
            return false;
        };
        evicted.evict();
        self.successors.insert(evicted.number, successor);
        true
    }

    /// Evicts connections until no more calls are in flight than may be. Returns how many.
    pub(super) fn evict_for_calls(&mut self, calls_in_flight: usize, max_calls: usize) -> usize {
        let slots = self
            .unauthenticated
            .values()
            .chain(self.authenticated.values());
        let views = slots.map(|slot| slot.view());
        let evicted = policy::evict_for_calls(views, calls_in_flight, max_calls);
        for number in &evicted {
            if let Some(slot) = self.unlist(*number) {
                slot.evict();
            }
        }
        evicted.len()
    }
}

/// The connections that were idle when all were last scanned.
#[derive(Default)]
struct IdleConnections {
    /// The one that has been idle for longest is the last.
    found: Vec<ConnectionView>,
    next_scan: Duration,
}

impl IdleConnections {
    /// The connection that has been idle for longest. All are scanned again only if each one that
    /// the last scan found has ended or has sent something since.
    fn longest(
        &mut self,
        authenticated: &BTreeMap<u64, Arc<ConnectionSlot>>,
        now: Duration,
    ) -> Option<ConnectionView> {
        let is_as_found = |found: &ConnectionView| {
            let slot = authenticated.get(&found.number);
            slot.is_some_and(|slot| slot.view().last_heard == found.last_heard)
        };
        while let Some(found) = self.found.last() {
            if is_as_found(found) {
                return Some(*found);
            }
            self.found.pop();
        }
        if now < self.next_scan {
            return None;
        }
        let views = authenticated.values().map(|slot| slot.view());
        self.found = policy::longest_idle(views, now, IDLE_FOUND_AT_ONCE);
        self.found.reverse();
        if self.found.len() < IDLE_FOUND_AT_ONCE {
            self.next_scan = now + BETWEEN_SCANS;
        }
        self.found.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Admission, *};

    const NOW: Duration = Duration::from_secs(60);

    fn silent_connections(count: u64) -> BTreeMap<u64, Arc<ConnectionSlot>> {
        let admission = Admission::new(1, 1, Arc::default());
        let connection = |number| {
            let slot = ConnectionSlot::new(admission.clone(), number);
            slot.set_authenticated();
            (number, Arc::new(slot))
        };
        (0..count).map(connection).collect()
    }

    #[test]
    fn what_a_scan_found_serves_until_each_is_gone_or_has_spoken() {
        let mut connections = silent_connections(IDLE_FOUND_AT_ONCE as u64 + 1);
        let mut idle = IdleConnections::default();
        while let Some(first) = connections.keys().next().copied() {
            let found = idle.longest(&connections, NOW).expect("all are idle");
            assert_eq!(found.number, first);
            assert_eq!(idle.longest(&connections, NOW), Some(found));
            connections.remove(&first);
        }
    }

    #[test]
    fn a_scan_that_found_all_is_not_repeated_for_a_while() {
        let (none, some) = (BTreeMap::new(), silent_connections(2));
        let mut idle = IdleConnections::default();
        assert_eq!(idle.longest(&none, NOW), None);
        assert_eq!(idle.longest(&some, NOW + BETWEEN_SCANS / 2), None);
        let found = idle.longest(&some, NOW + BETWEEN_SCANS);
        assert_eq!(found.map(|found| found.number), Some(0));
    }
}
