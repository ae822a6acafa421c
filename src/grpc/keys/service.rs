//! The handlers of `tosend.keys.v1.KeyService`, but for the questions: see `grpc::authorize`.
//!
//! Promises that when a write returns OK, no replica can answer Authorize without it.

use super::{page_token::InvalidPageToken, request, response};
use crate::{
    app::App,
    callers::store_turns::StoreWork,
    grpc::{
        audited_call::{AuditedCall, Closed},
        errors,
        handlers::implement,
        proto::{self, key_service_server::KeyService},
        writes::wait_until_acknowledged,
    },
    model::{
        audit_record::AdminMethod,
        key::{Key, KeyId},
        token::Token,
    },
    store::{
        Committed, Counted, CreateOutcome, KeyTarget, LIST_SEARCH_LEN, ListQuery, Listed, NewKey,
        NotCreated, Position,
    },
};
use rand::RngExt;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tonic::Status;

/// How long a List goes on searching for keys that pass its filters, before it answers with what it has
/// found. One more step takes some ten milliseconds.
const SEARCH_LIMIT: Duration = Duration::from_millis(5);

/// How long a List counts the keys that pass its filters.
const COUNT_LIMIT: Duration = Duration::from_secs(1);

/// How many keys a count looks at before other calls get a turn.
const COUNT_STEP: usize = 4 * LIST_SEARCH_LEN;

/// Answers the calls of `KeyService` from the parts of the process.
#[derive(Clone)]
pub(in crate::grpc) struct KeyHandlers {
    pub(super) app: Arc<App>,
}

impl KeyHandlers {
    pub(in crate::grpc) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn create_key(
        self,
        mut call: AuditedCall,
        request: proto::CreateRequest,
    ) -> Closed<proto::CreateResponse> {
        let (token, new, committed) = match self.commit_key(&mut call, request).await {
            Ok(committed) => committed,
            Err(status) => return call.refuse(status).await,
        };
        call.set_key(match committed.value() {
            CreateOutcome::Created => new.key.id,
            CreateOutcome::RequestIdUsed { first } => *first,
        });
        let now = call.time();
        let call = call.recorded_by(&committed);
        if call.has_line() && *committed.value() == CreateOutcome::Created {
            log_write("key created", &new.key, committed.position());
        }
        let created = self.acknowledge_key(new.key, committed);
        let created = call.wait_with_caller(created).await;
        call.close(created.map(|key| proto::CreateResponse {
            token: token.expose().to_owned(),
            key: Some(response::key(key, now)),
        }))
    }

