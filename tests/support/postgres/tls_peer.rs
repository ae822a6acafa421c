//! A peer that agrees to TLS as a PostgreSQL server does, and then does something else.

use crate::support::certificates::{Authority, Issued};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Agrees to TLS on one connection, and hands it to `then`. Returns the port.
pub fn agree_to_tls(then: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.read_exact(&mut [0; 8]).expect("a request for TLS");
        stream.write_all(b"S").expect("written");
        then(stream);
    });
    port
}

/// Encrypts, and refuses whoever shows no certificate that the authority has signed.
pub fn demand_client_certificate(mut stream: TcpStream, own: &Issued, authority: &Authority) {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
    roots.add(root).expect("a root");
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![certificate], key)
        .expect("a certificate");
    let mut connection = ServerConnection::new(Arc::new(config)).expect("valid");
    let refused = Stream::new(&mut connection, &mut stream).read(&mut [0]);
    assert!(refused.is_err(), "the client has shown a certificate");
    // The alert goes out before the connection is closed.
    while connection.wants_write() {
        connection.write_tls(&mut stream).expect("written");
    }
    let _ = stream.read_to_end(&mut Vec::new());
}
