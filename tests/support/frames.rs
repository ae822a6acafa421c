//! A client that speaks HTTP/2 byte by byte, so that it can also misbehave.

use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;

pub struct RawClient(TcpStream);

/// A frame that the server sent.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl RawClient {
    pub async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        Self(stream.expect("it listens"))
    }

    /// One that has sent its preface and empty SETTINGS, and will acknowledge nothing.
    pub async fn greeting(port: u16) -> Self {
        let mut client = Self::connect(port).await;
        client.send(PREFACE).await;
        client.send(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await;
        client
    }

    /// Whether a server that has closed takes them no more is seen by reading.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// What comes next, or none at the end.
    pub async fn byte(&mut self) -> Option<u8> {
        self.0.read_u8().await.ok()
    }

    /// The next frame, or none at the end.
    pub async fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame {
            kind: head[3],
            payload,
        })
    }

    /// The kinds of the frames up to the end, which must come within a time.
    pub async fn kinds_until_the_end(&mut self, limit: Duration) -> Vec<u8> {
        let mut kinds = Vec::new();
        let all = async {
            while let Some(frame) = self.frame().await {
                kinds.push(frame.kind);
            }
        };
        timeout(limit, all).await.expect("the server closes");
        kinds
    }

    /// Whether the server closes without having said anything.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        timeout(limit, self.byte()).await == Ok(None)
    }
}

impl Frame {
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

/// The first message of a TLS client that knows no version beyond this one: 0x0302 is TLS 1.1 and
/// 0x0303 TLS 1.2. It offers a cipher suite of each.
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
