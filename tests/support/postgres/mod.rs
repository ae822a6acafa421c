//! A temporary PostgreSQL cluster: created with `initdb`, started on a free port, and deleted when it
//! is dropped.

pub mod batch_gate;
pub mod planted;
pub mod pooler;
pub mod proxy;
pub mod replicated;
pub mod roles;
pub mod table_lock;
pub mod tls_peer;

use crate::support::{
    certificates::Issued,
    tools::{postgres_13_tool, postgres_18_tool, postgres_tool},
};
use rand::RngExt;
use std::{
    fs,
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// PostgreSQL refuses to run as root, so root runs it as this user (uid and gid of `nobody`).
pub const NOBODY: u32 = 65534;

const INITDB_ARGUMENTS: [&str; 5] = [
    "--auth=trust",
    "--username=keyservice",
    "--no-sync",
    "--encoding=UTF8",
    "--locale=C",
];

pub struct Cluster {
    directory: TempDir,
    port: u16,
    /// Finds a program of the server's version.
    tool: fn(&str) -> PathBuf,
    postmaster: Option<Child>,
    databases: AtomicU32,
}

/// The versions of PostgreSQL that the tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Version {
    /// The oldest one that the service supports. Its databases let every role create objects in the
    /// schema `public`.
    Oldest,
    /// The one that the system has.
    Installed,
    /// The newest one.
    Newest,
}

impl Version {
    pub const ALL: [Self; 3] = [Self::Oldest, Self::Installed, Self::Newest];
}

/// The clusters of [`Cluster::shared_of`], by version. Each lives while a test uses it.
static SHARED: [Mutex<Weak<Cluster>>; 3] = [const { Mutex::new(Weak::new()) }; 3];

impl Cluster {
    /// A running cluster that several tests share. They must not stop it or change its settings.
    pub fn shared() -> Arc<Self> {
        Self::shared_of(Version::Installed)
    }

    /// The same, of this version.
    pub fn shared_of(version: Version) -> Arc<Self> {
        let shared = SHARED[version as usize].lock();
        let mut shared = shared.unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start_version(version));
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// A running cluster for one test.
    pub fn start() -> Self {
        Self::start_version(Version::Installed)
    }

    /// A running cluster of this version for one test.
    pub fn start_version(version: Version) -> Self {
        let find = match version {
            Version::Oldest => postgres_13_tool,
            Version::Installed => postgres_tool,
            Version::Newest => postgres_18_tool,
        };
        Self::in_directory(find, |directory| initialise(find, directory))
    }

    /// Starts a hot standby of this cluster.
    pub fn start_standby(&self) -> Self {
        Self::start_standby_through(self.port)
    }

    /// Starts a hot standby of the cluster behind this port, which must accept unencrypted connections.
    pub fn start_standby_through(port: u16) -> Self {
        let primary = format!(
            "{}?sslmode=disable&gssencmode=disable",
            address(port, "postgres")
        );
        let args = [
            "--dbname",
            &primary,
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        ];
        Self::in_directory(postgres_tool, |directory| {
            make_data(&postgres_tool("pg_basebackup"), &args, directory);
        })
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t");
    }

