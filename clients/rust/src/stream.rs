//! The stream on which the questions of many calls go to one replica.
//!
//! A question on it costs a fraction of a call. With few calls at a time it is not faster, and servers have a limit
//! on streams, so it is opened when several are in flight, and ended when nobody has asked for a while. Until it is
//! open, and wherever it is refused, questions are calls of their own.

use crate::{
    call::Unseen,
    credentials::Bearer,
    proto::{
        AuthorizeRequest, AuthorizeResponse, AuthorizeStreamRequest, AuthorizeStreamResponse,
        authorize_response::Decision, authorize_stream_response::Answer,
    },
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};
use tonic_prost::ProstCodec;

/// How many calls must be in flight to a replica before they share a stream.
pub(crate) const WORTHWHILE: usize = 4;

/// How many questions may wait to be sent, and how many for their answers. Callers that give up leave theirs behind, so
/// that these would grow without bound beside a server that does not read.
const MAX_WAITING: usize = 100;

/// How long the opening may take, and how long after one the next may begin.
const OPEN_TIME: Duration = Duration::from_secs(1);

/// How long the server may take to end a stream on which nobody waits for an answer any more.
const END_TIME: Duration = Duration::from_secs(1);

/// A stream on which nobody has asked for so long is ended.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// A question, and who waits for its answer.
struct Asked {
    question: AuthorizeStreamRequest,
    answer: oneshot::Sender<Answered>,
}

type Answered = Result<AuthorizeResponse, Status>;

/// The place of a replica's stream.
#[derive(Default)]
pub(crate) struct StreamPlace(Mutex<State>);

#[derive(Default)]
struct State {
    stream: Option<Stream>,
    /// When the last one began to be opened.
    opened: Option<Instant>,
    /// How often streams were retired, so that one which was opened before that is not used.
    retired: u64,
}

/// A stream that is open. When the last sender is dropped, it ends after the answers to what was asked.
struct Stream {
    ask: mpsc::Sender<Asked>,
    bearer: Option<Bearer>,
}

impl StreamPlace {
    /// Asks on the stream that is open, if there is one for this secret. The error says why there is no answer.
    pub(crate) async fn ask(
        &self,
        question: &AuthorizeRequest,
        bearer: Option<&Bearer>,
    ) -> Option<Result<AuthorizeResponse, Status>> {
        let ask = self.current(bearer)?;
        let (answer, answered) = oneshot::channel();
        let question = AuthorizeStreamRequest {
            id: 0,
            token: question.token.clone(),
            domain: question.domain.clone(),
        };
        // The stream is full, or has just ended: it has not seen the question.
        ask.try_send(Asked { question, answer }).ok()?;
        drop(ask);
        // Without a word, the question was never sent.
        answered.await.ok()
    }

    fn current(&self, bearer: Option<&Bearer>) -> Option<mpsc::Sender<Asked>> {
        let mut state = self.lock();
        let is_usable =
            |stream: &Stream| stream.bearer.as_ref() == bearer && !stream.ask.is_closed();
        state.stream = state.stream.take().filter(is_usable);
        state.stream.as_ref().map(|stream| stream.ask.clone())
    }

    /// Opens a stream in the background, unless there is one, or one was opened a moment ago.
    pub(crate) fn open(self: &Arc<Self>, channel: Channel, bearer: Option<Bearer>) {
        let now = Instant::now();
        let mut state = self.lock();
        let is_soon = state.opened.is_some_and(|opened| now < opened + OPEN_TIME);
        if state.stream.is_some() || is_soon {
            return;
        }
        state.opened = Some(now);
        tokio::spawn(self.clone().serve(channel, bearer, state.retired));
    }

    /// Has nobody ask on the present stream any more. What was asked keeps its time.
    pub(crate) fn retire(&self) {
        let mut state = self.lock();
        state.stream = None;
        state.retired += 1;
    }

