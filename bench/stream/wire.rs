//! A client that speaks as much HTTP/2 as a measurement needs, on a thread of its own for each connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Instant,
};

use crate::support::hostile::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, frame,
    indexed_headers_of,
};

/// As much as a client may let a server send.
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// What HTTP/2 begins with.
const FIRST_WINDOW: i64 = 65_535;
const MAX_FRAME: usize = 16 * 1024;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// Questions, encoded one behind the other, as messages of a stream and as calls of their own.
pub struct Questions {
    stream: Vec<u8>,
    ends: Vec<usize>,
    unary: Vec<Vec<u8>>,
}

impl Questions {
    pub fn new(tokens: &[(String, String)]) -> Self {
        let (mut stream, mut ends) = (Vec::new(), Vec::new());
        for (id, (token, domain)) in tokens.iter().enumerate() {
            stream.extend(crate::support::clients::questions::framed(
                id as u64, token, domain,
            ));
            ends.push(stream.len());
        }
        let unary = tokens.iter().take(10_000).map(|(token, domain)| {
            use prost::Message;
            let request = keyservice::grpc::proto::AuthorizeRequest {
                token: token.clone(),
                domain: domain.clone(),
            };
            crate::support::clients::questions::framed_message(&request.encode_to_vec())
        });
        Self {
            stream,
            ends,
            unary: unary.collect(),
        }
    }

    fn start(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] }
    }
}

/// What is called: a decision, or the bare server's method whose messages are empty.
#[derive(Clone, Copy)]
pub enum Called {
    Authorize,
    Empty,
}

pub struct Connection {
    stream: TcpStream,
    /// What was read and is no whole frame yet.
    unread: Vec<u8>,
    /// How much may be sent on all streams.
    window: i64,
    /// How much may be sent on the first stream.
    stream_window: i64,
    next_stream: u32,
    /// The bytes of an answer that continues in the next frame.
    rest: Vec<u8>,
}

/// What came in some frames.
#[derive(Default)]
struct Came {
    /// Answers on a stream that grant.
    grants: u64,
    /// Calls that have ended.
    calls: u64,
}

