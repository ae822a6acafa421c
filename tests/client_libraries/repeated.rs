//! An admin call whose answer is lost.

use crate::{
    MACHINE, plaintext,
    support::{
        clients::driver::{Driver, LIBRARIES},
        eventually,
        postgres::Cluster,
        server::Server,
    },
};
use serde_json::json;

/// How long a write waits for a replica that hangs. Before that, the answer is to be lost.
const LEASE: [&str; 2] = ["--lease", "4s"];

#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_tried_again_makes_one_key() {
    let _shared = MACHINE.read().await;
    let cluster = Cluster::shared();
    for library in LIBRARIES {
        let store = cluster.create_database();
        let server = Server::start_with(&store, &LEASE, &[]).await;
        let sibling = Server::start_with(&store, &LEASE, &[]).await;
        // While it hangs, the library calls the other one, whose write waits for this one.
        sibling.signal("STOP");
        let options = plaintext(&[server.port(), sibling.port()]);
        let driver = Driver::open(library, &options).await;
        assert!(driver.is_ready().await, "{library}");

        let keys = || cluster.psql_at(&store, "SELECT count(*) FROM keyservice.keys");
        let request = json!({"account_id": "acme", "name": "once"});
        let create = driver.call("create", &request);
        let lose_the_answer = async {
            eventually("the key is stored", async || keys() == "1").await;
            server.kill().await;
            sibling.signal("CONT");
        };
        let (answer, ()) = tokio::join!(create, lose_the_answer);

        let code = &answer["refused"]["code"];
        assert_eq!(code, "ALREADY_EXISTS", "{library}: {answer}");
        assert_eq!(keys(), "1", "{library}");
    }
}
