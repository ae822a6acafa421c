//! Slots for the calls whose client streams its messages.
//!
//! Promises that few are in flight at once, of one caller and of all: each holds answers, and messages
//! that wait for them, for as long as its client takes none.

use crate::model::caller_name::CallerName;
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Calls to reflection, of all callers together. They are made by people, who look at the API, and last
/// milliseconds.
const REFLECTION: usize = 64;

/// Of one caller. A client needs one.
const REFLECTION_OF_CALLER: usize = 16;

/// Calls to `AuthorizeStream`, of all callers together: one on each connection that there may be by default.
/// Each takes up to 64 KiB, if its client takes no answers.
const QUESTIONS: usize = 4096;

/// How many calls each caller has in flight.
pub(crate) struct StreamSlots {
    of_all: usize,
    share: Share,
    calls: Mutex<HashMap<CallerName, usize>>,
}

/// How many of the slots one caller may take.
#[derive(Clone, Copy)]
enum Share {
    /// So many.
    AtMost(usize),
    /// As many as it leaves free, which is half of them while others take none. So some are always left
    /// for a caller that comes later, however many others take all they may.
    AsManyAsAreFree,
}

impl StreamSlots {
    /// The slots for calls to reflection.
    pub(crate) fn of_reflection() -> Arc<Self> {
        Self::new(REFLECTION, Share::AtMost(REFLECTION_OF_CALLER))
    }

    /// The slots for calls to `AuthorizeStream`.
    pub(crate) fn of_questions() -> Arc<Self> {
        Self::new(QUESTIONS, Share::AsManyAsAreFree)
    }

    fn new(of_all: usize, share: Share) -> Arc<Self> {
        Arc::new(Self {
            of_all,
            share,
            calls: Mutex::default(),
        })
    }

    /// A slot for one more call of this caller, or `None` if there is none.
    pub(crate) fn take(self: &Arc<Self>, caller: &CallerName) -> Option<StreamSlot> {
        let mut calls = self.calls();
        let of_all: usize = calls.values().sum();
        let of_caller = calls.get(caller).copied().unwrap_or_default();
        let free = self.of_all.saturating_sub(of_all);
        let share = match self.share {
            Share::AtMost(share) => share,
            Share::AsManyAsAreFree => free,
        };
        if free == 0 || of_caller >= share {
            return None;
        }
        calls.insert(caller.clone(), of_caller + 1);
        Some(StreamSlot {
            slots: self.clone(),
            caller: caller.clone(),
        })
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<CallerName, usize>> {
        self.calls.lock().expect("nothing panics while it is held")
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
        let slots = StreamSlots::of_reflection();
        let take = |caller| slots.take(&name(caller));
        let of_one: Vec<_> = (0..REFLECTION).map_while(|_| take(0)).collect();
        assert_eq!(of_one.len(), REFLECTION_OF_CALLER);
        let of_others: Vec<_> = (1..=REFLECTION).map_while(take).collect();
        assert_eq!(of_one.len() + of_others.len(), REFLECTION);
        assert!(take(1).is_none());
        drop(of_one);
        assert!(take(0).is_some() && take(1).is_some());
        drop(of_others);
        assert!(slots.calls().is_empty());
    }

    #[test]
    fn callers_that_ask_on_all_the_streams_they_may_leave_some_to_the_next() {
        let slots = StreamSlots::of_questions();
        let take_all = |caller| -> Vec<_> {
            let taken = (0..QUESTIONS).map_while(|_| slots.take(&name(caller)));
            taken.collect()
        };
        let taken: Vec<_> = (0..5).map(take_all).collect();
        let counts: Vec<_> = taken.iter().map(Vec::len).collect();
        assert_eq!(counts, [2048, 1024, 512, 256, 128]);
    }
}
