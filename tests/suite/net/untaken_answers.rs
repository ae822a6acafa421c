//! Answers that their clients do not take are held within the bound that `docs/abuse.md` states.

use super::start;
use crate::support::{
    clients::callers::{BearerClient, Credential, client, domains_client},
    envoy::HttpRequest,
    eventually,
    hostile::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RawClient, frame, headers_of},
    mount::Mount,
    server::{
        Server,
        process::Process,
        scrape::{METRICS, Scrape},
    },
};
use futures::{StreamExt, stream};
use keyservice::grpc::{
    method_names,
    proto::{
        AddDomainRequest, AuthorizeRequest, AuthorizeStreamRequest, BatchRevokeRequest,
        CreateRequest, GetAccountRequest, GetRequest, ListDomainsRequest, ListRequest,
        RemoveDomainRequest, ResumeAccountRequest, ResumeRequest, RevokeRequest, RotateRequest,
        SuspendAccountRequest, SuspendRequest, UpdateRequest, batch_revoke_request, get_request,
        revoke_request::Target, rotate_request, suspend_request,
    },
};
use prost::Message;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_request::MessageRequest,
};

/// No window, so that HTTP/2 may send nothing of a message, and one that no answer fills, so that only
/// the socket stops it.
const WINDOWS: [u32; 2] = [0, (1 << 31) - 1];

const ADMIN_SLOTS: u64 = 32;
const CALLS_PER_CONNECTION: u32 = 256;
const CONNECTIONS: u32 = 4;

/// A later wave finds the slots that answers of an earlier one have given back.
const WAVES: u32 = 4;

const CALLS: u64 = (CALLS_PER_CONNECTION * CONNECTIONS) as u64;

/// In KiB, as the page says.
const LARGEST_ANSWER: u64 = 1024;
const UNFINISHED_CALL: u64 = 40;

/// The callers of each role, and pages of lists that are as large as any.
struct Callers {
    server: Server,
    admin: Credential,
    limited_admin: Credential,
    authorizer: Credential,
    key: CreateRequest,
    domain: AddDomainRequest,
    token: String,
    key_id: String,
    _files: (Mount, tempfile::TempDir),
}

impl Callers {
    async fn start(args: &[&str]) -> Self {
        let account = "a".repeat(128);
        let admin = Credential::new("admin", &["--role", "admin"]);
        let limited = ["--role", "admin", "--accounts", &account];
        let limited_admin = Credential::new("limited", &limited);
        let authorizer = Credential::new("sender", &["--role", "authorizer"]);
        let lines = [&admin, &limited_admin, &authorizer].map(|it| &*it.line);
        let callers = Mount::new(&[("callers", &lines.concat())]);
        let credentials = format!("--credentials={}", callers.arg("callers"));
        let (server, directory) = start(&[args, &[&*credentials, METRICS]].concat()).await;

        let key = CreateRequest {
            account_id: account,
            name: "\u{10348}".repeat(100),
            domain: Some([&*"b".repeat(59); 4].join(".")),
            ..Default::default()
        };
        let mut client = client(server.channel().await, &admin.secret);
        let created = client.create_with(key.clone()).await.expect("created");
        let creates = (1..1000).map(|_| {
            let (mut client, key) = (client.clone(), key.clone());
            async move { client.create_with(key).await.expect("created") }
        });
        // Fewer at once than there are slots.
        let creates = stream::iter(creates).buffer_unordered(8);
        creates.collect::<Vec<_>>().await;
        let domain = |number| AddDomainRequest {
            account_id: key.account_id.clone(),
            domain: format!("{number}.{}", [&*"b".repeat(59); 4].join(".")),
            include_subdomains: true,
        };
        let domains = domains_client(server.channel().await, &admin.secret);
        let additions = (0..1000).map(|number| {
            let (mut domains, domain) = (domains.clone(), domain(number));
            async move { domains.add_domain(domain).await.expect("added") }
        });
        let additions = stream::iter(additions).buffer_unordered(8);
        additions.collect::<Vec<_>>().await;
        Self {
            server,
            admin,
            limited_admin,
            authorizer,
            domain: domain(0),
            key,
            token: created.token,
            key_id: created.key.expect("a key").key_id,
            _files: (callers, directory),
        }
    }

    async fn admin(&self) -> BearerClient {
        client(self.server.channel().await, &self.admin.secret)
    }

