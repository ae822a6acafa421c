//! The `postgres://` address of a database.
//!
//! Promises that its parameters mean what they mean to tokio-postgres, and that those for TLS mean
//! what they mean to libpq. Must never print a password: `Display` leaves it out.

use super::{
    connect::{Connected, Hosts},
    tls::{self, Verification},
};
use crate::{
    model::text,
    store::{OpenError, with_causes},
};
use percent_encoding::percent_decode_str;
use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, SslNegotiation},
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// After this long without a byte, the system asks whether the server is still there. The system's
/// default of two hours would leave half-open connections in the pool.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// Where the database is, and how to connect to it.
#[derive(Clone)]
pub struct Address {
    config: Config,
    hosts: Arc<Hosts>,
    connect_timeout: Duration,
    tls: MakeRustlsConnect,
}

/// The TLS parameters of an address that tokio-postgres does not know.
#[derive(Default)]
struct TlsParameters {
    mode: Option<String>,
    root_cert: Option<String>,
}

impl Address {
    /// Parses an address. Its own `connect_timeout` counts, if it has one, and otherwise this one.
    pub fn parse(text: &str, connect_timeout: Duration) -> Result<Self, OpenError> {
        let (rest, parameters) = split_tls_parameters(text)?;
        let mut config: Config = rest
            .parse()
            .map_err(|error| OpenError::Address(complaint(&error)))?;
        let (mode, verification) = parameters.meaning()?;
        config.ssl_mode(mode);
        if config.get_ssl_negotiation() == SslNegotiation::Direct && mode != SslMode::Require {
            return Err(OpenError::Address(
                "sslnegotiation=direct needs sslmode=verify-full, verify-ca or require; add one"
                    .to_owned(),
            ));
        }
        let connect_timeout = *config.get_connect_timeout().unwrap_or(&connect_timeout);
        config.connect_timeout(connect_timeout);
        if !text.contains("keepalives_idle") {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_application_name().is_none() {
            config.application_name("keyservice");
        }
        let tls = tls::connector(verification).map_err(OpenError::Address)?;
        let hosts = Hosts::of(&config);
        let hosts = hosts.map_err(|complaint| OpenError::Address(complaint.to_owned()))?;
        Ok(Self {
            config,
            hosts: Arc::new(hosts),
            connect_timeout,
            tls,
        })
    }

    /// Connects to the first host that accepts the connection. The caller must bound this by
    /// [`Self::connect_timeout`].
    pub(super) async fn connect(&self) -> Result<Connected, tokio_postgres::Error> {
        self.hosts.connect(&self.tls, self.connect_timeout).await
    }

    /// How long it may take to establish one connection, whichever host accepts it.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }
}

/// What is wrong with an address. A part of a password may be taken for the name of a parameter.
fn complaint(error: &tokio_postgres::Error) -> String {
    let complaint = with_causes(error);
    let Some((before, name)) = complaint.split_once("unknown option `") else {
        return complaint;
    };
    let name = text::shown_name(name.trim_end_matches('`'));
    format!(
        "{before}unknown option `{name}`; check the parameters, and write an `&` in a password as %26"
    )
}

/// A user, a host or a database, unless another part of the address may be in it.
fn shown(name: &str) -> &str {
    if name.contains([':', '/', '@', '?', '&', '=', '%']) {
        "…"
    } else {
        name
    }
}

/// An IPv6 address has colons.
fn shown_host(name: &str) -> &str {
    if name.parse::<IpAddr>().is_ok() {
        name
    } else {
        shown(name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .zip(0..)
            .map(|(host, at): (_, usize)| {
                let port = self
                    .config
                    .get_ports()
                    .get(at)
                    .or(self.config.get_ports().first());
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                match host {
                    Host::Tcp(name) => format!("{}{port}", shown_host(name)),
                    Host::Unix(path) => format!("{}{port}", path.display()),
                }
            });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let user = self
            .config
            .get_user()
            .map(|user| format!("{}@", shown(user)))
            .unwrap_or_default();
        write!(
            f,
            "postgres://{user}{hosts}/{}",
            shown(self.config.get_dbname().unwrap_or_default())
        )
    }
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
fn split_tls_parameters(text: &str) -> Result<(String, TlsParameters), OpenError> {
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
    fn meaning(self) -> Result<(SslMode, Verification), OpenError> {
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
                "sslrootcert has no effect without sslmode=verify-full, verify-ca or require; add one"
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
    use super::*;

    fn parse(text: &str) -> Result<Address, String> {
        Address::parse(text, Duration::from_secs(5)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let address = parse("postgres://kate:hunter2@db1:5433,db2:5434/keys?password=hunter2")
            .expect("a good address");
        assert_eq!(
            address.to_string(),
            "postgres://kate@db1:5433,db2:5434/keys"
        );
    }

    #[test]
    fn a_password_that_ends_too_early_is_refused_and_not_shown() {
        for password in ["hunter2@hunter2", "hunter2?hunter2"] {
            for query in ["", "?sslmode=require"] {
                let error = parse(&format!("postgres://kate:{password}@db/keys{query}"))
                    .err()
                    .expect(password);
                assert!(error.contains("%40 or %3F"), "{error}");
                assert!(!error.contains("hunter2"), "{error}");
            }
        }
        assert!(parse("postgres://kate:hunter2%40%3F@db/keys?application_name=a%40b").is_ok());
    }

    #[test]
    fn a_password_in_a_parameter_that_is_read_as_a_name_is_refused_and_not_shown() {
        for wrong in [
            "postgres://db&password=hunter2",
            "postgres://db/keys&password=hunter2",
            "postgres://db/keys?sslmode=require?password=hunter2",
        ] {
            let error = parse(wrong).err().expect(wrong);
            assert!(error.contains("one `?`"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(parse("postgres://kate:a=b&c@db/keys?application_name=%3F").is_ok());
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_shown() {
        for text in [
            "postgres://kate%3Ahunter2@db/keys",
            "postgres://db/kate%3Ahunter2%40h",
            "postgres://kate%3Ahunter2%40db/keys",
            "postgres://db/keys?password=a&hunter2=b",
            "postgres://db/keys?sslmode=hunter2",
            "postgres://kate:hunter2",
            "postgres://kate:hunter2/keys",
        ] {
            let shown = parse(text).map_or_else(|error| error, |address| address.to_string());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let ipv6 = "postgres://kate@[::1]:5432/keys";
        assert_eq!(
            parse(ipv6).map(|it| it.to_string()),
            Ok(ipv6.replace(['[', ']'], ""))
        );
    }

    #[test]
    fn tls_parameters_mean_what_they_mean_to_libpq() {
        for (query, mode) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=require&application_name=x", SslMode::Require),
            ("?application_name=x&sslmode=prefer", SslMode::Prefer),
        ] {
            let address = parse(&format!("postgres://h/d{query}")).expect(query);
            assert_eq!(address.config.get_ssl_mode(), mode, "{query}");
        }
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

    #[test]
    fn wrong_parameters_are_refused_with_what_is_right() {
        for (query, complaint) in [
            (
                "sslmode=allow",
                "use disable, prefer, require, verify-ca or verify-full",
            ),
            ("sslrootcert=/ca.pem", "add one"),
            (
                "sslmode=verify-full&sslrootcert=/no/such/file",
                "/no/such/file",
            ),
            ("sslmode=verify-ca", "sslrootcert=FILE"),
            ("sslnegotiation=direct", "add one"),
            (
                "sslmode=prefer&%73slmode=allow",
                "sslmode=allow is not known",
            ),
            ("%73slcert=/client.pem", "no client certificate"),
            ("gssencmode=require", "use TLS"),
            ("ssl_min_protocol_version=TLSv1.3", "TLS 1.2"),
            ("colour=red", "colour"),
        ] {
            let error = parse(&format!("postgres://h/d?{query}"))
                .err()
                .expect(query);
            assert!(error.contains(complaint), "{error}");
        }
    }
}
