//! Imitates a replica of an earlier release, by its migrations and its statements.

use crate::support::{
    eventually,
    postgres::{
        Cluster, database_in,
        roles::{create_role_without_rights, grants, role_in},
        session,
    },
    server::Server,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::time::interval;
use tokio_postgres::{Client, Row, Statement, error::SqlState, types::ToSql};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

const MIGRATIONS: [&str; 8] = [
    include_str!("../../../../src/store/postgres/migrations/0001_keys.sql"),
    include_str!("../../../../src/store/postgres/migrations/0002_replicas.sql"),
    include_str!("../../../../src/store/postgres/migrations/0003_audit.sql"),
    include_str!("../../../../src/store/postgres/migrations/0004_shared_database.sql"),
    include_str!("../../../../src/store/postgres/migrations/0005_hardening.sql"),
    include_str!("../../../../src/store/postgres/migrations/0006_audit_checks.sql"),
    include_str!("../../../../src/store/postgres/migrations/0007_domains.sql"),
    include_str!("../../../../src/store/postgres/migrations/0008_domain_reports.sql"),
];

/// Creates the tables of a release by its first migrations.
pub fn create_tables(cluster: &Cluster, database: &str, count: usize) {
    let table = format!(
        "CREATE SCHEMA keyservice; CREATE TABLE keyservice.migrations ( \
         number integer PRIMARY KEY, name text NOT NULL, apply_time timestamptz NOT NULL DEFAULT now()); \
         INSERT INTO keyservice.migrations SELECT n, '' FROM generate_series(1, {count}) n"
    );
    cluster.psql(database, &table);
    for sql in &MIGRATIONS[..count] {
        cluster.psql(database, sql);
    }
}

/// How often the old replica renews, and how long its lease is.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(20);
const LEASE: Duration = Duration::from_secs(2);

/// The statements of a release, which its sessions have prepared.
pub struct Release {
    /// With the number of the renewal, and the revision and the id of the last write.
    pub renew: &'static str,
    /// The columns of that statement that give the last write.
    pub head: (&'static str, &'static str),
    /// Each gives the revision and the id of what it wrote, or no row.
    pub writes: &'static [&'static str],
    /// Whether a write is lost.
    pub lost: &'static str,
}

/// How often a session had to be replaced, because a migration had changed the columns that a statement of
/// its gives. The store closes such a session and tries again with another.
#[derive(Debug, PartialEq, Eq)]
pub struct Outdated(pub u64);

/// What PostgreSQL says of it: the columns differ from those of the prepared statement, or from its plan.
const OUTDATED: [SqlState; 2] = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::DATATYPE_MISMATCH];

/// A server of this release, whose start has migrated the tables of an earlier one, and a replica of that
/// release, which goes on.
pub struct Upgrade {
    pub cluster: Arc<Cluster>,
    pub store: String,
    /// The address of the old replica, with the rights of its release and of this one.
    pub address: String,
    pub old: Arc<OldReplica>,
    pub server: Server,
}

impl Upgrade {
    /// Creates the tables by the first migrations, so many. `rights` is what `keyservice grants` of that release
    /// prints, for the role `{}`.
    pub async fn from(migrations: usize, rights: &str, release: &'static Release) -> Self {
        let cluster = Cluster::shared();
        let store = cluster.create_database();
        create_tables(&cluster, database_in(&store), migrations);
        let address = create_role_without_rights("service", &cluster, &store);
        let role = role_in(&address);
        cluster.psql(database_in(&store), &rights.replace("{}", &role));
        let old = OldReplica::start(&address, release).await;
        old.go_on().await;

        let server = Server::start(&store).await;
        old.go_on().await;
        cluster.psql(database_in(&store), &grants(&role, "service", &store));
        old.go_on().await;
        Self {
            cluster,
            store,
            address,
            old,
            server,
        }
    }

    pub fn psql(&self, sql: &str) -> String {
        self.cluster.psql(database_in(&self.store), sql)
    }
}

