//! What no well-behaved client sends: requests written byte by byte.

use prost::Message;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Sends bytes, and waits until the server closes the connection.
pub fn send(port: u16, bytes: &[u8]) {
    let mut connection = connect(port);
    connection.write_all(bytes).expect("it is sent");
    // It may be closed with what was sent unread.
    let _ = connection.read_to_end(&mut Vec::new());
}

/// Sends an HTTP/2 request of these headers, checked by nobody, and waits until it is answered.
pub fn send_headers(port: u16, headers: &[(&str, &str)]) {
    let block: Vec<u8> = headers
        .iter()
        .flat_map(|(name, value)| [&[0][..], &text(name), &text(value)].concat())
        .collect();
    // END_STREAM and END_HEADERS.
    let request = frame(HEADERS, 0x5, 1, &block);
    let mut connection = connect(port);
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat();
    connection.write_all(&bytes).expect("it is sent");
    while !matches!(read_frame(&mut connection), HEADERS | RST_STREAM | GOAWAY) {}
}

fn connect(port: u16) -> TcpStream {
    let connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let limit = Some(Duration::from_secs(20));
    connection.set_read_timeout(limit).expect("a limit");
    connection
}

/// A string of HPACK's, as it is; shorter than 127 bytes.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 127);
    [&[length], text.as_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Reads a frame, and gives its kind.
fn read_frame(connection: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    connection.read_exact(&mut head).expect("a frame");
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).expect("its payload");
    head[3]
}

/// An `AuthorizeRequest` whose token need not be text.
#[derive(Clone, PartialEq, Message)]
pub struct NoText {
    #[prost(bytes = "vec", tag = "1")]
    pub token: Vec<u8>,
}
