//! Compares where lost writes have left everything with what the store has, and writes again what is denied in the
//! first and granted in the second.
//!
//! Must never write in a dry run, and never give a right.

use super::{
    event::Event,
    plan::{KeyPlan, Plan},
};
use crate::{
    model::{
        account::{AccountId, Accounts},
        audit_record::AdminMethod,
        domain::Domain,
        key::{Key, KeyEnd, KeyId, Reason, Scope, change::KeyUpdate},
        loss::{DomainLoss, KeyLoss, KeyRights, Removal},
        time::Timestamp,
        verified_domain::Coverage,
    },
    store::{
        DomainQuery, DomainRemoval, KeyChange, KeyLookup, KeyReplacement, KeySuspension, KeyTarget,
        Position, Revocation, StillAllowed, Store, StoreError, Suspended, SuspensionChange,
        change_key,
    },
};
use std::collections::{HashMap, hash_map::Entry};
use strum::IntoStaticStr;

/// What was found, or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Action {
    /// A key is revoked.
    Revoke,
    /// A key is suspended, as it was.
    Suspend,
    /// A key is suspended, because a change was lost that may have taken rights from it, and cannot be made again.
    SuspendUnclear,
    /// A key gets the scope or the expiry that it had.
    Narrow,
    /// An account is suspended.
    SuspendAccount,
    /// A domain is removed.
    RemoveDomain,
    /// The names below a domain are no longer verified.
    RemoveSubdomains,
    /// Nothing: the store does not have the key.
    LostKey,
    /// Nothing: what was lost gave rights.
    LostRights,
}

impl Action {
    /// Whether it is a write.
    #[must_use]
    pub fn writes(self) -> bool {
        !matches!(self, Self::LostKey | Self::LostRights)
    }
}

/// Something that was lost.
#[derive(Debug)]
pub struct Finding<'a> {
    /// What is done about it.
    pub action: Action,
    /// The lost write.
    pub event: &'a Event,
    /// Why it could not be written, if so.
    pub failed: Option<StoreError>,
}

/// Writes again what was lost.
pub struct Replayer<'a, F> {
    store: &'a Store,
    dry_run: bool,
    report: F,
    /// The last write, which every replica must have applied at the end.
    last: Option<Position>,
    domains: HashMap<AccountId, HashMap<Domain, Coverage>>,
}