    async fn commit_key(
        &self,
        call: &mut AuditedCall,
        request: proto::CreateRequest,
    ) -> Result<(Token, NewKey, Committed<CreateOutcome>), Status> {
        const ADVICE: &str =
            "the key may or may not have been created: try again with the same request_id";
        let (token, id_bits) = {
            let mut rng = rand::rng();
            (Token::generate(&mut rng), rng.random())
        };
        let (writer, digester) = (call.writer(), self.app.authorizer.digester());
        let rule = self.app.authorizer.domain_rule();
        let max = self.app.max_keys_per_account;
        let new = request::new_key(request, writer, &token, digester, &id_bits, rule, max)?;
        let new = call.permit(new)?;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::SharedWrite, ADVICE)
            .await?;
        let created = self.app.store.keys.create(&new).await;
        drop(turn);
        let created = created.map_err(|error| call.store_failed(&error, ADVICE))?;
        let committed = created.map_err(|refused| match refused {
            NotCreated::DomainNotVerified => response::domain_not_verified(),
            NotCreated::TooManyKeys => response::too_many_keys(&new.key.account_id, max),
        })?;
        Ok((token, new, committed))
    }

    /// Waits until every replica knows the key, or the first key if the request id was used before.
    async fn acknowledge_key(
        &self,
        key: Key,
        committed: Committed<CreateOutcome>,
    ) -> Result<Key, Status> {
        let (outcome, position) = committed.into_parts();
        match outcome {
            CreateOutcome::Created => {
                let acknowledged =
                    wait_until_acknowledged(&self.app, AdminMethod::Create, position).await;
                acknowledged.map_err(|error| response::unacknowledged_create(error, key.id))?;
                Ok(key)
            }
            CreateOutcome::RequestIdUsed { first } => {
                let advice = response::CREATED_BEFORE;
                self.refuse_repeated(first, position, advice).await
            }
        }
    }

    /// Refuses a request id that was used before. It waits for the first key's write, because the call
    /// that made it may not have waited to the end.
    pub(super) async fn refuse_repeated<T>(
        &self,
        first: KeyId,
        position: Position,
        advice: &str,
    ) -> Result<T, Status> {
        let acknowledgements = &self.app.acknowledgements;
        let acknowledged = acknowledgements.wait_until_acknowledged(position).await;
        acknowledged.map_err(|error| response::unacknowledged_create(error, first))?;
        Err(response::request_id_used(first, advice))
    }

    async fn list_keys(
        self,
        mut call: AuditedCall,
        request: proto::ListRequest,
    ) -> Closed<proto::ListResponse> {
        match self.read_page(&mut call, request).await {
            Ok(_) if call.is_abandoned() => call.refuse(errors::abandoned()).await,
            Ok(page) => call.answer(page).await,
            Err(status) => call.refuse(status).await,
        }
    }

    async fn read_page(
        &self,
        call: &mut AuditedCall,
        request: proto::ListRequest,
    ) -> Result<proto::ListResponse, Status> {
        let shows_total_size = request.show_total_size;
        let query = call.permit(request::list_query(request, call.time())?)?;
        let listed = self.search(call, &query).await?;
        let mut page = response::page(listed, &query);
        if shows_total_size {
            let counted = self.count(call, &query).await?;
            page.total_size = Some(i64::try_from(counted.count).unwrap_or(i64::MAX));
            page.total_size_is_minimum = counted.searched_to.is_some();
        }
        Ok(page)
    }

    /// Searches until it has one key more than the page holds, so that it knows whether there is another
    /// page. A long search has many steps. Each step waits for its own turn at the store, so that other
    /// calls get theirs in between.
    async fn search(&self, call: &AuditedCall, query: &ListQuery) -> Result<Listed, Status> {
        const ADVICE: &str = "try again";
        let (began, mut keys) = (Instant::now(), Vec::new());
        // Nearly always these are enough.
        let mut rest = ListQuery {
            limit: query.limit + 1,
            search_len: query.limit + 1,
            ..query.clone()
        };
        loop {
            let step = self.app.store.keys.list(&rest);
            let listed = call.search_step(&self.app.store_turns, ADVICE, step);
            let listed = listed.await?;
            let listed = listed.ok_or_else(|| request::invalid_page_token(InvalidPageToken))?;
            keys.extend(listed.keys);
            rest.limit = query.limit + 1 - keys.len();
            (rest.after, rest.search_len) = (listed.searched_to, LIST_SEARCH_LEN);
            if rest.limit == 0 || rest.after.is_none() || began.elapsed() > SEARCH_LIMIT {
                let searched_to = listed.searched_to;
                return Ok(Listed { keys, searched_to });
            }
        }
    }

    /// Counts from the beginning of the list, until all are counted or the time is over.
    async fn count(&self, call: &AuditedCall, query: &ListQuery) -> Result<Counted, Status> {
        const ADVICE: &str = "try again, or without show_total_size";
        let (began, mut count) = (Instant::now(), 0);
        let mut rest = ListQuery {
            after: None,
            search_len: COUNT_STEP,
            ..query.clone()
        };
        loop {
            let turn = call
                .turn(&self.app.store_turns, StoreWork::Search, ADVICE)
                .await?;
            if call.is_abandoned() {
                return Err(errors::abandoned());
            }
            let counted = self.app.store.keys.count(&rest).await;
            drop(turn);
            let counted = counted.map_err(|error| errors::store_failed(&error, ADVICE))?;
            let counted = counted.ok_or_else(|| request::invalid_page_token(InvalidPageToken))?;
            count += counted.count;
            rest.after = counted.searched_to;
            if rest.after.is_none() || began.elapsed() > COUNT_LIMIT {
                return Ok(Counted { count, ..counted });
            }
        }
    }

    async fn revoke_key(
        self,
        mut call: AuditedCall,
        request: proto::RevokeRequest,
    ) -> Closed<proto::RevokeResponse> {
        let committed = match self.commit_revocation(&mut call, request).await {
            Ok(committed) => committed,
            Err(status) => return call.refuse(status).await,
        };
        let (key, now) = (committed.value(), call.time());
        note_key(&mut call, key);
        let call = call.recorded_by(&committed);
        if call.has_line() {
            log_write("key revoked", committed.value(), committed.position());
        }
        let revoked = self.acknowledge_revocation(committed);
        let revoked = call.wait_with_caller(revoked).await;
        call.close(revoked.map(|key| proto::RevokeResponse {
            key: Some(response::key(key, now)),
        }))
    }

    async fn commit_revocation(
        &self,
        call: &mut AuditedCall,
        request: proto::RevokeRequest,
    ) -> Result<Committed<Key>, Status> {
        const ADVICE: &str = "the key may or may not be revoked: try again";
        call.set_given_account(request.account_id.as_deref());
        let digester = self.app.authorizer.digester();
        let revocation = request::revocation(request, call.writer(), digester)?;
        note_target(call, &revocation.target);
        let turn = call
            .turn(&self.app.store_turns, StoreWork::SharedWrite, ADVICE)
            .await?;
        let revoked = self.app.store.keys.revoke(&revocation).await;
        drop(turn);
        let revoked = revoked.map_err(|error| call.store_failed(&error, ADVICE))?;
        revoked.ok_or_else(response::no_such_key)
    }

    /// Waits until every replica denies the key. So does a call for a key that was revoked before,
    /// because the call that revoked it may not have waited to the end.
    async fn acknowledge_revocation(&self, committed: Committed<Key>) -> Result<Key, Status> {
        let (key, position) = committed.into_parts();
        let acknowledged = wait_until_acknowledged(&self.app, AdminMethod::Revoke, position).await;
        acknowledged.map_err(response::unacknowledged_revoke)?;
        Ok(key)
    }
}

