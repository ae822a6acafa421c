//! A call on its way through the layers, and what they read of it.
//!
//! Owns a call's method, which is looked up once, and its status, where gRPC puts it.
//! Promises the names of OpenTelemetry's semantic conventions for RPC, version 1.42.
//! Must never give out a text that a caller chose.

use super::{layers::LargeMessage, methods::Method};
use crate::net::reload::Version;
use futures::future::BoxFuture;
use http::{HeaderMap, Request};
use std::time::Instant;
use tonic::{Code, body::Body};

/// The `rpc.system.name` of every call.
pub(super) const SYSTEM: &str = "grpc";

/// The `rpc.method` of a method that is not served.
pub(super) const OTHER: &str = "_OTHER";

/// A request, with the method that its path names.
///
/// The outermost layer looks the method up and reads the clock, and the layers within take a `Call` instead of a
/// request. So the look-up is made once, and needs no place in the request's extensions, each of
/// which costs an allocation.
pub struct Call {
    pub(super) method: Option<Method>,
    pub(super) request: Request<Body>,
    pub(super) began: Instant,
    /// The share that its caller may take if the message is large, if it may be.
    pub(super) large: Option<LargeMessage>,
    /// By which credentials the call passed, if no handler asks again.
    pub(super) passed_by: Option<Version>,
    /// Ready when nobody knows the caller any more, if the call streams its messages.
    pub(super) until_unknown: Option<BoxFuture<'static, ()>>,
}

impl Call {
    /// Looks up which method is called.
    #[must_use]
    pub fn new(request: Request<Body>) -> Self {
        let method = Method::of_path(request.uri().path());
        Self {
            method,
            request,
            began: Instant::now(),
            large: None,
            passed_by: None,
            until_unknown: None,
        }
    }

    /// The call's `rpc.method`.
    pub(super) fn method_name(&self) -> &'static str {
        self.method.map_or(OTHER, Method::name)
    }
}

/// The status in headers or trailers. An answer without a message has it in its headers, and an
/// answer with messages in the trailers behind the last one.
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// Every code, each at the index that is its number.
pub(super) const CODES: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// The code's name in gRPC's documentation.
pub(super) fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_at_its_number() {
        for (number, code) in (0..).zip(CODES) {
            assert_eq!(code as i32, number);
        }
    }
}
