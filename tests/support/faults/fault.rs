//! What can befall a deployment, when, and for how long.

use crate::support::faults::deployment::Deployment;
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use std::{ops::Range, time::Duration};
use tokio::task::block_in_place;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ReplicaPaused,
    ReplicaKilled,
    ReplicaShutDown,
    ConnectionsCut,
    ConnectionsHalfOpen,
    PacketsHeld,
    PacketsDelayed,
    NotificationsLost,
    StandbySlow,
    DatabaseKilled,
    FailedOver,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::ReplicaPaused,
        Self::ReplicaKilled,
        Self::ReplicaShutDown,
        Self::ConnectionsCut,
        Self::ConnectionsHalfOpen,
        Self::PacketsHeld,
        Self::PacketsDelayed,
        Self::NotificationsLost,
        Self::StandbySlow,
        Self::DatabaseKilled,
        Self::FailedOver,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ReplicaPaused => "replica paused",
            Self::ReplicaKilled => "replica killed",
            Self::ReplicaShutDown => "replica shut down",
            Self::ConnectionsCut => "connections cut",
            Self::ConnectionsHalfOpen => "connections half-open",
            Self::PacketsHeld => "packets held",
            Self::PacketsDelayed => "packets delayed",
            Self::NotificationsLost => "notifications lost",
            Self::StandbySlow => "standby slow",
            Self::DatabaseKilled => "database killed",
            Self::FailedOver => "failed over",
        }
    }

    /// How long it lasts, in leases.
    fn leases(self) -> Range<f64> {
        match self {
            Self::ReplicaPaused => 0.5..3.0,
            Self::ReplicaKilled | Self::ReplicaShutDown => 0.0..2.0,
            Self::ConnectionsCut => 0.0..2.5,
            Self::ConnectionsHalfOpen => 0.5..3.0,
            Self::PacketsHeld => 0.2..2.5,
            Self::PacketsDelayed | Self::NotificationsLost => 1.0..3.0,
            Self::StandbySlow => 2.0..4.0,
            Self::DatabaseKilled => 0.0..2.0,
            Self::FailedOver => 0.0..1.0,
        }
    }

    /// What a fault takes hold of: nothing is taken hold of by two.
    fn grasps(self) -> Part {
        match self {
            Self::ReplicaPaused | Self::ReplicaKilled | Self::ReplicaShutDown => Part::Process,
            Self::DatabaseKilled | Self::FailedOver => Part::Database,
            Self::StandbySlow => Part::Replication,
            _ => Part::Network(self),
        }
    }
}

#[derive(PartialEq)]
enum Part {
    Process,
    Network(Kind),
    Database,
    Replication,
}

#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: Kind,
    /// Which one it befalls, unless it befalls the database.
    pub replica: usize,
}

