//! What is served over a connection.
//!
//! Owns the services, the layers around them, and HTTP/2's limits.
//! Promises that every call but those of health passes authentication, and that a call's span and
//! its count cover that too.
//! Must never serve anything but health in plain text for probes.

use super::{
    ServingState,
    accounts::AccountHandlers,
    authorize::AuthorizeStream,
    domains::DomainHandlers,
    keys::KeyHandlers,
    layers::{Authenticate, CallSpan, Deadline, Dispatch, HeaderSize, InFlight, Questions},
    methods::assert_has_rows,
    proto::{
        account_service_server::AccountServiceServer,
        domain_service_server::DomainServiceServer,
        key_service_server::{KeyService, KeyServiceServer},
    },
    reflection, reflection_v1alpha,
};
use crate::{
    app::{App, Callers, Counts},
    audit::recorder::Recorder,
    config::ClientLimits,
    net::{connection::Connection, gathered::Gathered},
};
use futures::Stream;
use http::{Request, Response};
use std::{convert::Infallible, io, sync::Arc};
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
    transport::Server,
};
use tower::Service;

/// Metadata that exceeds its limit by no more than this is still answered with a status.
///
/// What exceeds it further is refused by HTTP/2 itself, whose clients are told no more than
/// `UNKNOWN`, and may lose their connection. The limit and this should come to 64 KiB or less: h2
/// then takes no more memory for headers that do not come to an end.
const HEADER_LEEWAY: u32 = 56 * 1024;

/// What a client may send on one stream before the server has read some of it. HTTP/2 begins with four times as
/// much. This holds 200 questions of an `AuthorizeStream`, which takes up to 64 KiB together with what is read
/// and answered of them.
const STREAM_WINDOW: u32 = 16 * 1024;

/// What a client may send on all streams together before the server has read some of it, for each stream
/// that it may have. hyper's default is 1 MiB a connection. h2 closes a connection if it has so many small
/// DATA frames to keep that what each lacks to 256 bytes comes to half of this. A client that sends a message and
/// its end in two frames may have one such frame on each stream, and h2 goes on counting those of calls that
/// were refused before their message came.
const WINDOW_PER_STREAM: u32 = 1024;

/// What a client may send on all streams together at least: as much as it takes that two streams of questions
/// of 75 bytes, each in a frame of its own, do not exceed that limit of h2.
const LEAST_WINDOW: u32 = 160 * 1024;

/// How many streams of one connection the server may have to reset, in all its life: because they break
/// the protocol, or because `--max-streams` are open. h2 keeps 600 bytes for each until the connection
/// ends, and more until the client takes the `RST_STREAM`. tonic's default is no limit, and hyper's 1024. It
/// must not be much lower: a call that its client's proxy opens before it has read the server's SETTINGS may
/// be one more than these admit. Calls that are refused before their message came do not count: see `refused`.
const MAX_RESET_STREAMS: usize = 100;

/// Serves the API to those who may call, until told to drain, and then to the last call.
pub(crate) async fn serve(
    connections: impl Stream<Item = io::Result<Gathered<Connection>>>,
    app: &Arc<App>,
    state: &ServingState,
    reflects: bool,
    limits: &ClientLimits,
    drain: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let mut services = Services::default();
    services.add(state.service());
    services.add(DomainServiceServer::new(DomainHandlers::new(app.clone())));
    services.add(AccountServiceServer::new(AccountHandlers::new(app.clone())));
    if reflects {
        services.add(reflection());
        services.add(reflection_v1alpha());
    }
    let questions = Questions {
        authorizer: app.authorizer.clone(),
        streams: AuthorizeStream::new(app.clone(), limits, state.draining()),
    };
    let api = api(
        limits,
        (KeyHandlers::new(app.clone()), Some(questions)),
        services,
        app.callers.clone(),
        app.recorder.clone(),
        app.counts,
        state.draining(),
    );
    http2(limits)
        .serve_with_incoming_shutdown(api, connections, drain)
        .await
}

