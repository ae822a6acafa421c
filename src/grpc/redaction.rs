//! The fields of the protos that `Debug` must not print.
//!
//! This file is a part of build.rs; only its tests belong to the library.
//! Promises that a field which is named like a secret is redacted, or the build fails.
//! Must never keep a list of messages: each field says in its proto whether it is redacted.

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, Value};

/// The fields with `debug_redact = true`, of every message.
///
/// If a field that is named like a secret is without it, the error is a sentence that names the
/// field and says what to do.
pub(crate) fn redacted_fields(
    descriptors: &DescriptorPool,
) -> Result<Vec<FieldDescriptor>, String> {
    let mut redacted = Vec::new();
    for message in descriptors.all_messages() {
        for field in message.fields() {
            if is_redacted(&field) {
                redacted.push(field);
            } else if is_named_like_a_secret(field.name()) && holds_text(&field) {
                return Err(format!(
                    "the field `{}` of {} is named like a secret, and `Debug` would print it; mark \
                     it with `[debug_redact = true]` in the proto, or give it another name",
                    field.name(),
                    message.full_name()
                ));
            }
        }
    }
    Ok(redacted)
}

/// The field as prost-build's path, in which a oneof stands between its message and its field.
pub(crate) fn field_path(field: &FieldDescriptor) -> String {
    // An `optional` field stands in a oneof too, which prost leaves out.
    let oneof = field.containing_oneof();
    let oneof = oneof.filter(|oneof| !oneof.is_synthetic());
    let message = field.parent_message().full_name();
    let holder = oneof.as_ref().map_or(message, |oneof| oneof.full_name());
    format!(".{holder}.{}", field.name())
}

