//! Owns what the admin calls have in common: their caller, their place among the calls in flight,
//! and the record of how each ended.
//! Promises that every admin call is recorded, and that of a known caller logged, however it ends.
//! Must never record what a caller sent, but only what was made of it: it may hold a token.

use super::response;
use crate::grpc::call::{name, status};
use crate::{
    audit::recorder::Recorder,
    callers::Caller,
    model::{
        account::AccountId,
        audit_record::{AdminMethod, AuditRecord, Outcome},
        caller_name::CallerName,
        key::KeyId,
        time::Timestamp,
    },
};
use http::Response;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Extensions, Status, body::Body};

/// What an admin call is about, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(in crate::grpc) struct Subject {
    pub(in crate::grpc) account_id: Option<AccountId>,
    pub(in crate::grpc) key_id: Option<KeyId>,
}

/// An admin call of a known caller, until its service takes it up.
pub(in crate::grpc) struct Arrival {
    caller: Arc<Caller>,
    method: AdminMethod,
    /// Whether the service records how it ends.
    is_taken_up: AtomicBool,
}

impl Arrival {
    pub(in crate::grpc) fn new(caller: Arc<Caller>, method: AdminMethod) -> Self {
        Self {
            caller,
            method,
            is_taken_up: AtomicBool::new(false),
        }
    }

    /// Records the call's end, in a way that fits it, and logs it. What would be answered `OK` is so
    /// only if the record is stored.
    async fn record(
        &self,
        recorder: &Recorder,
        time: Timestamp,
        subject: &Subject,
        code: Code,
    ) -> Result<(), Status> {
        let record = self.as_record(time, subject, code);
        let mut line = LogLine {
            arrival: self,
            subject,
            outcome: Code::Cancelled,
        };
        match code {
            Code::Ok => {
                if recorder.allowed(&record).await.is_err() {
                    line.outcome = Code::Unavailable;
                    return Err(response::unrecorded());
                }
            }
            // Nobody shall wait for a store in trouble, nor make an overload worse.
            Code::Unavailable | Code::Internal | Code::ResourceExhausted => {
                recorder.counted(&record);
            }
            _ => recorder.refused(&record).await,
        }
        line.outcome = code;
        Ok(())
    }

    /// Records and logs a call that ends without an answer. Nobody waits for that.
    fn unanswered(&self, recorder: &Recorder, time: Timestamp, subject: &Subject, code: Code) {
        let _ = recorder.ended(&self.as_record(time, subject, code));
        self.log(subject, code);
    }

    /// Refuses the call to a caller that may not make it.
    pub(in crate::grpc) async fn refused(self, recorder: &Recorder) -> Status {
        let (now, subject) = (Timestamp::now(), Subject::default());
        let ended = self.record(recorder, now, &subject, Code::PermissionDenied);
        let refusal = ended.await.err();
        refusal.unwrap_or_else(response::not_permitted)
    }

    fn as_record(&self, time: Timestamp, subject: &Subject, code: Code) -> AuditRecord {
        AuditRecord {
            time,
            caller: self.caller.name.clone(),
            method: self.method,
            account_id: subject.account_id.clone(),
            key_id: subject.key_id,
            outcome: Outcome::named(name(code)),
            calls: 1,
        }
    }

    fn log(&self, subject: &Subject, outcome: Code) {
        tracing::info!(
            caller = self.caller.name.as_str(),
            method = %self.method,
            account_id = subject.account_id.as_ref().map(AccountId::as_str),
            key_id = subject.key_id.map(tracing::field::display),
            outcome = name(outcome),
            "admin call"
        );
    }
}

/// The line in the log of a call that is being recorded. It is written though the caller should give
/// the call up meanwhile.
struct LogLine<'a> {
    arrival: &'a Arrival,
    subject: &'a Subject,
    outcome: Code,
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        self.arrival.log(self.subject, self.outcome);
    }
}

/// Counts an admin call of a caller whom nobody knows, who shall not be able to fill the store.
pub(in crate::grpc) fn count_unknown_caller(method: AdminMethod, recorder: &Recorder) {
    recorder.counted(&AuditRecord {
        time: Timestamp::now(),
        caller: CallerName::unknown(),
        method,
        account_id: None,
        key_id: None,
        outcome: Outcome::named(name(Code::Unauthenticated)),
        calls: 1,
    });
}

