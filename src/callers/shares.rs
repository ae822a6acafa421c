//! Shares of what each caller may take only little of, for as long as its client takes its time.
//!
//! Promises that few are taken at once, by one caller and by all. Of batches, it keeps a part for admins of all
//! accounts, as `admin_slots` does.

use super::Caller;
use crate::model::{account::Accounts, caller_name::CallerName};
use hashbrown::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The size in bytes of the largest batch: 10,000 tokens take 570,000.
pub(crate) const LARGEST_BATCH: u32 = 640 * 1024;

/// How many shares there are, and how many each caller has taken.
pub(crate) struct Shares {
    of_all: usize,
    of_caller: OfCaller,
    /// How many of all are left to callers with all accounts.
    kept: usize,
    taken: Mutex<HashMap<CallerName, usize>>,
}

/// How many shares one caller may take.
#[derive(Clone, Copy)]
enum OfCaller {
    /// So many.
    AtMost(usize),
    /// As many as it leaves free, which is half of them while others take none. So some are always left for a
    /// caller that comes later, however many others take all they may.
    AsManyAsAreFree,
}

impl Shares {
    /// For calls to reflection. Each holds answers, and messages that wait for them. Such calls are made by people,
    /// who look at the API, and last milliseconds. A client needs one.
    pub(crate) fn of_reflection() -> Arc<Self> {
        Self::new(64, OfCaller::AtMost(16))
    }

    /// For calls to `AuthorizeStream`: one on each connection that there may be by default. Each takes up to
    /// 64 KiB, if its client takes no answers.
    pub(crate) fn of_questions() -> Arc<Self> {
        Self::new(4096, OfCaller::AsManyAsAreFree)
    }

    /// For calls to `AuthorizeStream` whose client takes no answers. Each may hold 8 MiB.
    pub(crate) fn of_stalled_streams() -> Arc<Self> {
        Self::new(64, OfCaller::AtMost(16))
    }

    /// For the bytes of batches that are read: eight of the largest, together 5 MiB. A caller has no use for many at
    /// once, since one write comes after the other. Two are kept, so that an operator can revoke many keys whatever
    /// admins of some accounts do.
    pub(crate) fn of_batches() -> Arc<Self> {
        let batch = LARGEST_BATCH as usize;
        Self::with_kept(2 * batch, 8 * batch, OfCaller::AtMost(2 * batch))
    }

    /// For the bytes of large questions that are read for gateways, together 64 MiB. A gateway alone may have half
    /// of it on the way. That is what a network of 1 Gbit/s brings in a quarter of a second, and a question is
    /// answered as soon as it has come.
    pub(crate) fn of_large_questions() -> Arc<Self> {
        Self::new(64 * 1024 * 1024, OfCaller::AsManyAsAreFree)
    }

    fn new(of_all: usize, of_caller: OfCaller) -> Arc<Self> {
        Self::with_kept(0, of_all, of_caller)
    }

    fn with_kept(kept: usize, of_all: usize, of_caller: OfCaller) -> Arc<Self> {
        Arc::new(Self {
            of_all,
            of_caller,
            kept,
            taken: Mutex::default(),
        })
    }

    /// One more for this caller, or `None` if there is none. What is kept is left.
    pub(crate) fn take(self: &Arc<Self>, caller: &CallerName) -> Option<Share> {
        self.take_beside(self.kept, caller, 1)
    }

    /// So many more, or none. A caller with all accounts may take what is kept.
    pub(crate) fn take_for(self: &Arc<Self>, caller: &Caller, count: usize) -> Option<Share> {
        let kept = match caller.accounts {
            Accounts::All => 0,
            Accounts::Only(_) => self.kept,
        };
        self.take_beside(kept, &caller.name, count)
    }

