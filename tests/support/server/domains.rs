//! A client for `DomainService`.

use keyservice::{
    grpc::proto::{
        AddDomainRequest, AddDomainResponse, ListDomainsRequest, ListDomainsResponse,
        RemoveDomainRequest, RemoveDomainResponse, domain_service_client::DomainServiceClient,
    },
    model::verified_domain::Coverage,
};
use std::collections::{BTreeMap, BTreeSet};
use tonic::{Status, transport::Channel};

/// A tonic client with a short method for each call.
#[derive(Debug, Clone)]
pub struct Domains(pub DomainServiceClient<Channel>);

impl Domains {
    /// Adds a domain alone.
    pub async fn add(&mut self, account: &str, domain: &str) -> Result<AddDomainResponse, Status> {
        self.add_with(account, domain, false).await
    }

    pub async fn add_with(
        &mut self,
        account: &str,
        domain: &str,
        include_subdomains: bool,
    ) -> Result<AddDomainResponse, Status> {
        let request = AddDomainRequest {
            account_id: account.into(),
            domain: domain.into(),
            include_subdomains,
        };
        Ok(self.0.add_domain(request).await?.into_inner())
    }

    pub async fn remove(
        &mut self,
        account: &str,
        domain: &str,
    ) -> Result<RemoveDomainResponse, Status> {
        let request = RemoveDomainRequest {
            account_id: account.into(),
            domain: domain.into(),
        };
        Ok(self.0.remove_domain(request).await?.into_inner())
    }

    pub async fn list(&mut self, account: &str) -> Result<ListDomainsResponse, Status> {
        let request = ListDomainsRequest {
            account_id: account.into(),
            ..Default::default()
        };
        self.list_with(request).await
    }

    /// The names of all domains of an account, page by page.
    pub async fn names(&mut self, account: &str) -> Result<BTreeSet<String>, Status> {
        Ok(self.coverages(account).await?.into_keys().collect())
    }

    /// The same, and what each domain verifies.
    pub async fn coverages(&mut self, account: &str) -> Result<BTreeMap<String, Coverage>, Status> {
        let mut request = ListDomainsRequest {
            account_id: account.into(),
            page_size: 1000,
            page_token: String::new(),
        };
        let mut coverages = BTreeMap::new();
        loop {
            let page = self.list_with(request.clone()).await?;
            let page_of = page.domains.into_iter();
            coverages
                .extend(page_of.map(|it| (it.domain, Coverage::of(it.include_subdomains, false))));
            if page.next_page_token.is_empty() {
                return Ok(coverages);
            }
            request.page_token = page.next_page_token;
        }
    }

    pub async fn list_with(
        &mut self,
        request: ListDomainsRequest,
    ) -> Result<ListDomainsResponse, Status> {
        Ok(self.0.list_domains(request).await?.into_inner())
    }
}