/// Notes which key a call names.
pub(super) fn note_target(call: &mut AuditedCall, target: &KeyTarget) {
    if let KeyTarget::Id(id) = target {
        call.set_key(*id);
    }
}

/// Notes which key a call concerns, once the store has found it.
pub(super) fn note_key(call: &mut AuditedCall, key: &Key) {
    call.set_key(key.id);
    call.set_account(&key.account_id, key.scope.as_domain());
}

fn log_write(what: &'static str, key: &Key, position: Position) {
    tracing::info!(
        key_id = %key.id,
        account_id = key.account_id.as_str(),
        revision = position.revision.number(),
        "{what}"
    );
}

implement! {
    KeyService for KeyHandlers {
        audited create(Create, CreateRequest) -> CreateResponse = create_key;
        audited list(List, ListRequest) -> ListResponse = list_keys;
        audited get(Get, GetRequest) -> GetResponse = get_key;
        audited update(Update, UpdateRequest) -> UpdateResponse = update_key;
        audited rotate(Rotate, RotateRequest) -> RotateResponse = rotate_key;
        audited suspend(Suspend, SuspendRequest) -> SuspendResponse = suspend_key;
        audited resume(Resume, ResumeRequest) -> ResumeResponse = resume_key;
        audited revoke(Revoke, RevokeRequest) -> RevokeResponse = revoke_key;
        dry_run_of batch_revoke(BatchRevoke, BatchRevokeRequest) -> BatchRevokeResponse = batch_revoke_keys;
    }
}
