//! What a caller can still do with calls that it opened before it lost its rights.

use super::Guarded;
use crate::support::{
    clients::{
        callers::{Bearer, BearerClient, Credential, client},
        questions::Questions,
    },
    eventually,
    postgres::table_lock::LONG_STATEMENT_TIMEOUT,
    server::error_reason,
};
use futures::{FutureExt, StreamExt, future::join_all, stream};
use keyservice::grpc::proto::{
    AuthorizeRequest, AuthorizeResponse, CreateRequest, CreateResponse,
    authorize_stream_response::Answer, denial::Reason,
};
use std::time::Duration;
use tokio::{sync::oneshot, time::timeout};
use tonic::{
    Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService, transport::Channel,
};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

/// Far longer than a change of the file takes.
const SOON: Duration = Duration::from_secs(10);

pub(super) struct Callers {
    pub(super) guarded: Guarded,
    pub(super) operator: Credential,
    pub(super) acme: Credential,
    channel: Channel,
}

impl Callers {
    async fn start() -> Self {
        Self::start_on(None).await
    }

    /// On this store, or a file of its own.
    pub(super) async fn start_on(store: Option<&str>) -> Self {
        let operator = Credential::new("operator", &["--role", "admin"]);
        let acme = Credential::new("acme", &["--role", "admin", "--accounts", "acme"]);
        let lines = [&*operator.line, &acme.line];
        let guarded = Guarded::start_on(store, &lines, &LONG_STATEMENT_TIMEOUT).await;
        let channel = guarded.server.channel().await;
        Self {
            guarded,
            operator,
            acme,
            channel,
        }
    }

    pub(super) fn client(&self, credential: &Credential) -> BearerClient {
        client(self.channel.clone(), &credential.secret)
    }

    /// Leaves the operator and this line in the file, and waits until that counts.
    pub(super) async fn replace_acme(&mut self, line: &str) {
        self.write_file(line);
        let is_logged = async || self.change_is_logged();
        eventually("the file is read again", is_logged).await;
    }

    /// Leaves the operator and this line in the file.
    pub(super) fn write_file(&mut self, line: &str) {
        let lines = format!("{}\n{line}", self.operator.line);
        self.guarded.file.swap(&[("callers", &lines)]);
    }

    pub(super) fn change_is_logged(&self) -> bool {
        let log = self.guarded.server.log();
        log.contains("--credentials: changed, and in use")
    }

    pub(super) async fn key_count(&self) -> usize {
        let keys = self.client(&self.operator).list("acme").await;
        keys.expect("listed").len()
    }
}

/// Opens a Create, whose message is sent when that is told.
async fn open_create(
    channel: Channel,
    bearer: Bearer,
    send: oneshot::Receiver<CreateRequest>,
) -> Result<CreateResponse, Status> {
    open("Create", channel, bearer, send).await
}

/// Opens a call, whose message is sent when that is told.
async fn open<Q, A>(
    rpc: &str,
    channel: Channel,
    bearer: Bearer,
    send: oneshot::Receiver<Q>,
) -> Result<A, Status>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let mut grpc = Grpc::new(InterceptedService::new(channel, bearer));
    grpc.ready().await.expect("it is connected");
    let message = stream::once(async { send.await.expect("it is told") });
    let path = format!("/tosend.keys.v1.KeyService/{rpc}");
    let path = PathAndQuery::try_from(path).expect("a path");
    let codec = ProstCodec::<Q, A>::default();
    let answer = grpc.client_streaming(Request::new(message), path, codec);
    Ok(answer.await?.into_inner())
}

