//! Compiles the protos with protox, so that building needs no `protoc`.

use prost_build::Config;
use std::{env, path::PathBuf};

/// Messages that carry a token. Their `Debug` is written by hand, redacted.
const SECRET_MESSAGES: [&str; 3] = [
    "tosend.keys.v1.CreateResponse",
    "tosend.keys.v1.RevokeRequest",
    "tosend.keys.v1.AuthorizeRequest",
];

/// Oneofs that carry a token, named as prost names them.
const SECRET_ONEOFS: [&str; 1] = ["tosend.keys.v1.RevokeRequest.target"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["tosend/keys/v1/key_service.proto"], ["proto"])?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;

    let mut config = Config::new();
    config.skip_debug(SECRET_MESSAGES.iter().chain(&SECRET_ONEOFS));
    tonic_prost_build::configure()
        .codec_path("crate::grpc::codec::SmallMessageCodec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
