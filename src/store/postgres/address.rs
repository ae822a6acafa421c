//! The `postgres://` address of a database.
//!
//! Promises that its parameters mean what they mean to tokio-postgres, and that those for TLS mean
//! what they mean to libpq. Must never print a password: `Display` leaves it out.

use super::{
    connect::{Connected, Hosts},
    tls::{self, Connector},
    tls_parameters::split_tls_parameters,
    warnings::Warnings,
};
use crate::{
    file_access,
    model::text,
    store::{OpenError, with_causes},
};
use std::{fmt, net::IpAddr, sync::Arc, time::Duration};
use tokio_postgres::{
    CancelToken, Config,
    config::{Host, SslMode, SslNegotiation, TargetSessionAttrs},
};

/// After this long without a byte, the system asks whether the server is still there. The system's
/// default of two hours would leave half-open connections in the pool.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// Where the database is, and how to connect to it.
#[derive(Clone)]
pub struct Address {
    config: Config,
    hosts: Arc<Hosts>,
    connect_timeout: Duration,
    tls: Connector,
    warnings: Warnings,
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
            warnings: Warnings::default(),
        })
    }

    /// The same address for whoever writes. Of several hosts, only one that accepts writes is used: otherwise a
    /// standby would be, whenever its primary refuses a connection or is slow. With one host, a standby is refused
    /// later, in words that say what to do.
    #[must_use]
    pub(super) fn of_primary(mut self) -> Self {
        let says_nothing = self.config.get_target_session_attrs() == TargetSessionAttrs::Any;
        if says_nothing && self.hosts.are_several() {
            self.config
                .target_session_attrs(TargetSessionAttrs::ReadWrite);
            let hosts = Hosts::of(&self.config);
            self.hosts = Arc::new(hosts.expect("the same hosts were accepted before"));
        }
        self
    }

    /// Connects to the first host that accepts the connection. The caller must bound this by
    /// [`Self::connect_timeout`].
    pub(super) async fn connect(&self) -> Result<Connected, tokio_postgres::Error> {
        self.hosts.connect(&self.tls, self.connect_timeout).await
    }

    /// Asks the server of a connection to cancel what it works on for it, with as much TLS as the connection has.
    pub(super) async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        token.cancel_query(self.tls.clone()).await
    }

    /// Warns of others who may put a Unix socket of theirs into the place of the server's. A client cannot tell one
    /// from the other.
    pub(super) fn warn_of_other_sockets(&self) {
        for host in self.config.get_hosts() {
            if let Host::Unix(folder) = host {
                file_access::warn_of_other_sockets(folder);
            }
        }
    }

    /// Those of all connections to this address.
    pub(super) fn warnings(&self) -> Warnings {
        self.warnings.clone()
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
    fn of_several_hosts_only_a_primary_is_used_unless_the_address_says_otherwise() {
        for (text, attributes) in [
            ("postgres://a,b/d", TargetSessionAttrs::ReadWrite),
            (
                "postgres:///d?hostaddr=10.0.0.1,10.0.0.2",
                TargetSessionAttrs::ReadWrite,
            ),
            (
                "postgres://a,b/d?target_session_attrs=read-only",
                TargetSessionAttrs::ReadOnly,
            ),
            ("postgres://a/d", TargetSessionAttrs::Any),
        ] {
            let config = parse(text).expect(text).of_primary().config;
            assert_eq!(config.get_target_session_attrs(), attributes, "{text}");
        }
        // A reader may use a standby.
        let config = parse("postgres://a,b/d").expect("an address").config;
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
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
            ("sslmode=prefer&%73slmode=allow", "sslmode is not known"),
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