impl<'a, F: FnMut(&Finding<'_>)> Replayer<'a, F> {
    /// Tells `report` of everything that was lost.
    pub fn new(store: &'a Store, dry_run: bool, report: F) -> Self {
        Self {
            store,
            dry_run,
            report,
            last: None,
            domains: HashMap::new(),
        }
    }

    /// Does it. One thing that cannot be written keeps none of the others from it. Gives the position of the last
    /// write.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run(mut self, plan: &Plan<'_>) -> Result<Option<Position>, StoreError> {
        for event in plan.accounts.values() {
            self.account(event).await?;
        }
        for (key_id, plan) in &plan.keys {
            self.key(*key_id, plan).await?;
        }
        for event in plan.domains.values() {
            self.domain(event).await?;
        }
        Ok(self.last)
    }

    fn report(&mut self, action: Action, event: &Event, written: Result<(), StoreError>) {
        (self.report)(&Finding {
            action,
            event,
            failed: written.err(),
        });
    }

    async fn account(&mut self, event: &Event) -> Result<(), StoreError> {
        let Some(account_id) = &event.account_id else {
            return Ok(());
        };
        let account = self.store.accounts.get_account(account_id).await?;
        let was_suspended = event.method == AdminMethod::SuspendAccount;
        match (was_suspended, account.suspension.is_some()) {
            (true, false) => {
                let written = self.suspend_account(account_id, event).await;
                self.report(Action::SuspendAccount, event, written);
            }
            (false, true) => self.report(Action::LostRights, event, Ok(())),
            _ => {}
        }
        Ok(())
    }

    async fn suspend_account(
        &mut self,
        account_id: &AccountId,
        event: &Event,
    ) -> Result<(), StoreError> {
        if self.dry_run {
            return Ok(());
        }
        let change = SuspensionChange {
            account_id: account_id.clone(),
            reason: Some(Reason::replayed(event.original.revision, &event.caller)),
            now: Timestamp::now(),
            caller: event.original.caller(),
            still_allowed: StillAllowed::always(),
        };
        let committed = self.store.accounts.set_suspension(&change).await?;
        self.last = Some(committed.position());
        Ok(())
    }

    async fn key(&mut self, key_id: KeyId, plan: &KeyPlan<'_>) -> Result<(), StoreError> {
        let found = self.store.keys.get(&lookup(key_id)).await?;
        let Some(key) = found else {
            if let Some(last) = plan.last {
                self.report(Action::LostKey, last, Ok(()));
            }
            return Ok(());
        };
        for (action, event) in actions(&key, plan) {
            let written = self.write(key_id, action, event).await;
            self.report(action, event, written);
        }
        Ok(())
    }

    async fn write(
        &mut self,
        key_id: KeyId,
        action: Action,
        event: &Event,
    ) -> Result<(), StoreError> {
        if self.dry_run {
            return Ok(());
        }
        match action {
            Action::Revoke => self.revoke(key_id, event).await,
            Action::Suspend => {
                let reason = Reason::replayed(event.original.revision, &event.caller);
                self.suspend(key_id, reason, event).await
            }
            Action::SuspendUnclear => self.suspend(key_id, Reason::lost_write(), event).await,
            Action::Narrow => self.narrow(key_id, event).await,
            _ => Ok(()),
        }
    }

    async fn revoke(&mut self, key_id: KeyId, event: &Event) -> Result<(), StoreError> {
        let revocation = Revocation {
            target: KeyTarget::Id(key_id),
            accounts: Accounts::All,
            now: Timestamp::now(),
            caller: event.original.caller(),
            still_allowed: StillAllowed::always(),
        };
        let revoked = self.store.keys.revoke(&revocation).await?;
        // It may have been forgotten since it was read.
        self.last = revoked.map_or(self.last, |committed| Some(committed.position()));
        Ok(())
    }

    async fn suspend(
        &mut self,
        key_id: KeyId,
        reason: Reason,
        event: &Event,
    ) -> Result<(), StoreError> {
        let suspension = KeySuspension {
            target: KeyTarget::Id(key_id),
            accounts: Accounts::All,
            reason: Some(reason),
            now: Timestamp::now(),
            caller: event.original.caller(),
            still_allowed: StillAllowed::always(),
        };
        match self.store.keys.set_key_suspension(&suspension).await? {
            Suspended::Stored(committed) => self.last = Some(committed.position()),
            // It is denied for good.
            Suspended::Revoked(_) | Suspended::NotFound => {}
        }
        Ok(())
    }

    async fn narrow(&mut self, key_id: KeyId, event: &Event) -> Result<(), StoreError> {
        let next = |key: &Key| {
            let update = narrowing(key, event);
            key.updated(&update, None).map(|key| KeyReplacement {
                key,
                // It only takes away.
                must_be_verified: false,
                max_keys: None,
                successor: None,
                method: AdminMethod::Update,
                now: Timestamp::now(),
                caller: event.original.caller(),
                still_allowed: StillAllowed::always(),
            })
        };
        match change_key(&*self.store.keys, &lookup(key_id), next).await? {
            KeyChange::Stored(_, committed) => self.last = Some(committed.position()),
            KeyChange::Overtaken(_) => return Err(StoreError::Unavailable(OVERTAKEN.into())),
            // It is revoked or gone since it was read.
            _ => {}
        }
        Ok(())
    }

    async fn domain(&mut self, event: &Event) -> Result<(), StoreError> {
        let (Some(account_id), Some(domain)) = (&event.account_id, &event.domain) else {
            return Ok(());
        };
        let loaded = self.coverage(account_id, domain).await?;
        let held = Coverage::of(
            event.include_subdomains.unwrap_or(false),
            event.method == AdminMethod::RemoveDomain,
        );
        match DomainLoss::between(held, loaded) {
            None => {}
            Some(DomainLoss::Grants) => self.report(Action::LostRights, event, Ok(())),
            Some(DomainLoss::Denials(removal)) => {
                let action = match removal {
                    Removal::Domain => Action::RemoveDomain,
                    Removal::Subdomains => Action::RemoveSubdomains,
                };
                let written = self.remove(account_id, domain, removal, event).await;
                self.report(action, event, written);
            }
        }
        Ok(())
    }

    async fn remove(
        &mut self,
        account_id: &AccountId,
        domain: &Domain,
        removal: Removal,
        event: &Event,
    ) -> Result<(), StoreError> {
        if self.dry_run {
            return Ok(());
        }
        let asked = DomainRemoval {
            account_id: account_id.clone(),
            domain: domain.clone(),
            now: Timestamp::now(),
            caller: event.original.caller(),
            still_allowed: StillAllowed::always(),
        };
        let domains = &self.store.domains;
        let written = match removal {
            Removal::Domain => domains.remove_domain(&asked).await?.map(|it| it.position()),
            Removal::Subdomains => {
                let written = domains.remove_subdomains(&asked).await?;
                written.map(|it| it.position())
            }
        };
        self.last = written.or(self.last);
        Ok(())
    }

    /// What the domain verifies by the store. Reads all domains of an account once.
    async fn coverage(
        &mut self,
        account_id: &AccountId,
        domain: &Domain,
    ) -> Result<Coverage, StoreError> {
        const PAGE: usize = 1000;
        let of_account = match self.domains.entry(account_id.clone()) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(vacant) => {
                let mut read = HashMap::new();
                let mut query = DomainQuery {
                    account_id: account_id.clone(),
                    after: None,
                    limit: PAGE,
                    now: Timestamp::now(),
                };
                loop {
                    let page = self.store.domains.list_domains(&query).await?;
                    let is_last = page.len() < PAGE;
                    for listed in page {
                        let domain = listed.domain;
                        query.after = Some(domain.domain.clone());
                        let coverage = Coverage::of(domain.include_subdomains, false);
                        read.insert(domain.domain, coverage);
                    }
                    if is_last {
                        break;
                    }
                }
                vacant.insert(read)
            }
        };
        let coverage = of_account.get(domain).copied();
        Ok(coverage.unwrap_or(Coverage::Removed))
    }
}

