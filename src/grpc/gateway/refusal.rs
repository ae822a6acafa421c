//! Why an HTTP request does not pass, and what its client is told.
//!
//! Owns the statuses, the names and the sentences, which are the same for every request. So each answer is
//! encoded once.
//! Promises JSON in the form that mail APIs use: `statusCode`, `name` and `message`.
//! Must never say anything of the request.

use crate::{
    authorize::decision::DenialReason,
    grpc::{
        authorize::put_frame,
        envoy::{
            config::core::v3::{
                HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
            },
            service::auth::v3::{CheckResponse, DeniedHttpResponse, check_response::HttpResponse},
            r#type::v3::{HttpStatus, StatusCode},
        },
    },
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use std::sync::LazyLock;
use strum::VariantArray;
use tonic::Code;

/// Why a request does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub(super) enum Refusal {
    /// It has no bearer token.
    NoToken,
    /// It has several headers `authorization`, or several values in one.
    SeveralTokens,
    /// The text is no token.
    MalformedToken,
    /// No key has the token.
    UnknownToken,
    Revoked,
    Expired,
    Suspended,
    DomainNotAllowed,
    DomainNotVerified,
    /// The header that names the sending domain is not there.
    NoHeader,
    /// That header has several values.
    SeveralHeaders,
    /// There is no body.
    NoBody,
    /// Only the beginning of the body was sent to this service.
    PartialBody,
    /// The header `content-type` does not say that the body is JSON, or comes twice.
    ContentType,
    /// The header `content-encoding` says that the body is compressed, or the like.
    ContentEncoding,
    /// The body is no JSON.
    NoJson,
    /// The sender's field is not there.
    NoSender,
    /// A name on the way to it comes twice.
    DuplicateField,
    /// The sender's field is no text.
    SenderOfOtherType,
    /// There are several senders.
    SeveralSenders,
    /// The sender has no valid domain.
    InvalidSender,
    /// The sender's domain is not the same one for all programs.
    AmbiguousDomain,
    /// The configuration of Envoy cannot be right, so no request can be judged by it.
    Misconfigured,
}

/// What a client is told.
struct Told {
    status: StatusCode,
    /// The `error` in `WWW-Authenticate` (RFC 6750, section 3.1). `Some("")` is a challenge without one.
    challenge: Option<&'static str>,
    name: &'static str,
    message: &'static str,
}

const INVALID_REQUEST: Option<&str> = Some("invalid_request");
const INVALID_TOKEN: Option<&str> = Some("invalid_token");
const INSUFFICIENT_SCOPE: Option<&str> = Some("insufficient_scope");

impl From<DenialReason> for Refusal {
    fn from(reason: DenialReason) -> Self {
        match reason {
            DenialReason::MalformedToken => Self::MalformedToken,
            DenialReason::UnknownToken => Self::UnknownToken,
            DenialReason::Revoked => Self::Revoked,
            DenialReason::Expired => Self::Expired,
            DenialReason::Suspended => Self::Suspended,
            DenialReason::DomainNotAllowed => Self::DomainNotAllowed,
            DenialReason::DomainNotVerified => Self::DomainNotVerified,
        }
    }
}

impl Refusal {
    /// The answer to Envoy, as a message of gRPC.
    pub(super) fn answer(self) -> Bytes {
        static ANSWERS: LazyLock<Vec<Bytes>> =
            LazyLock::new(|| Refusal::VARIANTS.iter().map(|it| it.encoded()).collect());
        ANSWERS[self as usize].clone()
    }

