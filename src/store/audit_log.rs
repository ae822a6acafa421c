//! The append-only record of who did what: the trait [`AuditLog`].
//!
//! A write's record is not appended here: the store keeps it in the write's own transaction.

use super::StoreError;
use crate::model::{audit_record::AuditRecord, history::History};
use async_trait::async_trait;
use std::io;
use uuid::Uuid;

/// Takes the records of calls that wrote nothing.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends all of these records, or none.
    async fn append_records(&self, records: &[AuditRecord]) -> Result<Appended, StoreError>;
}

/// How records are stored that were appended. Whoever appends them again stores them twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// As durably as a write that is acknowledged.
    Durably,
    /// No synchronous standby has them yet, so nothing may be acknowledged that depends on them.
    OnPrimaryAlone,
}

/// A stored record, or what keeps it from being read.
pub type ReadRecord = Result<AuditRecord, Unreadable>;

/// Of what a record is. A role with the grants of an earlier release may see neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordOrigin {
    /// The store.
    pub store_id: Option<Uuid>,
    /// The history, if the record has a revision.
    pub history: Option<History>,
}

/// Takes one audit record that was read, and may refuse to take more.
pub type ApplyRecord<'a> = dyn FnMut(RecordOrigin, ReadRecord) -> io::Result<()> + 'a;

/// A stored record that is not as this service writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {number} cannot be read: {why}")]
pub struct Unreadable {
    /// The record's `number` in the table.
    pub number: i64,
    /// What is wrong with it.
    pub why: String,
}
