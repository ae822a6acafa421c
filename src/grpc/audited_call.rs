//! A call that is on the audit record however it ends.
//!
//! Owns the way of such a call: authentication opens it, a handler takes it up, and one of the two
//! closes it. The types hold a handler to that: it is given the call and must return a [`Closed`], and
//! only closing the call makes one.
//! Promises that every audited call of an authenticated caller is recorded and logged, also when its
//! caller hangs up, its message never comes or its handler panics. A caller that makes very many calls
//! has some of them only counted, in records and in lines.
//! Must never record what a caller sent, but only what was parsed from it: the text may hold a token.

use super::{
    call::{name, status},
    errors, held_answer,
    known_now::KnownNow,
    writer::Writer,
};
use crate::{
    audit::recorder::Recorder,
    callers::{
        Caller,
        admin_slots::{AdminSlot, AdminSlots},
        store_turns::{StoreTurn, StoreTurns, StoreWork},
    },
    model::{
        account::{AccountId, Accounts},
        audit_record::{AdminMethod, AuditRecord, MethodName, Outcome},
        caller_name::CallerName,
        domain::Domain,
        key::{KeyEnd, KeyId},
        time::Timestamp,
    },
    net::connection::Peer,
    store::{Committed, Position, StoreError, StoreIdentity},
};
use http::Response;
use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout_at;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Code, Request, Status, body::Body};

/// The call is not on record yet.
pub(super) struct Unrecorded;

/// The store has put the call on record, in one transaction with its write.
pub(super) struct Recorded;

/// An audited call in flight. Dropped unclosed, it is recorded as `CANCELLED`, or as `INTERNAL` during
/// a panic.
pub(super) struct AuditedCall<State = Unrecorded> {
    entry: Entry,
    state: PhantomData<State>,
}

/// The answer of a call that is closed.
#[must_use = "it is the call's answer"]
pub(super) struct Closed<T>(Result<T, Status>);

impl<T> Closed<T> {
    /// The answer, which now may be sent.
    pub(super) fn into_answer(self) -> Result<T, Status> {
        self.0
    }
}

impl<State> AuditedCall<State> {
    pub(super) fn caller(&self) -> &Caller {
        &self.entry.caller
    }

    /// The store that the call is about.
    pub(super) fn store(&self) -> StoreIdentity {
        self.entry.recorder.store()
    }

    /// When the handler took the call up, its message read.
    pub(super) fn time(&self) -> Timestamp {
        self.entry.time
    }

    /// Waits until the store may do this work for the call. Its caller must still have its rights then.
    pub(super) async fn turn(
        &self,
        turns: &StoreTurns,
        work: StoreWork,
        advice: &str,
    ) -> Result<StoreTurn, Status> {
        let takes_rights_away = self.entry.takes_rights_away();
        let turn = turns.take(self.caller(), takes_rights_away, work).await;
        let turn = turn.map_err(|error| errors::no_turn(&error, advice))?;
        self.entry.check_caller()?;
        Ok(turn)
    }

    /// On whose behalf the call writes.
    pub(super) fn writer(&self) -> Writer<'_> {
        Writer {
            caller: self.caller(),
            still_allowed: self.entry.known_now.still_allowed(&self.entry.caller),
            now: self.time(),
        }
    }

    /// The status of a write that the store has not made, or not for certain.
    pub(super) fn store_failed(&self, error: &StoreError, advice: &str) -> Status {
        let changed = match error {
            StoreError::Disallowed => self.entry.check_caller().err(),
            _ => None,
        };
        changed.unwrap_or_else(|| errors::store_failed(error, advice))
    }
}

impl AuditedCall {
    /// `known_now` tells who the caller is by the credentials file as it is whenever that is asked.
    pub(super) fn open(
        caller: Arc<Caller>,
        known_now: KnownNow,
        method: AdminMethod,
        recorder: Arc<Recorder>,
    ) -> Self {
        let entry = Entry {
            caller,
            known_now,
            method,
            time: Timestamp::now(),
            account_id: None,
            key_id: None,
            domain: None,
            include_subdomains: None,
            written: None,
            is_dry_run: false,
            is_recorded: false,
            has_line: None,
            outcome: None,
            recorder,
            slot: None,
            caller_gone: CancellationToken::new(),
        };
        let state = PhantomData;
        Self { entry, state }
    }

