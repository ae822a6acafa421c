//! Decides whether the server may start as it is protected, and reads the files of its protection.
//!
//! Promises that only this machine reaches an unprotected server, unless a setting says otherwise.

use crate::{
    app::Callers,
    callers::{Caller, credentials::Credentials},
    config::CallerSettings,
    named_file::{FileError, NamedFile},
    net::{
        reload::{InvalidFile, Reloaded},
        tls::{Tls, TlsFiles, report_invalid_dates},
    },
};
use std::{net::SocketAddr, sync::Arc};

/// Other machines would reach an unprotected server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "other machines reach --listen {listen}, and calls would be {lacks}; give {missing}, or listen on \
     127.0.0.1, or give --insecure if something else protects the address"
)]
pub(crate) struct Unprotected {
    listen: SocketAddr,
    lacks: &'static str,
    missing: &'static str,
}

/// Refuses an unprotected server that other machines reach, and warns of any other.
pub(super) fn check(settings: &CallerSettings, listen: SocketAddr) -> Result<(), Unprotected> {
    let (lacks, missing) = match (&settings.tls_cert, &settings.credentials) {
        (Some(_), Some(_)) => return Ok(()),
        (Some(_), None) => ("taken from anyone", "--credentials"),
        (None, Some(_)) => ("in plain text", "--tls-cert and --tls-key"),
        (None, None) => (
            "in plain text and taken from anyone",
            "--tls-cert, --tls-key and --credentials",
        ),
    };
    if listen.ip().to_canonical().is_loopback() {
        let risk = if settings.credentials.is_some() {
            "whoever may listen in on this machine reads tokens and bearer secrets"
        } else {
            "every user of this machine is an admin"
        };
        tracing::warn!(
            "calls are {lacks}: {risk}. Other machines do not reach {listen}; before they may, or if \
             you do not trust each user, give {missing}"
        );
    } else if settings.insecure {
        tracing::warn!("calls are {lacks}, and --insecure lets other machines reach {listen}");
    } else {
        return Err(Unprotected {
            listen,
            lacks,
            missing,
        });
    }
    Ok(())
}

/// Reads the credentials file, and reads it again when it changes. Without a file anyone may call.
pub(super) fn watch_callers(settings: &CallerSettings) -> Result<Callers, FileError> {
    let Some(path) = settings.credentials.clone() else {
        return Ok(Callers::Anyone(Arc::new(Caller::anyone())));
    };
    let file = NamedFile {
        setting: "--credentials",
        path,
    };
    let takes_certificates = settings.tls_client_ca.is_some();
    let parse = move |contents: &[Vec<u8>]| {
        let credentials = Credentials::parse(&contents[0]);
        let credentials = credentials.map_err(|error| InvalidFile::new(0, error))?;
        if !takes_certificates {
            warn_of_certificates(&credentials);
        }
        Ok(credentials)
    };
    let credentials = Reloaded::watch(vec![file], parse)?;
    Ok(Callers::Listed(Arc::new(credentials)))
}

/// Names those who cannot call, since the service asks no client for a certificate.
fn warn_of_certificates(credentials: &Credentials) {
    let callers = credentials.by_certificate_alone();
    if !callers.is_empty() {
        let callers = callers.into_iter().collect::<Vec<_>>().join(" ");
        tracing::warn!(
            callers,
            "these callers have certificate= alone in --credentials, and cannot prove who they are: give \
             --tls-client-ca, or give them bearer="
        );
    }
}

/// Reads the files for TLS, and reads them again when they change. Without a certificate there is no
/// TLS.
pub(super) fn watch_tls(
    settings: &CallerSettings,
) -> Result<Option<Arc<Reloaded<Tls>>>, FileError> {
    let Some((certificate, key)) = settings.tls_cert.clone().zip(settings.tls_key.clone()) else {
        return Ok(None);
    };
    let files = TlsFiles {
        certificate,
        key,
        client_ca: settings.tls_client_ca.clone(),
        client_crl: settings.tls_client_crl.clone(),
    };
    let tls = Arc::new(files.watch()?);
    tokio::spawn(report_invalid_dates(Arc::downgrade(&tls)));
    Ok(Some(tls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn check(listen: &str, arguments: &[&str]) -> Result<(), Unprotected> {
        let settings = Settings::parse_from(arguments).expect("well formed");
        super::check(&settings.callers, listen.parse().expect("an address"))
    }

    const TLS: [&str; 4] = ["--tls-cert", "c", "--tls-key", "k"];
    const CREDENTIALS: [&str; 2] = ["--credentials", "f"];

    #[test]
    fn only_this_machine_reaches_an_unprotected_server() {
        let all = [&TLS[..], &CREDENTIALS].concat();
        for here in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(check(here, &[]), Ok(()), "{here}");
        }
        for anywhere in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[2001:db8::1]:1"] {
            for (given, missing) in [
                (&[][..], "--tls-cert, --tls-key and --credentials"),
                (&TLS, "give --credentials,"),
                (&CREDENTIALS, "give --tls-cert and --tls-key,"),
            ] {
                let refused = check(anywhere, given).expect_err("unprotected").to_string();
                assert!(refused.contains(missing), "{refused}");
                assert!(refused.contains(anywhere), "{refused}");
                let insecure = [given, &["--insecure"]].concat();
                assert_eq!(check(anywhere, &insecure), Ok(()));
            }
            assert_eq!(check(anywhere, &all), Ok(()));
        }
    }
}
