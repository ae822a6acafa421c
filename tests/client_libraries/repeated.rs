//! An admin call whose answer is lost.

use crate::{
    MACHINE,
    support::{
        clients::driver::{Driver, LIBRARIES},
        eventually,
        postgres::{Cluster, steady_port},
        server::{Server, command_on},
    },
};
use serde_json::json;
use std::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_tried_again_makes_one_key() {
    let _shared = MACHINE.read().await;
    let cluster = Cluster::shared();
    for library in LIBRARIES {
        let store = cluster.create_database();
        let port = steady_port();
        let server = Server::start_command(&mut replica(port, &store)).await;
        let address = format!("127.0.0.1:{port}");
        let options = json!({"addresses": [address], "plaintext": true});
        let driver = Driver::open(library, &options).await;
        assert!(driver.is_ready().await, "{library}");

        // The write is committed, and waits until this replica has it.
        let sibling = Server::start_command(&mut replica(0, &store)).await;
        sibling.signal("STOP");
        let keys = || cluster.psql_at(&store, "SELECT count(*) FROM keyservice.keys");
        let request = json!({"account_id": "acme", "name": "once"});
        let create = driver.call("create", &request);
        let lose_the_answer = async {
            eventually("the key is stored", async || keys() == "1").await;
            server.kill().await;
            sibling.signal("CONT");
            Server::start_command(&mut replica(port, &store)).await
        };
        let (answer, _server) = tokio::join!(create, lose_the_answer);

        let code = &answer["refused"]["code"];
        assert_eq!(code, "ALREADY_EXISTS", "{library}: {answer}");
        assert_eq!(keys(), "1", "{library}");
    }
}

fn replica(port: u16, store: &str) -> Command {
    let mut command = command_on(port, store);
    // The write waits for longer than the restart takes.
    command.args(["--lease", "5s"]);
    command
}
