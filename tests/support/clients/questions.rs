//! A client that asks on a stream.

use super::callers::Bearer;
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use keyservice::grpc::proto::{
    AuthorizeStreamRequest, AuthorizeStreamResponse, authorize_stream_response::Answer,
};
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{
    Code, Request, Status, Streaming, body::Body, client::Grpc, codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService, transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::ServiceExt;

pub const PATH: &str = "/tosend.keys.v1.KeyService/AuthorizeStream";

/// A stream. To drop it is to give it up.
pub struct Questions {
    asked: Option<UnboundedSender<AuthorizeStreamRequest>>,
    answers: Streaming<AuthorizeStreamResponse>,
}

impl Questions {
    pub async fn open(channel: Channel) -> Self {
        let opened = Self::open_with(channel, Bearer::none(), Request::new(())).await;
        opened.expect("it is opened")
    }

    /// Opens a stream with this secret and metadata.
    pub async fn open_with(
        channel: Channel,
        bearer: Bearer,
        request: Request<()>,
    ) -> Result<Self, Status> {
        let (asked, questions) = unbounded_channel();
        let mut grpc = Grpc::new(InterceptedService::new(channel, bearer));
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let request = request.map(|()| UnboundedReceiverStream::new(questions));
        let path = PathAndQuery::from_static(PATH);
        let codec = ProstCodec::<AuthorizeStreamRequest, AuthorizeStreamResponse>::default();
        let response = grpc.streaming(request, path, codec).await?;
        Ok(Self {
            asked: Some(asked),
            answers: response.into_inner(),
        })
    }

    pub fn ask(&self, id: u64, token: &str, domain: &str) {
        let asked = self.asked.as_ref().expect("it is not closed");
        // Nobody takes it when the stream has ended.
        let _ = asked.send(AuthorizeStreamRequest {
            id,
            token: token.to_owned(),
            domain: domain.to_owned(),
        });
    }

    /// Asks no more.
    pub fn close(&mut self) {
        self.asked = None;
    }

    /// The next answer, or none at the end of a stream that ends with OK.
    pub async fn next(&mut self) -> Result<Option<(u64, Answer)>, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.map(|one| (one.id, one.answer.expect("an answer"))))
    }

    /// Asks one question and waits for its answer.
    pub async fn answer(&mut self, token: &str, domain: &str) -> Answer {
        self.ask(7, token, domain);
        let (id, answer) = self.next().await.expect("no error").expect("no end");
        assert_eq!(id, 7);
        answer
    }
}

/// The code of the status that is the answer to a question.
pub fn error_code(answer: &Answer) -> Option<Code> {
    match answer {
        Answer::Error(error) => Some(Code::from_i32(error.code)),
        _ => None,
    }
}

/// A question as a message of gRPC.
pub fn framed(id: u64, token: &str, domain: &str) -> Vec<u8> {
    let question = AuthorizeStreamRequest {
        id,
        token: token.to_owned(),
        domain: domain.to_owned(),
    };
    framed_message(&question.encode_to_vec())
}

/// Any bytes as a message of gRPC.
pub fn framed_message(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short").to_be_bytes();
    [&[0], &length[..], message].concat()
}

/// Sends these bytes as the messages of a stream, which goes on or ends behind them. Gives the number of
/// answers and the status behind them.
pub async fn send_bytes(channel: Channel, bytes: &[u8], goes_on: bool) -> (usize, Status) {
    let sent = stream::iter([Ok::<_, Status>(http_body::Frame::data(
        Bytes::copy_from_slice(bytes),
    ))]);
    let body = if goes_on {
        Body::new(StreamBody::new(stream::StreamExt::chain(
            sent,
            stream::pending(),
        )))
    } else {
        Body::new(StreamBody::new(sent))
    };
    let request = http::Request::post(format!("http://localhost{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let request = request.body(body).expect("a request");
    let response = channel.oneshot(request).await.expect("a response");
    if let Some(status) = Status::from_header_map(response.headers()) {
        return (0, status);
    }
    let answered = response.into_body().collect().await.expect("it ends");
    let trailers = answered.trailers().cloned().expect("trailers");
    let mut bytes = answered.to_bytes();
    let mut count = 0;
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().expect("four"));
        let message = bytes.split_to(5 + length as usize).split_off(5);
        AuthorizeStreamResponse::decode(message).expect("it is a message");
        count += 1;
    }
    (count, Status::from_header_map(&trailers).expect("a status"))
}
