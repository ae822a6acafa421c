//! Callers of a server that asks who they are.

use crate::support::{
    certificates::Issued,
    mount::Mount,
    server::{Client, scrape::METRICS},
};
use keyservice::grpc::proto::key_service_client::KeyServiceClient;
use std::process::Command;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_prost::ProstCodec;

/// What `keyservice credential new` printed.
pub struct Credential {
    pub secret: String,
    pub line: String,
}

impl Credential {
    /// Runs the command: `new("dashboard", &["--role", "admin"])`.
    pub fn new(name: &str, args: &[&str]) -> Self {
        let ran = Command::new(env!("CARGO_BIN_EXE_keyservice"))
            .args(["credential", "new", name])
            .args(args)
            .output()
            .expect("keyservice runs");
        let error = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && error.is_empty(), "{error}");
        let printed = String::from_utf8(ran.stdout).expect("UTF-8");
        let mut lines = printed.lines().filter(|line| !line.starts_with('#'));
        let mut next = || lines.next().expect("a secret and a line").to_owned();
        Self {
            secret: next(),
            line: next(),
        }
    }
}

/// Shows a bearer secret with every call, or none.
#[derive(Clone)]
pub struct Shown(Option<MetadataValue<Ascii>>);

impl Shown {
    pub fn secret(secret: &str) -> Self {
        Self(Some(format!("Bearer {secret}").parse().expect("ASCII")))
    }

    pub fn none() -> Self {
        Self(None)
    }
}

impl Interceptor for Shown {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// How a call of a method ends for whoever shows this.
pub async fn outcome(channel: Channel, shown: &Shown, method: &str) -> Code {
    let mut grpc = Grpc::new(InterceptedService::new(channel, shown.clone()));
    grpc.ready().await.expect("it is connected");
    let method = method.parse().expect("a path");
    // A message without fields reads and is read by any other.
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.unary(Request::new(()), method, codec).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

pub type BearerClient = Client<InterceptedService<Channel, Shown>>;

/// A client of `KeyService` that shows a secret.
pub fn client(channel: Channel, secret: &str) -> BearerClient {
    client_that_shows(channel, Shown::secret(secret))
}

/// One that shows a secret or none.
pub fn client_that_shows(channel: Channel, shown: Shown) -> BearerClient {
    Client(KeyServiceClient::with_interceptor(channel, shown))
}

pub const LIST: &str = "/tosend.keys.v1.KeyService/List";

/// The files of a server that asks who calls, over TLS, and the arguments that name them.
pub fn protection(credential: &str, issued: &Issued) -> (Mount, Vec<String>) {
    let files = Mount::new(&protection_files(credential, issued));
    let arguments = [
        METRICS.to_owned(),
        format!("--credentials={}", files.arg("callers")),
        format!("--tls-cert={}", files.arg("tls.crt")),
        format!("--tls-key={}", files.arg("tls.key")),
    ];
    (files, arguments.to_vec())
}

pub fn protection_files<'a>(
    credential: &'a str,
    issued: &'a Issued,
) -> [(&'static str, &'a str); 3] {
    [
        ("callers", credential),
        ("tls.crt", &issued.certificate),
        ("tls.key", &issued.key),
    ]
}
