//! Turns values into responses about domains, and their errors into statuses.

use super::page_token;
use crate::{
    grpc::{proto, timestamp, writes::unacknowledged},
    model::{domain::Domain, verified_domain::VerifiedDomain},
    replication::acknowledgement::Unacknowledged,
    store::{ActiveKeys, DomainQuery, ListedDomain, RemovedDomain},
};
use tonic::Status;

pub(super) fn domain(domain: &VerifiedDomain, active_keys: ActiveKeys) -> proto::VerifiedDomain {
    proto::VerifiedDomain {
        account_id: domain.account_id.as_str().to_owned(),
        domain: domain.domain.as_str().to_owned(),
        include_subdomains: domain.include_subdomains,
        create_time: Some(timestamp(domain.create_time)),
        verify_time: Some(timestamp(domain.verify_time)),
        active_key_count: key_count(active_keys),
        active_key_count_is_minimum: active_keys.is_minimum,
    }
}

pub(super) fn removed(
    removed: RemovedDomain,
    active_keys: ActiveKeys,
) -> proto::RemoveDomainResponse {
    let still_verified_by = removed.still_verified_by.map(Domain::into_string);
    proto::RemoveDomainResponse {
        active_key_count: key_count(active_keys),
        active_key_count_is_minimum: active_keys.is_minimum,
        still_verified_by: still_verified_by.unwrap_or_default(),
    }
}

/// A count as the API gives it. No more keys are looked at.
fn key_count(active_keys: ActiveKeys) -> i32 {
    i32::try_from(active_keys.count).unwrap_or(i32::MAX)
}

/// Makes a page of `query.limit` domains. `listed` has one more if there is another page.
pub(super) fn page(
    mut listed: Vec<ListedDomain>,
    query: &DomainQuery,
) -> proto::ListDomainsResponse {
    let there_are_more = listed.len() > query.limit;
    listed.truncate(query.limit);
    let last = listed.last().filter(|_| there_are_more);
    let next_page_token =
        last.map(|last| page_token::encode(&query.account_id, &last.domain.domain));
    let domains = listed.iter();
    let domains = domains.map(|listed| domain(&listed.domain, listed.active_keys));
    proto::ListDomainsResponse {
        domains: domains.collect(),
        next_page_token: next_page_token.unwrap_or_default(),
    }
}

pub(super) fn no_such_domain() -> Status {
    Status::not_found("the account has never had this domain: there is nothing to remove")
}

/// A domain was added, but it is not certain that every replica knows it.
pub(super) fn unacknowledged_addition(error: Unacknowledged) -> Status {
    let advice = "call AddDomain again, which waits until every replica knows the domain";
    unacknowledged(error, advice)
}

/// A domain was removed, but it is not certain that no replica grants it.
pub(super) fn unacknowledged_removal(error: Unacknowledged) -> Status {
    let advice = "call RemoveDomain again, which waits until no replica grants it";
    unacknowledged(error, advice)
}
