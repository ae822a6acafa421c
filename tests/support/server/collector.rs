//! An OpenTelemetry collector that receives spans over OTLP (gRPC) and keeps them.

use crate::support::certificates::Authority;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use prost::Message;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

pub struct Collector {
    endpoint: String,
    received: Received,
    _server: AbortOnDropHandle<()>,
}

#[derive(Clone, Default)]
struct Received {
    requests: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    headers: Arc<Mutex<Vec<MetadataMap>>>,
    /// What is said of each.
    message: String,
}

impl Collector {
    pub async fn start() -> Self {
        Self::saying("").await
    }

    /// One that says this of all spans.
    pub async fn saying(message: &str) -> Self {
        Self::serve("http", Server::builder(), message).await
    }

    /// One with a certificate of this authority, which asks for one that the other authority, if any, has signed.
    pub async fn encrypted(authority: &Authority, of_clients: Option<&Authority>) -> Self {
        let issued = authority.server("localhost");
        let identity = Identity::from_pem(issued.certificate, issued.key);
        let mut tls = ServerTlsConfig::new().identity(identity);
        if let Some(authority) = of_clients {
            tls = tls.client_ca_root(Certificate::from_pem(authority.pem()));
        }
        let server = Server::builder().tls_config(tls).expect("valid");
        Self::serve("https", server, "").await
    }

    async fn serve(scheme: &str, mut server: Server, message: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let endpoint = format!("{scheme}://localhost:{port}");
        let received = Received {
            message: message.to_owned(),
            ..Received::default()
        };
        let service = TraceServiceServer::new(received.clone());
        let server = server
            .add_service(service.accept_compressed(CompressionEncoding::Gzip))
            .serve_with_incoming(TcpIncoming::from(listener));
        Self {
            endpoint,
            received,
            _server: AbortOnDropHandle::new(tokio::spawn(async {
                server.await.expect("the collector serves");
            })),
        }
    }

    /// The environment variable that makes a server export to this collector.
    pub fn env(&self) -> (&str, &str) {
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &self.endpoint)
    }

    /// All received spans.
    pub fn spans(&self) -> Vec<Span> {
        let received = self.received.requests.lock().expect("unpoisoned");
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The names of the services that sent the spans.
    pub fn service_names(&self) -> BTreeSet<String> {
        let received = self.received.requests.lock().expect("unpoisoned");
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        let attributes = resources.flat_map(|all| &all.resource.as_ref().expect("one").attributes);
        let names = attributes.filter(|attribute| attribute.key == "service.name");
        names
            .map(
                |name| match name.value.as_ref().and_then(|value| value.value.clone()) {
                    Some(Value::StringValue(name)) => name,
                    other => panic!("no name: {other:?}"),
                },
            )
            .collect()
    }

    /// The header of this name that came with the first spans.
    pub fn header(&self, name: &str) -> Option<String> {
        let received = self.received.headers.lock().expect("unpoisoned");
        let value = received.first()?.get(name)?;
        Some(value.to_str().expect("ASCII").to_owned())
    }

    /// All received messages in their encoding.
    pub fn bytes(&self) -> Vec<u8> {
        let received = self.received.requests.lock().expect("unpoisoned");
        received.iter().flat_map(Message::encode_to_vec).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone();
        self.headers.lock().expect("unpoisoned").push(headers);
        let request = request.into_inner();
        self.requests.lock().expect("unpoisoned").push(request);
        let error_message = self.message.clone();
        let partial_success = (!error_message.is_empty()).then_some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message,
        });
        Ok(Response::new(ExportTraceServiceResponse {
            partial_success,
        }))
    }
}
