//! Runs all commands of the page about the gateway, with the configuration that is shipped.

use super::production::{blocks, path};
use crate::support::{directory, postgres::free_port};
use std::{
    fs,
    process::{Command, Stdio},
};

const PAGE: &str = include_str!("../../../docs/gateway.md");
const CONFIGURATION: &str = include_str!("../../../deploy/envoy/gateway.yaml");

/// Stops all processes, also after a failure.
const AT_ITS_END: &str = "kill $(cat *.pid) 2> /dev/null || true";

#[test]
fn the_commands_of_the_page_print_what_the_page_shows() {
    let ports = ["50051", "8443", "8080"].map(|documented| (documented, free_port().to_string()));
    let with_free_ports = |text: &str| {
        let text = text.to_owned();
        let replace =
            |text: String, (documented, free): &(&str, String)| text.replace(documented, free);
        ports.iter().fold(text, replace)
    };
    let directory = directory();
    let configuration = with_free_ports(CONFIGURATION);
    fs::write(directory.path().join("gateway.yaml"), configuration).expect("written");
    let script = with_free_ports(&blocks(PAGE, "sh").collect::<String>());
    let ran = Command::new("timeout")
        .args(["60", "bash", "-eu", "-c"])
        .arg(format!("trap '{AT_ITS_END}' EXIT\n{script}"))
        .current_dir(directory.path())
        .env("PATH", path(directory.path()))
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr);
    let logged = fs::read_to_string(directory.path().join("envoy.log")).unwrap_or_default();
    assert!(ran.status.success(), "{said}\n{logged}");
    let printed: String = blocks(PAGE, "text").collect();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), printed, "{said}");
}
