//! Authenticated callers: their credentials and their clients.

use crate::support::{
    certificates::Issued,
    mount::Mount,
    server::{Client, scrape::METRICS},
};
use keyservice::grpc::proto::{
    domain_service_client::DomainServiceClient, key_service_client::KeyServiceClient,
};
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
    /// With its line break.
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
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (secret, explained) = (text(ran.stdout), text(ran.stderr));
        assert!(ran.status.success(), "{explained}");
        let mut lines = explained.lines().filter(|line| !line.starts_with('#'));
        let (line, none) = (lines.next().expect("a line"), lines.next());
        assert_eq!(none, None);
        Self {
            secret: secret.trim_end().to_owned(),
            line: line.to_owned() + "\n",
        }
    }
}

/// Sends a bearer secret with every call, or sends none.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub fn secret(secret: &str) -> Self {
        Self::header(&format!("Bearer {secret}"))
    }

    pub fn header(authorization: &str) -> Self {
        Self(Some(authorization.parse().expect("ASCII")))
    }

    pub fn none() -> Self {
        Self(None)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The status of a call of a method with this secret.
pub async fn outcome(channel: Channel, bearer: &Bearer, method: &str) -> Code {
    let answer = answer(channel, bearer, method).await;
    answer.map_or_else(|status| status.code(), |()| Code::Ok)
}

pub async fn answer(channel: Channel, bearer: &Bearer, method: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(InterceptedService::new(channel, bearer.clone()));
    grpc.ready().await.expect("it is connected");
    let method = method.parse().expect("a path");
    // An empty message can be decoded as any other message.
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.unary(Request::new(()), method, codec).await;
    answer.map(|_| ())
}

pub type BearerClient = Client<InterceptedService<Channel, Bearer>>;

pub fn client(channel: Channel, secret: &str) -> BearerClient {
    client_with(channel, Bearer::secret(secret))
}

pub fn client_with(channel: Channel, bearer: Bearer) -> BearerClient {
    Client(KeyServiceClient::with_interceptor(channel, bearer))
}

pub fn domains_client(
    channel: Channel,
    secret: &str,
) -> DomainServiceClient<InterceptedService<Channel, Bearer>> {
    DomainServiceClient::with_interceptor(channel, Bearer::secret(secret))
}

pub const LIST: &str = "/tosend.keys.v1.KeyService/List";

/// The files and the arguments of a server with TLS and credentials, which also serves metrics.
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
