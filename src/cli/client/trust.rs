//! Certificates that one of the two sides does not accept. To call again does not help then, as it may after an outage.

use tosend_keyservice::{Attempt, Unavailable};

/// How each error begins that this side finds in the service's certificate.
const OF_SERVICE: &str = "invalid peer certificate: ";

/// How each error begins that the service has told in TLS.
const ALERT: &str = "received fatal alert: ";

/// What the service tells of a caller's certificate that it does not accept.
const ALERTS: [&str; 9] = [
    "AccessDenied",
    "BadCertificate",
    "CertificateExpired",
    "CertificateRequired",
    "CertificateRevoked",
    "CertificateUnknown",
    "DecryptError",
    "UnknownCA",
    "UnsupportedCertificate",
];

/// Who does not accept whose certificate, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distrust {
    /// The service's was issued by an authority that this side does not know. That authority may have the name of one that
    /// this side knows. Then only the signature shows the difference.
    Issuer,
    /// The service's is for another name.
    Name,
    /// The service's has another fault, such as a purpose that does not fit.
    Service,
    /// The service refuses the caller's, or misses it.
    Caller,
}

impl Distrust {
    /// Finds the reason in an error. None if the error says nothing of the kind. An expired certificate of the service is
    /// none either: the service's operator renews it, and a later call succeeds.
    pub(super) fn of(why: &str) -> Option<Self> {
        let alert = why.split(ALERT).nth(1);
        if alert.is_some_and(|alert| ALERTS.iter().any(|name| alert.starts_with(name))) {
            return Some(Self::Caller);
        }
        let fault = why.split(OF_SERVICE).nth(1)?;
        if is_out_of_time(why) {
            None
        } else if fault.starts_with("UnknownIssuer") || fault.starts_with("BadSignature") {
            Some(Self::Issuer)
        } else if fault.contains("not valid for name") || fault.starts_with("NotValidForName") {
            Some(Self::Name)
        } else {
            Some(Self::Service)
        }
    }
}

/// Whether the service's certificate has expired, or its time has not come.
pub(super) fn is_out_of_time(why: &str) -> bool {
    const FAULTS: [&str; 4] = [
        "certificate expired",
        "certificate not valid yet",
        "Expired",
        "NotValidYet",
    ];
    let fault = why.split(OF_SERVICE).nth(1);
    fault.is_some_and(|fault| FAULTS.iter().any(|known| fault.starts_with(known)))
}

/// Whether certificates are why no replica could answer: those of each that was asked, or the caller's there.
///
/// One attempt of each says so. Another may have found its connection closed before it could read why.
pub(super) fn is_about_certificates(error: &Unavailable) -> bool {
    let of = |attempt: &Attempt| Distrust::of(&attempt.message).is_some();
    let attempts = error.attempts();
    let says_so = |one: &Attempt| {
        let mut same = attempts.iter().filter(|it| it.address == one.address);
        same.any(of)
    };
    !attempts.is_empty() && attempts.iter().all(says_so)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distrust_is_told_from_what_another_attempt_may_heal() {
        for (why, is) in [
            (
                "invalid peer certificate: UnknownIssuer",
                Some(Distrust::Issuer),
            ),
            (
                "a: invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
                Some(Distrust::Name),
            ),
            (
                "invalid peer certificate: BadSignature",
                Some(Distrust::Issuer),
            ),
            (
                "a: received fatal alert: UnknownCA)",
                Some(Distrust::Caller),
            ),
            (
                "received fatal alert: CertificateExpired",
                Some(Distrust::Caller),
            ),
            ("received fatal alert: HandshakeFailure", None),
            (
                "invalid peer certificate: certificate expired: verification time 1",
                None,
            ),
            ("connection refused", None),
            ("UnknownIssuer", None),
        ] {
            assert_eq!(Distrust::of(why), is, "{why}");
        }
    }
}
