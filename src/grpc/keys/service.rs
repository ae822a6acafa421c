//! Owns the four calls of `tosend.keys.v1.KeyService`.
//! Promises that when Create or Revoke returns OK, no replica can answer Authorize without it.
//! Must never wait for the store in Authorize.

use super::{audited_call::AdminCall, request, response};
use crate::grpc::proto::{self, key_service_server::KeyService};
use crate::{
    audit::recorder::Recorder,
    authorize::{decision::decide, keyring::Keyring, lease::Lease},
    callers::Caller,
    metrics::Counts,
    model::{
        account::Accounts,
        key::Key,
        time::Timestamp,
        token::{Digester, Token},
    },
    observe::histogram::Histogram,
    replication::acknowledgement::{Acknowledgements, Unacknowledged},
    store::{CreateOutcome, ListQuery, NewKey, Position, Revocation, RevokeTarget, Store},
};
use rand::RngExt;
use std::{sync::Arc, time::Instant};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

/// `KeyService`, over a store, the keyring that follows it, and the other replicas.
#[derive(Clone)]
pub struct KeyServiceImpl {
    /// The source of truth.
    pub store: Store,
    /// The store's keys in memory, as far as they were applied.
    pub keyring: Arc<Keyring>,
    /// Says whether the keyring is current.
    pub lease: Arc<Lease>,
    /// Whoever else must follow a write before it may be called done.
    pub acknowledgements: Arc<Acknowledgements>,
    /// Records the calls that write nothing.
    pub recorder: Arc<Recorder>,
    /// The one that the store was opened with.
    pub digester: Digester,
    /// One for each admin call that may be in flight.
    pub admin_places: Arc<Semaphore>,
    /// What is counted of the calls.
    pub counts: &'static Counts,
}

impl KeyServiceImpl {
    async fn create_for(
        &self,
        call: &mut AdminCall,
        request: proto::CreateRequest,
    ) -> Result<(Token, Key), Status> {
        let (token, id_bits) = {
            let mut rng = rand::rng();
            (Token::generate(&mut rng), rng.random())
        };
        let (caller, now) = (&call.caller().name, call.time);
        let new = request::new_key(request, caller, &token, &self.digester, &id_bits, now)?;
        call.about(&new.key.account_id)?;
        let key = self.create_everywhere(call, new).await?;
        Ok((token, key))
    }

    async fn list_for(
        &self,
        call: &mut AdminCall,
        request: proto::ListRequest,
    ) -> Result<proto::ListResponse, Status> {
        let query = request::list_query(request, call.time)?;
        call.about(&query.account_id)?;
        // One more than the page holds tells whether there is another.
        let with_one_more = ListQuery {
            limit: query.limit + 1,
            ..query.clone()
        };
        let keys = self.store.keys.list(&with_one_more).await;
        let keys = keys.map_err(|error| response::store_status(&error, "try again"))?;
        Ok(response::page(keys, &query))
    }

    async fn revoke_for(
        &self,
        call: &mut AdminCall,
        request: proto::RevokeRequest,
    ) -> Result<Key, Status> {
        let (caller, now) = (call.caller(), call.time);
        let revocation = request::revocation(request, caller, &self.digester, now)?;
        if let RevokeTarget::Id(id) = revocation.target {
            call.subject.key_id = Some(id);
        }
        self.revoke_everywhere(call, revocation).await
    }

    async fn begin<T>(&self, request: &Request<T>) -> Result<AdminCall, Status> {
        AdminCall::begin(request.extensions(), &self.admin_places, &self.recorder).await
    }

    /// Waits until every replica has applied a write, or can answer no more.
    async fn acknowledged(&self, write: Position, waits: &Histogram) -> Result<(), Unacknowledged> {
        let began = Instant::now();
        let acknowledged = self.acknowledgements.wait_until_acknowledged(write).await;
        waits.add(began.elapsed());
        acknowledged
    }

