//! Owns the way from requests to values: every field is checked here, once.
//! Promises an INVALID_ARGUMENT that names the field and what is right.
//! Must never repeat a field's text in an error: it may hold a token, in the wrong field even.

use super::{page_token, proto};
use crate::{
    domain::Domain,
    key::{AccountId, Key, KeyId, KeyName, RequestId, Scope, Status, Timestamp},
    store::{ListQuery, NewKey, Revocation, RevokeTarget},
    token::{Digester, Token},
};
use proto::revoke_request::Target;
use std::{fmt, time::Duration};
use tonic::{Code, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

const DEFAULT_PAGE_SIZE: i32 = 50;
const MAX_PAGE_SIZE: i32 = 1000;

/// A key to be stored, from a Create. The token and the id's random bits are drawn by the caller.
pub(super) fn new_key(
    request: proto::CreateRequest,
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
        .map(|time| future(time, now))
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
    })
}

/// A query for one page, from a List. Its limit is the page's size.
pub(super) fn list_query(
    request: proto::ListRequest,
    now: Timestamp,
) -> Result<ListQuery, tonic::Status> {
    let account_id = account_id(request.account_id)?;
    let limit = match request.page_size {
        0 => DEFAULT_PAGE_SIZE,
        1..=MAX_PAGE_SIZE => request.page_size,
        _ => {
            let right = "must be from 1 to 1000, or 0 for the default of 50";
            return Err(invalid("page_size", right));
        }
    };
    let status = match proto::key::Status::try_from(request.status) {
        Ok(proto::key::Status::Unspecified) => None,
        Ok(proto::key::Status::Active) => Some(Status::Active),
        Ok(proto::key::Status::Revoked) => Some(Status::Revoked),
        Ok(proto::key::Status::Expired) => Some(Status::Expired),
        Err(_) => {
            let right = "is not a status; use STATUS_ACTIVE, STATUS_REVOKED or STATUS_EXPIRED, or \
                         STATUS_UNSPECIFIED for all";
            return Err(invalid("status", right));
        }
    };
    let mut query = ListQuery {
        account_id,
        status,
        domain: request.domain.map(domain).transpose()?,
        before: None,
        limit: limit.unsigned_abs() as usize,
        now,
    };
    if !request.page_token.is_empty() {
        let before = page_token::decode(&query, &request.page_token)
            .map_err(|error| invalid("page_token", error))?;
        query.before = Some(before);
    }
    Ok(query)
}

/// A revocation, from a Revoke.
pub(super) fn revocation(
    request: proto::RevokeRequest,
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
                    format_args!("is {error}; give it whole, or use key_id"),
                )
            })?;
            RevokeTarget::Digest(digester.digest(&token))
        }
    };
    Ok(Revocation {
        target,
        account_id: request.account_id.map(self::account_id).transpose()?,
        now,
    })
}

/// How long the caller waits, by its own word, if it said so: the `grpc-timeout` of "gRPC over
/// HTTP2", up to 8 digits and a unit.
pub(super) fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A sending domain, from an Authorize; also every other field that is called `domain`.
pub(super) fn domain(text: String) -> Result<Domain, tonic::Status> {
    Domain::parse(text).map_err(|error| invalid("domain", error))
}

fn account_id(text: String) -> Result<AccountId, tonic::Status> {
    AccountId::parse(text).map_err(|error| invalid("account_id", error))
}

fn future(time: prost_types::Timestamp, now: Timestamp) -> Result<Timestamp, tonic::Status> {
    let time = u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)
        .and_then(|nanos| {
            let micros = time.seconds.checked_mul(1_000_000)?;
            micros.checked_add(i64::from(nanos / 1000))
        })
        .and_then(Timestamp::from_micros)
        .ok_or_else(|| {
            let right = "is not a time of the years 1970 to 9999; use RFC 3339, such as \
                         2030-01-31T00:00:00Z";
            invalid("expire_time", right)
        })?;
    if time <= now {
        return Err(invalid("expire_time", "must lie in the future"));
    }
    Ok(time)
}

/// Bad input: `field` is wrong, and `what` says what is right.
fn invalid(field: &'static str, what: impl fmt::Display) -> tonic::Status {
    let what = what.to_string();
    tonic::Status::with_error_details(
        Code::InvalidArgument,
        format!("{field} {what}"),
        ErrorDetails::with_bad_request_violation(field, what),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callers_patience_is_read_in_every_unit_or_not_at_all() {
        let read = |text: &'static str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ASCII"));
            patience(&metadata)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("4S"), Some(Duration::from_secs(4)));
        assert_eq!(read("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(read("5u"), Some(Duration::from_micros(5)));
        assert_eq!(read("6n"), Some(Duration::from_nanos(6)));
        for nonsense in ["", "S", "5", "5s", "-5S", "+5S", "123456789S", "5 S"] {
            assert_eq!(read(nonsense), None, "{nonsense:?}");
        }
        assert_eq!(patience(&MetadataMap::new()), None);
    }
}
