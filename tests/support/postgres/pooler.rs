//! `PgBouncer` in front of a cluster. Older than 1.21, or told so, it keeps no prepared statements.

use super::{Cluster, NOBODY, address, as_server_user, free_port, is_running_as_root, signal};
use crate::support::tools::pgbouncer;
use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SETTINGS: &str = "pgbouncer.ini";

pub struct Pooler {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Pooler {
    /// Starts in a mode (`session` or `transaction`), with up to this many connections to a database.
    pub fn start(cluster: &Cluster, mode: &str, connections: usize) -> Self {
        let directory = crate::support::directory();
        let port = free_port();
        let path = directory.path().join(SETTINGS);
        let (program, libraries) = pgbouncer();
        let keeps_none = if knows_prepared_statements(&program, &libraries) {
            "max_prepared_statements = 0\n"
        } else {
            ""
        };
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=keyservice\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {connections}\n\
             max_client_conn = 200\n{keeps_none}",
            cluster.port()
        );
        fs::write(&path, settings).expect("a file");
        if is_running_as_root() {
            for path in [directory.path(), &path] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
            }
        }
        let mut command = as_server_user(&program, directory.path());
        let process = command
            .env("LD_LIBRARY_PATH", libraries)
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pgbouncer runs");
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "no pooler");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            process,
            port,
            directory,
        }
    }

    /// Makes it work in transaction mode from now on.
    pub fn share_sessions(&self) {
        let path = self.directory.path().join(SETTINGS);
        let settings = fs::read_to_string(&path).expect("a file");
        let settings = settings.replace("pool_mode = session", "pool_mode = transaction");
        fs::write(&path, settings).expect("a file");
        signal("HUP", &[self.process.id()]);
    }

    /// The address of a database behind the pooler.
    pub fn address_of(&self, database: &str) -> String {
        address(self.port, database)
    }
}

/// Since version 1.21. An older one refuses the setting.
fn knows_prepared_statements(program: &Path, libraries: &str) -> bool {
    let mut command = Command::new(program);
    let told = command.arg("--version").env("LD_LIBRARY_PATH", libraries);
    let told = told.output().expect("pgbouncer runs").stdout;
    let told = String::from_utf8(told).expect("UTF-8");
    let minor = told
        .strip_prefix("PgBouncer 1.")
        .and_then(|rest| rest.split('.').next());
    minor.is_none_or(|minor| minor.parse::<u32>().is_ok_and(|minor| minor >= 21))
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
