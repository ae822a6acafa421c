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
        audited_call::{AuditedCall, Closed},
        errors, proto,
        writes::wait_until_acknowledged,
    },
    model::{audit_record::AdminMethod, key::filter::KeyFilter},
    store::{BatchRevocation, Committed, Selected, Selection},
};
use tonic::Status;

const ADVICE: &str = "the keys may or may not be revoked: try again";

/// What became of a batch.
enum Done {
    /// It was to be counted alone.
    Counted(Selected),
    Revoked(Selected, Committed<u64>),
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
                if call.has_line() {
                    let revision = position.revision.number();
                    tracing::info!(revoked, revision, "keys revoked");
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
        let digester = self.app.authorizer.digester();
        let batch = batch_request::batch(request, call.caller(), digester)?;
        let Batch {
            selection,
            reason,
            is_dry_run,
        } = batch;
        if is_dry_run {
            call.set_dry_run();
        }
        let (selection, filter) = match selection {
            BatchSelection::Filter(filter) => {
                let filter = call.permit(filter)?;
                (Selection::Filter(filter.clone()), filter)
            }
            BatchSelection::Keys(targets, accounts) => {
                (Selection::Keys(targets, accounts), KeyFilter::default())
            }
        };
        let keys = &self.app.store.keys;
        let turns = &self.app.store_turns;
        let turn = call.turn(turns, StoreWork::Search, ADVICE).await?;
        let selected = keys.select(&selection).await;
        drop(turn);
        let selected = selected.map_err(|error| errors::store_failed(&error, ADVICE))?;
        if is_dry_run {
            return Ok(Done::Counted(selected));
        }
        // Also with none: the answer to a call that is repeated must wait for the writes of the first.
        let revocation = BatchRevocation {
            key_ids: selected.key_ids.clone(),
            filter,
            reason,
            now: call.time(),
            caller: call.caller().name.clone(),
        };
        let turn = call.turn(turns, StoreWork::Write, ADVICE).await?;
        let committed = keys.batch_revoke(&revocation).await;
        drop(turn);
        let committed = committed.map_err(|error| errors::store_failed(&error, ADVICE))?;
        Ok(Done::Revoked(selected, committed))
    }
}