/// Four tasks of the replica.
pub struct OldReplica {
    release: &'static Release,
    address: String,
    renewals: AtomicU64,
    writes: AtomicU64,
    applied: AtomicU64,
    outdated: AtomicU64,
    longest_pause: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl OldReplica {
    async fn start(address: &str, release: &'static Release) -> Arc<Self> {
        let replica = Arc::new(Self {
            release,
            address: address.to_owned(),
            renewals: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            outdated: AtomicU64::new(0),
            longest_pause: AtomicU64::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        replica.tasks.spawn(replica.clone().renew_until_stopped());
        for _ in 0..3 {
            replica.tasks.spawn(replica.clone().write_until_stopped());
        }
        replica
    }

    /// The last revision that it has certified.
    pub fn applied(&self) -> u64 {
        self.applied.load(Relaxed)
    }

    /// Panics at the first error, as everything here does.
    async fn renew_until_stopped(self: Arc<Self>) {
        let (renew, head) = (self.release.renew, self.release.head);
        let mut session = Session::open(&self, vec![renew]).await;
        let (mut revision, mut write_id) = (0_i64, Uuid::from_u128(1));
        let (mut ticks, mut renewed) = (interval(RENEWAL_INTERVAL), Instant::now());
        for renewal in 1_i64.. {
            ticks.tick().await;
            for row in session.query(0, &[&renewal, &revision, &write_id]).await {
                assert!(row.get::<_, bool>(0), "the history is another one");
                if let Some(last) = row.get(head.0) {
                    (revision, write_id) = (last, row.get(head.1));
                }
            }
            let pause = renewed.elapsed().as_millis() as u64;
            renewed = Instant::now();
            self.longest_pause.fetch_max(pause, Relaxed);
            self.applied.store(revision.unsigned_abs(), Relaxed);
            self.renewals.fetch_add(1, Relaxed);
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    async fn write_until_stopped(self: Arc<Self>) {
        let writes = self.release.writes;
        let mut session = Session::open(&self, writes.to_vec()).await;
        let mut lost = Session::open(&self, vec![self.release.lost]).await;
        for write in (0..writes.len()).cycle() {
            for written in session.query(write, &[]).await {
                let (revision, write_id): (i64, Uuid) = (written.get(0), written.get(1));
                let looked = lost.query(0, &[&vec![revision], &vec![write_id]]).await;
                assert!(looked[0].get::<_, Vec<i64>>("lost").is_empty());
                self.writes.fetch_add(1, Relaxed);
            }
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// Until all that was begun before this has been done, and some more.
    pub async fn go_on(&self) {
        let (renewals, writes) = (self.renewals.load(Relaxed), self.writes.load(Relaxed));
        eventually("the old replica renews and writes", async || {
            assert_eq!(self.tasks.len(), 4, "a session has failed");
            self.renewals.load(Relaxed) > renewals + 5 && self.writes.load(Relaxed) > writes + 20
        })
        .await;
    }

    /// Stops it without a farewell, so that its last lease lapses. It has held one all the time.
    pub async fn stop(&self) -> Outdated {
        self.stop.cancel();
        self.tasks.close();
        assert_eq!(self.tasks.len(), 4, "a session has failed");
        self.tasks.wait().await;
        let longest_pause = Duration::from_millis(self.longest_pause.load(Relaxed));
        assert!(longest_pause < LEASE / 2, "{longest_pause:?}");
        Outdated(self.outdated.load(Relaxed))
    }
}

/// A session with its prepared statements.
struct Session {
    replica: Arc<OldReplica>,
    client: Client,
    texts: Vec<&'static str>,
    statements: Vec<Statement>,
}

impl Session {
    async fn open(replica: &Arc<OldReplica>, texts: Vec<&'static str>) -> Self {
        let client = session(&replica.address).await;
        let mut statements = Vec::new();
        for sql in &texts {
            statements.push(client.prepare(sql).await.expect("prepared"));
        }
        Self {
            replica: replica.clone(),
            client,
            texts,
            statements,
        }
    }

    async fn query(&mut self, statement: usize, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        let answer = self.client.query(&self.statements[statement], values).await;
        match answer {
            Err(error) if error.code().is_some_and(|code| OUTDATED.contains(code)) => {
                self.replica.outdated.fetch_add(1, Relaxed);
                *self = Self::open(&self.replica, self.texts.clone()).await;
                let answer = self.client.query(&self.statements[statement], values).await;
                answer.expect("answered")
            }
            answer => answer.expect("answered"),
        }
    }
}
