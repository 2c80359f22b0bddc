//! The server's certificate: read with its key, checked as a pair, or made for
//! development.

mod validity;

use crate::config::Tls;
use crate::secret_file::{self, SecretFileError};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

pub use validity::Validity;

/// How long a development certificate lives. Browsers refuse more than 398 days.
const LIFETIME: Duration = Duration::from_secs(397 * 24 * 60 * 60);

/// How far back it starts, for machines whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Why a certificate and key cannot be used, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The certificate is not there.
    #[error("there is no certificate {}: put it there, or run `imserver cert dev`", .0.display())]
    Missing(PathBuf),
    /// The certificate cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----): {why}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The key's file is missing, open to others, or unreadable.
    #[error(transparent)]
    KeyFile(#[from] SecretFileError),
    /// The file holds no private key.
    #[error("{} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): {why}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The two do not belong together, or are of a kind that TLS cannot use.
    #[error("{} and {} cannot be used together: {why}", cert.display(), key.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        why: String,
    },
    /// A name cannot stand in a certificate.
    #[error("a certificate cannot be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// Reads the certificate chain and the private key that `tls` names, and checks
/// that they belong together.
///
/// Whether the certificate is valid today is not asked: clients refuse an
/// expired one, and a server that does not start helps nobody. See [`validity()`].
///
/// # Errors
/// Show the sentence; on a reload, go on with the pair that is in use.
pub fn load(tls: &Tls) -> Result<CertifiedKey, CertificateError> {
    let chain = load_chain(&tls.cert)?;
    let text = secret_file::read(&tls.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|e| CertificateError::NoKey { path: tls.key.clone(), why: e.to_string() })?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|e| {
        let why = match e {
            rustls::Error::InconsistentKeys(_) => {
                "the key is not the one that the certificate was made for".to_owned()
            }
            other => other.to_string(),
        };
        CertificateError::Pair { cert: tls.cert.clone(), key: tls.key.clone(), why }
    })
}

fn load_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = fs::read(path).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => CertificateError::Missing(path.to_owned()),
        _ => CertificateError::Unreadable { path: path.to_owned(), cause },
    })?;
    let none = |why: String| CertificateError::NoCertificate { path: path.to_owned(), why };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| none(e.to_string()))?;
    if chain.is_empty() { Err(none("there is none in it".to_owned())) } else { Ok(chain) }
}

/// Reads the server's own certificate, the first one in the file: what it shows to clients.
///
/// # Errors
/// Show the sentence.
pub fn leaf(path: &Path) -> Result<CertificateDer<'static>, CertificateError> {
    let none = || CertificateError::NoCertificate {
        path: path.to_owned(),
        why: "there is none in it".to_owned(),
    };
    load_chain(path)?.into_iter().next().ok_or_else(none)
}

/// From when until when the first certificate of the chain is valid; nothing
/// when it cannot be read.
pub fn validity(key: &CertifiedKey) -> Option<Validity> {
    Validity::of(key.cert.first()?)
}

/// A certificate for development and its private key, as PEM.
#[derive(Debug)]
pub struct DevCertificate {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: DevKey,
}

/// A private key as PKCS#8 PEM. It has no readable `Debug`.
pub struct DevKey(Zeroizing<String>);

impl DevKey {
    /// The text for the file.
    pub fn as_pem(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DevKey(…)")
    }
}

/// Whether a certificate can be for `name`: a host name, `*.` and one, or an IP address.
pub fn is_host(name: &str) -> bool {
    ServerName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

/// Makes a self-signed certificate for `names`, with a new ECDSA P-256 key.
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn make_dev(names: &[String]) -> Result<DevCertificate, CertificateError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let cert = self_signed(names, &key)?;
    Ok(DevCertificate { cert, key: DevKey(Zeroizing::new(key.serialize_pem())) })
}

/// Makes a self-signed certificate for `names` and the key in the file `path`.
///
/// # Errors
/// When the key cannot be used, or a name cannot stand in a certificate.
pub fn make_dev_for_key(names: &[String], path: &Path) -> Result<String, CertificateError> {
    let text = secret_file::read(path)?;
    let no_key = |why: String| CertificateError::NoKey { path: path.to_owned(), why };
    let der = PrivateKeyDer::from_pem_slice(&text).map_err(|e| no_key(e.to_string()))?;
    let key = KeyPair::try_from(&der).map_err(|e| no_key(e.to_string()))?;
    self_signed(names, &key)
}

fn self_signed(names: &[String], key: &KeyPair) -> Result<String, CertificateError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "imserver development certificate");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let start = SystemTime::now() - BACKDATED;
    params.not_before = start.into();
    params.not_after = (start + LIFETIME).into();
    Ok(params.self_signed(key)?.pem())
}

#[cfg(test)]
mod tests;
