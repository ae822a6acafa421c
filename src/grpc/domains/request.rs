//! Turns requests about domains into values. Every field is checked here, or in `fields`.
//!
//! Must never repeat a field's text in an error, because any field may contain a token by mistake.

use super::page_token;
use crate::{
    grpc::{
        audited_call::{OfAccount, Unpermitted},
        fields::{account_id, domain, invalid, page_size},
        proto,
        writer::Writer,
    },
    model::{
        account::AccountId,
        domain::Domain,
        public_suffix::{NotOwnable, check_ownable},
        time::Timestamp,
    },
    store::{DomainAddition, DomainQuery, DomainRemoval},
};
use tonic::Status;

impl OfAccount for DomainAddition {
    fn account_id(&self) -> Option<&AccountId> {
        Some(&self.account_id)
    }

    fn domain(&self) -> Option<&Domain> {
        Some(&self.domain)
    }

    fn include_subdomains(&self) -> Option<bool> {
        Some(self.include_subdomains)
    }
}

impl OfAccount for DomainRemoval {
    fn account_id(&self) -> Option<&AccountId> {
        Some(&self.account_id)
    }

    fn domain(&self) -> Option<&Domain> {
        Some(&self.domain)
    }
}

impl OfAccount for DomainQuery {
    fn account_id(&self) -> Option<&AccountId> {
        Some(&self.account_id)
    }
}

/// Reads an `AddDomain`.
pub fn addition(
    request: proto::AddDomainRequest,
    writer: Writer<'_>,
) -> Result<Unpermitted<DomainAddition>, Status> {
    let account_id = account_id(request.account_id)?;
    let domain = domain(request.domain)?;
    check_ownable(&domain, request.include_subdomains).map_err(|error| match error {
        NotOwnable::PublicSuffix => invalid("domain", error),
        NotOwnable::SharedSubdomains => invalid("include_subdomains", error),
    })?;
    Ok(Unpermitted::new(DomainAddition {
        account_id,
        domain,
        include_subdomains: request.include_subdomains,
        now: writer.now,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    }))
}

/// Reads a `RemoveDomain`.
pub fn removal(
    request: proto::RemoveDomainRequest,
    writer: Writer<'_>,
) -> Result<Unpermitted<DomainRemoval>, Status> {
    Ok(Unpermitted::new(DomainRemoval {
        account_id: account_id(request.account_id)?,
        domain: domain(request.domain)?,
        now: writer.now,
        caller: writer.caller.name.clone(),
        still_allowed: writer.still_allowed,
    }))
}

/// Reads a `ListDomains`. The limit of the query is the size of the page.
pub fn query(
    request: &proto::ListDomainsRequest,
    now: Timestamp,
) -> Result<Unpermitted<DomainQuery>, Status> {
    let account_id = account_id(request.account_id.clone())?;
    let limit = page_size(request.page_size)?;
    let after = (!request.page_token.is_empty()).then_some(&request.page_token);
    let after = after.map(|text| page_token::decode(&account_id, text));
    Ok(Unpermitted::new(DomainQuery {
        after: after
            .transpose()
            .map_err(|error| invalid("page_token", error))?,
        account_id,
        limit,
        now,
    }))
}
