//! What a person is told by a command whose service lies, or has no end.

use super::Person;
use keyservice::grpc::proto::{
    AddDomainRequest, AddDomainResponse, BatchRevokeRequest, BatchRevokeResponse, CreateRequest,
    CreateResponse, GetRequest, GetResponse, Key, ListDomainsRequest, ListDomainsResponse,
    ListRequest, ListResponse, RemoveDomainRequest, RemoveDomainResponse, ResumeRequest,
    ResumeResponse, RevokeRequest, RevokeResponse, RotateRequest, RotateResponse, SuspendRequest,
    SuspendResponse, UpdateRequest, UpdateResponse, VerifiedDomain,
    domain_service_server::{DomainService, DomainServiceServer},
    key_service_server::{KeyService, KeyServiceServer},
};
use std::{
    fs,
    future::pending,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

/// A service whose lists and batches never end, which gives this as a token, and revokes so many keys a call. It shows
/// no key, and may take all time for that.
#[derive(Clone, Default)]
struct Liar {
    token: &'static str,
    revoked_count: i32,
    hangs: bool,
    /// The calls about one key, in their order.
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Liar {
    fn note(&self, call: &'static str) {
        self.calls.lock().expect("no panic").push(call);
    }
}

#[tonic::async_trait]
impl KeyService for Liar {
    async fn create(&self, _: Request<CreateRequest>) -> Result<Response<CreateResponse>, Status> {
        Ok(Response::new(CreateResponse {
            token: self.token.to_owned(),
            key: Some(key()),
        }))
    }

    async fn list(&self, _: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        Ok(Response::new(ListResponse {
            next_page_token: "next".to_owned(),
            ..ListResponse::default()
        }))
    }

    async fn rotate(&self, _: Request<RotateRequest>) -> Result<Response<RotateResponse>, Status> {
        Ok(Response::new(RotateResponse {
            token: self.token.to_owned(),
            key: Some(key()),
            ..RotateResponse::default()
        }))
    }

    async fn batch_revoke(
        &self,
        _: Request<BatchRevokeRequest>,
    ) -> Result<Response<BatchRevokeResponse>, Status> {
        self.note("BatchRevoke");
        Ok(Response::new(BatchRevokeResponse {
            revoked_count: self.revoked_count,
            there_are_more: true,
            ..BatchRevokeResponse::default()
        }))
    }

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        self.note("Get");
        if self.hangs {
            pending::<()>().await;
        }
        Err(Status::unimplemented(""))
    }

    async fn update(&self, _: Request<UpdateRequest>) -> Result<Response<UpdateResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn suspend(
        &self,
        _: Request<SuspendRequest>,
    ) -> Result<Response<SuspendResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn resume(&self, _: Request<ResumeRequest>) -> Result<Response<ResumeResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn revoke(&self, _: Request<RevokeRequest>) -> Result<Response<RevokeResponse>, Status> {
        self.note("Revoke");
        Ok(Response::new(RevokeResponse { key: Some(key()) }))
    }
}

#[tonic::async_trait]
impl DomainService for Liar {
    async fn list_domains(
        &self,
        _: Request<ListDomainsRequest>,
    ) -> Result<Response<ListDomainsResponse>, Status> {
        let domain = VerifiedDomain {
            domain: "example.com".to_owned(),
            ..VerifiedDomain::default()
        };
        Ok(Response::new(ListDomainsResponse {
            domains: vec![domain],
            next_page_token: "next".to_owned(),
        }))
    }

    async fn add_domain(
        &self,
        _: Request<AddDomainRequest>,
    ) -> Result<Response<AddDomainResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn remove_domain(
        &self,
        _: Request<RemoveDomainRequest>,
    ) -> Result<Response<RemoveDomainResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn key() -> Key {
    Key {
        key_id: "key_01m8".to_owned(),
        ..Key::default()
    }
}

/// Somebody who calls this service.
async fn person_of(liar: Liar) -> Person {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = transport::Server::builder()
        .add_service(KeyServiceServer::new(liar.clone()))
        .add_service(DomainServiceServer::new(liar));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut person = Person::new();
    person.variables = vec![
        ("KEYSERVICE_SERVER", address),
        ("KEYSERVICE_PLAINTEXT", "true".to_owned()),
    ];
    person
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_well_formed_token_is_handed_out() {
    for token in ["", "\u{1b}]0;title\u{7}", "tsend_short\nsecond line"] {
        let person = person_of(Liar {
            token,
            ..Liar::default()
        })
        .await;
        let file = person.home.path().join("token");
        let out = ["--token-out", file.to_str().expect("UTF-8")];
        let create = ["keys", "create", "--account", "acme", "--name", "a"];
        let rotate = ["keys", "rotate", "key_00000000000000000000000000"];
        for line in [
            &create[..],
            &rotate,
            &[&create[..], &out].concat(),
            &[&rotate[..], &out].concat(),
        ] {
            let done = person.runs(line);
            assert_eq!((done.exit, &*done.out), (1, ""), "{done:?}");
            assert!(done.err.contains("key_01m8: revoke the key"), "{done:?}");
            assert!(fs::metadata(&file).is_err(), "no file without a token");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_or_a_batch_without_end_is_a_failure() {
    let person = person_of(Liar::default()).await;
    let batch = ["keys", "batch-revoke", "--account", "acme", "--yes"];
    for line in [
        &["keys", "list", "--account", "acme"][..],
        &["domains", "list", "--account", "acme"],
        &["domains", "list", "--account", "acme", "-o", "table"],
        &[&batch[..], &["--reason", "a leak"]].concat(),
    ] {
        let done = person.runs(line);
        assert_eq!(done.exit, 1, "{done:?}");
        let said = "find out who answers at this address";
        assert!(done.err.contains(said), "{done:?}");
        let is_table = line.contains(&"table");
        assert!(!is_table || done.out.starts_with("DOMAIN "), "{done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_ends_although_there_are_ever_more_keys() {
    let person = person_of(Liar {
        revoked_count: 10_000,
        ..Liar::default()
    })
    .await;
    let batch = ["keys", "batch-revoke", "--account", "acme", "--yes"];
    let done = person.runs(&[&batch[..], &["--reason", "a leak"]].concat());
    assert_eq!(done.exit, 1);
    let said = "10000000 keys were revoked, and there are still more. If others create them meanwhile, suspend";
    assert!(done.err.contains(said), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_revoked_although_nobody_can_look_at_it() {
    let id = "key_00000000000000000000000000";
    let revoke = ["keys", "revoke", "--yes", id];
    let liar = Liar::default();
    let person = person_of(liar.clone()).await;
    let done = person.runs(&[&revoke[..], &["--reason", "a leak"]].concat());
    assert!(done.err.contains("The key is revoked."), "{done:?}");
    let calls = liar.calls.lock().expect("no panic").clone();
    assert_eq!(calls, ["BatchRevoke", "Get"]);

    let liar = Liar {
        hangs: true,
        ..Liar::default()
    };
    let person = person_of(liar.clone()).await;
    let begun = Instant::now();
    let done = person.runs(&[&revoke[..], &["--timeout", "60s"]].concat());
    assert_eq!(done.json()["keyId"], "key_01m8");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let calls = liar.calls.lock().expect("no panic").clone();
    assert_eq!(calls, ["Get", "Revoke"]);
}
