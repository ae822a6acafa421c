//! The lists of clients' certificates that are revoked.
//!
//! Promises that of each authority there is one list, and that no list takes the place of a newer one: what the
//! newer one revokes would be valid again. An authority numbers its lists (RFC 5280, section 5.2.3), and so says
//! which is newer. Of lists without numbers, the one that was made later is.

use crate::pem::{self, Wanted};
use data_encoding::HEXLOWER;
use humantime::format_rfc3339_seconds;
use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};
use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};
use x509_cert::{
    crl::{CertificateList, TbsCertList},
    der::{self, Decode, Encode, oid::AssociatedOid},
    ext::pkix::CrlNumber,
};

/// A list, and what is read of it.
pub(super) struct RevocationList {
    pub(super) der: CertificateRevocationListDer<'static>,
    /// The name of its authority, as the list has it.
    issuer: Vec<u8>,
    /// The same for people.
    issuer_name: String,
    made: Made,
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
            made: Made {
                number: number(&list).map_err(invalid)?,
                this_update: list.this_update.to_system_time(),
            },
            next_update: list.next_update.map(|time| time.to_system_time()),
            der,
        })
    }
}

/// The number of a list, without zeros in front.
fn number(list: &TbsCertList) -> der::Result<Option<Vec<u8>>> {
    let mut extensions = list.crl_extensions.iter().flatten();
    let number = extensions.find(|it| it.extn_id == CrlNumber::OID);
    let number = number.map(|it| CrlNumber::from_der(it.extn_value.as_bytes()));
    Ok(number.transpose()?.map(|it| it.0.as_bytes().to_vec()))
}

/// Which list of its authority one is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    number: Option<Vec<u8>>,
    this_update: SystemTime,
}

impl Made {
    fn is_before(&self, other: &Self) -> bool {
        let by_number = match (&self.number, &other.number) {
            // The longer number is the higher one.
            (Some(own), Some(other)) => (own.len(), own).cmp(&(other.len(), other)),
            _ => Ordering::Equal,
        };
        by_number.then_with(|| self.this_update.cmp(&other.this_update)) == Ordering::Less
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = format_rfc3339_seconds(self.this_update);
        match &self.number {
            Some(number) => write!(f, "number 0x{}, made at {time}", HEXLOWER.encode(number)),
            None => write!(f, "made at {time}"),
        }
    }
}

/// The newest list of each authority that was in use so far.
#[derive(Default)]
pub(super) struct NewestLists(Mutex<HashMap<Vec<u8>, Made>>);

impl NewestLists {
    /// Takes lists into use, unless one of them is older than one that was in use.
    pub(super) fn take(&self, lists: &[RevocationList]) -> Result<(), String> {
        // It is whole at any time.
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for list in lists {
            if let Some(newer) = newest
                .get(&list.issuer)
                .filter(|newest| list.made.is_before(newest))
            {
                return Err(format!(
                    "holds an older certificate revocation list of {} ({}) than the one that was in use ({newer}), which is \
                     kept: put the current list there; if the authority was made anew, restart the service",
                    list.issuer_name, list.made
                ));
            }
        }
        newest.extend(
            lists
                .iter()
                .map(|list| (list.issuer.clone(), list.made.clone())),
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
    use std::time::Duration;

    fn list(authority: &Authority, day: u8) -> String {
        numbered(authority, u64::from(day), day)
    }

    fn numbered(authority: &Authority, number: u64, day: u8) -> String {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 11, day),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(number),
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
        let told = "of CN=one (number 0x0b, made at 2026-11-11T00:00:00Z) than the one that was in use \
                    (number 0x0c, made at 2026-11-12T00:00:00Z), which is kept";
        assert!(error.contains(told), "{error}");
        let error = take(&[list(&other, 4)]).expect_err("older than one that was taken away");
        assert!(error.contains("CN=other"), "{error}");
        take(&[list(&other, 5)]).expect("what was refused counts for nothing");
    }

    #[test]
    fn of_two_lists_with_numbers_the_one_with_the_higher_number_is_newer() {
        let authority = authority("one");
        let newest = NewestLists::default();
        let take = |number, day| {
            let list = numbered(&authority, number, day);
            newest.take(&parse(list.as_bytes()).expect("valid"))
        };
        take(0xff, 10).expect("the first");
        take(0xfe, 10).expect_err("a lower number");
        take(0xfe, 11).expect_err("a lower number, whatever its time");
        take(0x0100, 10).expect("a higher number, which is longer");
        take(0x0100, 9).expect_err("the same number, made earlier");
        take(0x0101, 9).expect("a higher number, after the authority's clock was put right");
    }

    #[test]
    fn of_lists_of_which_one_has_no_number_the_later_one_is_newer() {
        let made = |number: Option<u8>, day| Made {
            number: number.map(|it| vec![it]),
            this_update: SystemTime::UNIX_EPOCH + Duration::from_secs(day),
        };
        for (own, other) in [(None, Some(1)), (Some(9), None), (None, None)] {
            assert!(made(own, 1).is_before(&made(other, 2)));
            assert!(!made(own, 2).is_before(&made(other, 2)));
        }
    }
}
