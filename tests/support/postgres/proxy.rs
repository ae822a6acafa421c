//! A TCP proxy in front of PostgreSQL that imitates a bad network. It needs unencrypted connections
//! (`sslmode=disable`), since it looks for the ends of the server's messages.

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

/// The greatest number of packets in flight in one direction of one connection.
const PACKETS_IN_FLIGHT: usize = 1024;

/// What the network does now.
#[derive(Clone, Default)]
pub struct Conditions {
    /// New connections are reset.
    pub refuses_connections: bool,
    /// Packets are dropped silently. A direction that has dropped a packet never recovers, and
    /// neither does a connection that is opened meanwhile.
    pub drops_packets: bool,
    /// Packets are delivered when this ends.
    pub holds_packets: bool,
    /// The longest delay of a packet to the server, and from it.
    pub delays: (Duration, Duration),
    /// Messages of notifications are dropped.
    pub drops_notifications: bool,
}

/// How often each condition had an effect.
#[derive(Default)]
pub struct Effects {
    pub connections_reset: AtomicU64,
    pub packets_dropped: AtomicU64,
    pub packets_held: AtomicU64,
    pub packets_delayed: AtomicU64,
    pub notifications_dropped: AtomicU64,
}

pub struct Proxy {
    port: u16,
    link: Arc<Link>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn start(server: u16, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let link = Arc::new(Link {
            server: Mutex::new(server),
            conditions: watch::Sender::default(),
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

    /// Sets the port to which new connections are forwarded.
    pub fn set_server(&self, server: u16) {
        *self.link.server.lock().expect("unpoisoned") = server;
    }

    pub fn change_conditions(&self, change: impl FnOnce(&mut Conditions)) {
        self.link.conditions.send_modify(change);
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
    conditions: watch::Sender<Conditions>,
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
            connections.spawn(link.clone().forward(client));
        }
        while connections.try_join_next().is_some() {}
    }
}

impl Link {
    async fn forward(self: Arc<Self>, mut client: TcpStream) {
        if self.conditions().refuses_connections {
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
            () = self.forward_direction(from_client, to_server, Direction::ToServer) => {}
            () = self.forward_direction(from_server, to_client, Direction::FromServer) => {}
            _ = cuts.changed() => {
                self.reset(client);
                return self.reset(server);
            }
        }
        // The end of a connection is a packet too, so it may be dropped.
        self.wait_until(|conditions| !conditions.drops_packets)
            .await;
    }

    /// Returns when either side is closed and all packets in flight are delivered.
    async fn forward_direction(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        direction: Direction,
    ) {
        let (departures, mut arrivals) = mpsc::channel(PACKETS_IN_FLIGHT);
        let receive = async move {
            let mut messages = Messages::default();
            let mut buffer = vec![0; 16 * 1024];
            let mut dead = false;
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                dead |= self.conditions().drops_packets;
                if dead {
                    count(&self.effects.packets_dropped);
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
        let send = async move {
            while let Some((due, packet)) = arrivals.recv().await {
                sleep_until(due).await;
                if self.conditions().holds_packets {
                    count(&self.effects.packets_held);
                    self.wait_until(|conditions| !conditions.holds_packets)
                        .await;
                }
                if to.write_all(&packet).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(receive, send);
    }

    fn filter(&self, messages: &mut Messages, bytes: &[u8]) -> Vec<u8> {
        let drops = self.conditions().drops_notifications;
        messages.complete(bytes, |kind| {
            let dropped = drops && kind == NOTIFICATION_RESPONSE;
            if dropped {
                count(&self.effects.notifications_dropped);
            }
            !dropped
        })
    }

    fn delay(&self, direction: Direction) -> Duration {
        let (to_server, from_server) = self.conditions().delays;
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

    /// Closes a connection with RST.
    fn reset(&self, side: TcpStream) {
        count(&self.effects.connections_reset);
        side.set_zero_linger().expect("a TCP socket");
    }

    fn conditions(&self) -> Conditions {
        self.conditions.borrow().clone()
    }

    async fn wait_until(&self, holds: impl FnMut(&Conditions) -> bool) {
        let mut conditions = self.conditions.subscribe();
        let mut holds = holds;
        let seen = conditions.wait_for(|conditions| holds(conditions)).await;
        drop(seen.expect("the link holds the sender"));
    }
}

fn count(effect: &AtomicU64) {
    effect.fetch_add(1, Ordering::Relaxed);
}

/// The type of a message that reports a NOTIFY.
pub const NOTIFICATION_RESPONSE: u8 = b'A';

/// A message starts with one byte for its type and four for its length. The length counts itself,
/// but not the type.
const HEADER_LEN: usize = 5;

/// Splits the bytes of a server into messages.
#[derive(Default)]
pub struct Messages {
    incomplete: Vec<u8>,
}

impl Messages {
    /// Adds these bytes. Returns all messages that are now complete and whose type is to be kept.
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
