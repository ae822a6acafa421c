//! Owns how much memory a call sets aside for its messages.
//! Promises the bytes that prost gives, in buffers that fit the messages of Authorize.
//! Must never bound a message: the buffers grow.

use prost::Message;
use std::marker::PhantomData;
use tonic::codec::{BufferSettings, Codec};
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
    type Decoder = ProstDecoder<Decoded>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(buffer_settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(buffer_settings())
    }
}

fn buffer_settings() -> BufferSettings {
    BufferSettings::new(BUFFER_SIZE, YIELD_THRESHOLD)
}
