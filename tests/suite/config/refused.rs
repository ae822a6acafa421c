//! Invalid settings are refused. The error names the setting and a valid value.

use crate::support::{
    directory,
    server::{self, assert_refused, sqlite_in},
};
use std::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_an_address_that_is_in_use() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let directory = directory();
    let mut command = server::serve();
    command.args(["--listen", &address, "--store", &sqlite_in(&directory)]);
    assert_refused(
        &mut command,
        &[&address, "choose another address with --listen"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_secret_that_is_too_short_is_refused() {
    let directory = directory();
    let path = directory.path().join("secret").display().to_string();
    std::fs::write(&path, "hunter2\n").expect("a file");
    let mut command = server::command(&sqlite_in(&directory));
    command.args(["--digest-secret-file", &path]);
    assert_refused(&mut command, &[&path, "openssl rand -hex 32"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_secret_file_that_is_endless_or_too_large_is_refused() {
    let directory = directory();
    let large = directory.path().join("large");
    std::fs::write(&large, [b'x'; 64 * 1024 + 1]).expect("written");
    let large = large.to_str().expect("UTF-8");
    for (file, told) in [
        ("/dev/zero", "not a regular file"),
        (large, "holds more than 64 KiB"),
    ] {
        let mut command = server::command(&sqlite_in(&directory));
        command.args(["--digest-secret-file", file]);
        assert_refused(&mut command, &[file, told]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_log_filter_is_refused() {
    for filter in ["keyservice=loud", "inof"] {
        let mut command = server::command("sqlite:/never/opened");
        command.args(["--log", filter]);
        assert_refused(&mut command, &["--log", "info,keyservice=debug"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_store_address_is_refused() {
    for (store, advice) in [
        ("postgre://kate:hunter2@db/keys", "give sqlite:PATH"),
        ("kate:hunter2@db", "give sqlite:PATH"),
        ("postgres://kate:hunter2@db/keys?port=hunter2", "`port`"),
        ("postgres://kate:hunter2@hunter2@db/keys", "%40"),
    ] {
        assert_refused(&mut server::command(store), &["--store", advice]).await;
    }
}