/// The messages that have these fields, as prost-build's paths. Such a path covers what stands
/// inside the message too, so that a message inside another of the list is left out.
pub(crate) fn outermost_messages(fields: &[FieldDescriptor]) -> Vec<String> {
    let path = |field: &FieldDescriptor| format!(".{}", field.parent_message().full_name());
    let mut paths: Vec<_> = fields.iter().map(path).collect();
    paths.sort_unstable();
    paths.dedup_by(|path, outer| {
        let inside = path.strip_prefix(outer.as_str());
        inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    paths
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let value = options.get_field_by_name("debug_redact");
    value.as_deref().and_then(Value::as_bool) == Some(true)
}

/// Whether the name's last word is `token` or `secret`: `token`, `new_token`, `client_secret`.
///
/// This covers more than the name `token`, because a printed secret is a leak and a redacted text
/// that is no secret does no harm. Page tokens are not secret: they say where a list goes on
/// (<https://google.aip.dev/158>), and give access to nothing.
fn is_named_like_a_secret(name: &str) -> bool {
    let is_page_token = name == "page_token" || name.ends_with("_page_token");
    let last_word = name.rsplit('_').next().unwrap_or(name);
    !is_page_token && matches!(last_word, "token" | "tokens" | "secret" | "secrets")
}

/// Whether the field itself holds strings or bytes: one, several, or as a map's keys or values.
/// Another message's fields are judged by their own names.
fn holds_text(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::String | Kind::Bytes => true,
        Kind::Message(message) => {
            let is_wrapper = matches!(
                message.full_name(),
                "google.protobuf.StringValue" | "google.protobuf.BytesValue"
            );
            is_wrapper || message.is_map_entry() && message.fields().any(|part| holds_text(&part))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::{envoy, proto};
    use prost::Message;
    use protox::{
        Compiler,
        file::{ChainFileResolver, File, FileResolver, GoogleFileResolver},
        prost_reflect::{DynamicMessage, MapKey, MessageDescriptor},
    };

    /// A field in a message of its own, and whether a build with it fails.
    #[track_caller]
    fn assert_fails(is_refused: bool, field: &str) {
        let refused = redacted_fields(&compile(&format!("message M {{ {field} }}"))).is_err();
        assert_eq!(refused, is_refused, "{field}");
    }

    fn compile(messages: &str) -> DescriptorPool {
        struct Source(String);
        impl FileResolver for Source {
            fn open_file(&self, name: &str) -> Result<File, protox::Error> {
                if name == "test.proto" {
                    File::from_source(name, &self.0)
                } else {
                    Err(protox::Error::file_not_found(name))
                }
            }
        }
        let head = "syntax = \"proto3\"; package p; import \"google/protobuf/wrappers.proto\";";
        let mut files = ChainFileResolver::new();
        files.add(Source(format!("{head} {messages}")));
        files.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(files);
        compiler.open_file("test.proto").expect("it is a proto");
        compiler.descriptor_pool()
    }

    #[test]
    fn a_field_named_like_a_secret_must_be_marked() {
        for field in [
            "string token = 1;",
            "bytes token = 1;",
            "optional string token = 1;",
            "repeated string token = 1;",
            "repeated bytes tokens = 1;",
            "string new_token = 1;",
            "string client_secret = 1;",
            "oneof target { string id = 1; string token = 2; }",
            "map<string, string> tokens = 1;",
            "map<string, M> by_token = 1;",
            "map<int32, bytes> tokens = 1;",
            "google.protobuf.StringValue token = 1;",
            "string token = 1 [debug_redact = false];",
            "message Inner { string token = 1; }",
        ] {
            assert_fails(true, field);
        }
        for field in [
            "string token = 1 [debug_redact = true];",
            "repeated string tokens = 1 [deprecated = true, debug_redact = true];",
            "map<string, string> tokens = 1 [debug_redact = true];",
            "string page_token = 1; string next_page_token = 2;",
            "string tokenizer = 1; string token_preview = 2;",
            "int32 max_tokens = 1; bool has_token = 2; map<int32, M> tokens = 3;",
            "M token = 1;",
        ] {
            assert_fails(false, field);
        }
    }

    #[test]
    fn the_error_names_the_message_and_the_field_and_says_what_to_do() {
        let protos = compile("message Outer { message Inner { string new_token = 1; } }");
        let error = redacted_fields(&protos).expect_err("it is not marked");
        for part in ["p.Outer.Inner", "`new_token`", "[debug_redact = true]"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn whatever_is_marked_is_redacted_and_a_message_inside_another_is_not_named_twice() {
        const MARK: &str = "[debug_redact = true]";
        let protos = compile(&format!(
            "message A {{ message B {{ int32 pin = 1 {MARK}; }} optional bytes token = 1 {MARK}; }}
             message AB {{ oneof of {{ string token = 1 {MARK}; string id = 2; }} }}
             message C {{ message D {{ A a = 1 {MARK}; }} string id = 1; }}"
        ));
        let fields = redacted_fields(&protos).expect("all are marked");
        let mut paths: Vec<_> = fields.iter().map(field_path).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [".p.A.B.pin", ".p.A.token", ".p.AB.of.token", ".p.C.D.a"]
        );
        assert_eq!(outermost_messages(&fields), [".p.A", ".p.AB", ".p.C.D"]);
    }

    type Print = fn(&[u8]) -> String;

    fn print<M: Message + Default + std::fmt::Debug>(encoded: &[u8]) -> String {
        let message = M::decode(encoded).expect("it is this type's message");
        format!("{message:?}")
    }

    /// A message with nothing but this text in this field.
    fn with_text(message: &MessageDescriptor, field: &FieldDescriptor, text: &str) -> Vec<u8> {
        let value = match field.kind() {
            Kind::Bytes => Value::Bytes(text.to_owned().into()),
            _ => Value::String(text.to_owned()),
        };
        let value = if field.is_list() {
            Value::List(vec![value])
        } else if field.is_map() {
            let text = Value::String(text.to_owned());
            Value::Map([(MapKey::String("key".to_owned()), text)].into())
        } else {
            value
        };
        let mut holder = DynamicMessage::new(message.clone());
        let set = holder.try_set_field(field, value);
        set.unwrap_or_else(|error| panic!("teach this test {}: {error}", field.full_name()));
        holder.encode_to_vec()
    }

    #[test]
    fn every_message_prints_its_fields_but_those_that_hold_a_token() {
        let messages: &[(&str, Print)] = &include!(concat!(env!("OUT_DIR"), "/messages.rs"));
        let descriptors = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
        let descriptors = DescriptorPool::decode(descriptors.as_slice()).expect("they are valid");
        let mut redacted = 0;
        for (name, print) in messages {
            let message = descriptors.get_message_by_name(name).expect("it is there");
            for field in message.fields() {
                if !is_redacted(&field) && !matches!(field.kind(), Kind::String | Kind::Bytes) {
                    continue;
                }
                let printed = print(&with_text(&message, &field, "tsend_secret"));
                let is_shown = printed.contains("tsend_secret");
                assert_eq!(is_shown, !is_redacted(&field), "{name}: {printed}");
                redacted += usize::from(is_redacted(&field));
            }
        }
        let fields = redacted_fields(&descriptors).expect("the build passed");
        assert!(redacted > 0);
        assert_eq!(redacted, fields.len(), "a message is not in the list");
    }
}