    /// Stores a key, and waits until every replica knows it. When the request id was used before,
    /// waits for the first key's write instead: its Create may not have waited to the end.
    async fn create_everywhere(&self, call: &mut AdminCall, new: NewKey) -> Result<Key, Status> {
        const ADVICE: &str =
            "the key may or may not have been created: try again with the same request_id";
        let stored = self.store.keys.create(&new).await;
        let stored = stored.map_err(|error| response::store_status(&error, ADVICE))?;
        let (outcome, position) = stored.into_parts();
        call.is_recorded = true;
        match outcome {
            CreateOutcome::Created => {
                call.subject.key_id = Some(new.key.id);
                log_write("key created", &new.key, position);
                let waits = &self.counts.create_waits;
                let acknowledged = self.acknowledged(position, waits).await;
                acknowledged.map_err(|error| response::unacknowledged_create(error, new.key.id))?;
                Ok(new.key)
            }
            CreateOutcome::RequestIdUsed { first } => {
                call.subject.key_id = Some(first);
                let acknowledged = self
                    .acknowledgements
                    .wait_until_acknowledged(position)
                    .await;
                acknowledged.map_err(|error| response::unacknowledged_create(error, first))?;
                Err(response::request_id_used(first))
            }
        }
    }

    /// Revokes a key, and waits until every replica refuses it; also when it was revoked before,
    /// since that Revoke may not have waited to the end.
    async fn revoke_everywhere(
        &self,
        call: &mut AdminCall,
        revocation: Revocation,
    ) -> Result<Key, Status> {
        const ADVICE: &str = "the key may or may not be revoked: try again";
        let revoked = self.store.keys.revoke(&revocation).await;
        let revoked = revoked.map_err(|error| response::store_status(&error, ADVICE))?;
        let (key, position) = revoked.ok_or_else(response::no_such_key)?.into_parts();
        call.is_recorded = true;
        call.subject.key_id = Some(key.id);
        call.subject.account_id = Some(key.account_id.clone());
        log_write("key revoked", &key, position);
        let waits = &self.counts.revoke_waits;
        let acknowledged = self.acknowledged(position, waits).await;
        acknowledged.map_err(response::unacknowledged_revoke)?;
        Ok(key)
    }
}

/// Runs a write to its end, whether or not its caller waits for it: what was done is logged, and
/// what is to be known of it is found out.
async fn to_the_end<T: Send + 'static>(
    write: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
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
        let mut call = self.begin(&request).await?;
        let (service, request) = (self.clone(), request.into_inner());
        let now = call.time;
        let created = async move {
            let created = service.create_for(&mut call, request).await;
            call.ended(created).await
        };
        let (token, key) = to_the_end(created).await?;
        Ok(Response::new(proto::CreateResponse {
            token: token.expose().to_owned(),
            key: Some(response::key(key, now)),
        }))
    }

    async fn list(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListResponse>, Status> {
        let mut call = self.begin(&request).await?;
        let listed = self.list_for(&mut call, request.into_inner()).await;
        Ok(Response::new(call.ended(listed).await?))
    }

    async fn revoke(
        &self,
        request: Request<proto::RevokeRequest>,
    ) -> Result<Response<proto::RevokeResponse>, Status> {
        let mut call = self.begin(&request).await?;
        let (service, request) = (self.clone(), request.into_inner());
        let now = call.time;
        let revoked = async move {
            let revoked = service.revoke_for(&mut call, request).await;
            call.ended(revoked).await
        };
        let key = to_the_end(revoked).await?;
        Ok(Response::new(proto::RevokeResponse {
            key: Some(response::key(key, now)),
        }))
    }

    async fn authorize(
        &self,
        request: Request<proto::AuthorizeRequest>,
    ) -> Result<Response<proto::AuthorizeResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        // Noted for a caller alone that is limited to some.
        let caller = extensions.get::<Arc<Caller>>();
        let accounts = caller.map_or(&Accounts::All, |caller| &caller.accounts);
        let proto::AuthorizeRequest { token, domain } = request;
        let domain = request::domain(domain)?;
        let now = Timestamp::now();
        let Self {
            keyring,
            lease,
            digester,
            counts,
            ..
        } = self;
        let decision = decide(keyring, lease, digester, accounts, &token, domain, now);
        counts.decisions.count(&decision);
        let decision = decision.map_err(response::no_lease)?;
        Ok(Response::new(response::decision(decision)))
    }
}