    /// Takes up the call that authentication opened for this request, if there is a slot for it. From
    /// here on the handler closes it. A dry run only asks what the call would do: it is recorded under
    /// another name, and gets nothing that is kept for calls that take rights away.
    pub(super) async fn take_up<T>(
        request: &Request<T>,
        is_dry_run: bool,
        slots: &Arc<AdminSlots>,
    ) -> Result<Self, Status> {
        let opened = request.extensions().get::<Handover>();
        let opened = opened.and_then(|handover| Some((handover, handover.take()?)));
        let (handover, mut call) =
            opened.expect("authentication opens each audited call, and only its handler takes it");
        call.entry.time = Timestamp::now();
        call.entry.is_dry_run = is_dry_run;
        // The message may have come long after the headers.
        if let Err(status) = call.entry.check_caller() {
            return Err(call.end(status).await);
        }
        let takes_rights_away = call.entry.takes_rights_away();
        match slots.take(&call.entry.caller, takes_rights_away, Instant::now()) {
            Ok(slot) => {
                let slot = Arc::new(slot);
                // The call was taken once, so this is the first slot.
                let _ = handover.0.slot.set(slot.clone());
                call.entry.slot = Some(slot);
                Ok(call)
            }
            Err(why) => Err(call.end(errors::too_many_admin_calls(why)).await),
        }
    }

    /// Stands for the caller, which waits for the answer until this is dropped.
    pub(super) fn waiting_caller(&self) -> DropGuard {
        self.entry.caller_gone.clone().drop_guard()
    }

