//! Certificates and keys exchanged while people talk.

use std::fs;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Forge, Setup, TestServer, Upgrade, admin, exchange, tls};

/// Puts another certificate and key in the place of the server's; gives the
/// certificate.
fn exchanged(server: &TestServer) -> Arc<RootCertStore> {
    let other = Setup::new();
    // The key last: a pair that does not fit for a moment is refused, then read again.
    for name in ["certs/server.pem", "certs/server.key"] {
        let to = server.setup().path(name);
        let part = to.with_extension("part");
        fs::copy(other.path(name), &part).unwrap();
        fs::rename(&part, &to).unwrap();
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(other.path("certs/server.pem")).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

async fn shows(server: &TestServer, roots: &Arc<RootCertStore>) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.is_ok()
}

#[tokio::test]
async fn a_new_certificate_is_shown_after_a_hangup_and_nobody_notices() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let old = server.roots();
    assert!(shows(&server, &old).await);

    let new = exchanged(&server);
    server.signal("HUP");
    server.logged("certificate read again").await;
    assert!(shows(&server, &new).await);
    assert!(!shows(&server, &old).await);
    ming.say(1, "the same connection", "1").await;

    fs::write(server.setup().path("certs/server.pem"), "broken").unwrap();
    server.signal("HUP");
    let line = server.logged("the certificate stays the one in use").await;
    assert!(line["error"].as_str().unwrap().contains("server.pem"), "{line}");
    assert!(shows(&server, &new).await);
    ming.say(1, "still the same", "2").await;
}

#[tokio::test]
async fn changed_files_are_noticed_without_being_told() {
    let server = TestServer::new().await;
    let mut ming = server.connect(1).await;
    let new = exchanged(&server);
    server.logged("certificate read again").await;
    assert!(shows(&server, &new).await);
    let mut stream = tls(server.address, Arc::clone(&new)).await;

    fs::write(server.setup().path("certs/keys.json"), "{\"keys\":[{}]}").unwrap();
    let line = server.logged("the key set stays the one in use").await;
    assert!(line["error"].as_str().unwrap().contains("keys.json"), "{line}");
    let good = Upgrade::token(&Forge::token(7)).bytes();
    assert_eq!(exchange(&mut stream, &good).await.status, 101);
    ming.say(1, "the same connection", "1").await;
}

#[tokio::test]
async fn a_refused_reload_is_counted() {
    let server = TestServer::new().await;
    fs::write(server.setup().path("certs/keys.json"), "").unwrap();
    server.signal("HUP");
    server.logged("the key set stays the one in use").await;
    let page = admin(&server, "/metrics").await.body;
    assert!(!page.contains("imserver_reloads_failed_total 0\n"), "{page}");
    assert_eq!(Upgrade::token(&Forge::token(7)).send(&server).await.status, 101);
}