const OVERTAKEN: &str = "other changes of the key came first, again and again";

fn lookup(key_id: KeyId) -> KeyLookup {
    KeyLookup {
        target: KeyTarget::Id(key_id),
        accounts: Accounts::All,
    }
}

fn rights(key: &Key) -> KeyRights<'_> {
    KeyRights {
        revoked: key.revoke_time.is_some(),
        suspended: key.suspension.is_some(),
        domain: key.scope.domain(),
        expire_time: key.expire_time,
    }
}

/// The scope and the expiry that a change has set.
fn set_by<'a>(event: &'a Event, loaded: &KeyRights<'a>) -> KeyRights<'a> {
    KeyRights {
        domain: event.domain.as_ref().map(Domain::as_str),
        expire_time: match event.key_end {
            Some(KeyEnd::At(time)) => Some(time),
            Some(KeyEnd::Never) | None => None,
        },
        ..*loaded
    }
}

/// What is to be done with a key, each for the write that did it before.
fn actions<'a>(key: &Key, plan: &KeyPlan<'a>) -> Vec<(Action, &'a Event)> {
    let loaded = rights(key);
    let mut held = plan.update.map_or(loaded, |event| set_by(event, &loaded));
    held.revoked |= plan.revoked.is_some();
    if let Some(event) = plan.suspension {
        held.suspended = event.method == AdminMethod::Suspend;
    }
    let loss = KeyLoss::between(&held, Some(&loaded));
    let mut actions = Vec::new();
    match loss {
        Some(KeyLoss::Revocation) => {
            actions.extend(plan.revoked.map(|event| (Action::Revoke, event)));
            return actions;
        }
        Some(KeyLoss::Denials | KeyLoss::DenialsOnceResumed) => {
            if let Some(event) = plan
                .suspension
                .filter(|_| held.suspended && !loaded.suspended)
            {
                actions.push((Action::Suspend, event));
            }
            if let Some(event) = plan.update {
                // To move a key to another domain would give it that one. One that is suspended already gets the
                // reason, so that nobody resumes it before its scope is put right.
                if loaded.domain.is_some() && loaded.has_wider_scope_than(&held) {
                    actions.push((Action::SuspendUnclear, event));
                }
                let narrowed = narrowing(key, event);
                if narrowed != KeyUpdate::default() {
                    actions.push((Action::Narrow, event));
                }
            }
        }
        Some(KeyLoss::Grants) => {
            let event = plan.suspension.or(plan.update);
            actions.extend(event.map(|event| (Action::LostRights, event)));
        }
        Some(KeyLoss::Key) | None => {}
    }
    let unclear = plan.unclear.filter(|_| !loaded.revoked);
    actions.extend(unclear.map(|event| (Action::SuspendUnclear, event)));
    actions
}

/// The part of a change that takes rights from the key as it is.
fn narrowing(key: &Key, event: &Event) -> KeyUpdate {
    let loaded = rights(key);
    let set = set_by(event, &loaded);
    let scope = event.domain.clone().map(Scope::Domain);
    KeyUpdate {
        scope: scope.filter(|_| loaded.domain.is_none()),
        expire_time: loaded.lasts_longer_than(&set).then_some(set.expire_time),
        ..KeyUpdate::default()
    }
}
