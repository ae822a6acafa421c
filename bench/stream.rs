//! Measures decisions a second on `AuthorizeStream`, and the time that a lone question takes there and as an
//! Authorize.
//!
//! `cargo bench --bench stream -- [KEYS]`
//!
//! The service runs on one core, and the client on another. It writes questions that were encoded before, and of
//! the answers it reads only their lengths and that each is a grant. The columns *busy* say which of the two was
//! the bottleneck. The yardstick is an empty call to a server with tonic alone, in the same run.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used
)]

#[path = "bare.rs"]
mod bare;
#[path = "../tests/support/mod.rs"]
mod support;
#[path = "stream/wire.rs"]
mod wire;

use keyservice::{
    model::{
        key::KeyId,
        time::Timestamp,
        token::{Digester, Token},
    },
    store::sqlite::SqliteStore,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use support::{
    directory,
    server::{Server, process::Process, serve, sqlite_in},
};
use tempfile::TempDir;
use wire::{Called, Connection, Questions};

const FEW_KEYS: usize = 1000;
const KEYS_OF_AN_ACCOUNT: usize = 10;
const TIME: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
const SERVICE_CORE: &str = "0";
const CLIENT_CORE: &str = "1";

/// How many questions of a stream are not answered yet. More would wait for HTTP/2's window.
const DEPTH: usize = 256;

/// With this first argument, the program serves as the bare server.
const BARE: &str = "bare";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(BARE) {
        let directory = std::env::args().nth(2).expect("a directory");
        return bare::serve(Path::new(&directory)).expect("it serves");
    }
    measure_all();
}

#[tokio::main]
async fn measure_all() {
    // Threads that are started later run there too.
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-cp", CLIENT_CORE, &own])
        .output();
    assert!(pinned.expect("taskset runs").status.success());
    let many: Option<usize> = std::env::args().find_map(|argument| argument.parse().ok());
    println!(
        "\n| keys | asked | a second | each round | CPU µs each | service busy | client busy |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|");
    let bare = Bare::start();
    for keys in [FEW_KEYS, many.unwrap_or(1_000_000)] {
        measure(keys, &bare).await;
    }
}

