//! Looks at the keys that files name, before they are revoked.

use super::{shown, target::Named};
use tosend_keyservice::{
    Admin,
    proto::{Key, batch_revoke_request::Keys, key::Status},
};

/// How many given keys a question names.
const MOST_IN_QUESTION: usize = 5;

/// The first of given keys that exist and are not revoked.
pub(super) async fn some(admin: &Admin, keys: Keys, most: usize) -> Vec<Key> {
    let ids = keys.key_ids.into_iter().map(Named::Id);
    let named = ids.chain(keys.tokens.into_iter().map(Named::Token));
    let mut found = Vec::new();
    for named in named.take(most) {
        // The count below says how many were not found.
        let key = named.get(admin).await.ok();
        found.extend(key.filter(|key| key.status() != Status::Revoked));
    }
    found
}

/// Names given keys for a question, if they are few.
pub(super) async fn names(admin: &Admin, keys: &Keys) -> String {
    if keys.key_ids.len() + keys.tokens.len() > MOST_IN_QUESTION {
        return String::new();
    }
    let found = some(admin, keys.clone(), MOST_IN_QUESTION).await;
    let names: Vec<_> = found.iter().map(shown::named).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(": {}", names.join("; "))
}
