//! The source of truth for keys: the trait [`KeyStore`], its arguments and its answers.
//!
//! Promises that a write and its audit record are one transaction. Must never see a token, only its
//! digest.

use super::{BatchRevocation, Committed, Selected, Selection, StillAllowed, StoreError};
use crate::model::{
    account::Accounts,
    audit_record::AdminMethod,
    caller_name::CallerName,
    key::{Key, KeyEnd, KeyId, Reason, RequestId, Status, filter::KeyFilter},
    time::Timestamp,
    token::TokenDigest,
};
use async_trait::async_trait;

/// Creates, reads, changes, revokes and lists keys.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Stores a new key, unless its request id was used before. The call is on record either way.
    ///
    /// A refusal leaves no record: the caller appends one.
    async fn create(
        &self,
        new: &NewKey,
    ) -> Result<Result<Committed<CreateOutcome>, NotCreated>, StoreError>;

    /// Revokes a key. A key that was revoked before keeps its first `revoke_time`, and the call is on record all the
    /// same, without a revision. The position is then that of the key's last write: the revocation, or a change of its
    /// name or labels since. Whoever has that one has the revocation too.
    ///
    /// Gives `None` if the account has no such key. That leaves no record: the caller appends one.
    async fn revoke(&self, revocation: &Revocation) -> Result<Option<Committed<Key>>, StoreError>;

    /// The key that is asked for, or `None` if there is none.
    async fn get(&self, lookup: &KeyLookup) -> Result<Option<Key>, StoreError>;

    /// Stores a key's next state, unless another write came first. The call is on record if a write
    /// stands for it.
    ///
    /// Unavailable while a replica of an older release, which does not know such a change, may hold a
    /// lease.
    async fn replace(&self, replacement: &KeyReplacement) -> Result<Replaced, StoreError>;

    /// Suspends a key or ends its suspension, whatever changes of it come first. The call is on record if a
    /// write stands for it.
    ///
    /// Unavailable as [`Self::replace`] is.
    async fn set_key_suspension(&self, suspension: &KeySuspension)
    -> Result<Suspended, StoreError>;

    /// What the given keys come to, if they are to be revoked at once. Holds up no write.
    async fn select(&self, selection: &Selection) -> Result<Selected, StoreError>;

    /// Revokes keys, all of them or none, and gives how many were not revoked before. The position is that of the
    /// store's last write: whoever waits for it waits for all earlier revocations too. The call is on record,
    /// once for each of these keys and once by itself.
    async fn batch_revoke(&self, batch: &BatchRevocation) -> Result<Committed<u64>, StoreError>;

    /// The keys that a filter selects, newest first, at most `query.limit` of them. It looks at no more than
    /// `query.search_len` keys: so nobody's List keeps the store busy for long.
    ///
    /// Gives `None` if `query.after` is not a key of the account.
    async fn list(&self, query: &ListQuery) -> Result<Option<Listed>, StoreError>;

    /// How many keys a filter selects among the next `query.search_len`.
    ///
    /// Gives `None` if `query.after` is not a key of the account.
    async fn count(&self, query: &ListQuery) -> Result<Option<Counted>, StoreError>;
}

/// How many keys a List or a count looks at in one statement, at most: some five milliseconds' work.
pub const LIST_SEARCH_LEN: usize = 2500;

/// What a List found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The keys.
    pub keys: Vec<Key>,
    /// The last key that it looked at, if it stopped its search there. Whether there are keys after that one
    /// is not known.
    pub searched_to: Option<KeyId>,
}

/// What a count found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How many keys the filter selects.
    pub count: u64,
    /// As in [`Listed`].
    pub searched_to: Option<KeyId>,
}

/// A key to be stored.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key, which is not revoked.
    pub key: Key,
    /// The digest of its token.
    pub digest: TokenDigest,
    /// The caller's name for this Create.
    pub request_id: Option<RequestId>,
    /// Whether the domain of its scope must be verified for its account.
    pub must_be_verified: bool,
    /// How many keys its account may have that are neither revoked nor expired. `None` sets no limit.
    pub max_keys: Option<u32>,
    /// Who creates it.
    pub caller: CallerName,
    /// Whether it still may, when the write's turn has come.
    pub still_allowed: StillAllowed,
}

/// Why a key was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCreated {
    /// The key's domain must be verified for its account, and is not.
    DomainNotVerified,
    /// The account has as many keys as it may have.
    TooManyKeys,
}

/// What became of a Create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// The key was stored.
    Created,
    /// Nothing was stored, since the account's request id was used before.
    RequestIdUsed {
        /// The key that its first use created.
        first: KeyId,
    },
}

