//! Acknowledged writes survive `kill -9` of the service and of PostgreSQL.

mod batches;
mod changes;
mod domains;
mod keys;

use crate::support::{
    eventually,
    postgres::Cluster,
    server::{Server, command, sqlite_in},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;

const ACCOUNT: &str = "acme";
const ROUNDS: usize = 3;
/// So many that their writes share commits.
const WRITERS: usize = 16;

/// Clients that write until a call fails, and what they know of their writes.
trait Ledger: Clone + Send + 'static {
    /// Before anything is killed.
    async fn prepare(server: &Server) -> Self;

    /// Starts one client.
    async fn start_writer(&self, server: &Server, rng: StdRng, writers: &mut JoinSet<()>);

    /// How many writes the clients know of.
    fn len(&self) -> usize;

    /// Checks that what was acknowledged stands, and that Authorize decides by the store.
    async fn check(&self, server: &Server, store: &str);
}

async fn kill_the_server_on_sqlite_while_it_writes<L: Ledger>() {
    let directory = tempfile::tempdir().expect("a directory");
    kill_the_server_while_it_writes::<L>(&sqlite_in(&directory)).await;
}

async fn kill_the_server_on_postgres_while_it_writes<L: Ledger>() {
    let cluster = Cluster::shared();
    kill_the_server_while_it_writes::<L>(&cluster.create_database()).await;
}

async fn kill_the_server_while_it_writes<L: Ledger>(store: &str) {
    let mut rng = seeded_random();
    let mut server = start(store).await;
    let ledger = L::prepare(&server).await;
    for _ in 0..ROUNDS {
        let writers = write_until_a_call_fails(&ledger, &server, &mut rng).await;
        server.kill().await;
        writers.join_all().await;
        server = start(store).await;
        ledger.check(&server, store).await;
    }
}

async fn kill_postgres_under_a_running_server<L: Ledger>() {
    let mut rng = seeded_random();
    let mut cluster = Cluster::start();
    let store = cluster.create_database();
    let server = start(&store).await;
    let ledger = L::prepare(&server).await;
    for _ in 0..ROUNDS {
        let writers = write_until_a_call_fails(&ledger, &server, &mut rng).await;
        cluster.kill();
        writers.join_all().await;
        cluster.restart();
        ledger.check(&server, &store).await;
    }
}

/// Starts the clients, and waits until they have written some.
async fn write_until_a_call_fails<L: Ledger>(
    ledger: &L,
    server: &Server,
    rng: &mut StdRng,
) -> JoinSet<()> {
    let before = ledger.len();
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let rng = StdRng::seed_from_u64(rng.random());
        ledger.start_writer(server, rng, &mut writers).await;
    }
    let count = rng.random_range(10..60);
    eventually("the clients write", async || ledger.len() >= before + count).await;
    writers
}

async fn start(store: &str) -> Server {
    Server::start_command(command(store).env_remove("KEYSERVICE_VERIFIED_DOMAINS")).await
}

fn seeded_random() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}