/// Serves health alone, forever.
pub(crate) async fn serve_health(
    connections: impl Stream<Item = io::Result<Gathered<Connection>>>,
    state: &ServingState,
    counts: &'static Counts,
    limits: &ClientLimits,
) -> Result<(), tonic::transport::Error> {
    let mut services = Services::default();
    services.add(state.service());
    let no_keys = None::<KeyServiceServer<KeyHandlers>>;
    let service = Dispatch::new(limits, no_keys, None, services.router(), state.draining());
    let service = HeaderSize::new(limits, service);
    let service = InFlight::new(&counts.calls, service);
    http2(limits)
        .serve_with_incoming(service, connections)
        .await
}

type Api<K> = InFlight<CallSpan<HeaderSize<Authenticate<Deadline<Dispatch<K, Routes>>>>>>;

/// The services within their layers, from the innermost layer to the outermost. Calls take the way
/// back: the outermost is the first to see them, and the last to see their answers.
fn api<K: KeyService>(
    limits: &ClientLimits,
    (key_service, questions): (K, Option<Questions>),
    services: Services,
    callers: Callers,
    recorder: Arc<Recorder>,
    counts: &'static Counts,
    draining: CancellationToken,
) -> Api<K> {
    let key_service = KeyServiceServer::new(key_service);
    // Innermost, because services take requests, and the layers take calls.
    let service = Dispatch::new(
        limits,
        Some(key_service),
        questions,
        services.router(),
        draining,
    );
    // Within authentication, so that it records the calls that this answers.
    let service = Deadline::new(service);
    // Around everything that a caller must not reach.
    let service = Authenticate::new(limits, callers.clone(), recorder, service);
    // Around authentication, which reads metadata.
    let service = HeaderSize::new(limits, service);
    // Around all that answers calls, so that the refused ones have spans too. It asks who calls,
    // because only a caller may choose the trace.
    let service = CallSpan::new(callers, service);
    // Outermost, because it makes requests calls, and so that all are counted. Moreover tonic puts
    // the body of what it is given into a box, and this body needs no other.
    InFlight::new(&counts.calls, service)
}

/// The services that a router calls: all but `KeyService`.
#[derive(Default)]
struct Services {
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

impl Services {
    fn add<S>(&mut self, service: S)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        const { assert_has_rows(S::NAME) };
        self.routes.add_service(service);
        self.names.push(S::NAME);
    }