impl Fault {
    fn excludes(self, other: Self) -> bool {
        let part = self.kind.grasps();
        let shared = matches!(part, Part::Database | Part::Replication);
        part == other.kind.grasps() && (shared || self.replica == other.replica)
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Begin(Fault),
    End(Fault),
}

/// Draws faults so that every kind comes about equally often.
#[derive(Default)]
pub struct Deck(Vec<Kind>);

/// The most faults that a round has.
const MOST_FAULTS: usize = 4;

impl Deck {
    /// The steps of one round, each with its time since the round's beginning. In a round most
    /// faults befall one replica: a lease is in danger where several meet.
    pub fn draw_round(
        &mut self,
        replicas: usize,
        lease: Duration,
        random: &mut StdRng,
    ) -> Vec<(Duration, Step)> {
        let victim = random.random_range(0..replicas);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..random.random_range(1..=MOST_FAULTS) {
            let anybody = random.random_range(0..replicas);
            let fault = Fault {
                kind: self.draw(random),
                replica: if random.random_bool(0.7) {
                    victim
                } else {
                    anybody
                },
            };
            if faults.iter().any(|other| fault.excludes(*other)) {
                self.0.insert(0, fault.kind);
            } else {
                faults.push(fault);
            }
        }
        let mut steps = Vec::new();
        for fault in faults {
            let begin = random.random_range(0.0..1.0);
            let end = begin + random.random_range(fault.kind.leases());
            steps.push((lease.mul_f64(begin), Step::Begin(fault)));
            steps.push((lease.mul_f64(end), Step::End(fault)));
        }
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    fn draw(&mut self, random: &mut StdRng) -> Kind {
        if self.0.is_empty() {
            self.0 = Kind::ALL.to_vec();
            self.0.shuffle(random);
        }
        self.0.pop().expect("it was filled")
    }
}

impl Deployment {
    pub async fn begin(&mut self, fault: Fault, lease: Duration, random: &mut StdRng) {
        let replica = &mut self.replicas[fault.replica];
        let proxy = &replica.proxy;
        match fault.kind {
            Kind::ReplicaPaused => replica.signal("STOP"),
            Kind::ReplicaKilled => replica.kill().await,
            Kind::ReplicaShutDown => replica.shut_down().await,
            Kind::ConnectionsCut => {
                proxy.change_weather(|weather| weather.refuses = true);
                proxy.cut();
            }
            Kind::ConnectionsHalfOpen => proxy.change_weather(|weather| weather.swallows = true),
            Kind::PacketsHeld => proxy.change_weather(|weather| weather.holds = true),
            Kind::PacketsDelayed => {
                let longest = lease.mul_f64(random.random_range(0.02..0.8));
                let delays = match random.random_range(0..3) {
                    0 => (longest, Duration::ZERO),
                    1 => (Duration::ZERO, longest),
                    _ => (longest, longest),
                };
                proxy.change_weather(|weather| weather.delays = delays);
            }
            Kind::NotificationsLost => {
                proxy.change_weather(|weather| weather.loses_notifications = true);
            }
            Kind::StandbySlow => {
                let longest = lease.mul_f64(random.random_range(0.02..0.08));
                let replication = &self.database.replication;
                replication.change_weather(|weather| weather.delays = (longest, longest));
            }
            Kind::DatabaseKilled => block_in_place(|| self.database.kill_primary()),
            Kind::FailedOver => self.lose_primary(lease, random).await,
        }
    }

    /// The primary dies for good. At times it was restarted a moment ago, and holds what its
    /// standby has not got.
    async fn lose_primary(&mut self, lease: Duration, random: &mut StdRng) {
        if random.random_bool(0.3) {
            block_in_place(|| {
                self.database.kill_primary();
                self.database.restart_primary();
            });
            tokio::time::sleep(lease.mul_f64(random.random_range(0.0..1.0))).await;
        }
        block_in_place(|| self.database.lose_primary());
        self.lead_to_primary();
    }

    pub fn end(&mut self, fault: Fault) {
        let replica = &mut self.replicas[fault.replica];
        let proxy = &replica.proxy;
        match fault.kind {
            Kind::ReplicaPaused => replica.signal("CONT"),
            Kind::ReplicaKilled | Kind::ReplicaShutDown => replica.start_again(),
            Kind::ConnectionsCut => proxy.change_weather(|weather| weather.refuses = false),
            Kind::ConnectionsHalfOpen => proxy.change_weather(|weather| weather.swallows = false),
            Kind::PacketsHeld => proxy.change_weather(|weather| weather.holds = false),
            Kind::PacketsDelayed => {
                proxy.change_weather(|weather| weather.delays = Default::default());
            }
            Kind::NotificationsLost => {
                proxy.change_weather(|weather| weather.loses_notifications = false);
            }
            Kind::StandbySlow => {
                let replication = &self.database.replication;
                replication.change_weather(|weather| weather.delays = Default::default());
            }
            Kind::DatabaseKilled => block_in_place(|| self.database.restart_primary()),
            Kind::FailedOver => block_in_place(|| self.database.promote()),
        }
    }
}
