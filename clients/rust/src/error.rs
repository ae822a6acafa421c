//! The errors: nothing is known (`Unavailable`), the question was wrong (`Misused`), or the server refused an
//! admin call (`Refused`).
//!
//! They never contain a token or a secret: this library puts none in, and what the server or a proxy says is shown on
//! one line, with all hidden that looks like one.

use crate::foreign::tame;
use std::{error, fmt, net::SocketAddr, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why [`Client::authorize`](crate::Client::authorize) has no decision. It is never a denial.
#[derive(Clone, Debug)]
pub enum Error {
    /// Nothing is known about the token. Answer 503, and do not send.
    Unavailable(Unavailable),
    /// The question was wrong, and to ask again does not help.
    Misused(Misused),
}

/// Why an admin call failed.
#[derive(Clone, Debug)]
pub enum AdminError {
    /// No replica could answer in time. [`Unavailable::may_have_changed`] says whether a change may have been made all
    /// the same: call again.
    Unavailable(Unavailable),
    /// The call was wrong, or this caller may not make it. Nothing was changed.
    Misused(Misused),
    /// The call cannot be carried out, for example because there is no such key.
    Refused(Refused),
}

/// No replica could answer in time.
#[derive(Clone, Debug)]
pub struct Unavailable {
    attempts: Vec<Attempt>,
    waited: Duration,
    lookup: Option<String>,
    may_have_changed: bool,
}

/// One attempt that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The replica that was asked.
    pub address: SocketAddr,
    /// How the attempt ended. `DeadlineExceeded`: the replica did not answer in time.
    pub code: Code,
    /// What the replica said, or why it could not be reached.
    pub message: String,
}

/// The question was wrong, the options were, or this caller may not ask.
#[derive(Clone, Debug)]
pub struct Misused {
    code: Option<Code>,
    message: String,
}

/// The server refused an admin call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// Such as `NotFound`, `AlreadyExists`, `FailedPrecondition` or `Aborted`.
    pub code: Code,
    /// What the server said, for people.
    pub message: String,
    /// The reason of `google.rpc.ErrorInfo`, such as `KEY_REVOKED`.
    pub reason: Option<String>,
    /// The name in `google.rpc.ResourceInfo`: after `AlreadyExists`, the id of the key that the first call created.
    pub resource: Option<String>,
}

impl Unavailable {
    pub(crate) fn new(attempts: Vec<Attempt>, waited: Duration, lookup: Option<String>) -> Self {
        Self {
            attempts,
            waited,
            lookup,
            may_have_changed: false,
        }
    }

    /// The same, and whether a replica may have carried out a call that changes something.
    pub(crate) fn of_change(self, may_have_changed: bool) -> Self {
        Self {
            may_have_changed,
            ..self
        }
    }

    /// What became of each attempt, in their order. Empty if no replica's address could be found.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether the call may have made its change: it is an admin call that changes something, and an attempt may have
    /// reached a replica whose answer was lost.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.may_have_changed
    }
}

impl Attempt {
    pub(crate) fn new(address: SocketAddr, status: &Status) -> Self {
        let (code, message) = (status.code(), text_of(status));
        Self {
            address,
            code,
            message,
        }
    }

    /// Whether the replica did not answer in the time of this attempt.
    fn is_silent(&self) -> bool {
        self.code == Code::DeadlineExceeded && self.message.starts_with(NO_ANSWER)
    }
}

/// What an attempt ends with that had no answer in its time.
pub(crate) const NO_ANSWER: &str = "no answer";

/// A time as people say it: in seconds to a tenth, or in milliseconds, of which nobody wants to know the last digit.
pub(crate) fn rounded(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        return format!("{} ms", (millis / 10).max(1) * 10);
    }
    let tenths = (millis + 50) / 100;
    match tenths % 10 {
        0 => format!("{} s", tenths / 10),
        tenth => format!("{}.{tenth} s", tenths / 10),
    }
}

impl Misused {
    /// What this library itself found.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            code: None,
            message: message.into(),
        }
    }

    pub(crate) fn from_status(status: &Status) -> Self {
        Self {
            code: Some(status.code()),
            message: text_of(status),
        }
    }

    /// `InvalidArgument`: the question is wrong. `Unauthenticated` or `PermissionDenied`: this caller may not ask.
    /// None: the options are wrong, or the client is closed.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }
}

impl Refused {
    pub(crate) fn from_status(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let resource = status.get_details_resource_info();
        Self {
            code: status.code(),
            message: text_of(status),
            reason: info.map(|info| tame(&info.reason)),
            resource: resource.map(|resource| tame(&resource.resource_name)),
        }
    }
}

/// The name of a code in gRPC's documents and in every other language.
#[must_use]
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// What a status says, and what caused it.
pub(crate) fn text_of(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        // What tonic calls each of its errors says nothing more.
        if more != "transport error" && !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    tame(&text)
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, waited) = (self.attempts.len(), rounded(self.waited));
        write!(
            f,
            "no replica could answer ({count} attempt{} in {waited})",
            if count == 1 { "" } else { "s" }
        )?;
        if let Some(fault) = &self.lookup {
            write!(f, ": no address was found: {fault}")?;
        }
        let alike = |one: &Attempt, next: &Attempt| {
            let are_silent = one.is_silent() && next.is_silent() && one.address == next.address;
            are_silent || one.to_string() == next.to_string()
        };
        for (at, attempts) in self.attempts.chunk_by(alike).enumerate() {
            let (before, attempt) = (if at == 0 { ": " } else { "; " }, &attempts[0]);
            write!(f, "{before}{attempt}")?;
            match attempts.len() {
                1 => {}
                // None had more time than the one before.
                times if attempt.is_silent() => {
                    write!(f, ", and {} more that waited no longer", times - 1)?;
                }
                times => write!(f, ", {times} times")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, code) = (self.address, code_name(self.code));
        write!(f, "{address} {code} ({})", self.message)
    }
}

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.code {
            None => return f.write_str(&self.message),
            Some(Code::Unauthenticated) => "the server does not know this caller",
            Some(Code::PermissionDenied) => "this caller may not ask this",
            Some(_) => "the request is wrong",
        };
        let code = self.code.map_or("", code_name);
        write!(f, "{what}: {code}: {}", self.message)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", code_name(self.code), self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(error) => error.fmt(f),
            Self::Misused(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(error) => error.fmt(f),
            Self::Misused(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl error::Error for Error {}
impl error::Error for AdminError {}
impl error::Error for Unavailable {}
impl error::Error for Misused {}
impl error::Error for Refused {}
