//! A PostgreSQL primary with a standby that every commit waits for, so that a failover loses none.

use crate::support::postgres::{Cluster, proxy::Proxy};
use std::time::{Duration, Instant};

pub struct ReplicatedCluster {
    primary: Cluster,
    /// None from its promotion until it has a standby of its own.
    standby: Option<Cluster>,
    /// What the standby reaches its primary through.
    pub replication: Proxy,
}

impl ReplicatedCluster {
    pub async fn start(seed: u64) -> Self {
        let primary = Cluster::start();
        // The standby's wait for a primary that restarts; 5 s by default.
        primary.set("wal_retrieve_retry_interval", "500ms");
        // What a standby may lag behind, and more than any run of the tests writes in that time.
        primary.set("wal_keep_size", "256MB");
        let mut cluster = Self {
            replication: Proxy::to(primary.port(), seed).await,
            primary,
            standby: None,
        };
        cluster.add_standby();
        cluster
    }

    /// The server that takes writes, or will once it is restarted or promoted.
    pub fn primary(&self) -> &Cluster {
        &self.primary
    }

    /// The one that every commit waits for.
    pub fn standby(&self) -> &Cluster {
        self.standby.as_ref().expect("it has a standby")
    }

    /// Gives the primary a standby, unless it has one. From then on what is acknowledged is on the
    /// disks of both.
    pub fn add_standby(&mut self) {
        if self.standby.is_some() {
            return;
        }
        self.replication.lead_to(self.primary.port());
        self.standby = Some(Cluster::standby_through(self.replication.port()));
        self.primary.set("synchronous_standby_names", "*");
        // The checkpointer is who makes the other processes' commits wait. It reads its settings
        // anew before it does anything else.
        self.primary.psql("postgres", "CHECKPOINT");
        self.wait_until("sync_state = 'sync' AND flush_lsn");
    }

    /// Waits until the standby shows what the primary shows.
    pub fn wait_until_replayed(&self) {
        self.wait_until("replay_lsn");
    }

    /// Waits until a place that the standby reports has come as far as the primary is now.
    fn wait_until(&self, place: &str) {
        let primary = |sql: &str| self.primary.psql("postgres", sql);
        let written = primary("SELECT pg_current_wal_lsn()");
        let came = format!("SELECT count(*) FROM pg_stat_replication WHERE {place} >= '{written}'");
        let started = Instant::now();
        while primary(&came) != "1" {
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

    /// Whether what the primary writes waits on its way to the standby.
    pub fn hold_replication(&self, hold: bool) {
        self.replication
            .change_weather(|weather| weather.holds = hold);
    }

    /// Kills the primary for good. The standby takes its place, and takes no writes until
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