    /// Starts a server in a new directory, where this makes its data.
    fn in_directory(find: fn(&str) -> PathBuf, make: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("keyservice-pg-")
            .tempdir()
            .expect("a directory");
        if is_running_as_root() {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        make(directory.path());
        let port = free_port();
        let mut cluster = Self {
            directory,
            port,
            tool: find,
            postmaster: None,
            databases: AtomicU32::new(0),
        };
        cluster.restart();
        cluster
    }

    /// Starts the server again, after [`Cluster::kill`] or [`Cluster::stop`], on the same port.
    pub fn restart(&mut self) {
        assert!(self.postmaster.is_none(), "it runs already");
        let mut options = fs::OpenOptions::new();
        let log = options.create(true).append(true).open(self.log_path());
        let log = log.expect("a log file");
        let postmaster = as_server_user(&(self.tool)("postgres"), self.directory.path())
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-c",
                "max_connections=200",
                "-k",
            ])
            .arg(self.directory.path())
            .stderr(Stdio::from(log.try_clone().expect("a log file")))
            .stdout(Stdio::from(log))
            .spawn()
            .expect("postgres runs");
        self.postmaster = Some(postmaster);
        self.wait_until_ready();
    }

    /// Creates a new database and returns its address.
    pub fn create_database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name}"));
        self.address_of(&name)
    }

    /// Copies a database that nobody is connected to, and returns the copy's address.
    pub fn create_copy(&self, database: &str) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {database}"),
        );
        self.address_of(&name)
    }

    /// From now on, writes to this database send no notifications.
    pub fn drop_notifications(&self, database: &str) {
        let silent = "CREATE OR REPLACE FUNCTION keyservice.announce_writes() RETURNS void \
                      LANGUAGE sql AS $$ $$";
        self.psql(database, silent);
    }

    pub fn address_of(&self, database: &str) -> String {
        address(self.port, database)
    }

    /// The address of a database for this role.
    pub fn address_for(&self, role: &str, database: &str) -> String {
        let address = self.address_of(database);
        address.replacen("keyservice@", &format!("{role}@"), 1)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The log of the server.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    pub fn data_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Runs SQL as the superuser and returns the output.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.psql_at(&self.address_of(database), sql)
    }

    /// Runs SQL as the role in this address and returns the output.
    pub fn psql_at(&self, address: &str, sql: &str) -> String {
        let ran = Command::new(postgres_tool("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, address])
            .output()
            .expect("psql runs");
        assert!(
            ran.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
        String::from_utf8(ran.stdout)
            .expect("UTF-8")
            .trim()
            .to_owned()
    }

    /// Changes a setting of the server for new sessions.
    pub fn set_setting(&self, name: &str, value: &str) {
        self.psql("postgres", &format!("ALTER SYSTEM SET {name} = '{value}'"));
        self.psql("postgres", "SELECT pg_reload_conf()");
        let started = Instant::now();
        while self.psql("postgres", &format!("SHOW {name}")) != value {
            assert!(started.elapsed() < Duration::from_secs(20), "{name} stays");
        }
    }

    /// From now on, the server encrypts new sessions with this certificate.
    pub fn use_certificate(&self, issued: &Issued) {
        self.write_file("server.crt", &issued.certificate);
        self.write_file("server.key", &issued.key);
        self.psql("postgres", "ALTER SYSTEM SET ssl = on");
        self.reload();
        let refused = "SSL configuration was not reloaded";
        assert!(!self.log().contains(refused), "{}", self.log());
    }

    /// From now on, `pg_hba.conf` holds these lines.
    pub fn use_rules(&self, rules: &str) {
        self.write_file("pg_hba.conf", rules);
        self.reload();
    }

    /// Makes the server read its files again, and waits until new sessions depend on them. The rules
    /// must let the superuser in.
    pub fn reload(&self) {
        let loaded = || self.psql("postgres", "SELECT pg_conf_load_time()");
        let before = loaded();
        self.psql("postgres", "SELECT pg_reload_conf()");
        let started = Instant::now();
        while loaded() == before {
            assert!(started.elapsed() < Duration::from_secs(20), "not reloaded");
        }
    }

    /// Writes a file in the data directory with the owner and the mode that the server requires.
    pub fn write_file(&self, name: &str, content: &str) {
        let path = self.data_directory().join(name);
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path).expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        if is_running_as_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
    }

    /// Pauses every process of the server with SIGSTOP. The server keeps its connections, the system
    /// accepts new ones, and nothing answers.
    pub fn freeze(&self) {
        let pid = self.postmaster.as_ref().expect("it runs").id();
        // The postmaster is first, so that it starts no new process meanwhile.
        signal("STOP", &[pid]);
        signal("STOP", &children_of(pid));
    }

    /// Continues a frozen server.
    pub fn thaw(&self) {
        let pid = self.postmaster.as_ref().expect("it runs").id();
        signal("CONT", &[&children_of(pid)[..], &[pid]].concat());
    }

    /// Ends the sessions that meet a condition on `pg_stat_activity`, and returns their number.
    pub fn end_sessions(&self, condition: &str) -> usize {
        let which = format!("SELECT pid FROM pg_stat_activity WHERE {condition}");
        let pids = self.psql("postgres", &which).replace('\n', ",");
        let end = format!("SELECT pg_terminate_backend(pid) FROM unnest('{{{pids}}}'::int[]) pid");
        self.psql("postgres", &end);
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ('{{{pids}}}')");
        let started = Instant::now();
        while self.psql("postgres", &left) != "0" {
            assert!(started.elapsed() < Duration::from_secs(20), "they stay");
        }
        pids.split_terminator(',').count()
    }

    /// Kills the server and all its processes with SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        self.freeze();
        let mut postmaster = self.postmaster.take().expect("it runs");
        let pid = postmaster.id();
        let children = children_of(pid);
        signal("KILL", &[&children[..], &[pid]].concat());
        postmaster.wait().expect("it ended");
        // A process that still writes would share the files with the next server.
        while children.iter().any(|child| is_running(*child)) {
            std::thread::yield_now();
        }
        let lock_file = self.data_directory().join("postmaster.pid");
        remove_shared_memory(&fs::read_to_string(&lock_file).unwrap_or_default());
        // PostgreSQL does not start while the lock file names a running process, and the system may
        // have given the process id to another one.
        let _ = fs::remove_file(lock_file);
    }

    /// Stops the server in order.
    pub fn stop(&mut self) {
        let mut postmaster = self.postmaster.take().expect("it runs");
        signal("INT", &[postmaster.id()]);
        postmaster.wait().expect("it ended");
    }

    /// Kills the server, copies its files, and starts it again.
    pub fn back_up(&mut self) {
        self.kill();
        self.copy("data", "backup");
        self.restart();
    }

    /// Kills the server and starts it with the files of [`Cluster::back_up`].
    pub fn restore(&mut self) {
        self.kill();
        fs::remove_dir_all(self.data_directory()).expect("removed");
        self.copy("backup", "data");
        self.restart();
    }

    fn copy(&self, from: &str, to: &str) {
        let copied = Command::new("cp")
            .args(["-a", from, to])
            .current_dir(self.directory.path())
            .status();
        assert!(copied.expect("cp runs").success());
    }

    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        loop {
            let ready = TcpStream::connect(("127.0.0.1", self.port)).is_ok()
                && Command::new(postgres_tool("pg_isready"))
                    .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                    .status()
                    .is_ok_and(|status| status.success());
            if ready {
                return;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "PostgreSQL does not start: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster.is_some() {
            self.kill();
        }
    }
}

