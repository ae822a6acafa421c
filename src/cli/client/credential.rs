//! What tells the service who calls.

use super::{context::Context, failure::Failure};
use crate::{cli::variables::is_from_variable, config::Hidden};
use std::{env, fmt};

/// A bearer secret itself. There is no flag for it, because every user of the machine sees flags.
pub(in crate::cli) const SECRET_VARIABLE: &str = "KEYSERVICE_SECRET";

const FILE_VARIABLE: &str = "KEYSERVICE_SECRET_FILE";

/// What tells the service who calls, and where it is. It is never shown itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) kind: &'static str,
    /// A file, or a variable.
    pub(super) place: String,
}

impl Credential {
    /// The one that counts of a context and of the variable with a secret.
    pub(super) fn in_use(context: &Context, variable: Option<&Hidden>) -> Option<Self> {
        match (&context.secret_file, variable) {
            (None, Some(_)) => Some(Self {
                kind: "secret",
                place: SECRET_VARIABLE.to_owned(),
            }),
            _ => Self::of(context),
        }
    }

    /// The one of a context.
    pub(super) fn of(context: &Context) -> Option<Self> {
        let (kind, file) = match (&context.secret_file, &context.client_cert) {
            // Only the secret counts, even if there is also a certificate.
            (Some(file), _) => ("secret", file),
            (None, Some(file)) => ("certificate", file),
            (None, None) => return None,
        };
        let place = file.display().to_string();
        Some(Self { kind, place })
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.kind, self.place)
    }
}

/// The secret of the variable, unless a flag goes before it.
///
/// Refuses an empty variable. A script that failed to read its secret leaves one, and would not notice that its calls are
/// made as another caller.
pub(super) fn secret_of_variable() -> Result<Option<Hidden>, Failure> {
    const FLAG: &str = "--secret-file";
    match Hidden::of_variable(SECRET_VARIABLE) {
        None if env::var_os(SECRET_VARIABLE).is_some() => Err(Failure::Misused(format!(
            "the variable {SECRET_VARIABLE} is set and empty: give it the secret, or unset it"
        ))),
        Some(_) if is_from_variable(FLAG, FILE_VARIABLE) => Err(Failure::Misused(format!(
            "the variables {SECRET_VARIABLE} and {FILE_VARIABLE} are set, of which only one can be meant: unset the \
             other, or give {FLAG}, which goes before both"
        ))),
        secret => Ok(secret.filter(|_| is_from_variable(FLAG, SECRET_VARIABLE))),
    }
}
