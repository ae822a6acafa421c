//! Floods: hostile clients that open connections and send frames as fast as they can, or that start
//! requests and never finish them.

use crate::support::{
    clients::questions,
    hostile::{
        frames::{
            ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, RST_STREAM,
            RawClient, SETTINGS, WINDOW_UPDATE, call_headers, client_hello, frame, header_block,
            headers_of, hpack_string, no_settings,
        },
        random_tokens::{authorize, authorize_random_tokens},
    },
};
use futures::future::join_all;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{net::Ipv4Addr, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// The port to flood, the time at which to stop, and the seed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub port: u16,
    pub until: Instant,
    pub seed: u64,
}

/// One kind of flood.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    pub name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Opens connections one after the other. Each sends these bytes and waits until it is closed.
    ShortConnections(fn(&mut StdRng) -> Vec<u8>),
    /// Opens this many connections. Each sends these bytes and stays open.
    HeldConnections(usize, fn(&mut StdRng) -> Vec<u8>),
    /// Calls Authorize this many times with random tokens.
    RandomTokens(u64),
    /// Opens this many connections with this many calls each. The messages of the calls never end.
    UnfinishedMessages(u64, u32),
}

/// The floods for a server without TLS.
pub const PLAIN: &[Flood] = &[
    short("random bytes", random_bytes),
    short("HTTP/1", |_| {
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
    }),
    short("random frames", random_frames),
    short("rapid reset", rapid_reset),
    short("streams that are opened and reset", reset_streams),
    short("huge headers", huge_headers),
    short("headers without end", headers_without_end),
    short("one header a thousand times", repeated_header),
    short("settings and pings", settings_and_pings),
    held("half frames", 1000, half_frame),
    held("a header that does not end", 500, unfinished_header),
    held("calls without a message", 12, calls_without_message),
    held("answers that nobody reads", 12, answers_unread),
    held(
        "questions whose answers nobody reads",
        500,
        questions_unread,
    ),
    held("half questions", 500, half_questions),
    held("idle connections", 10_000, idle),
    Flood {
        name: "random tokens",
        kind: Kind::RandomTokens(200_000),
    },
];

/// The additional floods for a server with TLS.
pub const TLS: &[Flood] = &[
    short("random bytes", random_bytes),
    short("HTTP/2 without TLS", |_| greeting()),
    short("handshakes that break off", |random| {
        let hello = client_hello(0x0303);
        hello[..random.random_range(1..hello.len())].to_vec()
    }),
    held("handshakes without end", 1000, |_| client_hello(0x0303)),
    held("idle connections", 10_000, |_| Vec::new()),
];

/// The flood for the port for probes.
pub const PROBES: Flood = Flood {
    name: "probes without an end",
    kind: Kind::UnfinishedMessages(8, 60),
};

const fn short(name: &'static str, bytes: fn(&mut StdRng) -> Vec<u8>) -> Flood {
    Flood {
        name,
        kind: Kind::ShortConnections(bytes),
    }
}

const fn held(name: &'static str, count: usize, bytes: fn(&mut StdRng) -> Vec<u8>) -> Flood {
    Flood {
        name,
        kind: Kind::HeldConnections(count, bytes),
    }
}

/// How many short connections are open at the same time.
const PARALLEL_CONNECTIONS: u64 = 8;

/// How many connections the calls with random tokens use.
const TOKEN_CONNECTIONS: u64 = 4;

/// How long a short connection waits until the server closes it.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a client waits for the server to extend its flow-control window.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

