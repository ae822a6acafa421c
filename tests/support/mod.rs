//! Helpers for the tests. They use real servers, real databases and real tools.

pub mod certificates;
pub mod clients;
pub mod envoy;
pub mod faults;
pub mod hostile;
pub mod kubernetes;
pub mod mount;
pub mod mutation;
pub mod postgres;
pub mod rights;
pub mod search;
pub mod server;
pub mod stores;
pub mod tools;
pub mod uses;

use keyservice::{
    model::{
        account::AccountId,
        caller_name::CallerName,
        key::{Key, KeyId, KeyName, Labels, Scope, Version},
        time::Timestamp,
        token::{Digester, Token},
    },
    store::{NewKey, StillAllowed},
};
use rand::RngExt;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Waits until a condition holds. Fails the test after 20 seconds.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> bool) {
    eventually_within(Duration::from_secs(20), what, holds).await;
}

/// The same, for what may take longer on a busy machine.
pub async fn eventually_within(limit: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Creates a directory, which is deleted when it is dropped.
pub fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub fn caller(name: &str) -> CallerName {
    CallerName::parse(name).expect("a caller's name")
}

/// A new key for all domains of an account, and its token. Neither is stored.
pub fn new_key(account: &str, name: &str) -> (Token, NewKey) {
    let mut rng = rand::rng();
    let token = Token::generate(&mut rng);
    let now = Timestamp::now();
    let key = Key {
        id: KeyId::new(now, &rng.random()),
        account_id: AccountId::parse(account.to_owned()).expect("an account id"),
        name: KeyName::parse(name).expect("a name"),
        preview: token.preview(),
        scope: Scope::AllDomains,
        labels: Labels::default(),
        create_time: now,
        expire_time: None,
        revoke_time: None,
        revoke_reason: None,
        suspension: None,
        predecessor: None,
        successor: None,
        version: Version::FIRST,
        last_used_time: None,
    };
    let digest = Digester::new(None).digest(&token);
    let new = NewKey {
        key,
        digest,
        request_id: None,
        must_be_verified: false,
        max_keys: None,
        caller: caller("tester"),
        still_allowed: StillAllowed::always(),
    };
    (token, new)
}
