//! How a client finds the replicas, proves who it is, and how long it tries.

use crate::{
    credentials::{Credentials, Identity, SecretSource, TlsFiles},
    error::Misused,
};
use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::Uri;

/// How a client finds the replicas, proves who it is, and how long it tries.
///
/// ```
/// use tosend_keyservice::Options;
///
/// let mutual_tls = Options::new(["keys.example.org:50051"])
///     .ca_file("ca.crt")
///     .certificate_files("client.crt", "client.key");
/// let bearer = Options::new(["keys.example.org:50051"]).secret_file("secret");
/// let for_a_test = Options::new(["127.0.0.1:50051"]).plaintext();
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until a client is opened with them"]
pub struct Options {
    addresses: Vec<String>,
    plaintext: bool,
    ca_file: Option<PathBuf>,
    identity: Option<Identity>,
    secret: Option<SecretSource>,
    server_name: Option<String>,
    pub(crate) deadline: Duration,
    pub(crate) admin_deadline: Duration,
    pub(crate) attempts: usize,
    pub(crate) attempt_time: Duration,
}

/// An address of the list: a host, and all the replicas that stand behind its name.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What calls name as their server.
    pub(crate) origin: Uri,
    /// For which the server's certificate must be.
    pub(crate) server_name: ServerName<'static>,
    /// A secret goes there in plain text, so it must not leave this machine.
    pub(crate) must_be_local: bool,
}

impl Options {
    /// The addresses of the replicas, each `host:port`. A name may stand for many replicas.
    ///
    /// Without further options, the connections are encrypted, servers need certificates of an authority that
    /// the system trusts, and the client proves nothing about itself.
    pub fn new(addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            addresses: addresses.into_iter().map(Into::into).collect(),
            plaintext: false,
            ca_file: None,
            identity: None,
            secret: None,
            server_name: None,
            deadline: Duration::from_secs(1),
            admin_deadline: Duration::from_secs(10),
            attempts: 4,
            attempt_time: Duration::from_millis(200),
        }
    }

    /// Does without encryption. A secret is then only sent to this machine itself.
    pub fn plaintext(mut self) -> Self {
        self.plaintext = true;
        self
    }

    /// Trusts the authorities in this file (PEM), and no longer the system's.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Proves who calls by a client certificate: its file, which may go on with intermediate certificates, and
    /// the file of its key (both PEM).
    pub fn certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.identity = Some(Identity {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// Proves who calls by the bearer secret (`tsop_…`) in this file.
    pub fn secret_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.secret = Some(SecretSource::File(path.into()));
        self
    }

    /// Proves who calls by this bearer secret. Prefer [`secret_file`](Self::secret_file): it can be replaced
    /// without a restart.
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(SecretSource::Given(secret.into()));
        self
    }

    /// The name in the server's certificate. Without it, that is the host of each address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// How long an Authorize may take, with all its attempts: 1 second unless you say otherwise.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long an admin call may take, with all its attempts: 10 seconds unless you say otherwise.
    pub fn admin_deadline(mut self, deadline: Duration) -> Self {
        self.admin_deadline = deadline;
        self
    }

    /// How many attempts a call makes at most (4 unless you say otherwise), and how long one of an Authorize may
    /// take (200 ms). One of less than 30 ms that is not answered says nothing about its replica.
    pub fn attempts(mut self, count: usize, each: Duration) -> Self {
        (self.attempts, self.attempt_time) = (count, each);
        self
    }

    /// Finds an address that is none, and options that contradict one another, as
    /// [`Client::open`](crate::Client::open) does. Looks at no file, which may be made later.
    pub fn check_without_files(&self) -> Result<(), Misused> {
        self.targets().map(drop)
    }

    /// Reads the addresses and the files, and finds what contradicts itself.
    pub(crate) fn check(&self) -> Result<(Vec<Target>, Credentials), Misused> {
        let targets = self.targets()?;
        let tls = (!self.plaintext).then(|| TlsFiles {
            authorities: self.ca_file.clone(),
            identity: self.identity.clone(),
        });
        let credentials = Credentials::open(tls, self.secret.clone()).map_err(Misused::new)?;
        Ok((targets, credentials))
    }

    /// The addresses, unless something contradicts itself.
    fn targets(&self) -> Result<Vec<Target>, Misused> {
        let durations = [self.deadline, self.admin_deadline, self.attempt_time];
        if durations.iter().any(Duration::is_zero) || self.attempts == 0 {
            return Err(Misused::new(
                "a deadline, the time of an attempt or their count is 0",
            ));
        }
        if self.addresses.is_empty() {
            return Err(Misused::new("there is no address of a replica"));
        }
        let targets = self.addresses.iter().map(|address| self.target(address));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let has_tls_options =
            self.ca_file.is_some() || self.identity.is_some() || self.server_name.is_some();
        if self.plaintext && has_tls_options {
            return Err(Misused::new(
                "plaintext and certificates contradict each other",
            ));
        }
        let is_far = |target: &Target| !target.is_this_machine();
        if let Some(far) = targets.iter().find(|target| is_far(target))
            && self.plaintext
            && self.secret.is_some()
        {
            return Err(Misused::new(format!(
                "a secret is not sent to {far} without encryption, because everyone on the way could read it"
            )));
        }
        Ok(targets)
    }

    fn target(&self, address: &str) -> Result<Target, Misused> {
        let wrong = || Misused::new(format!("the address {address:?} is not host:port"));
        let (bracketed, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(wrong)?;
        let inside = bracketed.strip_prefix('[');
        let inside = inside.and_then(|rest| rest.strip_suffix(']'));
        let host = inside.unwrap_or(bracketed);
        if inside.is_none() && host.contains(':') {
            return Err(wrong());
        }
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let shown = if name.contains(':') {
            format!("[{name}]")
        } else {
            name.clone()
        };
        let scheme = if self.plaintext { "http" } else { "https" };
        Ok(Target {
            host: host.to_owned(),
            port,
            origin: format!("{scheme}://{shown}:{port}")
                .parse()
                .map_err(|_| wrong())?,
            server_name: ServerName::try_from(name).map_err(|_| wrong())?,
            must_be_local: self.plaintext && self.secret.is_some(),
        })
    }
}

impl Target {
    fn is_this_machine(&self) -> bool {
        let address: Result<IpAddr, _> = self.host.parse();
        address.map_or(self.host == "localhost", |address| address.is_loopback())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