fn create_request() -> CreateRequest {
    CreateRequest {
        account_id: "acme".into(),
        name: "late".into(),
        ..CreateRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_was_removed_writes_nothing_with_a_call_that_is_open() {
    let mut callers = Callers::start().await;
    let (send, told) = oneshot::channel();
    let bearer = Bearer::secret(&callers.acme.secret);
    let open = tokio::spawn(open_create(callers.channel.clone(), bearer, told));
    callers.replace_acme("").await;
    send.send(create_request()).expect("it waits");
    let refused = open.await.expect("no panic").expect_err("removed");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert_eq!(callers.key_count().await, 0);
}

/// Replaces the caller's line while its writes wait for their turn. Gives the answers to those that are not made.
async fn refused_in_their_turn(callers: &mut Callers, line: &str) -> Vec<Status> {
    let file = callers.guarded.directory.path().join("keys.db");
    let file = rusqlite::Connection::open(file).expect("opened");
    file.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let creates: Vec<_> = (0..4)
        .map(|_| {
            let mut acme = callers.client(&callers.acme);
            tokio::spawn(async move { acme.create("acme", "one of some").await })
        })
        .collect();
    callers.replace_acme(line).await;
    file.execute_batch("ROLLBACK").expect("writes go on");
    let created = join_all(creates).await;
    let created = created
        .into_iter()
        .map(|created| created.expect("no panic"));
    let (created, refused): (Vec<_>, Vec<_>) = created.partition(Result::is_ok);
    assert!(
        created.len() <= 2,
        "{} had their turns before",
        created.len()
    );
    assert_eq!(callers.key_count().await, created.len());
    refused.into_iter().filter_map(Result::err).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_was_removed_writes_nothing_with_a_call_that_waits_for_its_turn() {
    let mut callers = Callers::start().await;
    for refused in refused_in_their_turn(&mut callers, "").await {
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_accounts_were_changed_writes_nothing_with_a_call_that_waits_for_its_turn() {
    let mut callers = Callers::start().await;
    let other = callers
        .acme
        .line
        .replace("accounts=acme", "accounts=globex");
    for refused in refused_in_their_turn(&mut callers, &other).await {
        assert_eq!(error_reason(&refused).as_deref(), Some("CALLER_CHANGED"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_accounts_were_changed_is_told_to_try_again() {
    let mut callers = Callers::start().await;
    let (send, told) = oneshot::channel();
    let bearer = Bearer::secret(&callers.acme.secret);
    let open = tokio::spawn(open_create(callers.channel.clone(), bearer, told));
    let other = callers
        .acme
        .line
        .replace("accounts=acme", "accounts=globex");
    callers.replace_acme(&other).await;
    send.send(create_request()).expect("it waits");
    let refused = open.await.expect("no panic").expect_err("changed");
    assert_eq!(error_reason(&refused).as_deref(), Some("CALLER_CHANGED"));
    assert_eq!(callers.key_count().await, 0);
}

/// An Authorize is not audited, and nothing but its headers tells who calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_was_removed_is_told_nothing_of_a_token_whose_message_comes_late() {
    let mut callers = Callers::start().await;
    let (token, _) = callers.client(&callers.operator).create_key().await;
    let request = |token: &str| AuthorizeRequest {
        token: token.into(),
        domain: "example.com".into(),
    };
    let authorize = |told| {
        let bearer = Bearer::secret(&callers.acme.secret);
        let answer =
            open::<_, AuthorizeResponse>("Authorize", callers.channel.clone(), bearer, told);
        tokio::spawn(answer)
    };
    let (send, told) = oneshot::channel();
    let in_time = authorize(told);
    // A message that waits for nothing but itself.
    send.send(request(&token)).expect("it waits");
    in_time.await.expect("no panic").expect("answered");

    let (send, told) = oneshot::channel();
    let late = authorize(told);
    callers.replace_acme("").await;
    send.send(request(&token)).expect("it waits");
    let refused = late.await.expect("no panic").expect_err("removed");
    assert_eq!(error_reason(&refused).as_deref(), Some("CALLER_CHANGED"));
    let refused = callers
        .client(&callers.acme)
        .authorize(&token, "example.com")
        .await;
    assert_eq!(refused.expect_err("removed").code(), Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_caller_that_was_removed_ends() {
    let mut callers = Callers::start().await;
    let mut answers = Vec::new();
    for credential in [&callers.acme, &callers.operator] {
        let bearer = Bearer::secret(&credential.secret);
        let channel = InterceptedService::new(callers.channel.clone(), bearer);
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let messages = stream::iter([list]).chain(stream::pending());
        let mut client = ServerReflectionClient::new(channel);
        let opened = client.server_reflection_info(messages).await;
        let mut answer = opened.expect("it may").into_inner();
        answer.message().await.expect("an answer").expect("a list");
        answers.push(answer);
    }
    let [mut removed, mut kept] = answers.try_into().expect("two");
    callers.replace_acme("").await;
    let end = timeout(SOON, removed.message()).await;
    let end = end.expect("soon").expect_err("it ends");
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert!(kept.message().now_or_never().is_none());
}

/// Otherwise who has a stolen secret could keep the caller's share of streams when the secret is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_questions_ends_when_its_callers_secret_is_gone_or_another_callers() {
    let mut callers = Callers::start().await;
    let channel = callers.channel.clone();
    let open = async |caller: &Credential| {
        let bearer = Bearer::secret(&caller.secret);
        Questions::open_with(channel.clone(), bearer, Request::new(())).await
    };
    let mut kept = open(&callers.operator).await.expect("opened");
    let line = callers.acme.line.clone();
    let replaced = Credential::new("acme", &["--role", "admin", "--accounts", "acme"]).line;
    let moved = line.replacen("acme", "globex", 1) + &replaced;
    for now in ["", &replaced, &moved] {
        let mut stream = None;
        eventually("it is opened", async || {
            stream = open(&callers.acme).await.ok();
            stream.is_some()
        })
        .await;
        callers.write_file(now);
        let end = timeout(SOON, stream.expect("opened").next()).await;
        let end = end.expect("it ends").expect_err("by a status");
        assert_eq!(end.code(), Code::Unauthenticated, "{end}");
        callers.write_file(&line);
    }
    assert!(kept.next().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_accounts_were_changed_asks_by_them_from_its_next_question_on() {
    let mut callers = Callers::start().await;
    let (token, _) = callers.client(&callers.acme).create_key().await;
    let bearer = Bearer::secret(&callers.acme.secret);
    let opened = Questions::open_with(callers.channel.clone(), bearer, Request::new(())).await;
    let mut stream = opened.expect("opened");
    let acme = callers.acme.line.clone();
    let other_accounts = acme.replace("accounts=acme", "accounts=globex");
    for (line, expected) in [
        (&*acme, "a grant"),
        (&other_accounts, "a denial"),
        (&acme, "a grant"),
    ] {
        callers.write_file(line);
        eventually(expected, async || {
            match stream.answer(&token, "example.com").await {
                Answer::Grant(_) => expected == "a grant",
                Answer::Denial(denial) => {
                    expected == "a denial" && denial.reason() == Reason::UnknownToken
                }
                answer => panic!("{answer:?}"),
            }
        })
        .await;
    }
}