    /// The secret of a caller of each role. A stranger has none.
    fn roles(&self) -> [(&str, Option<&str>); 4] {
        [
            ("stranger", None),
            ("authorizer", Some(&self.authorizer.secret)),
            ("limited admin", Some(&self.limited_admin.secret)),
            ("admin", Some(&self.admin.secret)),
        ]
    }

    /// The messages of a call that has the largest answer of its method.
    fn messages(&self, method: &str) -> Vec<u8> {
        match method {
            "tosend.keys.v1.KeyService/Create" => framed(&self.key),
            "tosend.keys.v1.KeyService/List" => framed(&ListRequest {
                account_id: self.key.account_id.clone(),
                page_size: 1000,
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Revoke" => framed(&RevokeRequest {
                target: Some(Target::KeyId(self.key_id.clone())),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/BatchRevoke" => framed(&BatchRevokeRequest {
                selection: Some(batch_revoke_request::Selection::Keys(
                    batch_revoke_request::Keys {
                        key_ids: vec![self.key_id.clone(); 200],
                        tokens: Vec::new(),
                    },
                )),
                reason: self.key.name.clone(),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Get" => framed(&GetRequest {
                target: Some(get_request::Target::KeyId(self.key_id.clone())),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Update" => framed(&UpdateRequest {
                key_id: self.key_id.clone(),
                update_mask: Some(prost_types::FieldMask {
                    paths: vec!["name".to_owned()],
                }),
                name: self.key.name.clone(),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Rotate" => framed(&RotateRequest {
                target: Some(rotate_request::Target::KeyId(self.key_id.clone())),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Suspend" => framed(&SuspendRequest {
                target: Some(suspend_request::Target::KeyId(self.key_id.clone())),
                reason: self.key.name.clone(),
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Resume" => framed(&ResumeRequest {
                key_id: self.key_id.clone(),
                ..Default::default()
            }),
            "tosend.keys.v1.AccountService/SuspendAccount" => framed(&SuspendAccountRequest {
                account_id: self.key.account_id.clone(),
                reason: self.key.name.clone(),
            }),
            "tosend.keys.v1.AccountService/ResumeAccount" => framed(&ResumeAccountRequest {
                account_id: self.key.account_id.clone(),
            }),
            "tosend.keys.v1.AccountService/GetAccount" => framed(&GetAccountRequest {
                account_id: self.key.account_id.clone(),
            }),
            "tosend.keys.v1.DomainService/AddDomain" => framed(&self.domain),
            "tosend.keys.v1.DomainService/RemoveDomain" => framed(&RemoveDomainRequest {
                account_id: self.domain.account_id.clone(),
                domain: self.domain.domain.clone(),
            }),
            "tosend.keys.v1.DomainService/ListDomains" => framed(&ListDomainsRequest {
                account_id: self.domain.account_id.clone(),
                page_size: 1000,
                ..Default::default()
            }),
            "tosend.keys.v1.KeyService/Authorize" => framed(&AuthorizeRequest {
                token: self.token.clone(),
                domain: self.key.domain.clone().expect("it has one"),
            }),
            "tosend.keys.v1.KeyService/AuthorizeStream" => {
                let question = framed(&AuthorizeStreamRequest {
                    id: 1,
                    token: self.token.clone(),
                    domain: self.key.domain.clone().expect("it has one"),
                });
                question.repeat(8)
            }
            "envoy.service.auth.v3.Authorization/Check" => {
                let request = HttpRequest::with_token(&self.token);
                let domain = self.key.domain.as_deref().expect("it has one");
                let request = request.header("x-domain", domain);
                framed(&request.domain_from("header:x-domain").message())
            }
            "grpc.health.v1.Health/Check" | "grpc.health.v1.Health/Watch" => framed(&()),
            "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            | "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
                let file = "tosend/keys/v1/key_service.proto";
                let message = framed(&ServerReflectionRequest {
                    message_request: Some(MessageRequest::FileByFilename(file.into())),
                    ..Default::default()
                });
                message.repeat(64)
            }
            _ => panic!("{method}: say here how it is called"),
        }
    }

    /// Calls, on as many connections and streams as the limits admit, whose client takes no answer.
    async fn call_without_taking(
        &self,
        method: &str,
        secret: Option<&str>,
        window: u32,
    ) -> Vec<RawClient> {
        let bearer = secret.map(|secret| format!("Bearer {secret}"));
        let authorization = bearer.iter().map(|bearer| ("authorization", &**bearer));
        let authorization: Vec<_> = authorization.collect();
        let headers = headers_of(&format!("/{method}"), &authorization);
        let messages = self.messages(method);
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(RawClient::connect_with_window(self.server.port(), window).await);
        }
        for wave in 0..WAVES {
            for client in &mut clients {
                for call in 0..CALLS_PER_CONNECTION / WAVES {
                    let stream = 2 * (wave * CALLS_PER_CONNECTION / WAVES + call) + 1;
                    let headers = frame(HEADERS, END_HEADERS, stream, &headers);
                    client.send(&headers).await;
                    let messages = frame(DATA, END_STREAM, stream, &messages);
                    client.send(&messages).await;
                }
            }
            wait_until_at_rest(Process(self.server.pid())).await;
        }
        clients
    }

    async fn wait_until_closed(&self) {
        eventually("all connections are closed", async || {
            Scrape::of(&self.server).value("keyservice_connections") == 0.0
        })
        .await;
    }
}

