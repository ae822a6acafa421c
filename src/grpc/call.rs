//! Owns what is read of every call: its method, by its path, and its status, where gRPC puts it.
//! Promises the names of OpenTelemetry's semantic conventions for RPC, version 1.42.
//! Must never give out a text that a caller chose.

use super::{DESCRIPTOR_SETS, proto::key_service_server::SERVICE_NAME};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body as HttpBody;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use std::sync::LazyLock;
use tonic::{Code, body::Body};

/// The `rpc.system.name` of every call.
pub(super) const SYSTEM: &str = "grpc";

/// The `rpc.method` of a method that is not served.
pub(super) const OTHER: &str = "_OTHER";

/// The methods that are served, each as `SERVICE/METHOD` and once.
pub(super) static METHODS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let sets = DESCRIPTOR_SETS.map(FileDescriptorSet::decode);
    let files = sets
        .into_iter()
        .flat_map(|set| set.expect("the embedded descriptors are valid").file);
    let mut methods: Vec<_> = files.flat_map(methods).collect();
    methods.sort();
    methods.dedup();
    methods
});

fn methods(file: FileDescriptorProto) -> Vec<String> {
    let package = file.package.unwrap_or_default();
    let methods = file.service.into_iter().flat_map(|service| {
        let prefix = format!("{package}.{}/", service.name());
        service
            .method
            .into_iter()
            .map(move |method| format!("{prefix}{}", method.name()))
    });
    methods.collect()
}

/// The place among [`METHODS`] of the one that a request's path names. They are few, and hardly two
/// of a length, so that looking at each is faster than hashing.
pub(super) fn method(path: &str) -> Option<usize> {
    let name = path.strip_prefix('/')?;
    METHODS.iter().position(|method| method == name)
}

/// The method of `KeyService` that a request's path names, served or not.
pub(super) fn key_service_method(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    path.strip_prefix(SERVICE_NAME)?.strip_prefix('/')
}

/// The status that headers or trailers hold: a call's is in its headers when it has no message, and
/// behind the last one otherwise.
pub(super) fn status(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get("grpc-status")?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// Gives a call that failed before its first answer another status, if it has just this one.
pub(super) fn rename_status(mut response: Response<Body>, from: Code, to: Code) -> Response<Body> {
    // It has all in its headers, and no body.
    if response.body().is_end_stream() && status(response.headers()) == Some(from) {
        let number = HeaderValue::from(to as i32);
        response.headers_mut().insert("grpc-status", number);
    }
    response
}

/// Every code, each at the place of its number.
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

/// As gRPC writes it.
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
    fn a_path_names_a_method_that_is_served_and_nothing_less_or_more() {
        let authorize = "/tosend.keys.v1.KeyService/Authorize";
        let at = method(authorize).expect("it is served");
        assert_eq!(METHODS[at], authorize[1..]);
        for path in ["", "/", &authorize[1..], &format!("/{authorize}"), "/a/b"] {
            assert_eq!(method(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_is_key_services_by_its_whole_name() {
        for method in ["Authorize", "Rotate", ""] {
            let path = format!("/tosend.keys.v1.KeyService/{method}");
            assert_eq!(key_service_method(&path), Some(method));
        }
        for other in [
            "",
            "/",
            "/tosend.keys.v1.KeyService",
            "/tosend.keys.v1.KeyServices/Authorize",
            "tosend.keys.v1.KeyService/Authorize",
            "/grpc.health.v1.Health/Check",
        ] {
            assert_eq!(key_service_method(other), None, "{other}");
        }
    }

    #[test]
    fn every_code_stands_at_its_number() {
        for (number, code) in (0..).zip(CODES) {
            assert_eq!(code as i32, number);
        }
    }
}
