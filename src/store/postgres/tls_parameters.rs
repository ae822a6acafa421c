//! The parameters of an address that concern TLS and authentication.
//!
//! Promises that each means what it means to libpq, or is refused with what to do: none is ignored that
//! asks for more than is done. Must never repeat a value, which may be a part of a password.

use super::tls::Verification;
use crate::store::OpenError;
use percent_encoding::percent_decode_str;
use std::path::PathBuf;
use tokio_postgres::config::SslMode;

/// The TLS parameters of an address that tokio-postgres does not know.
#[derive(Default)]
pub(super) struct TlsParameters {
    mode: Option<String>,
    root_cert: Option<String>,
}

/// The parameters of libpq for security that are refused, because to ignore one could verify less
/// than the address asks for, and what to do instead.
const REFUSED: [(&str, &str); 14] = [
    ("sslcert", CLIENT_CERTIFICATE),
    ("sslkey", CLIENT_CERTIFICATE),
    ("sslpassword", CLIENT_CERTIFICATE),
    (
        "sslcertmode",
        "only allow and disable are, as no certificate is sent; leave it out",
    ),
    (
        "sslcrl",
        "leave it out, and replace the root of a revoked certificate",
    ),
    (
        "sslcrldir",
        "leave it out, and replace the root of a revoked certificate",
    ),
    (
        "sslsni",
        "the host's name is always sent, as with sslsni=1; leave it out",
    ),
    (
        "sslcompression",
        "nothing is compressed, as with sslcompression=0; leave it out",
    ),
    (
        "ssl_min_protocol_version",
        "TLS 1.2 is the oldest; set the server's ssl_min_protocol_version",
    ),
    (
        "ssl_max_protocol_version",
        "set the server's ssl_max_protocol_version",
    ),
    ("requiressl", "use sslmode=require or sslmode=verify-full"),
    (
        "require_auth",
        "use channel_binding=require with sslmode=verify-full",
    ),
    (
        "gssencmode",
        "only disable and prefer are; use TLS with sslmode=verify-full",
    ),
    ("krbsrvname", "use a password with sslmode=verify-full"),
];

const CLIENT_CERTIFICATE: &str =
    "no client certificate is sent; use a password with sslmode=verify-full";

/// Whether the parameter asks for what is done anyway.
fn is_without_effect(name: &str, value: &str) -> bool {
    matches!(
        (name, value),
        ("gssencmode", "disable" | "prefer")
            | ("sslcertmode", "disable" | "allow")
            | ("sslcompression", "0")
            | ("sslsni", "1")
            | ("ssl_min_protocol_version", "TLSv1" | "TLSv1.1" | "TLSv1.2")
            | ("ssl_max_protocol_version", "TLSv1.3")
    )
}

/// Takes `sslmode` and `sslrootcert` out of the address's query.
pub(super) fn split_tls_parameters(text: &str) -> Result<(String, TlsParameters), OpenError> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    if base.matches('@').count() > 1 || query.contains('@') {
        // Otherwise part of a password could be taken for a host's name, which errors show, or the
        // query's first parameter for the end of the password.
        return Err(OpenError::Address(
            "the address has an `@` or a `?` that does not end its user and password or its \
             database; write one in a user, password or parameter as %40 or %3F"
                .to_owned(),
        ));
    }
    let host_and_database = base.rsplit_once('@').map_or(base, |(_, rest)| rest);
    if host_and_database.contains(['&', '=']) || query.contains('?') {
        // Otherwise a password among the parameters could be taken for a part of a name, which
        // errors show.
        return Err(OpenError::Address(
            "the address's parameters do not begin with one `?` and go on with `&`; write these \
             and `=` in a host, a database or a parameter as %3F, %26 and %3D"
                .to_owned(),
        ));
    }
    if query.is_empty() {
        return Ok((base.to_owned(), TlsParameters::default()));
    }
    let mut parameters = TlsParameters::default();
    let mut others = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // Decoded, because tokio-postgres would take an encoded `sslmode` for its own.
        let name = &*percent_decode_str(name).decode_utf8_lossy();
        let parameter = match name {
            "sslmode" => &mut parameters.mode,
            "sslrootcert" => &mut parameters.root_cert,
            _ if is_without_effect(name, value) => continue,
            _ => {
                if let Some((_, advice)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
                    let complaint = format!("the parameter {name} is not supported: {advice}");
                    return Err(OpenError::Address(complaint));
                }
                others.push(pair);
                continue;
            }
        };
        let value = percent_decode_str(value).decode_utf8();
        let value = value.map_err(|_| OpenError::Address(format!("{name} is not UTF-8")))?;
        *parameter = Some(value.into_owned());
    }
    let separator = if others.is_empty() { "" } else { "?" };
    Ok((format!("{base}{separator}{}", others.join("&")), parameters))
}

