//! All writes that the given files list, and their malformed lines.
//!
//! Takes the lines of several replicas in any order, and the same line or write any number of times.

use super::{
    content::{self, Line, LineContent},
    event::{Event, Subject},
    fields::Problem,
    lines,
    repeated::{Repeated, repeated},
};
use crate::model::{
    audit_record::AdminMethod,
    history::{History, HistoryId},
    time::Timestamp,
};
use std::{
    collections::{HashMap, HashSet},
    io::{self, BufRead},
};
use uuid::Uuid;

/// What tells one call's write of one thing from every other.
pub(super) type Identity = (Timestamp, AdminMethod, Option<Subject>);

pub(super) fn identity(event: &Event) -> Identity {
    (event.original.time, event.method, event.subject.clone())
}

/// A line that is cut off, or lacks what a line of its kind has.
#[derive(Debug, PartialEq, Eq)]
pub struct MalformedLine {
    /// The file, by the name that was given for it.
    pub file: String,
    /// The line's number in it.
    pub line: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// How many malformed lines are kept. One wrong file may have millions.
pub const MALFORMED_KEPT: usize = 20;

/// How many writes are read at most. Each takes some 800 bytes of memory.
pub const MAX_WRITES: usize = 5_000_000;

/// The lines that are about one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreLines {
    /// How many there are.
    pub lines: u64,
    /// The file of the first.
    pub file: String,
    /// The number of the first in it.
    pub line: u64,
}

/// What was read.
#[derive(Debug)]
pub struct Input {
    /// How many writes are read at most.
    max_writes: usize,
    /// The writes, each once.
    events: Vec<Event>,
    places: HashMap<Identity, usize>,
    /// Those that another call may have found done, each by its history and revision.
    repeatable: HashMap<Repeated, usize>,
    /// The parts of each batch, and how many there are.
    batches: HashMap<(Timestamp, i64), (u64, HashSet<u64>)>,
    /// Where histories begin.
    histories: HashMap<HistoryId, History>,
    /// What the log leaves out, and the last time at which it does.
    omissions: HashMap<&'static str, Timestamp>,
    /// The first malformed lines.
    pub malformed: Vec<MalformedLine>,
    /// How many there are.
    pub malformed_count: u64,
    /// The lines that are about each store. Those without an id are under none.
    stores: HashMap<Option<Uuid>, StoreLines>,
    /// How many lines were read.
    pub lines: u64,
    /// The latest time that one of them has.
    pub until: Option<Timestamp>,
}

