//! The handlers of the calls that read or change one key.
//!
//! Promises that when a write returns OK, no replica can answer Authorize without it.

use super::{
    change_requests::{self, Change},
    response,
    service::{KeyHandlers, note_key, note_target},
};
use crate::{
    callers::store_turns::StoreWork,
    grpc::{
        audited_call::{AuditedCall, Closed},
        errors,
        proto::{self, rotate_request, suspend_request},
        writes::wait_until_acknowledged,
    },
    model::{
        audit_record::AdminMethod,
        key::{Key, KeyId, change::Refusal},
        token::Token,
    },
    store::{
        Committed, KeyChange, KeyReplacement, KeyStore, KeySuspension, Position, Replaced,
        StoreError, Suspended, change_key,
    },
};
use rand::RngExt;
use tonic::Status;

const ADVICE: &str = "the key may or may not be changed: read it with Get, then try again";

/// What the store has made of a change.
enum Stored {
    Change(Box<KeyReplacement>, Committed<()>),
    /// Nothing, since the request id was used before, for this key.
    Nothing(Committed<KeyId>),
}

impl KeyHandlers {
    pub(super) async fn get_key(
        self,
        mut call: AuditedCall,
        request: proto::GetRequest,
    ) -> Closed<proto::GetResponse> {
        let now = call.time();
        match self.read_key(&mut call, request).await {
            Ok(key) => {
                let key = Some(response::key(key, now));
                call.answer(proto::GetResponse { key }).await
            }
            Err(status) => call.refuse(status).await,
        }
    }

    async fn read_key(
        &self,
        call: &mut AuditedCall,
        request: proto::GetRequest,
    ) -> Result<Key, Status> {
        const ADVICE: &str = "try again";
        call.set_given_account(request.account_id.as_deref());
        let digester = self.app.authorizer.digester();
        let lookup = change_requests::lookup(request, call.caller(), digester)?;
        note_target(call, &lookup.target);
        let turn = call
            .turn(&self.app.store_turns, StoreWork::LookUp, ADVICE)
            .await?;
        let found = self.app.store.keys.get(&lookup).await;
        drop(turn);
        let found = found.map_err(|error| errors::store_failed(&error, ADVICE))?;
        let key = found.ok_or_else(response::no_such_key)?;
        note_key(call, &key);
        Ok(key)
    }

    pub(super) async fn update_key(
        self,
        mut call: AuditedCall,
        request: proto::UpdateRequest,
    ) -> Closed<proto::UpdateResponse> {
        call.set_given_account(request.account_id.as_deref());
        call.set_given_key(Some(&request.key_id));
        let rule = self.app.authorizer.domain_rule();
        let (writer, now) = (call.writer(), call.time());
        let change = change_requests::update(request, writer, rule);
        self.change(call, change, |replacement| proto::UpdateResponse {
            key: Some(response::key(replacement.key, now)),
        })
        .await
    }

    pub(super) async fn suspend_key(
        self,
        mut call: AuditedCall,
        request: proto::SuspendRequest,
    ) -> Closed<proto::SuspendResponse> {
        call.set_given_account(request.account_id.as_deref());
        call.set_given_key(match &request.target {
            Some(suspend_request::Target::KeyId(id)) => Some(id),
            _ => None,
        });
        let digester = self.app.authorizer.digester();
        let (writer, now) = (call.writer(), call.time());
        let change = change_requests::suspension(request, writer, digester);
        self.change(call, change, |replacement| proto::SuspendResponse {
            key: Some(response::key(replacement.key, now)),
        })
        .await
    }

    pub(super) async fn resume_key(
        self,
        mut call: AuditedCall,
        request: proto::ResumeRequest,
    ) -> Closed<proto::ResumeResponse> {
        call.set_given_account(request.account_id.as_deref());
        call.set_given_key(Some(&request.key_id));
        let (writer, now) = (call.writer(), call.time());
        let change = change_requests::resumption(request, writer);
        self.change(call, change, |replacement| proto::ResumeResponse {
            key: Some(response::key(replacement.key, now)),
        })
        .await
    }

    pub(super) async fn rotate_key(
        self,
        mut call: AuditedCall,
        request: proto::RotateRequest,
    ) -> Closed<proto::RotateResponse> {
        call.set_given_account(request.account_id.as_deref());
        call.set_given_key(match &request.target {
            Some(rotate_request::Target::KeyId(id)) => Some(id),
            _ => None,
        });
        let (token, id_bits) = {
            let mut rng = rand::rng();
            (Token::generate(&mut rng), rng.random())
        };
        let digester = self.app.authorizer.digester();
        let (writer, now) = (call.writer(), call.time());
        let change = change_requests::rotation(request, writer, &token, digester, &id_bits);
        self.change(call, change, |replacement| {
            let successor = replacement.successor.map(|new| response::key(new.key, now));
            proto::RotateResponse {
                token: token.expose().to_owned(),
                key: successor,
                predecessor: Some(response::key(replacement.key, now)),
            }
        })
        .await
    }