fn framed(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("short");
    [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat()
}

/// Waits until the server has done all that its clients let it do.
pub(super) async fn wait_until_at_rest(process: Process) {
    let (mut asleep, mut cpu_time) = (0, process.cpu_time());
    eventually("the server is at rest", async || {
        let is_asleep = process.is_asleep() && process.cpu_time() == cpu_time;
        asleep = if is_asleep { asleep + 1 } else { 0 };
        cpu_time = process.cpu_time();
        asleep == 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_for_answers_has_its_bound_for_every_method_and_every_role() {
    let (slots, calls) = (
        format!("--max-admin-calls={ADMIN_SLOTS}"),
        format!("--max-calls={CALLS}"),
    );
    let callers = Callers::start(&[&slots, &calls]).await;
    let process = Process(callers.server.pid());
    callers.wait_until_closed().await;
    let before = process.memory();
    let mut most = WINDOWS.map(|_| 0);
    for (number, method) in method_names().enumerate() {
        // An admin call without a slot is refused, and so has ended.
        let is_admins = method.starts_with("tosend.") && !method.contains("/Authorize");
        let answers = match is_admins {
            true => ADMIN_SLOTS * LARGEST_ANSWER,
            false => CALLS * UNFINISHED_CALL,
        };
        let bound = before + answers / 1024;
        for (role, secret) in callers.roles() {
            for (which, (window, most)) in WINDOWS.into_iter().zip(&mut most).enumerate() {
                // To save time, the others have the one window for every other method.
                if role != "admin" && which != number % WINDOWS.len() {
                    continue;
                }
                process.reset_peak_memory();
                let hostile = callers.call_without_taking(method, secret, window).await;
                let highest = process.peak_memory();
                println!("{method} by {role}, window {window}: {before} to {highest} MiB");
                assert!(highest <= bound, "{highest} MiB, and {bound} were stated");
                *most = highest.max(*most);
                drop(hostile);
                callers.wait_until_closed().await;
            }
        }
    }
    println!("at most {most:?} MiB, from {before}");
    // Calls whose answers are small take 3 MiB.
    let answers_were_held = |most: &u64| *most >= before + ADMIN_SLOTS / 4;
    assert!(most.iter().all(answers_were_held), "{most:?} MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_taken_in_time_costs_its_client_the_connection() {
    let slots = format!("--max-admin-calls={ADMIN_SLOTS}");
    let callers = Callers::start(&[&slots, "--answer-timeout=2s"]).await;
    let list = "tosend.keys.v1.KeyService/List";
    for window in WINDOWS {
        callers.wait_until_closed().await;
        let refused = || Scrape::of(&callers.server).calls("List", "RESOURCE_EXHAUSTED");
        let closed = || Scrape::of(&callers.server).closed_connections("answer_not_taken");
        let (refused_before, closed_before) = (refused(), closed());
        let secret = Some(&*callers.limited_admin.secret);
        let hostile = callers.call_without_taking(list, secret, window).await;
        eventually("most Lists are refused", async || {
            refused() > refused_before + 100.0
        })
        .await;
        let mut admin = callers.admin().await;
        let revoked = admin.revoke("key_01m86sdsycew3tan8trybq49c5").await;
        let status = revoked.expect_err("no such key");
        assert_eq!(status.code(), tonic::Code::NotFound, "{status}");
        eventually("the connections are closed", async || {
            closed() > closed_before
        })
        .await;
        let channel = callers.server.channel().await;
        let mut limited = client(channel, &callers.limited_admin.secret);
        eventually("the slots are free again", async || {
            limited.list(&callers.key.account_id).await.is_ok()
        })
        .await;
        drop(hostile);
    }
    let log = callers.server.log();
    assert!(log.contains("did not take an answer within"), "{log}");
}
