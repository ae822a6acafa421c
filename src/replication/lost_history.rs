//! What a replica does when the store has lost writes that the replica's memory holds.
//!
//! Promises that no lost write turns a denial into a grant. A lost revocation, a lost suspension of an
//! account, and a lost removal or narrowing of a domain are written again. A key of which another change
//! was lost that may have narrowed it is suspended. What was lost in the other direction stays lost. Each
//! is named in the log, and what is written is on record too.
//! Must never change the memory that is still in use, except to deny more.

use super::own_writes::{self, OwnWrite};
use crate::{
    authorize::keyring::{KeyRef, Keyring},
    model::{
        account::{AccountState, Accounts},
        audit_record::AdminMethod,
        caller_name::CallerName,
        key::{Key, Reason},
        loss::{DomainLoss, KeyLoss, KeyRights, Removal},
        time::Timestamp,
        token::TokenDigest,
        verified_domain::{Coverage, DomainState},
    },
    store::{
        DomainRemoval, KeySuspension, KeyTarget, Revocation, StillAllowed, Store, StoreError,
        Suspended, SuspensionChange,
    },
};
use std::collections::{HashMap, HashSet};

/// Writes again what this memory denied and the store now grants. `fresh` is what was loaded from the
/// store. The writes come to it as any other change does, and they are applied to it at once too,
/// because a call that read the lease before it was given up may still read this keyring.
pub(super) async fn restore(
    store: &Store,
    before: &Keyring,
    fresh: &Keyring,
) -> Result<(), StoreError> {
    let mut failures = Failures::default();
    restore_accounts(store, before, fresh, &mut failures).await;
    restore_keys(store, before, fresh, &mut failures).await;
    restore_domains(store, before, fresh, &mut failures).await;
    failures.0.map_or(Ok(()), Err)
}

/// The first error. One thing that cannot be written again must not keep the others from it: they would be
/// granted once this process has ended.
#[derive(Default)]
struct Failures(Option<StoreError>);

impl Failures {
    /// Whether the write stands.
    fn note(&mut self, written: Result<(), StoreError>) -> bool {
        let failed = written.err();
        let stands = failed.is_none();
        self.0 = self.0.take().or(failed);
        stands
    }
}

async fn restore_accounts(
    store: &Store,
    before: &Keyring,
    fresh: &Keyring,
    failures: &mut Failures,
) {
    let held: HashSet<_> = before.suspended_accounts().into_iter().collect();
    let loaded: HashSet<_> = fresh.suspended_accounts().into_iter().collect();
    for account_id in loaded.difference(&held) {
        tracing::error!(
            account_id = account_id.as_str(),
            "the store lost that this account was resumed, or another replica has suspended it again: \
             resume it if its keys are to be granted"
        );
    }
    for account_id in held.difference(&loaded).cloned() {
        let change = SuspensionChange {
            account_id,
            reason: Some(Reason::lost_write()),
            now: Timestamp::now(),
            caller: CallerName::service(),
            still_allowed: StillAllowed::always(),
        };
        let written = suspend_account(store, &change).await;
        if !failures.note(written) {
            tracing::error!(
                account_id = change.account_id.as_str(),
                "the store lost this account's suspension, and it could not be written again"
            );
            continue;
        }
        fresh.apply_account(&AccountState {
            account_id: change.account_id.clone(),
            suspended: true,
        });
        tracing::error!(
            account_id = change.account_id.as_str(),
            "the store lost this account's suspension: it was written again, with the reason LOST_WRITE"
        );
    }
}

async fn suspend_account(store: &Store, change: &SuspensionChange) -> Result<(), StoreError> {
    let suspended = store.accounts.set_suspension(change).await?;
    let about = OwnWrite {
        account_id: Some(&change.account_id),
        ..OwnWrite::default()
    };
    let method = AdminMethod::SuspendAccount;
    own_writes::log_write(store, &suspended, change.now, method, about);
    Ok(())
}

async fn restore_keys(store: &Store, before: &Keyring, fresh: &Keyring, failures: &mut Failures) {
    let (held_keys, loaded_keys) = (before.read(), fresh.read());
    for (digest, held) in held_keys.keys() {
        let loaded = loaded_keys.get(&digest);
        let Some(loss) = KeyLoss::between(&rights(&held), loaded.as_ref().map(rights).as_ref())
        else {
            continue;
        };
        if let Some(loaded) = &loaded {
            let written = write_key_again(store, fresh, digest, loaded, loss).await;
            if !failures.note(written) {
                tracing::error!(
                    key_id = %held.id(),
                    account_id = held.account_id(),
                    "the store lost a denial of this key, and it could not be written again"
                );
                continue;
            }
        }
        tracing::error!(
            key_id = %held.id(),
            account_id = held.account_id(),
            "{}",
            loss_text(loss)
        );
    }
}

fn rights<'a>(key: &KeyRef<'a>) -> KeyRights<'a> {
    KeyRights {
        revoked: key.is_revoked(),
        suspended: key.is_suspended(),
        domain: key.domain(),
        expire_time: key.expire_time(),
    }
}

