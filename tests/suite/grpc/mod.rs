//! The API: a tonic client calls the real server over a real socket.

mod authorize_stream;
mod bad_input;
mod batch_revoke;
mod calls_without_a_message;
mod changes;
mod discovery;
mod domains;
mod key_life;
mod key_limit;
mod listing;
mod request_id;
mod shown_once;
mod unreadable;

use crate::support::server::Client;
use keyservice::grpc::proto::{
    CreateRequest, Grant, ListRequest, Scope, authorize_response::Decision, denial::Reason,
    scope::Kind,
};
use prost_types::Timestamp;
use std::time::{Duration, SystemTime};

const ACCOUNT: &str = "acme";
const DOMAIN: &str = "example.com";

/// The token and the id of a new key.
struct Created {
    token: String,
    key_id: String,
}

async fn create(client: &mut Client, change: impl FnOnce(&mut CreateRequest)) -> Created {
    let mut request = create_request();
    change(&mut request);
    let created = client.create_with(request).await.unwrap();
    Created {
        token: created.token,
        key_id: created.key.unwrap().key_id,
    }
}

/// A valid request with only the required fields.
fn create_request() -> CreateRequest {
    CreateRequest {
        account_id: ACCOUNT.into(),
        name: "Newsletter".into(),
        ..Default::default()
    }
}

/// A valid request with only the required fields.
fn list_request() -> ListRequest {
    ListRequest {
        account_id: ACCOUNT.into(),
        ..Default::default()
    }
}

async fn grant(client: &mut Client, token: &str, domain: &str) -> Grant {
    match client.authorize(token, domain).await.unwrap() {
        Decision::Grant(grant) => grant,
        Decision::Denial(denial) => panic!("denied for {domain}: {denial:?}"),
    }
}

async fn denial(client: &mut Client, token: &str, domain: &str) -> Reason {
    match client.authorize(token, domain).await.unwrap() {
        Decision::Grant(grant) => panic!("granted for {domain}: {grant:?}"),
        Decision::Denial(denial) => denial.reason(),
    }
}

fn only(domain: &str) -> Option<Scope> {
    let kind = Some(Kind::Domain(domain.into()));
    Some(Scope { kind })
}

/// A time in whole microseconds, which is the precision of a key's times.
fn in_the_future(after: Duration) -> Timestamp {
    let mut time = Timestamp::from(SystemTime::now() + after);
    time.nanos -= time.nanos % 1000;
    time
}

fn time(time: Option<Timestamp>) -> SystemTime {
    time.expect("a time").try_into().expect("a time after 1970")
}
