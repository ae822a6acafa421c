//! Forms in which a program prints the service's lines with something around them, and how to have the lines alone.
//!
//! Must never repeat a part of a line in an error, because it may be a token.

use super::fields::{Fields, Problem};
use serde_json::Value;

const WITHOUT_JOURNAL: Problem =
    "is as the journal prints it: give what `journalctl --output cat` prints";

/// What stands before a whole object, if anything here is known to print it.
pub(super) fn of_prefix(line: &str) -> Option<Problem> {
    let (prefix, object) = line.split_at(line.find('{')?);
    let prefix = prefix.trim_end();
    let is_whole = serde_json::from_str::<Value>(object).is_ok_and(|object| object.is_object());
    if !is_whole || prefix.is_empty() {
        return None;
    }
    let is_time = |word: &str| word.len() >= 20 && word.ends_with('Z') && word.contains('T');
    let [first, last] = [prefix.split(' ').next(), prefix.split(' ').next_back()];
    if first.is_some_and(|word| word.starts_with("[pod/")) {
        Some("begins with the name of a pod: give what `kubectl logs` prints without --prefix")
    } else if prefix.ends_with('|') {
        Some(
            "begins with the name of a container: give what `docker compose logs --no-log-prefix` prints",
        )
    } else if last.is_some_and(is_time) {
        Some("begins with a time: give what the same command prints without --timestamps")
    } else if prefix.ends_with(':') || prefix.ends_with("MESSAGE=") {
        // `TIME HOST PROGRAM[PROCESS]: TEXT`, as syslog has it too.
        Some(WITHOUT_JOURNAL)
    } else {
        None
    }
}

/// What is wrong with an object that is no line of the service, if it holds one.
pub(super) fn of_object(fields: &Fields<'_>, line: &str) -> Option<Problem> {
    let names_a_call = names_a_call(line);
    match fields.0.get("MESSAGE") {
        // Of a long text, `journalctl` leaves out all, and then nobody knows whose it was.
        Some(text) if names_a_call || !text.is_string() => Some(WITHOUT_JOURNAL),
        None if names_a_call => Some("is wrapped in another object: give what it wraps"),
        _ => None,
    }
}

pub(super) const CALL: &str = "admin call";
pub(super) const BATCH: &str = "keys revoked";
pub(super) const COUNT: &str = "admin calls that have no line of their own";
pub(super) const HISTORY: &str = "history of the store";

/// Whether the message of a line that is to be read stands anywhere in it.
pub(super) fn names_a_call(line: &str) -> bool {
    [CALL, BATCH, COUNT, HISTORY].iter().any(|message| {
        let ends = line.split(message).skip(1);
        ends.map(|rest| rest.trim_start_matches('\\')).any(|rest| {
            rest.starts_with('"') || rest.starts_with(" store_id=") || rest.starts_with(" time=")
        })
    })
}
