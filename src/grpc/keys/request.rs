//! Turns requests into values. Every field is checked here, and nowhere else.
//!
//! Promises that an invalid field is answered with INVALID_ARGUMENT, which names the field and says
//! what would be right.
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use super::page_token::{self, InvalidPageToken};
use crate::{
    callers::Caller,
    grpc::proto,
    model::{
        account::AccountId,
        caller_name::CallerName,
        domain::Domain,
        key::{Key, KeyId, KeyName, RequestId, Scope, Status},
        time::Timestamp,
        token::{Digester, Token},
    },
    store::{ListQuery, NewKey, Revocation, RevokeTarget},
};
use proto::revoke_request::Target;
use std::fmt;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt};

const DEFAULT_PAGE_SIZE: i32 = 50;
const MAX_PAGE_SIZE: i32 = 1000;

/// Reads a Create. The token and the random bits for the key's id are arguments, so that this
/// function always gives the same result.
pub fn new_key(
    request: proto::CreateRequest,
    caller: &CallerName,
    token: &Token,
    digester: &Digester,
    id_bits: &[u8; 10],
    now: Timestamp,
) -> Result<NewKey, tonic::Status> {
    let account_id = account_id(request.account_id)?;
    let name = KeyName::parse(&request.name).map_err(|error| invalid("name", error))?;
    let domain = request.domain.map(domain).transpose()?;
    let expire_time = request
        .expire_time
        .map(|time| expire_time(time, now))
        .transpose()?;
    let request_id = request
        .request_id
        .map(|id| RequestId::parse(id).map_err(|error| invalid("request_id", error)))
        .transpose()?;
    Ok(NewKey {
        key: Key {
            id: KeyId::new(now, id_bits),
            account_id,
            name,
            preview: token.preview(),
            scope: Scope::from_domain(domain),
            create_time: now,
            expire_time,
            revoke_time: None,
        },
        digest: digester.digest(token),
        request_id,
        caller: caller.clone(),
    })
}

/// Reads a List. The limit of the query is the size of the page.
pub fn list_query(request: proto::ListRequest, now: Timestamp) -> Result<ListQuery, tonic::Status> {
    let account_id = account_id(request.account_id)?;
    let limit = match request.page_size {
        0 => DEFAULT_PAGE_SIZE,
        1..=MAX_PAGE_SIZE => request.page_size,
        _ => {
            let advice = "must be from 1 to 1000, or 0 for the default of 50";
            return Err(invalid("page_size", advice));
        }
    };
    let status = match proto::key::Status::try_from(request.status) {
        Ok(proto::key::Status::Unspecified) => None,
        Ok(proto::key::Status::Active) => Some(Status::Active),
        Ok(proto::key::Status::Revoked) => Some(Status::Revoked),
        Ok(proto::key::Status::Expired) => Some(Status::Expired),
        Err(_) => {
            let advice = "is not a status; use STATUS_ACTIVE, STATUS_REVOKED or STATUS_EXPIRED, or \
                          STATUS_UNSPECIFIED for all";
            return Err(invalid("status", advice));
        }
    };
    let mut query = ListQuery {
        account_id,
        status,
        domain: request.domain.map(domain).transpose()?,
        after: None,
        limit: limit.unsigned_abs() as usize,
        now,
    };
    if !request.page_token.is_empty() {
        let after = page_token::decode(&query, &request.page_token).map_err(invalid_page_token)?;
        query.after = Some(after);
    }
    Ok(query)
}

/// The error for a page token that this list did not give.
pub(super) fn invalid_page_token(error: InvalidPageToken) -> tonic::Status {
    invalid("page_token", error)
}

/// Reads a Revoke. The revocation covers only accounts that the caller may touch.
pub fn revocation(
    request: proto::RevokeRequest,
    caller: &Caller,
    digester: &Digester,
    now: Timestamp,
) -> Result<Revocation, tonic::Status> {
    let target = match request.target {
        None => return Err(invalid("target", "is missing; give key_id or token")),
        Some(Target::KeyId(id)) => {
            RevokeTarget::Id(KeyId::parse(&id).map_err(|error| invalid("key_id", error))?)
        }
        Some(Target::Token(text)) => {
            let token = Token::parse(&text).map_err(|error| {
                invalid(
                    "token",
                    format_args!("is {error}; give the whole token, or use key_id"),
                )
            })?;
            RevokeTarget::Digest(digester.digest(&token))
        }
    };
    Ok(Revocation {
        target,
        accounts: match request.account_id {
            None => caller.accounts.clone(),
            Some(account) => caller.accounts.narrowed_to(account_id(account)?),
        },
        now,
        caller: caller.name.clone(),
    })
}

/// Reads the field `domain` of any request.
pub fn domain(text: String) -> Result<Domain, tonic::Status> {
    Domain::parse(text).map_err(|error| invalid("domain", error))
}

fn account_id(text: String) -> Result<AccountId, tonic::Status> {
    AccountId::parse(text).map_err(|error| invalid("account_id", error))
}

fn expire_time(time: prost_types::Timestamp, now: Timestamp) -> Result<Timestamp, tonic::Status> {
    let time = u32::try_from(time.nanos)
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
            invalid("expire_time", advice)
        })?;
    if time <= now {
        return Err(invalid("expire_time", "must lie in the future"));
    }
    Ok(time)
}

/// The error for an invalid field. `description` goes on where the field's name ends.
fn invalid(field: &'static str, description: impl fmt::Display) -> tonic::Status {
    let description = description.to_string();
    tonic::Status::with_error_details(
        Code::InvalidArgument,
        format!("{field} {description}"),
        ErrorDetails::with_bad_request_violation(field, description),
    )
}
