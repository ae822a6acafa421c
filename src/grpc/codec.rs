//! The encoding of messages.
//!
//! Owns how messages are read and written, and how much memory a call sets aside for them.
//! Promises the bytes that prost gives, in small buffers.
//! Must never repeat what it could not read, which may hold a token.

use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// In bytes. Most messages fit. Allocators keep blocks of this size at hand for each
/// thread, but not blocks of 8 KiB, which tonic sets aside for each direction by default.
const BUFFER_SIZE: usize = 512;

/// How many bytes of a stream are gathered before they are sent. This is tonic's default.
const YIELD_THRESHOLD: usize = 32 * 1024;

/// What is wrong with a message that cannot be decoded, and what to do.
pub(super) const NO_PROTOBUF: &str = "the message is no valid protobuf message of its type: encode it by \
                                      the service's proto, and see that every text is UTF-8";

/// Prost's encoding, in small buffers.
#[derive(Debug, Clone, Copy)]
pub(super) struct SmallMessageCodec<Encoded, Decoded>(PhantomData<(Encoded, Decoded)>);

impl<Encoded, Decoded> Default for SmallMessageCodec<Encoded, Decoded> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Encoded, Decoded> Codec for SmallMessageCodec<Encoded, Decoded>
where
    Encoded: Message + Send + 'static,
    Decoded: Message + Default + Send + 'static,
{
    type Encode = Encoded;
    type Decode = Decoded;
    type Encoder = MessageEncoder<Encoded>;
    type Decoder = MessageDecoder<Decoded>;

    fn encoder(&mut self) -> Self::Encoder {
        MessageEncoder(ProstEncoder::new(buffer_settings()))
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(ProstDecoder::new(buffer_settings()))
    }
}

/// Prost's encoder, except that it sets aside what a message takes, and no more. A buffer that grows takes up to
/// twice that, and HTTP/2 keeps all of it until the client has taken the message.
#[derive(Debug)]
pub(super) struct MessageEncoder<Encoded>(ProstEncoder<Encoded>);

impl<Encoded: Message> Encoder for MessageEncoder<Encoded> {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, message: Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(message.encoded_len());
        self.0.encode(message, buffer)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// Prost's decoder, except that it blames a message that it cannot read on the sender.
#[derive(Debug)]
pub(super) struct MessageDecoder<Decoded>(ProstDecoder<Decoded>);

impl<Decoded: Message + Default> Decoder for MessageDecoder<Decoded> {
    type Item = Decoded;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Decoded>, Status> {
        let decoded = self.0.decode(buffer);
        decoded.map_err(|_| Status::invalid_argument(NO_PROTOBUF))
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

fn buffer_settings() -> BufferSettings {
    BufferSettings::new(BUFFER_SIZE, YIELD_THRESHOLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::proto::{Key, ListResponse};
    use futures::{FutureExt, stream};
    use http_body_util::BodyExt;
    use tonic::codec::{EncodeBody, SingleMessageCompressionOverride};

    /// A buffer that doubles until the message fits would be larger, and HTTP/2 keeps the whole of it.
    #[test]
    fn the_buffer_of_a_large_answer_is_as_long_as_the_answer() {
        let answer = ListResponse {
            keys: vec![Key::default(); 10_001],
            ..ListResponse::default()
        };
        let encoder = SmallMessageCodec::<ListResponse, ()>::default().encoder();
        let mut body = Box::pin(EncodeBody::new_server(
            encoder,
            stream::iter([Ok(answer)]),
            None,
            SingleMessageCompressionOverride::Disable,
            None,
        ));
        let frame = body.frame().now_or_never().expect("it waits for nothing");
        let frame = frame.expect("a frame").expect("encoded").into_data();
        let data = frame.expect("data");
        // Otherwise it would share the buffer.
        drop(body);
        let len = data.len();
        let buffer = data.try_into_mut().expect("nobody shares it");
        assert_eq!(buffer.capacity(), len);
    }
}
