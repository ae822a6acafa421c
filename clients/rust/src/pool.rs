//! All replicas: found by their addresses' names, looked up again and again, and asked in turns.

use crate::{
    call::Kind,
    credentials::Credentials,
    error::Attempt,
    metrics::Metrics,
    options::Target,
    replica::{Member, Readiness, Replica, Slot},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::lookup_host,
    sync::watch,
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tonic::Status;

/// How often names are looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);

/// How often at most, when no replica is ready.
const LOOK_UP_PAUSE: Duration = Duration::from_secs(1);

/// How long a name may take, so that it does not keep the other names for long.
const LOOK_UP_TIME: Duration = Duration::from_secs(5);

/// How often files are read again.
const READ_FILES_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    targets: Vec<Target>,
    credentials: Arc<Credentials>,
    members: watch::Sender<Vec<Member>>,
    readiness: watch::Sender<Readiness>,
    /// Why the last name that could not be looked up could not.
    lookup_fault: Mutex<Option<String>>,
    /// Whose turn it is.
    turn: AtomicUsize,
    pub(crate) metrics: Metrics,
}

impl Pool {
    pub(crate) fn new(targets: Vec<Target>, credentials: Credentials) -> Self {
        Self {
            targets,
            credentials: Arc::new(credentials),
            members: watch::Sender::new(Vec::new()),
            readiness: watch::Sender::default(),
            lookup_fault: Mutex::new(None),
            // Anywhere, so that many clients that start together do not all begin with the same replica.
            turn: AtomicUsize::new(rand::random::<u32>() as usize),
            metrics: Metrics::new(),
        }
    }

    /// What goes on all the time: these tasks end when the set is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().keep_looking_up());
        if self.credentials.have_files() {
            tasks.spawn(self.clone().keep_reading_files());
        }
        tasks
    }

    /// Forgets all replicas. Their connections end.
    pub(crate) fn clear(&self) {
        self.members.send_modify(Vec::clear);
    }

    /// How many replicas are known, and how many of them are ready.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.members.borrow().len(), self.readiness.borrow().count)
    }

    pub(crate) async fn wait_until_ready(&self) {
        let mut readiness = self.readiness.subscribe();
        let ready = readiness.wait_for(|ready| ready.count > 0).await;
        ready.expect("the sender is this pool's");
    }

    /// Why each replica is not ready.
    pub(crate) fn faults(&self) -> Vec<Attempt> {
        let members = self.members.borrow();
        let waiting = members.iter().filter(|member| !member.replica.is_ready());
        let fault = |member: &Member| {
            let fault = member.replica.fault();
            let fault =
                fault.unwrap_or_else(|| Status::unavailable("it does not say that it serves"));
            Attempt::new(member.replica.address, &fault)
        };
        waiting.map(fault).collect()
    }

    pub(crate) fn lookup_fault(&self) -> Option<String> {
        let fault = self.lookup_fault.lock();
        let fault = fault.unwrap_or_else(PoisonError::into_inner);
        fault.clone().filter(|_| self.members.borrow().is_empty())
    }

    /// Whether a replica was ready at any time.
    pub(crate) fn was_ready(&self) -> bool {
        self.readiness.borrow().ever
    }

    /// Whether a call that has made these attempts asks a replica for the second time next.
    pub(crate) fn asks_again(&self, attempts: &[Attempt]) -> bool {
        let members = self.members.borrow();
        let best = members.iter().map(|it| Rank::of(&it.replica, attempts));
        best.min().is_some_and(|rank| rank.is_tried)
    }

    /// The replica to ask next, for a call that has made these attempts, and the slot for it. Waits until there is
    /// one.
    pub(crate) async fn next(&self, attempts: &[Attempt], kind: Kind) -> (Arc<Replica>, Slot) {
        loop {
            let replica = self.best(attempts).await;
            let slot = replica.slot(kind).await;
            // While this waited, the replica may have stopped to answer.
            if replica.is_ready() || self.counts().1 == 0 {
                return (replica, slot);
            }
        }
    }

    async fn best(&self, attempts: &[Attempt]) -> Arc<Replica> {
        if let Some(replica) = self.choose(&self.members.borrow(), attempts) {
            return replica;
        }
        let mut members = self.members.subscribe();
        let known = members.wait_for(|members| !members.is_empty()).await;
        let members = known.expect("the sender is this pool's");
        self.choose(&members, attempts).expect("there is one")
    }

    /// One of the best, in turns.
    fn choose(&self, members: &[Member], attempts: &[Attempt]) -> Option<Arc<Replica>> {
        // Looked at once, because they may change meanwhile.
        let ranks: Vec<_> = members
            .iter()
            .map(|it| Rank::of(&it.replica, attempts))
            .collect();
        let best = ranks.iter().min()?;
        let best: Vec<_> = (0..ranks.len()).filter(|at| ranks[*at] == *best).collect();
        let turn = self.turn.fetch_add(1, Relaxed) % best.len();
        Some(members[best[turn]].replica.clone())
    }

    async fn keep_looking_up(self: Arc<Self>) {
        let mut found = vec![Vec::new(); self.targets.len()];
        let mut readiness = self.readiness.subscribe();
        loop {
            self.look_up(&mut found).await;
            let none_is_ready = async {
                sleep(LOOK_UP_PAUSE).await;
                let none = readiness.wait_for(|ready| ready.count == 0).await;
                none.map(drop)
            };
            // Either ends the pause.
            timeout(LOOK_UP_EVERY, none_is_ready).await.ok();
        }
    }

    /// Looks up all names at once. One that is not found keeps the addresses that it had.
    async fn look_up(&self, found: &mut [Vec<SocketAddr>]) {
        let mut lookups = JoinSet::new();
        for (at, target) in self.targets.iter().cloned().enumerate() {
            lookups.spawn(async move { (at, addresses_of(&target).await) });
        }
        while let Some(done) = lookups.join_next().await {
            match done.expect("a lookup does not panic") {
                (at, Ok(addresses)) => found[at] = addresses,
                (_, Err(fault)) => {
                    let last = self.lookup_fault.lock();
                    *last.unwrap_or_else(PoisonError::into_inner) = Some(fault);
                }
            }
            self.set_members(found);
        }
    }

    /// An address that several names have is one replica.
    fn set_members(&self, found: &[Vec<SocketAddr>]) {
        let is_known = |address: &SocketAddr| found.iter().flatten().any(|it| it == address);
        self.members.send_if_modified(|members| {
            let before = members.len();
            members.retain(|member| is_known(&member.replica.address));
            let mut is_changed = members.len() < before;
            for (target, addresses) in self.targets.iter().zip(found) {
                for address in addresses {
                    if members.iter().any(|it| it.replica.address == *address) {
                        continue;
                    }
                    members.push(Member::new(
                        *address,
                        target,
                        &self.credentials,
                        &self.readiness,
                        &self.metrics,
                    ));
                    is_changed = true;
                }
            }
            is_changed
        });
    }

    async fn keep_reading_files(self: Arc<Self>) {
        let mut every = interval(READ_FILES_EVERY);
        loop {
            every.tick().await;
            let credentials = self.credentials.clone();
            let reload = tokio::task::spawn_blocking(move || credentials.reload());
            if reload.await.expect("reading files does not panic") {
                for member in self.members.borrow().iter() {
                    member.replica.connect_anew();
                }
            }
        }
    }
}