impl Input {
    /// Before anything was read.
    #[must_use]
    pub fn new(max_writes: usize) -> Self {
        Self {
            max_writes,
            events: Vec::new(),
            places: HashMap::new(),
            repeatable: HashMap::new(),
            batches: HashMap::new(),
            histories: HashMap::new(),
            omissions: HashMap::new(),
            malformed: Vec::new(),
            malformed_count: 0,
            stores: HashMap::new(),
            lines: 0,
            until: None,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or has too many writes.
    pub fn read(&mut self, file: &str, input: impl BufRead) -> io::Result<()> {
        lines::read(input, |line, text| {
            self.lines += 1;
            let read = text.and_then(content::read);
            if let Err(why) = read.and_then(|read| self.add(file, line, read)) {
                self.malformed_count += 1;
                if self.malformed.len() < MALFORMED_KEPT {
                    self.malformed.push(MalformedLine {
                        file: file.to_owned(),
                        line,
                        why,
                    });
                }
            }
            if self.events.len() > self.max_writes {
                let max = self.max_writes;
                return Err(io::Error::other(format!(
                    "it has more than {max} writes: give the lines from shortly before the backup on"
                )));
            }
            Ok(())
        })
    }

    fn add(&mut self, file: &str, line: u64, read: Line) -> Result<(), Problem> {
        self.until = self.until.max(read.time);
        if read.content == LineContent::Nothing {
            return Ok(());
        }
        if let Some(history) = read.history {
            self.add_history(history)?;
        }
        // A start on a wrong address leaves one of another store.
        if read.content == LineContent::History {
            return Ok(());
        }
        let first = || StoreLines {
            lines: 0,
            file: file.to_owned(),
            line,
        };
        let of_store = self.stores.entry(read.store_id).or_insert_with(first);
        of_store.lines += 1;
        self.add_content(read.content);
        Ok(())
    }

    /// Of a history that a replay has begun, the log says so, and a record does not.
    fn add_history(&mut self, told: History) -> Result<(), Problem> {
        let known = self.histories.entry(told.id).or_insert(told);
        let until = known.replayed_until.or(told.replayed_until);
        let is_same_until = told.replayed_until.is_none_or(|time| until == Some(time));
        if (known.parent, known.after) != (told.parent, told.after) || !is_same_until {
            return Err("says of its history what another line contradicts");
        }
        known.replayed_until = until;
        Ok(())
    }

    /// The histories of which a line says where they begin.
    pub(super) fn histories(&self) -> impl Iterator<Item = &History> {
        self.histories.values()
    }

    /// The lines about another store than this one, and that store's id.
    #[must_use]
    pub fn of_another_store(&self, own: Uuid) -> Option<(Uuid, &StoreLines)> {
        let others = self
            .stores
            .iter()
            .filter_map(|(id, lines)| Some(((*id)?, lines)));
        others
            .filter(|(id, _)| *id != own)
            .max_by_key(|(id, lines)| (lines.lines, *id))
    }

    /// Whether any line says that it is about this store.
    #[must_use]
    pub fn is_of_store(&self, own: Uuid) -> bool {
        self.stores.contains_key(&Some(own))
    }

    fn add_content(&mut self, content: LineContent) {
        match content {
            LineContent::Nothing | LineContent::History => {}
            LineContent::Omission(time, what) => {
                let last = self.omissions.entry(what).or_insert(time);
                *last = time.max(*last);
            }
            LineContent::Writes(events) => self.add_events(events),
            LineContent::Batch {
                part,
                parts,
                events,
            } => {
                if let Some(whole) = events.last() {
                    let batch = (whole.original.time, whole.original.revision);
                    let (all, read) = self.batches.entry(batch).or_default();
                    *all = parts.max(*all);
                    read.insert(part);
                }
                self.add_events(events);
            }
        }
    }

    fn add_events(&mut self, events: Vec<Event>) {
        for event in events {
            self.add_event(event);
        }
    }

    /// A call that found its work done is on record with the revision of the write that did it, so both are one write,
    /// which the first has made.
    fn add_event(&mut self, event: Event) {
        let new = self.events.len();
        let first = repeated(&event).map(|it| *self.repeatable.entry(it).or_insert(new));
        let known = first.and_then(|first| self.events.get_mut(first).zip(Some(first)));
        if let Some((known, first)) = known
            && known.original.time != event.original.time
        {
            self.places.insert(identity(&event), first);
            if event.original.time < known.original.time {
                *known = event;
            }
            return;
        }
        let place = *self.places.entry(identity(&event)).or_insert(new);
        match self.events.get_mut(place) {
            None => self.events.push(event),
            Some(known) if !is_same_write(known, &event) => self.events.push(event),
            // Of a batch, one line tells how many writes it took, and another does not.
            Some(known) => {
                known.history_id = known.history_id.or(event.history_id);
                known.writes = known.writes.max(event.writes);
                known.key_end = known.key_end.or(event.key_end);
            }
        }
    }

    /// The writes.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The time of the first write. Records of the store from before it concern none of them.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        let times = self.events.iter().map(|event| event.original.time);
        times.min().unwrap_or(Timestamp::MAX)
    }

    /// The first write that another call may have found done. The store may have it, and made it long before.
    #[must_use]
    pub fn first_repeatable(&self) -> Option<i64> {
        let revisions = self.repeatable.keys().map(|(_, revision, ..)| *revision);
        revisions.min()
    }

    /// Where a write stands among them.
    pub(super) fn place(&self, identity: &Identity) -> Option<usize> {
        self.places.get(identity).copied()
    }

    /// What the lines say that the log leaves out, since a time, and which batches from after the store's last write lack
    /// keys. Keys that records list are there.
    #[must_use]
    pub fn omitted_since(
        &self,
        since: Timestamp,
        last_stored: Option<Timestamp>,
    ) -> Vec<&'static str> {
        let counted = self.omissions.iter().filter(|(_, last)| **last >= since);
        let mut omissions: Vec<_> = counted.map(|(what, _)| *what).collect();
        let of_batches = self
            .events
            .iter()
            .filter(|event| event.method == AdminMethod::BatchRevoke && event.subject.is_some());
        let mut keys = HashMap::<Timestamp, u64>::new();
        for event in of_batches {
            *keys.entry(event.original.time).or_default() += 1;
        }
        let is_incomplete = |event: &&Event| {
            let time = event.original.time;
            let parts = self.batches.get(&(time, event.original.revision));
            let lacks_lines = parts.is_some_and(|(all, read)| {
                *all == 0 || (1..=*all).any(|part| !read.contains(&part))
            });
            let listed = keys.get(&time).copied().unwrap_or_default();
            lacks_lines && listed < event.writes.max(1)
        };
        let mut batches = self.events.iter().filter(|event| event.subject.is_none());
        if batches.any(|event| Some(event.original.time) >= last_stored && is_incomplete(&event)) {
            omissions.push("keys of a BatchRevoke");
        }
        omissions.sort_unstable();
        omissions.dedup();
        omissions
    }
}

