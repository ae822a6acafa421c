//! A PostgreSQL primary with a synchronous standby. Every commit waits for the standby, so a failover
//! loses no acknowledged write.

use crate::support::postgres::{Cluster, proxy::Proxy};
use std::time::{Duration, Instant};

pub struct ReplicatedCluster {
    primary: Cluster,
    /// `None` after a failover, until the new primary has a standby.
    standby: Option<Cluster>,
    /// The proxy between the standby and the primary.
    pub replication: Proxy,
}

impl ReplicatedCluster {
    pub async fn start(seed: u64) -> Self {
        let primary = Cluster::start();
        // How long the standby waits before it connects to a restarted primary; 5 s by default.
        primary.set_setting("wal_retrieve_retry_interval", "500ms");
        // More than the tests write while the standby is behind.
        primary.set_setting("wal_keep_size", "256MB");
        let mut cluster = Self {
            replication: Proxy::start(primary.port(), seed).await,
            primary,
            standby: None,
        };
        cluster.add_standby();
        cluster
    }

    /// The server that accepts writes, or will after a restart or its promotion.
    pub fn primary(&self) -> &Cluster {
        &self.primary
    }

    /// The server that every commit waits for.
    pub fn standby(&self) -> &Cluster {
        self.standby.as_ref().expect("it has a standby")
    }

    /// Adds a standby unless there is one. From then on every acknowledged write is on both disks.
    pub fn add_standby(&mut self) {
        if self.standby.is_some() {
            return;
        }
        self.replication.set_server(self.primary.port());
        self.standby = Some(Cluster::start_standby_through(self.replication.port()));
        self.set_synchronous_standbys("*");
        self.wait_until("sync_state = 'sync' AND flush_lsn");
    }

    /// From then on a failover may lose acknowledged writes, against the advice of the documents.
    pub fn make_commits_independent_of_standby(&self) {
        self.set_synchronous_standbys("");
    }

    fn set_synchronous_standbys(&self, names: &str) {
        self.primary.set_setting("synchronous_standby_names", names);
        // Only the checkpointer makes commits wait for the standby, or not. It reloads its settings
        // before it runs a checkpoint.
        self.primary.psql("postgres", "CHECKPOINT");
    }

    /// Waits until the standby has replayed everything that the primary has written.
    pub fn wait_until_replayed(&self) {
        self.wait_until("replay_lsn");
    }

    /// Waits until a position that the standby reports has reached the primary's current position.
    fn wait_until(&self, position: &str) {
        let primary = |sql: &str| self.primary.psql("postgres", sql);
        let written = primary("SELECT pg_current_wal_lsn()");
        let reached =
            format!("SELECT count(*) FROM pg_stat_replication WHERE {position} >= '{written}'");
        let started = Instant::now();
        while primary(&reached) != "1" {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the standby does not follow: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill_primary(&mut self) {
        self.primary.kill();
    }

    pub fn restart_primary(&mut self) {
        self.primary.restart();
    }

    /// Holds back everything that the primary sends to the standby, or delivers it.
    pub fn hold_replication(&self, hold: bool) {
        self.replication
            .change_conditions(|conditions| conditions.holds_packets = hold);
    }

    /// Kills the primary for good. The standby becomes the primary, but accepts no writes before
    /// [`ReplicatedCluster::promote`].
    pub fn lose_primary(&mut self) {
        self.primary.kill();
        self.primary = self.standby.take().expect("it has a standby");
    }

    pub fn promote(&mut self) {
        self.primary.promote();
    }

    pub fn log(&self) -> String {
        let standby = self.standby.as_ref().map(Cluster::log);
        format!(
            "primary:\n{}\nstandby:\n{}",
            self.primary.log(),
            standby.unwrap_or_default()
        )
    }
}
