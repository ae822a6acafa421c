//! The schema's migrations: their order, and the refusal of a schema that does not fit.
//!
//! Promises that a store is opened only at the schema that this binary knows. A migration that was
//! released must never change, nor its number.

/// One numbered SQL file, embedded in the binary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Migration {
    /// Counted from 1, without gaps.
    pub(super) number: i32,
    /// The file's name.
    pub(super) name: &'static str,
    /// The file's text.
    pub(super) sql: &'static str,
}

/// Embeds `migrations/NAME` beside the file that calls it.
macro_rules! migration {
    ($number:literal, $name:literal) => {
        $crate::store::migrations::Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("migrations/", $name)),
        }
    };
}
pub(super) use migration;

/// The store's schema does not fit this binary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A later release has migrated it.
    #[error(
        "the store's schema is at version {found}, and this binary knows versions up to {known}: \
         a newer release has migrated it; start that release or a later one"
    )]
    Newer {
        /// The store's version.
        found: i32,
        /// The last version that this binary knows.
        known: i32,
    },
    /// An earlier release has migrated it, and whoever finds that only reads the store.
    #[error(
        "the store's schema is at version {found}, and this binary reads version {known}: start \
         this release's service on it first, which migrates it"
    )]
    Older {
        /// The store's version.
        found: i32,
        /// The version that this binary reads.
        known: i32,
    },
}

/// Refuses a store at version `found` unless it is current, for those who only read it.
pub(super) fn check_current(all: &'static [Migration], found: i32) -> Result<(), SchemaError> {
    match pending(all, found)? {
        [] => Ok(()),
        pending => Err(SchemaError::Older {
            found,
            known: found + i32::try_from(pending.len()).unwrap_or(i32::MAX),
        }),
    }
}

/// The migrations that a store at version `found` still needs. An empty store is at version 0.
pub(super) fn pending(
    all: &'static [Migration],
    found: i32,
) -> Result<&'static [Migration], SchemaError> {
    debug_assert!(
        all.iter()
            .zip(1..)
            .all(|(migration, number)| migration.number == number)
    );
    let known = all.len();
    match usize::try_from(found) {
        Ok(found) if found <= known => Ok(&all[found..]),
        _ => Err(SchemaError::Newer {
            found,
            known: i32::try_from(known).unwrap_or(i32::MAX),
        }),
    }
}
