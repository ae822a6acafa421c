//! The handlers of `tosend.keys.v1.AccountService`.
//!
//! Promises that when a write returns OK, no replica can answer Authorize without it.

use super::{request, response};
use crate::{
    app::App,
    callers::store_turns::StoreWork,
    grpc::{
        audited_call::{AuditedCall, Closed, Unpermitted},
        errors,
        handlers::implement,
        keys,
        proto::{self, account_service_server::AccountService},
        writes::{CHANGE_AGAIN, unacknowledged, wait_until_acknowledged},
    },
    model::{account::AccountId, audit_record::AdminMethod, key::Suspension},
    store::{Committed, KeyCounts, Revision, SuspensionChange},
};
use std::sync::Arc;
use tonic::Status;

/// Answers the calls of `AccountService` from the parts of the process.
#[derive(Clone)]
pub(in crate::grpc) struct AccountHandlers {
    app: Arc<App>,
}

impl AccountHandlers {
    pub(in crate::grpc) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn suspend(
        self,
        call: AuditedCall,
        request: proto::SuspendAccountRequest,
    ) -> Closed<proto::SuspendAccountResponse> {
        let change = request::suspension(request, call.writer());
        self.change(call, change, |suspension| proto::SuspendAccountResponse {
            suspension: suspension.as_ref().map(keys::suspension),
        })
        .await
    }

    async fn resume(
        self,
        call: AuditedCall,
        request: proto::ResumeAccountRequest,
    ) -> Closed<proto::ResumeAccountResponse> {
        let change = request::resumption(request, call.writer());
        self.change(call, change, |_| proto::ResumeAccountResponse {})
            .await
    }

    /// Carries a change out. It is answered once every replica decides by it.
    async fn change<T>(
        &self,
        mut call: AuditedCall,
        change: Result<Unpermitted<SuspensionChange>, Status>,
        answer: impl FnOnce(Option<Suspension>) -> T,
    ) -> Closed<T> {
        let (change, committed) = match self.commit_change(&mut call, change).await {
            Ok(committed) => committed,
            Err(status) => return call.refuse(status).await,
        };
        let call = call.recorded_by(&committed);
        let (suspension, position) = committed.into_parts();
        let (method, what) = match suspension {
            Some(_) => (AdminMethod::SuspendAccount, "account suspended"),
            None => (AdminMethod::ResumeAccount, "account resumed"),
        };
        if call.has_line() {
            tracing::info!(
                account_id = change.account_id.as_str(),
                revision = position.revision.number(),
                "{what}"
            );
        }
        let complete = async {
            let acknowledged = wait_until_acknowledged(&self.app, method, position).await;
            acknowledged.map_err(|error| unacknowledged(error, CHANGE_AGAIN))?;
            Ok(answer(suspension))
        };
        let answer = call.wait_with_caller(complete).await;
        call.close(answer)
    }

    async fn commit_change(
        &self,
        call: &mut AuditedCall,
        change: Result<Unpermitted<SuspensionChange>, Status>,
    ) -> Result<(SuspensionChange, Committed<Option<Suspension>>), Status> {
        const ADVICE: &str = "the account may or may not be changed: try again";
        let change = call.permit(change?)?;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::Write, ADVICE)
            .await?;
        let committed = self.app.store.accounts.set_suspension(&change).await;
        drop(turn);
        let committed = committed.map_err(|error| call.store_failed(&error, ADVICE))?;
        Ok((change, committed))
    }

    async fn get(
        self,
        mut call: AuditedCall,
        request: proto::GetAccountRequest,
    ) -> Closed<proto::GetAccountResponse> {
        match self.read_account(&mut call, request).await {
            Ok(_) if call.is_abandoned() => call.refuse(errors::abandoned()).await,
            Ok(account) => {
                let account = Some(account);
                call.answer(proto::GetAccountResponse { account }).await
            }
            Err(status) => call.refuse(status).await,
        }
    }

    async fn read_account(
        &self,
        call: &mut AuditedCall,
        request: proto::GetAccountRequest,
    ) -> Result<proto::Account, Status> {
        const ADVICE: &str = "try again";
        let account_id = call.permit(request::account(request)?)?;
        let accounts = &self.app.store.accounts;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::Search, ADVICE)
            .await?;
        let summary = accounts.get_account(&account_id).await;
        drop(turn);
        let summary = summary.map_err(|error| errors::store_failed(&error, ADVICE))?;
        let keys = self.count_keys(call, &account_id).await?;
        Ok(response::account(account_id, &summary, keys))
    }

    /// Each step waits for its own turn at the store, so that other calls get theirs in between.
    async fn count_keys(
        &self,
        call: &AuditedCall,
        account_id: &AccountId,
    ) -> Result<KeyCounts, Status> {
        const ADVICE: &str = "try again";
        let (mut all, mut before) = (KeyCounts::default(), Revision::from_number(i64::MAX));
        loop {
            let accounts = &self.app.store.accounts;
            let counted = accounts.count_keys(account_id, call.time(), before);
            let counted = call.search_step(&self.app.store_turns, ADVICE, counted);
            let counted = counted.await?;
            all += counted.counts;
            match counted.counted_to {
                Some(oldest) => before = oldest,
                None => return Ok(all),
            }
        }
    }
}

implement! {
    AccountService for AccountHandlers {
        audited suspend_account(SuspendAccount, SuspendAccountRequest) -> SuspendAccountResponse = suspend;
        audited resume_account(ResumeAccount, ResumeAccountRequest) -> ResumeAccountResponse = resume;
        audited get_account(GetAccount, GetAccountRequest) -> GetAccountResponse = get;
    }
}
