//! Which lost writes nobody tells of, by the revisions of each history.

use super::{
    event::{Event, Original},
    histories::{Histories, HistoryKey, Kept},
    loss::{Lost, branches, is_told_by_the_store, lost_of_each},
    stored_writes::StoredWrites,
};
use crate::model::{history::HistoryId, time::Timestamp};
use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
};

/// Revisions of lost writes that no line tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Their history.
    pub history_id: Option<HistoryId>,
    /// What is missing in it.
    pub revisions: RangeInclusive<i64>,
    /// Whether a replay has made them.
    pub is_of_replay: bool,
}

/// What of the lost writes is missing in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Missing {
    /// The gaps between the writes that are listed.
    pub gaps: Vec<Gap>,
    /// The histories of which no line tells where they begin.
    pub without_beginning: Vec<HistoryId>,
    /// When the first of the lost writes may have been made. None: when the store was made.
    pub lost_since: Option<Timestamp>,
    /// Up to this time, each lost write is listed. None: some are not.
    pub listed_until: Option<Timestamp>,
}

/// Where to look for gaps in a history.
struct Span {
    /// The last revision that the store has.
    start: i64,
    /// The last that is listed as lost.
    newest: i64,
    /// The last of which another history tells that it was written.
    branch: Option<i64>,
    /// What was written later is no part of the loss.
    until: Timestamp,
}

/// The revisions that no line tells of. `last_stored` is the last write from before the [`loss`](super::loss::loss).
pub(super) fn missing(
    stored: &StoredWrites<'_>,
    histories: &Histories,
    lost: &[&Event],
    last_stored: Option<Original>,
) -> Missing {
    let of_each = lost_of_each(histories, lost);
    let branches = branches(histories);
    let (mut spans, mut without_beginning) = (BTreeMap::new(), Vec::new());
    for (history, beginning) in histories.all() {
        let (lost, branch) = (of_each.get(&history), branches.get(&history).copied());
        let Some(newest) = lost.map(|lost| lost.newest).max(branch) else {
            continue;
        };
        let kept = histories.kept(history);
        let from_store = is_told_by_the_store(kept, lost);
        let start = match (kept, beginning.after) {
            (Kept::UpTo(end), _) | (Kept::Nothing, Some(end)) if !from_store => Some(end),
            _ => None,
        };
        if start.is_none() && !from_store {
            without_beginning.extend(history);
        }
        // What was written after a loss that nobody noticed has the revisions of lost writes again.
        let until = lost.filter(|_| from_store).map(|lost| lost.until);
        let span = Span {
            start: start.unwrap_or_else(|| last_stored.map_or(0, |last| last.revision)),
            newest,
            branch,
            until: until.unwrap_or(Timestamp::MAX),
        };
        spans.insert(history, span);
    }
    without_beginning.sort_unstable();
    let gaps = gaps_in(stored, histories, &spans);
    let first = lost.iter().map(|event| event.original.time).min();
    let is_complete = gaps.is_empty() && without_beginning.is_empty();
    Missing {
        gaps,
        without_beginning,
        lost_since: last_stored.map(|last| first.map_or(last.time, |first| first.min(last.time))),
        listed_until: is_complete
            .then(|| listed_until(stored, &of_each, &branches))
            .flatten(),
    }
}

/// The last writes of each history that are known, unless another one tells that no more were written.
fn listed_until(
    stored: &StoredWrites<'_>,
    of_each: &HashMap<HistoryKey, Lost>,
    branches: &HashMap<HistoryKey, i64>,
) -> Option<Timestamp> {
    let open = of_each
        .iter()
        .filter(|(history, lost)| branches.get(history) < Some(&lost.newest));
    let first_end = open.map(|(_, lost)| lost.until).min();
    first_end.or_else(|| {
        stored
            .listed()
            .iter()
            .map(|event| event.original.time)
            .max()
    })
}

fn gaps_in(
    stored: &StoredWrites<'_>,
    histories: &Histories,
    spans: &BTreeMap<HistoryKey, Span>,
) -> Vec<Gap> {
    let mut listed = HashMap::<HistoryKey, Vec<_>>::new();
    for event in stored.listed().iter().filter(|event| event.writes > 0) {
        let Original { revision, time } = event.original;
        let history = histories.of_event(event);
        let span = spans.get(&history);
        if span.is_some_and(|span| revision <= span.newest && time <= span.until) {
            let writes = i64::try_from(event.writes).unwrap_or(i64::MAX);
            let start = revision.saturating_sub(writes.saturating_sub(1));
            listed.entry(history).or_default().push((start, revision));
        }
    }
    let mut gaps = Vec::new();
    for (history, span) in spans {
        let replayed_until = histories.beginning(*history).replayed_until;
        let is_listed = |last| is_listed_elsewhere(stored, histories, *history, last);
        if replayed_until.is_some_and(is_listed) {
            continue;
        }
        let of_history = listed.remove(history).unwrap_or_default();
        gaps.extend(
            gaps_between(span, of_history)
                .into_iter()
                .map(|revisions| Gap {
                    history_id: *history,
                    revisions,
                    is_of_replay: replayed_until.is_some(),
                }),
        );
    }
    gaps
}

