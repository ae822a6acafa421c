//! The systemd unit.

use crate::support::server::help;
use keyservice::config::Settings;
use std::{io::ErrorKind, process::Command, time::Duration};

/// The time to return the lease and to send the last spans after the drain.
const LEAVING: Duration = Duration::from_secs(6);

const UNIT: &str = include_str!("../../../deploy/keyservice.service");

fn values(key: &'static str) -> impl Iterator<Item = &'static str> {
    UNIT.lines().filter_map(move |line| line.strip_prefix(key))
}

#[test]
fn the_service_gets_its_secrets_as_credentials_and_everything_else_as_settings() {
    let help = help();
    for variable in values("Environment=").map(|set| set.split('=').next().expect("a name")) {
        assert!(help.contains(&format!("[env: {variable}]")), "{variable}");
    }
    let loaded: Vec<_> = values("LoadCredential=")
        .map(|loaded| loaded.split(':').next().expect("a name"))
        .collect();
    assert_eq!(loaded, ["credentials", "digest-secret"]);
    for name in loaded {
        let is_used = |set: &str| set.ends_with(&format!("=%d/{name}"));
        assert!(values("Environment=").any(is_used), "{name}");
    }
}

/// 1.5 of 10 in systemd's own measure. What is left is mostly the network, which the service is there for.
#[test]
fn the_unit_gives_the_process_few_rights_where_systemd_can_say_so() {
    let measured = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/deploy/keyservice.service"
        ))
        .output();
    match measured {
        Ok(measured) => {
            let found = String::from_utf8_lossy(&measured.stdout);
            assert!(measured.status.success(), "{found}");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
    }
}

/// An ordering alone would not start the target.
#[test]
fn the_service_starts_after_the_network_and_a_database_of_this_machine() {
    let after = values("After=").next().expect("an order");
    for unit in ["network-online.target", "postgresql.service"] {
        assert!(after.split(' ').any(|it| it == unit), "{unit}");
    }
    assert!(values("Wants=").eq(["network-online.target"]));
}

/// As docs/security.md claims.
#[test]
fn systemd_writes_no_core_dump() {
    assert_eq!(values("LimitCORE=").collect::<Vec<_>>(), ["0"]);
}

/// Otherwise a port that is taken for a moment would end the service for good: systemd gives up after
/// five starts within ten seconds.
#[test]
fn systemd_starts_the_service_again_however_often_it_fails() {
    assert!(values("Restart=").eq(["on-failure"]));
    assert!(values("StartLimitIntervalSec=").eq(["0"]));
    let delay = values("RestartSec=").next().expect("a delay");
    let delay = *delay.parse::<humantime::Duration>().expect("a duration");
    assert!((1..=10).contains(&delay.as_secs()), "{delay:?}");
}

#[test]
fn systemd_gives_the_process_time_to_drain_before_it_kills_it() {
    let limit = values("TimeoutStopSec=")
        .next()
        .expect("a limit")
        .parse::<humantime::Duration>();
    let settings = Settings::parse_from(&[]).expect("the defaults are right");
    assert!(
        *limit.expect("a duration") >= settings.shutdown_delay + settings.drain_limit + LEAVING
    );
}
