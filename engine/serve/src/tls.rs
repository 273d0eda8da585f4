//! TLS of the server.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::access::write_private;

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TlsError {
    /// Which file.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A certificate with its key, ready to be served.
#[derive(Clone, Debug)]
pub struct Certified {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, as hex: what a client that trusts nobody compares.
    pub fingerprint: String,
}

impl Certified {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |path: &Path| {
            let path = path.display().to_string();
            move |reason: String| TlsError { path, reason }
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(certificate)(error.to_string()))?;
        let first = chain.first().ok_or_else(|| wrong(certificate)("no certificate in it".into()))?;
        let fingerprint = hex::encode(Sha256::digest(first));
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key)(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|error| wrong(certificate)(error.to_string()))?;
        Ok(Self { config: Arc::new(config), fingerprint })
    }

    /// Reads a chain and its key; makes a certificate of our own for these names where there is no chain yet.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn read_or_make(certificate: &Path, key: &Path, names: &[String]) -> Result<Self, TlsError> {
        if !certificate.exists() {
            // A key without its certificate was left by a start that did not come far.
            let _ = std::fs::remove_file(key);
            make(certificate, key, names)?;
        }
        Self::read(certificate, key)
    }
}

fn make(certificate: &Path, key: &Path, names: &[String]) -> Result<(), TlsError> {
    let wrong = |path: &Path, reason: String| TlsError { path: path.display().to_string(), reason };
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| wrong(certificate, error.to_string()))?;
    let secret = zeroize::Zeroizing::new(made.signing_key.serialize_pem());
    write_private(key, secret.as_bytes()).map_err(|error| wrong(key, error.to_string()))?;
    std::fs::write(certificate, made.cert.pem()).map_err(|error| wrong(certificate, error.to_string()))
}
