//! What hostile clients send, without end or without ever coming to an end.

use crate::support::hostile::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM,
        RawClient, SETTINGS, WINDOW_UPDATE, call_headers, client_hello, frame, header_block,
        headers_of, no_settings, text,
    },
    random_tokens::{authorize, authorize_random_tokens},
};
use futures::future::join_all;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{net::Ipv4Addr, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// Against whom, for how long, and with which randomness.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    pub port: u16,
    pub until: Instant,
    pub seed: u64,
}

/// One kind of flood.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    pub name: &'static str,
    course: Course,
}

#[derive(Debug, Clone, Copy)]
enum Course {
    /// Connections one after the other, each of which sends this and waits for its end.
    Storm(fn(&mut StdRng) -> Vec<u8>),
    /// So many connections at once, each of which sends this and stays.
    Siege(usize, fn(&mut StdRng) -> Vec<u8>),
    /// So many calls with random tokens.
    Calls(u64),
    /// So many connections with so many calls each, whose messages never end.
    Unfinished(u64, u32),
}

/// What a server without TLS must stand.
pub const PLAIN: &[Flood] = &[
    storm("random bytes", random_bytes),
    storm("HTTP/1", |_| {
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
    }),
    storm("random frames", random_frames),
    storm("rapid reset", rapid_reset),
    storm("huge headers", huge_headers),
    storm("headers without end", headers_without_end),
    storm("one header a thousand times", repeated_header),
    storm("settings and pings", settings_and_pings),
    siege("half frames", 1000, half_frame),
    siege("a header that does not end", 500, unfinished_header),
    siege("calls without a message", 12, calls_without_message),
    siege("answers that nobody reads", 12, answers_unread),
    siege("idle connections", 10_000, idle),
    Flood {
        name: "random tokens",
        course: Course::Calls(2_000_000),
    },
];

/// What a server with TLS must stand besides.
pub const TLS: &[Flood] = &[
    storm("random bytes", random_bytes),
    storm("HTTP/2 without TLS", |_| greeting()),
    storm("handshakes that break off", |random| {
        let hello = client_hello(0x0303);
        hello[..random.random_range(1..hello.len())].to_vec()
    }),
    siege("handshakes without end", 1000, |_| client_hello(0x0303)),
    siege("idle connections", 10_000, |_| Vec::new()),
];

/// What the port for probes must stand.
pub const PROBES: Flood = Flood {
    name: "probes without an end",
    course: Course::Unfinished(8, 60),
};

const fn storm(name: &'static str, bytes: fn(&mut StdRng) -> Vec<u8>) -> Flood {
    Flood {
        name,
        course: Course::Storm(bytes),
    }
}

const fn siege(name: &'static str, count: usize, bytes: fn(&mut StdRng) -> Vec<u8>) -> Flood {
    Flood {
        name,
        course: Course::Siege(count, bytes),
    }
}

/// Connections that a storm has at once.
const ABREAST: u64 = 8;

/// Connections that the calls with random tokens share.
const CALLERS: u64 = 4;

/// How long a connection of a storm waits for its end.
const IMPATIENCE: Duration = Duration::from_millis(100);

/// How long a client with something to send waits to be let.
const PATIENCE: Duration = Duration::from_secs(2);

impl Flood {
    /// Runs it to its end, and says what it came to.
    pub async fn run(self, aim: Aim) -> String {
        match self.course {
            Course::Storm(bytes) => {
                let one = |number| storm_connections(aim, number, bytes);
                let counts: Vec<u64> = in_parallel(ABREAST, one).await;
                assert!(!counts.contains(&0), "{}: {counts:?}", self.name);
                format!("{} connections", counts.iter().sum::<u64>())
            }
            Course::Siege(count, bytes) => {
                let stood = besiege(aim, count, bytes).await;
                format!("{count} connections, {stood} of them stood at the end")
            }
            Course::Calls(count) => {
                let one = move |number| {
                    authorize_random_tokens(aim.port, count / CALLERS, aim.seed ^ number)
                };
                let denied = in_parallel(CALLERS, one).await;
                let unknown: u64 = denied.iter().map(|denied| denied.unknown).sum();
                let malformed: u64 = denied.iter().map(|denied| denied.malformed).sum();
                assert_eq!((unknown, malformed), (count / 2, count / 2));
                format!("{unknown} unknown and {malformed} malformed tokens")
            }
            Course::Unfinished(connections, calls) => {
                let one = move |_| async move {
                    let mut client = RawClient::greeting(aim.port).await;
                    let sent = send_unfinished(&mut client, calls).await;
                    sleep_until(aim.until).await;
                    sent
                };
                let sent: u64 = in_parallel(connections, one).await.iter().sum();
                format!("{} MiB of messages that do not end", sent >> 20)
            }
        }
    }
}