impl TlsParameters {
    /// What the parameters mean to libpq (its manual, section 34.19.1). `require` with a root
    /// certificate verifies the server's certificate.
    pub(super) fn meaning(self) -> Result<(SslMode, Verification), OpenError> {
        let mode = self.mode.as_deref();
        if self.root_cert.as_deref() == Some("system") {
            return match mode {
                None | Some("verify-full") => Ok((SslMode::Require, Verification::Full(None))),
                Some(_) => Err(OpenError::Address(
                    "sslrootcert=system needs sslmode=verify-full, because anybody can get a \
                     certificate from a public authority; give that, or leave sslmode out"
                        .to_owned(),
                )),
            };
        }
        match (mode, self.root_cert.map(PathBuf::from)) {
            (Some("disable"), None) => Ok((SslMode::Disable, Verification::None)),
            (None | Some("prefer"), None) => Ok((SslMode::Prefer, Verification::None)),
            (Some("require"), None) => Ok((SslMode::Require, Verification::None)),
            (Some("require" | "verify-ca"), Some(roots)) => {
                Ok((SslMode::Require, Verification::Ca(roots)))
            }
            (Some("verify-ca"), None) => Err(OpenError::Address(
                "sslmode=verify-ca needs sslrootcert=FILE, because anybody can get a certificate \
                 from a public authority; give one, or use sslmode=verify-full"
                    .to_owned(),
            )),
            (Some("verify-full"), roots) => Ok((SslMode::Require, Verification::Full(roots))),
            (None | Some("disable" | "prefer"), Some(_)) => Err(OpenError::Address(
                "sslrootcert protects nothing without sslmode=verify-full, verify-ca or require; add one"
                    .to_owned(),
            )),
            (Some(_), _) => Err(OpenError::Address(
                "sslmode is not known; use disable, prefer, require, verify-ca or verify-full"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Address, *};
    use std::time::Duration;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, Duration::from_secs(5)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_roots_of_the_system_count_only_where_the_name_is_verified() {
        for mode in [None, Some("verify-full")] {
            let parameters = TlsParameters {
                mode: mode.map(str::to_owned),
                root_cert: Some("system".to_owned()),
            };
            let meaning = parameters.meaning().expect("verify-full");
            assert!(matches!(
                meaning,
                (SslMode::Require, Verification::Full(None))
            ));
        }
        for mode in ["disable", "allow", "prefer", "require", "verify-ca"] {
            let error = parse(&format!("postgres://h/d?sslmode={mode}&sslrootcert=system"));
            let error = error.err().expect(mode);
            assert!(error.contains("needs sslmode=verify-full"), "{error}");
        }
    }

    #[test]
    fn parameters_that_ask_for_what_is_done_anyway_are_accepted() {
        assert!(parse("postgres://h/d?gssencmode=disable&sslsni=1&sslcompression=0").is_ok());
        for (name, advice) in REFUSED {
            let error = parse(&format!("postgres://h/d?{name}=x"))
                .err()
                .expect(name);
            assert!(error.contains(advice), "{error}");
        }
    }
}
