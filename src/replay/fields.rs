//! The fields of a line, each of which is read as what it should be.
//!
//! Must never repeat a field in an error, because it may be a token in the wrong place.

use crate::model::{
    caller_name::CallerName,
    history::{History, HistoryId},
    key::KeyId,
    time::Timestamp,
};
use serde_json::Value;
use uuid::Uuid;

/// What is wrong with a line.
pub(super) type Problem = &'static str;

/// The fields of one line.
pub(super) struct Fields<'a>(pub(super) &'a Value);

impl<'a> Fields<'a> {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    /// A text, or none. A field of another kind is wrong.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err("has a field that is no text and should be"),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let text = self.text(name)?;
        text.map(|text| Timestamp::parse_rfc3339(text).ok_or("has an invalid time"))
            .transpose()
    }

    pub(super) fn key(&self, name: &str) -> Result<Option<KeyId>, Problem> {
        let text = self.text(name)?;
        text.map(|text| KeyId::parse(text).map_err(|_| "has an invalid key id"))
            .transpose()
    }

    pub(super) fn caller(&self) -> Result<CallerName, Problem> {
        let name = self.text("caller")?.ok_or("names no caller")?;
        CallerName::parse_recorded(name).map_err(|_| "has an invalid caller's name")
    }

    pub(super) fn store_id(&self) -> Result<Option<Uuid>, Problem> {
        let text = self.text("store_id")?;
        text.map(|text| Uuid::parse_str(text).map_err(|_| "has an invalid store id"))
            .transpose()
    }

    pub(super) fn revision(&self) -> Result<Option<i64>, Problem> {
        match self.0.get("revision") {
            None | Some(Value::Null) => Ok(None),
            Some(number) => match number.as_i64() {
                Some(revision) if revision > 0 => Ok(Some(revision)),
                _ => Err("has an invalid revision"),
            },
        }
    }

    pub(super) fn history_id(&self, name: &str) -> Result<Option<HistoryId>, Problem> {
        let text = self.text(name)?;
        text.map(|text| HistoryId::parse(text).ok_or("has an invalid id of a history"))
            .transpose()
    }

    /// What a line says that is about a history alone.
    pub(super) fn history(&self) -> Result<Option<History>, Problem> {
        let id = self.history_id("history_id")?;
        let parent = self.history_id("parent")?;
        let replayed_until = self.time("replayed_until")?;
        let after = self.beginning("after")?;
        Ok(id.zip(after).map(|(id, after)| History {
            id,
            parent,
            after,
            replayed_until,
        }))
    }

    /// What a record says of its history.
    pub(super) fn history_of_record(&self) -> Result<Option<History>, Problem> {
        let id = self.history_id("history_id")?;
        let parent = self.history_id("history_parent")?;
        let after = self.beginning("history_after")?;
        Ok(id.zip(after).map(|(id, after)| History {
            id,
            parent,
            after,
            replayed_until: None,
        }))
    }

    /// The last revision from before a history.
    fn beginning(&self, name: &str) -> Result<Option<i64>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(number) => match number.as_i64() {
                Some(revision) if revision >= 0 => Ok(Some(revision)),
                _ => Err("has an invalid revision"),
            },
        }
    }
}
