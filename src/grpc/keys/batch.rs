//! The handler that revokes many keys in one call.
//!
//! Promises that when it returns OK, no replica can grant any of the keys.

use super::{
    batch_request::{self, Batch, BatchSelection},
    response,
    service::KeyHandlers,
};
use crate::{
    callers::store_turns::StoreWork,
    grpc::{
        audited_call::{AuditedCall, Closed, Recorded},
        errors, proto,
        writes::wait_until_acknowledged,
    },
    model::{
        audit_record::AdminMethod,
        key::{KeyId, filter::KeyFilter},
    },
    store::{
        BatchRevocation, Committed, LIST_SEARCH_LEN, ListQuery, MAX_BATCH, Position, Selected,
        Selection,
    },
};
use tonic::Status;

const ADVICE: &str = "the keys may or may not be revoked: try again";

/// What became of a batch.
enum Done {
    /// It was to be counted alone.
    Counted(Selected),
    Revoked(Selected, Committed<u64>),
}

/// How many keys a line names, so that no line is long.
const KEYS_IN_A_LINE: usize = 100;

/// Names the keys, in as many lines as that takes. Each says which of them it is, so that a reader notices when one is
/// missing.
fn log_batch(call: &AuditedCall<Recorded>, revoked: u64, write: Position, key_ids: &[KeyId]) {
    let parts = key_ids.len().div_ceil(KEYS_IN_A_LINE).max(1);
    for part in 0..parts {
        let ids = key_ids.iter().skip(part * KEYS_IN_A_LINE);
        let ids: Vec<_> = ids.take(KEYS_IN_A_LINE).map(KeyId::to_string).collect();
        tracing::info!(
            store_id = %call.store().store_id,
            history_id = %call.store().history_of(write),
            time = %call.time(),
            revision = write.revision.number(),
            caller = call.caller().name.as_str(),
            revoked,
            part = part + 1,
            parts,
            key_ids = ids.join(" "),
            "keys revoked"
        );
    }
}

impl KeyHandlers {
    pub(super) async fn batch_revoke_keys(
        self,
        mut call: AuditedCall,
        request: proto::BatchRevokeRequest,
    ) -> Closed<proto::BatchRevokeResponse> {
        match self.commit_batch(&mut call, request).await {
            Err(status) => call.refuse(status).await,
            Ok(Done::Counted(selected)) => {
                let count = selected.key_ids.len() as u64;
                call.answer(response::batch_revoked(count, &selected)).await
            }
            Ok(Done::Revoked(selected, committed)) => {
                let call = call.recorded_by(&committed);
                let (revoked, position) = committed.into_parts();
                if call.has_line() && revoked > 0 {
                    log_batch(&call, revoked, position, &selected.key_ids);
                }
                let complete = async {
                    let method = AdminMethod::BatchRevoke;
                    let acknowledged = wait_until_acknowledged(&self.app, method, position).await;
                    acknowledged.map_err(response::unacknowledged_batch)?;
                    Ok(response::batch_revoked(revoked, &selected))
                };
                let answer = call.wait_with_caller(complete).await;
                call.close(answer)
            }
        }
    }

    async fn commit_batch(
        &self,
        call: &mut AuditedCall,
        request: proto::BatchRevokeRequest,
    ) -> Result<Done, Status> {
        call.set_given_account(request.account_id.as_deref());
        let digester = self.app.authorizer.digester();
        let batch = batch_request::batch(request, call.caller(), digester)?;
        let Batch {
            selection,
            reason,
            is_dry_run,
        } = batch;
        let (selected, filter) = match selection {
            BatchSelection::Filter(filter) => {
                let filter = call.permit(filter)?;
                (self.search_batch(call, &filter).await?, filter)
            }
            BatchSelection::Keys(given) => {
                call.permit_given_account()?;
                let filter = KeyFilter {
                    account_id: call.account_id().cloned(),
                    ..KeyFilter::default()
                };
                (self.find_given(call, &given).await?, filter)
            }
        };
        if is_dry_run {
            return Ok(Done::Counted(selected));
        }
        // Also with none: the answer to a call that is repeated must wait for the writes of the first.
        let writer = call.writer();
        let revocation = BatchRevocation {
            key_ids: selected.key_ids.clone(),
            filter,
            reason,
            now: writer.now,
            caller: writer.caller.name.clone(),
            still_allowed: writer.still_allowed,
        };
        let turns = &self.app.store_turns;
        // Callers take turns with batches. So no caller's batches can follow one another while others wait.
        let long_turn = call.turn(turns, StoreWork::LongWrite, ADVICE).await?;
        let turn = call.turn(turns, StoreWork::Write, ADVICE).await?;
        let committed = self.app.store.keys.batch_revoke(&revocation).await;
        drop((turn, long_turn));
        let committed = committed.map_err(|error| call.store_failed(&error, ADVICE))?;
        Ok(Done::Revoked(selected, committed))
    }

    /// Goes through the keys of the account until it has more than one call revokes. As in a List, each step
    /// waits for its own turn at the store.
    async fn search_batch(
        &self,
        call: &AuditedCall,
        filter: &KeyFilter,
    ) -> Result<Selected, Status> {
        let mut key_ids = Vec::new();
        let mut rest = ListQuery {
            filter: filter.clone(),
            after: None,
            limit: MAX_BATCH + 1,
            search_len: LIST_SEARCH_LEN,
            now: call.time(),
        };
        loop {
            let turns = &self.app.store_turns;
            let step = self.app.store.keys.list(&rest);
            let listed = call.search_step(turns, ADVICE, step).await?;
            let listed = listed.ok_or_else(response::forgotten_meanwhile)?;
            key_ids.extend(listed.keys.iter().map(|key| key.id));
            (rest.limit, rest.after) = (MAX_BATCH + 1 - key_ids.len(), listed.searched_to);
            if rest.limit == 0 || rest.after.is_none() {
                break;
            }
        }
        let there_are_more = key_ids.len() > MAX_BATCH;
        key_ids.truncate(MAX_BATCH);
        Ok(Selected {
            key_ids,
            there_are_more,
            ..Selected::default()
        })
    }

    async fn find_given(&self, call: &AuditedCall, given: &Selection) -> Result<Selected, Status> {
        let turns = &self.app.store_turns;
        let turn = call.turn(turns, StoreWork::Search, ADVICE).await?;
        let selected = self.app.store.keys.select(given).await;
        drop(turn);
        selected.map_err(|error| errors::store_failed(&error, ADVICE))
    }
}
