//! The service `tosend.keys.v1.DomainService`.

mod page_token;
pub mod request;
mod response;
mod service;

pub(super) use service::DomainHandlers;
