//! Which certificate this server shows.
//!
//! Owns that of the files, and the one that was read before, if that of the files is not valid when it is read.
//! Promises that a certificate which is not valid takes the place of none that is. At a start there is no other
//! one: it is shown, because a server that nobody could start again would help no client.
//! Must never go back to a certificate that a valid one has replaced: its key may have been stolen.

use super::identity::Identity;
use humantime::format_rfc3339_seconds;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// The certificates that the server may show.
#[derive(Debug)]
pub(super) struct CertificateChoice {
    /// The file.
    path: PathBuf,
    of_file: Arc<Identity>,
    before: Option<Before>,
}

/// What was shown before the file changed.
#[derive(Debug)]
struct Before {
    identity: Arc<Identity>,
    /// From then on it is shown no more.
    until: SystemTime,
}

/// The choice that was made last.
#[derive(Debug, Default)]
pub(super) struct LastChoice(Mutex<Option<Arc<CertificateChoice>>>);

impl LastChoice {
    /// The choice, now that the file has this certificate.
    pub(super) fn read(
        &self,
        path: PathBuf,
        of_file: Identity,
        now: SystemTime,
    ) -> Arc<CertificateChoice> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.as_ref().map(|last| last.shown(now));
        let before = before.filter(|before| before.is_valid(now) && !of_file.is_valid(now));
        let before = before.map(|identity| Before {
            identity: identity.clone(),
            until: if now < of_file.not_before {
                of_file.not_before.min(identity.not_after)
            } else {
                identity.not_after
            },
        });
        Arc::new(CertificateChoice {
            path,
            of_file: Arc::new(of_file),
            before,
        })
    }

    /// Notes that this choice is in use.
    pub(super) fn note(&self, choice: &Arc<CertificateChoice>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(choice.clone());
    }
}

impl CertificateChoice {
    /// The certificate that the server shows, and its key.
    fn shown(&self, now: SystemTime) -> &Arc<Identity> {
        self.kept(now)
            .map_or(&self.of_file, |before| &before.identity)
    }

    fn kept(&self, now: SystemTime) -> Option<&Before> {
        let is_needed = !self.of_file.is_valid(now);
        self.before
            .as_ref()
            .filter(|before| is_needed && now < before.until)
    }

    /// Whether the certificate that was read before is shown in place of the file's.
    pub(super) fn keeps_another(&self, now: SystemTime) -> bool {
        self.kept(now).is_some()
    }

    /// When the certificate that is shown expires.
    pub(super) fn not_after(&self, now: SystemTime) -> SystemTime {
        self.shown(now).not_after
    }

    /// What is wrong with the file's certificate, and what to do.
    pub(super) fn problem(&self, now: SystemTime) -> Option<String> {
        let path = self.path.display();
        let kept = self.kept(now).map(|before| {
            let until = format_rfc3339_seconds(before.until);
            format!("the one that was read before stays in use until {until}")
        });
        let start = format_rfc3339_seconds(self.of_file.not_before);
        let expiry = format_rfc3339_seconds(self.of_file.not_after);
        let problem = if self.of_file.is_valid(now) {
            return None;
        } else if now < self.of_file.not_before {
            let meanwhile = kept.unwrap_or_else(|| "clients refuse it until then".to_owned());
            format!("is not valid before {start}, and {meanwhile}; check this machine's clock")
        } else {
            match kept {
                Some(kept) => format!(
                    "expired at {expiry}, and {kept}; replace it, because the service would show it after a restart"
                ),
                None => format!("expired at {expiry}, and clients refuse it; replace it"),
            }
        };
        Some(format!("--tls-cert {path}: the certificate {problem}"))
    }
}

impl ResolvesServerCert for CertificateChoice {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.shown(SystemTime::now()).certified_key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::identity::Identity;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::crypto::ring;
    use std::time::{Duration, UNIX_EPOCH};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// New year of this year.
    fn year(year: i32) -> SystemTime {
        date_time_ymd(year, 1, 1).into()
    }

