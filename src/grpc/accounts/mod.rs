//! The service `tosend.keys.v1.AccountService`.

pub mod request;
mod response;
mod service;

pub(super) use service::AccountHandlers;
