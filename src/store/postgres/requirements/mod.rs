//! What this service needs of a PostgreSQL server, of a database and of its role. Each start checks it.
//!
//! Promises that whatever would make calls fail later, or lose what they have written, is refused
//! with what to do, and that what only may hurt is a warning. Must never change anything, nor run
//! anything of the schema that it looks at.
//!
//! Not checked is what makes no difference:
//! * extensions: none is needed, and the functions name the schema of all that they use;
//! * collations and their versions: each index on text is built with the collation "C";
//! * how values are written (`DateStyle`, `TimeZone`, `bytea_output`, `standard_conforming_strings`):
//!   they travel in binary form, and each session sets `client_encoding` itself;
//! * what `pool.rs` sets in every session: isolation, `synchronous_commit`, the limits on time.

pub(super) mod owner;
pub(super) mod parts;
mod room;
pub(super) mod schema;
pub(super) mod server;

/// Why a database cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// What is not as it must be.
    pub(super) problem: String,
    /// What to do.
    pub(super) remedy: String,
}

fn unfit(problem: impl Into<String>, remedy: impl Into<String>) -> Unfit {
    Unfit {
        problem: problem.into(),
        remedy: remedy.into(),
    }
}