    #[expect(
        clippy::too_many_lines,
        reason = "a table, with a row for each refusal"
    )]
    fn told(self) -> Told {
        use StatusCode::{BadRequest, Forbidden, ServiceUnavailable, Unauthorized};
        let (status, challenge, name, message) = match self {
            Self::NoToken => (
                Unauthorized,
                Some(""),
                "missing_api_key",
                "The API key is missing. Send it in the header `Authorization: Bearer tsend_…`.",
            ),
            Self::SeveralTokens => (
                BadRequest,
                INVALID_REQUEST,
                "several_api_keys",
                "The request has more than one API key. Send one Authorization header with one key.",
            ),
            Self::MalformedToken => (
                Unauthorized,
                INVALID_TOKEN,
                "invalid_api_key",
                "This is no API key. It may have been cut off: copy the whole of it.",
            ),
            Self::UnknownToken => (
                Unauthorized,
                INVALID_TOKEN,
                "invalid_api_key",
                "The API key is not valid.",
            ),
            Self::Revoked => (
                Unauthorized,
                INVALID_TOKEN,
                "revoked_api_key",
                "The API key was revoked. Create another one.",
            ),
            Self::Expired => (
                Unauthorized,
                INVALID_TOKEN,
                "expired_api_key",
                "The API key has expired. Create another one.",
            ),
            Self::Suspended => (
                Forbidden,
                INSUFFICIENT_SCOPE,
                "suspended_api_key",
                "The API key, or the account that owns it, is suspended.",
            ),
            Self::DomainNotAllowed => (
                Forbidden,
                INSUFFICIENT_SCOPE,
                "domain_not_allowed",
                "The API key is restricted to another sending domain.",
            ),
            Self::DomainNotVerified => (
                Forbidden,
                INSUFFICIENT_SCOPE,
                "domain_not_verified",
                "The sending domain is not verified for this account.",
            ),
            Self::NoHeader => (
                BadRequest,
                None,
                "missing_sender",
                "The header that names the sending domain is missing.",
            ),
            Self::SeveralHeaders => (
                BadRequest,
                None,
                "several_senders",
                "The header that names the sending domain has several values. Send one.",
            ),
            Self::NoBody => (
                BadRequest,
                None,
                "missing_body",
                "The request has no body. Send the message as JSON.",
            ),
            Self::PartialBody => (BadRequest, None, "body_too_large", "The body is too large."),
            Self::ContentType => (
                BadRequest,
                None,
                "invalid_content_type",
                "The body must be JSON. Send it with the header `Content-Type: application/json`.",
            ),
            Self::ContentEncoding => (
                BadRequest,
                None,
                "invalid_content_encoding",
                "The body must not be compressed. Send it without the header `Content-Encoding`.",
            ),
            Self::NoJson => (
                BadRequest,
                None,
                "invalid_json",
                "The body is not valid JSON.",
            ),
            Self::NoSender => (
                BadRequest,
                None,
                "missing_sender",
                "The body does not say who the message is from.",
            ),
            Self::DuplicateField => (
                BadRequest,
                None,
                "duplicate_field",
                "The body says twice who the message is from, or says it under a name in other upper and lower case than this API has.",
            ),
            Self::SenderOfOtherType => (
                BadRequest,
                None,
                "invalid_sender",
                "The field that says who the message is from must be one text, and no list.",
            ),
            Self::SeveralSenders => (
                BadRequest,
                None,
                "several_senders",
                "The message is from several addresses. Give one. A name with any of `,;:()[]` needs quotation marks.",
            ),
            Self::InvalidSender => (
                BadRequest,
                None,
                "invalid_sender",
                "The sender is not valid. Give `you@example.com` or `Your name <you@example.com>`. A name with any of `,;:()[]` needs quotation marks.",
            ),
            Self::AmbiguousDomain => (
                BadRequest,
                None,
                "invalid_sender",
                "Programs read the sender's domain in different ways. Give it in its ASCII form, which has `xn--`.",
            ),
            Self::Misconfigured => (
                ServiceUnavailable,
                None,
                "service_unavailable",
                "The service cannot check this request. Its operators can see why.",
            ),
        };
        Told {
            status,
            challenge,
            name,
            message,
        }
    }

    fn encoded(self) -> Bytes {
        let told = self.told();
        // In this order, in which people read it.
        let body = format!(
            "{{\"statusCode\":{},\"name\":\"{}\",\"message\":\"{}\"}}\n",
            told.status as i32, told.name, told.message
        );
        let mut headers = vec![header("content-type", "application/json")];
        headers.extend(told.challenge.map(|error| {
            let error = match error {
                "" => String::new(),
                error => format!(", error=\"{error}\""),
            };
            header("www-authenticate", &format!("Bearer realm=\"api\"{error}"))
        }));
        let code = match told.status {
            StatusCode::Unauthorized => Code::Unauthenticated,
            StatusCode::Forbidden => Code::PermissionDenied,
            StatusCode::ServiceUnavailable => Code::Unavailable,
            StatusCode::BadRequest | StatusCode::Empty => Code::InvalidArgument,
        };
        let denied = DeniedHttpResponse {
            status: Some(HttpStatus {
                code: told.status.into(),
            }),
            headers,
            body,
        };
        let response = CheckResponse {
            status: Some(tonic_types::Status {
                code: code.into(),
                ..tonic_types::Status::default()
            }),
            http_response: Some(HttpResponse::DeniedResponse(denied)),
        };
        framed(&response)
    }
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            raw_value: Vec::new(),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

fn framed(response: &CheckResponse) -> Bytes {
    let mut framed = BytesMut::new();
    put_frame(&mut framed, response.encoded_len());
    response.encode(&mut framed).expect("a buffer grows");
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_the_status_and_the_challenge_of_its_kind() {
        for refusal in Refusal::VARIANTS {
            let told = refusal.told();
            let has_challenge = told.challenge.is_some();
            match told.status {
                StatusCode::Unauthorized | StatusCode::Forbidden => assert!(has_challenge),
                StatusCode::BadRequest => {
                    assert_eq!(has_challenge, *refusal == Refusal::SeveralTokens);
                }
                StatusCode::ServiceUnavailable | StatusCode::Empty => {
                    assert_eq!(*refusal, Refusal::Misconfigured);
                }
            }
            let answer = refusal.answer();
            let answer = CheckResponse::decode(&answer[5..]).expect("it is one");
            assert_ne!(answer.status.expect("it has one").code, 0);
            let Some(HttpResponse::DeniedResponse(denied)) = answer.http_response else {
                panic!("{refusal:?} lets a request pass");
            };
            let body: serde_json::Value = serde_json::from_str(&denied.body).expect("JSON");
            assert_eq!(body["statusCode"], told.status as i32);
            assert_eq!(body["name"], told.name);
            assert_eq!(body["message"], told.message);
        }
    }
}
