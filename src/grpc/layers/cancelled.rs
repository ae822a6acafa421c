//! The status `CANCELLED`, on its way through tonic.
//!
//! Owns the mark of a status that is `CANCELLED`, and takes it off again.

use http::Response;
use tonic::{Status, body::Body, metadata::MetadataValue};

/// Marks a status that is `CANCELLED`.
///
/// tonic takes a body that ends with `CANCELLED` for one that ends well. So such a call travels through
/// tonic with another code and this key in its metadata, which survives tonic's copies of a status.
/// [`name_cancelled`] replaces the status, so the key never reaches the wire. No service sets it, so no
/// answer of a service is mistaken for it.
const CANCELLED_KEY: &str = "keyservice-cancelled";

/// A call whose client did not send its message. This is no fault of the service, which
/// `DEADLINE_EXCEEDED` would say.
pub(super) fn cancelled(message: String) -> Status {
    let mut status = Status::unknown(message);
    let key = MetadataValue::from_static("");
    status.metadata_mut().insert(CANCELLED_KEY, key);
    status
}

/// The status that a client is to see in the place of this one.
pub(in crate::grpc) fn named(status: &Status) -> Status {
    if status.metadata().contains_key(CANCELLED_KEY) {
        Status::cancelled(status.message())
    } else {
        status.clone()
    }
}

/// Gives the status `CANCELLED` to a call whose message did not come.
pub(super) fn name_cancelled(response: Response<Body>) -> Response<Body> {
    // tonic leaves the status of a failed call among the extensions of its response.
    let failed: Option<&Status> = response.extensions().get();
    match failed {
        Some(status) if status.metadata().contains_key(CANCELLED_KEY) => named(status).into_http(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::call::CODES;
    use tonic::Code;

    #[test]
    fn only_a_call_whose_message_did_not_come_is_renamed() {
        let named = |status: Status| {
            let renamed = name_cancelled(status.into_http());
            Status::from_header_map(renamed.headers()).expect("a status")
        };
        let given_up = cancelled("the client has gone".to_owned());
        let renamed = named(given_up.clone());
        assert_eq!(renamed.code(), Code::Cancelled);
        assert_eq!(renamed.message(), given_up.message());
        assert!(!renamed.metadata().contains_key(CANCELLED_KEY));
        for code in CODES {
            let status = Status::new(code, given_up.message());
            assert_eq!(named(status).code(), code);
        }
    }
}
