//! A `CheckRequest`, read where its bytes are.
//!
//! Promises to read what prost reads: `fuzz/` compares them. But where prost keeps the last one of several values
//! of a name, this gives them all, so that none is overlooked.
//! Must never copy a header or a body: headers hold tokens, and both come with every request of a mail platform.

use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field},
};

/// A part of a request, as it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// There is an HTTP request.
    Http,
    /// A header of it: its name, and its value.
    Header(&'a str, &'a [u8]),
    /// Its body.
    Body(&'a [u8]),
    /// Its body as text, in which Envoy has replaced what is no UTF-8.
    TextBody(&'a str),
    /// What its route says to this service: a name, and a value.
    Extension(&'a str, &'a str),
}

/// The message is not one of its type. It may hold a token, so this says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoProtobuf;

impl From<DecodeError> for NoProtobuf {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

type Read = Result<(), NoProtobuf>;

// The numbers of fields.
const ATTRIBUTES: u32 = 1;
const REQUEST: u32 = 4;
const CONTEXT_EXTENSIONS: u32 = 10;
const HTTP: u32 = 2;
const HEADERS: u32 = 3;
const BODY: u32 = 11;
const RAW_BODY: u32 = 12;
const HEADER_MAP: u32 = 13;
const HEADERS_OF_MAP: u32 = 1;
const KEY: u32 = 1;
const VALUE: u32 = 2;
const RAW_VALUE: u32 = 3;

/// Reads a `CheckRequest`, and gives its parts in their order. A message that comes twice is read as one with the
/// fields of both, and unknown fields are skipped.
///
/// # Errors
/// [`NoProtobuf`]
pub fn read<'a>(message: &'a [u8], see: &mut impl FnMut(Part<'a>)) -> Read {
    each_field(message, |number, field| match number {
        ATTRIBUTES => attributes(field.bytes()?, see),
        _ => field.skip(),
    })
}

fn attributes<'a>(message: &'a [u8], see: &mut impl FnMut(Part<'a>)) -> Read {
    each_field(message, |number, field| match number {
        REQUEST => each_field(field.bytes()?, |number, field| match number {
            HTTP => {
                see(Part::Http);
                http(field.bytes()?, see)
            }
            _ => field.skip(),
        }),
        CONTEXT_EXTENSIONS => {
            let (name, value) = entry(field.bytes()?)?;
            see(Part::Extension(name, value));
            Ok(())
        }
        _ => field.skip(),
    })
}

fn http<'a>(message: &'a [u8], see: &mut impl FnMut(Part<'a>)) -> Read {
    each_field(message, |number, field| {
        match number {
            HEADERS => {
                let (name, value) = entry(field.bytes()?)?;
                see(Part::Header(name, value.as_bytes()));
            }
            HEADER_MAP => each_field(field.bytes()?, |number, field| match number {
                HEADERS_OF_MAP => header_value(field.bytes()?, see),
                _ => field.skip(),
            })?,
            BODY => see(Part::TextBody(field.text()?)),
            RAW_BODY => see(Part::Body(field.bytes()?)),
            _ => field.skip()?,
        }
        Ok(())
    })
}

/// A header with a text and bytes has both values.
fn header_value<'a>(message: &'a [u8], see: &mut impl FnMut(Part<'a>)) -> Read {
    let (mut name, mut text, mut raw) = ("", "", &[][..]);
    each_field(message, |number, field| {
        match number {
            KEY => name = field.text()?,
            VALUE => text = field.text()?,
            RAW_VALUE => raw = field.bytes()?,
            _ => field.skip()?,
        }
        Ok(())
    })?;
    if !text.is_empty() || raw.is_empty() {
        see(Part::Header(name, text.as_bytes()));
    }
    if !raw.is_empty() {
        see(Part::Header(name, raw));
    }
    Ok(())
}

/// An entry of a map from text to text.
fn entry(message: &[u8]) -> Result<(&str, &str), NoProtobuf> {
    let (mut key, mut value) = ("", "");
    each_field(message, |number, field| {
        match number {
            KEY => key = field.text()?,
            VALUE => value = field.text()?,
            _ => field.skip()?,
        }
        Ok(())
    })?;
    Ok((key, value))
}

/// Hands out the fields of a message. Whoever gets one must take it.
fn each_field<'a>(mut message: &'a [u8], mut take: impl FnMut(u32, Field<'a, '_>) -> Read) -> Read {
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message)?;
        let field = Field {
            number,
            wire_type,
            rest: &mut message,
        };
        take(number, field)?;
    }
    Ok(())
}

