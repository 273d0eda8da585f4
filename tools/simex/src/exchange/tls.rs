//! Certificates: an authority made at start, and what it signs for the listeners.

use std::sync::{Arc, Weak};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::ExchangeError;
use super::fault::{BadCertificate, FaultKind};
use super::hub::Hub;
use super::venue::Venue;

/// The authority and the three certificates.
pub(crate) struct Certificates {
    /// The authority's certificate, PEM.
    pub(crate) ca_pem: String,
    provider: Arc<CryptoProvider>,
    good: Arc<CertifiedKey>,
    wrong_host: Arc<CertifiedKey>,
    expired: Arc<CertifiedKey>,
}

impl Certificates {
    /// Makes all of them; nothing is kept from one run to the next.
    pub(crate) fn make() -> Result<Self, ExchangeError> {
        let provider = Arc::new(ring::default_provider());
        let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "simex authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2099, 1, 1));
        let key = KeyPair::generate().map_err(failed)?;
        let authority = params.self_signed(&key).map_err(failed)?;
        let issuer = Issuer::new(params, key);
        let sign = |hosts: [&str; 2], until: i32| -> Result<Arc<CertifiedKey>, ExchangeError> {
            let mut params = CertificateParams::new(hosts.map(str::to_owned)).map_err(failed)?;
            params.distinguished_name.push(DnType::CommonName, hosts[0]);
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until, 1, 1));
            let key = KeyPair::generate().map_err(failed)?;
            let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
            let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(failed)?;
            let certified = CertifiedKey::from_der(vec![certificate.der().clone()], key, &provider);
            Ok(Arc::new(certified.map_err(failed)?))
        };
        Ok(Self {
            good: sign(["localhost", "127.0.0.1"], 2098)?,
            wrong_host: sign(["elsewhere.invalid", "192.0.2.1"], 2098)?,
            expired: sign(["localhost", "127.0.0.1"], 2021)?,
            ca_pem: authority.pem(),
            provider,
        })
    }

    /// Accepts connections to a venue, with the certificate that faults ask for.
    pub(crate) fn acceptor(self: &Arc<Self>, hub: &Arc<Hub>, venue: Venue) -> Result<TlsAcceptor, ExchangeError> {
        let resolver = Resolver { certificates: Arc::clone(self), hub: Arc::downgrade(hub), venue };
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would not show the certificate of the moment.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(tokio_rustls::rustls::server::NoServerSessionStorage {});
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn failed(error: impl std::fmt::Display) -> ExchangeError {
    ExchangeError::Tls(error.to_string())
}

struct Resolver {
    certificates: Arc<Certificates>,
    hub: Weak<Hub>,
    venue: Venue,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Resolver of {}", self.venue.name())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fault = self.hub.upgrade()?.reigning(FaultKind::TlsBadCertificate, self.venue);
        Some(Arc::clone(match fault.map(|planned| planned.fault.certificate) {
            None => &self.certificates.good,
            Some(BadCertificate::WrongHost) => &self.certificates.wrong_host,
            Some(BadCertificate::Expired) => &self.certificates.expired,
        }))
    }
}
