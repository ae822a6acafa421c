//! What the store has lost of each history.

use super::{
    event::{Event, Original},
    histories::{Histories, HistoryKey, Kept},
    stored_writes::StoredWrites,
};
use crate::model::time::Timestamp;
use std::collections::HashMap;

/// The lost writes of one history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost {
    pub(super) first: i64,
    pub(super) newest: i64,
    pub(super) until: Timestamp,
}

pub(super) fn lost_of_each(histories: &Histories, lost: &[&Event]) -> HashMap<HistoryKey, Lost> {
    let mut of_each = HashMap::<_, Lost>::new();
    for event in lost {
        let Original { revision, time } = event.original;
        let of_history = of_each.entry(histories.of_event(event)).or_insert(Lost {
            first: revision,
            newest: revision,
            until: time,
        });
        of_history.first = of_history.first.min(revision);
        of_history.newest = of_history.newest.max(revision);
        of_history.until = of_history.until.max(time);
    }
    of_each
}

/// Where histories branched off that the store does not have: the last revision of each history that was written
/// before.
pub(super) fn branches(histories: &Histories) -> HashMap<HistoryKey, i64> {
    let mut branches = HashMap::new();
    for (history, beginning) in histories.all() {
        if let (Kept::Nothing, Some(_), Some(after)) =
            (histories.kept(history), beginning.parent, beginning.after)
        {
            let last = branches.entry(beginning.parent).or_insert(after);
            *last = after.max(*last);
        }
    }
    branches
}

/// Whether the store lost writes of a history, and nothing but its own last write tells since when.
pub(super) fn is_told_by_the_store(kept: Kept, lost: Option<&Lost>) -> bool {
    match kept {
        Kept::ToTheEnd => true,
        // A loss that nobody noticed.
        Kept::UpTo(end) => lost.is_some_and(|lost| lost.first <= end),
        Kept::Nothing => false,
    }
}

/// From which revision on the store's last history has lost writes at the latest, and until when they were made. The
/// last write from before is the last that the store had when it lost them. Whatever the store has from after that time
/// was written since, and may have revisions of lost writes again.
#[must_use]
pub fn loss(stored: &StoredWrites<'_>, histories: &Histories) -> (i64, Timestamp) {
    let lost = stored.lost();
    let of_each = lost_of_each(histories, &lost);
    let of_store = of_each
        .iter()
        .filter(|(history, lost)| is_told_by_the_store(histories.kept(**history), Some(lost)));
    if let Some((_, lost)) = of_store.min_by_key(|(_, lost)| (lost.first, lost.until)) {
        return (lost.first, lost.until);
    }
    let branches = branches(histories).into_iter();
    let of_last = branches.filter(|(history, _)| histories.kept(*history) == Kept::ToTheEnd);
    let first = of_last.map(|(_, after)| after.saturating_add(1)).max();
    let until = lost.iter().map(|event| event.original.time).max();
    (first.unwrap_or(i64::MAX), until.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::made_up::{chain, lines_of_two_branches, read, time};

    #[test]
    fn the_loss_is_that_of_the_stores_last_history() {
        let asked = |store: &[_], lines: &[String]| {
            let input = read(lines);
            let histories = Histories::new(chain(store), &input);
            loss(&StoredWrites::new(&input), &histories)
        };
        let lines = lines_of_two_branches();
        assert_eq!(asked(&[('a', 0)], &lines), (11, time(2)));
        assert_eq!(asked(&[('a', 0), ('b', 10)], &lines), (i64::MAX, time(4)));
        // Only by what went on from it.
        assert_eq!(
            asked(&[('a', 0)], &[lines[1].clone(), lines[4].clone()]),
            (11, time(3))
        );
    }
}
