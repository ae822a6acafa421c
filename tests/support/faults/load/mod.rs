//! Clients that create, change, revoke and authorize keys and add and remove domains on every replica
//! without a pause, and record every answer.

mod changed_keys;
mod changes;
mod domains;
mod streams;

use crate::support::{
    eventually,
    faults::{
        history::{Answer, Change, History, KeyNumber, Verdict, Violation},
        key_states::{Decided, KeyState},
        keys::{Keys, KnownKey},
        subjects::Subjects,
        tally::Tally,
    },
    server::{Client, domains::Domains, error_reason},
};
use keyservice::grpc::proto::{
    AuthorizeRequest, CreateRequest, Key, ListRequest, RevokeRequest,
    account_service_client::AccountServiceClient, authorize_response::Decision, denial::Reason,
    domain_service_client::DomainServiceClient, key, key_service_client::KeyServiceClient,
    revoke_request::Target,
};
use keyservice::model::verified_domain::Coverage;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Code, Request, Status, transport::Channel};

const ACCOUNT: &str = "acme";
const DOMAIN: &str = "example.com";

/// The number of clients per replica that only call Authorize.
const AUTHORIZERS: usize = 3;

/// The number of clients per replica that ask on a stream.
const STREAM_AUTHORIZERS: usize = 1;

/// The number of clients that write. Each uses all replicas.
const WRITERS: usize = 6;

/// Longer than any fault that a call can survive.
const LONG_TIMEOUT: Duration = Duration::from_secs(8);

/// The number of clients that add and remove domains. Each uses all replicas.
const DOMAIN_WRITERS: usize = 2;

/// The number of clients that change keys. Each uses all replicas.
const KEY_CHANGERS: usize = 2;

/// The timeout of some writes, which is shorter than a lease.
const SHORT_TIMEOUT: Duration = Duration::from_millis(300);

/// The longest pause between two Authorizes of one client. Other tests need the processor too.
const AUTHORIZE_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause of a client that writes, or whose call failed.
const LONG_PAUSE: Duration = Duration::from_millis(25);

/// The client of a replica. It is replaced when the replica restarts on another port.
#[derive(Clone)]
pub struct ReplicaClient(Arc<Mutex<Channel>>);

impl ReplicaClient {
    pub fn new(channel: Channel) -> Self {
        Self(Arc::new(Mutex::new(channel)))
    }

    pub fn set(&self, channel: Channel) {
        *self.0.lock().expect("unpoisoned") = channel;
    }

    pub fn get(&self) -> Client {
        Client(KeyServiceClient::new(self.channel()))
    }

    pub fn accounts(&self) -> AccountServiceClient<Channel> {
        AccountServiceClient::new(self.channel())
    }

    pub fn domains(&self) -> Domains {
        Domains(DomainServiceClient::new(self.channel()))
    }

    fn channel(&self) -> Channel {
        self.0.lock().expect("unpoisoned").clone()
    }
}

/// The keys that are changed, by the number of the subject.
#[derive(Default)]
struct ChangingKeys {
    states: Subjects<KeyState>,
    keys: Mutex<Vec<Arc<changes::ChangingKey>>>,
    decided: Mutex<BTreeMap<Decided, u64>>,
}

pub struct Load {
    replica_clients: Vec<ReplicaClient>,
    pub history: History,
    domains: Subjects<Coverage>,
    changing_keys: ChangingKeys,
    /// The token of a key that is not restricted to a domain.
    unrestricted: KnownKey,
    pub tally: Tally,
    next_key: AtomicUsize,
    keys: Mutex<Keys>,
    stop: CancellationToken,
    clients: TaskTracker,
}

