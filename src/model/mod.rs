//! The values that every other folder speaks of: tokens, keys, accounts, domains, audit records and
//! times.
//!
//! Promises that a value is valid wherever it exists: text from outside becomes one only here.
//! Must never import another folder.

pub mod account;
pub mod audit_record;
pub mod caller_name;
pub(crate) mod counted;
pub mod domain;
pub mod history;
pub mod key;
pub mod line;
pub mod loss;
pub mod printable;
pub mod public_suffix;
pub mod sender;
pub mod text;
pub mod time;
pub mod token;
pub mod verified_domain;
