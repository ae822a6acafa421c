//! A TCP proxy in front of PostgreSQL that does to packets what bad networks do. It takes plain
//! connections (`sslmode=disable`), to see where a message of the server's ends.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// Packets under way in one direction of one connection; more are not read meanwhile.
const PACKETS_UNDERWAY: usize = 1024;

/// What the network does at present.
#[derive(Clone, Default)]
pub struct Weather {
    /// New connections are reset.
    pub refuses: bool,
    /// Packets vanish, and nobody is told. A direction in which one did is dead from then on; so
    /// is a connection that begins now.
    pub swallows: bool,
    /// Packets wait, and arrive when this ends.
    pub holds: bool,
    /// The longest that a packet takes, to the server and from it.
    pub delays: (Duration, Duration),
    /// Notifications vanish.
    pub loses_notifications: bool,
}

/// How often the weather was felt.
#[derive(Default)]
pub struct Effects {
    pub connections_reset: AtomicU64,
    pub packets_swallowed: AtomicU64,
    pub packets_held: AtomicU64,
    pub packets_delayed: AtomicU64,
    pub notifications_lost: AtomicU64,
}

pub struct Proxy {
    port: u16,
    link: Arc<Link>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn to(server: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let link = Arc::new(Link {
            server: Mutex::new(server),
            weather: watch::Sender::default(),
            cuts: watch::Sender::default(),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            effects: Effects::default(),
        });
        let accepting = tokio::spawn(accept_for_ever(listener, link.clone()));
        Self {
            port,
            link,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where new connections lead to from now on.
    pub fn lead_to(&self, server: u16) {
        *self.link.server.lock().expect("unpoisoned") = server;
    }

    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        self.link.weather.send_modify(change);
    }

    /// Resets every connection.
    pub fn cut(&self) {
        self.link.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn effects(&self) -> &Effects {
        &self.link.effects
    }
}

struct Link {
    server: Mutex<u16>,
    weather: watch::Sender<Weather>,
    cuts: watch::Sender<u64>,
    random: Mutex<StdRng>,
    effects: Effects,
}

#[derive(Clone, Copy)]
enum Direction {
    ToServer,
    FromServer,
}

async fn accept_for_ever(listener: TcpListener, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            connections.spawn(link.clone().carry(client));
        }
        while connections.try_join_next().is_some() {}
    }
}

impl Link {
    async fn carry(self: Arc<Self>, mut client: TcpStream) {
        if self.weather().refuses {
            return self.reset(client);
        }
        let server = SocketAddr::from(([127, 0, 0, 1], *self.server.lock().expect("unpoisoned")));
        let mut cuts = self.cuts.subscribe();
        let Ok(mut server) = TcpStream::connect(server).await else {
            return;
        };
        for side in [&client, &server] {
            side.set_nodelay(true).expect("a TCP socket");
        }
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            () = self.pass_on(from_client, to_server, Direction::ToServer) => {}
            () = self.pass_on(from_server, to_client, Direction::FromServer) => {}
            _ = cuts.changed() => {
                self.reset(client);
                return self.reset(server);
            }
        }
        // That one side has closed is a packet too.
        self.until(|weather| !weather.swallows).await;
    }

    /// Returns when either end is closed and what was under way has arrived.
    async fn pass_on(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction) {
        let (departures, mut underway) = mpsc::channel(PACKETS_UNDERWAY);
        let depart = async move {
            let mut messages = Messages::default();
            let mut buffer = vec![0; 16 * 1024];
            let mut dead = false;
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                dead |= self.weather().swallows;
                if dead {
                    count(&self.effects.packets_swallowed);
                    continue;
                }
                let packet = match direction {
                    Direction::ToServer => buffer[..length].to_vec(),
                    Direction::FromServer => self.filter(&mut messages, &buffer[..length]),
                };
                let due = Instant::now() + self.delay(direction);
                if departures.send((due, packet)).await.is_err() {
                    break;
                }
            }
        };
        let arrive = async move {
            while let Some((due, packet)) = underway.recv().await {
                sleep_until(due).await;
                if self.weather().holds {
                    count(&self.effects.packets_held);
                    self.until(|weather| !weather.holds).await;
                }
                if to.write_all(&packet).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(depart, arrive);
    }

    fn filter(&self, messages: &mut Messages, bytes: &[u8]) -> Vec<u8> {
        let loses = self.weather().loses_notifications;
        messages.complete(bytes, |kind| {
            let lost = loses && kind == NOTIFICATION_RESPONSE;
            if lost {
                count(&self.effects.notifications_lost);
            }
            !lost
        })
    }

    fn delay(&self, direction: Direction) -> Duration {
        let (to_server, from_server) = self.weather().delays;
        let longest = match direction {
            Direction::ToServer => to_server,
            Direction::FromServer => from_server,
        };
        if longest.is_zero() {
            return longest;
        }
        count(&self.effects.packets_delayed);
        let mut random = self.random.lock().expect("unpoisoned");
        longest.mul_f64(random.random())
    }

    /// Closes it with RST.
    fn reset(&self, side: TcpStream) {
        count(&self.effects.connections_reset);
        side.set_zero_linger().expect("a TCP socket");
    }

    fn weather(&self) -> Weather {
        self.weather.borrow().clone()
    }

    async fn until(&self, is_so: impl FnMut(&Weather) -> bool) {
        let mut weather = self.weather.subscribe();
        let mut is_so = is_so;
        let seen = weather.wait_for(|weather| is_so(weather)).await;
        drop(seen.expect("the link holds the sender"));
    }
}

fn count(effect: &AtomicU64) {
    effect.fetch_add(1, Ordering::Relaxed);
}

/// The type of a message that reports a NOTIFY.
pub const NOTIFICATION_RESPONSE: u8 = b'A';

/// A message begins with a byte for its type and four for the length of the rest, these included.
const HEADER_LEN: usize = 5;

/// Finds the messages in what a server sends.
#[derive(Default)]
pub struct Messages {
    incomplete: Vec<u8>,
}

impl Messages {
    /// The messages that end with these bytes, but for those of a type that is not to be kept.
    pub fn complete(&mut self, bytes: &[u8], mut keep: impl FnMut(u8) -> bool) -> Vec<u8> {
        self.incomplete.extend_from_slice(bytes);
        let mut kept = Vec::new();
        let mut rest = &self.incomplete[..];
        while let Some((header, _)) = rest.split_first_chunk::<HEADER_LEN>() {
            let [kind, length @ ..] = *header;
            let length = 1 + u32::from_be_bytes(length) as usize;
            let Some((message, others)) = rest.split_at_checked(length) else {
                break;
            };
            if keep(kind) {
                kept.extend_from_slice(message);
            }
            rest = others;
        }
        self.incomplete = rest.to_vec();
        kept
    }
}
