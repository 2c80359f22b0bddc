//! TLS 1.2 and 1.3 with a certificate that can be exchanged while it is used.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::certificate;
use crate::epoch;

/// The certificate in use, which can be exchanged without dropping a connection.
#[derive(Debug)]
pub(super) struct Certificate(ArcSwap<CertifiedKey>);

impl Certificate {
    pub(super) fn new(certified: CertifiedKey) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certified)))
    }

    /// Until when the one in use is good, where it says.
    pub(super) fn end(&self) -> Option<SystemTime> {
        certificate::validity(&self.0.load()).map(|validity| validity.until)
    }

    /// Uses `certified` for every handshake from now on.
    pub(super) fn replace(&self, certified: CertifiedKey) {
        self.0.store(Arc::new(certified));
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

/// How long the certificate in use is still good, reckoned when somebody asks.
impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(until) = self.end() else {
            return Ok(());
        };
        let unix = |at: SystemTime| epoch::since(at).as_secs_f64();
        let left = unix(until) - unix(SystemTime::now());
        for (name, help, value) in [
            ("certificate_end_seconds", "Unix time at which the certificate runs out", unix(until)),
            ("certificate_left_seconds", "Seconds until then; negative once it is over", left),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// TLS as the listeners speak it: AEAD suites only, no early data, HTTP/1.1 only.
pub(super) fn acceptor(certificate: Arc<Certificate>) -> Result<TlsAcceptor, rustls::Error> {
    let mut tls = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Every suite here is good; that the order is ours is what scanners look for.
    tls.ignore_client_order = true;
    // Stateless tickets: a storm of returning browsers resumes at a fraction of the cost.
    tls.ticketer = aws_lc_rs::Ticketer::new()?;
    tls.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// Cryptography with AES-128 before AES-256: it is as far from being broken, and its hash is
/// the one that processors do by themselves, of which a handshake needs some thirty.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        !matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    });
    provider
}
