//! Calls Authorize many times with random tokens. Each call takes the client as little work
//! as HTTP/2 allows, so that the server is the bottleneck.

use crate::support::hostile::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame, hpack_string,
};
use keyservice::{
    grpc::proto::{
        AuthorizeRequest, AuthorizeResponse, authorize_response::Decision, denial::Reason,
    },
    model::token::Token,
};
use prost::Message;
use rand::{SeedableRng, rngs::StdRng};
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Enough to keep the server busy, and few enough that other clients do not wait long.
const IN_FLIGHT: usize = 50;

/// Extends the window for responses to HTTP/2's maximum of 2^31 - 1 bytes from the initial 65,535.
const ALL_WINDOW: u32 = (1 << 31) - 1 - 65_535;

/// How many denials there were, by reason.
#[derive(Debug, Default, Clone, Copy)]
pub struct Denied {
    pub unknown: u64,
    pub malformed: u64,
}

/// Authorizes this many random tokens on one connection. Every second token has a wrong checksum.
pub async fn authorize_random_tokens(port: u16, count: u64, seed: u64) -> Denied {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::with_capacity(64 * 1024, read);
    let window = frame(WINDOW_UPDATE, 0, 0, &ALL_WINDOW.to_be_bytes());
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &window].concat();
    write.write_all(&greeting).await.expect("it is sent");

    let mut random = StdRng::seed_from_u64(seed);
    let (mut sent, mut denied) = (0, Denied::default());
    while denied.unknown + denied.malformed < count {
        let answered = denied.unknown + denied.malformed;
        let mut requests = Vec::new();
        while sent < count && sent - answered < IN_FLIGHT as u64 {
            push_request(&mut requests, sent, &mut random);
            sent += 1;
        }
        write.write_all(&requests).await.expect("it is sent");
        // Reads only half of the answers, so that the server always has calls in flight.
        let until = answered + (sent - answered).div_ceil(2);
        while denied.unknown + denied.malformed < until {
            denied.count(next_frame(&mut read).await);
        }
    }
    denied
}

fn push_request(requests: &mut Vec<u8>, number: u64, random: &mut StdRng) {
    let mut token = Token::generate(random).expose().to_owned();
    if number % 2 == 1 {
        // The last character belongs to the checksum.
        let other = if token.ends_with('0') { "1" } else { "0" };
        token.replace_range(token.len() - 1.., other);
    }
    let stream = u32::try_from(2 * number + 1).expect("a stream of 31 bits");
    requests.extend(frame(HEADERS, END_HEADERS, stream, &headers(number == 0)));
    requests.extend(frame(DATA, END_STREAM, stream, &authorize(token)));
}

/// The payload of the DATA frame of an Authorize call.
pub fn authorize(token: String) -> Vec<u8> {
    let domain = "example.com".into();
    let message = AuthorizeRequest { token, domain }.encode_to_vec();
    let length = u32::try_from(message.len()).expect("a short one");
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// The first call adds its headers to HPACK's dynamic table; all other calls refer to that table.
fn headers(is_first: bool) -> Vec<u8> {
    // From the static table: `:method: POST` and `:scheme: http`.
    let fixed = [0x83, 0x86];
    if is_first {
        let path = hpack_string("/tosend.keys.v1.KeyService/Authorize");
        let (authority, grpc) = (hpack_string("localhost"), hpack_string("application/grpc"));
        let te = [hpack_string("te"), hpack_string("trailers")].concat();
        // Added to the table: names 4, 1 and 31 of the static table, and a literal name.
        [
            &fixed[..],
            &[0x44],
            &path,
            &[0x41],
            &authority,
            &[0x5F],
            &grpc,
            &[0x40],
            &te,
        ]
        .concat()
    } else {
        // The dynamic table's entries are numbered from 62, the newest first.
        [
            fixed[0],
            fixed[1],
            0x80 | 65,
            0x80 | 64,
            0x80 | 63,
            0x80 | 62,
        ]
        .to_vec()
    }
}

impl Denied {
    /// Counts an answer. Ignores headers and trailers.
    fn count(&mut self, frame: Frame) {
        assert!(![GOAWAY, RST_STREAM].contains(&frame.kind), "{frame:?}");
        if frame.kind != DATA || frame.payload.is_empty() {
            return;
        }
        let answer = AuthorizeResponse::decode(&frame.payload[5..]).expect("an answer");
        match answer.decision {
            Some(Decision::Denial(denial)) if denial.reason() == Reason::UnknownToken => {
                self.unknown += 1;
            }
            Some(Decision::Denial(denial)) if denial.reason() == Reason::MalformedToken => {
                self.malformed += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn next_frame(read: &mut (impl AsyncReadExt + Unpin)) -> Frame {
    Frame::read(read).await.expect("the server goes on")
}
