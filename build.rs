//! Compiles the protos with protox, so that building needs no `protoc`.

#[path = "src/grpc/redaction.rs"]
mod redaction;

use heck::ToSnakeCase;
use prost_build::Config;
use prost_types::FileDescriptorSet;
use protox::{
    Compiler,
    prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor},
};
use std::{
    env,
    error::Error,
    fs, io, iter,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true);
    for proto in protos(Path::new("proto"))? {
        compiler.open_file(proto)?;
    }

    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Encoded by the compiler, because prost's own types do not know `debug_redact`.
    fs::write(
        out.join("descriptors.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    let descriptors = compiler.descriptor_pool();
    fs::write(out.join("messages.rs"), messages(&descriptors))?;

    let fields = match redaction::redacted_fields(&descriptors) {
        Ok(fields) => fields,
        Err(sentence) => {
            // Cargo prints it and fails the build.
            println!("cargo::error={sentence}");
            return Ok(());
        }
    };
    let mut config = Config::new();
    redact(&mut config, &fields);
    let protos = compiler.file_descriptor_set();
    configure()
        .build_client(false)
        .compile_fds_with_config(without_questions(protos.clone()), config)?;
    let clients = out.join("clients");
    fs::create_dir_all(&clients)?;
    configure()
        .build_server(false)
        .out_dir(clients)
        // Their messages are there already.
        .extern_path(".tosend.keys.v1", "crate::grpc::proto")
        .extern_path(".envoy", "crate::grpc::envoy")
        .compile_fds(protos)?;
    Ok(())
}

fn configure() -> tonic_prost_build::Builder {
    tonic_prost_build::configure()
        .codec_path("crate::grpc::codec::SmallMessageCodec")
        .extern_path(".google.rpc", "::tonic_types::pb")
}

/// The protos without Authorize, `AuthorizeStream` and Envoy's service. `src/grpc/authorize/` and
/// `src/grpc/gateway/` read their messages themselves.
fn without_questions(mut protos: FileDescriptorSet) -> FileDescriptorSet {
    for file in &mut protos.file {
        if file.package() == "envoy.service.auth.v3" {
            file.service.clear();
        }
        for service in &mut file.service {
            let is_question = |name: &str| name.starts_with("Authorize");
            service.method.retain(|method| !is_question(method.name()));
        }
    }
    protos
}

/// Every proto below a folder, in an order that does not depend on the file system.
fn protos(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(protos(&path)?);
        } else if path.extension().is_some_and(|name| name == "proto") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Has `derive_more`, in place of prost, write the `Debug` of each message that holds one of these.
fn redact(config: &mut Config, fields: &[FieldDescriptor]) {
    for field in fields {
        // In a oneof this stands on a variant, all of which it replaces.
        config.field_attribute(redaction::field_path(field), "#[debug(\"redacted\")]");
    }
    let messages = redaction::outermost_messages(fields);
    for message in &messages {
        config.type_attribute(message, "#[derive(derive_more::Debug)]");
    }
    config.skip_debug(messages);
}

/// The messages that are served as an array of `(full name, print::<type>)`, for the test that
/// looks at what each of them prints.
fn messages(descriptors: &DescriptorPool) -> String {
    let own = descriptors
        .all_messages()
        .filter(|message| !message.package_name().starts_with("google."))
        .filter(|message| !message.is_map_entry());
    let rows = own.map(|message| {
        format!(
            "(\"{}\", print::<{}>),\n",
            message.full_name(),
            rust_path(&message)
        )
    });
    format!("[\n{}]", rows.collect::<String>())
}

/// A message's type as prost names it: those that it stands in are modules.
fn rust_path(message: &MessageDescriptor) -> String {
    let package = match message.package_name() {
        "tosend.keys.v1" => "proto".to_owned(),
        package => package.replace('.', "::").replace("::type::", "::r#type::"),
    };
    let parents = iter::successors(message.parent_message(), MessageDescriptor::parent_message);
    let path = parents.fold(message.name().to_owned(), |path, parent| {
        format!("{}::{path}", parent.name().to_snake_case())
    });
    format!("{package}::{path}")
}