/// Two replicas may have written to one thing in the same microsecond. The keys of a batch have its revision in a line,
/// and their own in a record.
fn is_same_write(known: &Event, event: &Event) -> bool {
    let is_batch = event.method == AdminMethod::BatchRevoke;
    let histories = known.history_id.zip(event.history_id);
    (is_batch || known.original.revision == event.original.revision)
        && histories.is_none_or(|(known, told)| known == told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::made_up::{begins, of_key, read, record, time};

    #[test]
    fn a_call_that_found_its_work_done_is_no_second_write() {
        let remove = |revision, at| {
            record(
                'a',
                revision,
                at,
                "RemoveDomain",
                "\"domain\":\"a.example\"",
            )
        };
        for lines in [[remove(7, 1), remove(7, 2)], [remove(7, 2), remove(7, 1)]] {
            let input = read(&lines);
            let [event] = input.events() else {
                panic!("{:?}", input.events());
            };
            assert_eq!(event.original.time, time(1));
        }
        assert_eq!(read(&[remove(7, 1), remove(8, 2)]).events().len(), 2);
    }

    #[test]
    fn more_writes_than_are_allowed_are_refused() {
        let lines = [of_key('a', 1, 1, "Suspend"), of_key('a', 2, 2, "Resume")];
        let twice = lines.concat() + &lines.concat();
        for (max_writes, is_read) in [(2, true), (1, false)] {
            let read = Input::new(max_writes).read("-", twice.as_bytes());
            assert_eq!(read.is_ok(), is_read);
            let why = read.map_err(|error| error.to_string()).err();
            assert!(why.is_none_or(|why| why.starts_with("it has more than 1 writes")));
        }
    }

    #[test]
    fn a_line_is_malformed_that_contradicts_what_another_says_of_a_history() {
        let beginning = begins('b', Some('a'), 10, Some(7));
        let record = |rest: &str| {
            of_key('b', 11, 1, "Suspend").replace("\"caller\"", &format!("{rest},\"caller\""))
        };
        for (line, is_malformed) in [
            (beginning.clone(), false),
            (begins('b', Some('a'), 10, None), false),
            (
                record("\"history_after\":10,\"history_parent\":\"aaaaaaaaaaaaaaaa\""),
                false,
            ),
            (record("\"history_after\":10"), true),
            (record("\"history_after\":-1"), true),
            (begins('b', Some('a'), 11, Some(7)), true),
            (begins('b', Some('c'), 10, Some(7)), true),
            (begins('b', None, 10, Some(7)), true),
            (begins('b', Some('a'), 10, Some(8)), true),
            (beginning.replace(":10", ":null"), true),
            (beginning.replace("bbbb", "bbxb"), true),
        ] {
            let mut input = Input::new(MAX_WRITES);
            let lines = format!("{beginning}{line}");
            input.read("-", lines.as_bytes()).expect("a slice");
            assert_eq!(input.malformed_count, u64::from(is_malformed), "{line}");
        }
    }

    #[test]
    fn a_write_is_of_the_history_that_any_of_its_lines_names() {
        for lines in [['-', 'a'], ['a', '-'], ['a', 'a']] {
            let mut input = Input::new(MAX_WRITES);
            let lines = lines
                .map(|history| of_key(history, 1, 1, "Suspend"))
                .concat();
            input.read("-", lines.as_bytes()).expect("a slice");
            let histories: Vec<_> = input.events().iter().map(|it| it.history_id).collect();
            assert_eq!(histories, [HistoryId::parse("aaaaaaaaaaaaaaaa")]);
        }
    }
}
