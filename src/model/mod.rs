//! What the service speaks of: tokens, keys, accounts, domains, audit records and times.

pub mod account;
pub mod audit_record;
pub mod caller_name;
pub mod domain;
pub mod key;
pub(crate) mod text;
pub mod time;
pub mod token;
