//! No call fails while replicas, connections and the database do. All libraries call the same replicas at the
//! same time.

use crate::{
    MACHINE, addresses,
    support::{
        certificates::{self, Authority, Issued},
        clients::{
            driver::{Driver, LIBRARIES},
            health::Health,
        },
        eventually,
        mount::Mount,
        postgres::{Cluster, steady_port},
        server::{Server, command_on},
        stores::Stores,
    },
    use_tls,
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tonic_health::pb::health_check_response::ServingStatus;

const REPLICAS: usize = 3;
const FEW_KEYS: usize = 20_000;
const MANY_KEYS: usize = 600_000;
const CALLS: usize = 3000;
const HANG: Duration = Duration::from_secs(5);
const DOMAIN: &str = "mail.example.com";
const SENDER: &str = "spiffe://test/sender";

/// How long an attempt of a library may take.
const ATTEMPT: Duration = Duration::from_millis(200);

/// How often each library asks.
const PACE: Duration = Duration::from_millis(10);

/// The libraries' deadline of 1 s, and the time in which a program of several on two cores does not come to look at its
/// clock. A call that hangs would take far longer.
const LONGEST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails() {
    no_call_fails_with(FEW_KEYS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a replica that loads so many keys needs a core for itself: tests/client-libraries runs it"]
async fn no_call_fails_with_many_keys() {
    no_call_fails_with(MANY_KEYS).await;
}

async fn no_call_fails_with(keys: usize) {
    let _alone = MACHINE.write().await;
    let mut service = Service::start(keys).await;
    // It is on the list, and no library may lose a call to it.
    let in_plain_text = Server::on_sqlite().await;
    let options = service.options(in_plain_text.port());
    let faults = Arc::<Faults>::default();
    let mut loads = Vec::new();
    for library in LIBRARIES {
        let driver = Driver::open(library, &options).await;
        assert!(driver.is_ready().await, "{library}");
        warm_up(&driver).await;
        loads.push(tokio::spawn(load(Arc::new(driver), faults.clone())));
    }

    for replica in 0..REPLICAS {
        service.restart(replica, "TERM").await;
    }
    for replica in [0, 1, 2, 0] {
        service.restart(replica, "KILL").await;
    }
    for replica in [1, 2] {
        service.replicas[replica].signal("STOP");
        sleep(HANG).await;
        service.replicas[replica].signal("CONT");
    }
    faults.database_is_away.store(true, Relaxed);
    service.restart_database().await;
    faults.database_is_away.store(false, Relaxed);
    faults.are_over.store(true, Relaxed);

    let mut reports = Vec::new();
    for load in loads {
        let report = load.await.expect("no panic");
        println!("{report:?}");
        reports.push(report);
    }
    for report in reports {
        assert!(report.calls >= CALLS, "{report:?}");
        assert!(report.failures.is_empty(), "{report:#?}");
        assert!(report.slowest < LONGEST, "{report:?}");
    }
}

/// Some languages load and compile what they need with the first calls, which takes longer than an attempt has.
async fn warm_up(driver: &Driver) {
    eventually(
        "a hundred calls in a row are answered in time",
        async || {
            for _ in 0..100 {
                let asked = Instant::now();
                let answer = driver.authorize("", DOMAIN).await;
                if !answer["denied"].is_object() || asked.elapsed() > ATTEMPT {
                    return false;
                }
            }
            true
        },
    )
    .await;
}

#[derive(Default)]
struct Faults {
    /// For longer than a lease, perhaps: calls may then be unavailable, but do not hang.
    database_is_away: AtomicBool,
    are_over: AtomicBool,
}

#[derive(Debug)]
struct Report {
    library: &'static str,
    calls: usize,
    unavailable_without_database: usize,
    slowest: Duration,
    failures: Vec<String>,
}

/// Asks at a steady pace, about a key that stays and one that was revoked, until the faults are over and there
/// were enough calls. Meanwhile it makes and revokes keys.
async fn load(driver: Arc<Driver>, faults: Arc<Faults>) -> Report {
    let kept = create(&driver).await;
    let revoked = create(&driver).await;
    revoke(&driver, &revoked).await;
    let changing = tokio::spawn(change(driver.clone(), faults.clone()));
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = Vec::new();
    while calls.len() < CALLS || !faults.are_over.load(Relaxed) {
        pace.tick().await;
        let (key, expected) = match calls.len() % 2 {
            0 => (&kept, "allowed"),
            _ => (&revoked, "denied"),
        };
        let (driver, faults, key) = (driver.clone(), faults.clone(), key.clone());
        calls.push(tokio::spawn(async move {
            ask(&driver, &faults, &key, expected).await
        }));
    }
    let mut report = Report {
        library: driver.library,
        calls: calls.len(),
        unavailable_without_database: 0,
        slowest: Duration::ZERO,
        failures: changing.await.expect("no panic"),
    };
    for call in calls {
        let (outcome, took) = call.await.expect("no panic");
        report.slowest = report.slowest.max(took);
        match outcome {
            Outcome::Right => {}
            Outcome::UnavailableWithoutDatabase => report.unavailable_without_database += 1,
            Outcome::Failed(what) => report.failures.push(what),
        }
    }
    report
}

enum Outcome {
    Right,
    UnavailableWithoutDatabase,
    Failed(String),
}

async fn ask(driver: &Driver, faults: &Faults, key: &Value, expected: &str) -> (Outcome, Duration) {
    let was_away = faults.database_is_away.load(Relaxed);
    let token = key["token"].as_str().expect("a token");
    let asked = Instant::now();
    let answer = driver.authorize(token, DOMAIN).await;
    let took = asked.elapsed();
    let is_away = was_away || faults.database_is_away.load(Relaxed);
    let outcome = if answer[expected]["key_id"] == key["key_id"] {
        Outcome::Right
    } else if is_away && answer["unavailable"].is_string() {
        Outcome::UnavailableWithoutDatabase
    } else {
        Outcome::Failed(format!("{expected}: {answer} after {took:?}"))
    };
    (outcome, took)
}

/// Creates keys, each of which counts at once, and revokes them, which counts at once, too.
async fn change(driver: Arc<Driver>, faults: Arc<Faults>) -> Vec<String> {
    let mut failures = Vec::new();
    while !faults.are_over.load(Relaxed) {
        if faults.database_is_away.load(Relaxed) {
            sleep(PACE).await;
            continue;
        }
        let key = create(&driver).await;
        let (allowed, _) = ask(&driver, &faults, &key, "allowed").await;
        revoke(&driver, &key).await;
        let (denied, _) = ask(&driver, &faults, &key, "denied").await;
        failures.extend([allowed, denied].into_iter().filter_map(|it| match it {
            Outcome::Failed(what) => Some(what),
            _ => None,
        }));
    }
    failures
}

/// Creates a key, although the answer to a first attempt may be lost, and its token with it.
async fn create(driver: &Driver) -> Value {
    loop {
        // The account of the many keys may have no more.
        let request = json!({"account_id": driver.library, "name": "a key"});
        let mut created = driver.call("create", &request).await;
        let was_lost = created["refused"]["code"] == "ALREADY_EXISTS";
        if !was_lost && !created["unavailable"].is_string() {
            assert!(
                created["created"].is_object(),
                "{}: {created}",
                driver.library
            );
            return created["created"].take();
        }
    }
}

/// Revokes a key. It may be called again after an error.
async fn revoke(driver: &Driver, key: &Value) {
    let request = json!({"key_id": key["key_id"]});
    while !driver.call("revoke", &request).await["revoked"].is_object() {}
}

/// Replicas over TLS, which know their clients by certificates.
struct Service {
    replicas: Vec<Server>,
    ports: Vec<u16>,
    cluster: Cluster,
    store: String,
    authority: Authority,
    files: Mount,
    client: Mount,
}

impl Service {
    async fn start(keys: usize) -> Self {
        let authority = Authority::new();
        let Issued {
            certificate, key, ..
        } = authority.server("localhost");
        let callers = format!("sender admin certificate={SENDER}\n");
        let files = Mount::new(&[("cert", &certificate), ("key", &key), ("callers", &callers)]);
        let sender = authority.client_by_uri(SENDER);
        let client = Mount::new(&[("cert", &sender.certificate), ("key", &sender.key)]);
        let stores = Stores::postgres_on(Arc::new(Cluster::start())).await;
        stores.insert_active_keys(keys).await;
        // The next write takes the revision behind theirs.
        let last = "INSERT INTO keyservice.writes (revision, write_time, key_id) \
                    SELECT revision, now(), key_id FROM keyservice.keys ORDER BY revision DESC LIMIT 1";
        stores.sql_without_triggers(last).await.expect("inserted");
        let (cluster, store) = stores.cluster.expect("it is PostgreSQL");
        let mut service = Self {
            replicas: Vec::new(),
            ports: (0..REPLICAS).map(|_| steady_port()).collect(),
            cluster: Arc::into_inner(cluster).expect("nobody else has it"),
            store,
            authority,
            files,
            client,
        };
        for replica in 0..REPLICAS {
            let server = service.launch(replica).await;
            service.replicas.push(server);
        }
        service
    }

    /// Returns when the replica listens, which is when it has loaded its keys.
    async fn launch(&self, replica: usize) -> Server {
        let mut command = command_on(self.ports[replica], &self.store);
        use_tls(&mut command, &self.authority, &self.files);
        command.args(["--max-connection-age", "2s"]);
        Server::start_command_listening(&mut command).await
    }

    async fn restart(&mut self, replica: usize, signal: &str) {
        let server = &mut self.replicas[replica];
        server.signal(signal);
        server.wait_for_exit().await;
        self.replicas[replica] = self.launch(replica).await;
    }

    async fn restart_database(&mut self) {
        self.cluster.kill();
        self.cluster.restart();
        for replica in &self.replicas {
            eventually("it serves again", async || {
                self.is_serving(replica.port()).await
            })
            .await;
        }
    }

    async fn is_serving(&self, port: u16) -> bool {
        let endpoint = certificates::endpoint(port, &self.authority, None);
        let mut health = Health::new(endpoint.connect_lazy());
        let status = health.try_check("tosend.keys.v1.KeyService").await;
        status == Some(ServingStatus::Serving)
    }

    fn options(&self, in_plain_text: u16) -> Value {
        json!({
            "addresses": addresses(&[&self.ports[..], &[in_plain_text]].concat()),
            "server_name": "localhost",
            "ca_file": self.authority.path(),
            "cert_file": self.client.path("cert"),
            "key_file": self.client.path("key"),
        })
    }
}
