//! How many questions a second this library asks one replica, beside calls of tonic on one connection.
//!
//! Start `keyservice serve`, then: `cargo bench -p tosend-keyservice`. It asks about a token that no key has.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used)]

use futures::future::join_all;
use std::time::{Duration, Instant};
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;
use tosend_keyservice::{
    Client, Decision, Options,
    proto::{AuthorizeRequest, AuthorizeResponse},
};

const ADDRESS: &str = "127.0.0.1:50051";
const TOKEN: &str = "tsend_KeyServiceExampleTokenDoNotUse0123456789abc0gXm9s";
const ROUND: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let client = Client::open(Options::new([ADDRESS]).plaintext()).unwrap();
    client
        .wait_until_ready(Duration::from_secs(10))
        .await
        .unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{ADDRESS}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let call = || async {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let question = AuthorizeRequest {
            token: TOKEN.to_owned(),
            domain: "example.com".to_owned(),
        };
        let path = PathAndQuery::from_static("/tosend.keys.v1.KeyService/Authorize");
        let codec = ProstCodec::<_, AuthorizeResponse>::default();
        grpc.unary(Request::new(question), path, codec)
            .await
            .unwrap();
    };
    let ask = || async {
        let decision = client.authorize(TOKEN, "example.com").await.unwrap();
        assert!(matches!(decision, Decision::Denied(_)));
    };
    let cores = std::thread::available_parallelism().unwrap();
    println!("{cores} cores, for the replica too");
    for callers in [1, 16, 64, 256] {
        let mut ratios = Vec::new();
        for _ in 0..5 {
            let (calls, questions) = (rate(callers, call).await, rate(callers, ask).await);
            println!("{callers} callers: {calls:.0} calls, {questions:.0} questions a second");
            ratios.push(questions / calls);
        }
        ratios.sort_by(f64::total_cmp);
        let [low, .., high] = ratios[..] else {
            unreachable!()
        };
        println!(
            "{callers} callers: {:.2} times ({low:.2} to {high:.2})",
            ratios[2]
        );
    }
}

/// How many a second, from so many callers in one task.
async fn rate<F: Future<Output = ()>>(callers: usize, ask: impl Fn() -> F) -> f64 {
    let begun = Instant::now();
    let caller = || async {
        let mut count = 0;
        while begun.elapsed() < ROUND {
            ask().await;
            count += 1;
        }
        count
    };
    let counts = join_all((0..callers).map(|_| caller())).await;
    let total: u32 = counts.into_iter().sum();
    f64::from(total) / begun.elapsed().as_secs_f64()
}
