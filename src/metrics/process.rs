//! Reads what the system says of this process, for the metrics that Prometheus' own libraries have.
//! Owns nothing: every value is read when it is asked for.
//! Promises current values, or none on a system that does not have them.
//! Must never fail a scrape: what cannot be read is left out.

use rustix::{
    param::{clock_ticks_per_second, page_size},
    time::{ClockId, clock_gettime},
};
use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

/// What Linux says in `/proc` (proc(5)).
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_files: u64,
    pub(super) start_time: f64,
}

impl Process {
    /// Returns `None` on a system without `/proc`.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The fields follow the program's name, which is in parentheses and may contain anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first of these is the third field of proc(5).
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = seconds_of(clock_ticks_per_second());
        let started_after_boot = seconds_of(field(22)?) / ticks;
        Some(Self {
            cpu_seconds: seconds_of(field(14)? + field(15)?) / ticks,
            resident_bytes: field(24)? * page_size() as u64,
            open_files: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            start_time: boot_time()? + started_after_boot,
        })
    }
}

fn boot_time() -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let up = clock_gettime(ClockId::Boottime);
    let up = seconds_of(up.tv_sec.unsigned_abs()) + seconds_of(up.tv_nsec.unsigned_abs()) / 1e9;
    Some(now.as_secs_f64() - up)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "fifteen digits are precise enough"
)]
fn seconds_of(count: u64) -> f64 {
    count as f64
}
