//! Certificates of the channel: an authority of one's own, and a certificate and key for each name.
//!
//! ```text
//! DIR/authority.pem   the authority's certificate; every process needs it
//! DIR/NAME.pem        a process's certificate
//! DIR/NAME.key        its key, mode 0600; only this process needs it
//! ```
//!
//! The authority's own key is not kept: more names later mean a new set for all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use zeroize::Zeroizing;

use super::ChannelError;
use crate::audit::key::{read_private, write_private};

/// File of the authority's certificate.
const AUTHORITY: &str = "authority.pem";

/// Makes an authority and a certificate for each name, in a folder that has none; gives the files.
///
/// # Errors
/// [`ChannelError`]; nothing that is there is replaced.
pub fn make(folder: &Path, names: &[String]) -> Result<Vec<PathBuf>, ChannelError> {
    let authority = folder.join(AUTHORITY);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: rcgen::Error| ChannelError::Keys { path, reason: error.to_string() }
    };
    let mut params = CertificateParams::new(Vec::new()).map_err(failed(&authority))?;
    params.distinguished_name.push(DnType::CommonName, "tidegate control channel");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(failed(&authority))?;
    let certificate = params.self_signed(&key).map_err(failed(&authority))?;
    write_private(&authority, &certificate.pem())?;
    let issuer = Issuer::new(params, key);
    let mut made = vec![authority];
    for name in names {
        let (path, key_path) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        server_name(name)?;
        let mut params = CertificateParams::new(vec![name.clone()]).map_err(failed(&path))?;
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().map_err(failed(&key_path))?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed(&path))?;
        write_private(&key_path, &Zeroizing::new(key.serialize_pem()))?;
        write_private(&path, &certificate.pem())?;
        made.extend([path, key_path]);
    }
    Ok(made)
}

/// A name as certificates have it.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, ChannelError> {
    let wrong =
        |_| ChannelError::Keys { path: name.into(), reason: "no name: expected letters, digits, - and dots".into() };
    ServerName::try_from(name.to_owned()).map_err(wrong)
}

/// Who a process is, and whom it believes.
pub(super) struct Identity {
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self, ChannelError> {
        let wrong = |path: &Path, reason: String| ChannelError::Keys { path: path.to_owned(), reason };
        let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, ChannelError> {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            read.map_err(|error| wrong(path, error.to_string()))
        };
        let (authority, path) = (folder.join(AUTHORITY), folder.join(format!("{name}.pem")));
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&authority)? {
            roots.add(certificate).map_err(|error| wrong(&authority, error.to_string()))?;
        }
        let key_path = folder.join(format!("{name}.key"));
        let key = PrivateKeyDer::from_pem_slice(read_private(&key_path)?.as_bytes());
        let key = key.map_err(|error| wrong(&key_path, error.to_string()))?;
        let provider = Arc::new(ring::default_provider());
        Ok(Self { roots: Arc::new(roots), chain: certificates(&path)?, key, provider })
    }

    /// For the end that listens: TLS 1.3 only, no connection without a certificate of the authority, nothing resumed.
    pub(super) fn server(self) -> Result<ServerConfig, ChannelError> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots, self.provider.clone()).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain, self.key)?;
        // A ticket would be a record of another size.
        (config.send_tls13_tickets, config.session_storage) = (0, Arc::new(NoServerSessionStorage {}));
        Ok(config)
    }

    /// For the end that connects.
    pub(super) fn client(self) -> Result<ClientConfig, ChannelError> {
        let mut config = ClientConfig::builder_with_provider(self.provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(self.roots)
            .with_client_auth_cert(self.chain, self.key)?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// Which of these names the certificate at the other end is of.
pub(super) fn peer(chain: Option<&[CertificateDer<'_>]>, names: &[String]) -> Result<String, ChannelError> {
    let unknown = || ChannelError::Peer { expected: names.join(" or ") };
    let certificate = ParsedCertificate::try_from(chain.and_then(<[_]>::first).ok_or_else(unknown)?)?;
    let is = |name: &&String| server_name(name).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok());
    names.iter().find(is).cloned().ok_or_else(unknown)
}