    /// So many more, if what is kept is left then.
    fn take_beside(
        self: &Arc<Self>,
        kept: usize,
        caller: &CallerName,
        count: usize,
    ) -> Option<Share> {
        let mut taken = self.taken();
        let of_all: usize = taken.values().sum();
        let of_caller = taken.get(caller).copied().unwrap_or_default();
        let free = self.of_all.saturating_sub(of_all + kept);
        let most = match self.of_caller {
            OfCaller::AtMost(most) => most,
            OfCaller::AsManyAsAreFree => free,
        };
        if count > free || of_caller + count > most {
            return None;
        }
        taken.insert(caller.clone(), of_caller + count);
        Some(Share {
            shares: self.clone(),
            caller: caller.clone(),
            count,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<CallerName, usize>> {
        self.taken.lock().expect("nothing panics while it is held")
    }
}

/// A share, or several, taken until this is dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    caller: CallerName,
    count: usize,
}

impl Share {
    /// Whose it is.
    pub(crate) fn caller(&self) -> &CallerName {
        &self.caller
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        let left = taken
            .get(&self.caller)
            .map_or(0, |count| count - self.count);
        if left == 0 {
            taken.remove(&self.caller);
        } else {
            taken.insert(self.caller.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callers::Role;

    fn name(number: usize) -> CallerName {
        CallerName::parse(&format!("caller-{number}")).expect("valid")
    }

    #[test]
    fn one_caller_leaves_shares_to_others_and_all_have_no_more_than_there_are() {
        for shares in [Shares::of_reflection(), Shares::of_stalled_streams()] {
            let take = |caller| shares.take(&name(caller));
            let OfCaller::AtMost(most) = shares.of_caller else {
                unreachable!("a fixed share of each caller")
            };
            let of_one: Vec<_> = (0..2 * most).map_while(|_| take(0)).collect();
            assert_eq!(of_one.len(), most);
            let of_others: Vec<_> = (1..=shares.of_all).map_while(take).collect();
            assert_eq!(of_one.len() + of_others.len(), shares.of_all);
            assert!(take(1).is_none());
            drop(of_one);
            assert!(take(0).is_some() && take(1).is_some());
            drop(of_others);
            assert!(shares.taken().is_empty());
        }
    }

    #[test]
    fn no_number_of_callers_with_some_accounts_takes_what_is_kept_for_an_operator() {
        let shares = Shares::of_batches();
        let take = |number, accounts| {
            let (name, role) = (name(number), Role::Admin);
            let caller = Caller {
                name,
                role,
                accounts,
            };
            shares.take_for(&caller, LARGEST_BATCH as usize)
        };
        let take_all = |accounts: &Accounts| -> Vec<_> {
            let twice = (0..20).flat_map(|number| [number, number]);
            twice.filter_map(|it| take(it, accounts.clone())).collect()
        };
        let some_accounts = Accounts::Only(Arc::new([]));
        let limited = take_all(&some_accounts);
        assert_eq!(limited.len(), 6);
        let operators: Vec<_> = (0..3).filter_map(|_| take(99, Accounts::All)).collect();
        assert_eq!(operators.len(), 2, "one caller has no more");
        drop(limited);
        assert_eq!(take_all(&some_accounts).len(), 4, "two of eight are taken");
        assert_eq!(take_all(&Accounts::All).len(), 6);
    }

    #[test]
    fn callers_that_take_all_the_streams_they_may_leave_some_to_the_next() {
        let shares = Shares::of_questions();
        let take_all = |caller| -> Vec<_> {
            let taken = (0..shares.of_all).map_while(|_| shares.take(&name(caller)));
            taken.collect()
        };
        let taken: Vec<_> = (0..5).map(take_all).collect();
        let counts: Vec<_> = taken.iter().map(Vec::len).collect();
        assert_eq!(counts, [2048, 1024, 512, 256, 128]);
    }

    /// However large each is.
    #[test]
    fn gateways_whose_large_questions_take_all_they_may_leave_room_for_the_next() {
        let shares = Shares::of_large_questions();
        let take_all = |number, bytes| -> Vec<_> {
            let caller = Caller {
                name: name(number),
                role: Role::Authorizer,
                accounts: Accounts::All,
            };
            let taken = std::iter::from_fn(|| shares.take_for(&caller, bytes));
            taken.collect()
        };
        let taken = [1_048_576, 81_920, 9_000].map(|bytes| {
            let taken = take_all(bytes, bytes);
            taken.into_iter().map(|share| (share.count, share)).unzip()
        });
        let mib: Vec<_> = taken
            .iter()
            .map(|(bytes, _): &(Vec<usize>, Vec<_>)| bytes.iter().sum::<usize>() >> 20)
            .collect();
        assert_eq!(mib, [32, 16, 7]);
        drop(taken);
        assert!(shares.taken().is_empty());
    }
}
