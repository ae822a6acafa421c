//! `tosend.keys.v1.KeyService`.

pub(super) mod audited_call;
pub mod page_token;
pub mod request;
pub(super) mod response;
pub(super) mod service;