    /// Whether the caller has stopped waiting for the answer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.entry.caller_gone.is_cancelled()
    }

    /// Takes one step of a search, in a turn of its own at the store: other calls get theirs before the next step.
    /// Takes none once the caller has given the call up.
    pub(super) async fn search_step<T>(
        &self,
        turns: &StoreTurns,
        advice: &str,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Status> {
        let turn = self.turn(turns, StoreWork::Search, advice).await?;
        if self.is_abandoned() {
            return Err(errors::abandoned());
        }
        let found = step.await;
        drop(turn);
        found.map_err(|error| errors::store_failed(&error, advice))
    }

    /// Gives what was read from the request, if its account is one of the caller's. Notes what the call
    /// concerns either way.
    pub(super) fn permit<T: OfAccount>(&mut self, read: Unpermitted<T>) -> Result<T, Status> {
        let Unpermitted(read) = read;
        self.entry.account_id = read.account_id().cloned();
        self.entry.domain = read.domain().cloned();
        self.entry.include_subdomains = read.include_subdomains();
        let accounts = &self.caller().accounts;
        let is_permitted = match read.account_id() {
            Some(account_id) => accounts.contains(account_id.as_str()),
            None => matches!(accounts, Accounts::All),
        };
        if is_permitted {
            Ok(read)
        } else {
            Err(errors::not_permitted())
        }
    }

    /// Notes the account that a call which names keys gives with them. It is on record also if the account has no
    /// such key, or is not one of the caller's.
    pub(super) fn set_given_account(&mut self, account_id: Option<&str>) {
        let account_id = account_id.map(|text| AccountId::parse(text.to_owned()));
        self.entry.account_id = account_id.and_then(Result::ok);
    }

    /// Notes the key that the request gives, so that a call which is refused by another field is found by it.
    pub(super) fn set_given_key(&mut self, key_id: Option<&String>) {
        let key_id = key_id.map(|text| KeyId::parse(text));
        self.entry.key_id = key_id.and_then(Result::ok);
    }

    /// Refuses a call that gives an account which is not one of the caller's. Only a call that succeeds without
    /// a key has to ask: any other fails, since it finds none there.
    pub(super) fn permit_given_account(&self) -> Result<(), Status> {
        let accounts = &self.caller().accounts;
        let is_permitted = |account_id: &AccountId| accounts.contains(account_id.as_str());
        if self.account_id().is_none_or(is_permitted) {
            Ok(())
        } else {
            Err(errors::not_permitted())
        }
    }

    /// The account that the call concerns, as far as it is known.
    pub(super) fn account_id(&self) -> Option<&AccountId> {
        self.entry.account_id.as_ref()
    }

    /// Notes the key that the call concerns.
    pub(super) fn set_key(&mut self, key_id: KeyId) {
        self.entry.key_id = Some(key_id);
    }

    /// Closes a call that wrote nothing and succeeded. It is answered only if it is on record.
    pub(super) async fn answer<T>(mut self, answer: T) -> Closed<T> {
        Closed(self.entry.record(Code::Ok, false).await.map(|()| answer))
    }

    /// Closes a call that wrote nothing and failed.
    pub(super) async fn refuse<T>(self, status: Status) -> Closed<T> {
        Closed(Err(self.end(status).await))
    }

    /// Closes a call that wrote nothing and failed, and returns what to answer.
    pub(super) async fn end(mut self, status: Status) -> Status {
        let is_trouble = errors::is_trouble(&status);
        match self.entry.record(status.code(), is_trouble).await {
            Ok(()) => status,
            Err(unrecorded) => unrecorded,
        }
    }

    /// The same, but returns before the caller stops waiting, which may be before the record is stored.
    pub(super) async fn end_before(self, deadline: Option<Instant>, status: Status) -> Status {
        let answer = status.clone();
        let ended = self.end(status);
        let Some(deadline) = deadline else {
            return ended.await;
        };
        let ended = timeout_at(deadline.into(), ended).await;
        ended.unwrap_or(answer)
    }

    /// Notes the account and the domain that the call concerns, if the service learned them from a key.
    pub(super) fn set_account(&mut self, account_id: &AccountId, domain: Option<&Domain>) {
        self.entry.account_id = Some(account_id.clone());
        self.entry.domain = domain.cloned();
    }

    /// Notes that the store has put the call on record with its write.
    pub(super) fn recorded_by<T>(self, committed: &Committed<T>) -> AuditedCall<Recorded> {
        self.recorded_with_change(committed, None, None)
    }

    /// The same, of a write that may have changed when a key stops working, or has given it a successor.
    pub(super) fn recorded_with_change<T>(
        mut self,
        committed: &Committed<T>,
        key_end: Option<KeyEnd>,
        successor: Option<KeyId>,
    ) -> AuditedCall<Recorded> {
        // The line of a call that found its work done would be taken for a write.
        self.entry.written = (!committed.is_by_earlier_write()).then(|| Written {
            position: committed.position(),
            key_end,
            successor,
        });
        self.entry.is_recorded = true;
        self.entry.decide_answer_line();
        AuditedCall {
            entry: self.entry,
            state: PhantomData,
        }
    }
}

impl AuditedCall<Recorded> {
    /// Whether the call has log lines of its own. Otherwise it is counted in a later line.
    pub(super) fn has_line(&self) -> bool {
        self.entry.has_line == Some(true)
    }

    /// Waits for the replicas on behalf of the caller, and gives up when it has gone. The write stands
    /// either way. So a call without a caller holds its slot only as long as the store takes.
    pub(super) async fn wait_with_caller<T>(
        &self,
        wait: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        tokio::select! {
            answer = wait => answer,
            () = self.entry.caller_gone.cancelled() => {
                Err(errors::abandoned())
            }
        }
    }

    /// Closes the call.
    pub(super) fn close<T>(mut self, answer: Result<T, Status>) -> Closed<T> {
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        self.entry.outcome = Some(code);
        Closed(answer)
    }
}

/// The write that stands for a call. Its log line tells of it what is needed to make it once more.
struct Written {
    position: Position,
    /// When the key stops working, if the write may have changed that.
    key_end: Option<KeyEnd>,
    /// The key that replaced it.
    successor: Option<KeyId>,
}

