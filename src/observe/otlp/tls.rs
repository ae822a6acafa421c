//! TLS to the collector: who it must be, and who this service is to it.
//!
//! Promises that a collector is verified by the given authorities alone, or by the system's if none are given. The
//! files are read once, at the start.

use super::{ExporterError, first_set};
use crate::{
    named_file::{FileError, NamedFile},
    pem::{self, Wanted},
};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tonic::transport::Endpoint;

const AUTHORITIES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CLIENT_CERTIFICATES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const CLIENT_KEYS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];

/// Of each pair, the first that is set counts.
pub(super) const VARIABLES: [[&str; 2]; 3] = [AUTHORITIES, CLIENT_CERTIFICATES, CLIENT_KEYS];

/// All files that count.
pub(super) fn files() -> impl Iterator<Item = NamedFile> {
    VARIABLES.into_iter().filter_map(file)
}

/// How the collector at this variable's endpoint is verified, and what it is shown.
pub(super) fn config(endpoint: &'static str) -> Result<ClientTlsConfig, ExporterError> {
    let config = match file(AUTHORITIES) {
        Some(file) => {
            let authorities = certificates(&file)?;
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities));
            accepted(config)
                .ok_or_else(|| FileError::invalid(&file, "holds an invalid certificate"))?
        }
        None if rustls_native_certs::load_native_certs().certs.is_empty() => {
            return Err(ExporterError::NoRoots(endpoint));
        }
        None => ClientTlsConfig::new().with_enabled_roots(),
    };
    match (file(CLIENT_CERTIFICATES), file(CLIENT_KEYS)) {
        (None, None) => Ok(config),
        (Some(certificate), Some(key)) => {
            let identity = Identity::from_pem(certificates(&certificate)?, private_key(&key)?);
            let unfit = ExporterError::Identity(certificate.setting, key.setting);
            accepted(config.identity(identity)).ok_or(unfit)
        }
        (Some(given), None) => Err(half(&given, CLIENT_KEYS[1])),
        (None, Some(given)) => Err(half(&given, CLIENT_CERTIFICATES[1])),
    }
}

fn half(given: &NamedFile, missing: &'static str) -> ExporterError {
    ExporterError::HalfIdentity {
        given: given.setting,
        missing,
    }
}

fn file(names: [&'static str; 2]) -> Option<NamedFile> {
    let (setting, path) = first_set(names)?;
    Some(NamedFile {
        setting,
        path: path.expose().into(),
    })
}

fn certificates(file: &NamedFile) -> Result<Vec<u8>, FileError> {
    let content = file.read()?;
    pem::check(&content, Wanted::Certificates).map_err(|why| FileError::invalid(file, why))?;
    let mut found = CertificateDer::pem_slice_iter(&content);
    match found.next() {
        Some(Ok(_)) => Ok(content),
        _ => Err(FileError::invalid(
            file,
            pem::why_missing(&content, Wanted::Certificates),
        )),
    }
}

fn private_key(file: &NamedFile) -> Result<Vec<u8>, FileError> {
    let content = file.read()?;
    pem::check(&content, Wanted::PrivateKey).map_err(|why| FileError::invalid(file, why))?;
    match PrivateKeyDer::from_pem_slice(&content) {
        Ok(_) => Ok(content),
        Err(_) => Err(FileError::invalid(
            file,
            pem::why_missing(&content, Wanted::PrivateKey),
        )),
    }
}

/// The configuration, if a connection can be made with it.
fn accepted(config: ClientTlsConfig) -> Option<ClientTlsConfig> {
    let endpoint = Endpoint::from_static("https://collector");
    endpoint
        .tls_config(config.clone())
        .is_ok()
        .then_some(config)
}
