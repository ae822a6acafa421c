//! Calls of every method that the protos have, with messages that are made by their descriptors.

use bytes::{Buf, BufMut};
use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    MethodDescriptor, Value,
};
use std::path::Path;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// Every method of this service's protos.
pub fn methods() -> Vec<MethodDescriptor> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = std::fs::read_dir(root.join("tosend/keys/v1")).expect("the protos");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    let compiled = protox::compile(files, [root]).expect("they compile");
    let pool = DescriptorPool::from_file_descriptor_set(compiled).expect("they are complete");
    pool.services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

/// Every field that holds text, by the fields that lead to it.
pub fn text_fields(message: &MessageDescriptor) -> Vec<Vec<FieldDescriptor>> {
    let mut found = Vec::new();
    for field in message.fields() {
        match field.kind() {
            Kind::String => found.push(vec![field]),
            Kind::Message(inner) => {
                let inner = text_fields(&inner).into_iter();
                found.extend(inner.map(|path| [vec![field.clone()], path].concat()));
            }
            _ => {}
        }
    }
    found
}

/// Puts a text into a field, as the only element of a list or a map.
pub fn put_text(message: &mut DynamicMessage, path: &[FieldDescriptor], text: &str) {
    let (field, rest) = path.split_first().expect("a field");
    let text_of = |field: &FieldDescriptor| -> Value {
        match field.kind() {
            Kind::Message(inner) => {
                let mut inner = DynamicMessage::new(inner);
                put_text(&mut inner, rest, text);
                Value::Message(inner)
            }
            _ => Value::String(text.to_owned()),
        }
    };
    let value = if field.is_map() {
        let (key, value) = match rest[0].name() {
            "key" => (text, "value"),
            _ => ("key", text),
        };
        Value::Map([(MapKey::String(key.into()), Value::String(value.into()))].into())
    } else if field.is_list() {
        Value::List(vec![text_of(field)])
    } else {
        text_of(field)
    };
    message.set_field(field, value);
}

pub async fn call(
    channel: Channel,
    method: &MethodDescriptor,
    message: &DynamicMessage,
) -> Result<DynamicMessage, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.expect("it is connected");
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().expect("a path");
    let request = Request::new(message.encode_to_vec());
    let answer = grpc.unary(request, path, Bytes).await?.into_inner();
    Ok(DynamicMessage::decode(method.output(), answer.as_slice()).expect("an answer"))
}

/// Messages as they are on the wire.
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}
