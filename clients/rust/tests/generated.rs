//! Checks that the code in `src/generated` is what the protos give.
//!
//! `GENERATE=1 cargo test -p tosend-keyservice --test generated` writes it anew, with the versions in Cargo.lock.
#![allow(missing_docs, clippy::unwrap_used)]

use prost_build::Config;
use protox::{
    Compiler,
    prost_reflect::{FieldDescriptor, Value},
};
use std::{env, fs, path::Path};

const FILE: &str = "src/generated/tosend.keys.v1.rs";

#[test]
fn the_generated_messages_are_those_of_the_protos() {
    let directory = tempfile::tempdir().unwrap();
    generate(directory.path());
    let made = fs::read_to_string(directory.path().join("tosend.keys.v1.rs")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if env::var_os("GENERATE").is_some() {
        fs::write(&file, &made).unwrap();
    }
    let is_current = fs::read_to_string(file).unwrap() == made;
    let command = "GENERATE=1 cargo test -p tosend-keyservice --test generated";
    assert!(is_current, "{FILE} is stale. This makes it anew: {command}");
}

fn generate(directory: &Path) {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let mut compiler = Compiler::new([protos]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    for name in ["key_service", "domain_service", "account_service"] {
        let proto = format!("tosend/keys/v1/{name}.proto");
        compiler.open_file(proto).unwrap();
    }
    let mut config = Config::new();
    let mut messages = Vec::new();
    for message in compiler.descriptor_pool().all_messages() {
        let secrets: Vec<_> = message.fields().filter(is_redacted).collect();
        if secrets.is_empty() {
            continue;
        }
        // `derive_more` writes the `Debug` of such a message, and of a oneof in it, in place of prost.
        let path = format!(".{}", message.full_name());
        config.type_attribute(&path, "#[derive(derive_more::Debug)]");
        messages.push(path);
        for field in secrets {
            let oneof = field.containing_oneof();
            let holder = oneof
                .as_ref()
                .map_or(message.full_name(), |it| it.full_name());
            let path = format!(".{holder}.{}", field.name());
            config.field_attribute(path, "#[debug(\"redacted\")]");
        }
    }
    config.skip_debug(messages);
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(directory)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)
        .unwrap();
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let value = options.get_field_by_name("debug_redact");
    value.as_deref().and_then(Value::as_bool) == Some(true)
}