/// Which key to read.
#[derive(Debug, Clone)]
pub struct KeyLookup {
    /// The key.
    pub target: KeyTarget,
    /// The key must belong to one of these accounts. Any other key is not found.
    pub accounts: Accounts,
}

impl KeyLookup {
    /// A key of any account, by its id.
    #[must_use]
    pub fn by_id(key_id: KeyId) -> Self {
        Self {
            target: KeyTarget::Id(key_id),
            accounts: Accounts::All,
        }
    }
}

/// A key's next state, made from the one that the store has.
#[derive(Debug, Clone)]
pub struct KeyReplacement {
    /// The key. It is stored if the store has the version before its own.
    pub key: Key,
    /// Whether the domain of its scope must be verified for its account.
    pub must_be_verified: bool,
    /// As in [`NewKey`], if the account then has one key more, which the store decides by what it has. `None`
    /// sets no limit.
    pub max_keys: Option<u32>,
    /// The key that replaces it by a rotation, to be stored with it.
    pub successor: Option<NewKey>,
    /// The call, under its name.
    pub method: AdminMethod,
    /// When that is.
    pub now: Timestamp,
    /// Who changes it.
    pub caller: CallerName,
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

impl KeyReplacement {
    /// What the record of the key tells of its end.
    pub(crate) fn recorded_end(&self) -> Option<KeyEnd> {
        matches!(self.method, AdminMethod::Update | AdminMethod::Rotate)
            .then(|| KeyEnd::of(&self.key))
    }

    /// Whether the account then has one key more that is neither revoked nor expired. `before` is the key that the
    /// store has.
    pub(in crate::store) fn is_one_more_than(&self, before: &Key, time: Timestamp) -> bool {
        let is_in_force =
            |key: &Key| !matches!(key.status(time), Status::Revoked | Status::Expired);
        let after = usize::from(is_in_force(&self.key)) + usize::from(self.successor.is_some());
        after > usize::from(is_in_force(before))
    }
}

/// What became of a replacement. Only the first two are writes that stand, and on record.
#[derive(Debug)]
pub enum Replaced {
    /// The key, and its successor if there is one, were stored.
    Replaced(Committed<()>),
    /// Nothing was stored, since the account has used the successor's request id before, for this key.
    RequestIdUsed(Committed<KeyId>),
    /// Nothing was stored: the key has changed since it was read. Read it again.
    Conflict,
    /// Nothing was stored: the domain is not verified for the key's account.
    DomainNotVerified,
    /// Nothing was stored: the account has as many keys as it may have.
    TooManyKeys,
}

/// Which key to suspend, or to resume.
#[derive(Debug, Clone)]
pub struct KeySuspension {
    /// The key.
    pub target: KeyTarget,
    /// The key must belong to one of these accounts. Any other key is not found.
    pub accounts: Accounts,
    /// Why it is suspended. `None` ends its suspension.
    pub reason: Option<Reason>,
    /// When that is.
    pub now: Timestamp,
    /// Who does it.
    pub caller: CallerName,
    /// Asked when its turn has come. If it says no, the write is not made.
    pub still_allowed: StillAllowed,
}

impl KeySuspension {
    /// The name of the call.
    #[must_use]
    pub const fn method(&self) -> AdminMethod {
        match self.reason {
            Some(_) => AdminMethod::Suspend,
            None => AdminMethod::Resume,
        }
    }
}

/// What became of a suspension, or of its end.
#[derive(Debug)]
pub enum Suspended {
    /// The key, as it was stored.
    Stored(Committed<Key>),
    /// Nothing was stored: the key is revoked for good.
    Revoked(Key),
    /// There is no such key.
    NotFound,
}

/// Which key to revoke.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The key.
    pub target: KeyTarget,
    /// The key must belong to one of these accounts. Any other key is not found.
    pub accounts: Accounts,
    /// The key's `revoke_time`, unless it has one.
    pub now: Timestamp,
    /// Who revokes it.
    pub caller: CallerName,
    /// Whether it still may, when the write's turn has come.
    pub still_allowed: StillAllowed,
}

/// How a call names a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyTarget {
    /// By its id.
    Id(KeyId),
    /// By its token's digest.
    Digest(TokenDigest),
}

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Selects them.
    pub filter: KeyFilter,
    /// Only keys that come after this one in the list, because earlier writes created them. Whether
    /// the key itself still passes the filter does not matter.
    pub after: Option<KeyId>,
    /// The most keys to give, at least 1.
    pub limit: usize,
    /// The most keys to look at, at least 1.
    pub search_len: usize,
    /// The time at which a status is judged.
    pub now: Timestamp,
}
