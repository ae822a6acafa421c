//! The load balancer of `deploy/envoy/`: with the real Envoy, no Authorize fails whatever becomes of one replica.

use super::outages::Replicas;
use crate::support::{
    certificates::{Authority, endpoint},
    clients::callers::{Credential, client},
    envoy::Envoy,
    mount::Mount,
    postgres::{Cluster, free_port},
    server::command_on,
};
use keyservice::grpc::proto::authorize_response::Decision;
use std::sync::Arc;

const CONFIGURATION: &str = include_str!("../../../deploy/envoy/load-balancer.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_one_replica_is_restarted_killed_or_hangs() {
    let authority = Arc::new(Authority::new());
    let [of_replicas, of_envoy] = [(); 2].map(|()| authority.server("localhost"));
    let operator = Credential::new("operator", &["--role", "admin"]);
    let sender = Credential::new("sender", &["--role", "authorizer"]);
    let cluster = Cluster::shared();
    let store = cluster.create_database();
    let callers = Mount::new(&[("callers", &(operator.line + &sender.line))]);
    let files = Mount::new(&[
        ("tls.crt", &of_replicas.certificate),
        ("tls.key", &of_replicas.key),
    ]);
    let mut replicas = Replicas::start(3, authority.clone(), move |port| {
        let mut command = command_on(port, &store);
        for (flag, file) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")] {
            command.args([flag, &files.arg(file)]);
        }
        command.args(["--credentials", &callers.arg("callers")]);
        command
    })
    .await;
    let port = free_port();
    let mut configuration = CONFIGURATION.replace("50050", &port.to_string());
    for (documented, real) in ["50051", "50052", "50053"].iter().zip(replicas.ports()) {
        configuration = configuration.replace(documented, &real.to_string());
    }
    let files = [
        ("ca.crt", &*authority.pem()),
        ("load-balancer.crt", &of_envoy.certificate),
        ("load-balancer.key", &of_envoy.key),
    ];
    let _envoy = Envoy::start(&configuration, &files, port).await;
    let channel = endpoint(port, &authority, None).connect_lazy();
    let (token, _) = client(channel.clone(), &operator.secret).create_key().await;
    let sender = client(channel, &sender.secret);

    let authorize = move || {
        let (mut sender, token) = (sender.clone(), token.clone());
        async move {
            match sender.authorize(&token, "example.com").await {
                Ok(Decision::Grant(_)) => Ok(()),
                Ok(denied) => Err(format!("{denied:?}")),
                Err(status) => Err(status.to_string()),
            }
        }
    };
    replicas.assert_no_outage_is_noticed(authorize).await;
}
