//! The memory, processor time and open files of a process, as Linux counts them.

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::{fs, io::ErrorKind, sync::LazyLock, time::Duration};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Clock ticks per second in `/proc/PID/stat`, the same on every Linux that Rust supports.
const TICKS: u64 = 100;

/// Resets the peak memory when written to `clear_refs` (proc(5)).
const FORGET_HIGHEST: &str = "5";

/// A process, by its id.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Resident memory now, in MiB.
    pub fn memory(self) -> u64 {
        self.status("VmRSS:") / 1024
    }

    /// The highest resident memory since the last reset, in MiB.
    pub fn peak_memory(self) -> u64 {
        self.status("VmHWM:") / 1024
    }

    /// Only root may do it, since a server forbids its user to look into it. Otherwise the peak since
    /// the start counts, which the server reaches under load, and not before.
    pub fn reset_peak_memory(self) {
        let path = format!("/proc/{}/clear_refs", self.0);
        match fs::write(path, FORGET_HIGHEST) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            written => written.expect("it runs"),
        }
    }

    /// Whether each of its threads waits for something outside, at this moment.
    pub fn is_asleep(self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0)).expect("it runs");
        threads.into_iter().all(|thread| {
            let stat = fs::read_to_string(thread.expect("it runs").path().join("stat"));
            // The state stands behind the name in brackets. A thread that has ended meanwhile is none.
            stat.map_or(true, |stat| stat.contains(") S "))
        })
    }

    /// The total processor time.
    pub fn cpu_time(self) -> Duration {
        let stat = self.read("stat");
        // After the command's name in brackets, user and system time are the 12th and 13th field.
        let fields = stat.rsplit_once(") ").expect("a name").1;
        let fields = fields.split(' ').skip(11).take(2);
        let ticks: u64 = fields
            .map(|ticks| ticks.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    pub fn open_files(self) -> usize {
        let path = format!("/proc/{}/fd", self.0);
        match fs::read_dir(&path) {
            // Only root may list them. The folder's size is their number, since Linux 6.2.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let size = fs::metadata(path).expect("it runs").len();
                usize::try_from(size).expect("a few")
            }
            files => files.expect("it runs").count(),
        }
    }

    /// Sets the limit on open files. Files that are open stay open.
    pub fn limit_open_files(self, limit: u64) {
        let pid = Pid::from_raw(self.0.cast_signed());
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit_of_open_files()),
        };
        prlimit(pid, Resource::Nofile, limit).expect("our own process");
    }

    fn status(self, field: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse().ok()).expect("KiB")
    }

    fn read(self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).expect("it runs")
    }
}

/// What all tests together may open besides the files that some of them reserve.
const UNRESERVED_FILES: u64 = 4000;

/// The files that tests may still reserve. The tests run in one process, which shares one limit.
static RESERVABLE_FILES: LazyLock<Semaphore> = LazyLock::new(|| {
    let allowed = limit_of_open_files();
    let limit = Rlimit {
        current: Some(allowed),
        maximum: Some(allowed),
    };
    setrlimit(Resource::Nofile, limit).expect("within what is allowed");
    let reservable = usize::try_from(allowed.saturating_sub(UNRESERVED_FILES));
    Semaphore::new(reservable.unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS))
});

/// Waits until this test may open `count` files, as long as it holds what this returns.
pub async fn reserve_open_files(count: u32) -> SemaphorePermit<'static> {
    let allowed = limit_of_open_files();
    assert!(
        allowed >= u64::from(count) + UNRESERVED_FILES,
        "this test opens {count} sockets and the system allows {allowed}: raise `ulimit -Hn`"
    );
    let reserved = RESERVABLE_FILES.acquire_many(count).await;
    reserved.expect("it is never closed")
}

fn limit_of_open_files() -> u64 {
    let allowed = getrlimit(Resource::Nofile).maximum;
    allowed.unwrap_or(u64::MAX)
}
