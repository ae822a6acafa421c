//! The admin calls: one method for each.

use crate::{
    call::{self, Failure, Kind, Plan},
    client::{Client, LONGEST_DEADLINE, is_misuse},
    error::{AdminError, Misused, Refused},
    proto::{
        AddDomainRequest, AddDomainResponse, BatchRevokeRequest, BatchRevokeResponse,
        CreateRequest, CreateResponse, GetAccountRequest, GetAccountResponse, GetRequest,
        GetResponse, ListDomainsRequest, ListDomainsResponse, ListRequest, ListResponse,
        RemoveDomainRequest, RemoveDomainResponse, ResumeAccountRequest, ResumeAccountResponse,
        ResumeRequest, ResumeResponse, RevokeRequest, RevokeResponse, RotateRequest,
        RotateResponse, SuspendAccountRequest, SuspendAccountResponse, SuspendRequest,
        SuspendResponse, UpdateRequest, UpdateResponse,
    },
    replica::Replica,
};
use prost::Message;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The admin calls: those for keys, domains and accounts.
///
/// They are tried again like Authorize, but an attempt may take half of what is left of the deadline. So a write
/// may be made twice, which changes no more than to make it once. After [`AdminError::Unavailable`] it may or may
/// not have been made ([`Unavailable::may_have_changed`](crate::Unavailable::may_have_changed)): call again. The fields of each message say what they need.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
    deadline: Duration,
}

impl Client {
    /// The admin calls. They need the role `admin`.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {
            client: self.clone(),
            deadline: self.options().admin_deadline,
        }
    }
}

impl Admin {
    /// The same with another deadline for each call.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Creates a key and returns its token, which can never be shown again.
    ///
    /// Without a `request_id`, one is made, so that no retry creates a second key. If the first answer was lost,
    /// the call is [refused](AdminError::Refused) as `AlreadyExists`, and [`Refused::resource`] is the key's id:
    /// revoke that key, and create another.
    pub async fn create(&self, mut request: CreateRequest) -> Result<CreateResponse, AdminError> {
        request.request_id.get_or_insert_with(new_request_id);
        self.call("/tosend.keys.v1.KeyService/Create", request)
            .await
    }

    /// Lists an account's keys, newest first.
    pub async fn list(&self, request: ListRequest) -> Result<ListResponse, AdminError> {
        self.read("/tosend.keys.v1.KeyService/List", request).await
    }

    /// Gets one key, by its id or its token.
    pub async fn get(&self, request: GetRequest) -> Result<GetResponse, AdminError> {
        self.read("/tosend.keys.v1.KeyService/Get", request).await
    }

    /// Changes a key's name, scope, labels, or when it expires.
    ///
    /// With an `etag`, no attempt follows one that may have made the change. After [`AdminError::Unavailable`], get
    /// the key: it shows whether the change was made. If you call again with the same `etag`, the refusal
    /// `ETAG_MISMATCH` may be due to your own first call.
    pub async fn update(&self, request: UpdateRequest) -> Result<UpdateResponse, AdminError> {
        let may_repeat = match request.etag {
            None => |_: &Status| true,
            Some(_) => |status: &Status| status.code() == Code::ResourceExhausted,
        };
        let path = "/tosend.keys.v1.KeyService/Update";
        self.call_if(path, request, true, may_repeat).await
    }

    /// Replaces a key by a successor with a new token, which can never be shown again.
    ///
    /// A `request_id` is made as in [`create`](Self::create). If the first answer was lost, rotate the successor
    /// that [`Refused::resource`] names, with an overlap of 0.
    pub async fn rotate(&self, mut request: RotateRequest) -> Result<RotateResponse, AdminError> {
        request.request_id.get_or_insert_with(new_request_id);
        self.call("/tosend.keys.v1.KeyService/Rotate", request)
            .await
    }

    /// Suspends a key until it is resumed.
    pub async fn suspend(&self, request: SuspendRequest) -> Result<SuspendResponse, AdminError> {
        self.call("/tosend.keys.v1.KeyService/Suspend", request)
            .await
    }

    /// Ends a key's suspension.
    pub async fn resume(&self, request: ResumeRequest) -> Result<ResumeResponse, AdminError> {
        self.call("/tosend.keys.v1.KeyService/Resume", request)
            .await
    }

