//! The faults that a deployment can have: which, when, and for how long.

use crate::support::faults::deployment::Deployment;
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use std::{ops::Range, time::Duration};
use tokio::task::block_in_place;

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

    /// The range of durations, in leases.
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

    /// The part that a fault affects. Two faults never affect the same part at the same time.
    fn affected_part(self) -> Part {
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
    /// The replica that is affected, unless the database is.
    pub replica: usize,
}

impl Fault {
    fn excludes(self, other: Self) -> bool {
        let part = self.kind.affected_part();
        let shared = matches!(part, Part::Database | Part::Replication);
        part == other.kind.affected_part() && (shared || self.replica == other.replica)
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Begin(Fault),
    End(Fault),
}

/// Draws faults at random, so that every kind is drawn about equally often.
#[derive(Default)]
pub struct Deck(Vec<Kind>);

/// The greatest number of faults in one round.
const MOST_FAULTS: usize = 4;

impl Deck {
    /// The steps of one round, each with its time since the start of the round. Most faults of a round
    /// affect the same replica, since several faults together endanger a lease most.
    pub fn draw_round(
        &mut self,
        replicas: usize,
        lease: Duration,
        random: &mut StdRng,
    ) -> Vec<(Duration, Step)> {
        let victim = random.random_range(0..replicas);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..random.random_range(1..=MOST_FAULTS) {
            let any_replica = random.random_range(0..replicas);
            let fault = Fault {
                kind: self.draw(random),
                replica: if random.random_bool(0.7) {
                    victim
                } else {
                    any_replica
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
                proxy.change_conditions(|conditions| conditions.refuses_connections = true);
                proxy.cut();
            }
            Kind::ConnectionsHalfOpen => {
                proxy.change_conditions(|conditions| conditions.drops_packets = true)
            }
            Kind::PacketsHeld => {
                proxy.change_conditions(|conditions| conditions.holds_packets = true)
            }
            Kind::PacketsDelayed => {
                let longest = lease.mul_f64(random.random_range(0.02..0.8));
                let delays = match random.random_range(0..3) {
                    0 => (longest, Duration::ZERO),
                    1 => (Duration::ZERO, longest),
                    _ => (longest, longest),
                };
                proxy.change_conditions(|conditions| conditions.delays = delays);
            }
            Kind::NotificationsLost => {
                proxy.change_conditions(|conditions| conditions.drops_notifications = true);
            }
            Kind::StandbySlow => {
                let longest = lease.mul_f64(random.random_range(0.02..0.08));
                let replication = &self.database.replication;
                replication.change_conditions(|conditions| conditions.delays = (longest, longest));
            }
            Kind::DatabaseKilled => block_in_place(|| self.database.kill_primary()),
            Kind::FailedOver => self.lose_primary(lease, random).await,
        }
    }

    /// Kills the primary for good. Sometimes restarts it first, so that it holds writes that its
    /// standby does not have.
    async fn lose_primary(&mut self, lease: Duration, random: &mut StdRng) {
        if random.random_bool(0.3) {
            block_in_place(|| {
                self.database.kill_primary();
                self.database.restart_primary();
            });
            tokio::time::sleep(lease.mul_f64(random.random_range(0.0..1.0))).await;
        }
        block_in_place(|| self.database.lose_primary());
        self.connect_to_primary();
    }

    pub fn end(&mut self, fault: Fault) {
        let replica = &mut self.replicas[fault.replica];
        let proxy = &replica.proxy;
        match fault.kind {
            Kind::ReplicaPaused => replica.signal("CONT"),
            Kind::ReplicaKilled | Kind::ReplicaShutDown => replica.restart(),
            Kind::ConnectionsCut => {
                proxy.change_conditions(|conditions| conditions.refuses_connections = false)
            }
            Kind::ConnectionsHalfOpen => {
                proxy.change_conditions(|conditions| conditions.drops_packets = false)
            }
            Kind::PacketsHeld => {
                proxy.change_conditions(|conditions| conditions.holds_packets = false)
            }
            Kind::PacketsDelayed => {
                proxy.change_conditions(|conditions| conditions.delays = Default::default());
            }
            Kind::NotificationsLost => {
                proxy.change_conditions(|conditions| conditions.drops_notifications = false);
            }
            Kind::StandbySlow => {
                let replication = &self.database.replication;
                replication.change_conditions(|conditions| conditions.delays = Default::default());
            }
            Kind::DatabaseKilled => block_in_place(|| self.database.restart_primary()),
            Kind::FailedOver => block_in_place(|| self.database.promote()),
        }
    }
}