impl Connection {
    pub fn open(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let setting = [&INITIAL_WINDOW_SIZE[..], &LARGEST_WINDOW.to_be_bytes()].concat();
        let more = LARGEST_WINDOW - FIRST_WINDOW as u32;
        let begin = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &setting),
            &frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes()),
        ];
        stream.write_all(&begin.concat()).unwrap();
        let mut connection = Self {
            stream,
            unread: Vec::new(),
            window: FIRST_WINDOW,
            stream_window: FIRST_WINDOW,
            next_stream: 1,
            rest: Vec::new(),
        };
        // The server's SETTINGS.
        connection.read();
        connection
    }

    /// Asks on one stream, `depth` questions ahead. Returns how many were granted.
    pub fn ask_until(&mut self, questions: &Questions, depth: usize, end: Instant) -> u64 {
        let headers = indexed_headers_of("/tosend.keys.v1.KeyService/AuthorizeStream");
        let headers = frame(HEADERS, END_HEADERS, 1, &headers);
        self.stream.write_all(&headers).unwrap();
        let all = questions.ends.len();
        // Each connection begins elsewhere.
        let mut at = std::process::id() as usize
            * usize::from(self.stream.local_addr().unwrap().port())
            % all;
        let (mut granted, mut asked) = (0, 0);
        let mut sent = Vec::new();
        while Instant::now() < end {
            sent.clear();
            loop {
                let ahead = (asked - granted) as usize;
                let first = questions.start(at);
                let room = self.window.min(self.stream_window).min(MAX_FRAME as i64);
                let most = (depth - ahead).min(all - at);
                let mut count = 0;
                while count < most && (questions.ends[at + count] - first) as i64 <= room {
                    count += 1;
                }
                if count == 0 {
                    break;
                }
                let bytes = &questions.stream[first..questions.ends[at + count - 1]];
                sent.extend(frame(DATA, 0, 1, bytes));
                self.window -= bytes.len() as i64;
                self.stream_window -= bytes.len() as i64;
                asked += count as u64;
                at = (at + count) % all;
            }
            if !sent.is_empty() {
                self.stream.write_all(&sent).unwrap();
            }
            granted += self.read().grants;
        }
        granted
    }

    /// Makes calls, so many at once. Returns how many have ended.
    pub fn call_until(
        &mut self,
        questions: &Questions,
        what: Called,
        streams: u64,
        end: Instant,
    ) -> u64 {
        let path = match what {
            Called::Authorize => "/tosend.keys.v1.KeyService/Authorize",
            Called::Empty => "/tosend.keys.v1.KeyService/Resume",
        };
        let (mut called, mut ended) = (0, 0);
        let mut sent = Vec::new();
        while Instant::now() < end {
            sent.clear();
            while called - ended < streams && self.window > 1024 {
                let message = match what {
                    Called::Empty => &[0; 5][..],
                    Called::Authorize => &questions.unary[called as usize % questions.unary.len()],
                };
                // The server keeps the headers of the first call, which the next ones name by their numbers.
                let headers = match called {
                    0 => indexed_headers_of(path),
                    _ => (62..62 + 6).rev().map(|number| 0x80 | number).collect(),
                };
                sent.extend(frame(HEADERS, END_HEADERS, self.next_stream, &headers));
                sent.extend(frame(DATA, END_STREAM, self.next_stream, message));
                self.next_stream += 2;
                self.window -= message.len() as i64;
                called += 1;
            }
            if !sent.is_empty() {
                self.stream.write_all(&sent).unwrap();
            }
            ended += self.read().calls;
        }
        ended
    }

    /// Waits for some bytes and reads what has come.
    fn read(&mut self) -> Came {
        let before = self.unread.len();
        self.unread.resize(before + 256 * 1024, 0);
        let count = self.stream.read(&mut self.unread[before..]).unwrap();
        assert!(count > 0, "the server has closed the connection");
        self.unread.truncate(before + count);
        let unread = std::mem::take(&mut self.unread);
        let (mut came, mut at) = (Came::default(), 0);
        while let Some(head) = unread[at..].first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = unread[at + 9..].get(..length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.take(head[3], head[4], stream, payload, &mut came);
            at += 9 + length;
        }
        self.unread = unread;
        self.unread.drain(..at);
        came
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8], came: &mut Came) {
        match kind {
            DATA => {
                if self.rest.is_empty() {
                    let rest = count_grants(payload, came);
                    self.rest.extend_from_slice(rest);
                } else {
                    self.rest.extend_from_slice(payload);
                    let all = std::mem::take(&mut self.rest);
                    self.rest = count_grants(&all, came).to_vec();
                }
            }
            HEADERS if flags & END_STREAM != 0 => came.calls += 1,
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    if setting[..2] == INITIAL_WINDOW_SIZE {
                        let size = u32::from_be_bytes(setting[2..].try_into().unwrap());
                        self.stream_window += i64::from(size) - FIRST_WINDOW;
                    }
                }
                self.stream
                    .write_all(&frame(SETTINGS, ACK, 0, &[]))
                    .unwrap();
            }
            WINDOW_UPDATE => {
                let more = i64::from(u32::from_be_bytes(payload.try_into().unwrap()));
                match stream {
                    0 => self.window += more,
                    _ => self.stream_window += more,
                }
            }
            PING if flags & ACK == 0 => {
                let pong = frame(PING, ACK, 0, payload);
                self.stream.write_all(&pong).unwrap();
            }
            _ => {}
        }
    }
}

/// Counts the messages in these bytes, each of which must be a grant. Gives the rest that is no whole message.
fn count_grants<'a>(mut bytes: &'a [u8], came: &mut Came) -> &'a [u8] {
    const GRANT: u8 = 2 << 3 | 2;
    while let Some(prefix) = bytes.first_chunk::<5>() {
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        let Some(message) = bytes[5..].get(..length) else {
            break;
        };
        // An answer on a stream begins with its id, which the first question does not have.
        let behind_id = match message.first() {
            Some(8) => 1 + message[1..].iter().position(|byte| *byte < 128).unwrap() + 1,
            _ => 0,
        };
        came.grants += u64::from(message.get(behind_id) == Some(&GRANT));
        bytes = &bytes[5 + length..];
    }
    bytes
}
