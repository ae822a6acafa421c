//! A client that writes HTTP/2 frame by frame, so that it can also break the protocol.

use std::{io::ErrorKind, net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// A parameter in SETTINGS.
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Flags of frames.
pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload");
    let length = length.to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A SETTINGS frame without parameters.
pub fn no_settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// Headers in HPACK (RFC 7541). Each is a literal that is not added to the dynamic table.
pub fn header_block(headers: &[(&str, &str)]) -> Vec<u8> {
    literals(0, headers)
}

/// The headers of a call of this path in HPACK. Each is a literal that the server adds to its dynamic table.
pub fn indexed_headers_of(path: &str) -> Vec<u8> {
    literals(0x40, &usual_headers(path))
}

/// Literals of the kind that begins with this byte.
fn literals(kind: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    let fields = headers.iter().flat_map(|(name, value)| {
        [&[kind][..], &hpack_string(name), &hpack_string(value)].concat()
    });
    fields.collect()
}

/// The headers of an Authorize call and more headers.
pub fn call_headers(more: &[(&str, &str)]) -> Vec<u8> {
    headers_of("/tosend.keys.v1.KeyService/Authorize", more)
}

/// The headers of a call of this path and more headers.
pub fn headers_of(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    header_block(&[&usual_headers(path)[..], more].concat())
}

fn usual_headers(path: &str) -> [(&str, &str); 6] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
}

/// A string in HPACK without Huffman coding.
pub fn hpack_string(text: &str) -> Vec<u8> {
    // A length up to 126 takes 7 bits. A longer one continues in groups of 7 bits, lowest first.
    let mut bytes = vec![text.len().min(127) as u8];
    if let Some(mut rest) = text.len().checked_sub(127) {
        while rest >= 128 {
            bytes.push(rest as u8 | 128);
            rest /= 128;
        }
        bytes.push(rest as u8);
    }
    [&bytes, text.as_bytes()].concat()
}

pub struct RawClient(TcpStream);

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl RawClient {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        Self(stream.expect("it listens"))
    }

    /// Connects from this local address. One address has ports for about 28,000 connections.
    pub async fn connect_from(source: Ipv4Addr, port: u16) -> Option<Self> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((source, 0).into()).expect("a port");
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
        stream.ok().map(Self)
    }

    /// Connects with a buffer that a few answers fill, and reads none of them unless it is asked to.
    pub async fn connect_with_small_buffer(port: u16) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a size");
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
        Self(stream.expect("it listens"))
    }

    /// Connects, lets the server send this much on each stream, and any amount on all together.
    pub async fn connect_with_window(port: u16, window: u32) -> Self {
        let setting = [
            &INITIAL_WINDOW_SIZE.to_be_bytes()[..],
            &window.to_be_bytes(),
        ];
        let all = (1_u32 << 31) - 1 - 65_535;
        let mut client = Self::connect(port).await;
        client.send(PREFACE).await;
        client.send(&frame(SETTINGS, 0, 0, &setting.concat())).await;
        client
            .send(&frame(WINDOW_UPDATE, 0, 0, &all.to_be_bytes()))
            .await;
        client
    }

    /// Connects, and sends the preface and empty SETTINGS. The client will acknowledge nothing.
    pub async fn connect_with_preface(port: u16) -> Self {
        let mut client = Self::connect(port).await;
        client.send(PREFACE).await;
        client.send(&no_settings()).await;
        client
    }

    /// Ignores errors: a read shows whether the server has closed the connection.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// Like [`RawClient::send`]. Returns false when the connection is closed.
    pub async fn can_send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// Returns `None` when the connection is closed.
    pub async fn read_byte(&mut self) -> Option<u8> {
        self.0.read_u8().await.ok()
    }

    /// Returns `None` when the connection is closed.
    pub async fn read_frame(&mut self) -> Option<Frame> {
        Frame::read(&mut self.0).await
    }

    /// Reads until the headers of an answer have come.
    pub async fn read_headers(&mut self) {
        let headers = async {
            while let Some(frame) = self.read_frame().await {
                if frame.kind == HEADERS {
                    return;
                }
            }
            panic!("the server closes the connection");
        };
        let limit = Duration::from_secs(20);
        timeout(limit, headers).await.expect("an answer");
    }

    /// Reads frames until the server closes the connection, which must happen within this time.
    /// Returns the kinds of the frames.
    pub async fn read_kinds_until_closed(&mut self, limit: Duration) -> Vec<u8> {
        let mut kinds = Vec::new();
        let all = async {
            while let Some(frame) = self.read_frame().await {
                kinds.push(frame.kind);
            }
        };
        timeout(limit, all).await.expect("the server closes");
        kinds
    }

    /// Whether the connection is open, judged by the bytes that have arrived.
    pub fn is_open(&mut self) -> bool {
        let mut bytes = [0; 4096];
        loop {
            match self.0.try_read(&mut bytes) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the server closes the connection within this time and sends nothing before.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        timeout(limit, self.read_byte()).await == Ok(None)
    }
}

impl Frame {
    /// Returns `None` when the connection is closed.
    pub async fn read(from: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        from.read_exact(&mut payload).await.ok()?;
        Some(Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The value of a parameter in SETTINGS.
    pub fn setting(&self, id: u16) -> Option<u32> {
        assert_eq!(self.kind, SETTINGS);
        let settings = self.payload.chunks_exact(6);
        let mut values = settings.filter_map(|setting| {
            let [high, low, value @ ..]: [u8; 6] = setting.try_into().expect("6 bytes");
            (u16::from_be_bytes([high, low]) == id).then_some(u32::from_be_bytes(value))
        });
        values.next()
    }
}

/// The first message of a TLS client that supports versions up to this one: 0x0302 is TLS 1.1, and
/// 0x0303 is TLS 1.2. It offers a cipher suite for each.
pub fn client_hello(version: u16) -> Vec<u8> {
    // ECDHE-ECDSA with AES-128, as AES-GCM for TLS 1.2 and as AES-CBC for TLS 1.1.
    let suites = [0xC0, 0x2B, 0xC0, 0x09];
    let groups = [0, 10, 0, 4, 0, 2, 0, 0x17]; // secp256r1
    let points = [0, 11, 0, 2, 1, 0]; // uncompressed
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3]; // ecdsa_secp256r1_sha256
    let extensions = [&groups[..], &points, &signatures].concat();

    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]); // random
    hello.extend([0]); // no session
    hello.extend([0, 4]);
    hello.extend(suites);
    hello.extend([1, 0]); // no compression
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);

    let mut message = vec![1, 0];
    message.extend((hello.len() as u16).to_be_bytes());
    message.extend(hello);
    let mut record = vec![22, 3, 1];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}