/// A field whose value is the next thing to be read.
struct Field<'a, 'r> {
    number: u32,
    wire_type: WireType,
    rest: &'r mut &'a [u8],
}

impl<'a> Field<'a, '_> {
    fn bytes(self) -> Result<&'a [u8], NoProtobuf> {
        check_wire_type(WireType::LengthDelimited, self.wire_type)?;
        let length = usize::try_from(decode_varint(self.rest)?).map_err(|_| NoProtobuf)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(NoProtobuf)?;
        *self.rest = rest;
        Ok(bytes)
    }

    fn text(self) -> Result<&'a str, NoProtobuf> {
        std::str::from_utf8(self.bytes()?).map_err(|_| NoProtobuf)
    }

    fn skip(self) -> Read {
        let context = DecodeContext::default();
        Ok(skip_field(self.wire_type, self.number, self.rest, context)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::envoy::{
        config::core::v3::{HeaderMap, HeaderValue},
        service::auth::v3::{
            AttributeContext, CheckRequest,
            attribute_context::{HttpRequest, Request},
        },
    };
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    fn parts(message: &[u8]) -> Result<Vec<Part<'_>>, NoProtobuf> {
        let mut parts = Vec::new();
        read(message, &mut |part| parts.push(part))?;
        Ok(parts)
    }

    fn check_request(
        headers: Vec<(String, String)>,
        raw_headers: Vec<(String, Vec<u8>)>,
        (body, raw_body): (String, Vec<u8>),
        context_extensions: Vec<(String, String)>,
    ) -> CheckRequest {
        let raw_headers = raw_headers.into_iter().map(|(key, raw_value)| HeaderValue {
            key,
            raw_value,
            ..HeaderValue::default()
        });
        let http = HttpRequest {
            headers: headers.into_iter().collect(),
            header_map: Some(HeaderMap {
                headers: raw_headers.collect(),
            }),
            body,
            raw_body,
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request { http: Some(http) }),
                context_extensions: context_extensions.into_iter().collect(),
            }),
        }
    }

    proptest! {
        #[test]
        fn every_part_of_a_request_is_given(
            headers in vec(("[a-z]{0,3}", any::<String>()), 0..4),
            raw_headers in vec(("[a-z]{0,3}", any::<Vec<u8>>()), 0..4),
            bodies: (String, Vec<u8>),
            extensions in vec(("[a-z]{0,3}", any::<String>()), 0..3),
        ) {
            let request = check_request(headers, raw_headers, bodies, extensions);
            let encoded = request.encode_to_vec();
            let parts = parts(&encoded).expect("it is a message");
            let attributes = request.attributes.expect("it has them");
            let http = attributes.request.expect("it has one").http.expect("it has one");
            let raw = http.header_map.expect("it has one").headers;
            let mut expected = vec![Part::Http];
            let headers = http.headers.iter().map(|(name, value)| (name, value.as_bytes()));
            let raw = raw.iter().map(|it| (&it.key, &*it.raw_value));
            expected.extend(headers.chain(raw).map(|(name, value)| Part::Header(name, value)));
            if !http.body.is_empty() {
                expected.push(Part::TextBody(&http.body));
            }
            if !http.raw_body.is_empty() {
                expected.push(Part::Body(&http.raw_body));
            }
            let extensions = attributes.context_extensions.iter();
            expected.extend(extensions.map(|(name, value)| Part::Extension(name, value)));
            prop_assert_eq!(parts.len(), expected.len());
            prop_assert!(expected.iter().all(|part| parts.contains(part)));
        }

        #[test]
        fn any_bytes_are_refused_if_prost_refuses_them(message: Vec<u8>) {
            prop_assert_eq!(parts(&message).is_err(), CheckRequest::decode(&*message).is_err());
        }

        #[test]
        fn a_message_that_is_cut_off_is_refused_if_prost_refuses_it(
            headers in vec(("[a-z]{0,3}", any::<String>()), 1..3),
            cut in 0.0..1.0_f64,
        ) {
            let message = check_request(headers, Vec::new(), Default::default(), Vec::new());
            let message = message.encode_to_vec();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in the message")]
            let message = &message[..(message.len() as f64 * cut) as usize];
            prop_assert_eq!(parts(message).is_err(), CheckRequest::decode(message).is_err());
        }
    }
}
