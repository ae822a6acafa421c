//! The service `tosend.keys.v1.KeyService`.

mod batch;
pub mod batch_request;
pub mod change_requests;
mod changes;
pub mod page_token;
pub mod request;
mod response;
mod service;

pub(super) use change_requests::reason;
#[cfg(test)]
pub(super) use response::scope;
pub(super) use response::suspension;
pub(super) use service::KeyHandlers;
