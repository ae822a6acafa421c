//! What a person is told of a change of an account.

use super::Person;
use keyservice::grpc::proto::{
    GetAccountRequest, GetAccountResponse, ResumeAccountRequest, ResumeAccountResponse,
    SuspendAccountRequest, SuspendAccountResponse,
    account_service_server::{AccountService, AccountServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport};

/// A service that changes accounts, and can show none.
struct ShowsNone;

#[tonic::async_trait]
impl AccountService for ShowsNone {
    async fn suspend_account(
        &self,
        _: Request<SuspendAccountRequest>,
    ) -> Result<Response<SuspendAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn resume_account(
        &self,
        _: Request<ResumeAccountRequest>,
    ) -> Result<Response<ResumeAccountResponse>, Status> {
        Ok(Response::new(Default::default()))
    }

    async fn get_account(
        &self,
        _: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        Err(Status::unavailable("the store is away"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_made_is_told_as_done_although_the_account_cannot_be_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = transport::Server::builder().add_service(AccountServiceServer::new(ShowsNone));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut person = Person::new();
    person.variables = vec![
        ("KEYSERVICE_SERVER", address),
        ("KEYSERVICE_PLAINTEXT", "true".to_owned()),
        ("KEYSERVICE_TIMEOUT", "2s".to_owned()),
    ];
    for (change, told) in [
        (
            &["suspend", "acme", "--reason", "fraud"][..],
            "acme is suspended.",
        ),
        (&["resume", "acme"], "acme is not suspended any more."),
    ] {
        let done = person.runs(&[&["accounts"], change].concat());
        assert_eq!((done.exit, &*done.out), (0, ""), "{}", done.err);
        assert!(done.err.contains(told), "{}", done.err);
        assert!(done.err.contains("the store is away"), "{}", done.err);
    }
    assert_eq!(person.runs(&["accounts", "get", "acme"]).exit, 4);
}
