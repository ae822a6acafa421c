//! Owns the four calls of `tosend.keys.v1.KeyService`.
//! Promises that when Create or Revoke returns OK, no replica can answer Authorize without it.
//! Must never wait for the store in Authorize.

use super::{
    proto::{self, key_service_server::KeyService},
    request, response,
};
use crate::{
    decision::decide,
    key::{Accounts, Key, Timestamp},
    keyring::Keyring,
    lease::Lease,
    replicas::Replicas,
    store::{CreateError, KeyStore, ListQuery, NewKey, Position, Revocation, Revoked},
    token::{Digester, Token},
};
use rand::RngExt;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// `KeyService`, over a store, the keyring that follows it, and the other replicas.
#[derive(Clone)]
pub struct KeyServiceImpl {
    /// The source of truth.
    pub store: Arc<dyn KeyStore>,
    /// The store's keys in memory, as far as they were applied.
    pub keyring: Arc<Keyring>,
    /// Says whether the keyring is current.
    pub lease: Arc<Lease>,
    /// Whoever else must follow a write before it may be called done.
    pub replicas: Arc<Replicas>,
    /// The one that the store was opened with.
    pub digester: Digester,
}

impl KeyServiceImpl {
    /// Stores a key, and waits until every replica knows it. When the request id was used before,
    /// waits for the first key's write instead: its Create may not have waited to the end.
    async fn create_everywhere(&self, new: NewKey) -> Result<Key, Status> {
        match self.store.create(&new).await {
            Ok(position) => {
                log_write("key created", &new.key, position);
                let acknowledged = self.replicas.acknowledged(position).await;
                acknowledged.map_err(|error| response::unacknowledged_create(error, new.key.id))?;
                Ok(new.key)
            }
            Err(error) => {
                if let CreateError::RequestIdUsed { first, position } = error {
                    let acknowledged = self.replicas.acknowledged(position).await;
                    acknowledged.map_err(|error| response::unacknowledged_create(error, first))?;
                }
                Err(response::create_status(error))
            }
        }
    }

    /// Revokes a key, and waits until every replica refuses it; also when it was revoked before,
    /// since that Revoke may not have waited to the end.
    async fn revoke_everywhere(&self, revocation: Revocation) -> Result<Key, Status> {
        let revoked = self.store.revoke(&revocation).await;
        let Revoked { key, position } = revoked.map_err(response::revoke_status)?;
        log_write("key revoked", &key, position);
        let acknowledged = self.replicas.acknowledged(position).await;
        acknowledged.map_err(response::unacknowledged_revoke)?;
        Ok(key)
    }
}

/// Runs a write to its end, whether or not its caller waits for it: what was done is logged, and
/// what is to be known of it is found out.
async fn to_the_end(
    write: impl Future<Output = Result<Key, Status>> + Send + 'static,
) -> Result<Key, Status> {
    let ended = tokio::spawn(write).await;
    ended.map_err(|_| Status::internal("the write was broken off; the service's log says why"))?
}

fn log_write(what: &'static str, key: &Key, position: Position) {
    tracing::info!(
        key_id = %key.id,
        account_id = key.account_id.as_str(),
        revision = position.revision.number(),
        "{what}"
    );
}

#[tonic::async_trait]
impl KeyService for KeyServiceImpl {
    async fn create(
        &self,
        request: Request<proto::CreateRequest>,
    ) -> Result<Response<proto::CreateResponse>, Status> {
        let now = Timestamp::now();
        let (token, id_bits) = {
            let mut rng = rand::rng();
            (Token::generate(&mut rng), rng.random())
        };
        let new = request::new_key(request.into_inner(), &token, &self.digester, &id_bits, now)?;
        let service = self.clone();
        let created = async move { service.create_everywhere(new).await };
        let key = to_the_end(created).await?;
        Ok(Response::new(proto::CreateResponse {
            token: token.expose().to_owned(),
            key: Some(response::key(key, now)),
        }))
    }

    async fn list(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListResponse>, Status> {
        let query = request::list_query(request.into_inner(), Timestamp::now())?;
        // One more than the page holds tells whether there is another.
        let with_one_more = ListQuery {
            limit: query.limit + 1,
            ..query.clone()
        };
        let keys = self.store.list(&with_one_more).await;
        let keys = keys.map_err(|error| response::store_status(&error, "try again"))?;
        Ok(Response::new(response::page(keys, &query)))
    }

    async fn revoke(
        &self,
        request: Request<proto::RevokeRequest>,
    ) -> Result<Response<proto::RevokeResponse>, Status> {
        let now = Timestamp::now();
        let revocation = request::revocation(request.into_inner(), &Accounts::All, &self.digester, now)?;
        let service = self.clone();
        let revoked = async move { service.revoke_everywhere(revocation).await };
        let key = to_the_end(revoked).await?;
        Ok(Response::new(proto::RevokeResponse {
            key: Some(response::key(key, now)),
        }))
    }

    async fn authorize(
        &self,
        request: Request<proto::AuthorizeRequest>,
    ) -> Result<Response<proto::AuthorizeResponse>, Status> {
        let proto::AuthorizeRequest { token, domain } = request.into_inner();
        let domain = request::domain(domain)?;
        let now = Timestamp::now();
        let Self {
            keyring,
            lease,
            digester,
            ..
        } = self;
        let decision = decide(keyring, lease, digester, &Accounts::All, &token, domain, now);
        let decision = decision.map_err(response::no_lease)?;
        Ok(Response::new(response::decision(decision)))
    }
}
