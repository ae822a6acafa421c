//! Slots for the calls whose client streams its messages, which are those to reflection.
//!
//! Promises that few are in flight at once, of one caller and of all: each holds answers, and messages
//! that wait for them, for as long as its client takes none.

use crate::model::caller_name::CallerName;
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Of all callers together. Such calls are made by people, who look at the API, and last milliseconds.
const OF_ALL: usize = 64;

/// Of one caller. A client needs one.
const OF_CALLER: usize = 16;

/// How many calls each caller has in flight.
#[derive(Default)]
pub(crate) struct StreamSlots(Mutex<HashMap<CallerName, usize>>);

impl StreamSlots {
    /// A slot for one more call of this caller, or `None` if there is none.
    pub(crate) fn take(self: &Arc<Self>, caller: &CallerName) -> Option<StreamSlot> {
        let mut calls = self.calls();
        let of_all: usize = calls.values().sum();
        let of_caller = calls.get(caller).copied().unwrap_or_default();
        if of_all >= OF_ALL || of_caller >= OF_CALLER {
            return None;
        }
        calls.insert(caller.clone(), of_caller + 1);
        Some(StreamSlot {
            slots: self.clone(),
            caller: caller.clone(),
        })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallerName, usize>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// A slot that is taken until this is dropped.
pub(crate) struct StreamSlot {
    slots: Arc<StreamSlots>,
    caller: CallerName,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut calls = self.slots.calls();
        let left = calls.get(&self.caller).map_or(0, |count| count - 1);
        if left == 0 {
            calls.remove(&self.caller);
        } else {
            calls.insert(self.caller.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> CallerName {
        CallerName::parse(&format!("caller-{number}")).expect("valid")
    }

    #[test]
    fn one_caller_leaves_slots_to_others_and_all_have_no_more_than_there_are() {
        let slots = Arc::<StreamSlots>::default();
        let take = |caller| slots.take(&name(caller));
        let of_one: Vec<_> = (0..2 * OF_CALLER).map_while(|_| take(0)).collect();
        assert_eq!(of_one.len(), OF_CALLER);
        let of_others: Vec<_> = (1..=OF_ALL).map_while(take).collect();
        assert_eq!(of_one.len() + of_others.len(), OF_ALL);
        assert!(take(1).is_none());
        drop(of_one);
        assert!(take(0).is_some() && take(1).is_some());
        drop(of_others);
        assert!(slots.calls().is_empty());
    }
}