/// The order in which replicas are asked: the lowest first. One that is ready is asked again before one that is not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_waiting: bool,
    is_tried: bool,
    is_full: bool,
}

impl Rank {
    fn of(replica: &Replica, attempts: &[Attempt]) -> Self {
        Self {
            is_waiting: !replica.is_ready(),
            is_tried: is_tried(replica, attempts),
            is_full: replica.is_full(),
        }
    }
}

fn is_tried(replica: &Replica, attempts: &[Attempt]) -> bool {
    attempts
        .iter()
        .any(|attempt| attempt.address == replica.address)
}

async fn addresses_of(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let lookup = lookup_host((target.host.as_str(), target.port));
    match timeout(LOOK_UP_TIME, lookup).await {
        Err(_) => Err(format!("{target}: the lookup took too long")),
        Ok(Err(error)) => Err(format!("{target}: {error}")),
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            if addresses.is_empty() {
                return Err(format!("{target}: the name has no address"));
            }
            usable(target, addresses)
        }
    }
}

/// What the name `localhost` stands for is not this library's to decide.
fn usable(target: &Target, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, String> {
    let is_local = |at: &SocketAddr| at.ip().to_canonical().is_loopback();
    match addresses.iter().find(|at| !is_local(at)) {
        Some(far) if target.must_be_local => Err(format!(
            "{target}: a secret is not sent to {} without encryption",
            far.ip()
        )),
        _ => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::usable;
    use crate::options::Options;

    #[test]
    fn a_secret_leaves_this_machine_by_no_name() {
        let options = Options::new(["localhost:1"]).plaintext();
        for (options, far) in [(options.clone().secret("tsop_x"), false), (options, true)] {
            let (targets, _) = options.check().expect("they are right");
            let is_used = |address: &str| {
                let address = address.parse().expect("an address");
                usable(&targets[0], vec![address]).is_ok()
            };
            for address in ["127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
                assert!(is_used(address), "{address}");
            }
            for address in ["10.0.0.1:1", "[::2]:1", "0.0.0.0:1"] {
                assert_eq!(is_used(address), far, "{address}");
            }
        }
    }
}