/// What a request says, before it is known whether its caller may touch the account that it names. Only
/// [`AuditedCall::permit`] gives it out. Until then it can be looked at.
#[derive(Debug)]
pub struct Unpermitted<T>(T);

impl<T> AsRef<T> for Unpermitted<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

impl<T: OfAccount> Unpermitted<T> {
    /// For what was read from a request.
    pub(super) fn new(read: T) -> Self {
        Self(read)
    }
}

/// What is asked for an account.
pub trait OfAccount {
    /// The account. `None` if it is asked for all accounts.
    fn account_id(&self) -> Option<&AccountId>;

    /// The domain of the account that is to be changed, or whose keys are asked for.
    fn domain(&self) -> Option<&Domain> {
        None
    }

    /// Whether names below the domain are to be verified with it, if that is to be changed.
    fn include_subdomains(&self) -> Option<bool> {
        None
    }
}

/// Brings a call from authentication to its handler, in the request's extensions.
#[derive(Clone)]
pub(super) struct Handover(Arc<HandedOver>);

struct HandedOver {
    call: Mutex<Option<AuditedCall>>,
    /// The call's slot, once a handler has taken the call up.
    slot: OnceLock<Arc<AdminSlot>>,
}

impl Handover {
    pub(super) fn new(call: AuditedCall) -> Self {
        Self(Arc::new(HandedOver {
            call: Mutex::new(Some(call)),
            slot: OnceLock::new(),
        }))
    }

    /// Waits for the answer, and closes the call if no handler took it up: because its message could
    /// not be read, say, or did not come. An answer keeps the call's slot until the client has taken
    /// it, or for this time.
    pub(super) async fn finish<E>(
        self,
        peer: Option<Peer>,
        answer_timeout: Duration,
        answer: impl Future<Output = Result<Response<Body>, E>>,
    ) -> Result<Response<Body>, E> {
        let response = answer.await?;
        let Some(mut call) = self.take() else {
            return Ok(match self.0.slot.get() {
                Some(slot) => held_answer::hold(slot.clone(), peer, answer_timeout, response),
                None => response,
            });
        };
        let code = status(response.headers()).unwrap_or(Code::Unknown);
        // No limit of an account is looked at before a handler takes the call up.
        let is_trouble = errors::may_be_trouble(code);
        let recorded = call.entry.record(code, is_trouble).await;
        Ok(recorded.map_or_else(Status::into_http, |()| response))
    }

    fn take(&self) -> Option<AuditedCall> {
        // The option is valid at any time, because nothing panics while it is locked.
        let mut call = self.0.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.take()
    }
}

/// Counts a call of a client without valid credentials. Such calls are not recorded one by one, so that
/// these clients cannot fill the store.
pub(super) fn count_unauthenticated(method: AdminMethod, recorder: &Recorder) {
    recorder.count(&AuditRecord {
        time: Timestamp::now(),
        caller: CallerName::unknown(),
        method: method.into(),
        account_id: None,
        key_id: None,
        domain: None,
        include_subdomains: None,
        key_end: None,
        revision: None,
        outcome: Outcome::named(name(Code::Unauthenticated)),
        calls: 1,
    });
}

/// What is known of a call. Dropping it logs or counts the call, and records it if that was not done.
struct Entry {
    caller: Arc<Caller>,
    known_now: KnownNow,
    method: AdminMethod,
    time: Timestamp,
    account_id: Option<AccountId>,
    key_id: Option<KeyId>,
    domain: Option<Domain>,
    include_subdomains: Option<bool>,
    /// The write that stands for the call, once it does.
    written: Option<Written>,
    is_dry_run: bool,
    /// Whether a record is stored, or the recorder is busy with it.
    is_recorded: bool,
    /// Whether the call has a log line of its own, once that is decided.
    has_line: Option<bool>,
    /// How the call ended, once that is known.
    outcome: Option<Code>,
    recorder: Arc<Recorder>,
    /// The call's slot among the admin calls in flight. Held until the call is closed and its answer
    /// is taken.
    slot: Option<Arc<AdminSlot>>,
    /// Cancelled when the caller no longer waits for the answer.
    caller_gone: CancellationToken,
}

