//! The append-only record of who did what: the trait [`AuditLog`].
//!
//! A write's record is not appended here: the store keeps it in the write's own transaction.

use super::StoreError;
use crate::model::audit_record::AuditRecord;
use async_trait::async_trait;
use std::io;

/// Takes the records of calls that wrote nothing.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends all of these records, durably, or none.
    async fn append_records(&self, records: &[AuditRecord]) -> Result<(), StoreError>;
}

/// Takes one audit record that was read, and may refuse to take more.
pub type ApplyRecord<'a> = dyn FnMut(AuditRecord) -> io::Result<()> + 'a;