/// Waits for a call's answer, and records a call that its service never took up: a message that
/// could not be read, say, or that did not come.
pub(in crate::grpc) async fn answered<E>(
    arrival: Arc<Arrival>,
    recorder: Arc<Recorder>,
    answer: impl Future<Output = Result<Response<Body>, E>>,
) -> Result<Response<Body>, E> {
    let mut awaited = Awaited {
        arrival,
        recorder,
        is_answered: false,
    };
    let response = answer.await?;
    awaited.is_answered = true;
    let Awaited {
        arrival, recorder, ..
    } = &awaited;
    if arrival.is_taken_up.load(Ordering::Relaxed) {
        return Ok(response);
    }
    let code = status(response.headers()).unwrap_or(Code::Unknown);
    let (now, subject) = (Timestamp::now(), Subject::default());
    let ended = arrival.record(recorder, now, &subject, code).await;
    Ok(ended.map_or_else(Status::into_http, |()| response))
}

/// A call that is not answered yet.
struct Awaited {
    arrival: Arc<Arrival>,
    recorder: Arc<Recorder>,
    is_answered: bool,
}

/// Of a call whose connection ended before its message had come.
impl Drop for Awaited {
    fn drop(&mut self) {
        if !self.is_answered && !self.arrival.is_taken_up.load(Ordering::Relaxed) {
            let (now, nothing) = (Timestamp::now(), Subject::default());
            let arrival = &self.arrival;
            arrival.unanswered(&self.recorder, now, &nothing, Code::Cancelled);
        }
    }
}

/// An admin call in flight.
pub(in crate::grpc) struct AdminCall {
    pub(in crate::grpc) subject: Subject,
    /// Whether it is on record already, with the write that it made.
    pub(in crate::grpc) is_recorded: bool,
    is_ended: bool,
    /// When it was taken up, its message read.
    pub(in crate::grpc) time: Timestamp,
    arrival: Arc<Arrival>,
    recorder: Arc<Recorder>,
    /// Held until the call has ended.
    place: Option<OwnedSemaphorePermit>,
}

impl AdminCall {
    /// Takes up the call that authentication has let pass, if there is a place for it.
    pub(in crate::grpc) async fn begin(
        extensions: &Extensions,
        places: &Arc<Semaphore>,
        recorder: &Arc<Recorder>,
    ) -> Result<Self, Status> {
        let arrival = extensions.get::<Arc<Arrival>>();
        let arrival = arrival.ok_or_else(response::unknown_caller)?.clone();
        arrival.is_taken_up.store(true, Ordering::Relaxed);
        let mut call = Self {
            subject: Subject::default(),
            is_recorded: false,
            is_ended: false,
            time: Timestamp::now(),
            arrival,
            recorder: recorder.clone(),
            place: None,
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                call.place = Some(place);
                Ok(call)
            }
            Err(_) => call.ended(Err(response::too_many_admin_calls())).await,
        }
    }

    pub(in crate::grpc) fn caller(&self) -> &Caller {
        &self.arrival.caller
    }

    /// Takes note of the account that the call is about, which must be one of the caller's.
    pub(in crate::grpc) fn about(&mut self, account_id: &AccountId) -> Result<(), Status> {
        self.subject.account_id = Some(account_id.clone());
        if self.caller().accounts.include(account_id.as_str()) {
            Ok(())
        } else {
            Err(response::not_permitted())
        }
    }

    /// Ends the call: sees to it that it is recorded, and only then gives its answer.
    pub(in crate::grpc) async fn ended<T>(
        mut self,
        answer: Result<T, Status>,
    ) -> Result<T, Status> {
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        self.is_ended = true;
        if self.is_recorded {
            self.arrival.log(&self.subject, code);
        } else {
            let (arrival, subject) = (&self.arrival, &self.subject);
            let recorded = arrival.record(&self.recorder, self.time, subject, code);
            recorded.await?;
        }
        answer
    }
}

/// Of a List whose caller has gone, say. That is on record too.
impl Drop for AdminCall {
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let code = if std::thread::panicking() {
            Code::Internal
        } else {
            Code::Cancelled
        };
        let (arrival, subject) = (&self.arrival, &self.subject);
        if self.is_recorded {
            arrival.log(subject, code);
        } else {
            arrival.unanswered(&self.recorder, self.time, subject, code);
        }
    }
}
