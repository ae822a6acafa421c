//! Owns the four calls of `tosend.keys.v1.KeyService`.
//! Promises that when Create or Revoke returns OK, the write is durable and in this keyring.
//! Must never wait for the store in Authorize.

use super::{
    proto::{self, key_service_server::KeyService},
    request, response,
};
use crate::{
    decision::decide,
    key::{KeyState, Timestamp},
    keyring::Keyring,
    store::{CreateError, KeyStore, ListQuery, RevokeError},
    token::{Digester, Token},
};
use rand::RngExt;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// `KeyService`, over a store and the keyring that follows it.
#[derive(Clone)]
pub struct KeyServiceImpl {
    store: Arc<dyn KeyStore>,
    keyring: Arc<Keyring>,
    digester: Digester,
}

impl KeyServiceImpl {
    /// The digester must be the one the store was opened with.
    #[must_use]
    pub fn new(store: Arc<dyn KeyStore>, keyring: Arc<Keyring>, digester: Digester) -> Self {
        Self {
            store,
            keyring,
            digester,
        }
    }

    /// Runs a write to its end, whether or not its caller waits for it: a call that is dropped
    /// must not leave this keyring behind what is stored.
    async fn to_the_end<T: Send + 'static>(
        write: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Status> {
        tokio::spawn(write)
            .await
            .map_err(|_| Status::internal("the write was broken off; the service's log says why"))
    }
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
        let Self { store, keyring, .. } = self.clone();
        let created = Self::to_the_end(async move {
            let revision = store.create(&new).await?;
            keyring.apply(&KeyState::of(&new.key, new.digest));
            tracing::info!(
                key_id = %new.key.id,
                account_id = new.key.account_id.as_str(),
                revision = revision.number(),
                "key created"
            );
            Ok::<_, CreateError>(new.key)
        });
        let key = created.await?.map_err(response::create_status)?;
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
        let revocation = request::revocation(request.into_inner(), &self.digester, now)?;
        let Self { store, keyring, .. } = self.clone();
        let revoked = Self::to_the_end(async move {
            let revoked = store.revoke(&revocation).await?;
            keyring.apply(&KeyState::of(&revoked.key, revoked.digest));
            tracing::info!(
                key_id = %revoked.key.id,
                account_id = revoked.key.account_id.as_str(),
                revision = revoked.revision.number(),
                "key revoked"
            );
            Ok::<_, RevokeError>(revoked.key)
        });
        let key = revoked.await?.map_err(response::revoke_status)?;
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
        if !self.keyring.is_complete() {
            return Err(response::keyring_loading());
        }
        let now = Timestamp::now();
        let decision = decide(&self.keyring, &self.digester, &token, domain, now);
        Ok(Response::new(response::decision(decision)))
    }
}
