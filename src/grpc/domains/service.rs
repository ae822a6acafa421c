//! The handlers of `tosend.keys.v1.DomainService`.
//!
//! Promises that when a write returns OK, no replica can answer Authorize without it.

use super::{request, response};
use crate::{
    app::App,
    callers::store_turns::StoreWork,
    grpc::{
        audited_call::{AuditedCall, Closed, Recorded},
        errors,
        handlers::implement,
        proto::{self, domain_service_server::DomainService},
        writes::wait_until_acknowledged,
    },
    model::{account::AccountId, audit_record::AdminMethod, domain::Domain},
    store::{
        ActiveKeys, AddedDomain, Committed, DomainAddition, DomainRemoval, Position, RemovedDomain,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tonic::Status;

/// How many domains of a list are read in one turn, keys counted: some ten milliseconds' work. A longer page
/// takes several turns, so that other calls get theirs in between.
const LIST_STEP_LEN: usize = 100;

/// How long a write may take to count keys. It should take milliseconds, and the write waits for it.
const COUNT_LIMIT: Duration = Duration::from_secs(1);

/// Answers the calls of `DomainService` from the parts of the process.
#[derive(Clone)]
pub(in crate::grpc) struct DomainHandlers {
    app: Arc<App>,
}

impl DomainHandlers {
    pub(in crate::grpc) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn add(
        self,
        mut call: AuditedCall,
        request: proto::AddDomainRequest,
    ) -> Closed<proto::AddDomainResponse> {
        let (addition, committed) = match self.commit_addition(&mut call, request).await {
            Ok(committed) => committed,
            Err(status) => return call.refuse(status).await,
        };
        let call = call.recorded_by(&committed);
        let (added, position) = committed.into_parts();
        let DomainAddition {
            account_id, domain, ..
        } = &addition;
        if call.has_line() {
            log_write("domain added", account_id, domain, position);
        }
        let complete = async {
            let (acknowledged, active_keys) = tokio::join!(
                wait_until_acknowledged(&self.app, AdminMethod::AddDomain, position),
                self.count_active_keys(&call, account_id, domain),
            );
            acknowledged.map_err(response::unacknowledged_addition)?;
            Ok(proto::AddDomainResponse {
                domain: Some(response::domain(&added.domain, active_keys)),
                shared: added.is_shared,
            })
        };
        let answer = call.wait_with_caller(complete).await;
        call.close(answer)
    }

    async fn commit_addition(
        &self,
        call: &mut AuditedCall,
        request: proto::AddDomainRequest,
    ) -> Result<(DomainAddition, Committed<AddedDomain>), Status> {
        const ADVICE: &str = "the domain may or may not have been added: try again";
        let addition = request::addition(request, call.writer())?;
        let addition = call.permit(addition)?;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::Write, ADVICE)
            .await?;
        let added = self.app.store.domains.add_domain(&addition).await;
        drop(turn);
        let committed = added.map_err(|error| call.store_failed(&error, ADVICE))?;
        Ok((addition, committed))
    }

    async fn remove(
        self,
        mut call: AuditedCall,
        request: proto::RemoveDomainRequest,
    ) -> Closed<proto::RemoveDomainResponse> {
        let (removal, committed) = match self.commit_removal(&mut call, request).await {
            Ok(committed) => committed,
            Err(status) => return call.refuse(status).await,
        };
        let call = call.recorded_by(&committed);
        let DomainRemoval {
            account_id, domain, ..
        } = &removal;
        let (removed, position) = committed.into_parts();
        if call.has_line() {
            log_write("domain removed", account_id, domain, position);
        }
        let complete = async {
            let (acknowledged, active_keys) = tokio::join!(
                wait_until_acknowledged(&self.app, AdminMethod::RemoveDomain, position),
                self.count_active_keys(&call, account_id, domain),
            );
            acknowledged.map_err(response::unacknowledged_removal)?;
            Ok(response::removed(removed, active_keys))
        };
        let answer = call.wait_with_caller(complete).await;
        call.close(answer)
    }

    async fn commit_removal(
        &self,
        call: &mut AuditedCall,
        request: proto::RemoveDomainRequest,
    ) -> Result<(DomainRemoval, Committed<RemovedDomain>), Status> {
        const ADVICE: &str = "the domain may or may not have been removed: try again";
        let removal = request::removal(request, call.writer())?;
        let removal = call.permit(removal)?;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::Write, ADVICE)
            .await?;
        let removed = self.app.store.domains.remove_domain(&removal).await;
        drop(turn);
        let removed = removed.map_err(|error| call.store_failed(&error, ADVICE))?;
        let committed = removed.ok_or_else(response::no_such_domain)?;
        Ok((removal, committed))
    }

    /// Counts while the write waits for the replicas, so that the count takes no time of its own. The
    /// domain was changed whether or not its keys can be counted, so the call says OK without a count.
    async fn count_active_keys(
        &self,
        call: &AuditedCall<Recorded>,
        account_id: &AccountId,
        domain: &Domain,
    ) -> ActiveKeys {
        let counted = async {
            const ADVICE: &str = "the domain was changed, and its keys are not counted";
            let (store, now) = (&self.app.store.domains, call.time());
            let turn = call
                .turn(&self.app.store_turns, StoreWork::Search, ADVICE)
                .await?;
            let counted = store.count_active_keys(account_id, domain, now).await;
            drop(turn);
            // The error is logged here.
            counted.map_err(|error| errors::store_failed(&error, ADVICE))
        };
        let counted = timeout(COUNT_LIMIT, counted).await;
        counted.map_or(ActiveKeys::UNKNOWN, |counted| {
            counted.unwrap_or(ActiveKeys::UNKNOWN)
        })
    }

    async fn list(
        self,
        mut call: AuditedCall,
        request: proto::ListDomainsRequest,
    ) -> Closed<proto::ListDomainsResponse> {
        match self.read_page(&mut call, &request).await {
            Ok(page) => call.answer(page).await,
            Err(status) => call.refuse(status).await,
        }
    }

    async fn read_page(
        &self,
        call: &mut AuditedCall,
        request: &proto::ListDomainsRequest,
    ) -> Result<proto::ListDomainsResponse, Status> {
        const ADVICE: &str = "try again";
        let query = call.permit(request::query(request, call.time())?)?;
        // A domain more than the page holds tells whether there is another page.
        let len = query.limit + 1;
        let (mut step, mut listed) = (query.clone(), Vec::new());
        loop {
            step.limit = LIST_STEP_LEN.min(len - listed.len());
            let found = self.app.store.domains.list_domains(&step);
            let found = call.search_step(&self.app.store_turns, ADVICE, found);
            let found = found.await?;
            let was_last = found.len() < step.limit;
            listed.extend(found);
            if was_last || listed.len() == len {
                return Ok(response::page(listed, &query));
            }
            step.after = listed.last().map(|last| last.domain.domain.clone());
        }
    }
}

fn log_write(what: &'static str, account_id: &AccountId, domain: &Domain, position: Position) {
    tracing::info!(
        account_id = account_id.as_str(),
        domain = domain.as_str(),
        revision = position.revision.number(),
        "{what}"
    );
}

implement! {
    DomainService for DomainHandlers {
        audited add_domain(AddDomain, AddDomainRequest) -> AddDomainResponse = add;
        audited remove_domain(RemoveDomain, RemoveDomainRequest) -> RemoveDomainResponse = remove;
        audited list_domains(ListDomains, ListDomainsRequest) -> ListDomainsResponse = list;
    }
}
