//! What one line of the log, or one exported audit record, tells.
//!
//! Promises that nothing is read from a malformed line: each field that the write needs is there, and is what it should
//! be. Must never repeat a field in an error, because it may be a token in the wrong place.

use super::{
    event::{Event, Kind, Original, Subject},
    fields::{Fields, Problem},
    other_forms::{self, BATCH, CALL, COUNT, HISTORY, names_a_call},
};
use crate::model::{
    account::AccountId,
    audit_record::{AdminMethod, MethodName},
    domain::Domain,
    history::History,
    key::{KeyEnd, KeyId},
    time::Timestamp,
};
use serde_json::Value;
use uuid::Uuid;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LineContent {
    /// No write.
    Nothing,
    /// A write, or two: a key that was replaced comes after its successor.
    Writes(Vec<Event>),
    /// One of the lines that name the keys of a batch: which one, and of how many. The line about the call comes as
    /// the part 0 of none. The last event is that of the batch itself.
    Batch {
        part: u64,
        parts: u64,
        events: Vec<Event>,
    },
    /// Where a history of the store begins.
    History,
    /// The log leaves out lines, from about this time on. The text says which.
    Omission(Timestamp, &'static str),
}

const NOT_JSON: Problem =
    "is no JSON object: it was cut off, or something stands before or behind it";
const OLD: Problem =
    "is of an earlier release, which did not say what is needed to make the write again";
const UNKNOWN_METHOD: Problem = "names a method that this release does not know";

/// The outcomes of calls whose write may stand.
const MAY_STAND: [&str; 5] = [
    "OK",
    "CANCELLED",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
];

/// What a line says, and about what.
pub(super) struct Line {
    /// The id of the store that it is about, if it has one.
    pub(super) store_id: Option<Uuid>,
    /// When it was written, if it says so.
    pub(super) time: Option<Timestamp>,
    /// Where the history begins that it is about, if it says so.
    pub(super) history: Option<History>,
    pub(super) content: LineContent,
}

const NOTHING: Line = Line {
    store_id: None,
    time: None,
    history: None,
    content: LineContent::Nothing,
};

/// Reads a line.
pub(super) fn read(line: &str) -> Result<Line, Problem> {
    if line.trim().is_empty() {
        return Ok(NOTHING);
    }
    let object = serde_json::from_str(line).ok().filter(Value::is_object);
    let Some(object) = object else {
        let line = line.trim();
        // A part of a line begins or ends like one. Others stand beside them, such as the error of a start.
        return if line.starts_with('{') || line.ends_with('}') {
            Err(other_forms::of_prefix(line).unwrap_or(NOT_JSON))
        } else if names_a_call(line) {
            Err("is of a log that is no JSON: it does not say enough")
        } else {
            Ok(NOTHING)
        };
    };
    let fields = Fields(&object);
    let (mut history, message) = (None, fields.text("message")?);
    let content = match message {
        Some(CALL) => of_call(&fields)?,
        Some(BATCH) => of_batch(&fields)?,
        Some(COUNT) => of_count(&fields)?,
        Some(HISTORY) => {
            history = Some(
                fields
                    .history()?
                    .ok_or("does not say where a history begins")?,
            );
            LineContent::History
        }
        Some(message) if message.starts_with("log lines dropped here") => LineContent::Omission(
            fields.time("timestamp")?.ok_or(OLD)?,
            "lines that the service dropped",
        ),
        None if fields.has("unreadable") => return Err("is a record that could not be read"),
        None if fields.has("calls") && fields.has("caller") => {
            history = fields.history_of_record()?;
            of_record(&fields)?
        }
        // A collector has put the line into a field.
        _ => match other_forms::of_object(&fields, line) {
            Some(problem) => return Err(problem),
            None => LineContent::Nothing,
        },
    };
    let written = fields.time("timestamp").ok().flatten();
    Ok(Line {
        store_id: fields.store_id()?,
        time: written.or_else(|| fields.time("time").ok().flatten()),
        history,
        content,
    })
}

/// A line of the log about one call.
fn of_call(fields: &Fields<'_>) -> Result<LineContent, Problem> {
    let outcome = fields.text("outcome")?.ok_or("has no outcome")?;
    let Some(method) = written_method(fields)? else {
        return Ok(LineContent::Nothing);
    };
    let Some(revision) = fields.revision()? else {
        // A call that wrote nothing has none, and in an earlier release no call has.
        let is_domain = matches!(method, AdminMethod::AddDomain | AdminMethod::RemoveDomain);
        let may_be_done = outcome != "OK" || may_find_done(method) || is_domain;
        let says_so = fields.has("time") && may_be_done;
        return if says_so || !MAY_STAND.contains(&outcome) {
            Ok(LineContent::Nothing)
        } else {
            Err(OLD)
        };
    };
    if outcome == "ALREADY_EXISTS" {
        return Ok(LineContent::Nothing);
    }
    let event = event(fields, method, revision)?;
    if method == AdminMethod::BatchRevoke {
        return Ok(LineContent::Batch {
            part: 0,
            parts: 0,
            events: vec![event],
        });
    }
    let changes_use = matches!(method, AdminMethod::Update | AdminMethod::Rotate);
    if changes_use && event.key_end.is_none() {
        return Err("does not say when the key stops working");
    }
    let mut events = Vec::new();
    if method == AdminMethod::Rotate {
        let successor = fields.key("successor")?.ok_or("names no successor")?;
        events.push(Event {
            original: Original {
                revision: revision - 1,
                ..event.original
            },
            subject: Some(Subject::Key(successor)),
            key_end: None,
            ..event.clone()
        });
    }
    events.push(event);
    Ok(LineContent::Writes(events))
}

/// A line of the log that names keys of a batch.
fn of_batch(fields: &Fields<'_>) -> Result<LineContent, Problem> {
    let number = |name| fields.0.get(name).and_then(Value::as_u64).ok_or(OLD);
    if number("revoked")? == 0 {
        return Ok(LineContent::Nothing);
    }
    let revision = fields.revision()?.ok_or(OLD)?;
    let (part, parts, revoked) = (number("part")?, number("parts")?, number("revoked")?);
    let ids = fields.text("key_ids")?.ok_or(OLD)?;
    let time = fields.time("time")?.ok_or(OLD)?;
    let whole = Event {
        history_id: fields.history_id("history_id")?,
        original: Original { revision, time },
        writes: revoked,
        caller: fields.caller()?,
        method: AdminMethod::BatchRevoke,
        subject: None,
        account_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        is_stored: false,
    };
    let keys = ids.split_whitespace().map(|id| {
        let id = KeyId::parse(id).map_err(|_| "has an invalid key id")?;
        Ok(Event {
            writes: 0,
            subject: Some(Subject::Key(id)),
            ..whole.clone()
        })
    });
    let mut events: Vec<_> = keys.collect::<Result<_, Problem>>()?;
    events.push(whole.clone());
    Ok(LineContent::Batch {
        part,
        parts,
        events,
    })
}

/// A line of the log that counts calls.
fn of_count(fields: &Fields<'_>) -> Result<LineContent, Problem> {
    let outcome = fields.text("outcome")?.ok_or("has no outcome")?;
    let writes = written_method(fields)?.is_some_and(|method| method != AdminMethod::Create);
    if writes && MAY_STAND.contains(&outcome) {
        let time = fields.time("timestamp")?.ok_or("has no timestamp")?;
        return Ok(LineContent::Omission(
            time,
            "calls that have no line of their own",
        ));
    }
    Ok(LineContent::Nothing)
}

/// An audit record.
fn of_record(fields: &Fields<'_>) -> Result<LineContent, Problem> {
    let outcome = fields.text("outcome")?.ok_or("has no outcome")?;
    let Some(method) = written_method(fields)? else {
        return Ok(LineContent::Nothing);
    };
    if outcome != "OK" {
        return Ok(LineContent::Nothing);
    }
    let Some(revision) = fields.revision()? else {
        return if may_find_done(method) {
            Ok(LineContent::Nothing)
        } else {
            Err(OLD)
        };
    };
    let event = event(fields, method, revision)?;
    Ok(LineContent::Writes(vec![event]))
}

/// Whether a call that succeeds may have found that nothing was left to write, and then is on record without a revision.
fn may_find_done(method: AdminMethod) -> bool {
    matches!(method, AdminMethod::Revoke | AdminMethod::BatchRevoke)
}

/// The method, if it writes. A dry run does not.
fn written_method(fields: &Fields<'_>) -> Result<Option<AdminMethod>, Problem> {
    let name = fields.text("method")?.ok_or("has no method")?;
    if name.ends_with("DryRun") || name == MethodName::accept_restore().as_str() {
        return Ok(None);
    }
    let method = AdminMethod::named(name).ok_or(UNKNOWN_METHOD)?;
    Ok(method.writes().then_some(method))
}

/// The write that a line of the log or a record tells of.
fn event(fields: &Fields<'_>, method: AdminMethod, revision: i64) -> Result<Event, Problem> {
    let account_id = fields.text("account_id")?;
    let account_id = account_id.map(|text| AccountId::parse(text.to_owned()));
    let account_id = account_id
        .transpose()
        .map_err(|_| "has an invalid account id")?;
    let domain = fields.text("domain")?;
    let domain = domain.map(|text| Domain::parse(text.to_owned()));
    let domain = domain.transpose().map_err(|_| "has an invalid domain")?;
    let key_end = fields.text("key_end")?;
    let key_end = key_end.map(|text| KeyEnd::parse(text).ok_or("has an invalid time"));
    let include_subdomains = match fields.0.get("include_subdomains") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(included)) => Some(*included),
        Some(_) => return Err("has a field that is neither true nor false and should be"),
    };
    if method == AdminMethod::BatchRevoke {
        return batch_event(fields, revision, account_id);
    }
    let subject = match Kind::of(method) {
        Kind::Account => Subject::Account(account_id.clone().ok_or("names no account")?),
        Kind::Domain => Subject::Domain(
            account_id.clone().ok_or("names no account")?,
            domain.clone().ok_or("names no domain")?,
        ),
        Kind::Key => Subject::Key(fields.key("key_id")?.ok_or("names no key")?),
    };
    if method == AdminMethod::AddDomain && include_subdomains.is_none() {
        return Err("does not say whether subdomains were included");
    }
    Ok(Event {
        history_id: fields.history_id("history_id")?,
        original: Original {
            revision,
            time: fields.time("time")?.ok_or("has no time")?,
        },
        writes: 1,
        caller: fields.caller()?,
        method,
        subject: Some(subject),
        account_id,
        domain,
        include_subdomains,
        key_end: key_end.transpose()?,
        is_stored: false,
    })
}

/// The record of a whole batch names no key, and has the revision of the last write before it ended.
fn batch_event(
    fields: &Fields<'_>,
    revision: i64,
    account_id: Option<AccountId>,
) -> Result<Event, Problem> {
    let key_id = fields.key("key_id")?;
    Ok(Event {
        history_id: fields.history_id("history_id")?,
        original: Original {
            revision,
            time: fields.time("time")?.ok_or("has no time")?,
        },
        writes: u64::from(key_id.is_some()),
        caller: fields.caller()?,
        method: AdminMethod::BatchRevoke,
        subject: key_id.map(Subject::Key),
        account_id,
        domain: None,
        include_subdomains: None,
        key_end: None,
        is_stored: false,
    })
}
