//! A server that logs and traces as much as possible, and a client that keeps every answer.

use crate::support::{
    clients::reflected,
    directory,
    search::contains,
    server::{Client, Server, collector::Collector},
};
use keyservice::{
    grpc::proto::{
        AuthorizeRequest, CreateRequest, Key, ListRequest, RevokeRequest,
        authorize_response::Decision, denial::Reason, revoke_request::Target,
    },
    model::token::{Digester, Token},
};
use prost::Message;
use protox::prost_reflect::{DynamicMessage, MethodDescriptor};
use tempfile::TempDir;
use tonic::{Code, Response, Status};

pub const DIGEST_SECRET: &str = "a secret of the tests, which is long enough to be one";

pub struct Session {
    pub server: Server,
    client: Client,
    collector: Collector,
    _secret_file: TempDir,
    /// All tokens that were created.
    pub tokens: Vec<String>,
    /// The key of the first token.
    pub key: Key,
    /// All answers. Of a CreateResponse only the key is kept.
    answers: Vec<u8>,
}

impl Session {
    pub async fn start(store: &str) -> Self {
        let (secret_file, collector) = (directory(), Collector::start().await);
        let path = secret_file.path().join("secret").display().to_string();
        std::fs::write(&path, DIGEST_SECRET).expect("a file");
        let args = [
            "--log",
            "trace",
            "--lease",
            "60s",
            "--digest-secret-file",
            &path,
        ];
        let server = Server::start_with(store, &args, &[collector.env()]).await;
        let mut client = server.client().await;
        let created = client.create("acme", "the first").await.expect("created");
        Self {
            server,
            client,
            collector,
            _secret_file: secret_file,
            tokens: vec![created.token],
            key: created.key.expect("a key"),
            answers: Vec::new(),
        }
    }

    /// Creates a key and returns its token.
    pub async fn create(&mut self, set: impl FnOnce(&mut CreateRequest)) -> Result<String, Code> {
        let mut request = CreateRequest {
            account_id: "acme".into(),
            name: "a key".into(),
            ..Default::default()
        };
        set(&mut request);
        match self.client.0.create(request).await {
            Ok(created) => {
                let created = created.into_inner();
                self.tokens.push(created.token.clone());
                self.keep_answer(Ok(Response::new(created.key.expect("a key"))))?;
                Ok(created.token)
            }
            refused => self.keep_answer(refused).map(|created| created.token),
        }
    }

    /// Lists a page and returns the token of the next page.
    pub async fn list(&mut self, set: impl FnOnce(&mut ListRequest)) -> Result<String, Code> {
        let mut request = ListRequest {
            account_id: "acme".into(),
            page_size: 2,
            ..Default::default()
        };
        set(&mut request);
        let answer = self.client.0.list(request).await;
        self.keep_answer(answer).map(|page| page.next_page_token)
    }

    pub async fn revoke(&mut self, target: Target, account: Option<&str>) -> Result<(), Code> {
        let request = RevokeRequest {
            target: Some(target),
            account_id: account.map(str::to_owned),
        };
        let answer = self.client.0.revoke(request).await;
        self.keep_answer(answer).map(|_| ())
    }

    /// Returns the reason of a denial, or `None` for a grant.
    pub async fn authorize(&mut self, token: &str, domain: &str) -> Result<Option<Reason>, Code> {
        let request = AuthorizeRequest {
            token: token.into(),
            domain: domain.into(),
        };
        let answer = self.client.0.authorize(request).await;
        let decision = self.keep_answer(answer)?.decision.expect("a decision");
        Ok(match decision {
            Decision::Grant(_) => None,
            Decision::Denial(denial) => Some(denial.reason()),
        })
    }

    pub fn keep_answer<T: Message>(
        &mut self,
        answer: Result<Response<T>, Status>,
    ) -> Result<T, Code> {
        match answer {
            Ok(answer) => {
                self.answers.extend(answer.get_ref().encode_to_vec());
                Ok(answer.into_inner())
            }
            Err(status) => {
                self.answers.extend(format!("{status:?}").into_bytes());
                self.answers.extend(status.details());
                Err(status.code())
            }
        }
    }

    /// Calls any method. A token in the answer counts as created, and the rest of the answer is kept.
    pub async fn call(
        &mut self,
        method: &MethodDescriptor,
        message: &DynamicMessage,
    ) -> Result<(), Code> {
        let answer = reflected::call(self.server.channel().await, method, message).await;
        let error = answer.as_ref().ok().and_then(error_of_question);
        let answer = answer.map(|mut answer| {
            if let Some(token) = answer.get_field_by_name("token") {
                let token = token.as_str().expect("text").to_owned();
                self.tokens.push(token);
                answer.clear_field_by_name("token");
            }
            Response::new(answer.encode_to_vec())
        });
        self.keep_answer(answer).map(drop)?;
        error.map_or(Ok(()), Err)
    }

    /// A token that is granted.
    pub fn granted_token(&self) -> String {
        self.tokens[0].clone()
    }

    /// A token that no key has.
    pub fn unknown_token(&mut self) -> String {
        let token = Token::generate(&mut rand::rng()).expose().to_owned();
        self.tokens.push(token.clone());
        token
    }

    /// A granted token with one wrong character.
    pub fn mistyped_token(&self) -> String {
        let mut token = self.granted_token();
        let other = if token.ends_with('x') { "y" } else { "x" };
        token.replace_range(token.len() - 1.., other);
        token
    }

    /// The digest of the first token.
    pub fn digest(&self) -> [u8; 32] {
        let token = Token::parse(&self.tokens[0]).expect("a token");
        let digester = Digester::new(Some(DIGEST_SECRET.as_bytes()));
        *digester.digest(&token).as_bytes()
    }

    /// Asserts that the first key is stored in these files.
    pub fn assert_stored_in(&self, files: &[u8]) {
        assert!(contains(files, self.key.preview.as_bytes()));
        assert!(contains(files, &self.digest()));
    }

    /// Stops the server and returns everything that it has written.
    pub async fn end(mut self) -> [(&'static str, Vec<u8>); 4] {
        self.server.signal("TERM");
        assert_eq!(self.server.wait_for_exit().await.code(), Some(0));
        let (log, spans) = (self.server.log(), self.collector.bytes());
        for logged in [self.key.key_id.as_str(), "\"INFO\""] {
            assert!(log.contains(logged), "{logged} is not logged");
        }
        assert!(contains(&spans, b"tosend.keys.v1.KeyService/Authorize"));
        [
            ("standard error", log.into_bytes()),
            ("standard output", self.server.stdout().into_bytes()),
            ("the traces", spans),
            ("the answers", self.answers),
        ]
    }
}

/// The code of the status that is the answer to a question on a stream.
fn error_of_question(answer: &DynamicMessage) -> Option<Code> {
    if !answer.has_field_by_name("error") {
        return None;
    }
    let error = answer.get_field_by_name("error")?;
    let code = error.as_message()?.get_field_by_name("code")?.as_i32()?;
    Some(Code::from_i32(code))
}
