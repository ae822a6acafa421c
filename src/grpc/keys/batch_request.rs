//! Turns a `BatchRevoke` into values.
//!
//! Promises that an invalid field is answered with INVALID_ARGUMENT, which names the field and says
//! what would be right. Tokens are digested here, and go no further.
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use super::{
    change_requests::reason,
    request::{Named, accounts, key_id, labels, target, time},
};
use crate::{
    callers::Caller,
    grpc::{
        audited_call::{OfAccount, Unpermitted},
        fields::{account_id, domain, invalid},
        proto,
    },
    model::{
        account::AccountId,
        domain::Domain,
        key::{Reason, filter::KeyFilter},
        token::Digester,
    },
    store::{KeyTarget, MAX_BATCH, Selection},
};
use proto::batch_revoke_request::{Filter, Keys, Selection as ProtoSelection};
use tonic::Status;

/// What a `BatchRevoke` asks for.
#[derive(Debug)]
pub struct Batch {
    /// Which keys to revoke.
    pub selection: BatchSelection,
    /// Why.
    pub reason: Reason,
    /// Whether to say only how many they are.
    pub is_dry_run: bool,
}

/// Which keys to revoke.
#[derive(Debug)]
pub enum BatchSelection {
    /// Those of an account that a filter selects.
    Filter(Unpermitted<KeyFilter>),
    /// These.
    Keys(Selection),
}

impl OfAccount for KeyFilter {
    fn account_id(&self) -> Option<&AccountId> {
        self.account_id.as_ref()
    }

    fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }
}

/// Reads a `BatchRevoke`.
pub fn batch(
    request: proto::BatchRevokeRequest,
    caller: &Caller,
    digester: &Digester,
) -> Result<Batch, Status> {
    let selection = match request.selection {
        None => Err(invalid("selection", "is missing; give filter or keys")),
        Some(ProtoSelection::Filter(filter)) => self::filter(filter, request.account_id),
        Some(ProtoSelection::Keys(keys)) => self::keys(keys, request.account_id, caller, digester),
    };
    Ok(Batch {
        selection: selection?,
        reason: reason(&request.reason)?,
        is_dry_run: request.dry_run,
    })
}

fn filter(filter: Filter, account: Option<String>) -> Result<BatchSelection, Status> {
    let created_before = filter.create_time_before;
    let created_before = created_before.map(|it| time("create_time_before", it));
    let filter = KeyFilter {
        account_id: Some(account_id(account.unwrap_or_default())?),
        is_unrevoked: true,
        domain: filter.domain.map(domain).transpose()?,
        labels: labels(filter.labels)?,
        created_before: created_before.transpose()?,
        unused_since: filter
            .unused_since
            .map(|since| time("unused_since", since))
            .transpose()?,
        ..KeyFilter::default()
    };
    Ok(BatchSelection::Filter(Unpermitted::new(filter)))
}

fn keys(
    keys: Keys,
    account: Option<String>,
    caller: &Caller,
    digester: &Digester,
) -> Result<BatchSelection, Status> {
    let count = keys.key_ids.len() + keys.tokens.len();
    if !(1..=MAX_BATCH).contains(&count) {
        let advice = "must have 1 to 10000 key_ids and tokens together";
        return Err(invalid("keys", advice));
    }
    let ids = keys.key_ids.iter().map(|id| Ok(KeyTarget::Id(key_id(id)?)));
    let mut targets = ids.collect::<Result<Vec<_>, Status>>()?;
    for token in keys.tokens {
        targets.push(target(Some(Named::Token(token)), digester)?);
    }
    let accounts = accounts(account, caller)?;
    Ok(BatchSelection::Keys(Selection::new(targets, accounts)))
}
