//! The settings that say who may call, and how connections are encrypted.
//!
//! Promises that a half-given protection is refused: a certificate without its key, say.

use clap::{ArgAction, Args};
use std::path::PathBuf;

/// Who may call.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Callers")]
pub struct CallerSettings {
    /// File that lists the callers, one a line: `NAME ROLE bearer=DIGEST`, as `keyservice credential
    /// new` prints it, or `NAME ROLE certificate=URI-OR-HOST`. The service reads it again when it
    /// changes.
    #[arg(long, env = "KEYSERVICE_CREDENTIALS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,

    /// File with the server's certificate and its chain (PEM). The service reads it again when it
    /// changes.
    #[arg(
        long,
        env = "KEYSERVICE_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM). The service reads it again when it changes.
    #[arg(
        long,
        env = "KEYSERVICE_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,

    /// File with the roots of the clients' certificates (PEM). A client whose certificate one of them
    /// has signed can authenticate by it (mTLS). The service reads the file again when it changes.
    #[arg(long, env = "KEYSERVICE_TLS_CLIENT_CA", value_name = "FILE", requires_all = ["tls_cert", "credentials"])]
    pub tls_client_ca: Option<PathBuf>,

    /// File with the certificate revocation lists of the authorities that issue the clients'
    /// certificates (PEM): one list of each, intermediate ones included. A client is refused when its
    /// certificate is revoked, and also when no list says whether it is, or the list has expired. The
    /// service reads the file again when it changes.
    #[arg(
        long,
        env = "KEYSERVICE_TLS_CLIENT_CRL",
        value_name = "FILE",
        requires = "tls_client_ca"
    )]
    pub tls_client_crl: Option<PathBuf>,

    /// Serve without TLS or without credentials on an address that other machines reach. Whoever
    /// reaches it can read what is sent, tokens included, or can make and revoke keys. This is right
    /// only where something else, such as a service mesh, protects the address.
    #[arg(long, env = "KEYSERVICE_INSECURE", value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", action = ArgAction::Set)]
    pub insecure: bool,
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn half_of_a_protection_is_refused() {
        let tls = ["--tls-cert", "c", "--tls-key", "k"];
        for half in [
            &["--tls-cert", "c"][..],
            &["--tls-key", "k"],
            &["--tls-client-ca", "a"],
            &[&tls[..], &["--tls-client-ca", "a"]].concat(),
            &[&tls[..], &["--credentials", "f", "--tls-client-crl", "r"]].concat(),
        ] {
            assert!(Settings::parse_from(half).is_err(), "{half:?}");
        }
    }
}
