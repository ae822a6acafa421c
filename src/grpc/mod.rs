//! The gRPC API.
//!
//! Owns the generated types, the services, and the layers around them.
//! Promises that no other folder uses protobuf types.
//! Must never put a token into a status, a log or a span.

pub mod accounts;
mod audited_call;
pub mod authorize;
mod call;
mod codec;
pub mod domains;
mod errors;
pub mod fields;
pub mod gateway;
mod handlers;
mod health;
mod held_answer;
pub mod keys;
mod known_now;
pub mod layers;
mod methods;
mod page_token;
#[cfg(test)]
mod redaction;
mod server;
mod unwritten;
pub mod writer;
mod writes;

pub use call::Call;
pub(crate) use health::ServingState;
pub use methods::method_names;
pub(crate) use server::{serve, serve_health};

use crate::model::time::Timestamp;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};
use tonic_reflection::server::v1alpha;

/// What tonic and prost generate from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod proto {
    tonic::include_proto!("tosend.keys.v1");
    include!(concat!(env!("OUT_DIR"), "/clients/tosend.keys.v1.rs"));
}

/// The compiled protos of this service, with all that they import.
pub(crate) const OWN_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The part of Envoy's API that a gateway uses, in its packages.
#[allow(missing_docs, unreachable_pub, clippy::pedantic)]
pub mod envoy {
    pub mod service {
        pub mod auth {
            pub mod v3 {
                include!(concat!(
                    env!("OUT_DIR"),
                    "/clients/envoy.service.auth.v3.rs"
                ));
                tonic::include_proto!("envoy.service.auth.v3");
            }
        }
    }
    pub mod config {
        pub mod core {
            pub mod v3 {
                tonic::include_proto!("envoy.config.core.v3");
            }
        }
    }
    pub mod r#type {
        pub mod v3 {
            tonic::include_proto!("envoy.r#type.v3");
        }
    }
}

/// The compiled protos, which reflection serves.
const DESCRIPTOR_SETS: [&[u8]; 5] = [
    // With these a client can show the details of an error.
    tonic_types::pb::FILE_DESCRIPTOR_SET,
    // Behind them, because of a type that is in both the last one is shown. It must be that of the file which
    // these protos import.
    OWN_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    // Each of the two versions lists both.
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    let micros = time.as_micros();
    prost_types::Timestamp {
        seconds: micros / 1_000_000,
        nanos: i32::try_from(micros % 1_000_000 * 1000).expect("less than a second"),
    }
}

fn reflection() -> ServerReflectionServer<impl ServerReflection> {
    reflection_builder()
        .build_v1()
        .expect("the embedded descriptors are valid")
}

/// Older clients speak no other version.
fn reflection_v1alpha() -> v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection> {
    reflection_builder()
        .build_v1alpha()
        .expect("the embedded descriptors are valid")
}

fn reflection_builder() -> tonic_reflection::server::Builder<'static> {
    DESCRIPTOR_SETS.into_iter().fold(
        tonic_reflection::server::Builder::configure(),
        tonic_reflection::server::Builder::register_encoded_file_descriptor_set,
    )
}
