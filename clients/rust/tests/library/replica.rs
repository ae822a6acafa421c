//! A replica in this process, which does what the test says, on a real socket.

use futures::{StreamExt, stream};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming, body::Body, codegen::http, server::Grpc};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tosend_keyservice::proto::{
    AllDomains, AuthorizeRequest, AuthorizeResponse, AuthorizeStreamRequest,
    AuthorizeStreamResponse, CreateRequest, CreateResponse, Denial, Grant, Key, RevokeRequest,
    RevokeResponse, Scope, UpdateRequest, UpdateResponse, authorize_response::Decision,
    authorize_stream_response::Answer, scope::Kind,
};

/// The handle of a replica. It stops when this is dropped.
pub struct Replica {
    pub address: SocketAddr,
    pub state: Arc<State>,
    _tasks: JoinSet<()>,
}

pub struct State {
    serving: watch::Sender<bool>,
    hanging: watch::Sender<bool>,
    /// Health is answered, and calls are not.
    slow: watch::Sender<bool>,
    /// Ends all connections.
    end: watch::Sender<()>,
    /// Lets each connection end after the calls that it has.
    retire: watch::Sender<()>,
    /// What the next calls are answered, before the answer of always.
    script: Mutex<VecDeque<Status>>,
    pub answer: Mutex<Option<Decision>>,
    /// `granted` is the opposite of what the decision says.
    pub contradicts_itself: AtomicBool,
    /// The `authorization` of each call that came, health apart.
    pub calls: Mutex<Vec<Option<String>>>,
    /// Of each Create.
    pub request_ids: Mutex<Vec<String>>,
    /// In characters.
    pub longest_token: AtomicUsize,
    /// Calls that were cancelled before they were answered.
    pub cancelled: AtomicUsize,
    /// Streams of questions that were opened, and the questions on them.
    pub streams: AtomicUsize,
    pub open_streams: AtomicUsize,
    pub questions: AtomicUsize,
    end_streams: watch::Sender<()>,
    pub connections: AtomicUsize,
    pub open_connections: AtomicUsize,
}

impl Replica {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    pub async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            serving: watch::Sender::new(true),
            hanging: watch::Sender::new(false),
            slow: watch::Sender::new(false),
            end: watch::Sender::new(()),
            retire: watch::Sender::new(()),
            script: Mutex::default(),
            answer: Mutex::new(Some(granted())),
            contradicts_itself: AtomicBool::default(),
            calls: Mutex::default(),
            request_ids: Mutex::default(),
            longest_token: AtomicUsize::default(),
            cancelled: AtomicUsize::default(),
            streams: AtomicUsize::default(),
            open_streams: AtomicUsize::default(),
            questions: AtomicUsize::default(),
            end_streams: watch::Sender::new(()),
            connections: AtomicUsize::default(),
            open_connections: AtomicUsize::default(),
        });
        let mut tasks = JoinSet::new();
        let served = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                connections.spawn(accept(tcp, tls.clone(), served.clone()));
            }
        });
        Self {
            address,
            state,
            _tasks: tasks,
        }
    }

    /// The calls that came, and the questions on streams.
    pub fn count(&self) -> usize {
        self.state.calls.lock().unwrap().len() + self.state.questions.load(SeqCst)
    }

    pub fn set_serving(&self, is_serving: bool) {
        self.state.serving.send_replace(is_serving);
    }

    /// From now on nothing is answered, health neither, until this is called with false.
    pub fn set_hanging(&self, is_hanging: bool) {
        self.state.hanging.send_replace(is_hanging);
    }

    /// Answers the next call so, once.
    pub fn fail_next(&self, status: Status) {
        self.state.script.lock().unwrap().push_back(status);
    }

    pub fn answer_always(&self, decision: Option<Decision>) {
        *self.state.answer.lock().unwrap() = decision;
    }
}

pub fn granted() -> Decision {
    Decision::Grant(Grant {
        key_id: "key_1".into(),
        account_id: "acme".into(),
        scope: Some(Scope {
            kind: Some(Kind::AllDomains(AllDomains {})),
        }),
    })
}

