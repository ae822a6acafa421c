//! Lines that tests make up.

use super::input::{Input, MAX_WRITES};
use crate::model::{
    history::{History, HistoryId},
    time::Timestamp,
};

pub(super) const KEY: &str = "key_01m8d4da2afq1t0whwxxddwr9s";

pub(super) fn id(of: char) -> HistoryId {
    HistoryId::parse(&of.to_string().repeat(16)).expect("a hexadecimal digit")
}

fn second(second: u32) -> String {
    format!(
        "2030-01-01T00:{:02}:{:02}.000000Z",
        second / 60,
        second % 60
    )
}

/// An exported record. The history `-` is none.
pub(super) fn record(history: char, revision: i64, at: u32, method: &str, rest: &str) -> String {
    let time = second(at);
    let history = match history {
        '-' => String::new(),
        history => format!("\"history_id\":\"{}\",", id(history)),
    };
    let comma = if rest.is_empty() { "" } else { "," };
    format!(
        "{{\"time\":\"{time}\",\"revision\":{revision},{history}\"caller\":\"ops\",\"method\":\"{method}\",\
         \"account_id\":\"acme\",\"outcome\":\"OK\",\"calls\":1{comma}{rest}}}\n"
    )
}

/// One about a key.
pub(super) fn of_key(history: char, revision: i64, at: u32, method: &str) -> String {
    let key = format!("\"key_id\":\"{KEY}\"");
    record(history, revision, at, method, &key)
}

/// A line of the log that tells where a history begins.
pub(super) fn begins(
    history: char,
    parent: Option<char>,
    after: i64,
    replayed_until: Option<u32>,
) -> String {
    let text = |it: Option<String>| it.map_or("null".to_owned(), |it| format!("\"{it}\""));
    let parent = text(parent.map(|parent| id(parent).to_string()));
    let until = text(replayed_until.map(second));
    format!(
        "{{\"message\":\"history of the store\",\"history_id\":\"{}\",\"parent\":{parent},\"after\":{after},\
         \"replayed_until\":{until}}}\n",
        id(history)
    )
}

/// What a store says of its histories, each with the last revision from before it.
pub(super) fn chain(histories: &[(char, i64)]) -> Vec<History> {
    let mut parent = None;
    let of_store = histories.iter().map(|(history, after)| History {
        id: id(*history),
        parent: parent.replace(id(*history)),
        after: *after,
        replayed_until: None,
    });
    of_store.collect()
}

pub(super) fn read(lines: &[String]) -> Input {
    let mut input = Input::new(MAX_WRITES);
    let read = input.read("-", lines.concat().as_bytes());
    read.expect("a slice");
    assert!(input.malformed.is_empty(), "{:?}", input.malformed);
    input
}

/// A time of a line.
pub(super) fn time(at: u32) -> Timestamp {
    Timestamp::parse_rfc3339(&second(at)).expect("a time")
}

/// One that denies.
pub(super) fn write(history: char, revision: i64, at: u32) -> String {
    of_key(history, revision, at, "Suspend")
}

/// The store was restored to 10 of `a`, where `b` has gone on. It has lost `a` from there on, of which 11 and 12 are
/// listed, and `c`, which went on at 10 too.
pub(super) fn lines_of_two_branches() -> Vec<String> {
    vec![
        begins('a', None, 0, None),
        begins('c', Some('a'), 10, None),
        write('a', 11, 1),
        write('a', 12, 2),
        write('c', 11, 3),
        write('c', 12, 4),
    ]
}
