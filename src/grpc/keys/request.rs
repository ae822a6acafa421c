//! Turns requests into values. Every field is checked here, and nowhere else.
//!
//! Promises that an invalid field is answered with INVALID_ARGUMENT, which names the field and says
//! what would be right.
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use super::page_token::{self, InvalidPageToken};
use crate::{
    authorize::decision::DomainRule,
    callers::Caller,
    grpc::{
        audited_call::{OfAccount, Unpermitted},
        fields::{account_id, domain, invalid, page_size},
        proto,
        writer::Writer,
    },
    model::{
        account::{AccountId, Accounts},
        domain::Domain,
        key::{Key, KeyId, KeyName, Labels, RequestId, Scope, Status, Version, filter::KeyFilter},
        time::Timestamp,
        token::{Digester, Preview, Token},
    },
    store::{KeyTarget, LIST_SEARCH_LEN, ListQuery, NewKey, Revocation},
};
use proto::revoke_request::Target;
use std::collections::HashMap;

impl OfAccount for NewKey {
    fn account_id(&self) -> Option<&AccountId> {
        Some(&self.key.account_id)
    }

    fn domain(&self) -> Option<&Domain> {
        self.key.scope.as_domain()
    }
}

impl OfAccount for ListQuery {
    fn account_id(&self) -> Option<&AccountId> {
        self.filter.account_id.as_ref()
    }

    fn domain(&self) -> Option<&Domain> {
        self.filter.domain.as_ref()
    }
}

/// Reads a Create. The token and the random bits for the key's id are arguments, so that this
/// function always gives the same result.
pub fn new_key(
    request: proto::CreateRequest,
    writer: Writer<'_>,
    token: &Token,
    digester: &Digester,
    id_bits: &[u8; 10],
    rule: DomainRule,
    max_keys: u32,
) -> Result<Unpermitted<NewKey>, tonic::Status> {
    let now = writer.now;
    let account_id = account_id(request.account_id)?;
    let name = KeyName::parse(&request.name).map_err(|error| invalid("name", error))?;
    let domain = request.domain.map(domain).transpose()?;
    let expire_time = request
        .expire_time
        .map(|time| expire_time(time, now))
        .transpose()?;
    let request_id = request.request_id.map(request_id).transpose()?;
    Ok(Unpermitted::new(NewKey {
        key: Key {
            id: KeyId::new(now, id_bits),
            account_id,
            name,
            preview: token.preview(),
            scope: Scope::from_domain(domain),
            labels: labels(request.labels)?,
            create_time: now,
            expire_time,
            revoke_time: None,
            revoke_reason: None,
            suspension: None,
            predecessor: None,
            successor: None,
            version: Version::FIRST,
            last_used_time: None,
        },
        digest: digester.digest(token),
        request_id,
        must_be_verified: rule == DomainRule::Verified,
        max_keys: Some(max_keys),
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    }))
}

/// Reads a List. The limit of the query is the size of the page.
pub fn list_query(
    request: proto::ListRequest,
    now: Timestamp,
) -> Result<Unpermitted<ListQuery>, tonic::Status> {
    let limit = page_size(request.page_size)?;
    let filter = KeyFilter {
        account_id: listed_account(request.account_id, request.all_accounts)?,
        is_unrevoked: false,
        status: status(request.status)?,
        domain: request.domain.map(domain).transpose()?,
        labels: labels(request.labels)?,
        name_prefix: given(request.name_prefix)
            .map(|prefix| KeyName::parse(&prefix))
            .transpose()
            .map_err(|error| invalid("name_prefix", error))?,
        preview: given(request.preview)
            .map(|preview| Preview::parse(&preview))
            .transpose()
            .map_err(|error| invalid("preview", error))?,
        created_before: None,
        unused_since: request
            .unused_since
            .map(|since| time("unused_since", since))
            .transpose()?,
    };
    let page_token = given(request.page_token);
    let after = page_token.map(|text| page_token::decode(&filter, &text));
    Ok(Unpermitted::new(ListQuery {
        after: after.transpose().map_err(invalid_page_token)?,
        filter,
        limit,
        search_len: LIST_SEARCH_LEN,
        now,
    }))
}

