//! What a replica does when the store has lost writes that the replica's memory holds.
//!
//! Promises that no lost write turns a denial into a grant: a lost revocation, and a lost removal or
//! narrowing of a domain, are written again. What was lost in the other direction stays lost. Each is
//! named in the log, and what is written again is on record too.
//! Must never change the memory that is still in use, except to deny more.

use crate::{
    authorize::keyring::{KeyRef, Keyring},
    model::{
        account::{AccountId, Accounts},
        caller_name::CallerName,
        domain::Domain,
        key::{KeyState, Scope},
        time::Timestamp,
        token::TokenDigest,
        verified_domain::{Coverage, DomainState},
    },
    store::{DomainRemoval, Revocation, RevokeTarget, Store, StoreError},
};
use std::collections::HashMap;

/// Writes again what this memory denied and the store now grants. `fresh` is what was loaded from the
/// store. The writes come to it as any other change does, and they are applied to it at once too,
/// because a call that read the lease before it was given up may still read this keyring.
pub(super) async fn restore(
    store: &Store,
    before: &Keyring,
    fresh: &Keyring,
) -> Result<(), StoreError> {
    restore_keys(store, before, fresh).await?;
    restore_domains(store, before, fresh).await
}

async fn restore_keys(store: &Store, before: &Keyring, fresh: &Keyring) -> Result<(), StoreError> {
    let (held_keys, loaded) = (before.read(), fresh.read());
    for (digest, held) in held_keys.keys() {
        match loaded.get(&digest).map(|key| key.is_revoked()) {
            None => tracing::error!(
                key_id = %held.id(),
                account_id = held.account_id(),
                "the store lost this key: its token is unknown from now on"
            ),
            Some(false) if held.is_revoked() => {
                let revocation = Revocation {
                    target: RevokeTarget::Digest(digest),
                    accounts: Accounts::All,
                    now: Timestamp::now(),
                    caller: CallerName::service(),
                };
                store.keys.revoke(&revocation).await?;
                fresh.apply_key(&revoked(digest, &held));
                tracing::error!(
                    key_id = %held.id(),
                    account_id = held.account_id(),
                    "the store lost this key's revocation: it was written again"
                );
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The state of a held key once it is revoked.
fn revoked(digest: TokenDigest, held: &KeyRef<'_>) -> KeyState {
    let domain = held.domain();
    KeyState {
        digest,
        id: held.id(),
        account_id: AccountId::from_stored(held.account_id().to_owned()),
        scope: Scope::from_domain(domain.map(|domain| Domain::from_stored(domain.to_owned()))),
        expire_time: held.expire_time(),
        revoked: true,
    }
}

async fn restore_domains(
    store: &Store,
    before: &Keyring,
    fresh: &Keyring,
) -> Result<(), StoreError> {
    let loaded: HashMap<_, _> = fresh
        .domains()
        .into_iter()
        .map(|state| ((state.account_id, state.domain), state.coverage))
        .collect();
    for held in before.domains() {
        let subject = (held.account_id.clone(), held.domain.clone());
        let loaded = loaded.get(&subject).copied().unwrap_or(Coverage::Removed);
        match Loss::between(held.coverage, loaded) {
            None => {}
            Some(Loss::Grants) => tracing::error!(
                account_id = held.account_id.as_str(),
                domain = held.domain.as_str(),
                "the store lost what was verified by this domain: add it again"
            ),
            // Also if the domain was written to since the loss. An admin may have added it, but another
            // replica that remembers less may have narrowed it, which looks the same. And adding a domain that
            // the store still has changes nothing, so a later addition may not even be seen.
            Some(Loss::Denials(removal)) => {
                write_again(store, &held, removal).await?;
                fresh.apply_domain(&held);
                tracing::error!(
                    account_id = held.account_id.as_str(),
                    domain = held.domain.as_str(),
                    "the store lost a removal of this domain or of its subdomains: it was written \
                     again"
                );
            }
        }
    }
    Ok(())
}

/// Only takes away: since the load, an admin may have taken more.
async fn write_again(store: &Store, held: &DomainState, of: Removal) -> Result<(), StoreError> {
    let removal = DomainRemoval {
        account_id: held.account_id.clone(),
        domain: held.domain.clone(),
        now: Timestamp::now(),
        caller: CallerName::service(),
    };
    let domains = &store.domains;
    match of {
        Removal::Domain => domains.remove_domain(&removal).await.map(drop),
        Removal::Subdomains => domains.remove_subdomains(&removal).await.map(drop),
    }
}

/// What a store has lost of a domain.
enum Loss {
    /// Names that were granted are denied now.
    Grants,
    /// Names that were denied are granted now.
    Denials(Removal),
}

/// What was taken from an account.
enum Removal {
    Domain,
    Subdomains,
}

impl Loss {
    fn between(held: Coverage, loaded: Coverage) -> Option<Self> {
        match (held, loaded) {
            (held, loaded) if held == loaded => None,
            (Coverage::Removed, _) => Some(Self::Denials(Removal::Domain)),
            (Coverage::Domain, Coverage::DomainAndSubdomains) => {
                Some(Self::Denials(Removal::Subdomains))
            }
            (Coverage::Domain | Coverage::DomainAndSubdomains, _) => Some(Self::Grants),
        }
    }
}