/// The bare server, on the core of the service.
struct Bare {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl Bare {
    fn start() -> Self {
        let directory = directory();
        let mut process = Command::new("taskset")
            .args(["-c", SERVICE_CORE])
            .arg(std::env::current_exe().expect("a path"))
            .arg(BARE)
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset runs");
        let mut addresses = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output)
            .read_line(&mut addresses)
            .expect("two addresses");
        let plain: SocketAddr = addresses.split(' ').next().unwrap().parse().unwrap();
        Self {
            process,
            port: plain.port(),
            _directory: directory,
        }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn measure(keys: usize, bare: &Bare) {
    let directory = directory();
    let tokens = seed(&directory.path().join("keys.db"), keys);
    let mut service = Command::new("taskset");
    let program = serve();
    service
        .args(["-c", SERVICE_CORE])
        .arg(program.get_program());
    service.args([
        "serve",
        "--listen=127.0.0.1:0",
        "--log-format=json",
        "--store",
    ]);
    service.arg(sqlite_in(&directory));
    let server = Server::start_command(&mut service).await;
    let questions = Arc::new(Questions::new(&tokens));
    let service = (server.pid(), server.port());
    for streams in [1, 8] {
        let ask = |mut connection: Connection, questions: &Questions, until| {
            connection.ask_until(questions, DEPTH, until)
        };
        let what = format!("{streams} streams, {DEPTH} questions ahead");
        report(service, keys, &what, streams, &questions, ask);
    }
    for (what, server, called) in [
        ("8 × 32 Authorize", service, Called::Authorize),
        (
            "8 × 32 bare, empty call",
            (bare.process.id(), bare.port),
            Called::Empty,
        ),
    ] {
        let call = move |mut connection: Connection, questions: &Questions, until| {
            connection.call_until(questions, called, 32, until)
        };
        report(server, keys, what, 8, &questions, call);
    }
    let ask = |mut connection: Connection, questions: &Questions, until| {
        connection.ask_until(questions, 1, until)
    };
    report(service, keys, "a lone question", 1, &questions, ask);
    let call = |mut connection: Connection, questions: &Questions, until| {
        connection.call_until(questions, Called::Authorize, 1, until)
    };
    report(service, keys, "a lone Authorize", 1, &questions, call);
}

/// Runs `ask` on so many connections at once, and prints a row.
fn report(
    (pid, port): (u32, u16),
    keys: usize,
    what: &str,
    connections: usize,
    questions: &Arc<Questions>,
    ask: impl Fn(Connection, &Questions, Instant) -> u64 + Send + Clone + 'static,
) {
    let mut rates = Vec::new();
    let (mut count, mut took, mut busy) = (0, 0.0, [0.0, 0.0]);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let before = [cpu_seconds(pid), cpu_seconds(std::process::id())];
        let clients = (0..connections).map(|_| {
            let connection = Connection::open(port);
            let (ask, questions) = (ask.clone(), questions.clone());
            thread::spawn(move || ask(connection, &questions, began + TIME))
        });
        let clients: Vec<_> = clients.collect();
        let answered: u64 = clients.into_iter().map(|it| it.join().unwrap()).sum();
        let seconds = began.elapsed().as_secs_f64();
        let after = [cpu_seconds(pid), cpu_seconds(std::process::id())];
        rates.push(answered as f64 / seconds);
        count += answered;
        took += seconds;
        for at in 0..2 {
            busy[at] += after[at] - before[at];
        }
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "| {keys} | {what} | {:.0} | {:.0}–{:.0} | {:.3} | {:.0} % | {:.0} % |",
        rates[ROUNDS / 2],
        rates[0],
        rates[ROUNDS - 1],
        busy[0] / count as f64 * 1e6,
        busy[0] / took * 100.0,
        busy[1] / took * 100.0
    );
}

/// Of all threads, those that have ended too.
fn cpu_seconds(pid: u32) -> f64 {
    Process(pid).cpu_time().as_secs_f64()
}

/// Makes a store with so many keys, each for all verified domains of its account, which has one. For each key, in
/// random order, gives its token and a domain for which the token is granted.
fn seed(path: &Path, keys: usize) -> Vec<(String, String)> {
    drop(SqliteStore::open(path, &Digester::new(None)).expect("it opens"));
    let (mut rng, digester, now) = (
        StdRng::seed_from_u64(1),
        Digester::new(None),
        Timestamp::now(),
    );
    let mut store = rusqlite::Connection::open(path).unwrap();
    store.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let store = store.transaction().unwrap();
    let accounts = keys / KEYS_OF_AN_ACCOUNT;
    let (mut revision, micros) = (0_i64, now.as_micros());
    let name = |account| {
        (
            format!("account-{account}"),
            format!("customer-{account}.example"),
        )
    };
    {
        let mut domains = store
            .prepare("INSERT INTO domains VALUES (?1, ?2, 0, ?3, ?3, NULL, ?4)")
            .unwrap();
        let sql =
            "INSERT INTO writes (revision, write_time, account_id, domain) VALUES (?, ?, ?, ?)";
        let mut writes = store.prepare(sql).unwrap();
        for account in 0..accounts {
            revision += 1;
            let (account, domain) = name(account);
            domains
                .execute((&account, &domain, micros, revision))
                .unwrap();
            writes
                .execute((revision, micros, &account, &domain))
                .unwrap();
        }
    }
    let mut tokens = Vec::new();
    {
        let sql = "INSERT INTO keys (key_id, digest, account_id, name, preview, create_time, \
                   create_revision, revision) VALUES (?1, ?2, ?3, 'bench', 'tsend_ab…wxyz', ?4, ?5, ?5)";
        let mut insert = store.prepare(sql).unwrap();
        let sql = "INSERT INTO writes (revision, write_time, key_id) VALUES (?, ?, ?)";
        let mut writes = store.prepare(sql).unwrap();
        for _ in 0..keys {
            revision += 1;
            let token = Token::generate(&mut rng);
            let id = KeyId::new(now, &rng.random()).as_uuid().as_bytes().to_vec();
            let (account, domain) = name(rng.random_range(0..accounts));
            let digest = digester.digest(&token);
            insert
                .execute((&id, digest.as_bytes(), &account, micros, revision))
                .unwrap();
            writes.execute((revision, micros, &id)).unwrap();
            tokens.push((token.expose().to_owned(), domain));
        }
    }
    store.commit().unwrap();
    tokens.shuffle(&mut rng);
    tokens
}
