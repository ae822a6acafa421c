//! The statuses that more than one part of the gRPC surface answers.
//!
//! Promises that a status tells its reader what happened and what to do.
//! Must never show what a store's driver said, which goes to the log, or what a caller sent.

use crate::{
    callers::{admin_slots::NoAdminSlot, store_turns::NoTurn},
    observe::repeated_line::RepeatedLine,
    store::StoreError,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of this service's reasons in `google.rpc.ErrorInfo`.
const ERROR_DOMAIN: &str = "keys.tosend";

/// The lines about errors of the store, of which every call may cause one.
static UNAVAILABLE: RepeatedLine = RepeatedLine::new();
static FAILED: RepeatedLine = RepeatedLine::new();

/// The one place where an error of the store becomes a status. `advice` says what the caller can do.
pub(super) fn store_failed(error: &StoreError, advice: &str) -> Status {
    match error {
        StoreError::Unavailable(_) | StoreError::OtherStore(_) | StoreError::Busy(_) => {
            if let Some(left_out) = UNAVAILABLE.admit(Instant::now()) {
                tracing::warn!(left_out, "{error}");
            }
            let what = match error {
                StoreError::Busy(_) => "the store of keys is busy with other calls",
                _ => "the store of keys gave no answer",
            };
            unavailable("STORE_UNAVAILABLE", format!("{what}; {advice}"))
        }
        StoreError::OlderReplica => unavailable(
            "OLDER_REPLICA",
            format!("{error}; update every replica, then try again"),
        ),
        StoreError::Disallowed => caller_changed(),
        StoreError::Failed(_) => {
            if let Some(left_out) = FAILED.admit(Instant::now()) {
                tracing::error!(left_out, "{error}");
            }
            Status::internal(format!(
                "the store of keys failed, and the service's log says how; {advice}"
            ))
        }
    }
}

/// A call was not let to the store in time.
pub(super) fn no_turn(error: &NoTurn, advice: &str) -> Status {
    store_failed(&StoreError::Busy(error.to_string()), advice)
}

/// The caller's line in the credentials file is another one than when the call began.
pub(super) fn caller_changed() -> Status {
    let message = "the rights of this caller have just been changed; try again";
    unavailable("CALLER_CHANGED", message.to_owned())
}

/// A read is not answered unless it is on record.
pub(super) fn unrecorded() -> Status {
    let message = "the store of keys gave no answer, and a call without a record is not \
                   answered; try again";
    unavailable("STORE_UNAVAILABLE", message.to_owned())
}

/// The caller has gone, so this reaches nobody but the record.
pub(super) fn abandoned() -> Status {
    Status::cancelled("the caller has gone, and nobody waits for the answer")
}

/// Trouble that passes, with its reason for programs.
pub(super) fn unavailable(reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    Status::with_error_details(Code::Unavailable, message, details)
}

/// The call cannot be carried out as things stand, with its reason for programs.
pub(super) fn failed_precondition(reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// Something that has a limit is used up, with the reason for programs. `subject` is what has the limit.
pub(super) fn quota_exceeded(reason: &str, subject: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    details.add_quota_failure_violation(subject, message);
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// Whether a call was refused because the service is in trouble or has too much to do, whatever was asked. An
/// account that has used up what it may have is not a trouble.
pub(super) fn is_trouble(status: &Status) -> bool {
    may_be_trouble(status.code()) && status.get_details_quota_failure().is_none()
}

/// Whether a status with this code can tell of such trouble.
pub(super) fn may_be_trouble(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Internal | Code::ResourceExhausted
    )
}

/// Somebody else's change came first, with its reason for programs.
pub(super) fn aborted(reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, []);
    Status::with_error_details(Code::Aborted, message, details)
}

/// The caller was known when the call began.
pub(super) fn unauthenticated() -> Status {
    Status::unauthenticated("unknown caller: it is not listed any more")
}

/// Why it is not known who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unauthenticated {
    NoProof,
    NotBearer,
    NoSecret,
    UnknownSecret,
    UnknownCertificate,
    /// The certificate has names of several callers.
    AmbiguousCertificate,
    /// Whatever stands between the client and this server may look at another one than this server does.
    SeveralHeaders,
}

impl Unauthenticated {
    pub(super) fn status(self) -> Status {
        Status::unauthenticated(self.text())
    }

    /// Says what the call has brought, and nothing of what is listed, because a stranger reads it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoProof => {
                "unknown caller: the call has no authorization header, and its connection no client \
                 certificate with a name"
            }
            Self::NotBearer => "unknown caller: the authorization header is not `Bearer SECRET`",
            Self::NoSecret => {
                "unknown caller: the authorization header has no bearer secret of a caller \
                 (`tsop_` and 43 characters)"
            }
            Self::UnknownSecret => "unknown caller: no caller has this bearer secret",
            Self::UnknownCertificate => {
                "unknown caller: no caller has a name of this client certificate"
            }
            Self::AmbiguousCertificate => {
                "unknown caller: this client certificate has names of several callers"
            }
            Self::SeveralHeaders => "the call has more than one authorization header: send one",
        }
    }
}

/// The text says no more, because a caller shall not learn which role or account has the right.
pub(super) fn not_permitted() -> Status {
    Status::permission_denied("not permitted to this caller")
}

/// A call gets no slot for admin calls.
pub(super) fn too_many_admin_calls(why: NoAdminSlot) -> Status {
    let details = ErrorDetails::with_error_info("TOO_MANY_ADMIN_CALLS", ERROR_DOMAIN, []);
    let message = match why {
        NoAdminSlot::AllTaken => "too many admin calls are in flight: try again in a moment",
        NoAdminSlot::OverShare => {
            "this caller has its share of the admin calls that may be in flight, and other callers \
             want theirs: let some of your calls end, then try again"
        }
    };
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// A call that streams its messages gets no slot.
pub(super) fn too_many_streams() -> Status {
    Status::resource_exhausted(
        "too many streams of this caller, or of all, are in flight: end some, then try again",
    )
}

pub(super) fn too_many_streams_of_connection() -> Status {
    Status::resource_exhausted(
        "this connection has as many streams of questions as it may: ask on one of them, or open another \
         connection",
    )
}

/// The end of an answer that has begun, with this status.
pub(super) fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}

/// A call brings more fields of metadata than the service takes.
pub(super) fn too_many_fields(fields: usize, limit: usize) -> Status {
    Status::resource_exhausted(format!(
        "the call's metadata has {fields} fields, and the limit is {limit}: send fewer"
    ))
}

/// A call brings larger metadata than the service takes.
pub(super) fn too_much_metadata(size: usize, limit: u32) -> Status {
    Status::resource_exhausted(format!(
        "the call's metadata takes {size} bytes, each field's name, value and 32 more, and the \
         limit is {limit} (--max-header-size): send less"
    ))
}
