//! The door for HTTP requests: Envoy asks whether they may pass (`envoy.service.auth.v3.Authorization`).
//!
//! Owns where a request's token and its sending domain stand, and what its client is told.
//! Promises that no request passes by anything but a grant of the `Authorizer`, and that one of which two readers
//! could read different things does not pass.
//! Must never wait for the store, nor log or repeat anything of the request.

mod allowed;
mod domain_source;
mod json;
mod refusal;
pub mod request;

use super::{
    authorize::no_lease,
    layers::{Unreadable, bearer, unreadable},
    methods::Method,
};
use crate::{
    authorize::{Authorizer, decision::Decision},
    model::{
        account::Accounts,
        domain::Domain,
        sender::{InvalidSender, sending_domain},
        time::Timestamp,
    },
    observe::repeated_line::RepeatedLine,
};
use allowed::allowed;
use bytes::Bytes;
use domain_source::{DOMAIN_FROM, DomainSource, is_own};
use json::NoText;
use refusal::Refusal;
use request::{NoProtobuf, Part, read};
use std::time::Instant;
use tonic::Status;

/// The line about a configuration of Envoy that cannot be right. Every HTTP request may cause it.
static MISCONFIGURED: RepeatedLine = RepeatedLine::new();

/// Answers a `CheckRequest` with a `CheckResponse`, as a message of gRPC.
///
/// # Errors
/// `INVALID_ARGUMENT` if the message cannot be read, and `UNAVAILABLE` without a lease.
pub fn check(
    authorizer: &Authorizer,
    accounts: &Accounts,
    message: &[u8],
) -> Result<Bytes, Status> {
    let request = HttpRequest::of(message)
        .map_err(|NoProtobuf| unreadable(Some(Method::GatewayCheck), Unreadable::NoProtobuf))?;
    let (token, source) = match request.question() {
        Ok(question) => question,
        Err(refusal) => return Ok(refusal.answer()),
    };
    let now = Timestamp::now();
    let token_alone = || authorizer.authorize_without_domain(token, accounts, now);
    let (decision, domain) = match request.domain(source) {
        Ok(None) => (token_alone(), Ok(None)),
        Ok(Some(domain)) => {
            let decision = authorizer.authorize(token, domain.clone(), accounts, now);
            (decision, Ok(Some(domain)))
        }
        // Whoever has no valid token is told that first.
        Err(refusal) => (token_alone(), Err(refusal)),
    };
    Ok(match (decision.map_err(no_lease)?, domain) {
        (Decision::Denial(denial), _) => Refusal::from(denial.reason).answer(),
        (Decision::Grant(_), Err(refusal)) => refusal.answer(),
        (Decision::Grant(grant), Ok(domain)) => allowed(&grant, domain.as_ref()),
    })
}

/// What a request has to say of an HTTP request.
struct HttpRequest<'a> {
    message: &'a [u8],
    is_there: bool,
    authorization: Values<&'a [u8]>,
    content_type: Values<&'a [u8]>,
    content_encoding: Values<&'a [u8]>,
    body: Values<&'a [u8]>,
    text_body: Values<&'a str>,
    is_body_whole: bool,
    domain_from: Values<&'a str>,
    has_unknown_setting: bool,
}

/// How many values something has of which there should be one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values<T> {
    None,
    One(T),
    Several,
}

impl<T> Values<T> {
    fn add(&mut self, value: T) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

impl<'a> HttpRequest<'a> {
    fn of(message: &'a [u8]) -> Result<Self, NoProtobuf> {
        let mut request = Self {
            message,
            is_there: false,
            authorization: Values::None,
            content_type: Values::None,
            content_encoding: Values::None,
            body: Values::None,
            text_body: Values::None,
            is_body_whole: true,
            domain_from: Values::None,
            has_unknown_setting: false,
        };
        read(message, &mut |part| request.see(part))?;
        Ok(request)
    }

    fn see(&mut self, part: Part<'a>) {
        match part {
            Part::Http => self.is_there = true,
            Part::Header(name, value) => {
                if name.eq_ignore_ascii_case("authorization") {
                    self.authorization.add(value);
                } else if name.eq_ignore_ascii_case("content-type") {
                    self.content_type.add(value);
                } else if name.eq_ignore_ascii_case("content-encoding") {
                    self.content_encoding.add(value);
                } else if name.eq_ignore_ascii_case("x-envoy-auth-partial-body") {
                    self.is_body_whole &= value == b"false";
                }
            }
            Part::Body([]) | Part::TextBody("") => {}
            Part::Body(body) => self.body.add(body),
            Part::TextBody(text) => self.text_body.add(text),
            Part::Extension(DOMAIN_FROM, source) => self.domain_from.add(source),
            Part::Extension(name, _) => self.has_unknown_setting |= is_own(name),
        }
    }

    /// The token, and where the domain stands for which it is to be judged.
    fn question(&self) -> Result<(&'a str, DomainSource<'a>), Refusal> {
        let source = self.source().map_err(|why| {
            if let Some(left_out) = MISCONFIGURED.admit(Instant::now()) {
                tracing::error!(
                    left_out,
                    "a gateway's requests are refused with 503: {why}; see docs/gateway.md"
                );
            }
            Refusal::Misconfigured
        })?;
        Ok((self.token()?, source))
    }