/// The account whose keys are listed. `None` for those of all accounts, which must be asked for: a client
/// that forgets the account must not get those of others.
fn listed_account(text: String, all_accounts: bool) -> Result<Option<AccountId>, tonic::Status> {
    match (all_accounts, text.as_str()) {
        (false, _) => account_id(text).map(Some),
        (true, "") => Ok(None),
        (true, _) => Err(invalid(
            "all_accounts",
            "excludes account_id; give one of them",
        )),
    }
}

fn status(status: i32) -> Result<Option<Status>, tonic::Status> {
    match proto::key::Status::try_from(status) {
        Ok(proto::key::Status::Unspecified) => Ok(None),
        Ok(proto::key::Status::Active) => Ok(Some(Status::Active)),
        Ok(proto::key::Status::Revoked) => Ok(Some(Status::Revoked)),
        Ok(proto::key::Status::Expired) => Ok(Some(Status::Expired)),
        Ok(proto::key::Status::Suspended) => Ok(Some(Status::Suspended)),
        Err(_) => {
            let advice = "is not a status; use STATUS_ACTIVE, STATUS_REVOKED, STATUS_EXPIRED or \
                          STATUS_SUSPENDED, or STATUS_UNSPECIFIED for all";
            Err(invalid("status", advice))
        }
    }
}

/// A text, unless it is empty, which excludes nothing.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The error for a page token that this list did not give.
pub(super) fn invalid_page_token(error: InvalidPageToken) -> tonic::Status {
    invalid("page_token", error)
}

/// Reads a Revoke. The revocation covers only accounts that the caller may touch.
pub fn revocation(
    request: proto::RevokeRequest,
    writer: Writer<'_>,
    digester: &Digester,
) -> Result<Revocation, tonic::Status> {
    let named = request.target.map(|target| match target {
        Target::KeyId(id) => Named::Id(id),
        Target::Token(token) => Named::Token(token),
    });
    Ok(Revocation {
        target: target(named, digester)?,
        accounts: accounts(request.account_id, writer.caller)?,
        now: writer.now,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    })
}

/// How a request names a key.
pub(super) enum Named {
    Id(String),
    Token(String),
}

pub(super) fn target(
    named: Option<Named>,
    digester: &Digester,
) -> Result<KeyTarget, tonic::Status> {
    match named {
        None => Err(invalid("target", "is missing; give key_id or token")),
        Some(Named::Id(id)) => Ok(KeyTarget::Id(key_id(&id)?)),
        Some(Named::Token(text)) => {
            let token = Token::parse(&text).map_err(|error| {
                invalid(
                    "token",
                    format_args!("is {error}; give the whole token, or use key_id"),
                )
            })?;
            Ok(KeyTarget::Digest(digester.digest(&token)))
        }
    }
}

pub(super) fn key_id(text: &str) -> Result<KeyId, tonic::Status> {
    KeyId::parse(text).map_err(|error| invalid("key_id", error))
}

/// Those of the caller's accounts that a request allows.
pub(super) fn accounts(
    account: Option<String>,
    caller: &Caller,
) -> Result<Accounts, tonic::Status> {
    Ok(match account {
        None => caller.accounts.clone(),
        Some(account) => caller.accounts.narrowed_to(account_id(account)?),
    })
}

pub(super) fn request_id(text: String) -> Result<RequestId, tonic::Status> {
    RequestId::parse(text).map_err(|error| invalid("request_id", error))
}

pub(super) fn labels(labels: HashMap<String, String>) -> Result<Labels, tonic::Status> {
    Labels::parse(labels).map_err(|error| invalid("labels", error))
}

pub(super) fn expire_time(
    expire_time: prost_types::Timestamp,
    now: Timestamp,
) -> Result<Timestamp, tonic::Status> {
    let expire_time = time("expire_time", expire_time)?;
    if expire_time <= now {
        return Err(invalid("expire_time", "must lie in the future"));
    }
    Ok(expire_time)
}

/// A time in a field. Digits finer than microseconds are cut off.
pub(super) fn time(
    field: &'static str,
    time: prost_types::Timestamp,
) -> Result<Timestamp, tonic::Status> {
    u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)
        .and_then(|nanos| {
            let micros = time.seconds.checked_mul(1_000_000)?;
            micros.checked_add(i64::from(nanos / 1000))
        })
        .and_then(Timestamp::from_micros)
        .ok_or_else(|| {
            let advice = "is not a time of the years 1970 to 9999; use RFC 3339, such as \
                          2030-01-31T00:00:00Z";
            invalid(field, advice)
        })
}
