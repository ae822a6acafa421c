//! The service `tosend.keys.v1.KeyService`.

pub mod page_token;
pub mod request;
mod response;
mod service;

pub(super) use service::KeyHandlers;
