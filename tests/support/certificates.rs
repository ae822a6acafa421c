//! Certificates for servers and clients, signed by the tests' own authorities.

use crate::support::{postgres::Cluster, tools::shell};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{io, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use x509_cert::der::Decode;

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
    /// The time of its expiry, in seconds since 1970.
    pub not_after: i64,
}

impl Authority {
    pub fn new() -> Self {
        Self::named("an authority")
    }

    /// An authority with this common name. A revocation list is found by the name of its issuer.
    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self::with(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    /// An authority that this one has signed.
    pub fn intermediate(&self) -> Self {
        let mut params = CertificateParams::new([]).expect("valid");
        let name = "an intermediate authority";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self::with(CertifiedIssuer::signed_by(params, key, &self.issuer).expect("signed"))
    }

    fn with(issuer: CertifiedIssuer<'static, KeyPair>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, directory }
    }

    /// The file with the authority's certificate. It is deleted with the authority.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for a server at this host.
    pub fn server(&self, host: &str) -> Issued {
        let name = SanType::DnsName(host.try_into().expect("ASCII"));
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, 2100)
    }

    /// The same for a server at this host name or network address.
    pub fn server_by_name_or_address(&self, host: &str) -> Issued {
        self.sign(&server_params(host))
    }

    /// Issues a certificate for a client that is named by a URI.
    pub fn client_by_uri(&self, uri: &str) -> Issued {
        let name = SanType::URI(uri.try_into().expect("ASCII"));
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    /// Issues a certificate that has expired.
    pub fn expired_client_by_uri(&self, uri: &str) -> Issued {
        let name = SanType::URI(uri.try_into().expect("ASCII"));
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, 2000)
    }

    /// Issues a certificate for a client that is named by a host name.
    pub fn client_by_host(&self, host: &str) -> Issued {
        let name = SanType::DnsName(host.try_into().expect("ASCII"));
        self.issue(name, ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    /// Issues a certificate for a client with these URIs, in this order.
    pub fn client_by_uris(&self, uris: &[&str]) -> Issued {
        let names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().expect("ASCII")));
        self.issue_with(names.collect(), ExtendedKeyUsagePurpose::ClientAuth, 2100)
    }

    /// Signs a list (PEM) of certificates that are revoked. It expires early in this year.
    pub fn revocation_list(&self, revoked: &[&Issued], last_year: i32) -> String {
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: issued.serial(),
            revocation_time: rcgen::date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2000, 1, 1),
            next_update: rcgen::date_time_ymd(last_year, 1, 2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        list.pem().expect("PEM")
    }

    /// Issues a certificate for a server that has expired.
    pub fn expired_server(&self, host: &str) -> Issued {
        let name = SanType::DnsName(host.try_into().expect("ASCII"));
        self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, 2000)
    }

    /// Issues a certificate for a server that is not valid yet.
    pub fn future_server(&self, host: &str) -> Issued {
        let mut params = server_params(host);
        params.not_before = rcgen::date_time_ymd(2100, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 2);
        self.sign(&params)
    }

    /// Issues a certificate that names a server only by its common name.
    pub fn server_by_common_name(&self, host: &str) -> Issued {
        let mut params = server_params(host);
        params.subject_alt_names.clear();
        params.distinguished_name.push(DnType::CommonName, host);
        self.sign(&params)
    }

    /// Has OpenSSL make a server's key of any kind (`rsa:1024`), and a certificate with these extensions.
    /// Without any, it is of X.509 version 1.
    pub fn server_by_openssl(&self, host: &str, new_key: &str, extensions: &str) -> Issued {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let ca_key = self.issuer.key().serialize_pem();
        for (name, content) in [("ca.key", &*ca_key), ("ext", extensions)] {
            std::fs::write(path(name), content).expect("written");
        }
        let extensions = if extensions.is_empty() {
            ""
        } else {
            "-extfile ext"
        };
        shell(&format!(
            "cd {} && openssl req -newkey {new_key} -nodes -subj /CN={host} -keyout key -out csr && \
             openssl x509 -req -in csr -CA {} -CAkey ca.key -days 9000 {extensions} -out crt",
            directory.path().display(),
            self.path().display(),
        ))
        .expect("openssl runs");
        let read = |name: &str| std::fs::read_to_string(path(name)).expect("made");
        Issued {
            certificate: read("crt"),
            key: read("key"),
            not_after: 0,
        }
    }

    /// Issues a certificate for a PostgreSQL cluster, which then uses TLS for new sessions.
    pub fn certify(&self, cluster: &Cluster, host: &str) {
        cluster.use_certificate(&self.server(host));
    }

    fn issue(&self, name: SanType, usage: ExtendedKeyUsagePurpose, last_year: i32) -> Issued {
        self.issue_with(vec![name], usage, last_year)
    }

    fn issue_with(
        &self,
        names: Vec<SanType>,
        usage: ExtendedKeyUsagePurpose,
        last_year: i32,
    ) -> Issued {
        let mut params = CertificateParams::new([]).expect("valid");
        params.subject_alt_names = names;
        params.extended_key_usages.push(usage);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 2);
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Issued::new(params, &certificate, &key)
    }
}