    /// Revokes a key permanently. When this returns, no replica allows it.
    pub async fn revoke(&self, request: RevokeRequest) -> Result<RevokeResponse, AdminError> {
        self.call("/tosend.keys.v1.KeyService/Revoke", request)
            .await
    }

    /// Revokes many keys: those of an account that a filter selects, or given ones.
    ///
    /// Keys that an attempt without an answer has revoked are not in the counts of the next, or are there as
    /// revoked before.
    pub async fn batch_revoke(
        &self,
        request: BatchRevokeRequest,
    ) -> Result<BatchRevokeResponse, AdminError> {
        let changes = !request.dry_run;
        let path = "/tosend.keys.v1.KeyService/BatchRevoke";
        self.call_if(path, request, changes, |_| true).await
    }

    /// Says that a domain is verified for an account.
    pub async fn add_domain(
        &self,
        request: AddDomainRequest,
    ) -> Result<AddDomainResponse, AdminError> {
        self.call("/tosend.keys.v1.DomainService/AddDomain", request)
            .await
    }

    /// Takes a domain from an account.
    pub async fn remove_domain(
        &self,
        request: RemoveDomainRequest,
    ) -> Result<RemoveDomainResponse, AdminError> {
        self.call("/tosend.keys.v1.DomainService/RemoveDomain", request)
            .await
    }

    /// Lists an account's verified domains.
    pub async fn list_domains(
        &self,
        request: ListDomainsRequest,
    ) -> Result<ListDomainsResponse, AdminError> {
        self.read("/tosend.keys.v1.DomainService/ListDomains", request)
            .await
    }

    /// Denies every key of an account until it is resumed.
    pub async fn suspend_account(
        &self,
        request: SuspendAccountRequest,
    ) -> Result<SuspendAccountResponse, AdminError> {
        self.call("/tosend.keys.v1.AccountService/SuspendAccount", request)
            .await
    }

    /// Ends an account's suspension.
    pub async fn resume_account(
        &self,
        request: ResumeAccountRequest,
    ) -> Result<ResumeAccountResponse, AdminError> {
        self.call("/tosend.keys.v1.AccountService/ResumeAccount", request)
            .await
    }

    /// Says whether an account is suspended, and what it has.
    pub async fn get_account(
        &self,
        request: GetAccountRequest,
    ) -> Result<GetAccountResponse, AdminError> {
        self.read("/tosend.keys.v1.AccountService/GetAccount", request)
            .await
    }

    /// A call that changes nothing.
    async fn read<Q, A>(&self, path: &'static str, request: Q) -> Result<A, AdminError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.call_if(path, request, false, |_| true).await
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A, AdminError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        self.call_if(path, request, true, |_| true).await
    }

    async fn call_if<Q, A>(
        &self,
        path: &'static str,
        request: Q,
        changes: bool,
        may_repeat: fn(&Status) -> bool,
    ) -> Result<A, AdminError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let _open = self.client.enter().map_err(AdminError::Misused)?;
        let plan = Plan {
            kind: Kind::Admin,
            attempts: self.client.options().attempts,
            deadline: Instant::now() + self.deadline.min(LONGEST_DEADLINE),
            is_final: |status| !may_pass(status),
            may_repeat,
            changes,
        };
        let attempt = |replica: Arc<Replica>| {
            let request = request.clone();
            async move { replica.call(path, request).await }
        };
        let answer = call::ask(self.client.pool(), &plan, attempt).await;
        answer.map_err(|failure| match failure {
            Failure::Unavailable(error) => AdminError::Unavailable(error),
            Failure::Final(status) if is_misuse(&status) => {
                AdminError::Misused(Misused::from_status(&status))
            }
            Failure::Final(status) => AdminError::Refused(Refused::from_status(&status)),
        })
    }
}

/// Whether another attempt may succeed.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown
        | Code::Cancelled => true,
        // An account with as many keys as it may have does not have fewer a moment later.
        Code::ResourceExhausted => status
            .get_details_error_info()
            .is_none_or(|info| info.reason != "TOO_MANY_KEYS"),
        _ => false,
    }
}

fn new_request_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}