    fn identity(first: i32, last: i32) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("valid");
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let (key, provider) = (key.serialize_pem(), ring::default_provider());
        Identity::parse(certificate.as_bytes(), key.as_bytes(), &provider).expect("valid")
    }

    #[derive(Default)]
    struct Files(LastChoice);

    impl Files {
        /// The file changes to a certificate that is valid from the first to the last of these years.
        fn change(&self, now: SystemTime, first: i32, last: i32) -> Arc<CertificateChoice> {
            let choice = self.0.read("tls.crt".into(), identity(first, last), now);
            self.0.note(&choice);
            choice
        }
    }

    fn problem(choice: &CertificateChoice, now: SystemTime) -> String {
        choice.problem(now).expect("it is not valid")
    }

    #[test]
    fn at_a_start_the_files_certificate_is_shown_whatever_its_dates() {
        let now = year(2026);
        for (first, last, said) in [
            (
                2020,
                2025,
                "expired at 2025-01-01T00:00:00Z, and clients refuse it; replace it",
            ),
            (
                2027,
                2028,
                "is not valid before 2027-01-01T00:00:00Z, and clients refuse it until then",
            ),
        ] {
            let choice = Files::default().change(now, first, last);
            assert_eq!(choice.not_after(now), year(last));
            let problem = problem(&choice, now);
            assert!(problem.starts_with("--tls-cert tls.crt: the certificate "));
            assert!(problem.contains(said), "{problem}");
            assert!(!choice.keeps_another(now));
        }
    }

    #[test]
    fn an_expired_certificate_replaces_none_that_is_valid_and_a_valid_one_does() {
        let (files, now) = (Files::default(), year(2026));
        let choice = files.change(now, 2020, 2030);
        assert_eq!(
            (choice.problem(now), choice.not_after(now)),
            (None, year(2030))
        );
        for expired in [2024, 2025] {
            let choice = files.change(now, 2020, expired);
            assert_eq!(choice.not_after(now), year(2030));
            assert!(choice.keeps_another(now));
            let problem = problem(&choice, now);
            let said = format!(
                "expired at {expired}-01-01T00:00:00Z, and the one that was read before stays in use until \
                 2030-01-01T00:00:00Z; replace it"
            );
            assert!(problem.contains(&said), "{problem}");
            // Both have expired.
            assert_eq!(choice.not_after(year(2031)), year(expired));
        }
        let choice = files.change(now, 2025, 2027);
        assert_eq!(
            (choice.problem(now), choice.not_after(now)),
            (None, year(2027))
        );
        // The one before is valid, and is not shown again.
        assert_eq!(choice.not_after(year(2028)), year(2027));
    }

    #[test]
    fn of_two_certificates_that_are_not_valid_the_files_is_shown() {
        let now = year(2026);
        for (first, last) in [(2020, 2025), (2027, 2030)] {
            let files = Files::default();
            files.change(now, first, last);
            let choice = files.change(now, 2020, 2024);
            assert_eq!(choice.not_after(now), year(2024));
            assert!(!choice.keeps_another(now));
        }
    }

    #[test]
    fn a_certificate_of_the_time_to_come_is_shown_from_then_on() {
        let (files, now) = (Files::default(), year(2026));
        files.change(now, 2020, 2030);
        let choice = files.change(now, 2027, 2028);
        assert_eq!(choice.not_after(now), year(2030));
        let problem = problem(&choice, now);
        let said = "is not valid before 2027-01-01T00:00:00Z, and the one that was read before stays in use until \
                    2027-01-01T00:00:00Z; check this machine's clock";
        assert!(problem.contains(said), "{problem}");
        assert_eq!(choice.not_after(year(2027)), year(2028));
        assert_eq!(choice.not_after(year(2028) + DAY), year(2028));
    }

    #[test]
    fn a_certificate_is_valid_to_the_second_of_its_end() {
        let identity = identity(2020, 2030);
        assert!(identity.is_valid(year(2030)) && identity.is_valid(year(2020)));
        assert!(!identity.is_valid(year(2030) + Duration::from_secs(1)));
        assert!(!identity.is_valid(UNIX_EPOCH));
    }
}
