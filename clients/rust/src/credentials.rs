//! Who this client is, and whom it trusts: certificates and a bearer secret, from files that are read again.
//!
//! Promises that a file with an error changes nothing, and that no error and no log has a file's contents.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tonic::metadata::{Ascii, MetadataValue};

/// A client certificate's files.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Where the bearer secret comes from.
#[derive(Clone, derive_more::Debug)]
pub(crate) enum SecretSource {
    File(PathBuf),
    #[debug("redacted")]
    Given(String),
}

/// The files that TLS needs. Without `authorities`, the system's count.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) identity: Option<Identity>,
}

/// The header that holds a bearer secret.
pub(crate) type Bearer = MetadataValue<Ascii>;

pub(crate) struct Credentials {
    tls: Option<Watched<Arc<ClientConfig>>>,
    bearer: Option<Watched<Bearer>>,
}

impl Credentials {
    /// The error is a sentence that names the file.
    pub(crate) fn open(
        tls: Option<TlsFiles>,
        secret: Option<SecretSource>,
    ) -> Result<Self, String> {
        let tls = tls.map(|files| Watched::open(files.paths(), move |read| files.config(read)));
        let bearer = secret.map(|source| match source {
            SecretSource::File(path) => {
                Watched::open(vec![path.clone()], move |read| bearer(&read[0], &path))
            }
            SecretSource::Given(secret) => Watched::open(Vec::new(), move |_| {
                bearer(secret.as_bytes(), Path::new("the secret"))
            }),
        });
        Ok(Self {
            tls: tls.transpose()?,
            bearer: bearer.transpose()?,
        })
    }

    /// For a new connection. None: in plain text.
    pub(crate) fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls.as_ref().map(Watched::value)
    }

    /// For a new call's header.
    pub(crate) fn bearer(&self) -> Option<Bearer> {
        self.bearer.as_ref().map(Watched::value)
    }

    /// Whether a file is used, so that there is something to reload.
    pub(crate) fn have_files(&self) -> bool {
        let tls = self.tls.as_ref().is_some_and(Watched::has_files);
        tls || self.bearer.as_ref().is_some_and(Watched::has_files)
    }

    /// Reads the files again. Says whether what new connections need has changed. It blocks.
    pub(crate) fn reload(&self) -> bool {
        if let Some(bearer) = &self.bearer {
            bearer.reload();
        }
        self.tls.as_ref().is_some_and(Watched::reload)
    }
}

type Contents = Vec<Vec<u8>>;
type Make<T> = Box<dyn Fn(&Contents) -> Result<T, String> + Send + Sync>;

/// Some files, and what was last made of them.
struct Watched<T> {
    paths: Vec<PathBuf>,
    make: Make<T>,
    /// What the files held at the last look, or why they could not be read.
    seen: Mutex<Result<Contents, String>>,
    value: RwLock<T>,
}

impl<T: Clone> Watched<T> {
    fn open(
        paths: Vec<PathBuf>,
        make: impl Fn(&Contents) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let contents = read(&paths)?;
        Ok(Self {
            value: RwLock::new(make(&contents)?),
            seen: Mutex::new(Ok(contents)),
            make: Box::new(make),
            paths,
        })
    }

    fn has_files(&self) -> bool {
        !self.paths.is_empty()
    }

    fn value(&self) -> T {
        let value = self.value.read().unwrap_or_else(PoisonError::into_inner);
        value.clone()
    }

    /// Whether there is a new value. What was seen before is neither used nor reported again.
    fn reload(&self) -> bool {
        let now = read(&self.paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return false;
        }
        *seen = now;
        let made = match &*seen {
            Ok(contents) => (self.make)(contents),
            Err(fault) => Err(fault.clone()),
        };
        match made {
            Ok(made) => {
                *self.value.write().unwrap_or_else(PoisonError::into_inner) = made;
                true
            }
            Err(fault) => {
                tracing::warn!(
                    "a changed file is not used, and what it held before stays in use: {fault}"
                );
                false
            }
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Contents, String> {
    let one = |path: &PathBuf| {
        fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
    };
    paths.iter().map(one).collect()
}

fn bearer(secret: &[u8], source: &Path) -> Result<Bearer, String> {
    let secret = secret.trim_ascii();
    if secret.is_empty() || !secret.iter().all(u8::is_ascii_graphic) {
        let source = source.display();
        return Err(format!(
            "{source} is not one line of visible ASCII characters"
        ));
    }
    let header = [b"Bearer ", secret].concat();
    let header = MetadataValue::try_from(header.as_slice());
    let mut header = header.expect("visible ASCII is a header's text");
    header.set_sensitive(true);
    Ok(header)
}

impl TlsFiles {
    /// In the order in which `config` takes them.
    fn paths(&self) -> Vec<PathBuf> {
        let identity = self
            .identity
            .iter()
            .flat_map(|it| [&it.certificate, &it.key]);
        self.authorities.iter().chain(identity).cloned().collect()
    }

    fn config(&self, contents: &Contents) -> Result<Arc<ClientConfig>, String> {
        let mut contents = contents.iter();
        let mut next = || contents.next().expect("one for each path");
        let roots = match &self.authorities {
            Some(path) => authorities(certificates(next(), path)?, path)?,
            None => system_authorities()?,
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what they need")
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let chain = certificates(next(), &identity.certificate)?;
                let key = key(next(), &identity.key)?;
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|error| {
                    let path = identity.certificate.display();
                    format!("{path} cannot be used with its key: {error}")
                })?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

// The errors of the PEM reader are not shown: some have the line at which they are, which may be a key.

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.ok().filter(|certificates| !certificates.is_empty());
    read.ok_or_else(|| format!("{} holds no certificate in PEM", path.display()))
}

fn key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem);
    key.map_err(|_| format!("{} holds no private key in PEM", path.display()))
}

fn authorities(
    certificates: Vec<CertificateDer<'static>>,
    path: &Path,
) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| format!("{} cannot be used: {error}", path.display()))?;
    }
    Ok(roots)
}

/// Those that this library can read. Some systems keep very old ones that it cannot.
fn system_authorities() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        return Err("the system has no file of authorities; give one".to_owned());
    }
    Ok(roots)
}