impl Load {
    /// No fault may be present yet.
    pub async fn start(replica_clients: Vec<ReplicaClient>, random: &mut StdRng) -> Arc<Self> {
        let added = replica_clients[0].domains().add(ACCOUNT, DOMAIN).await;
        added.expect("added");
        let unrestricted = replica_clients[0].get().create_key().await;
        let load = Arc::new(Self {
            replica_clients,
            history: History::start(),
            domains: Subjects::default(),
            changing_keys: ChangingKeys::default(),
            unrestricted: KnownKey {
                number: KeyNumber::MAX,
                token: unrestricted.0,
                key_id: unrestricted.1,
            },
            tally: Tally::default(),
            next_key: AtomicUsize::new(0),
            keys: Mutex::default(),
            stop: CancellationToken::new(),
            clients: TaskTracker::new(),
        });
        for replica in 0..load.replica_clients.len() {
            for _ in 0..AUTHORIZERS {
                let random = StdRng::seed_from_u64(random.random());
                let client = load.clone().authorize_until_stopped(replica, random);
                load.clients.spawn(client);
            }
        }
        for replica in 0..load.replica_clients.len() {
            let mut fork = || StdRng::seed_from_u64(random.random());
            let (domains, keys) = (load.clone(), load.clone());
            for _ in 0..STREAM_AUTHORIZERS {
                let ask = load.clone().ask_on_streams_until_stopped(replica, fork());
                load.clients.spawn(ask);
            }
            let ask = domains.ask_for_domains_until_stopped(replica, fork());
            load.clients.spawn(ask);
            let ask = keys.ask_for_changing_keys_until_stopped(replica, fork());
            load.clients.spawn(ask);
        }
        for _ in 0..DOMAIN_WRITERS {
            let random = StdRng::seed_from_u64(random.random());
            load.clients
                .spawn(load.clone().write_domains_until_stopped(random));
        }
        for _ in 0..KEY_CHANGERS {
            let random = StdRng::seed_from_u64(random.random());
            load.clients
                .spawn(load.clone().change_keys_until_stopped(random));
        }
        for _ in 0..WRITERS {
            let random = StdRng::seed_from_u64(random.random());
            load.clients.spawn(load.clone().write_until_stopped(random));
        }
        load
    }

