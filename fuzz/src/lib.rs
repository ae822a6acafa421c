//! What must hold for any bytes from outside. There is one function for each kind of input.
//!
//! The fuzzers call these functions with new bytes, and the tests call them with the seeds.

mod callers;
mod gateway;
mod names;
mod requests;
mod store_address;

pub use callers::{authorization, bearer, certificate, credentials};
pub use gateway::gateway;
pub use names::{domain, names, sender, token};
pub use requests::{grpc_timeout, page_token, questions, request};
pub use store_address::store_address;

/// The name of a target, and the function that checks it for some bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 14] = [
    ("token", token),
    ("domain", domain),
    ("sender", sender),
    ("names", names),
    ("page_token", page_token),
    ("credentials", credentials),
    ("authorization", authorization),
    ("bearer", bearer),
    ("certificate", certificate),
    ("store_address", store_address),
    ("grpc_timeout", grpc_timeout),
    ("request", request),
    ("questions", questions),
    ("gateway", gateway),
];

/// A token that is put into invalid input. No error may repeat it.
const CANARY: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";

/// A bearer secret that is put into invalid input. No error may repeat it.
const BEARER_CANARY: &str = "tsop_KeyServiceExampleSecretDoNotUse0123456789ab";

/// Gives the bytes as text, because fields and files contain only text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Checks an error about text that contains a canary.
fn assert_hides_canary(said: &str) {
    assert!(!said.contains(CANARY), "{said}");
    assert!(!said.contains(BEARER_CANARY), "{said}");
}

/// Checks that text was refused, because it contains a canary, and that the error does not repeat it.
fn assert_refused<T, E: ToString>(parsed: Result<T, E>) {
    match parsed {
        Ok(_) => panic!("text that contains a secret was accepted"),
        Err(error) => assert_hides_canary(&error.to_string()),
    }
}