async fn in_parallel<F>(count: u64, one: impl Fn(u64) -> F) -> Vec<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let tasks = join_all((0..count).map(|number| tokio::spawn(one(number)))).await;
    tasks
        .into_iter()
        .map(|ended| ended.expect("no panic"))
        .collect()
}

async fn storm_connections(aim: Aim, number: u64, bytes: fn(&mut StdRng) -> Vec<u8>) -> u64 {
    let mut random = StdRng::seed_from_u64(aim.seed ^ number);
    let mut count = 0;
    while Instant::now() < aim.until {
        let Some(mut client) = RawClient::connect_from(Ipv4Addr::LOCALHOST, aim.port).await else {
            continue;
        };
        count += 1;
        let to_its_end = async {
            client.send(&bytes(&mut random)).await;
            while client.byte().await.is_some() {}
        };
        let _ = timeout(IMPATIENCE, to_its_end).await;
    }
    count
}

/// Opens the connections, some hundred at once, and says how many there still are at the end.
async fn besiege(aim: Aim, count: usize, bytes: fn(&mut StdRng) -> Vec<u8>) -> usize {
    let mut random = StdRng::seed_from_u64(aim.seed);
    let mut clients = Vec::new();
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(256) {
        let connect = some.iter().map(|number| {
            // 2500 connections an address.
            let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / 2500).expect("few"));
            RawClient::connect_from(source, aim.port)
        });
        for client in join_all(connect).await {
            let mut client = client.expect("a connection");
            client.send(&bytes(&mut random)).await;
            clients.push(client);
        }
    }
    sleep_until(aim.until).await;
    clients
        .iter_mut()
        .map(|client| usize::from(client.stands()))
        .sum()
}

/// Sends calls with almost a MiB each of a message that would have 4, which is as much as the
/// server lets it send of each without having read it. Says how many bytes it could send.
async fn send_unfinished(client: &mut RawClient, calls: u32) -> u64 {
    const PIECE: usize = 16_000;
    const PIECES: usize = 64;
    let header = [&[0][..], &4_000_000_u32.to_be_bytes(), &[0x12]].concat();
    let block = headers_of("/grpc.health.v1.Health/Check", &[]);
    // The server's windows are as large as it says only once that is acknowledged.
    client.send(&frame(SETTINGS, ACK, 0, &[])).await;
    // What the connection may carry until the server says that it has read on.
    let (mut window, mut sent) = (65_535, 0);
    for stream in (0..calls).map(|call| 2 * call + 1) {
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &block))
            .await;
        for piece in 0..PIECES {
            while window < PIECE as u64 {
                let Ok(Some(frame)) = timeout(PATIENCE, client.frame()).await else {
                    return sent;
                };
                if (frame.kind, frame.stream) == (WINDOW_UPDATE, 0) {
                    let more = frame.payload.try_into().expect("4 bytes");
                    window += u64::from(u32::from_be_bytes(more));
                }
            }
            let mut bytes = vec![b'a'; PIECE];
            if piece == 0 {
                bytes[..header.len()].copy_from_slice(&header);
            }
            client.send(&frame(DATA, 0, stream, &bytes)).await;
            window -= PIECE as u64;
            sent += PIECE as u64;
        }
    }
    sent
}

fn random_bytes(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..4096)];
    random.fill_bytes(&mut bytes);
    bytes
}

fn greeting() -> Vec<u8> {
    [PREFACE, &no_settings()].concat()
}

/// Frames of any kind, right in nothing but their length.
fn random_frames(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = greeting();
    for _ in 0..20 {
        let mut payload = vec![0; random.random_range(0..64)];
        random.fill_bytes(&mut payload);
        let (kind, flags) = (random.random_range(0..12), random.random());
        bytes.extend(frame(kind, flags, random.random_range(0..8), &payload));
    }
    bytes
}