fn loss_text(loss: KeyLoss) -> &'static str {
    match loss {
        KeyLoss::Key => "the store lost this key: its token is unknown from now on",
        KeyLoss::Revocation => "the store lost this key's revocation: it was written again",
        KeyLoss::Denials => {
            "the store lost a change that may have taken rights from this key: the key is suspended, \
             with the reason LOST_WRITE; put it right and resume it"
        }
        KeyLoss::DenialsOnceResumed => {
            "the store lost a change that may have taken rights from this key, which is suspended: put it \
             right before you resume it"
        }
        KeyLoss::Grants => {
            "the store lost a change of this key, which is denied more than before: change it again"
        }
    }
}

async fn write_key_again(
    store: &Store,
    fresh: &Keyring,
    digest: TokenDigest,
    loaded: &KeyRef<'_>,
    loss: KeyLoss,
) -> Result<(), StoreError> {
    let mut state = loaded.to_state(digest);
    match loss {
        KeyLoss::Key | KeyLoss::DenialsOnceResumed | KeyLoss::Grants => return Ok(()),
        KeyLoss::Revocation => {
            let revocation = Revocation {
                target: KeyTarget::Digest(digest),
                accounts: Accounts::All,
                now: Timestamp::now(),
                caller: CallerName::service(),
                still_allowed: StillAllowed::always(),
            };
            if let Some(revoked) = store.keys.revoke(&revocation).await? {
                let about = about_key(revoked.value());
                let method = AdminMethod::Revoke;
                own_writes::log_write(store, &revoked, revocation.now, method, about);
            }
            state.revoked = true;
        }
        KeyLoss::Denials => {
            suspend(store, digest).await?;
            state.suspended = true;
        }
    }
    fresh.apply_key(&state);
    Ok(())
}

/// Suspends a key, unless it was revoked since it was loaded.
async fn suspend(store: &Store, digest: TokenDigest) -> Result<(), StoreError> {
    let suspension = KeySuspension {
        target: KeyTarget::Digest(digest),
        accounts: Accounts::All,
        reason: Some(Reason::lost_write()),
        now: Timestamp::now(),
        caller: CallerName::service(),
        still_allowed: StillAllowed::always(),
    };
    if let Suspended::Stored(suspended) = store.keys.set_key_suspension(&suspension).await? {
        let about = about_key(suspended.value());
        let method = AdminMethod::Suspend;
        own_writes::log_write(store, &suspended, suspension.now, method, about);
    }
    Ok(())
}

fn about_key(key: &Key) -> OwnWrite<'_> {
    OwnWrite {
        account_id: Some(&key.account_id),
        key_id: Some(key.id),
        domain: key.scope.as_domain(),
        include_subdomains: None,
    }
}

async fn restore_domains(
    store: &Store,
    before: &Keyring,
    fresh: &Keyring,
    failures: &mut Failures,
) {
    let loaded: HashMap<_, _> = fresh
        .domains()
        .into_iter()
        .map(|state| ((state.account_id, state.domain), state.coverage))
        .collect();
    for held in before.domains() {
        let subject = (held.account_id.clone(), held.domain.clone());
        let loaded = loaded.get(&subject).copied().unwrap_or(Coverage::Removed);
        match DomainLoss::between(held.coverage, loaded) {
            None => {}
            Some(DomainLoss::Grants) => tracing::error!(
                account_id = held.account_id.as_str(),
                domain = held.domain.as_str(),
                "the store lost what was verified by this domain: add it again"
            ),
            // Also if the domain was written to since the loss. An admin may have added it, but another
            // replica that remembers less may have narrowed it, which looks the same. And adding a domain that
            // the store still has changes nothing, so a later addition may not even be seen.
            Some(DomainLoss::Denials(removal)) => {
                let written = write_again(store, &held, removal).await;
                if !failures.note(written) {
                    tracing::error!(
                        account_id = held.account_id.as_str(),
                        domain = held.domain.as_str(),
                        "the store lost a removal of this domain, and it could not be written again"
                    );
                    continue;
                }
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
}

/// Only takes away: since the load, an admin may have taken more.
async fn write_again(store: &Store, held: &DomainState, of: Removal) -> Result<(), StoreError> {
    let removal = DomainRemoval {
        account_id: held.account_id.clone(),
        domain: held.domain.clone(),
        now: Timestamp::now(),
        caller: CallerName::service(),
        still_allowed: StillAllowed::always(),
    };
    let domains = &store.domains;
    let about = OwnWrite {
        account_id: Some(&removal.account_id),
        domain: Some(&removal.domain),
        ..OwnWrite::default()
    };
    match of {
        Removal::Domain => {
            if let Some(removed) = domains.remove_domain(&removal).await? {
                let method = AdminMethod::RemoveDomain;
                own_writes::log_write(store, &removed, removal.now, method, about);
            }
        }
        Removal::Subdomains => {
            if let Some(removed) = domains.remove_subdomains(&removal).await? {
                let about = OwnWrite {
                    include_subdomains: Some(false),
                    ..about
                };
                let method = AdminMethod::AddDomain;
                own_writes::log_write(store, &removed, removal.now, method, about);
            }
        }
    }
    Ok(())
}
