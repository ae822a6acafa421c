//! Compares where lost writes have left everything with what the store has, and writes again what is denied in the
//! first and granted in the second.
//!
//! Must never write in a dry run, and never give a right.

use super::{
    action::{Action, actions, narrowing},
    event::Event,
    key_plan::KeyPlan,
    plan::Plan,
};
use crate::{
    model::{
        account::{AccountId, Accounts},
        audit_record::AdminMethod,
        domain::Domain,
        key::{Key, KeyId, Reason},
        loss::{DomainLoss, Removal},
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

/// A history for the writes of a replay alone.
#[derive(Debug, Clone, Copy)]
pub struct NewHistory {
    /// When the last of the lost writes was, if all of them up to it are known.
    pub replayed_until: Option<Timestamp>,
}

/// Writes again what was lost.
pub struct Replayer<'a, F> {
    store: &'a Store,
    plan: &'a Plan<'a>,
    dry_run: bool,
    report: F,
    /// The history that its first write is to begin.
    history: Option<NewHistory>,
    /// The last write, which every replica must have applied at the end.
    last: Option<Position>,
    domains: HashMap<AccountId, HashMap<Domain, Coverage>>,
}

impl<'a, F: FnMut(&Finding<'_>)> Replayer<'a, F> {
    /// Tells `report` of everything that was lost.
    pub fn new(store: &'a Store, plan: &'a Plan<'a>, dry_run: bool, report: F) -> Self {
        Self {
            store,
            plan,
            dry_run,
            report,
            history: None,
            last: None,
            domains: HashMap::new(),
        }
    }

    /// Does it. One thing that cannot be written keeps none of the others from it. Gives the position of the last
    /// write.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn run(
        mut self,
        history: Option<NewHistory>,
    ) -> Result<Option<Position>, StoreError> {
        self.history = history;
        let plan = self.plan;
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
        if !action.writes() && self.plan.was_told(event) {
            return;
        }
        (self.report)(&Finding {
            action,
            event,
            failed: written.err(),
        });
    }

    /// Nothing may be written before.
    async fn begin_history(&mut self) -> Result<(), StoreError> {
        if let Some(NewHistory { replayed_until }) = self.history {
            let histories = &self.store.histories;
            histories.begin_history(replayed_until).await?;
            self.history = None;
        }
        Ok(())
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
        self.begin_history().await?;
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
        let found = self.store.keys.get(&KeyLookup::by_id(key_id)).await?;
        let Some(key) = found else {
            // What is revoked since is missed by nobody.
            if let Some(last) = plan.last.filter(|_| plan.revoked.is_none()) {
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
        self.begin_history().await?;
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
        match change_key(&*self.store.keys, &KeyLookup::by_id(key_id), next).await? {
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
        self.begin_history().await?;
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
