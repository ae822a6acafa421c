//! A server of the same proto with tonic alone: the yardstick for Authorize.
//!
//! `cargo bench --bench bare -- DIRECTORY` puts a certificate and its key into DIRECTORY, and serves until
//! it is killed, in plain text and with that certificate. It prints the two addresses in a line.
//!
//! It serves as tonic does by default: its own router, codec and buffers, no limit and no layer. Authorize
//! always gives the same grant, Resume an empty message, and Check lets each request pass.

use keyservice::grpc::{
    envoy::service::auth::v3::{
        CheckRequest, CheckResponse, OkHttpResponse, check_response::HttpResponse,
    },
    proto::{
        AuthorizeRequest, AuthorizeResponse, Grant, ResumeRequest, ResumeResponse, Scope,
        authorize_response::Decision, scope::Kind,
    },
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::{
    convert::Infallible,
    error::Error,
    fs,
    net::Ipv4Addr,
    path::Path,
    task::{Context, Poll},
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::BoxFuture,
    server::{Grpc, NamedService, UnaryService},
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::Service;

#[allow(dead_code)] // The bench of the stream has a main of its own.
fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench` behind it.
    let Some(directory) = std::env::args().nth(1).filter(|it| !it.starts_with("--")) else {
        eprintln!("bare: no DIRECTORY for the certificate is given, so nothing is served");
        return Ok(());
    };
    serve(Path::new(&directory))
}

/// Serves until it is killed.
#[tokio::main]
pub(crate) async fn serve(directory: &Path) -> Result<(), Box<dyn Error>> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".into()])?;
    let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
    fs::write(directory.join("certificate.pem"), &certificate)?;
    fs::write(directory.join("key.pem"), &key)?;

    let listen = || TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into());
    let (plain, encrypted) = (listen()?, listen()?);
    println!("{} {}", plain.local_addr()?, encrypted.local_addr()?);
    let identity = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let with_tls = Server::builder().tls_config(identity)?;
    let serve = |mut server: Server, incoming: TcpIncoming| {
        let incoming = incoming.with_nodelay(Some(true));
        let services = server.add_service(Bare).add_service(BareGateway);
        services.serve_with_incoming(incoming)
    };
    tokio::try_join!(serve(Server::builder(), plain), serve(with_tls, encrypted))?;
    Ok(())
}

#[derive(Clone)]
struct Bare;

impl NamedService for Bare {
    const NAME: &'static str = "tosend.keys.v1.KeyService";
}

/// As tonic generates it.
impl Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/tosend.keys.v1.KeyService/Authorize" => Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::default());
                Ok(grpc.unary(Authorize, request).await)
            }),
            "/tosend.keys.v1.KeyService/Resume" => Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::default());
                Ok(grpc.unary(Resume, request).await)
            }),
            _ => Box::pin(async { Ok(Status::unimplemented("").into_http()) }),
        }
    }
}

/// What a gateway asks.
#[derive(Clone)]
struct BareGateway;

impl NamedService for BareGateway {
    const NAME: &'static str = "envoy.service.auth.v3.Authorization";
}

impl Service<http::Request<Body>> for BareGateway {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            Ok(grpc.unary(Check, request).await)
        })
    }
}

struct Check;

impl UnaryService<CheckRequest> for Check {
    type Response = CheckResponse;
    type Future = BoxFuture<Response<CheckResponse>, Status>;

    fn call(&mut self, _: Request<CheckRequest>) -> Self::Future {
        let ok = HttpResponse::OkResponse(OkHttpResponse::default());
        Box::pin(async {
            Ok(Response::new(CheckResponse {
                status: Some(tonic_types::Status::default()),
                http_response: Some(ok),
            }))
        })
    }
}

struct Authorize;

impl UnaryService<AuthorizeRequest> for Authorize {
    type Response = AuthorizeResponse;
    type Future = BoxFuture<Response<AuthorizeResponse>, Status>;

    fn call(&mut self, _: Request<AuthorizeRequest>) -> Self::Future {
        Box::pin(async {
            Ok(Response::new(AuthorizeResponse {
                decision: Some(Decision::Grant(Grant {
                    key_id: "019a0000-0000-7000-8000-000000000000".to_owned(),
                    account_id: "bench".to_owned(),
                    scope: Some(Scope {
                        kind: Some(Kind::Domain("mail.example.com".to_owned())),
                    }),
                })),
                granted: true,
            }))
        })
    }
}

struct Resume;

impl UnaryService<ResumeRequest> for Resume {
    type Response = ResumeResponse;
    type Future = BoxFuture<Response<ResumeResponse>, Status>;

    fn call(&mut self, _: Request<ResumeRequest>) -> Self::Future {
        Box::pin(async { Ok(Response::new(ResumeResponse::default())) })
    }
}
