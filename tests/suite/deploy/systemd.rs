//! The systemd unit.

use keyservice::config::Settings;
use std::time::Duration;

/// The time to return the lease and to send the last spans after the drain.
const LEAVING: Duration = Duration::from_secs(6);

#[test]
fn systemd_gives_the_process_time_to_drain_before_it_kills_it() {
    let unit = include_str!("../../../deploy/keyservice.service");
    let mut limits = unit
        .lines()
        .filter_map(|line| line.strip_prefix("TimeoutStopSec="));
    let limit = limits
        .next()
        .expect("a limit")
        .parse::<humantime::Duration>();
    let settings = Settings::parse_from(&[]).expect("the defaults are right");
    assert!(*limit.expect("a duration") >= settings.drain_limit + LEAVING);
}