pub fn denied(reason: i32) -> Decision {
    let (key_id, account_id) = ("key_1".into(), "acme".into());
    Decision::Denial(Denial {
        reason,
        key_id,
        account_id,
    })
}

/// Counts down, or up, when what it stands for ends.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

async fn accept(tcp: TcpStream, tls: Option<TlsAcceptor>, state: Arc<State>) {
    state.connections.fetch_add(1, SeqCst);
    state.open_connections.fetch_add(1, SeqCst);
    let _open = AtEnd(|| {
        state.open_connections.fetch_sub(1, SeqCst);
    });
    // The client may leave in the middle of anything.
    let _ = match tls {
        None => serve(tcp, &state).await,
        Some(tls) => match tls.accept(tcp).await {
            Ok(stream) => serve(stream, &state).await,
            Err(error) => Err(error),
        },
    };
}

async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: &Arc<State>,
) -> io::Result<()> {
    let answer = |request| answer(state.clone(), request);
    let connection = http2::Builder::new(TokioExecutor::new());
    let connection = connection.serve_connection(TokioIo::new(io), service_fn(answer));
    let (mut end, mut retire) = (state.end.subscribe(), state.retire.subscribe());
    let mut connection = pin!(connection);
    loop {
        tokio::select! {
            ended = &mut connection => return ended.map_err(io::Error::other),
            _ = end.changed() => return Ok(()),
            _ = retire.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

async fn answer(
    state: Arc<State>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let request = request.map(Body::new);
    if path.ends_with("/Watch") {
        state.not_hanging().await;
        let watch = tower::service_fn(|_: Request<HealthCheckRequest>| {
            let serving = state.serving.subscribe();
            async { Ok::<_, Status>(Response::new(health(serving))) }
        });
        let mut grpc = Grpc::new(ProstCodec::<HealthCheckResponse, _>::default());
        return Ok(grpc.server_streaming(watch, request).await);
    }
    let secret = request.headers().get("authorization");
    let secret = secret.map(|it| it.to_str().unwrap().to_owned());
    let is_stream = path.ends_with("/AuthorizeStream");
    if !is_stream {
        state.calls.lock().unwrap().push(secret);
    }
    let is_cancelled = AtomicBool::new(true);
    let _end = AtEnd(|| {
        let count = usize::from(is_cancelled.load(SeqCst));
        state.cancelled.fetch_add(count, SeqCst);
    });
    state.not_hanging().await;
    let mut slow = state.slow.subscribe();
    if !is_stream {
        slow.wait_for(|is_slow| !is_slow).await.unwrap();
    }
    let failure = state.script.lock().unwrap().pop_front();
    let response = match path.rsplit_once('/').unwrap().1 {
        "Authorize" => {
            let answer = tower::service_fn(|request: Request<AuthorizeRequest>| async {
                let longest = request.into_inner().token.chars().count();
                state.longest_token.fetch_max(longest, SeqCst);
                let decision = state.answer.lock().unwrap().clone();
                let granted = state.says_granted(decision.as_ref());
                let response = AuthorizeResponse { decision, granted };
                failure.clone().map_or(Ok(Response::new(response)), Err)
            });
            let mut grpc = Grpc::new(ProstCodec::<AuthorizeResponse, _>::default());
            grpc.unary(answer, request).await
        }
        "AuthorizeStream" => {
            state.streams.fetch_add(1, SeqCst);
            let answer = tower::service_fn(
                |request: Request<Streaming<AuthorizeStreamRequest>>| async {
                    let answers = questions(state.clone(), request.into_inner());
                    failure.clone().map_or(Ok(Response::new(answers)), Err)
                },
            );
            let mut grpc = Grpc::new(ProstCodec::<AuthorizeStreamResponse, _>::default());
            grpc.streaming(answer, request).await
        }
        "Create" => {
            let answer = tower::service_fn(|request: Request<CreateRequest>| async {
                let request_id = request.into_inner().request_id.unwrap();
                state.request_ids.lock().unwrap().push(request_id);
                let token = "tsend_new_secret".to_owned();
                let key = Some(Key::default());
                let response = CreateResponse { token, key };
                failure.clone().map_or(Ok(Response::new(response)), Err)
            });
            let mut grpc = Grpc::new(ProstCodec::<CreateResponse, _>::default());
            grpc.unary(answer, request).await
        }
        "Revoke" => {
            let answer = tower::service_fn(|_: Request<RevokeRequest>| async {
                let response = RevokeResponse::default();
                failure.clone().map_or(Ok(Response::new(response)), Err)
            });
            let mut grpc = Grpc::new(ProstCodec::<RevokeResponse, _>::default());
            grpc.unary(answer, request).await
        }
        "Update" => {
            let answer = tower::service_fn(|_: Request<UpdateRequest>| async {
                let response = UpdateResponse::default();
                failure.clone().map_or(Ok(Response::new(response)), Err)
            });
            let mut grpc = Grpc::new(ProstCodec::<UpdateResponse, _>::default());
            grpc.unary(answer, request).await
        }
        other => panic!("teach this replica {other}"),
    };
    is_cancelled.store(false, SeqCst);
    Ok(response)
}

impl State {
    pub fn set_slow(&self, is_slow: bool) {
        self.slow.send_replace(is_slow);
    }

    pub fn end_connections(&self) {
        self.end.send_replace(());
    }

    /// Ends all streams of questions with OK, after the answers that they have given.
    pub fn end_streams(&self) {
        self.end_streams.send_replace(());
    }

    pub fn retire_connections(&self) {
        self.retire.send_replace(());
    }

    fn says_granted(&self, decision: Option<&Decision>) -> bool {
        matches!(decision, Some(Decision::Grant(_))) != self.contradicts_itself.load(SeqCst)
    }

    async fn not_hanging(&self) {
        let mut hanging = self.hanging.subscribe();
        hanging.wait_for(|is_hanging| !is_hanging).await.unwrap();
    }
}

/// Answers what is asked on a stream, as calls are answered.
fn questions(
    state: Arc<State>,
    asked: Streaming<AuthorizeStreamRequest>,
) -> impl stream::Stream<Item = Result<AuthorizeStreamResponse, Status>> {
    let mut end = state.end_streams.subscribe();
    state.open_streams.fetch_add(1, SeqCst);
    let of_this = state.clone();
    let open = AtEnd(move || {
        of_this.open_streams.fetch_sub(1, SeqCst);
    });
    stream::unfold(
        (state, asked, open),
        |(state, mut asked, open)| async move {
            let question = asked.message().await.ok()??;
            state.questions.fetch_add(1, SeqCst);
            state.not_hanging().await;
            let mut slow = state.slow.subscribe();
            slow.wait_for(|is_slow| !is_slow).await.unwrap();
            let decision = state.answer.lock().unwrap().clone();
            let failure = state.script.lock().unwrap().pop_front();
            let answer = match (failure, decision.clone()) {
                (Some(status), _) => Some(Answer::Error(tonic_types::pb::Status {
                    code: status.code().into(),
                    message: status.message().to_owned(),
                    details: Vec::new(),
                })),
                (None, Some(Decision::Grant(grant))) => Some(Answer::Grant(grant)),
                (None, Some(Decision::Denial(denial))) => Some(Answer::Denial(denial)),
                (None, None) => None,
            };
            let granted = state.says_granted(decision.as_ref());
            let response = AuthorizeStreamResponse {
                id: question.id,
                answer,
                granted,
            };
            Some((Ok(response), (state, asked, open)))
        },
    )
    .take_until(async move { end.changed().await.ok() })
}

/// One message now, and one for each change.
fn health(
    serving: watch::Receiver<bool>,
) -> impl stream::Stream<Item = Result<HealthCheckResponse, Status>> {
    stream::unfold((serving, true), |(mut serving, is_first)| async move {
        if !is_first {
            serving.changed().await.ok()?;
        }
        let status = if *serving.borrow_and_update() { 1 } else { 2 };
        Some((Ok(HealthCheckResponse { status }), (serving, false)))
    })
}