/// Whether the last write is listed of those that a replay repeated which began a history. What is missing before that
/// is found in the history of that write. A later write tells nothing: it may be of after the replay.
fn is_listed_elsewhere(
    stored: &StoredWrites<'_>,
    histories: &Histories,
    history: HistoryKey,
    last: Timestamp,
) -> bool {
    let mut listed = stored.listed().iter();
    listed.any(|event| {
        event.original.time == last && histories.is_apart(histories.of_event(event), history)
    })
}

fn gaps_between(span: &Span, mut listed: Vec<(i64, i64)>) -> Vec<RangeInclusive<i64>> {
    listed.sort_unstable();
    let (mut gaps, mut next) = (Vec::new(), span.start.saturating_add(1));
    for (start, end) in listed {
        if start > next {
            gaps.push(next..=start - 1);
        }
        next = next.max(end.saturating_add(1));
    }
    gaps.extend(
        span.branch
            .filter(|last| *last >= next)
            .map(|last| next..=last),
    );
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::{
        loss::loss,
        made_up::{begins, chain, id, lines_of_two_branches, read, time, write},
    };

    const REPLAYED: bool = true;

    /// What is missing, if the store has these histories, each with the last revision from before it, and its last write
    /// from before the loss is this.
    fn missing_in(
        store: &[(char, i64)],
        last: i64,
        lines: &[String],
    ) -> (Vec<(char, i64, i64, bool)>, usize) {
        let input = read(lines);
        let histories = Histories::new(chain(store), &input);
        let stored = StoredWrites::new(&input);
        let last = Original {
            revision: last,
            time: Timestamp::EPOCH,
        };
        let found = missing(&stored, &histories, &stored.lost(), Some(last));
        let name =
            |of: Option<HistoryId>| ('a'..='f').find(|it| Some(id(*it)) == of).unwrap_or('-');
        let gaps = found.gaps.iter().map(|gap| {
            let (start, end) = (*gap.revisions.start(), *gap.revisions.end());
            (name(gap.history_id), start, end, gap.is_of_replay)
        });
        (gaps.collect(), found.without_beginning.len())
    }

    #[test]
    fn the_revisions_that_no_line_tells_of_are_found() {
        let batch = "{\"message\":\"keys revoked\",\"time\":\"2030-01-01T00:01:00Z\",\"caller\":\"ops\",\
                     \"revision\":14,\"revoked\":3,\"part\":1,\"parts\":1,\"key_ids\":\"\"}\n";
        let lines = [write('-', 5, 5), write('-', 8, 8), batch.to_owned()];
        let gaps = |store: &[_], last| missing_in(store, last, &lines).0;
        let of_old = |start, end| ('-', start, end, false);
        assert_eq!(gaps(&[], 4), [of_old(6, 7), of_old(9, 11)]);
        // What came before the input may be lost too.
        assert_eq!(gaps(&[], 2)[0], of_old(3, 4));
        assert_eq!(gaps(&[], 0)[0], of_old(1, 4));
        // Lines that name no history are of the first, which ends where the next begins.
        assert_eq!(
            gaps(&[('a', 0)], 4),
            [('a', 6, 7, false), ('a', 9, 11, false)]
        );
        assert_eq!(
            gaps(&[('a', 0), ('b', 4)], 99),
            [('a', 6, 7, false), ('a', 9, 11, false)]
        );
    }

    #[test]
    fn each_history_has_gaps_of_its_own() {
        let store = [('a', 0), ('b', 10)];
        let nothing = (Vec::new(), 0);
        assert_eq!(missing_in(&store, 99, &lines_of_two_branches()), nothing);
        // Before the restore is accepted, the store's last write tells where the loss begins.
        assert_eq!(
            missing_in(&store[..1], 10, &lines_of_two_branches()),
            nothing
        );
        assert_eq!(
            missing_in(&store[..1], 9, &lines_of_two_branches()).0,
            [('a', 10, 10, false)]
        );
        for (line, gap) in [(2, ('a', 11, 11, false)), (4, ('c', 11, 11, false))] {
            let mut lines = lines_of_two_branches();
            lines.remove(line);
            assert_eq!(missing_in(&store, 99, &lines).0, [gap]);
        }
    }

    #[test]
    fn a_history_tells_how_far_the_one_was_written_that_it_goes_on_from() {
        let store = [('a', 0), ('b', 10)];
        let mut lines = lines_of_two_branches();
        lines.push(begins('d', Some('c'), 14, None));
        assert_eq!(missing_in(&store, 99, &lines).0, [('c', 13, 14, false)]);
        lines.push(begins('e', Some('a'), 15, None));
        let of_first = ('a', 13, 15, false);
        assert_eq!(
            missing_in(&store, 99, &lines).0,
            [of_first, ('c', 13, 14, false)]
        );
        // Of which nothing else is listed.
        let lines = [
            begins('e', Some('d'), 15, None),
            begins('d', Some('a'), 12, None),
            write('e', 16, 1),
        ];
        assert_eq!(
            missing_in(&store, 99, &lines).0,
            [('a', 11, 12, false), ('d', 13, 15, false)]
        );
    }

    #[test]
    fn where_no_line_tells_where_a_history_begins_that_is_said() {
        let store = [('a', 0), ('b', 10)];
        let mut lines = lines_of_two_branches();
        lines.remove(1);
        assert_eq!(missing_in(&store, 10, &lines), (vec![], 1));
        assert_eq!(
            missing_in(&store, 9, &lines),
            (vec![('c', 10, 10, false)], 1)
        );
        // A record tells it too.
        let beginning = format!(
            "\"history_after\":10,\"history_parent\":\"{}\",\"caller\"",
            id('a')
        );
        lines.push(write('c', 13, 5).replace("\"caller\"", &beginning));
        assert_eq!(missing_in(&store, 9, &lines), (vec![], 0));
    }

    #[test]
    fn what_a_replay_has_written_need_not_be_listed_if_all_is_that_it_has_read() {
        // A replay read `a` up to the second 2, and wrote 11 to 13 of `b`. There the service went on, in `c`.
        let lines = [
            begins('a', None, 0, None),
            begins('b', Some('a'), 10, Some(2)),
            begins('c', Some('b'), 13, None),
            write('c', 14, 5),
            write('a', 11, 1),
            write('a', 12, 2),
        ];
        let store = [('a', 0), ('d', 10)];
        let gap = ('b', 11, 13, REPLAYED);
        assert_eq!(missing_in(&store, 99, &lines).0, []);
        // What goes on from it is of later, but tells nothing of what it has read.
        assert_eq!(missing_in(&store, 99, &lines[..5]).0, [gap]);
        assert_eq!(missing_in(&store, 99, &lines[..4]).0, [gap]);
        // Nor does another that was begun since, or one of which nobody knows when.
        let other = [begins('e', Some('a'), 10, None), write('e', 11, 6)];
        assert_eq!(
            missing_in(&store, 99, &[&lines[..5], &other].concat()).0,
            [gap]
        );
        let unknown = [&lines[..5], &[write('f', 14, 2)]].concat();
        assert_eq!(missing_in(&store, 99, &unknown).0, [gap]);
    }

    #[test]
    fn a_loss_that_nobody_noticed_is_measured_by_the_stores_own_writes() {
        // The store lost 6 to 8 of `a`, and wrote on in it up to 10.
        let lines = [write('a', 7, 2), write('a', 8, 3)];
        let input = read(&lines);
        let histories = Histories::new(chain(&[('a', 0), ('b', 10)]), &input);
        assert_eq!(loss(&StoredWrites::new(&input), &histories), (7, time(3)));
        assert_eq!(
            missing_in(&[('a', 0), ('b', 10)], 5, &lines).0,
            [('a', 6, 6, false)]
        );
    }

    #[test]
    fn writes_are_listed_to_the_end_of_the_history_that_ends_first() {
        let mut lines = lines_of_two_branches();
        for (line, until) in [(None, 2), (Some(begins('d', Some('a'), 12, None)), 4)] {
            lines.extend(line);
            let input = read(&lines);
            let histories = Histories::new(chain(&[('a', 0), ('b', 10)]), &input);
            let stored = StoredWrites::new(&input);
            let found = missing(&stored, &histories, &stored.lost(), None);
            assert_eq!(found.listed_until, Some(time(until)));
        }
    }
}
