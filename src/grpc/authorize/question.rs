//! A question, read where its bytes are.
//!
//! Promises to read what prost reads, and to refuse what prost refuses: `fuzz/` compares them.
//! Must never copy a token.

use crate::grpc::layers::PREFIX_SIZE;
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, check_wire_type, decode_key, decode_varint, skip_field},
};

/// A message that asks, and the numbers of its fields.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    id: Option<u32>,
    token: u32,
    domain: u32,
}

impl Fields {
    /// An `AuthorizeRequest`.
    pub const OF_CALL: Self = Self {
        id: None,
        token: 1,
        domain: 2,
    };

    /// An `AuthorizeStreamRequest`.
    pub const OF_STREAM: Self = Self {
        id: Some(1),
        token: 2,
        domain: 3,
    };
}

/// What such a message asks.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Question<'a> {
    /// The caller's number for it. Zero without one.
    pub id: u64,
    /// The token, or whatever stands in its place.
    pub token: &'a str,
    /// The domain, as it was sent.
    pub domain: &'a str,
}

/// Why the next bytes of a stream are no question. They may hold a token, so this says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoQuestion {
    /// The message is marked as compressed.
    Compressed,
    /// The bytes are not framed as gRPC does it.
    NoFrame,
    /// The message has this many bytes, which are more than it may have.
    TooLarge(u32),
    /// The message is not one of its type.
    NoProtobuf,
}

impl From<DecodeError> for NoQuestion {
    fn from(_: DecodeError) -> Self {
        Self::NoProtobuf
    }
}

/// Reads the first message of a stream's next bytes, and gives what stands behind it. None if it is not whole
/// yet. A message that is too large is refused before its bytes come.
pub fn first(bytes: &[u8], max_size: u32) -> Result<Option<(Question<'_>, &[u8])>, NoQuestion> {
    match bytes.first() {
        None => return Ok(None),
        Some(0) => {}
        Some(1) => return Err(NoQuestion::Compressed),
        Some(_) => return Err(NoQuestion::NoFrame),
    }
    let Some((prefix, rest)) = bytes.split_first_chunk::<{ PREFIX_SIZE as usize }>() else {
        return Ok(None);
    };
    let [_, length @ ..] = *prefix;
    let size = u32::from_be_bytes(length);
    if size > max_size {
        return Err(NoQuestion::TooLarge(size));
    }
    let Some((message, behind)) = rest.split_at_checked(size as usize) else {
        return Ok(None);
    };
    Ok(Some((read(message, Fields::OF_STREAM)?, behind)))
}

/// Reads a message. Of a field that comes twice the last one counts, and unknown fields are skipped.
///
/// # Errors
/// [`NoQuestion::NoProtobuf`]
pub fn read(mut message: &[u8], fields: Fields) -> Result<Question<'_>, NoQuestion> {
    let mut question = Question::default();
    while !message.is_empty() {
        let (field, wire_type) = decode_key(&mut message)?;
        if field == fields.token {
            question.token = text(wire_type, &mut message)?;
        } else if field == fields.domain {
            question.domain = text(wire_type, &mut message)?;
        } else if Some(field) == fields.id {
            check_wire_type(WireType::Varint, wire_type)?;
            question.id = decode_varint(&mut message)?;
        } else {
            skip_field(wire_type, field, &mut message, DecodeContext::default())?;
        }
    }
    Ok(question)
}

fn text<'a>(wire_type: WireType, message: &mut &'a [u8]) -> Result<&'a str, NoQuestion> {
    check_wire_type(WireType::LengthDelimited, wire_type)?;
    let length = usize::try_from(decode_varint(message)?).map_err(|_| NoQuestion::NoProtobuf)?;
    let (text, rest) = message
        .split_at_checked(length)
        .ok_or(NoQuestion::NoProtobuf)?;
    *message = rest;
    std::str::from_utf8(text).map_err(|_| NoQuestion::NoProtobuf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::{AuthorizeRequest, AuthorizeStreamRequest};
    use proptest::prelude::*;
    use prost::Message;

    fn assert_read_as_prost_does(message: &[u8]) {
        let of_stream = read(message, Fields::OF_STREAM).map(|question| AuthorizeStreamRequest {
            id: question.id,
            token: question.token.to_owned(),
            domain: question.domain.to_owned(),
        });
        assert_eq!(of_stream.ok(), AuthorizeStreamRequest::decode(message).ok());
        let of_call = read(message, Fields::OF_CALL).map(|question| AuthorizeRequest {
            token: question.token.to_owned(),
            domain: question.domain.to_owned(),
        });
        assert_eq!(of_call.ok(), AuthorizeRequest::decode(message).ok());
    }

    proptest! {
        #[test]
        fn a_question_is_read_as_prost_reads_it(id: u64, token: String, domain: String) {
            let of_call = AuthorizeRequest { token: token.clone(), domain: domain.clone() };
            let of_stream = AuthorizeStreamRequest { id, token, domain };
            for mut message in [of_call.encode_to_vec(), of_stream.encode_to_vec()] {
                assert_read_as_prost_does(&message);
                message.pop();
                assert_read_as_prost_does(&message);
            }
        }

        #[test]
        fn any_bytes_are_read_as_prost_reads_them(message: Vec<u8>) {
            assert_read_as_prost_does(&message);
        }

        #[test]
        fn fields_that_are_unknown_or_come_twice_are_read_as_prost_reads_them(
            fields in prop::collection::vec((1..6_u8, 0..6_u8, prop::collection::vec(0..128_u8, 0..4)), 0..6),
        ) {
            let message = fields.into_iter().flat_map(|(field, wire_type, mut value)| {
                if wire_type == 2 {
                    value.insert(0, u8::try_from(value.len()).expect("short"));
                }
                value.insert(0, field << 3 | wire_type);
                value
            });
            assert_read_as_prost_does(&message.collect::<Vec<_>>());
        }
    }
}