impl Flood {
    /// Runs the flood to its end and describes what it did.
    pub async fn run(self, target: Target) -> String {
        match self.kind {
            Kind::ShortConnections(bytes) => {
                let one = |number| open_short_connections(target, number, bytes);
                let counts: Vec<u64> = in_parallel(PARALLEL_CONNECTIONS, one).await;
                assert!(!counts.contains(&0), "{}: {counts:?}", self.name);
                format!("{} connections", counts.iter().sum::<u64>())
            }
            Kind::HeldConnections(count, bytes) => {
                let still_open = hold_connections(target, count, bytes).await;
                format!("{count} connections, {still_open} of them stood at the end")
            }
            Kind::RandomTokens(count) => {
                let one = move |number| {
                    authorize_random_tokens(
                        target.port,
                        count / TOKEN_CONNECTIONS,
                        target.seed ^ number,
                    )
                };
                let denied = in_parallel(TOKEN_CONNECTIONS, one).await;
                let unknown: u64 = denied.iter().map(|denied| denied.unknown).sum();
                let malformed: u64 = denied.iter().map(|denied| denied.malformed).sum();
                assert_eq!((unknown, malformed), (count / 2, count / 2));
                format!("{unknown} unknown and {malformed} malformed tokens")
            }
            Kind::UnfinishedMessages(connections, calls) => {
                let one = move |_| async move {
                    let mut client = RawClient::connect_with_preface(target.port).await;
                    let sent = send_unfinished(&mut client, calls).await;
                    sleep_until(target.until).await;
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

async fn open_short_connections(
    target: Target,
    number: u64,
    bytes: fn(&mut StdRng) -> Vec<u8>,
) -> u64 {
    let mut random = StdRng::seed_from_u64(target.seed ^ number);
    let mut count = 0;
    while Instant::now() < target.until {
        let Some(mut client) = RawClient::connect_from(Ipv4Addr::LOCALHOST, target.port).await
        else {
            continue;
        };
        count += 1;
        let until_closed = async {
            client.send(&bytes(&mut random)).await;
            while client.read_byte().await.is_some() {}
        };
        let _ = timeout(CLOSE_TIMEOUT, until_closed).await;
    }
    count
}

/// Opens the connections in groups of 256. Returns how many of them are open at the end.
async fn hold_connections(
    target: Target,
    count: usize,
    bytes: fn(&mut StdRng) -> Vec<u8>,
) -> usize {
    let mut random = StdRng::seed_from_u64(target.seed);
    let mut clients = Vec::new();
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(256) {
        let connect = some.iter().map(|number| {
            // One source address has too few ports for all connections.
            let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / 2500).expect("few"));
            RawClient::connect_from(source, target.port)
        });
        for client in join_all(connect).await {
            let mut client = client.expect("a connection");
            client.send(&bytes(&mut random)).await;
            clients.push(client);
        }
    }
    sleep_until(target.until).await;
    clients
        .iter_mut()
        .map(|client| usize::from(client.is_open()))
        .sum()
}

/// Sends calls, each with almost 64 KiB of a message that claims to have 4 MB. The server's windows
/// allow no more before it has read some. Returns how many bytes could be sent.
async fn send_unfinished(client: &mut RawClient, calls: u32) -> u64 {
    const PIECE: usize = 16_000;
    const PIECES: usize = 4;
    let header = [&[0][..], &4_000_000_u32.to_be_bytes(), &[0x12]].concat();
    let block = headers_of("/grpc.health.v1.Health/Check", &[]);
    // The server's SETTINGS enlarge its windows only after they are acknowledged.
    client.send(&frame(SETTINGS, ACK, 0, &[])).await;
    // How many bytes the connection may still send before the server extends its window.
    let (mut window, mut sent) = (65_535, 0);
    for stream in (0..calls).map(|call| 2 * call + 1) {
        client
            .send(&frame(HEADERS, END_HEADERS, stream, &block))
            .await;
        for piece in 0..PIECES {
            while window < PIECE as u64 {
                let Ok(Some(frame)) = timeout(READ_TIMEOUT, client.read_frame()).await else {
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

/// Frames of random kinds with random content. Only their lengths are correct.
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

/// Calls that are each cancelled at once (CVE-2023-44487).
fn rapid_reset(_: &mut StdRng) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let block = call_headers(&[]);
    let calls = (0..1000).map(|call| 2 * call + 1).flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        [headers, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    greeting().into_iter().chain(calls).collect()
}

/// Streams that ask and are reset before their answers come.
fn reset_streams(_: &mut StdRng) -> Vec<u8> {
    const CANCEL: [u8; 4] = [0, 0, 0, 8];
    let (block, questions) = (headers_of(questions::PATH, &[]), some_questions(20));
    let calls = (0..500).map(|call| 2 * call + 1).flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        let questions = frame(DATA, 0, stream, &questions);
        [headers, questions, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
    });
    greeting().into_iter().chain(calls).collect()
}

/// A header block of 160 KB, in frames of nearly the greatest length.
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

/// A header block that never ends (CVE-2024-27316).
fn headers_without_end(_: &mut StdRng) -> Vec<u8> {
    let mut bytes = [greeting(), frame(HEADERS, 0, 1, &call_headers(&[]))].concat();
    for number in 0..2000 {
        let field = header_block(&[(&format!("x-{number}"), "")]);
        bytes.extend(frame(CONTINUATION, 0, 1, &field));
    }
    bytes
}

/// Repeats a header of 4 KB from HPACK's table. Each repetition takes one byte.
fn repeated_header(_: &mut StdRng) -> Vec<u8> {
    let kept = [
        &[0x40][..],
        &hpack_string("x-large"),
        &hpack_string(&"x".repeat(4000)),
    ]
    .concat();
    let block = [call_headers(&[]), kept, vec![0x80 | 62; 10_000]].concat();
    [
        greeting(),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block),
    ]
    .concat()
}

/// Frames that each require an acknowledgement (CVE-2019-9512, CVE-2019-9515).
fn settings_and_pings(_: &mut StdRng) -> Vec<u8> {
    let pair = [frame(SETTINGS, 0, 0, &[]), frame(PING, 0, 0, &[7; 8])].concat();
    [greeting(), pair.repeat(1000)].concat()
}

/// The first part of a frame, cut at a random byte.
fn half_frame(random: &mut StdRng) -> Vec<u8> {
    let whole = frame(HEADERS, END_HEADERS, 1, &call_headers(&[]));
    let half = &whole[..random.random_range(1..whole.len())];
    [&greeting(), half].concat()
}

/// A header in as many large frames as h2 accepts before it closes the connection.
fn unfinished_header(_: &mut StdRng) -> Vec<u8> {
    let value = vec![b'x'; 16_000];
    // This length says 2^21 bytes, in the encoding of `hpack_string`.
    let promised = [
        &[0][..],
        &hpack_string("x-large"),
        &[0x7F, 0x81, 0xFF, 0x7F],
    ]
    .concat();
    let begun = [call_headers(&[]), promised].concat();
    let mut bytes = [greeting(), frame(HEADERS, 0, 1, &begun)].concat();
    for _ in 0..5 {
        bytes.extend(frame(CONTINUATION, 0, 1, &value));
    }
    bytes
}

/// As many calls with large headers as a connection may have. None sends its message.
fn calls_without_message(_: &mut StdRng) -> Vec<u8> {
    let block = call_headers(&[("x-large", &"x".repeat(4000))]);
    let calls = (0..256).flat_map(|call| frame(HEADERS, END_HEADERS, 2 * call + 1, &block));
    greeting().into_iter().chain(calls).collect()
}

/// Calls by a client whose window of zero lets the server send no response (CVE-2019-9517).
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

fn some_questions(count: usize) -> Vec<u8> {
    questions::framed(1, "no token", "example.com").repeat(count)
}

/// The streams of questions that a connection may have.
const STREAMS_OF_QUESTIONS: [u32; 2] = [1, 3];

/// Streams of a client whose window of zero lets the server send no answer. All questions fit into the windows
/// of the streams, and of the connection when it begins.
fn questions_unread(_: &mut StdRng) -> Vec<u8> {
    const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0]; // SETTINGS_INITIAL_WINDOW_SIZE
    let (block, questions) = (headers_of(questions::PATH, &[]), some_questions(500));
    let calls = STREAMS_OF_QUESTIONS.into_iter().flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        let questions = frame(DATA, 0, stream, &questions);
        [headers, questions].concat()
    });
    let greeting = [PREFACE, &frame(SETTINGS, 0, 0, &NO_WINDOW)].concat();
    greeting.into_iter().chain(calls).collect()
}

/// Streams on each of which a question begins and does not end.
fn half_questions(_: &mut StdRng) -> Vec<u8> {
    let (block, question) = (headers_of(questions::PATH, &[]), some_questions(1));
    let calls = STREAMS_OF_QUESTIONS.into_iter().flat_map(|stream| {
        let headers = frame(HEADERS, END_HEADERS, stream, &block);
        let half = frame(DATA, 0, stream, &question[..question.len() / 2]);
        [headers, half].concat()
    });
    greeting().into_iter().chain(calls).collect()
}

/// Half of the connections send nothing; the others send only the preface.
fn idle(random: &mut StdRng) -> Vec<u8> {
    if random.random() {
        greeting()
    } else {
        Vec::new()
    }
}