/// A call that is taken back at once, again and again (CVE-2023-44487).
fn rapid_reset(_: &mut StdRng) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let block = call_headers(&[]);
    let calls = (0..1000).map(|call| 2 * call + 1).flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        [headers, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    greeting().into_iter().chain(calls).collect()
}

/// A block of 160 KiB, in frames as long as they may be.
fn huge_headers(_: &mut StdRng) -> Vec<u8> {
    let block = call_headers(&[("x-huge", &"x".repeat(160_000))]);
    let mut pieces = block.chunks(16_000).peekable();
    let mut bytes = greeting();
    let mut kind = HEADERS;
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() {
            END_HEADERS
        } else {
            0
        };
        bytes.extend(frame(kind, flags, 1, piece));
        kind = CONTINUATION;
    }
    bytes
}

/// A block that never ends (CVE-2024-27316).
fn headers_without_end(_: &mut StdRng) -> Vec<u8> {
    let mut bytes = [greeting(), frame(HEADERS, 0, 1, &call_headers(&[]))].concat();
    for number in 0..2000 {
        let field = header_block(&[(&format!("x-{number}"), "")]);
        bytes.extend(frame(CONTINUATION, 0, 1, &field));
    }
    bytes
}

/// One byte for each time that a header of 4 KB is repeated from HPACK's table.
fn repeated_header(_: &mut StdRng) -> Vec<u8> {
    let kept = [&[0x40][..], &text("x-large"), &text(&"x".repeat(4000))].concat();
    let block = [call_headers(&[]), kept, vec![0x80 | 62; 10_000]].concat();
    [
        greeting(),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block),
    ]
    .concat()
}

/// Each of which asks for an acknowledgement (CVE-2019-9512, CVE-2019-9515).
fn settings_and_pings(_: &mut StdRng) -> Vec<u8> {
    let pair = [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[7; 8])].concat();
    [greeting(), pair.repeat(1000)].concat()
}

/// The beginning of a frame, cut off anywhere.
fn half_frame(random: &mut StdRng) -> Vec<u8> {
    let whole = frame(HEADERS, END_HEADERS, 1, &call_headers(&[]));
    let half = &whole[..random.random_range(1..whole.len())];
    [&greeting(), half].concat()
}

/// A header in as many and as large frames as h2 takes before it ends the connection.
fn unfinished_header(_: &mut StdRng) -> Vec<u8> {
    let value = vec![b'x'; 16_000];
    // Of 2^21 bytes, as `text` would have it.
    let promised = [&[0][..], &text("x-large"), &[0x7F, 0x81, 0xFF, 0x7F]].concat();
    let begun = [call_headers(&[]), promised].concat();
    let mut bytes = [greeting(), frame(HEADERS, 0, 1, &begun)].concat();
    for _ in 0..5 {
        bytes.extend(frame(CONTINUATION, 0, 1, &value));
    }
    bytes
}

/// As many calls as a connection may have, with large headers, that never send their message.
fn calls_without_message(_: &mut StdRng) -> Vec<u8> {
    let block = call_headers(&[("x-large", &"x".repeat(4000))]);
    let calls = (0..256).flat_map(|call| frame(HEADERS, END_HEADERS, 2 * call + 1, &block));
    greeting().into_iter().chain(calls).collect()
}

/// Calls by a client that gives the server no window to answer in (CVE-2019-9517).
fn answers_unread(_: &mut StdRng) -> Vec<u8> {
    const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0]; // SETTINGS_INITIAL_WINDOW_SIZE
    let (block, message) = (call_headers(&[]), authorize("no token".to_owned()));
    let calls = (0..256).map(|call| 2 * call + 1).flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        [headers, frame(DATA, END_STREAM, stream, &message)].concat()
    });
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &NO_WINDOW)].concat();
    greeting.into_iter().chain(calls).collect()
}

/// Half of them say nothing at all, and half no more than a greeting.
fn idle(random: &mut StdRng) -> Vec<u8> {
    if random.random() {
        greeting()
    } else {
        Vec::new()
    }
}
