//! The systemd unit.

use crate::{
    replay::calls::whole_log,
    support::{
        directory,
        postgres::is_running_as_root,
        server::{Server, command, help},
        tools::shell,
    },
};
use keyservice::config::Settings;
use std::{
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    process::Command,
    time::Duration,
};

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

/// A user whom systemd could give to the service.
const USER: u32 = 61_184;

/// Root works on the files of a service whose user has a name only while it runs. Where the tests are not root, both
/// are the same user.
#[tokio::test(flavor = "multi_thread")]
async fn root_backs_up_restores_and_replays_as_the_unit_says_and_the_service_goes_on() {
    let home = directory();
    let at = |name: &str| home.path().join(name);
    let set = |name: &str, mode, user| {
        fs::set_permissions(at(name), Permissions::from_mode(mode)).expect("set");
        if is_running_as_root() {
            chown(at(name), Some(user), Some(user)).expect("given");
        }
    };
    set("", 0o755, 0);
    fs::create_dir(at("private")).expect("made");
    set("private", 0o700, USER);
    symlink(at("private"), at("state")).expect("linked");
    for (name, user) in [("digest-secret", 0), ("credential", USER)] {
        fs::write(at(name), "secret".repeat(20)).expect("written");
        set(name, 0o400, user);
    }
    fs::copy(env!("CARGO_BIN_EXE_keyservice"), at("program")).expect("copied");
    fs::write(at("systemctl"), "#!/bin/sh\nexit 0").expect("written");
    fs::write(at("journalctl"), "#!/bin/sh\ncat journal").expect("written");
    for program in ["program", "systemctl", "journalctl"] {
        set(program, 0o755, 0);
    }
    let store = format!("sqlite:{}/keyservice.db", at("state").display());
    let start = async || {
        let given = command(&store);
        let mut of_user = Command::new(at("program"));
        of_user.args(given.get_args());
        of_user.arg("--digest-secret-file").arg(at("credential"));
        if is_running_as_root() {
            of_user.uid(USER).gid(USER);
        }
        Server::start_command(&mut of_user).await
    };
    let run = |script: &str| {
        let script = script
            .replace("/var/lib/keyservice", &at("state").display().to_string())
            .replace("/etc/keyservice", &home.path().display().to_string());
        let here = home.path().display();
        shell(&format!("set -eu; cd {here}; PATH=.:$PATH; {script}")).expect("it runs");
    };

    let (back_up, restore) = backup_and_restore();
    let server = start().await;
    let (token, key_id) = server.client().await.create_key().await;
    run(&back_up);
    server
        .client()
        .await
        .revoke(&key_id)
        .await
        .expect("revoked");
    fs::write(at("journal"), whole_log(server).await).expect("written");
    run(&restore);
    let owner = fs::metadata(at("private")).expect("a folder").uid();
    for file in fs::read_dir(at("private")).expect("a folder") {
        let file = file.expect("a file");
        assert_eq!(file.metadata().expect("a file").uid(), owner, "{file:?}");
    }
    let server = start().await;
    assert!(!server.client().await.is_granted(&token).await);
}

/// The commands of the unit's first lines.
fn backup_and_restore() -> (String, String) {
    let commands = UNIT
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .collect::<Vec<_>>()
        .join("\n");
    let blocks = commands.split("\n\n").filter(|it| it.starts_with("     "));
    let [_, back_up, restore] = &blocks.map(str::to_owned).collect::<Vec<_>>()[..] else {
        panic!("other blocks: {commands}");
    };
    (back_up.clone(), restore.clone())
}
