//! Connections: how they are accepted, encrypted, and admitted within limits.

pub(crate) mod accept;
pub(crate) mod admission;
mod certificate_choice;
mod client_authorities;
mod client_chain;
pub(crate) mod connection;
pub(crate) mod connection_counts;
pub(crate) mod gathered;
mod identity;
pub(crate) mod open_files;
pub(crate) mod reload;
mod revocation_lists;
mod stall;
#[cfg(test)]
mod test_authority;
pub(crate) mod tls;
mod tls_errors;
