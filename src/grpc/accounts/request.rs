//! Turns requests about accounts into values. Every field is checked here, or in `fields`.
//!
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use crate::{
    grpc::{
        audited_call::{OfAccount, Unpermitted},
        fields::account_id,
        keys::reason,
        proto,
        writer::Writer,
    },
    model::account::AccountId,
    store::SuspensionChange,
};
use tonic::Status;

impl OfAccount for SuspensionChange {
    fn account_id(&self) -> Option<&AccountId> {
        Some(&self.account_id)
    }
}

impl OfAccount for AccountId {
    fn account_id(&self) -> Option<&AccountId> {
        Some(self)
    }
}

/// Reads a `SuspendAccount`.
pub fn suspension(
    request: proto::SuspendAccountRequest,
    writer: Writer<'_>,
) -> Result<Unpermitted<SuspensionChange>, Status> {
    Ok(Unpermitted::new(SuspensionChange {
        account_id: account_id(request.account_id)?,
        reason: Some(reason(&request.reason)?),
        now: writer.now,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    }))
}

/// Reads a `ResumeAccount`.
pub fn resumption(
    request: proto::ResumeAccountRequest,
    writer: Writer<'_>,
) -> Result<Unpermitted<SuspensionChange>, Status> {
    Ok(Unpermitted::new(SuspensionChange {
        account_id: account_id(request.account_id)?,
        reason: None,
        now: writer.now,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    }))
}

/// Reads a `GetAccount`.
pub fn account(request: proto::GetAccountRequest) -> Result<Unpermitted<AccountId>, Status> {
    account_id(request.account_id).map(Unpermitted::new)
}
