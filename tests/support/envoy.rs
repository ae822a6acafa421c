//! The real Envoy, the HTTP requests that it asks about, and an API behind it.

use crate::support::{eventually, server::Server, tools::tool};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use keyservice::grpc::envoy::{
    config::core::v3::{HeaderMap, HeaderValue},
    service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest as Http, Request},
        authorization_client::AuthorizationClient,
    },
};
use std::{
    convert::Infallible,
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::{Response, Status};

/// Envoy with one of the configurations of `deploy/envoy/`.
pub struct Envoy {
    process: Child,
    pub directory: TempDir,
}

impl Envoy {
    /// Starts it with these files beside its configuration, and waits until it listens on this port. It does so
    /// when it has checked the health of every replica.
    pub async fn start(configuration: &str, files: &[(&str, &str)], port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, content: &str| {
            fs::write(directory.path().join(name), content).expect("written");
        };
        write("envoy.yaml", configuration);
        for (name, content) in files {
            write(name, content);
        }
        let log = File::create(directory.path().join("envoy.log")).expect("made");
        let process = Command::new(tool("envoy"))
            .args(["--disable-hot-restart", "--concurrency", "1"])
            .args(["--log-level", "info", "-c", "envoy.yaml"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("open"))
            .stderr(log)
            .spawn()
            .expect("Envoy runs");
        let mut envoy = Self { process, directory };
        eventually("Envoy listens", async || {
            let status = envoy.process.try_wait().expect("a child");
            assert!(status.is_none(), "it ended: {}", envoy.log());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
        .await;
        envoy
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("envoy.log"));
        log.expect("it is there")
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An HTTP request, as Envoy asks about it.
#[derive(Clone, Default)]
pub struct HttpRequest {
    headers: Vec<HeaderValue>,
    body: String,
    domain_from: Option<String>,
}

impl HttpRequest {
    pub fn with_token(token: &str) -> Self {
        Self::default().header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(HeaderValue {
            key: name.to_owned(),
            raw_value: value.as_bytes().to_vec(),
            value: String::new(),
        });
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    pub fn domain_from(mut self, source: &str) -> Self {
        self.domain_from = Some(source.to_owned());
        self
    }

    pub fn message(&self) -> CheckRequest {
        let http = Http {
            header_map: Some(HeaderMap {
                headers: self.headers.clone(),
            }),
            raw_body: self.body.clone().into_bytes(),
            ..Http::default()
        };
        let domain_from = self.domain_from.iter().cloned();
        let extensions = domain_from.map(|source| ("keyservice.domain-from".to_owned(), source));
        CheckRequest {
            attributes: Some(AttributeContext {
                request: Some(Request { http: Some(http) }),
                context_extensions: extensions.collect(),
            }),
        }
    }

    /// Asks in Envoy's place.
    pub async fn check(&self, server: &Server) -> Result<Response<CheckResponse>, Status> {
        let mut client = AuthorizationClient::new(server.channel().await);
        client.check(self.message()).await
    }
}

/// An API that answers every request with the lines of its head, of its body and of its trailers.
pub struct Api {
    pub port: u16,
}

impl Api {
    /// Serves until the test ends, in HTTP/1.1 and in HTTP/2.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let serving = auto::Builder::new(TokioExecutor::new());
                    let stream = TokioIo::new(stream);
                    let _ = serving.serve_connection(stream, service_fn(echo)).await;
                });
            }
        });
        Self { port }
    }
}

async fn echo(
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let mut lines = format!("reached the API: {} {}\n", head.method, head.uri);
    let body = body.collect().await;
    let trailers = body.as_ref().ok().and_then(|body| body.trailers().cloned());
    for (name, value) in head.headers.iter().chain(&trailers.unwrap_or_default()) {
        lines += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    let body = body.map(|body| body.to_bytes());
    lines += &String::from_utf8_lossy(&body.unwrap_or_default());
    Ok(hyper::Response::new(lines.into()))
}
