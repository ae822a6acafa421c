//! The open connections of a listening socket, in the order in which the policy asks for them.
//! Owns which connections are authenticated, and who waits for the slot of an evicted connection.
//! Promises that a flood of new connections costs no scan of all connections for each of them.
//! Must never list an evicted connection: it is about to end.

use super::{
    SlotGuard,
    callers::Callers,
    policy::{self, Awaited, ConnectionView, Holders, SHORTAGE},
    slot::ConnectionSlot,
};
use crate::model::caller_name::CallerName;
use hashbrown::HashMap;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// What a server that drains waits for, by the numbers of the connections, and since when it is the same.
pub(super) type Waits = HashMap<u64, (Awaited, Duration)>;

/// Where an evicted connection's slot goes when it is free, with the new connection in it.
pub(super) type Successor = oneshot::Sender<SlotGuard>;

pub(super) struct Connections {
    next_number: u64,
    reserved_slots: usize,
    /// The keys are the connections' numbers, so the oldest comes first.
    unauthenticated: BTreeMap<u64, Arc<ConnectionSlot>>,
    callers: Callers,
    /// The keys are the numbers of the evicted connections whose slots they get.
    successors: HashMap<u64, Successor>,
    /// Slots are short until then.
    short_until: Duration,
}

/// What became of a connection whose caller is over its share.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Evicted {
    /// It was evicted itself.
    New,
    /// Another one of the same caller was evicted.
    Other,
}

impl Connections {
    pub(super) fn new(max_connections: usize) -> Self {
        Self {
            next_number: 0,
            reserved_slots: policy::reserved(max_connections),
            unauthenticated: BTreeMap::new(),
            callers: Callers::default(),
            successors: HashMap::new(),
            short_until: Duration::ZERO,
        }
    }

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
    pub(super) fn remove(&mut self, slot: &ConnectionSlot) -> Option<Successor> {
        self.unlist(&slot.view());
        // Its calls end later. Counted until then, they would be an excess that no connection in the
        // list can account for, and that others would be evicted for.
        slot.end_calls();
        self.successors.remove(&slot.number)
    }

    fn unlist(&mut self, connection: &ConnectionView) -> Option<Arc<ConnectionSlot>> {
        match connection.caller {
            None => self.unauthenticated.remove(&connection.number),
            Some(caller) => self.callers.remove(caller, connection.number),
        }
    }

    /// Evicts a connection. Returns false if it is evicted already, or has ended.
    pub(super) fn evict(&mut self, connection: &ConnectionView) -> bool {
        let slot = self.unlist(connection);
        slot.inspect(|slot| slot.evict()).is_some()
    }

    /// Makes a connection this caller's. If the caller is over its share while slots are short, one
    /// of its connections is evicted.
    pub(super) fn authenticate(
        &mut self,
        number: u64,
        caller: &CallerName,
        now: Duration,
        has_free_slots: bool,
    ) -> Option<Evicted> {
        // It is not there if it is evicted, or if another call came first.
        let slot = self.unauthenticated.remove(&number)?;
        let caller = self.callers.add(caller, slot.clone());
        slot.set_caller(Some(caller));
        let is_short = !has_free_slots && now < self.short_until;
        if !is_short || self.holders().over_share() != Some(caller) {
            return None;
        }
        let longest_uncalled = self.callers.longest_uncalled(Some(caller), now)?;
        let evicted = policy::evict_for_share(slot.view(), longest_uncalled, now);
        self.evict(&evicted);
        Some(if evicted.number == number {
            Evicted::New
        } else {
            Evicted::Other
        })
    }

    /// Makes the connections of all callers that are not listed unauthenticated.
    pub(super) fn retain_callers(&mut self, is_listed: impl Fn(&CallerName) -> bool) {
        for slot in self.callers.retain(is_listed) {
            slot.set_caller(None);
            self.unauthenticated.insert(slot.number, slot);
        }
    }

    fn holders(&self) -> Holders {
        Holders {
            // Each successor will be an unauthenticated connection.
            unauthenticated: self.unauthenticated.len() + self.successors.len(),
            reserved_slots: self.reserved_slots,
            largest: self.callers.largest(),
        }
    }

    /// Evicts a connection so that the successor gets its slot. Returns false if the policy allows
    /// none. One that is unauthenticated has had `least_time` before.
    pub(super) fn evict_for_new_connection(
        &mut self,
        now: Duration,
        least_time: Duration,
        successor: Successor,
    ) -> bool {
        self.short_until = now + SHORTAGE;
        let holders = self.holders();
        let mut unauthenticated = self.unauthenticated.values();
        let oldest_unauthenticated = unauthenticated.find(|slot| slot.had(least_time));
        let oldest_unauthenticated = oldest_unauthenticated.map(|slot| slot.view());
        let of_callers = self.callers.longest_uncalled(holders.over_share(), now);
        let candidates: Vec<_> = oldest_unauthenticated
            .into_iter()
            .chain(of_callers)
            .collect();
        match policy::evict_for_new_connection(&candidates, now, &holders) {
            Some(evicted) if self.evict(&evicted) => {
                self.successors.insert(evicted.number, successor);
                true
            }
            _ => false,
        }
    }

    /// Evicts the connections that a server which drains does not wait for any longer. `waits` says what it waits
    /// for on each connection, and since when. Returns on how many of them answers were not taken.
    pub(super) fn evict_unawaited(&mut self, waits: &mut Waits, now: Duration) -> usize {
        let slots = self
            .unauthenticated
            .values()
            .chain(self.callers.connections());
        let (mut next, mut over) = (Waits::new(), Vec::new());
        for slot in slots {
            let awaited = slot.awaited();
            let before = waits.get(&slot.number).copied();
            let (_, since) = before
                .filter(|(before, _)| *before == awaited)
                .unwrap_or((awaited, now));
            match policy::patience(&awaited) {
                Some(patience) if now.saturating_sub(since) >= patience => {
                    over.push((slot.view(), awaited));
                }
                _ => drop(next.insert(slot.number, (awaited, since))),
            }
        }
        *waits = next;
        let evicted = over
            .into_iter()
            .filter(|(connection, _)| self.evict(connection));
        evicted.filter(|(_, awaited)| awaited.is_untaken()).count()
    }

    /// Evicts connections until no more calls are in flight than may be. Returns how many.
    pub(super) fn evict_for_calls(&mut self, calls_in_flight: usize, max_calls: usize) -> usize {
        let slots = self
            .unauthenticated
            .values()
            .chain(self.callers.connections());
        let views = slots.map(|slot| slot.view());
        let evicted = policy::evict_for_calls(views, calls_in_flight, max_calls);
        for connection in &evicted {
            self.evict(connection);
        }
        evicted.len()
    }
}
