//! Records calls that wrote nothing, and bounds what admin calls log.

mod allowances;
mod lines;
pub mod recorder;

use crate::model::{
    audit_record::{AuditRecord, MethodName, Outcome},
    caller_name::CallerName,
};

/// What the calls have in common that one record or one log line stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Alike {
    caller: CallerName,
    method: MethodName,
    outcome: Outcome,
}

impl Alike {
    fn of(record: &AuditRecord) -> Self {
        Self {
            caller: record.caller.clone(),
            method: record.method.clone(),
            outcome: record.outcome.clone(),
        }
    }
}
