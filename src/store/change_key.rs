//! The change of a key from the state that the store has to the next one.
//!
//! Promises that no write is lost: a state is stored only in place of the one from which it was made.

use super::{Committed, KeyLookup, KeyReplacement, KeyStore, Replaced, StoreError};
use crate::model::key::{Key, KeyId};

/// How often the key may be read again. Each other write that comes first takes one attempt.
const ATTEMPTS: usize = 20;

/// What became of a change.
#[derive(Debug)]
pub enum KeyChange<E> {
    /// The state was stored.
    Stored(Box<KeyReplacement>, Committed<()>),
    /// Nothing was stored, since the account has used the successor's request id before, for this key.
    RequestIdUsed(Key, Committed<KeyId>),
    /// Nothing was stored: the domain is not verified for the key's account.
    DomainNotVerified(Key),
    /// Nothing was stored: the account has as many keys as it may have.
    TooManyKeys(Key),
    /// The key, as it is, cannot be changed so.
    Refused(Key, E),
    /// There is no such key.
    NotFound,
    /// Nothing was stored: other changes came first, again and again.
    Overtaken(Key),
}

/// Reads a key, has its next state made, and stores that. Begins anew if another write came first. A suspension
/// does not depend on the state that it changes: [`KeyStore::set_key_suspension`] never loses such a race.
///
/// Safe to drop at any time: the change may then stand or not.
pub async fn change_key<E>(
    keys: &dyn KeyStore,
    lookup: &KeyLookup,
    mut next: impl FnMut(&Key) -> Result<KeyReplacement, E>,
) -> Result<KeyChange<E>, StoreError> {
    let mut attempts = 0;
    loop {
        let Some(key) = keys.get(lookup).await? else {
            return Ok(KeyChange::NotFound);
        };
        let replacement = match next(&key) {
            Ok(replacement) => replacement,
            Err(refused) => return Ok(KeyChange::Refused(key, refused)),
        };
        return Ok(match keys.replace(&replacement).await? {
            Replaced::Conflict if attempts < ATTEMPTS => {
                attempts += 1;
                continue;
            }
            Replaced::Conflict => KeyChange::Overtaken(key),
            Replaced::Replaced(committed) => KeyChange::Stored(Box::new(replacement), committed),
            Replaced::RequestIdUsed(first) => KeyChange::RequestIdUsed(key, first),
            Replaced::DomainNotVerified => KeyChange::DomainNotVerified(key),
            Replaced::TooManyKeys => KeyChange::TooManyKeys(key),
        });
    }
}
