//! Owns how messages are read and written, and how much memory a call sets aside for them.
//! Promises the bytes that prost gives, in buffers that fit the messages of Authorize.
//! Must never repeat what it could not read: it may hold a token.

use prost::Message;
use std::marker::PhantomData;
use tonic::{
    Status,
    codec::{BufferSettings, Codec, DecodeBuf, Decoder},
};
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Holds either message of an Authorize. Allocators keep blocks of this size at hand for each
/// thread, which they do not for the 8 KiB that tonic sets aside for each direction by default.
const BUFFER_SIZE: usize = 512;

/// Bytes of a stream that are gathered before they are sent: tonic's default.
const YIELD_THRESHOLD: usize = 32 * 1024;

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
    type Encoder = ProstEncoder<Encoded>;
    type Decoder = MessageDecoder<Decoded>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffer_settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        MessageDecoder(ProstDecoder::new(buffer_settings()))
    }
}

/// Prost's decoder, but that a message it cannot read is its sender's mistake.
#[derive(Debug)]
pub(super) struct MessageDecoder<Decoded>(ProstDecoder<Decoded>);

impl<Decoded: Message + Default> Decoder for MessageDecoder<Decoded> {
    type Item = Decoded;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Decoded>, Status> {
        self.0.decode(buffer).map_err(|_| {
            Status::invalid_argument(
                "the message is no valid protobuf message of its type; see that it is encoded by \
                 the service's proto, and that every text is UTF-8",
            )
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

fn buffer_settings() -> BufferSettings {
    BufferSettings::new(BUFFER_SIZE, YIELD_THRESHOLD)
}
