//! The lists of clients' certificates that are revoked.
//!
//! Promises that of each authority there is one list, and that no list takes the place of a newer one: what the
//! newer one revokes would be valid again.

use crate::pem::{self, Wanted};
use humantime::format_rfc3339_seconds;
use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};
use x509_cert::{
    crl::CertificateList,
    der::{Decode, Encode},
};

/// A list, and what is read of it.
pub(super) struct RevocationList {
    pub(super) der: CertificateRevocationListDer<'static>,
    /// The name of its authority, as the list has it.
    issuer: Vec<u8>,
    /// The same for people.
    issuer_name: String,
    this_update: SystemTime,
    /// When it expires.
    pub(super) next_update: Option<SystemTime>,
}

/// The lists of a file in PEM, of which there must be one or more.
pub(super) fn parse(pem: &[u8]) -> Result<Vec<RevocationList>, String> {
    pem::check(pem, Wanted::RevocationLists)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
    let lists = lists.ok().filter(|lists| !lists.is_empty());
    let lists = lists.ok_or_else(|| pem::why_missing(pem, Wanted::RevocationLists))?;
    let lists = lists.into_iter().map(RevocationList::parse);
    let lists: Vec<_> = lists.collect::<Result<_, _>>()?;
    for (number, list) in lists.iter().enumerate() {
        if lists[..number].iter().any(|it| it.issuer == list.issuer) {
            return Err(format!(
                "holds two certificate revocation lists of one authority ({}): leave only the current one there",
                list.issuer_name
            ));
        }
    }
    Ok(lists)
}

impl RevocationList {
    fn parse(der: CertificateRevocationListDer<'static>) -> Result<Self, String> {
        let invalid = |error| format!("holds an invalid certificate revocation list: {error}");
        let list = CertificateList::from_der(&der)
            .map_err(invalid)?
            .tbs_cert_list;
        Ok(Self {
            issuer: list.issuer.to_der().map_err(invalid)?,
            issuer_name: list.issuer.to_string(),
            this_update: list.this_update.to_system_time(),
            next_update: list.next_update.map(|time| time.to_system_time()),
            der,
        })
    }
}

/// When the newest list of each authority was made that was in use so far.
#[derive(Default)]
pub(super) struct NewestLists(Mutex<HashMap<Vec<u8>, SystemTime>>);

impl NewestLists {
    /// Takes lists into use, unless one of them is older than one that was in use.
    pub(super) fn take(&self, lists: &[RevocationList]) -> Result<(), String> {
        // It is whole at any time.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for list in lists {
            if let Some(newer) = newest
                .get(&list.issuer)
                .filter(|it| **it > list.this_update)
            {
                return Err(format!(
                    "holds a certificate revocation list of {} that was made at {}, and the one in use was made at \
                     {}: put the current list there",
                    list.issuer_name,
                    format_rfc3339_seconds(list.this_update),
                    format_rfc3339_seconds(*newer)
                ));
            }
        }
        newest.extend(
            lists
                .iter()
                .map(|list| (list.issuer.clone(), list.this_update)),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::test_authority::{Authority, authority},
        *,
    };
    use rcgen::{CertificateRevocationListParams, KeyIdMethod, SerialNumber, date_time_ymd};

    fn list(authority: &Authority, day: u8) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 11, day),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(u64::from(day)),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params
            .signed_by(authority)
            .expect("signed")
            .pem()
            .expect("PEM")
    }

    #[test]
    fn an_authority_has_one_list() {
        let (one, other) = (authority("one"), authority("other"));
        let lists = parse((list(&one, 1) + &list(&other, 1)).as_bytes()).expect("two authorities");
        assert_eq!(lists.len(), 2);
        let error = parse((list(&one, 1) + &list(&other, 1) + &list(&one, 2)).as_bytes());
        let error = error.map(|_| ()).expect_err("two of one");
        assert!(
            error.contains("two certificate revocation lists of one authority (CN=one)"),
            "{error}"
        );
    }

    #[test]
    fn no_list_takes_the_place_of_a_newer_one() {
        let (one, other) = (authority("one"), authority("other"));
        let newest = NewestLists::default();
        let take =
            |lists: &[String]| newest.take(&parse(lists.concat().as_bytes()).expect("valid"));
        take(&[list(&one, 10)]).expect("the first");
        take(&[list(&one, 10), list(&other, 5)]).expect("the same, and one more");
        take(&[list(&one, 12)]).expect("a newer one");
        let error = take(&[list(&other, 6), list(&one, 11)]).expect_err("an older one");
        assert!(error.contains("made at 2026-11-11T00:00:00Z"), "{error}");
        assert!(
            error.contains("in use was made at 2026-11-12T00:00:00Z"),
            "{error}"
        );
        let error = take(&[list(&other, 4)]).expect_err("older than one that was taken away");
        assert!(error.contains("CN=other"), "{error}");
        take(&[list(&other, 5)]).expect("what was refused counts for nothing");
    }
}