    /// Where the sending domain stands, or why the configuration of Envoy cannot be right. Its own text is not
    /// repeated, because it may hold anything by mistake.
    fn source(&self) -> Result<DomainSource<'a>, String> {
        if !self.is_there {
            return Err("Check has no HTTP request: use the filter ext_authz for HTTP".to_owned());
        }
        if self.has_unknown_setting {
            return Err(format!(
                "context_extensions have a name that begins with keyservice and is not {DOMAIN_FROM}"
            ));
        }
        match self.domain_from {
            // To judge the token alone is a decision. A name that was forgotten or misspelled is none.
            Values::None => Err(format!(
                "context_extensions of a route have no {DOMAIN_FROM}; if only the token is to be judged, say `none`"
            )),
            Values::One(text) => {
                let source = DomainSource::parse(text);
                let source = source.map_err(|why| format!("{DOMAIN_FROM} {why}"))?;
                // The API gets the bytes, and may find another sender in them.
                if self.text_body != Values::None && matches!(source, DomainSource::Body(_)) {
                    return Err(
                        "a body came as text, in which Envoy has replaced bytes: set pack_as_bytes in \
                         with_request_body of the filter itself, since Envoy does not take it from a route"
                            .to_owned(),
                    );
                }
                Ok(source)
            }
            Values::Several => Err(format!("{DOMAIN_FROM} comes twice")),
        }
    }

    /// The token. Whether it is one is the Authorizer's to say.
    fn token(&self) -> Result<&'a str, Refusal> {
        let authorization = match self.authorization {
            Values::None => return Err(Refusal::NoToken),
            // Envoy joins the values of several headers by commas.
            Values::One(value) if !value.contains(&b',') => value,
            Values::One(_) | Values::Several => return Err(Refusal::SeveralTokens),
        };
        let token = bearer(authorization).ok_or(Refusal::NoToken)?;
        std::str::from_utf8(token).map_err(|_| Refusal::MalformedToken)
    }

    /// The sending domain, if there is a place for it.
    fn domain(&self, source: DomainSource<'_>) -> Result<Option<Domain>, Refusal> {
        match source {
            DomainSource::Nowhere => Ok(None),
            DomainSource::Header(name) => {
                let text = match self.header(name) {
                    Values::None => return Err(Refusal::NoHeader),
                    Values::One(value) => std::str::from_utf8(value),
                    Values::Several => return Err(Refusal::SeveralHeaders),
                };
                judged(text.map_err(|_| Refusal::InvalidSender)?).map(Some)
            }
            DomainSource::Body(pointer) => {
                let text = json::find(self.json()?, pointer).map_err(|why| match why {
                    NoText::NoJson => Refusal::NoJson,
                    NoText::Missing => Refusal::NoSender,
                    NoText::Duplicate => Refusal::DuplicateField,
                    NoText::OtherType => Refusal::SenderOfOtherType,
                })?;
                judged(&text).map(Some)
            }
        }
    }

    /// The values of a header.
    fn header(&self, name: &str) -> Values<&'a [u8]> {
        let mut values = Values::None;
        let read = read(self.message, &mut |part| match part {
            Part::Header(other, value) if other.eq_ignore_ascii_case(name) => values.add(value),
            _ => {}
        });
        read.expect("it was read before");
        values
    }

    /// The whole body, if its client says that it is plain JSON. Without a content type, an upstream may guess another.
    fn json(&self) -> Result<&'a [u8], Refusal> {
        if !self.is_body_whole {
            return Err(Refusal::PartialBody);
        }
        if self.content_encoding != Values::None {
            return Err(Refusal::ContentEncoding);
        }
        let is_json = match self.content_type {
            Values::One(value) => is_json(value),
            Values::None | Values::Several => false,
        };
        match self.body {
            Values::None => Err(Refusal::NoBody),
            Values::One(body) if is_json => Ok(body),
            Values::One(_) => Err(Refusal::ContentType),
            // No Envoy sends that.
            Values::Several => Err(Refusal::NoJson),
        }
    }
}

fn judged(sender: &str) -> Result<Domain, Refusal> {
    sending_domain(sender).map_err(|why| match why {
        InvalidSender::Several => Refusal::SeveralSenders,
        InvalidSender::Malformed | InvalidSender::Domain(_) => Refusal::InvalidSender,
        InvalidSender::AmbiguousDomain => Refusal::AmbiguousDomain,
    })
}

/// Whether a content type is that of JSON in UTF-8, in one of its plain spellings. Parsers disagree about all
/// others: some take `charset*0=utf-7` for a charset, and would read another text in the same bytes.
fn is_json(content_type: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(content_type) else {
        return false;
    };
    let (media_type, parameter) = match text.split_once(';') {
        Some((media_type, parameter)) => (media_type, Some(parameter)),
        None => (text, None),
    };
    let is = |part: &str, wanted: &str| part.trim_matches([' ', '\t']).eq_ignore_ascii_case(wanted);
    let is_utf_8 = |it| is(it, "charset=utf-8") || is(it, "charset=\"utf-8\"");
    is(media_type, "application/json") && parameter.is_none_or(is_utf_8)
}

#[cfg(test)]
mod tests;
