//! Health and reflection: what a client learns that knows only the address.

use crate::support::{server::Server, tools::python_client};
use futures::stream;
use http::uri::PathAndQuery;
use keyservice::grpc::proto::{account_service_server, domain_service_server, key_service_server};
use prost::Message;
use prost_types::FileDescriptorProto;
use std::collections::BTreeSet;
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
    server_reflection_response::MessageResponse,
};

const SERVICES: [&str; 7] = [
    "envoy.service.auth.v3.Authorization",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    account_service_server::SERVICE_NAME,
    domain_service_server::SERVICE_NAME,
    key_service_server::SERVICE_NAME,
];
const ERROR_DETAILS: [&str; 4] = [
    "google.rpc.Status",
    "google.rpc.BadRequest",
    "google.rpc.ErrorInfo",
    "google.rpc.ResourceInfo",
];

#[tokio::test(flavor = "multi_thread")]
async fn health_is_reported_for_the_server_and_for_the_service() {
    let server = Server::on_sqlite().await;
    let mut health = HealthClient::new(server.channel().await);
    for known in ["", key_service_server::SERVICE_NAME] {
        let answer = health.check(service(known)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    for unknown in ["tosend.keys.v1", "tosend.keys.v2.KeyService"] {
        let refused = health.check(service(unknown)).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_watch_reports_the_shutdown_and_then_ends() {
    let server = Server::on_sqlite().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watches = Vec::new();
    for known in ["", key_service_server::SERVICE_NAME] {
        let mut watch = health.watch(service(known)).await.unwrap().into_inner();
        assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
        watches.push(watch);
    }
    let status = server.terminate().await;
    for mut watch in watches {
        assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
        while let Some(status) = next(&mut watch).await {
            assert_eq!(status, ServingStatus::NotServing);
        }
    }
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_watch_of_an_unknown_service_says_so_and_does_not_delay_the_shutdown() {
    let server = Server::on_sqlite().await;
    let mut health = HealthClient::new(server.channel().await);
    let watch = health.watch(service("tosend.keys.v2.KeyService")).await;
    let mut watch = watch.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, Some(ServingStatus::ServiceUnknown));
    assert!(server.terminate().await.success());
    assert_eq!(next(&mut watch).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_reflection_list_the_same_services() {
    let server = Server::on_sqlite().await;
    for version in ["v1", "v1alpha"] {
        let question = MessageRequest::ListServices(String::new());
        let answer = reflect(&server, version, question).await;
        let MessageResponse::ListServicesResponse(listed) = answer else {
            panic!("{version}: {answer:?}");
        };
        let names: BTreeSet<String> = listed.service.into_iter().map(|it| it.name).collect();
        assert_eq!(names, SERVICES.map(String::from).into(), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_reflection_describe_every_service_and_the_details_of_errors() {
    let server = Server::on_sqlite().await;
    for version in ["v1", "v1alpha"] {
        for symbol in SERVICES.into_iter().chain(ERROR_DETAILS) {
            let question = MessageRequest::FileContainingSymbol(symbol.into());
            let mut wanted = imports(reflect(&server, version, question).await);
            while let Some(name) = wanted.pop() {
                let question = MessageRequest::FileByFilename(name);
                wanted.extend(imports(reflect(&server, version, question).await));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_takes_the_tour_through_reflection_alone() {
    let server = Server::on_sqlite().await;
    let ran = python_client("tour.py")
        .arg(format!("localhost:{}", server.port()))
        .output()
        .expect("python3 runs");
    let error = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{error}");
}

/// Clients and proxies log a status, and the name of a symbol may be a token that was pasted there.
#[tokio::test(flavor = "multi_thread")]
async fn no_status_repeats_what_a_client_sent() {
    const TOKEN: &str = "tsend_yoq907Zfz7E0vKCH7hs6qHpWW6XlFqrqIUMQdkHijt416QEEs";
    let server = Server::on_sqlite().await;
    for version in ["v1", "v1alpha"] {
        for question in [
            MessageRequest::FileContainingSymbol(TOKEN.into()),
            MessageRequest::FileByFilename(TOKEN.into()),
        ] {
            let refused = ask(&server, version, question).await.unwrap_err();
            assert_eq!(refused.code(), Code::NotFound);
            assert!(!format!("{refused:?}").contains(TOKEN), "{refused:?}");
        }
    }
    let mut health = HealthClient::new(server.channel().await);
    let refused = health.check(service(TOKEN)).await.unwrap_err();
    assert!(!format!("{refused:?}").contains(TOKEN), "{refused:?}");

    for encoding in [TOKEN, "gzip"] {
        let mut compressed = Request::new(HealthCheckRequest::default());
        let name = encoding.parse().expect("ASCII");
        compressed.metadata_mut().insert("grpc-encoding", name);
        let refused = health.check(compressed).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(!format!("{refused:?}").contains(encoding), "{refused:?}");
        let supported = refused.metadata().get("grpc-accept-encoding");
        assert_eq!(supported.expect("said"), "identity");
    }
    let mut plain = Request::new(HealthCheckRequest::default());
    let identity = "identity".parse().expect("ASCII");
    plain.metadata_mut().insert("grpc-encoding", identity);
    health.check(plain).await.expect("it is served");
}

fn service(name: &str) -> HealthCheckRequest {
    let service = name.to_owned();
    HealthCheckRequest { service }
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let answer = watch.message().await.expect("no error");
    answer.map(|answer| answer.status())
}

/// Calls one version of reflection. The two versions differ only in the name of their package, so the
/// messages of v1 are used for both.
async fn reflect(server: &Server, version: &str, question: MessageRequest) -> MessageResponse {
    ask(server, version, question).await.expect("an answer")
}

async fn ask(
    server: &Server,
    version: &str,
    question: MessageRequest,
) -> Result<MessageResponse, Status> {
    let service = format!("/grpc.reflection.{version}.ServerReflection");
    let method = PathAndQuery::try_from(format!("{service}/ServerReflectionInfo")).expect("a path");
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let codec = ProstCodec::<_, ServerReflectionResponse>::default();
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.expect("connected");
    let requests = Request::new(stream::iter([request]));
    let answers = client.streaming(requests, method, codec).await;
    let answer = answers?.into_inner().message().await?;
    let answer = answer.and_then(|it| it.message_response);
    Ok(answer.expect("an answer"))
}

/// The names of all files that the files in an answer import.
fn imports(answer: MessageResponse) -> Vec<String> {
    let MessageResponse::FileDescriptorResponse(files) = answer else {
        panic!("{answer:?}");
    };
    let files = files.file_descriptor_proto.into_iter();
    files
        .flat_map(|file| {
            let file = FileDescriptorProto::decode(file.as_slice()).expect("a descriptor");
            file.dependency
        })
        .collect()
}
