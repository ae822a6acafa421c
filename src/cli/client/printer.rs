//! What the commands print of the service's messages.

use super::failure::Failure;
use crate::{
    cli::output::{OutputFormat, is_broken_pipe, to_stdout},
    grpc,
    model::{
        printable::{printable, printable_json},
        time::Timestamp,
    },
    observe::stderr,
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use std::{
    fmt::Display,
    io::{self, Write},
    sync::LazyLock,
};
use tosend_keyservice::proto;

/// The types of the messages, for their JSON.
static TYPES: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(grpc::OWN_DESCRIPTOR_SET).expect("the embedded descriptors are valid")
});

/// A message as JSON on one line, as `grpcurl -emit-defaults` and every other tool for protobuf write it: a number of 64
/// bits is a text, and what is 0, false or empty is there, too. Only what is absent is left out.
pub(super) fn json(name: &str, message: &impl Message) -> String {
    let name = format!("tosend.keys.v1.{name}");
    let descriptor = TYPES.get_message_by_name(&name);
    let descriptor = descriptor.expect("the protos have each type that is printed");
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice());
    let message = message.expect("a message is what its type says");
    let mut line = Vec::new();
    let options = SerializeOptions::new().skip_default_fields(false);
    let written =
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut line), &options);
    written.expect("a message is JSON");
    let line = String::from_utf8(line).expect("JSON is UTF-8");
    printable_json(&line).into_owned()
}

/// Prints what was asked for on standard output.
pub(super) fn print(
    format: OutputFormat,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let shown = if format.is_table() { text() } else { json() };
    print_with(|output| {
        let mut lines = shown.lines();
        lines.try_for_each(|line| writeln!(output, "{}", printable(line)))
    })
}

/// How many entries a page has: as many as the service gives at once.
pub(super) const PAGE: i32 = 1000;

/// Prints messages on standard output, each as JSON on a line of its own.
pub(super) fn print_json(name: &str, messages: &[impl Message]) -> Result<(), Failure> {
    print_with(|output| {
        let mut lines = messages.iter().map(|message| json(name, message));
        lines.try_for_each(|line| writeln!(output, "{line}"))
    })
}

pub(super) fn print_with(
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    Ok(to_stdout(|output| print(output), is_broken_pipe)?)
}

/// Tells the person something, on standard error.
pub(super) fn say(text: &str) {
    for line in text.lines() {
        stderr::write(format!("{}\n", printable(line)).as_bytes());
    }
}

/// Lines of names and values, with the values below one another. A value is one line, whatever it contains.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    /// A line, whose value is printable.
    pub(super) fn add(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        let line = format!("{:<13}{}\n", format!("{name}:"), printable(&value));
        self.0.push_str(&line);
    }

    /// A line, if there is something to say.
    pub(super) fn add_some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// A time to the second, in UTC.
pub(super) fn time(time: &proto::Timestamp) -> String {
    let time = Timestamp::nearest_to_micros(time.seconds.saturating_mul(1_000_000));
    humantime::format_rfc3339_seconds(time.to_system_time()).to_string()
}

/// The same, or `-` if there is none.
pub(super) fn time_or_none(of: Option<&proto::Timestamp>) -> String {
    of.map_or("-".to_owned(), time)
}

/// Since when something is suspended, and why.
pub(super) fn suspended(suspension: &proto::Suspension) -> String {
    let since = suspension.time.as_ref();
    let since = since.map_or(String::new(), |since| format!("since {}, ", time(since)));
    format!("{since}{}", suspension.reason)
}
