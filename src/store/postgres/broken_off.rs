//! Writes that are broken off while they wait at the server, because a caller has lost its rights.
//!
//! Promises that such a write is either not made, or is made and said to be. Must never lend the connection of a
//! write that was to be broken off again: the request may come late, and would meet the next statement.

use super::{address::Address, connections::InUse, errors::Failure, given_up::ask_to_cancel};
use crate::store::{StillAllowed, StoreError, still_allowed::Begun};
use futures::future::{Either, select, select_all};
use std::{convert::Infallible, pin::pin, time::Duration};
use tokio::time::sleep;
use tokio_postgres::{Error, error::SqlState};

/// A request to cancel that arrives before the statement has no effect. So it is sent again, until the answer
/// to the statement has come, which has a limit of its own.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// The answer to a write.
pub(super) struct Answered<T> {
    pub(super) answer: T,
    /// It came although the server was asked to cancel the statement.
    pub(super) was_cancelled: bool,
}

/// Begins a write of some callers, if each of them is still allowed to make it.
pub(super) fn begin(callers: &[&StillAllowed]) -> Result<Vec<Begun>, Failure> {
    let begun: Result<Vec<_>, StoreError> = callers.iter().map(|caller| caller.begin()).collect();
    begun.map_err(|_| Failure::Disallowed)
}

/// Waits for the answer to a write on this connection, and has the write cancelled once one of its callers has
/// lost its rights.
pub(super) async fn unless_rights_are_lost<T>(
    address: &Address,
    client: &InUse,
    mut begun: Vec<Begun>,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<Answered<T>, Failure> {
    let lost = select_all(begun.iter_mut().map(|begun| Box::pin(begun.rights_lost())));
    let answer = pin!(answer);
    let answer = match select(answer, lost).await {
        Either::Left((answer, _)) => {
            let answer = answer.map_err(|error| Failure::of(&error))?;
            return Ok(Answered {
                answer,
                was_cancelled: false,
            });
        }
        Either::Right((_, answer)) => answer,
    };
    // On the heap, because writes are rarely broken off.
    let cancel = Box::pin(cancel_for_ever(address, client));
    let answer = match select(answer, cancel).await {
        Either::Left((answer, _)) => answer,
        Either::Right((never, _)) => match never {},
    };
    match answer {
        Ok(answer) => Ok(Answered {
            answer,
            was_cancelled: true,
        }),
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => Err(Failure::Disallowed),
        Err(error) => Err(Failure::of(&error)),
    }
}

async fn cancel_for_ever(address: &Address, client: &InUse) -> Infallible {
    let token = client.cancel_token();
    loop {
        ask_to_cancel(address, &token).await;
        sleep(CANCEL_INTERVAL).await;
    }
}
