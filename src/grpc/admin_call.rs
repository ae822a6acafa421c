//! Owns what the admin calls have in common: their caller, their place among the calls in flight,
//! and the record of how each ended.
//! Promises that every admin call of a known caller ends in [`record`], refused ones too.
//! Must never record what a caller sent, but only what was made of it: it may hold a token.

use super::{call_span::name, response};
use crate::{
    caller::Caller,
    key::{AccountId, KeyId},
};
use std::{fmt, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Extensions, Status};

/// What an admin may do and an authorizer may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AdminMethod {
    Create,
    List,
    Revoke,
}

impl AdminMethod {
    /// By its name in the proto.
    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Create, Self::List, Self::Revoke]
            .into_iter()
            .find(|method| method.to_string() == name)
    }
}

impl fmt::Display for AdminMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What an admin call is about, as far as it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    pub(super) account_id: Option<AccountId>,
    pub(super) key_id: Option<KeyId>,
}

/// An admin call in flight.
pub(super) struct AdminCall {
    pub(super) caller: Arc<Caller>,
    pub(super) subject: Subject,
    method: AdminMethod,
    /// Held until the call has ended.
    place: Option<OwnedSemaphorePermit>,
}

impl AdminCall {
    /// Begins the call of the caller that authentication has found, if there is a place for it.
    pub(super) fn begin(
        method: AdminMethod,
        extensions: &Extensions,
        places: &Arc<Semaphore>,
    ) -> Result<Self, Status> {
        let caller = extensions.get::<Arc<Caller>>();
        let mut call = Self {
            caller: caller.ok_or_else(response::unknown_caller)?.clone(),
            subject: Subject::default(),
            method,
            place: None,
        };
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                call.place = Some(place);
                Ok(call)
            }
            Err(_) => call.ended(Err(response::too_many_admin_calls())),
        }
    }

    /// Takes note of the account that the call is about, which must be one of the caller's.
    pub(super) fn about(&mut self, account_id: &AccountId) -> Result<(), Status> {
        self.subject.account_id = Some(account_id.clone());
        if self.caller.accounts.include(account_id.as_str()) {
            Ok(())
        } else {
            Err(response::not_permitted())
        }
    }

    /// Ends the call.
    pub(super) fn ended<T>(self, outcome: Result<T, Status>) -> Result<T, Status> {
        let code = outcome.as_ref().err().map_or(Code::Ok, Status::code);
        record(&self.caller, self.method, &self.subject, code);
        outcome
    }
}

/// Records how an admin call ended.
pub(super) fn record(caller: &Caller, method: AdminMethod, subject: &Subject, outcome: Code) {
    tracing::info!(
        caller = caller.name.as_str(),
        %method,
        account_id = subject.account_id.as_ref().map(AccountId::as_str),
        key_id = subject.key_id.map(tracing::field::display),
        outcome = name(outcome),
        "admin call"
    );
}