    /// The router, and the names of the services that it calls.
    fn router(self) -> (Routes, Arc<[&'static str]>) {
        (self.routes.routes().prepare(), self.names.into())
    }
}

/// What HTTP/2 buffers of answers cannot be set. Whoever answers holds that down: `held_answer` and
/// `stream_answer`.
fn http2(limits: &ClientLimits) -> Server {
    let all_windows = WINDOW_PER_STREAM.saturating_mul(limits.max_streams);
    Server::builder()
        .max_concurrent_streams(limits.max_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(all_windows.max(LEAST_WINDOW))
        .http2_max_local_error_reset_streams(Some(MAX_RESET_STREAMS))
        .http2_max_pending_accept_reset_streams(Some(limits.max_streams as usize))
        .http2_max_header_list_size(limits.max_header_size.saturating_add(HEADER_LEEWAY))
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        // No `max_connection_age_grace`: with it, tonic cuts connections off without telling them
        // to end first. The connections themselves know when their grace is over.
        .max_connection_age(limits.max_connection_age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        callers::Caller,
        config::Settings,
        grpc::{
            call::CODES,
            layers::new_counts,
            methods::Method,
            proto::{
                self, account_service_server::AccountService, domain_service_server::DomainService,
            },
        },
        model::audit_record::AuditRecord,
        store::{Appended, AuditLog, StoreError},
    };
    use std::pin::Pin;
    use strum::VariantArray;
    use tonic::{Code, Status};
    use tonic_health::pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    };
    use tower::ServiceExt;

    /// Answers every call with this status.
    #[derive(Clone)]
    struct Answering(Code);

    impl Answering {
        fn answer<T>(&self) -> Result<tonic::Response<T>, Status> {
            Err(Status::new(self.0, "as the service says"))
        }
    }

    /// Implements services whose every call is answered so.
    macro_rules! answer_every_call {
        ($($service:ident { $($rpc:ident($request:ident) -> $response:ident;)* })*) => {$(
            #[tonic::async_trait]
            impl $service for Answering {
                $(
                    async fn $rpc(
                        &self,
                        _: tonic::Request<proto::$request>,
                    ) -> Result<tonic::Response<proto::$response>, Status> {
                        self.answer()
                    }
                )*
            }
        )*};
    }

    answer_every_call! {
        KeyService {
            create(CreateRequest) -> CreateResponse;
            list(ListRequest) -> ListResponse;
            get(GetRequest) -> GetResponse;
            update(UpdateRequest) -> UpdateResponse;
            rotate(RotateRequest) -> RotateResponse;
            suspend(SuspendRequest) -> SuspendResponse;
            resume(ResumeRequest) -> ResumeResponse;
            revoke(RevokeRequest) -> RevokeResponse;
            batch_revoke(BatchRevokeRequest) -> BatchRevokeResponse;
        }
        AccountService {
            suspend_account(SuspendAccountRequest) -> SuspendAccountResponse;
            resume_account(ResumeAccountRequest) -> ResumeAccountResponse;
            get_account(GetAccountRequest) -> GetAccountResponse;
        }
        DomainService {
            add_domain(AddDomainRequest) -> AddDomainResponse;
            remove_domain(RemoveDomainRequest) -> RemoveDomainResponse;
            list_domains(ListDomainsRequest) -> ListDomainsResponse;
        }
    }

    #[tonic::async_trait]
    impl Health for Answering {
        async fn check(
            &self,
            _: tonic::Request<HealthCheckRequest>,
        ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
            self.answer()
        }

        type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

        async fn watch(
            &self,
            _: tonic::Request<HealthCheckRequest>,
        ) -> Result<tonic::Response<Self::WatchStream>, Status> {
            self.answer()
        }
    }

    struct NoLog;

    #[tonic::async_trait]
    impl AuditLog for NoLog {
        async fn append_records(&self, _: &[AuditRecord]) -> Result<Appended, StoreError> {
            Ok(Appended::Durably)
        }
    }

    #[tokio::test]
    async fn every_status_that_a_service_answers_reaches_its_client_unchanged() {
        let limits = Settings::parse_from(&[]).expect("defaults").limits;
        let callers = Callers::Anyone(Arc::new(Caller::anyone()));
        let (recorder, counts) = (
            Arc::new(Recorder::new(
                Arc::new(NoLog),
                crate::store::StoreIdentity::NONE,
            )),
            new_counts(),
        );
        // No service answers a call that failed with OK.
        for code in CODES.into_iter().filter(|code| *code != Code::Ok) {
            let mut services = Services::default();
            services.add(HealthServer::new(Answering(code)));
            services.add(DomainServiceServer::new(Answering(code)));
            services.add(AccountServiceServer::new(Answering(code)));
            let (callers, recorder) = (callers.clone(), recorder.clone());
            let api = api(
                &limits,
                (Answering(code), None),
                services,
                callers,
                recorder,
                counts,
                CancellationToken::new(),
            );
            let reads_itself = [Method::Authorize, Method::GatewayCheck];
            let by_tonic = |it: &&Method| !it.streams_requests() && !reads_itself.contains(it);
            let methods = Method::VARIANTS.iter().filter(by_tonic);
            for method in methods {
                let request = Request::post(format!("/{}", method.name()));
                let request = request.header("content-type", "application/grpc");
                let request = request.body(Body::new(empty_message())).expect("a request");
                let Ok(response) = api.clone().oneshot(request).await;
                let status = Status::from_header_map(response.headers()).expect("a status");
                let told = (status.code(), status.message());
                assert_eq!(told, (code, "as the service says"), "{method:?}");
            }
        }
    }

    fn empty_message() -> String {
        "\0\0\0\0\0".to_owned()
    }
}
