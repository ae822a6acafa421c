//! How a command that calls the service fails, and the exit code that tells a script so.

use super::{trust::is_about_certificates, words::own_words};
use crate::store::OpenError;
use std::{fmt, io};
use tosend_keyservice::{AdminError, Code, Error, Misused, Unavailable, code_name};

/// Why a command that calls the service did not do what it was told.
///
/// Its text never contains a token or a secret, as the client library's errors do not.
#[derive(Debug)]
pub(in crate::cli) enum Failure {
    /// The answer was a denial. It is printed already.
    Denied,
    /// The service refused it, or the person who was asked. Or this machine did, such as a full disk.
    Refused(String),
    /// There is no such thing at this service.
    NotFound(String),
    /// The command or its input is wrong, also a file or a store that it names and that is not there, or must not be
    /// there. Or the caller may not make the call.
    Misused(String),
    /// The service and this program do not accept each other's certificates.
    Distrusted(String),
    /// No replica could answer in time.
    Unavailable(String),
    /// Standard output did not take what was to be printed.
    Print(io::Error),
}

impl Failure {
    /// The documented exit codes. 0 is success, or a grant.
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::NotFound(_) | Self::Print(_) => 1,
            Self::Misused(_) | Self::Distrusted(_) => 2,
            Self::Denied => 3,
            Self::Unavailable(_) => 4,
        }
    }
}

/// The help of every command that calls the service.
pub(in crate::cli) const EXIT_CODES: &str = "\
Exit codes: 0 done, or granted; 1 refused by the service, or not written; 2 wrong
command, input or certificate, or not allowed; 3 denied; 4 no replica could answer.";

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("denied"),
            Self::Refused(text)
            | Self::NotFound(text)
            | Self::Misused(text)
            | Self::Distrusted(text)
            | Self::Unavailable(text) => f.write_str(text),
            Self::Print(error) => write!(f, "cannot print the answer: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Print(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Address(_) | OpenError::Missing(_) | OpenError::NotCreated(_) => {
                Self::Misused(text)
            }
            _ => Self::Refused(text),
        }
    }
}

impl From<Misused> for Failure {
    fn from(error: Misused) -> Self {
        let text = error.to_string();
        let code = format!("{}: ", code_name(Code::InvalidArgument));
        // What the service says begins with the name of a field.
        Self::Misused(match text.split_once(&code) {
            Some((before, said)) => format!("{before}{}", own_words(said)),
            None => text,
        })
    }
}

impl From<&Unavailable> for Failure {
    fn from(error: &Unavailable) -> Self {
        let mut text = own_words(&error.to_string());
        // Then no call is read: this side sends none, or the service refuses the caller before.
        if is_about_certificates(error) {
            return Self::Distrusted(text);
        }
        if error.may_have_changed() {
            text += "; the change may have been made all the same: look before you make it again";
        }
        Self::Unavailable(text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(error) => (&error).into(),
            Error::Misused(error) => error.into(),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Unavailable(error) => (&error).into(),
            AdminError::Misused(error) => error.into(),
            AdminError::Refused(error) => {
                let text = format!("{}: {}", code_name(error.code), own_words(&error.message));
                match error.code {
                    // No command gives an account to such a call, but a caller may be limited to some.
                    Code::NotFound => Self::NotFound(text.replace(
                        ", or it does not belong to the given account",
                        ", as far as you may know",
                    )),
                    _ => Self::Refused(text),
                }
            }
        }
    }
}