/// Removes the segment that a killed server leaves behind, which its lock file names: the system has room for
/// 4096.
fn remove_shared_memory(lock_file: &str) {
    let key_and_id = lock_file.lines().nth(6).unwrap_or_default();
    if let Some(id) = key_and_id.split_whitespace().nth(1) {
        let _ = Command::new("ipcrm").args(["-m", id]).output();
    }
}

/// Opens a session on a store's database, which ends when it is dropped.
pub async fn session(store: &str) -> Client {
    let (session, connection) = tokio_postgres::connect(store, NoTls)
        .await
        .expect("PostgreSQL answers");
    tokio::spawn(connection);
    session
}

pub fn address(port: u16, database: &str) -> String {
    format!("postgres://keyservice@127.0.0.1:{port}/{database}")
}

pub fn database_in(address: &str) -> &str {
    address.rsplit('/').next().expect("an address")
}

/// A PostgreSQL program in its own process group, as a user that PostgreSQL accepts.
/// Makes the data of a new cluster. `initdb` takes ten times as long as a copy, so what it made once is kept.
fn initialise(find: fn(&str) -> PathBuf, directory: &Path) {
    let (initdb, data) = (find("initdb"), directory.join("data"));
    let version = Command::new(&initdb).arg("--version").output();
    let version = String::from_utf8(version.expect("it runs").stdout).expect("UTF-8");
    let kept_in = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let kept = kept_in.join(format!("{} {}", version.trim(), INITDB_ARGUMENTS.join(" ")));
    if kept.exists() {
        return copy(&kept, &data);
    }
    make_data(&initdb, &INITDB_ARGUMENTS, directory);
    // Other tests look for it meanwhile, and must find it whole or not at all.
    let part = tempfile::tempdir_in(kept_in).expect("a directory");
    copy(&data, &part.path().join("data"));
    // Another test may have been faster.
    let _ = fs::rename(part.path().join("data"), kept);
}

fn make_data(tool: &Path, args: &[&str], directory: &Path) {
    let made = as_server_user(tool, directory)
        .args(args)
        .arg("-D")
        .arg(directory.join("data"))
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{}: {error}", tool.display());
}

/// Copies a directory, with the owners of its files.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).output();
    let copied = copied.expect("cp runs");
    let error = String::from_utf8_lossy(&copied.stderr);
    assert!(copied.status.success(), "{error}");
}

pub fn as_server_user(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).process_group(0);
    if is_running_as_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

pub fn signal(name: &str, pids: &[u32]) {
    // A process may have ended meanwhile.
    let pids = pids.iter().map(u32::to_string);
    let _ = Command::new("kill")
        .args(["-s", name])
        .args(pids)
        .stderr(Stdio::null())
        .status();
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the system names a process's children");
    children
        .split_whitespace()
        .map(|pid| pid.parse().expect("a number"))
        .collect()
}

/// Whether a process exists and is not a zombie.
fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .is_some_and(|state| state.starts_with('Z'))
    })
}

pub fn is_running_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A port below the range from which the system assigns ports, so that it stays free while a server
/// restarts.
pub fn steady_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut drawn = (0..1000).map(|_| rand::rng().random_range(10_000..32_000));
    drawn.find(free).expect("a free port")
}