    /// Carries a change out. It is answered once every replica decides by it.
    async fn change<T>(
        &self,
        mut call: AuditedCall,
        change: Result<Change, Status>,
        answer: impl FnOnce(KeyReplacement) -> T,
    ) -> Closed<T> {
        let max_keys = self.app.max_keys_per_account;
        let change = change.map(|change| change.limited_to(max_keys));
        let stored = async { self.commit_change(&mut call, &change?).await };
        match stored.await {
            Err(status) => call.refuse(status).await,
            Ok(Stored::Change(replacement, committed)) => {
                let key_end = replacement.recorded_end();
                let successor = replacement.successor.as_ref().map(|new| new.key.id);
                let call = call.recorded_with_change(&committed, key_end, successor);
                if call.has_line() {
                    log_change(&replacement, committed.position());
                }
                let (method, position) = (replacement.method, committed.position());
                let complete = async {
                    let acknowledged = wait_until_acknowledged(&self.app, method, position).await;
                    acknowledged
                        .map_err(|error| response::unacknowledged_change(error, &replacement))?;
                    Ok(answer(*replacement))
                };
                let answer = call.wait_with_caller(complete).await;
                call.close(answer)
            }
            Ok(Stored::Nothing(first)) => {
                let call = call.recorded_by(&first);
                let (first, position) = first.into_parts();
                let advice = response::ROTATED_BEFORE;
                let refused = self.refuse_repeated(first, position, advice);
                let refused = call.wait_with_caller(refused).await;
                call.close(refused)
            }
        }
    }

    async fn commit_change(
        &self,
        call: &mut AuditedCall,
        change: &Change,
    ) -> Result<Stored, Status> {
        note_target(call, &change.lookup.target);
        let keys = &*self.app.store.keys;
        let turn = call
            .turn(&self.app.store_turns, StoreWork::Write, ADVICE)
            .await?;
        let changed = match change.suspension() {
            Some(suspension) => set_suspension(keys, &suspension, change).await,
            None => change_key(keys, &change.lookup, |key| change.next(key)).await,
        };
        let changed = changed.map_err(|error| call.store_failed(&error, ADVICE))?;
        let stored = match changed {
            KeyChange::Stored(replacement, committed) => {
                note_key(call, &replacement.key);
                Stored::Change(replacement, committed)
            }
            KeyChange::RequestIdUsed(key, first) => {
                note_key(call, &key);
                Stored::Nothing(first)
            }
            KeyChange::DomainNotVerified(key) => {
                note_key(call, &key);
                return Err(response::domain_not_verified());
            }
            KeyChange::TooManyKeys(key) => {
                note_key(call, &key);
                let max = self.app.max_keys_per_account;
                return Err(response::too_many_keys(&key.account_id, max));
            }
            KeyChange::Refused(key, refusal) => {
                note_key(call, &key);
                self.repeated(call, change, &key, refusal).await?
            }
            KeyChange::Overtaken(key) => {
                note_key(call, &key);
                return Err(response::overtaken());
            }
            KeyChange::NotFound => return Err(response::no_such_key()),
        };
        drop(turn);
        Ok(stored)
    }

    /// Tells a Rotate that was refused because of an earlier call like it from any other.
    async fn repeated(
        &self,
        call: &AuditedCall,
        change: &Change,
        key: &Key,
        refusal: Refusal,
    ) -> Result<Stored, Status> {
        let Some(repeated) = change.repeated(key) else {
            return Err(response::refused(refusal));
        };
        let replaced = self.app.store.keys.replace(&repeated).await;
        match replaced.map_err(|error| call.store_failed(&error, ADVICE))? {
            Replaced::RequestIdUsed(first) => Ok(Stored::Nothing(first)),
            _ => Err(response::refused(refusal)),
        }
    }
}

/// Suspends or resumes a key, however many other changes of it come first.
async fn set_suspension(
    keys: &dyn KeyStore,
    suspension: &KeySuspension,
    change: &Change,
) -> Result<KeyChange<Refusal>, StoreError> {
    Ok(match keys.set_key_suspension(suspension).await? {
        Suspended::Stored(committed) => {
            let replacement = change.stored(committed.value());
            KeyChange::Stored(Box::new(replacement), committed.map(drop))
        }
        Suspended::Revoked(key) => {
            let refusal = change.next(&key);
            let refusal = refusal.expect_err("a revoked key is neither suspended nor resumed");
            KeyChange::Refused(key, refusal)
        }
        Suspended::NotFound => KeyChange::NotFound,
    })
}

fn log_change(replacement: &KeyReplacement, position: Position) {
    let KeyReplacement {
        key,
        successor,
        method,
        ..
    } = replacement;
    let what = match method {
        AdminMethod::Rotate => "key rotated",
        AdminMethod::Suspend => "key suspended",
        AdminMethod::Resume => "key resumed",
        _ => "key updated",
    };
    tracing::info!(
        key_id = %key.id,
        account_id = key.account_id.as_str(),
        successor = successor.as_ref().map(|new| tracing::field::display(new.key.id)),
        revision = position.revision.number(),
        "{what}"
    );
}
