//! What the process inherits, and what the system sends it when a file may not grow.

use crate::support::{
    directory, eventually,
    postgres::{Cluster, steady_port},
    server::{Client, Server, command, command_on, sqlite_in},
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};
use tonic::Code;

/// A command that runs another one: a wrapper, and the other's words behind it.
fn under(wrapper: &[&str], wrapped: &Command) -> Command {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]);
    command.arg(wrapped.get_program()).args(wrapped.get_args());
    let set = wrapped.get_envs();
    command.envs(set.filter_map(|(name, value)| Some((name, value?))));
    command
}

/// Some supervisors and shells block or ignore signals, and forget that whatever they start inherits this.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_started_with_blocked_or_ignored_signals_takes_them() {
    for how in [
        "--block-signal=TERM,INT,HUP",
        "--ignore-signal=TERM,INT,HUP",
    ] {
        for signal in ["TERM", "INT"] {
            let directory = directory();
            let serve = command(&sqlite_in(&directory));
            let mut server = Server::start_command(&mut under(&["env", how], &serve)).await;
            server.signal("HUP");
            eventually("SIGHUP is read", async || {
                server.log().contains("SIGHUP is ignored")
            })
            .await;
            server.signal(signal);
            assert_eq!(
                server.wait_for_exit().await.code(),
                Some(0),
                "{how} {signal}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_files_may_not_grow_refuses_writes_and_the_process_goes_on() {
    let directory = directory();
    let serve = command(&sqlite_in(&directory));
    let limited = ["bash", "-c", "ulimit -f 1024; exec \"$0\" \"$@\""];
    let mut server = Server::start_command(&mut under(&limited, &serve)).await;
    let mut client = server.client().await;
    let (token, _) = client.create_key().await;
    let refused = loop {
        if let Err(refused) = client.create("acme", "one more").await {
            break refused;
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(client.is_granted(&token).await);
    assert!(!server.has_exited());
    assert_eq!(server.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_not_grow_loses_lines_and_the_process_goes_on() {
    let cluster = Cluster::shared();
    let (directory, port) = (directory(), steady_port());
    let log = directory.path().join("log");
    let serve = command_on(port, &cluster.create_database());
    let limited = "ulimit -f 16; exec \"$0\" \"$@\" 2>\"$LOG\"";
    let mut limited = under(&["bash", "-c", limited], &serve);
    let mut server = Server::launch(limited.env("LOG", &log));
    let address = format!("http://127.0.0.1:{port}");
    let mut client = None;
    eventually("it listens", async || {
        client = KeyServiceClient::connect(address.clone()).await.ok();
        client.is_some()
    })
    .await;
    let mut client = Client(client.expect("connected"));
    let is_full = || fs::metadata(&log).expect("a log").len() == 16 * 1024;
    let (began, limit) = (Instant::now(), Duration::from_secs(60));
    while !is_full() {
        assert!(began.elapsed() < limit, "the log grows");
        client.create_key().await;
    }
    let (token, key_id) = client.create_key().await;
    assert!(client.is_granted(&token).await);
    client.revoke(&key_id).await.expect("revoked");
    assert!(!server.has_exited());
    assert_eq!(server.terminate().await.code(), Some(0));
}
