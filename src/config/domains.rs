//! The setting that says whether domains must be verified.

use clap::ValueEnum;

/// Whether a key is granted only for domains that are verified for its account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifiedDomains {
    /// Only for these.
    Required,
    /// For every domain that the key's scope allows.
    Off,
}
