//! An identity provider of one's own: https with a certification authority that nobody else
//! knows, keys to sign with, and a key set that is changed as a test likes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::{Claims, b64, within};

/// A key of the provider's.
#[derive(Debug)]
pub struct ProviderKey {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl ProviderKey {
    /// A new Ed25519 key.
    pub fn ed25519(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    /// A new key on P-256.
    pub fn p256(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::P256(pair) }
    }

    /// What the provider publishes of it; without an `alg`, as many do.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ed25519(pair) => {
                let x = b64(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.kid, "x": x })
            }
            Pair::P256(pair) => {
                // The uncompressed point: 4, x, y.
                let point = pair.public_key().as_ref();
                let (x, y) = (b64(&point[1..33]), b64(&point[33..65]));
                json!({ "kty": "EC", "crv": "P-256", "kid": self.kid, "x": x, "y": y })
            }
        }
    }

    /// A good token of an hour, signed with it.
    pub fn token(&self, user: u64) -> String {
        let alg = match &self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        };
        let header = json!({ "alg": alg, "typ": "JWT", "kid": self.kid }).to_string();
        let claims = Claims::of(user).json();
        let signed = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
        let signature = match &self.pair {
            Pair::Ed25519(pair) => b64(pair.sign(signed.as_bytes()).as_ref()),
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
                b64(signature.as_ref())
            }
        };
        format!("{signed}.{signature}")
    }
}

/// What the provider says to whoever asks.
#[derive(Clone, Debug)]
pub enum Says {
    /// This status, these header lines and this body.
    Answer(u16, String, Vec<u8>),
    /// Nothing, for as long as anybody waits.
    Nothing,
}

impl Says {
    /// A key set.
    pub fn keys(keys: impl IntoIterator<Item = Value>) -> Self {
        let keys: Vec<Value> = keys.into_iter().collect();
        Self::Answer(200, String::new(), json!({ "keys": keys }).to_string().into_bytes())
    }
}

/// A running provider.
#[derive(Debug)]
pub struct Provider {
    folder: TempDir,
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
    grown: watch::Receiver<()>,
}

impl Provider {
    /// One that says this.
    pub async fn saying(says: Says) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = acceptor(&folder.path().join("ca.pem"));
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::new(AtomicUsize::new(0)));
        let (grow, grown) = watch::channel(());
        let serving = (Arc::clone(&says), Arc::clone(&asked));
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(async move {
            let (says, asked) = serving;
            let mut unanswered = Vec::new();
            while let Ok((tcp, _)) = tcp.accept().await {
                // Whoever does not believe the certificate does not ask.
                let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    head.push(byte);
                }
                assert!(head.starts_with(b"GET /keys?for=us HTTP/1.1\r\n"), "{head:?}");
                asked.fetch_add(1, Ordering::SeqCst);
                let _ = grow.send(());
                let now = says.lock().unwrap().clone();
                let Says::Answer(status, headers, body) = now else {
                    unanswered.push(stream);
                    continue;
                };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&body).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { folder, address, says, asked, grown }
    }

    /// Says something else from now on.
    pub fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Its address, as TOML has it.
    pub fn url(&self) -> String {
        format!("\"https://{}/keys?for=us\"", self.address)
    }

    /// The file with its authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until it was asked so often.
    pub async fn asked_times(&self, times: usize) {
        let mut grown = self.grown.clone();
        let enough = async { grown.wait_for(|()| self.asked() >= times).await.map(drop) };
        within("the provider to be asked", enough).await.unwrap();
    }
}

/// TLS with a new certificate, whose authority is written to `ca`.
fn acceptor(ca: &Path) -> TlsAcceptor {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    fs::write(ca, params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