impl Entry {
    fn method_name(&self) -> MethodName {
        if self.is_dry_run {
            MethodName::of_dry_run(self.method)
        } else {
            self.method.into()
        }
    }

    fn takes_rights_away(&self) -> bool {
        self.method.takes_rights_away() && !self.is_dry_run
    }

    /// Refuses a call whose caller has lost rights since the call was opened.
    fn check_caller(&self) -> Result<(), Status> {
        match self.known_now.caller() {
            Some(now) if *now == *self.caller => Ok(()),
            Some(_) => Err(errors::caller_changed()),
            None => Err(errors::unauthenticated()),
        }
    }

    /// Records how the call ended, and whether by trouble or too much load. A call may be answered `OK` only if
    /// this succeeds.
    async fn record(&mut self, code: Code, is_trouble: bool) -> Result<(), Status> {
        let record = self.as_record(code);
        // From here on the recorder stores or counts the call, even if this future is dropped.
        self.is_recorded = true;
        match code {
            Code::Ok => {
                self.decide_answer_line();
                if self.recorder.record_answer(&record).await.is_err() {
                    self.outcome = Some(Code::Unavailable);
                    return Err(errors::unrecorded());
                }
            }
            // A caller does not wait for a store in trouble, and its record does not add to an
            // overload.
            _ if is_trouble => {
                self.has_line = Some(false);
                self.recorder.count(&record);
            }
            _ if self.decide_refusal() => {
                // Before the wait, which the caller may not sit out.
                self.outcome = Some(code);
                self.recorder.record_refusal(&record).await;
            }
            _ => self.recorder.count(&record),
        }
        self.outcome = Some(code);
        Ok(())
    }

    /// Decides whether the call, which was refused or given up, has a record and a line of its own.
    fn decide_refusal(&mut self) -> bool {
        let is_allowed = self.recorder.allows_refusal(&self.caller.name);
        self.has_line = Some(is_allowed);
        is_allowed
    }

    /// Decides whether the call, which was carried out, has a line of its own.
    fn decide_answer_line(&mut self) {
        let is_allowed = self.recorder.allows_answer_line(&self.caller.name);
        self.has_line = Some(is_allowed);
    }

    fn as_record(&self, code: Code) -> AuditRecord {
        AuditRecord {
            time: self.time,
            caller: self.caller.name.clone(),
            method: self.method_name(),
            account_id: self.account_id.clone(),
            key_id: self.key_id,
            domain: self.domain.clone(),
            include_subdomains: self.include_subdomains,
            key_end: None,
            revision: None,
            outcome: Outcome::named(name(code)),
            calls: 1,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(if std::thread::panicking() {
            Code::Internal
        } else {
            Code::Cancelled
        });
        if !self.is_recorded {
            let record = self.as_record(outcome);
            if self.decide_refusal() {
                self.recorder.record_unanswered(&record);
            } else {
                self.recorder.count(&record);
            }
        }
        if self.has_line != Some(true) {
            self.recorder.count_line(&self.as_record(outcome));
            return;
        }
        let written = self.written.as_ref();
        let store = self.recorder.store();
        tracing::info!(
            store_id = %store.store_id,
            history_id = written.map(|it| tracing::field::display(store.history_of(it.position))),
            time = %self.time,
            revision = written.map(|written| written.position.revision.number()),
            caller = self.caller.name.as_str(),
            method = self.method_name().as_str(),
            account_id = self.account_id.as_ref().map(AccountId::as_str),
            key_id = self.key_id.map(tracing::field::display),
            domain = self.domain.as_ref().map(Domain::as_str),
            include_subdomains = self.include_subdomains,
            key_end = written.and_then(|it| it.key_end).map(tracing::field::display),
            successor = written.and_then(|it| it.successor).map(tracing::field::display),
            outcome = name(outcome),
            "admin call"
        );
    }
}
