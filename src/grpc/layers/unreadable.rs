//! Requests that cannot be read as calls of gRPC.
//!
//! Owns what is wrong with them, and the status that says so.
//! Promises `INVALID_ARGUMENT`, which counts as the client's mistake and raises no alert.
//! Must never repeat what could not be read, which may hold a token.
//!
//! gRPC's own implementations answer `INTERNAL` to most of these, and `UNIMPLEMENTED` to a second
//! message (`doc/statuscodes.md` of gRPC; `checkRecvPayload` in grpc-go). Here `INTERNAL` says that the
//! store failed, and raises an alert. gRPC's libraries never send such requests, so no client depends on
//! gRPC's own codes for them. Only to a compression that is not supported, the answer is `UNIMPLEMENTED`, as
//! gRPC's `doc/compression.md` wants.

use crate::grpc::{
    call::{Call, OTHER},
    codec::NO_PROTOBUF,
    methods::Method,
};
use http::{HeaderMap, header::CONTENT_TYPE};
use tonic::{Status, metadata::MetadataValue};

/// Why a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::grpc) enum Unreadable {
    NotPost,
    ContentType,
    NoMessage,
    SecondMessage,
    Truncated,
    Compressed,
    NoFrame,
    NoProtobuf,
}

impl Unreadable {
    fn text(self) -> &'static str {
        match self {
            Self::NotPost => "the call is no POST request: gRPC calls are",
            Self::ContentType => {
                "the call's content-type is not that of gRPC: use application/grpc"
            }
            Self::NoMessage => "the call has no message; send one, empty or not",
            Self::SecondMessage => "the call has more than one message: this method takes one",
            Self::Truncated => {
                "the request ends within a message: send as many bytes as the message's length says"
            }
            Self::Compressed => {
                "the message is marked as compressed, and the call names no grpc-encoding: send it \
                 uncompressed"
            }
            Self::NoFrame => {
                "the request is not framed as gRPC does: send each message behind a byte 0 and its \
                 length in four bytes, and no JSON"
            }
            Self::NoProtobuf => NO_PROTOBUF,
        }
    }
}

/// The answer to a request that cannot be read.
pub(in crate::grpc) fn unreadable(method: Option<Method>, why: Unreadable) -> Status {
    let method = method.map_or(OTHER, Method::name);
    tracing::debug!(method, "a request cannot be read: {}", why.text());
    Status::invalid_argument(why.text())
}

/// Why a call cannot be read by its headers, if it cannot.
pub(super) fn broken_headers(call: &Call) -> Option<Unreadable> {
    if call.request.method() != http::Method::POST {
        Some(Unreadable::NotPost)
    } else if has_content_type(call.request.headers()) {
        None
    } else {
        Some(Unreadable::ContentType)
    }
}

/// The answer to a call with a compression, since none is supported. tonic's own names the compression.
pub(super) fn refused_compression(headers: &HeaderMap) -> Option<Status> {
    let encoding = headers.get("grpc-encoding")?;
    if encoding == "identity" {
        return None;
    }
    let mut status = Status::unimplemented(
        "the call names a grpc-encoding that is not supported: send messages uncompressed",
    );
    let supported = MetadataValue::from_static("identity");
    status
        .metadata_mut()
        .insert("grpc-accept-encoding", supported);
    Some(status)
}

/// Whether the content type is `application/grpc`, alone or with the name of an encoding behind it.
fn has_content_type(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE);
    let behind = value.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    behind.is_some_and(|behind| matches!(behind, [] | [b'+' | b';', ..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_of_grpc_may_name_an_encoding() {
        let is_grpc = |value: &'static str| {
            let value = value.parse().expect("ASCII");
            has_content_type(&HeaderMap::from_iter([(CONTENT_TYPE, value)]))
        };
        for grpc in ["", "+proto", "; charset=utf-8"].map(|rest| format!("application/grpc{rest}"))
        {
            assert!(is_grpc(grpc.leak()));
        }
        for other in [
            "application/json",
            "application/grpc-web",
            "application/grp",
            "",
        ] {
            assert!(!is_grpc(other), "{other}");
        }
        assert!(!has_content_type(&HeaderMap::new()));
    }
}