    /// Stops the clients and waits for the calls in flight.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.clients.close();
        self.clients.wait().await;
    }

    async fn authorize_until_stopped(self: Arc<Self>, replica: usize, mut random: StdRng) {
        while !self.stop.is_cancelled() {
            let key = self.keys().pick(&mut random);
            let answered = match key {
                Some(key) => self.authorize(replica, &key).await.is_some(),
                None => false,
            };
            let longest = if answered {
                AUTHORIZE_PAUSE
            } else {
                LONG_PAUSE
            };
            pause(longest, &mut random).await;
        }
    }

    async fn write_until_stopped(self: Arc<Self>, mut random: StdRng) {
        while !self.stop.is_cancelled() {
            let key = self.keys().take_to_revoke(&mut random);
            let written = match key {
                Some(key) => self.revoke(key, &mut random).await,
                None => self.create(&mut random).await,
            };
            if let Some(key) = written {
                self.authorize_everywhere(&key);
            }
            pause(LONG_PAUSE, &mut random).await;
        }
    }

    /// Authorizes a key on every replica just after a write, when an error is most likely.
    fn authorize_everywhere(self: &Arc<Self>, key: &Arc<KnownKey>) {
        self.keys().mark_recent(key.clone());
        for replica in 0..self.replica_clients.len() {
            let (load, key) = (self.clone(), key.clone());
            self.clients
                .spawn(async move { load.authorize(replica, &key).await });
        }
    }

    async fn create(&self, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        let replica = random.random_range(0..self.replica_clients.len());
        let request = with_random_timeout(
            CreateRequest {
                account_id: ACCOUNT.to_owned(),
                name: "under faults".to_owned(),
                ..Default::default()
            },
            random,
        );
        let number = self.next_key.fetch_add(1, Ordering::Relaxed);
        let mut client = self.replica_clients[replica].get();
        let write = self.history.start_write(number, Change::Create, replica);
        match client.0.create(request).await {
            Ok(response) => {
                let took = self.history.finish_write(&write);
                self.tally.count(|counts| {
                    counts.writes += 1;
                    counts.longest_create = counts.longest_create.max(took);
                });
                let response = response.into_inner();
                let key = Arc::new(KnownKey {
                    number,
                    key_id: response.key.expect("a key").key_id,
                    token: response.token,
                });
                self.keys().add(key.clone());
                Some(key)
            }
            Err(status) => {
                self.count_doubtful_write("Create", number, replica, &status);
                None
            }
        }
    }

    /// Repeats the call until it returns OK, as the documentation says. Sometimes it gives up.
    async fn revoke(&self, key: Arc<KnownKey>, random: &mut StdRng) -> Option<Arc<KnownKey>> {
        loop {
            let replica = random.random_range(0..self.replica_clients.len());
            let request = with_random_timeout(
                RevokeRequest {
                    target: Some(Target::KeyId(key.key_id.clone())),
                    account_id: None,
                },
                random,
            );
            let mut client = self.replica_clients[replica].get();
            let write = self
                .history
                .start_write(key.number, Change::Revoke, replica);
            match client.0.revoke(request).await {
                Ok(_) => {
                    let took = self.history.finish_write(&write);
                    self.tally.count(|counts| {
                        counts.writes += 1;
                        counts.longest_revoke = counts.longest_revoke.max(took);
                    });
                    return Some(key);
                }
                Err(status) => self.count_doubtful_write("Revoke", key.number, replica, &status),
            }
            if self.stop.is_cancelled() || random.random_bool(0.1) {
                return None;
            }
            pause(LONG_PAUSE, random).await;
        }
    }

    /// Counts a write of something else than the keys of the history. `None` if the call had no answer.
    fn count_write<T>(&self, call: &str, replica: usize, answer: Result<T, Status>) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.tally.count(|counts| counts.writes += 1);
                Some(answer)
            }
            Err(status) => {
                self.count_doubtful_write(call, KeyNumber::MAX, replica, &status);
                None
            }
        }
    }

    fn count_doubtful_write(&self, call: &str, key: KeyNumber, replica: usize, status: &Status) {
        self.tally.count(|counts| counts.writes_in_doubt += 1);
        self.check_status(call, key, replica, status);
    }

    async fn authorize(&self, replica: usize, key: &KnownKey) -> Option<Answer> {
        let (decision, (start, _)) = self.ask(replica, key.number, &key.token, DOMAIN).await?;
        let answer = self.read_decision(key, replica, &decision)?;
        self.history
            .record_authorize(key.number, replica, start, answer);
        self.count_decision(answer == Answer::Granted);
        Some(answer)
    }

    /// Calls Authorize. Gives the decision, and when the call began and ended.
    async fn ask(
        &self,
        replica: usize,
        key: KeyNumber,
        token: &str,
        domain: &str,
    ) -> Option<(Decision, (Duration, Duration))> {
        let mut request = Request::new(AuthorizeRequest {
            token: token.to_owned(),
            domain: domain.to_owned(),
        });
        request.set_timeout(LONG_TIMEOUT);
        let mut client = self.replica_clients[replica].get();
        let start = self.history.now();
        let answer = client.0.authorize(request).await;
        let end = self.history.now();
        match answer {
            Ok(response) => {
                let decision = response.into_inner().decision.expect("a decision");
                Some((decision, (start, end)))
            }
            Err(status) => {
                self.count_missing_answer("Authorize", key, replica, &status);
                None
            }
        }
    }

    fn count_decision(&self, is_granted: bool) {
        self.tally.count(|counts| match is_granted {
            true => counts.grants += 1,
            false => counts.denials += 1,
        });
    }

    fn count_missing_answer(&self, call: &str, key: KeyNumber, replica: usize, status: &Status) {
        let lapsed = error_reason(status).as_deref() == Some("LEASE_LAPSED");
        self.tally.count(|counts| {
            counts.unavailable += 1;
            counts.lapsed += u64::from(lapsed);
        });
        self.check_status(call, key, replica, status);
    }

    fn read_decision(&self, key: &KnownKey, replica: usize, decision: &Decision) -> Option<Answer> {
        match decision {
            Decision::Grant(grant) if grant.key_id == key.key_id => return Some(Answer::Granted),
            Decision::Grant(_) => {}
            Decision::Denial(denial) => match denial.reason() {
                Reason::Revoked => return Some(Answer::Revoked),
                Reason::UnknownToken => return Some(Answer::Unknown),
                _ => {}
            },
        }
        let (number, key_id) = (key.number, &key.key_id);
        self.history.record_wrong_answer(format!(
            "replica {replica} answers Authorize of key {number}, {key_id}, with {decision:?}"
        ));
        None
    }

    /// Records a wrong answer if a call failed with a status that no fault explains.
    fn check_status(&self, call: &str, key: KeyNumber, replica: usize, status: &Status) {
        let is_transport_error = status.source().is_some();
        let is_expected = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
        );
        if !is_transport_error && !is_expected {
            self.history.record_wrong_answer(format!(
                "replica {replica} answers {call} of key {key} with {status:?}"
            ));
        }
    }

    /// Compares all replicas with the history, after all clients and all faults have ended.
    pub async fn violations_at_the_end(&self) -> Vec<Violation> {
        let verdicts = self.verdicts().await;
        let mut violations = self.history.check_end(&verdicts, self.history.now());
        violations.extend(self.domain_violations_at_the_end().await);
        violations.extend(self.key_violations_at_the_end().await);
        violations
    }

    /// What Authorize and List answer for every key on every replica.
    async fn verdicts(&self) -> Vec<Verdict> {
        let keys = self.keys().all().to_vec();
        let mut verdicts = Vec::new();
        for replica in 0..self.replica_clients.len() {
            let listed = self.list(replica).await;
            for key in &keys {
                let mut answer = None;
                eventually("the replica answers", async || {
                    answer = self.authorize(replica, key).await;
                    answer.is_some()
                })
                .await;
                let answer = answer.expect("there is an answer");
                let listed = match listed.get(&key.key_id) {
                    None => Answer::Unknown,
                    Some(key) if key.status() == key::Status::Active => Answer::Granted,
                    Some(_) => Answer::Revoked,
                };
                for (call, answer) in [("Authorize", answer), ("List", listed)] {
                    verdicts.push(Verdict {
                        key: key.number,
                        source: format!("{call} on replica {replica}"),
                        answer,
                    });
                }
            }
        }
        verdicts
    }

    async fn list(&self, replica: usize) -> HashMap<String, Key> {
        let mut client = self.replica_clients[replica].get();
        let mut request = ListRequest {
            account_id: ACCOUNT.to_owned(),
            page_size: 1000,
            ..Default::default()
        };
        let mut listed = HashMap::new();
        loop {
            let page = client.list_with(request.clone()).await;
            let page = page.expect("all faults have ended");
            listed.extend(page.keys.into_iter().map(|key| (key.key_id.clone(), key)));
            if page.next_page_token.is_empty() {
                return listed;
            }
            request.page_token = page.next_page_token;
        }
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, Keys> {
        self.keys.lock().expect("unpoisoned")
    }
}

fn with_random_timeout<T>(message: T, random: &mut StdRng) -> Request<T> {
    let mut request = Request::new(message);
    let little = random.random_bool(0.1);
    request.set_timeout(if little { SHORT_TIMEOUT } else { LONG_TIMEOUT });
    request
}

async fn pause(longest: Duration, random: &mut StdRng) {
    tokio::time::sleep(longest.mul_f64(random.random())).await;
}