    async fn serve(self: Arc<Self>, channel: Channel, bearer: Option<Bearer>, retired: u64) {
        let (ask, asked) = mpsc::channel(MAX_WAITING);
        let (questions, to_send) = mpsc::channel(MAX_WAITING);
        let mut request = Request::new(ReceiverStream::new(to_send));
        if let Some(bearer) = bearer.clone() {
            request.metadata_mut().insert("authorization", bearer);
        }
        let Ok(Ok(answers)) = timeout(OPEN_TIME, open(channel, request)).await else {
            return;
        };
        {
            let mut state = self.lock();
            if state.retired == retired {
                state.stream = Some(Stream { ask, bearer });
            }
        }
        // The place alone keeps the stream, so that it ends with its replica.
        drop(self);
        exchange(asked, questions, answers).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open(
    channel: Channel,
    request: Request<ReceiverStream<AuthorizeStreamRequest>>,
) -> Result<Streaming<AuthorizeStreamResponse>, Status> {
    let mut grpc = Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = PathAndQuery::from_static("/tosend.keys.v1.KeyService/AuthorizeStream");
    let codec = ProstCodec::default();
    let response = grpc.streaming(request, path, codec).await?;
    // Then no status would be looked for behind the answers.
    if response.metadata().contains_key("grpc-status") {
        return Err(Status::internal("the stream of answers is over"));
    }
    Ok(response.into_inner())
}

/// Sends what is asked, and gives each answer to who waits for it, until the stream ends.
async fn exchange(
    mut asked: mpsc::Receiver<Asked>,
    questions: mpsc::Sender<AuthorizeStreamRequest>,
    mut answers: Streaming<AuthorizeStreamResponse>,
) {
    let mut questions = Some(questions);
    // The answers come in the order of the questions.
    let mut waiting = VecDeque::new();
    let mut last_id = 0;
    let end = loop {
        tokio::select! {
            next = timeout(IDLE_TIME, asked.recv()), if questions.is_some() && waiting.len() < MAX_WAITING => {
                if let (Ok(Some(Asked { mut question, answer })), Some(send)) = (next, &questions) {
                    if answer.is_closed() {
                        continue;
                    }
                    last_id += 1;
                    question.id = last_id;
                    waiting.push_back((last_id, answer));
                    // There is room, since none is here that does not wait. If it has ended, the next answer says so.
                    send.try_send(question).ok();
                } else {
                    asked.close();
                    questions = None;
                }
            }
            () = nobody_waits(&mut waiting), if questions.is_none() => return,
            answer = answers.message() => match answer {
                Ok(Some(answer)) => {
                    let first = waiting.pop_front().filter(|(id, _)| *id == answer.id);
                    let Some((_, waits)) = first else {
                        break Status::internal("an answer has the number of another question");
                    };
                    // Nobody waits for it if its time was up.
                    waits.send(read(answer)).ok();
                }
                Ok(None) => break ended_well(),
                Err(status) => break status,
            },
        }
    };
    for (_, waits) in waiting {
        waits.send(Err(end.clone())).ok();
    }
}

/// A server may keep a stream open for ever.
async fn nobody_waits(waiting: &mut VecDeque<(u64, oneshot::Sender<Answered>)>) {
    for (_, waits) in waiting {
        waits.closed().await;
    }
    sleep(END_TIME).await;
}

/// The server has answered every question that it has read.
fn ended_well() -> Status {
    let mut status = Status::unavailable("the stream of questions ended before this one was read");
    status.set_source(Arc::new(Unseen));
    status
}

fn read(answer: AuthorizeStreamResponse) -> Result<AuthorizeResponse, Status> {
    let decision = match answer.answer {
        Some(Answer::Grant(grant)) => Some(Decision::Grant(grant)),
        Some(Answer::Denial(denial)) => Some(Decision::Denial(denial)),
        Some(Answer::Error(error)) => return Err(Status::new(error.code.into(), error.message)),
        None => None,
    };
    Ok(AuthorizeResponse {
        decision,
        granted: answer.granted,
    })
}