fn server_params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).expect("valid");
    let usage = ExtendedKeyUsagePurpose::ServerAuth;
    params.extended_key_usages.push(usage);
    params
}

/// What no parser takes for a certificate, of this many bytes, in PEM.
pub fn junk_certificate(bytes: usize) -> String {
    let base64 = data_encoding::BASE64.encode(&vec![0x30; bytes]);
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

impl Issued {
    fn new(params: &CertificateParams, certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            not_after: params.not_after.unix_timestamp(),
        }
    }

    /// A server's certificate that has signed itself, and may sign others, as `openssl req -x509`
    /// makes it. It may be for the years up to this one.
    pub fn self_signed_server(host: &str, last_year: i32) -> Self {
        let mut params = CertificateParams::new([host.to_owned()]).expect("valid");
        params.distinguished_name.push(DnType::CommonName, host);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(last_year, 1, 2);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        Self::new(&params, &certificate, &key)
    }

    /// The same, with more certificates (PEM) behind it.
    pub fn followed_by(&self, chain: &str) -> Self {
        Self {
            certificate: format!("{}{chain}", self.certificate),
            ..self.clone()
        }
    }

    fn serial(&self) -> SerialNumber {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM");
        let certificate = x509_cert::Certificate::from_der(&der).expect("a certificate");
        SerialNumber::from_slice(certificate.tbs_certificate.serial_number.as_bytes())
    }
}

/// Connects to `localhost` over TLS, trusts one authority, and may use a client certificate.
pub async fn connect(
    port: u16,
    trusted: &Authority,
    client: Option<&Issued>,
) -> Result<Channel, tonic::transport::Error> {
    endpoint(port, trusted, client).connect().await
}

/// The endpoint that [`connect`] uses.
pub fn endpoint(port: u16, trusted: &Authority, client: Option<&Issued>) -> Endpoint {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(trusted.pem()))
        .domain_name("localhost");
    if let Some(client) = client {
        tls = tls.identity(Identity::from_pem(&client.certificate, &client.key));
    }
    let address = format!("https://127.0.0.1:{port}");
    let endpoint = Endpoint::from_shared(address).expect("an address");
    endpoint.tls_config(tls).expect("valid")
}

/// A client that resumes its TLS sessions with `localhost` if the server allows it.
pub struct Resuming(TlsConnector);

impl Resuming {
    pub fn new(trusted: &Authority, version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        let root = PemObject::from_pem_slice(trusted.pem().as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let provider = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self(TlsConnector::from(Arc::new(config)))
    }

    pub async fn connect(&self, port: u16) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let name = "localhost".try_into().expect("a name");
        let session = self.0.connect(name, stream.expect("it listens")).await;
        session.expect("a handshake")
    }
}

/// A client whose handshake with the server may fail.
pub struct TlsClient {
    roots: RootCertStore,
    shown: Option<Issued>,
    protocol: Vec<u8>,
    name: &'static str,
}

impl TlsClient {
    /// A client that trusts one authority, and otherwise does what the server asks for.
    pub fn new(trusted: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        let root = PemObject::from_pem_slice(trusted.pem().as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        Self {
            roots,
            shown: None,
            protocol: b"h2".to_vec(),
            name: "localhost",
        }
    }

    pub fn shows(self, certificate: &Issued) -> Self {
        let shown = Some(certificate.clone());
        Self { shown, ..self }
    }

    pub fn offers(self, protocol: &[u8]) -> Self {
        let protocol = protocol.to_vec();
        Self { protocol, ..self }
    }

    pub fn calls(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// Shakes hands over this stream.
    pub async fn connect_over<S>(self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots);
        let mut config = match self.shown {
            None => config.with_no_client_auth(),
            Some(Issued {
                certificate, key, ..
            }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
                let chain = chain.collect::<Result<_, _>>().expect("PEM");
                let key = PemObject::from_pem_slice(key.as_bytes()).expect("PEM");
                config.with_client_auth_cert(chain, key).expect("a key")
            }
        };
        config.alpn_protocols = vec![self.protocol];
        let name = self.name.try_into().expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await
    }

    /// Connects, and returns the alert with which the server ends the connection, if it is not the client
    /// that ends it.
    pub async fn alert(self, port: u16) -> Option<AlertDescription> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        // With TLS 1.3, a client completes its handshake before the server refuses it.
        let error = match self.connect_over(stream.expect("it listens")).await {
            Ok(mut stream) => loop {
                match stream.read(&mut [0; 1024]).await {
                    Ok(1..) => {}
                    Ok(0) => return None,
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::AlertReceived(alert) => Some(*alert),
            _ => None,
        }
    }
}
