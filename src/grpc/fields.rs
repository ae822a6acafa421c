//! Reads the fields that requests of several services have.
//!
//! Promises that an invalid field is answered with INVALID_ARGUMENT, which names the field and says
//! what would be right.
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use crate::model::{account::AccountId, domain::Domain};
use std::fmt;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const DEFAULT_PAGE_SIZE: i32 = 50;
const MAX_PAGE_SIZE: i32 = 1000;

pub(super) fn account_id(text: String) -> Result<AccountId, Status> {
    AccountId::parse(text).map_err(|error| invalid("account_id", error))
}

/// A domain of any request.
pub fn domain(text: String) -> Result<Domain, Status> {
    Domain::parse(text).map_err(|error| invalid("domain", error))
}

/// How many things a page has at most.
pub(super) fn page_size(size: i32) -> Result<usize, Status> {
    let size = match size {
        0 => DEFAULT_PAGE_SIZE,
        1..=MAX_PAGE_SIZE => size,
        _ => {
            let advice = "must be from 1 to 1000, or 0 for the default of 50";
            return Err(invalid("page_size", advice));
        }
    };
    Ok(size.unsigned_abs() as usize)
}

/// The error for an invalid field. `description` goes on where the field's name ends.
pub(super) fn invalid(field: &'static str, description: impl fmt::Display) -> Status {
    let description = description.to_string();
    Status::with_error_details(
        Code::InvalidArgument,
        format!("{field} {description}"),
        ErrorDetails::with_bad_request_violation(field, description),
    )
}
