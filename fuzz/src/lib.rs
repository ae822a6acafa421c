//! What must hold for any bytes from outside, a function a kind. The fuzzers call these, and so do
//! the tests.

mod callers;
mod names;
mod requests;
mod store_address;

pub use callers::{authorization, bearer, certificate, credentials};
pub use names::{domain, names, token};
pub use requests::{grpc_timeout, page_token, request};
pub use store_address::store_address;

/// A target's name, and what looks whether it holds for some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 11] = [
    ("token", token),
    ("domain", domain),
    ("names", names),
    ("page_token", page_token),
    ("credentials", credentials),
    ("authorization", authorization),
    ("bearer", bearer),
    ("certificate", certificate),
    ("store_address", store_address),
    ("grpc_timeout", grpc_timeout),
    ("request", request),
];

/// A token that is put beside what is to be refused: no error may repeat it.
const CANARY: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";

/// The text of these bytes, as a field or a file would hold it.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What is said of a text that holds the canary, and must not repeat it.
fn assert_tells_nothing(said: &str) {
    assert!(!said.contains(CANARY), "{said}");
}

/// The error of a text that holds the canary, which is why it must be refused.
fn assert_refused<T, E: ToString>(parsed: Result<T, E>) {
    match parsed {
        Ok(_) => panic!("it holds a token"),
        Err(error) => assert_tells_nothing(&error.to_string()),
    }
}
