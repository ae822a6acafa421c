//! A client for `KeyService`.

use keyservice::grpc::proto::{
    AuthorizeRequest, CreateRequest, CreateResponse, Key, ListRequest, ListResponse, RevokeRequest,
    authorize_response::Decision, denial::Reason, key_service_client::KeyServiceClient,
    revoke_request::Target,
};
use tonic::{
    Status,
    body::Body,
    client::GrpcService,
    codegen::{Bytes, StdError},
    transport::Channel,
};
use tonic_types::StatusExt;

/// A tonic client with a short method for each call.
#[derive(Debug, Clone)]
pub struct Client<S = Channel>(pub KeyServiceClient<S>);

impl<S> Client<S>
where
    S: GrpcService<Body>,
    S::Error: Into<StdError>,
    S::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    pub async fn create(&mut self, account: &str, name: &str) -> Result<CreateResponse, Status> {
        let request = CreateRequest {
            account_id: account.into(),
            name: name.into(),
            ..Default::default()
        };
        self.create_with(request).await
    }

    /// Creates a key and returns its token and its id.
    pub async fn create_key(&mut self) -> (String, String) {
        let created = self.create("acme", "a key").await.expect("created");
        (created.token, created.key.expect("a key").key_id)
    }

    pub async fn create_with(&mut self, request: CreateRequest) -> Result<CreateResponse, Status> {
        Ok(self.0.create(request).await?.into_inner())
    }

    pub async fn list(&mut self, account: &str) -> Result<Vec<Key>, Status> {
        let request = ListRequest {
            account_id: account.into(),
            page_size: 1000,
            ..Default::default()
        };
        Ok(self.list_with(request).await?.keys)
    }

    pub async fn list_with(&mut self, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.0.list(request).await?.into_inner())
    }

    pub async fn revoke(&mut self, key_id: &str) -> Result<Key, Status> {
        self.revoke_target(Target::KeyId(key_id.into())).await
    }

    pub async fn revoke_target(&mut self, target: Target) -> Result<Key, Status> {
        let request = RevokeRequest {
            target: Some(target),
            account_id: None,
        };
        self.revoke_with(request).await
    }

    pub async fn revoke_with(&mut self, request: RevokeRequest) -> Result<Key, Status> {
        let response = self.0.revoke(request).await?.into_inner();
        Ok(response.key.expect("a key"))
    }

    pub async fn authorize(&mut self, token: &str, domain: &str) -> Result<Decision, Status> {
        let request = AuthorizeRequest {
            token: token.into(),
            domain: domain.into(),
        };
        let response = self.0.authorize(request).await?.into_inner();
        Ok(response.decision.expect("a decision"))
    }

    pub async fn is_granted(&mut self, token: &str) -> bool {
        matches!(
            self.authorize(token, "example.com").await,
            Ok(Decision::Grant(_))
        )
    }

    pub async fn is_revoked(&mut self, token: &str) -> bool {
        let answer = self.authorize(token, "example.com").await;
        answer.is_ok_and(|decision| Client::denies_as_revoked(&decision))
    }
}

impl Client {
    pub fn denies_as_revoked(decision: &Decision) -> bool {
        let revoked = Reason::Revoked;
        matches!(decision, Decision::Denial(denial) if denial.reason() == revoked)
    }
}

/// The reason that a status gives in `google.rpc.ErrorInfo`.
pub fn error_reason(status: &Status) -> Option<String> {
    Some(status.get_details_error_info()?.reason)
}
