//! Malformed requests that no gRPC library would send.

use crate::support::hostile::frames::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, frame, header_block, no_settings,
};
use prost::Message;
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

/// Sends bytes and waits until the server closes the connection.
pub fn send_bytes(port: u16, bytes: &[u8]) {
    let mut connection = connect(port);
    connection.write_all(bytes).expect("it is sent");
    // The server may reset the connection before it has read everything.
    let _ = connection.read_to_end(&mut Vec::new());
}

/// Sends an HTTP/2 request with these headers as they are, and waits for the response.
pub fn send_headers(port: u16, headers: &[(&str, &str)]) {
    let block = header_block(headers);
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, &block);
    let mut connection = connect(port);
    let bytes = [PREFACE, &no_settings(), &request].concat();
    connection.write_all(&bytes).expect("it is sent");
    while !matches!(read_frame(&mut connection), HEADERS | RST_STREAM | GOAWAY) {}
}

fn connect(port: u16) -> TcpStream {
    let connection = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let limit = Some(Duration::from_secs(20));
    connection.set_read_timeout(limit).expect("a limit");
    connection
}

/// Reads a frame and returns its kind.
fn read_frame(connection: &mut TcpStream) -> u8 {
    let mut head = [0; 9];
    connection.read_exact(&mut head).expect("a frame");
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    connection.read_exact(&mut payload).expect("its payload");
    head[3]
}

/// An `AuthorizeRequest` whose token may be any bytes.
#[derive(Clone, PartialEq, Message)]
pub struct RawAuthorizeRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub token: Vec<u8>,
}
